//! The table: lookup, insertion, learning.

use super::{
    Link, NeighbourId, NeighbourView, State,
    entry::{
        Entry, GENERATION, NEVER, PRESENT, interface_of, key_in, key_of, matching, revive,
        stamp_used,
    },
};
use std::{
    net::IpAddr,
    sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};
use types::{InterfaceId, MacAddr, Tick};

/// Slots from its home an entry may lie at most.
const WINDOW: usize = 128;
/// Tries for the flag of insertion before a packet is rather dropped.
const TRIES: usize = 2000;
/// What a sender learns of its next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Send to this MAC.
    Mac(MacAddr),
    /// Not known (yet): hold the frame under this id.
    Unknown(NeighbourId),
    /// No room to even ask.
    Full,
}

/// The neighbours of all interfaces.
#[derive(Debug)]
pub(crate) struct NeighbourTable {
    pub(super) slots: Box<[Entry]>,
    /// A bit for each slot that ever held a neighbour: of most, the clockwork need not touch the line. Never cleared, so that
    /// it cannot be by mistake.
    settled: Box<[AtomicU64]>,
    /// The farthest any entry ever lay from its home: lookups look no further.
    farthest: AtomicUsize,
    /// Taken to insert or remove.
    changing: AtomicBool,
    pub(super) entries: AtomicUsize,
    pub(super) capacity: usize,
    key: [u64; 2],
}

impl NeighbourTable {
    /// A table for `capacity` neighbours; `key` makes its hash unpredictable.
    #[must_use]
    pub fn new(capacity: usize, key: [u64; 2]) -> Self {
        let slots = (capacity.max(8) * 2).next_power_of_two();
        Self {
            slots: (0..slots).map(|_| Entry::free()).collect(),
            settled: (0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            farthest: AtomicUsize::new(0),
            changing: AtomicBool::new(false),
            entries: AtomicUsize::new(0),
            capacity: capacity.max(8),
            key,
        }
    }

    /// Who is known now, slot for slot, in a table by itself.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            slots: self.slots.iter().map(Entry::copy).collect(),
            settled: {
                let words = self.settled.iter().map(|word| word.load(Relaxed));
                words.map(AtomicU64::new).collect()
            },
            farthest: AtomicUsize::new(self.farthest.load(Relaxed)),
            changing: AtomicBool::new(false),
            entries: AtomicUsize::new(self.entries.load(Relaxed)),
            capacity: self.capacity,
            key: self.key,
        }
    }

    /// The MAC behind a pinned (or just found) entry; one load, and a store at most once a second.
    #[must_use]
    #[inline]
    pub fn mac(&self, id: NeighbourId, now: Tick) -> Option<MacAddr> {
        let entry = self.slots.get(id.0 as usize)?;
        let mac = Link(entry.link.load(Relaxed)).usable()?;
        stamp_used(entry, now);
        Some(mac)
    }

    /// The MAC of a next hop if it is known; nothing happens if it is not.
    #[must_use]
    #[inline]
    pub fn known(&self, interface: InterfaceId, address: IpAddr, now: Tick) -> Option<MacAddr> {
        let (_, entry, link) = self.find(interface, address)?;
        let mac = link.usable()?;
        stamp_used(entry, now);
        Some(mac)
    }

    /// The MAC of a next hop, or where to wait for it. A new or failed entry begins to be asked for.
    #[inline]
    pub fn resolve(&self, interface: InterfaceId, address: IpAddr, now: Tick) -> Resolved {
        if let Some((id, entry, link)) = self.find(interface, address) {
            stamp_used(entry, now);
            match link.usable() {
                Some(mac) => Resolved::Mac(mac),
                None => {
                    revive(entry, link);
                    Resolved::Unknown(id)
                }
            }
        } else {
            self.resolve_new(interface, address, now)
        }
    }

    #[cold]
    fn resolve_new(&self, interface: InterfaceId, address: IpAddr, now: Tick) -> Resolved {
        match self.insert(interface, address, now) {
            Some((id, entry)) => {
                stamp_used(entry, now);
                entry
                    .link()
                    .usable()
                    .map_or(Resolved::Unknown(id), Resolved::Mac)
            }
            None => Resolved::Full,
        }
    }

    /// A sender with a pinned id met no MAC: a failed entry is asked for again.
    pub fn wanted(&self, id: NeighbourId, now: Tick) {
        if let Some(entry) = self.slots.get(id.0 as usize) {
            stamp_used(entry, now);
            revive(entry, entry.link());
        }
    }

    /// The entry a server or gateway needs, kept and kept resolved until [`NeighbourTable::release`]. Called by control.
    /// `None`: the table is full.
    pub fn ensure(
        &self,
        interface: InterfaceId,
        address: IpAddr,
        now: Tick,
    ) -> Option<NeighbourId> {
        let guard = self.change()?;
        let (id, entry) = self.insert_guarded(interface, address, now, &guard)?;
        entry.pinned.fetch_add(1, Relaxed);
        Some(id)
    }

    /// Takes back one [`NeighbourTable::ensure`].
    pub fn release(&self, id: NeighbourId) {
        if let Some(entry) = self.slots.get(id.0 as usize) {
            // Never below 0: a stray release must not keep an entry for ever.
            let _ = entry
                .pinned
                .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }

    /// Sets a MAC by hand. False: the table is full.
    pub fn set_permanent(
        &self,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
        now: Tick,
    ) -> bool {
        let Some((_, entry)) = self
            .change()
            .and_then(|guard| self.insert_guarded(interface, address, now, &guard))
        else {
            return false;
        };
        entry.confirmed.store(now.0, Relaxed);
        entry
            .link
            .store(Link::new(State::Permanent, mac, 0).0, Release);
        true
    }

    /// A neighbour told its MAC: by an answer, an announcement, or by asking us. Only known entries change, unless
    /// `create`; and that only while half the table is free, so that nobody fills it by asking. True if it was taken in.
    pub fn learn(
        &self,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
        create: bool,
        now: Tick,
    ) -> bool {
        // Under the flag the entry cannot go to another neighbour between being found and being told.
        let Some(guard) = self.change() else {
            return false;
        };
        let room = self.entries.load(Relaxed) * 2 < self.capacity;
        let entry = match self.find(interface, address) {
            Some((_, entry, _)) => entry,
            None if create && room => match self.insert_guarded(interface, address, now, &guard) {
                Some((_, entry)) => entry,
                None => return false,
            },
            None => return false,
        };
        let known = Link::new(State::Reachable, mac, 0);
        let mut link = entry.link();
        while link.state() != State::Permanent {
            entry.confirmed.store(now.0, Relaxed);
            match entry
                .link
                .compare_exchange(link.0, known.0, Release, Acquire)
            {
                Ok(_) => return true,
                Err(other) => link = Link(other),
            }
        }
        false
    }

    /// The MAC on record, whatever the state, without touching anything.
    #[must_use]
    pub fn peek(&self, interface: InterfaceId, address: IpAddr) -> Option<MacAddr> {
        self.find(interface, address)?.2.usable()
    }

    /// When a neighbour last told its MAC; `None`: never, or it is in no slot.
    #[must_use]
    pub fn heard(&self, interface: InterfaceId, address: IpAddr) -> Option<Tick> {
        let (_, entry, _) = self.find(interface, address)?;
        let confirmed = entry.confirmed.load(Relaxed);
        (confirmed != NEVER).then_some(Tick(confirmed))
    }

    /// Whether `id` still is that neighbour, and what it knows. `None`: the slot went to another.
    #[must_use]
    pub fn check(&self, id: NeighbourId, interface: InterfaceId, address: IpAddr) -> Option<Link> {
        let entry = self.slots.get(id.0 as usize)?;
        matching(entry, key_of(interface, address))
    }

    /// Slots to pass to [`NeighbourTable::tend`].
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether a slot may have something for [`NeighbourTable::tend`].
    #[inline]
    #[must_use]
    pub fn is_settled(&self, slot: usize) -> bool {
        let word = self.settled.get(slot / 64);
        word.is_some_and(|word| word.load(Relaxed) >> (slot % 64) & 1 != 0)
    }

    /// Forgets what was learned on an interface, because the interface of that number is another now. Control only.
    /// Pinned entries stay, unresolved.
    pub fn forget_interface(&self, interface: InterfaceId, now: Tick) {
        for (slot, entry) in self.slots.iter().enumerate() {
            let meta = entry.meta.load(Acquire);
            if meta & PRESENT == 0 || interface_of(meta) != interface {
                continue;
            }
            entry.link.store(Link::NEW.0, Release);
            entry.next.store(now.0, Relaxed);
            if entry.pinned.load(Relaxed) == 0 {
                self.remove(slot, meta, Link::NEW);
            }
        }
    }

    /// Calls `f` with every entry.
    pub fn list(&self, now: Tick, f: &mut dyn FnMut(NeighbourView)) {
        for entry in &self.slots {
            let Some((interface, address)) = key_in(entry) else {
                continue;
            };
            let link = entry.link();
            let ago = |stamp: &AtomicU64| {
                let stamp = stamp.load(Relaxed);
                (stamp != NEVER).then(|| now.0.saturating_sub(stamp))
            };
            f(NeighbourView {
                interface,
                address,
                mac: link.usable(),
                state: link.state().into(),
                pinned: entry.pinned.load(Relaxed) > 0,
                confirmed_ms_ago: ago(&entry.confirmed),
                used_ms_ago: ago(&entry.used),
            });
        }
    }

    #[inline]
    pub(super) fn find(
        &self,
        interface: InterfaceId,
        address: IpAddr,
    ) -> Option<(NeighbourId, &Entry, Link)> {
        let key = key_of(interface, address);
        let farthest = self.farthest.load(Acquire);
        for distance in 0..=farthest {
            let at = self.slot(key, distance);
            let entry = self.slots.get(at)?;
            if let Some(link) = matching(entry, key) {
                return Some((NeighbourId(u32::try_from(at).ok()?), entry, link));
            }
        }
        None
    }

    #[inline]
    fn slot(&self, key: (u64, u64, u64), distance: usize) -> usize {
        let [k0, k1] = self.key;
        let mixed = (key.0 ^ k0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ key.1.rotate_left(32) ^ k1;
        let mixed = (mixed ^ key.2).wrapping_mul(0xd6e8_feb8_6659_fd93);
        ((mixed >> 32) as usize).wrapping_add(distance) & (self.slots.len() - 1)
    }

    #[cold]
    fn insert(
        &self,
        interface: InterfaceId,
        address: IpAddr,
        now: Tick,
    ) -> Option<(NeighbourId, &Entry)> {
        let guard = self.change()?;
        if self.entries.load(Relaxed) >= self.capacity && self.find(interface, address).is_none() {
            return None;
        }
        self.insert_guarded(interface, address, now, &guard)
    }

    /// With the flag taken nobody else inserts or removes: what is not found now is not there.
    fn insert_guarded(
        &self,
        interface: InterfaceId,
        address: IpAddr,
        now: Tick,
        _guard: &Changing<'_>,
    ) -> Option<(NeighbourId, &Entry)> {
        if let Some((id, entry, _)) = self.find(interface, address) {
            return Some((id, entry));
        }
        let key = key_of(interface, address);
        for distance in 0..WINDOW.min(self.slots.len()) {
            let at = self.slot(key, distance);
            let entry = self.slots.get(at)?;
            let meta = entry.meta.load(Relaxed);
            if meta & PRESENT != 0 {
                continue;
            }
            if let Some(word) = self.settled.get(at / 64) {
                word.fetch_or(1 << (at % 64), Relaxed);
            }
            // A reader that meets any of the stores below must also meet the removal before them (see `matching`).
            fence(Release);
            entry.high.store(key.0, Relaxed);
            entry.low.store(key.1, Relaxed);
            entry.link.store(Link::NEW.0, Relaxed);
            entry.used.store(NEVER, Relaxed);
            entry.confirmed.store(NEVER, Relaxed);
            entry.next.store(now.0, Relaxed);
            entry.pinned.store(0, Relaxed);
            // First the reach of lookups, then the entry: who sees the entry's key must be able to find it.
            self.farthest.fetch_max(distance, Release);
            let generation = (meta & !(GENERATION - 1)).wrapping_add(GENERATION);
            entry.meta.store(generation | key.2, Release);
            self.entries.fetch_add(1, Relaxed);
            return Some((NeighbourId(u32::try_from(at).ok()?), entry));
        }
        None
    }

    pub(super) fn remove(&self, slot: usize, meta: u64, link: Link) {
        let (Some(_guard), Some(entry)) = (self.change(), self.slots.get(slot)) else {
            return;
        };
        // Under the flag the entry can be pinned no more; what was learned a moment ago keeps it.
        if entry.meta.load(Relaxed) == meta
            && entry.link.load(Relaxed) == link.0
            && entry.pinned.load(Relaxed) == 0
        {
            entry.meta.store(meta & !(GENERATION - 1), Release);
            entry.link.store(Link::NEW.0, Relaxed);
            self.entries.fetch_sub(1, Relaxed);
        }
    }

    fn change(&self) -> Option<Changing<'_>> {
        for _ in 0..TRIES {
            if self
                .changing
                .compare_exchange(false, true, Acquire, Relaxed)
                .is_ok()
            {
                return Some(Changing(&self.changing));
            }
            std::hint::spin_loop();
        }
        None
    }
}

/// The flag, until dropped.
struct Changing<'a>(&'a AtomicBool);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}
