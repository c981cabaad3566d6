//! The set of addresses that are ours: an open-addressing table at a quarter load, built once.

use super::Local;
use flowtable::{Family, V4, V6};

/// An address that can be hashed.
pub(super) trait Key: Copy + Eq {
    /// A mixed hash; the high bits are the good ones.
    fn hash(self) -> u64;
}

impl Key for u32 {
    #[inline]
    fn hash(self) -> u64 {
        hash4(V4::words(self))
    }
}

impl Key for u128 {
    #[inline]
    fn hash(self) -> u64 {
        hash6(V6::words(self))
    }
}

/// Odd, with the bits of the golden ratio: multiplication carries every input bit into the top ones.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Of an address as it stands in a header.
#[inline]
pub(super) const fn hash4(words: (u64, u64)) -> u64 {
    words.0.wrapping_mul(GOLDEN)
}

/// Likewise.
#[inline]
pub(super) const fn hash6((low, high): (u64, u64)) -> u64 {
    let mixed = low.wrapping_mul(GOLDEN);
    (high ^ mixed ^ (mixed >> 32)).wrapping_mul(GOLDEN)
}

/// Addresses and why they are ours.
#[derive(Clone, Debug)]
pub(super) struct AddressTable<K> {
    slots: Box<[Option<(K, Local)>]>,
    /// Hash bits not used: slot = hash >> shift.
    shift: u32,
}

impl<K: Key> AddressTable<K> {
    /// Of two entries for one address the earlier counts.
    pub fn new(entries: &[(K, Local)]) -> Self {
        let size = (entries.len() * 4).next_power_of_two().max(8);
        let mut table = Self {
            slots: vec![None; size].into(),
            shift: 64 - size.trailing_zeros(),
        };
        for &(key, local) in entries {
            table.insert(key, local);
        }
        table
    }

    fn insert(&mut self, key: K, local: Local) {
        let at = self.home(key);
        let (wrapped, first) = self.slots.split_at_mut(at.min(self.slots.len()));
        for slot in first.iter_mut().chain(wrapped) {
            match slot {
                Some((other, _)) if *other == key => return,
                Some(_) => {}
                None => {
                    *slot = Some((key, local));
                    return;
                }
            }
        }
    }

    /// Whether `key` is ours; at once for most that are not.
    #[inline(always)]
    pub fn holds(&self, key: K) -> bool {
        matches!(self.slots.get(self.home(key)), Some(Some(_))) && self.get(key).is_some()
    }

    /// Why `key` is ours.
    #[inline]
    pub fn get(&self, key: K) -> Option<Local> {
        let mut at = self.home(key);
        loop {
            let (other, local) = (*self.slots.get(at)?)?;
            if other == key {
                return Some(local);
            }
            // A quarter full: there is a free slot to stop at.
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "below the table's size")]
    fn home(&self, key: K) -> usize {
        (key.hash() >> self.shift) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use types::InterfaceId;

    proptest! {
        #[test]
        fn it_is_a_map(keys in proptest::collection::vec(0u32..500, 0..200), probes in proptest::collection::vec(0u32..1000, 50)) {
            let entries: Vec<_> = keys.iter().zip(0..).map(|(k, n)| (*k, Local::Own(InterfaceId(n)))).collect();
            let table = AddressTable::new(&entries);
            let wide = AddressTable::new(&entries.iter().map(|(k, l)| (u128::from(*k) << 70, *l)).collect::<Vec<_>>());
            let mut map = HashMap::new();
            for (k, l) in entries {
                map.entry(k).or_insert(l);
            }
            for probe in probes.into_iter().chain(keys) {
                prop_assert_eq!(table.get(probe), map.get(&probe).copied());
                prop_assert_eq!(wide.get(u128::from(probe) << 70), map.get(&probe).copied());
            }
        }
    }
}
