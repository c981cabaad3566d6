//! Longest-prefix match over an immutable set of prefixes.
//!
//! The prefixes are flattened into disjoint ranges, sorted by where they start; a lookup is a binary search, which for
//! a router's handful of routes stays within a line or two. From [`INDEXED`] ranges on, the address's top 16 bits
//! narrow the search first.

use std::fmt::Debug;

/// Ranges from which an index over the top 16 bits is worth its 256 KiB.
const INDEXED: usize = 256;
/// Value of a range no prefix covers.
const NONE: u32 = u32::MAX;

/// An address as a number in host byte order.
pub(crate) trait Address: Copy + Ord + Debug {
    /// The first address of the prefix of length `len` around `self`.
    fn first(self, len: u8) -> Self;
    /// The last address of it.
    fn last(self, len: u8) -> Self;
    /// The next address, `None` after the highest.
    fn next(self) -> Option<Self>;
    /// The lowest address.
    fn zero() -> Self;
    /// The top 16 bits.
    fn top(self) -> usize;
}

macro_rules! address {
    ($type:ty) => {
        impl Address for $type {
            fn first(self, len: u8) -> Self {
                let host = <$type>::BITS.saturating_sub(len.into());
                self & <$type>::MAX.checked_shl(host).unwrap_or(0)
            }
            fn last(self, len: u8) -> Self {
                self | <$type>::MAX.checked_shr(len.into()).unwrap_or(0)
            }
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn zero() -> Self {
                0
            }
            #[inline]
            fn top(self) -> usize {
                usize::try_from(self >> (<$type>::BITS - 16)).unwrap_or(0)
            }
        }
    };
}
address!(u32);
address!(u128);

/// One prefix and what it stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefix<A> {
    /// Any address in it.
    pub address: A,
    /// Length in bits.
    pub len: u8,
    /// Returned for addresses whose longest prefix this is.
    pub value: u32,
}

/// Addresses in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range<A> {
    from: A,
    /// The first behind it; `None`: it goes to the end.
    until: Option<A>,
}

impl<A: Address> Range<A> {
    #[inline(always)]
    pub fn contains(&self, address: A) -> bool {
        self.from <= address && self.until.is_none_or(|until| address < until)
    }
}

/// A compiled set of prefixes.
#[derive(Clone, Debug)]
pub(crate) struct Fib<A> {
    /// Start of each range, ascending; the first is the lowest address.
    starts: Box<[A]>,
    /// Value of each range, or `NONE`.
    values: Box<[u32]>,
    /// For each value of the top 16 bits the range its lowest address lies in, and one more at the end. Empty: no index.
    index: Box<[u32]>,
}

impl<A: Address> Fib<A> {
    /// Compiles `prefixes`, which must be distinct; of two equal ones the earlier counts.
    #[must_use]
    pub fn new(mut prefixes: Vec<Prefix<A>>) -> Self {
        // Outer prefixes before inner ones; equal ones later first, so that the earlier overwrites.
        prefixes.reverse();
        prefixes.sort_by_key(|p| (p.address.first(p.len), p.len));
        let mut starts = vec![A::zero()];
        let mut values = vec![NONE];
        let mut open: Vec<(A, u32)> = Vec::new();
        let mut put = |start: A, value: u32| {
            if starts.last() == Some(&start) {
                if let Some(last) = values.last_mut() {
                    *last = value;
                }
            } else {
                starts.push(start);
                values.push(value);
            }
        };
        let close = |open: &mut Vec<(A, u32)>, before: Option<A>, put: &mut dyn FnMut(A, u32)| {
            while let Some(&(end, _)) = open.last() {
                if before.is_some_and(|b| end >= b) {
                    break;
                }
                open.pop();
                if let Some(after) = end.next() {
                    put(after, open.last().map_or(NONE, |&(_, value)| value));
                }
            }
        };
        for prefix in prefixes {
            let start = prefix.address.first(prefix.len);
            close(&mut open, Some(start), &mut put);
            put(start, prefix.value);
            open.push((prefix.address.last(prefix.len), prefix.value));
        }
        close(&mut open, None, &mut put);
        let (starts, values) = merged(&starts, &values);
        let index = if starts.len() >= INDEXED {
            index(&starts)
        } else {
            Box::default()
        };
        Self {
            starts,
            values,
            index,
        }
    }

    /// The value of the longest prefix `address` is in.
    #[must_use]
    #[inline]
    pub fn lookup(&self, address: A) -> Option<u32> {
        let (from, to) = self.narrow(address);
        let candidates = self.starts.get(from..to)?;
        let at = from + candidates.partition_point(|start| *start <= address);
        let value = *self.values.get(at.checked_sub(1)?)?;
        (value != NONE).then_some(value)
    }

    /// [`Fib::lookup`], and the addresses around it of which it says the same: from the first until before the other, if there is one.
    #[must_use]
    pub fn lookup_range(&self, address: A) -> Option<(u32, Range<A>)> {
        let value = self.lookup(address)?;
        let at = self.starts.partition_point(|start| *start <= address);
        let from = *self.starts.get(at.checked_sub(1)?)?;
        let until = self.starts.get(at).copied();
        Some((value, Range { from, until }))
    }

    /// The ranges to search: the one `address` lies in is among `from - 1 .. to`.
    #[inline]
    fn narrow(&self, address: A) -> (usize, usize) {
        let top = address.top();
        match (self.index.get(top), self.index.get(top + 1)) {
            (Some(&from), Some(&to)) => (from as usize, to as usize + 1),
            _ => (0, self.starts.len()),
        }
    }
}

/// Neighbouring ranges of one value become one.
fn merged<A: Address>(starts: &[A], values: &[u32]) -> (Box<[A]>, Box<[u32]>) {
    let mut out: (Vec<A>, Vec<u32>) = (Vec::new(), Vec::new());
    for (&start, &value) in starts.iter().zip(values) {
        if out.1.last() != Some(&value) {
            out.0.push(start);
            out.1.push(value);
        }
    }
    (out.0.into(), out.1.into())
}

fn index<A: Address>(starts: &[A]) -> Box<[u32]> {
    let mut range = 0;
    let mut index: Vec<u32> = (0..=usize::from(u16::MAX))
        .map(|top| {
            // The last range that starts in a smaller block, or at this block's first address.
            while starts
                .get(range + 1)
                .is_some_and(|s| s.top() < top || (s.top() == top && s.first(16) == *s))
            {
                range += 1;
            }
            u32::try_from(range).unwrap_or(NONE)
        })
        .collect();
    index.push(u32::try_from(starts.len() - 1).unwrap_or(NONE));
    index.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: look at every prefix.
    fn reference<A: Address>(prefixes: &[Prefix<A>], address: A) -> Option<u32> {
        let mut best: Option<&Prefix<A>> = None;
        for p in prefixes {
            if p.address.first(p.len) <= address
                && address <= p.address.last(p.len)
                && best.is_none_or(|b| p.len > b.len)
            {
                best = Some(p);
            }
        }
        best.map(|p| p.value)
    }

    fn agree<A: Address>(prefixes: Vec<Prefix<A>>, probes: Vec<A>) -> Result<(), TestCaseError> {
        let fib = Fib::new(prefixes.clone());
        let edges = prefixes.iter().flat_map(|p| {
            let (first, last) = (p.address.first(p.len), p.address.last(p.len));
            [Some(first), Some(last), last.next(), first.next()]
        });
        let mut all = probes;
        all.extend(edges.flatten());
        all.push(A::zero());
        for &probe in &all {
            let value = fib.lookup(probe);
            prop_assert_eq!(value, reference(&prefixes, probe), "{:?}", probe);
            let range = fib.lookup_range(probe);
            prop_assert_eq!(range.map(|(value, _)| value), value);
            for other in &all {
                if range.is_some_and(|(_, range)| range.contains(*other)) {
                    prop_assert_eq!(fib.lookup(*other), value, "{:?} {:?}", probe, other);
                }
            }
            prop_assert!(range.is_none_or(|(_, range)| range.contains(probe)));
        }
        Ok(())
    }

    fn prefixes4(max: usize) -> impl Strategy<Value = Vec<Prefix<u32>>> {
        // Few top bits, so that prefixes nest and touch.
        let one = (any::<u32>(), 0u8..=32, any::<bool>()).prop_map(|(a, len, near)| Prefix {
            address: if near {
                a & 0xff | 0x0a00_0000 | (a >> 20 & 0xf00)
            } else {
                a
            },
            len,
            value: 0,
        });
        proptest::collection::vec(one, 0..max).prop_map(numbered)
    }

    fn numbered<A>(mut prefixes: Vec<Prefix<A>>) -> Vec<Prefix<A>> {
        for (p, n) in prefixes.iter_mut().zip(0..) {
            p.value = n;
        }
        prefixes
    }

    proptest! {
        #[test]
        fn few_ipv4_prefixes(p in prefixes4(20), probes in proptest::collection::vec(any::<u32>(), 50)) {
            agree(p, probes)?;
        }

        #[test]
        fn many_ipv4_prefixes_use_the_index(p in prefixes4(2000), probes in proptest::collection::vec(any::<u32>(), 50)) {
            agree(p, probes)?;
        }

        #[test]
        fn ipv6_prefixes(p in proptest::collection::vec((any::<u128>(), 0u8..=128, 0u8..100), 0..400), probes in proptest::collection::vec(any::<u128>(), 50)) {
            let p = numbered(p.into_iter().map(|(a, len, shift)| Prefix { address: a >> shift, len, value: 0 }).collect());
            agree(p, probes)?;
        }
    }

    #[test]
    fn the_default_route_and_the_ends_of_the_space() {
        let all = Prefix {
            address: 7u32,
            len: 0,
            value: 1,
        };
        let top = Prefix {
            address: u32::MAX,
            len: 32,
            value: 2,
        };
        let fib = Fib::new(vec![all, top]);
        assert_eq!(fib.lookup(0), Some(1));
        assert_eq!(fib.lookup(u32::MAX - 1), Some(1));
        assert_eq!(fib.lookup(u32::MAX), Some(2));
        assert_eq!(Fib::<u32>::new(vec![]).lookup(9), None);
    }
}
