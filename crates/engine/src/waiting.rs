//! Frames held until their next hop's MAC is known: a worker's own, preallocated, bounded per neighbour and in all.

use crate::neighbour::NeighbourId;
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};
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

/// How many frames wait, by neighbour: written by the worker that holds them, read by who explains packets.
#[derive(Debug)]
pub(crate) struct Queues {
    /// The neighbour in the high half, its frames in the low one; 0 is no queue.
    groups: Box<[AtomicU64]>,
    held: AtomicU32,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            groups: (0..GROUPS).map(|_| AtomicU64::new(0)).collect(),
            held: AtomicU32::new(0),
        }
    }
}

/// What would become of another frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// It waits, too.
    Free,
    /// It waits, and the oldest there must go.
    ForTheOldest,
    /// It must go itself.
    Full,
}

impl Queues {
    /// For the neighbour `id`, behind `more` others.
    pub fn room(&self, id: NeighbourId, more: usize) -> Room {
        let count = |group: &AtomicU64| match group.load(Relaxed) {
            0 => None,
            word => Some((word >> 32, usize::try_from(word & COUNT).unwrap_or(HELD))),
        };
        let mut all = self.groups.iter().filter_map(count);
        let own = all.find(|(other, _)| *other == u64::from(id.0));
        let own = own.map(|(_, count)| count);
        let in_all = self.held.load(Relaxed) as usize + more;
        let groups = self.groups.iter().filter_map(count).count();
        match own {
            Some(count) if count + more >= HELD_EACH => Room::ForTheOldest,
            Some(_) if in_all < HELD => Room::Free,
            None if more >= HELD_EACH => Room::ForTheOldest,
            None if groups < GROUPS && in_all < HELD => Room::Free,
            _ => Room::Full,
        }
    }

    fn tell(&self, at: usize, group: Option<&Group>) {
        let word = group.map_or(0, |g| u64::from(g.id.0) << 32 | g.count as u64);
        if let Some(place) = self.groups.get(at) {
            place.store(word, Relaxed);
        }
    }
}

/// The low half of a word of [`Queues`].
const COUNT: u64 = 0xffff_ffff;

/// All frames one worker holds.
#[derive(Debug)]
pub(crate) struct Waiting<F> {
    places: Box<[Place<F>]>,
    free: usize,
    groups: Vec<Group>,
    told: Arc<Queues>,
    /// Frames ever held.
    entered: u64,
}

impl<F> Waiting<F> {
    /// Room for [`HELD`] frames, allocated now; `told` is kept up to date.
    #[must_use]
    pub fn new(told: Arc<Queues>) -> Self {
        let places = (0..HELD).map(|n| Place {
            held: None,
            next: if n + 1 < HELD { n + 1 } else { NONE },
        });
        Self {
            places: places.collect(),
            free: 0,
            groups: Vec::with_capacity(GROUPS),
            told,
            entered: 0,
        }
    }

    /// Frames ever held: one more after each that was.
    pub const fn entered(&self) -> u64 {
        self.entered
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
        self.told.tell(at, Some(group));
        self.told.held.fetch_add(1, Relaxed);
        self.entered += 1;
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
        self.told.tell(at, Some(group));
        self.told.held.fetch_sub(1, Relaxed);
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
            self.told.tell(at, self.groups.get(at));
            self.told.tell(self.groups.len(), None);
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
        Self::new(Arc::default())
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
            let told = Arc::new(Queues::default());
            let mut waiting = Waiting::new(Arc::clone(&told));
            let mut model: HashMap<u32, VecDeque<usize>> = HashMap::new();
            for (n, (who, action)) in steps.into_iter().enumerate() {
                let address = Ipv4Addr::from_bits(who).into();
                let total: usize = model.values().map(VecDeque::len).sum();
                if action > 0 {
                    let who = if action > 3 { who % 5 } else { who };
                    let address = if action > 3 { Ipv4Addr::from_bits(who).into() } else { address };
                    let groups = model.len();
                    let queue = model.get(&who).map_or(0, VecDeque::len);
                    let foretold = told.room(NeighbourId(who), 0);
                    match waiting.hold(Held { frame: n, tell: true }, NeighbourId(who), InterfaceId(0), address) {
                        Hold::Held => {
                            prop_assert_eq!(foretold, Room::Free);
                            prop_assert!(queue < HELD_EACH && total < HELD);
                            model.entry(who).or_default().push_back(n);
                        }
                        Hold::Replaced(old) => {
                            prop_assert_eq!(foretold, Room::ForTheOldest);
                            let queue = model.get_mut(&who).unwrap();
                            prop_assert_eq!(queue.len(), HELD_EACH);
                            prop_assert_eq!(queue.pop_front(), Some(old.frame));
                            queue.push_back(n);
                        }
                        Hold::Full(back) => {
                            prop_assert_eq!(foretold, Room::Full);
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
