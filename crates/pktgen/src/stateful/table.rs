//! Connections by their addresses and ports, each with a time at which it wants to be looked at. As many as it is made for: nothing
//! is allocated later.

use super::{segment::Tuple, wheel::Wheel};
use hashbrown::HashTable;
use std::collections::VecDeque;

/// A table of `T`s.
pub struct Table<T> {
    slots: Box<[Slot<T>]>,
    free: Vec<u32>,
    index: HashTable<u32>,
    wheel: Wheel,
    /// Those that linger, the first that began first; and what no longer does.
    lingering: VecDeque<u32>,
    lingering_count: usize,
}

struct Slot<T> {
    tuple: Tuple,
    value: Option<T>,
    /// It is over, and kept only as long as its room is not wanted.
    lingers: bool,
}

impl<T> Table<T> {
    /// For `most` connections.
    #[must_use]
    pub fn new(most: u32) -> Self {
        let blank = Tuple {
            ours: 0,
            theirs: 0,
            ports: [0; 2],
            is_ipv6: false,
        };
        let slot = |_| Slot {
            tuple: blank,
            value: None,
            lingers: false,
        };
        Self {
            slots: (0..most).map(slot).collect(),
            free: (0..most).rev().collect(),
            index: HashTable::with_capacity(most as usize),
            wheel: Wheel::new(most),
            lingering: VecDeque::with_capacity(2 * most as usize),
            lingering_count: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether there is room for one more.
    #[must_use]
    #[inline]
    pub fn has_room(&self) -> bool {
        !self.free.is_empty() || self.lingering_count > 0
    }

    /// It is over; its room may be had when there is no other.
    pub fn linger(&mut self, entry: u32) {
        if std::mem::replace(&mut self.slots[entry as usize].lingers, true) {
            return;
        }
        if self.lingering.len() == self.lingering.capacity() {
            // Whoever is forgotten here goes when its time is over.
            self.lingering.pop_front();
        }
        self.lingering.push_back(entry);
        self.lingering_count += 1;
    }

    /// Makes room, if none is left and one lingers.
    fn make_room(&mut self) {
        while self.free.is_empty()
            && let Some(entry) = self.lingering.pop_front()
        {
            if self.slots[entry as usize].lingers {
                self.remove(entry);
            }
        }
    }

    /// The number of a connection.
    #[must_use]
    #[inline]
    pub fn find(&self, tuple: &Tuple) -> Option<u32> {
        let is_it = |entry: &u32| self.slots[*entry as usize].tuple == *tuple;
        self.index.find(hash(tuple), is_it).copied()
    }

    /// Puts in one that is not there yet; its number, or none if there is no room.
    #[inline]
    pub fn insert(&mut self, tuple: Tuple, value: T) -> Option<u32> {
        if self.free.is_empty() {
            self.make_room();
        }
        let entry = self.free.pop()?;
        self.slots[entry as usize] = Slot {
            tuple,
            value: Some(value),
            lingers: false,
        };
        let slots = &self.slots;
        self.index.insert_unique(hash(&tuple), entry, |entry| {
            hash(&slots[*entry as usize].tuple)
        });
        Some(entry)
    }

    /// A connection and its addresses.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, entry: u32) -> Option<(&Tuple, &mut T)> {
        let slot = self.slots.get_mut(entry as usize)?;
        Some((&slot.tuple, slot.value.as_mut()?))
    }

    /// Takes one out.
    #[inline]
    pub fn remove(&mut self, entry: u32) -> Option<T> {
        let slot = &mut self.slots[entry as usize];
        let value = slot.value.take()?;
        if std::mem::take(&mut slot.lingers) {
            self.lingering_count -= 1;
        }
        let found = self
            .index
            .find_entry(hash(&slot.tuple), |other| *other == entry);
        if let Ok(found) = found {
            found.remove();
        }
        self.wheel.disarm(entry);
        self.free.push(entry);
        Some(value)
    }

    /// Wants it looked at by then.
    #[inline]
    pub fn arm(&mut self, entry: u32, deadline: u64) {
        self.wheel.arm(entry, deadline);
    }

    /// One to be looked at.
    #[inline]
    pub fn due(&mut self, now: u64) -> Option<u32> {
        self.wheel.due(now)
    }

    /// No later than this one is to be looked at, if there is any.
    #[must_use]
    pub fn next_look(&self) -> Option<u64> {
        self.wheel.next_look()
    }

    /// The numbers of all.
    pub fn entries(&self) -> impl Iterator<Item = u32> {
        self.index.iter().copied()
    }
}

/// Spread enough for a table of flows whose makers are known.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn hash(tuple: &Tuple) -> u64 {
    let fold = |a: u128| (a >> 64) as u64 ^ a as u64;
    let ports = u64::from(tuple.ports[0]) << 16 | u64::from(tuple.ports[1]);
    let mut x = fold(tuple.ours) ^ fold(tuple.theirs).rotate_left(32) ^ ports.rotate_left(16);
    x = (x ^ x >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ x >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_is_made_for_and_finds_it() {
        let tuple = |n: u16| Tuple {
            ours: 1,
            theirs: 2,
            ports: [n, 80],
            is_ipv6: false,
        };
        let mut table = Table::new(100);
        for round in 0..50 {
            let numbers: Vec<u32> = (0..100)
                .map(|n| table.insert(tuple(n), n).unwrap())
                .collect();
            assert!(!table.has_room() && table.insert(tuple(100), 0).is_none());
            for (n, number) in (0..100).zip(&numbers) {
                assert_eq!(table.find(&tuple(n)), Some(*number));
                table.arm(*number, u64::from(n) << 21);
            }
            assert_eq!(table.find(&tuple(100)), None);
            assert_eq!(table.remove(numbers[round]).map(usize::from), Some(round));
            assert_eq!((table.remove(numbers[round]), table.len()), (None, 99));
            let all: Vec<u32> = table.entries().collect();
            for number in all {
                assert!(table.remove(number).is_some());
            }
            assert!(table.is_empty() && table.next_look().is_none());
        }
    }

    #[test]
    fn who_lingers_makes_room_the_oldest_first() {
        let tuple = |n: u16| Tuple {
            ours: 1,
            theirs: 2,
            ports: [n, 80],
            is_ipv6: false,
        };
        let mut table = Table::new(10);
        let numbers: Vec<u32> = (0..10)
            .map(|n| table.insert(tuple(n), n).unwrap())
            .collect();
        for round in 0..100 {
            table.linger(numbers[3]);
            table.linger(numbers[7]);
            table.linger(numbers[3]);
            assert!(table.has_room());
            let old: Vec<Option<u16>> = [3, 7]
                .map(|at| table.get_mut(numbers[at]).map(|(_, v)| *v))
                .into();
            for n in [100 + round, 300 + round] {
                assert!(table.insert(tuple(n), n).is_some());
            }
            assert!(!table.has_room() && table.insert(tuple(9999), 0).is_none());
            for old in old.into_iter().flatten() {
                assert_eq!(table.find(&tuple(old)), None);
            }
        }
        // Who goes by itself is not waited for.
        table.linger(numbers[1]);
        table.remove(numbers[1]);
        assert!(table.insert(tuple(5000), 0).is_some() && !table.has_room());
    }
}
