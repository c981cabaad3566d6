//! Frames held until their next hop's MAC is known: a worker's own, preallocated, bounded per neighbour and in all.

use crate::neighbour::NeighbourId;
use std::net::IpAddr;
use types::InterfaceId;

/// Frames one worker holds at most.
pub(crate) const HELD: usize = 1024;
/// Frames held for one neighbour at most; a further one pushes the oldest out, as Linux does.
pub(crate) const HELD_EACH: usize = 64;
/// Neighbours waited for at once.
const GROUPS: usize = 256;
const NONE: usize = usize::MAX;

/// A frame that only lacks its destination MAC.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held<F> {
    /// The frame.
    pub frame: F,
    /// Whether its sender is told if the neighbour stays silent.
    pub tell: bool,
}

#[derive(Debug)]
struct Place<F> {
    held: Option<Held<F>>,
    /// The next frame for the same neighbour, or the next free place.
    next: usize,
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// The entry to watch.
    pub id: NeighbourId,
    /// Its interface.
    pub interface: InterfaceId,
    /// Its address: tells whether the entry still is the neighbour's.
    pub address: IpAddr,
    first: usize,
    last: usize,
    /// Frames held for it.
    pub count: usize,
}

/// What became of a frame to be held.
#[derive(Debug)]
pub(crate) enum Hold<F> {
    /// Held.
    Held,
    /// Held, and this older one must go.
    Replaced(Held<F>),
    /// Not held.
    Full(Held<F>),
}

/// All frames one worker holds.
#[derive(Debug)]
pub(crate) struct Waiting<F> {
    places: Box<[Place<F>]>,
    free: usize,
    groups: Vec<Group>,
}

impl<F> Waiting<F> {
    /// Room for [`HELD`] frames, allocated now.
    #[must_use]
    pub fn new() -> Self {
        let places = (0..HELD).map(|n| Place {
            held: None,
            next: if n + 1 < HELD { n + 1 } else { NONE },
        });
        Self {
            places: places.collect(),
            free: 0,
            groups: Vec::with_capacity(GROUPS),
        }
    }

    /// Holds a frame for the neighbour `id`.
    pub fn hold(
        &mut self,
        held: Held<F>,
        id: NeighbourId,
        interface: InterfaceId,
        address: IpAddr,
    ) -> Hold<F> {
        let known = self
            .groups
            .iter()
            .position(|g| g.id == id && g.interface == interface && g.address == address);
        let at = match known {
            Some(at) => at,
            None if self.groups.len() < GROUPS => {
                self.groups.push(Group {
                    id,
                    interface,
                    address,
                    first: NONE,
                    last: NONE,
                    count: 0,
                });
                self.groups.len() - 1
            }
            None => return Hold::Full(held),
        };
        let oldest = match self.groups.get(at) {
            Some(group) if group.count >= HELD_EACH => self.take(at),
            _ => None,
        };
        match self.push(at, held) {
            None => oldest.map_or(Hold::Held, Hold::Replaced),
            Some(held) => Hold::Full(held),
        }
    }

    /// Puts a frame at the end of a group; gives it back if there is no place.
    fn push(&mut self, at: usize, held: Held<F>) -> Option<Held<F>> {
        let free = self.free;
        let (Some(group), Some(place)) = (self.groups.get_mut(at), self.places.get_mut(free))
        else {
            self.forget_if_empty(at);
            return Some(held);
        };
        self.free = place.next;
        *place = Place {
            held: Some(held),
            next: NONE,
        };
        let before = group.last;
        group.last = free;
        group.count += 1;
        match self.places.get_mut(before) {
            Some(before) => before.next = free,
            None => group.first = free,
        }
        None
    }

    /// The oldest frame of group `at`.
    fn take(&mut self, at: usize) -> Option<Held<F>> {
        let group = self.groups.get_mut(at)?;
        let first = group.first;
        let place = self.places.get_mut(first)?;
        let held = place.held.take();
        group.first = place.next;
        group.count -= 1;
        if group.first == NONE {
            group.last = NONE;
        }
        place.next = self.free;
        self.free = first;
        held
    }

    /// The oldest frame of group `at`; the group goes with its last frame.
    pub fn take_from(&mut self, at: usize) -> Option<Held<F>> {
        let held = self.take(at);
        self.forget_if_empty(at);
        held
    }

    fn forget_if_empty(&mut self, at: usize) {
        if self.groups.get(at).is_some_and(|g| g.count == 0) {
            self.groups.swap_remove(at);
        }
    }

    /// Neighbours waited for now.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The group at `at`.
    #[must_use]
    pub fn group(&self, at: usize) -> Option<Group> {
        self.groups.get(at).copied()
    }
}

impl<F> Default for Waiting<F> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        collections::{HashMap, VecDeque},
        net::Ipv4Addr,
    };

    proptest! {
        /// Against plain queues: order, bounds, nothing lost.
        #[test]
        fn it_is_a_bounded_queue_for_each_neighbour(steps in proptest::collection::vec((0u32..400, 0u8..8), 0..4000)) {
            let mut waiting = Waiting::new();
            let mut model: HashMap<u32, VecDeque<usize>> = HashMap::new();
            for (n, (who, action)) in steps.into_iter().enumerate() {
                let address = Ipv4Addr::from_bits(who).into();
                let total: usize = model.values().map(VecDeque::len).sum();
                if action > 0 {
                    let who = if action > 3 { who % 5 } else { who };
                    let address = if action > 3 { Ipv4Addr::from_bits(who).into() } else { address };
                    let groups = model.len();
                    let queue = model.get(&who).map_or(0, VecDeque::len);
                    match waiting.hold(Held { frame: n, tell: true }, NeighbourId(who), InterfaceId(0), address) {
                        Hold::Held => {
                            prop_assert!(queue < HELD_EACH && total < HELD);
                            model.entry(who).or_default().push_back(n);
                        }
                        Hold::Replaced(old) => {
                            let queue = model.get_mut(&who).unwrap();
                            prop_assert_eq!(queue.len(), HELD_EACH);
                            prop_assert_eq!(queue.pop_front(), Some(old.frame));
                            queue.push_back(n);
                        }
                        Hold::Full(back) => {
                            prop_assert_eq!(back.frame, n);
                            prop_assert!(total == HELD || (groups == GROUPS && queue == 0));
                        }
                    }
                } else if waiting.groups() > 0 {
                    let at = who as usize % waiting.groups();
                    let id = waiting.group(at).unwrap().id.0;
                    let queue = model.get_mut(&id).unwrap();
                    prop_assert_eq!(waiting.take_from(at).map(|h| h.frame), queue.pop_front());
                    if queue.is_empty() {
                        model.remove(&id);
                    }
                }
                prop_assert_eq!(waiting.groups(), model.len());
            }
        }
    }
}
