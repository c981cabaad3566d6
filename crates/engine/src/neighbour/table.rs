//! The table: lookup, insertion, learning, and the clockwork of questions.

use super::{Link, NeighbourId, NeighbourView, State};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};
use types::{InterfaceId, MacAddr, Tick};

/// Slots from its home an entry may lie at most.
const WINDOW: usize = 128;
/// Tries for the flag of insertion before a packet is rather dropped.
const TRIES: usize = 2000;
/// Between two questions: RFC 4861's RetransTimer, RFC 1122's limit of one a second.
pub(super) const RETRY_MS: u64 = 1000;
/// How long an answer is good: RFC 4861's REACHABLE_TIME.
const REACHABLE_MS: u64 = 30_000;
/// An entry nobody sent to for so long goes.
const UNUSED_MS: u64 = 600_000;
/// The same when three quarters of the table are used, and for entries that never answered.
const UNUSED_SCARCE_MS: u64 = 60_000;
/// A failed entry goes after this, so that it is asked anew.
const FAILED_MS: u64 = 5_000;
/// How coarse `used` is: senders write the line at most so often.
const USED_GRAIN_MS: u64 = 1000;
/// "Never" in a stamp.
const NEVER: u64 = u64::MAX;

/// State of a slot in `meta`: bit 0 present, bit 1 IPv6; bits 16..32 the interface; the rest counts its uses.
const PRESENT: u64 = 1;
const V6: u64 = 2;
const GENERATION: u64 = 1 << 32;

/// One neighbour, one line.
#[derive(Debug)]
#[repr(align(64))]
struct Entry {
    /// Address, IPv4 in the low 32 bits of `low`.
    high: AtomicU64,
    low: AtomicU64,
    /// See [`PRESENT`].
    meta: AtomicU64,
    /// A [`Link`].
    link: AtomicU64,
    /// When a packet was last sent to it, ms.
    used: AtomicU64,
    /// When it last answered, ms.
    confirmed: AtomicU64,
    /// When the next question may be sent, or the state last changed, ms.
    next: AtomicU64,
    /// How many needs pin it.
    pinned: AtomicU32,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    const fn free() -> Self {
        Self {
            high: AtomicU64::new(0),
            low: AtomicU64::new(0),
            meta: AtomicU64::new(0),
            link: AtomicU64::new(0),
            used: AtomicU64::new(NEVER),
            confirmed: AtomicU64::new(NEVER),
            next: AtomicU64::new(0),
            pinned: AtomicU32::new(0),
        }
    }

    fn link(&self) -> Link {
        Link(self.link.load(Acquire))
    }
}

/// A question to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The link.
    pub interface: InterfaceId,
    /// Who is asked for.
    pub address: IpAddr,
    /// Whom to ask; `None`: everybody.
    pub to: Option<MacAddr>,
}

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
    slots: Box<[Entry]>,
    /// The farthest any entry ever lay from its home: lookups look no further.
    farthest: AtomicUsize,
    /// Taken to insert or remove.
    changing: AtomicBool,
    entries: AtomicUsize,
    capacity: usize,
    key: [u64; 2],
}

impl NeighbourTable {
    /// A table for `capacity` neighbours; `key` makes its hash unpredictable.
    #[must_use]
    pub fn new(capacity: usize, key: [u64; 2]) -> Self {
        let slots = (capacity.max(8) * 2).next_power_of_two();
        Self {
            slots: (0..slots).map(|_| Entry::free()).collect(),
            farthest: AtomicUsize::new(0),
            changing: AtomicBool::new(false),
            entries: AtomicUsize::new(0),
            capacity: capacity.max(8),
            key,
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

    /// Whether `id` still is that neighbour, and what it knows. `None`: the slot went to another.
    #[must_use]
    pub fn check(&self, id: NeighbourId, interface: InterfaceId, address: IpAddr) -> Option<Link> {
        let entry = self.slots.get(id.0 as usize)?;
        matching(entry, key_of(interface, address))
    }

    /// Moves one slot's clockwork: the question now due to its entry, if it has one to ask. Any worker may call it; a
    /// question is given to one of them only.
    pub fn tend(&self, slot: usize, now: Tick) -> Option<Probe> {
        let entry = self.slots.get(slot)?;
        let meta = entry.meta.load(Acquire);
        if meta & PRESENT == 0 {
            return None;
        }
        let link = entry.link();
        let idle_ms = since(now, entry.used.load(Relaxed));
        let pinned = entry.pinned.load(Relaxed) > 0;
        match link.state() {
            State::Permanent => None,
            State::Reachable => {
                let confirmed = since(now, entry.confirmed.load(Relaxed));
                if confirmed > REACHABLE_MS && (idle_ms < REACHABLE_MS || pinned) {
                    return self.ask(entry, meta, link, now);
                }
                if !pinned && idle_ms.min(confirmed) > self.unused_ms() {
                    self.remove(slot, meta, link);
                }
                None
            }
            State::Incomplete | State::Probing => self.ask(entry, meta, link, now),
            State::Failed => {
                let failed = now.0.saturating_sub(entry.next.load(Relaxed));
                if pinned && failed > REACHABLE_MS {
                    revive(entry, link);
                } else if !pinned && failed > FAILED_MS {
                    self.remove(slot, meta, link);
                }
                None
            }
        }
    }

    /// Slots to pass to [`NeighbourTable::tend`].
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.len()
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

    /// Takes the next question, or gives up. Whose exchange of `next` succeeds does it; others find it not due.
    fn ask(&self, entry: &Entry, meta: u64, link: Link, now: Tick) -> Option<Probe> {
        let (next, to) = match link.asked() {
            Some((next, to)) => (next, Some(to)),
            None => (Link::new(State::Failed, MacAddr([0; 6]), 0), None),
        };
        let due = entry.next.load(Relaxed);
        // After a failure `next` is the moment of it.
        let then = if to.is_some() {
            now.0 + RETRY_MS
        } else {
            now.0
        };
        if due > now.0
            || entry
                .next
                .compare_exchange(due, then, Relaxed, Relaxed)
                .is_err()
        {
            return None;
        }
        entry
            .link
            .compare_exchange(link.0, next.0, Release, Relaxed)
            .ok()?;
        Some(Probe {
            interface: interface_of(meta),
            address: address_of(meta, entry),
            to: to?,
        })
    }

    fn unused_ms(&self) -> u64 {
        if self.entries.load(Relaxed) * 4 > self.capacity * 3 {
            UNUSED_SCARCE_MS
        } else {
            UNUSED_MS
        }
    }

    #[inline]
    fn find(&self, interface: InterfaceId, address: IpAddr) -> Option<(NeighbourId, &Entry, Link)> {
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

    fn remove(&self, slot: usize, meta: u64, link: Link) {
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

#[inline]
fn stamp_used(entry: &Entry, now: Tick) {
    let used = entry.used.load(Relaxed);
    if used == NEVER || now.0.saturating_sub(used) >= USED_GRAIN_MS {
        entry.used.store(now.0, Relaxed);
    }
}

/// A failed neighbour somebody sends to is asked for anew, at once: `next` is the moment it failed.
fn revive(entry: &Entry, link: Link) {
    if link.state() == State::Failed {
        // Another worker may have done it, or learned the MAC: both are as good.
        let _ = entry
            .link
            .compare_exchange(link.0, Link::NEW.0, Release, Relaxed);
    }
}

const fn since(now: Tick, stamp: u64) -> u64 {
    if stamp == NEVER {
        u64::MAX
    } else {
        now.0.saturating_sub(stamp)
    }
}

/// (high, low, the constant part of `meta`).
#[inline]
fn key_of(interface: InterfaceId, address: IpAddr) -> (u64, u64, u64) {
    let place = PRESENT | (u64::from(interface.0) << 16);
    match address {
        IpAddr::V4(ip) => (0, ip.to_bits().into(), place),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, rest @ ..] = ip.octets();
            (
                u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                u64::from_be_bytes(rest),
                place | V6,
            )
        }
    }
}

/// The entry's link, if it is the key's and was while the link was read.
#[inline]
fn matching(entry: &Entry, key: (u64, u64, u64)) -> Option<Link> {
    let meta = entry.meta.load(Acquire);
    if meta & (GENERATION - 1) != key.2
        || entry.low.load(Relaxed) != key.1
        || entry.high.load(Relaxed) != key.0
    {
        return None;
    }
    let link = Link(entry.link.load(Relaxed));
    // The slot may have gone to another neighbour between the loads; the count of uses tells.
    fence(Acquire);
    (entry.meta.load(Relaxed) == meta).then_some(link)
}

fn key_in(entry: &Entry) -> Option<(InterfaceId, IpAddr)> {
    let meta = entry.meta.load(Acquire);
    let address = address_of(meta, entry);
    fence(Acquire);
    (meta & PRESENT != 0 && entry.meta.load(Relaxed) == meta).then(|| (interface_of(meta), address))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "16 bits of it are the interface"
)]
const fn interface_of(meta: u64) -> InterfaceId {
    InterfaceId((meta >> 16) as u16)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an IPv4 address is the low 32 bits"
)]
fn address_of(meta: u64, entry: &Entry) -> IpAddr {
    let (high, low) = (entry.high.load(Relaxed), entry.low.load(Relaxed));
    if meta & V6 == 0 {
        Ipv4Addr::from_bits(low as u32).into()
    } else {
        Ipv6Addr::from_bits((u128::from(high) << 64) | u128::from(low)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::HashMap, sync::Barrier};

    const CL: InterfaceId = InterfaceId(0);
    const RS: InterfaceId = InterfaceId(1);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn table(capacity: usize) -> NeighbourTable {
        NeighbourTable::new(capacity, [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321])
    }

    fn ip(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn id_of(
        table: &NeighbourTable,
        interface: InterfaceId,
        address: IpAddr,
        now: Tick,
    ) -> NeighbourId {
        match table.resolve(interface, address, now) {
            Resolved::Unknown(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_neighbour_is_asked_for_once_a_second_three_times() {
        let table = table(16);
        let id = id_of(&table, CL, ip(1), Tick(5));
        let slot = id.0 as usize;
        let mut asked = Vec::new();
        for ms in 5..10_000 {
            if let Some(probe) = table.tend(slot, Tick(ms)) {
                assert_eq!(
                    (probe.interface, probe.address, probe.to),
                    (CL, ip(1), None)
                );
                asked.push(ms);
            }
        }
        assert_eq!(asked, [5, 1005, 2005]);
        assert!(
            table.check(id, CL, ip(1)).is_none(),
            "forgotten after its failure"
        );
    }

    #[test]
    fn an_answer_serves_then_is_asked_again_itself() {
        let table = table(16);
        let id = id_of(&table, CL, ip(1), Tick(0));
        assert!(table.tend(id.0 as usize, Tick(0)).is_some());
        assert!(table.learn(CL, ip(1), MAC, false, Tick(20)));
        assert_eq!(table.resolve(CL, ip(1), Tick(25_000)), Resolved::Mac(MAC));
        assert_eq!(table.mac(id, Tick(25_000)), Some(MAC));
        assert_eq!(table.tend(id.0 as usize, Tick(30_000)), None, "fresh");
        let probe = table.tend(id.0 as usize, Tick(30_021)).unwrap();
        assert_eq!(probe.to, Some(MAC), "unicast first");
        assert_eq!(table.mac(id, Tick(30_022)), Some(MAC), "in use meanwhile");
        assert!(table.learn(CL, ip(1), MAC, false, Tick(30_023)));
        assert_eq!(
            table.check(id, CL, ip(1)).unwrap().state(),
            State::Reachable
        );
    }

    #[test]
    fn an_unused_one_is_not_asked_and_goes() {
        let table = table(16);
        let id = id_of(&table, CL, ip(1), Tick(0));
        table.learn(CL, ip(1), MAC, false, Tick(1));
        for ms in (1..UNUSED_MS).step_by(500) {
            assert_eq!(table.tend(id.0 as usize, Tick(ms)), None);
        }
        assert!(table.check(id, CL, ip(1)).is_some());
        table.tend(id.0 as usize, Tick(UNUSED_MS + 10));
        assert!(table.check(id, CL, ip(1)).is_none());
        assert_eq!(table.entries.load(Relaxed), 0);
    }

    #[test]
    fn a_pinned_one_stays_and_is_kept_resolved() {
        let table = table(16);
        let id = table.ensure(RS, ip(7), Tick(0)).unwrap();
        assert_eq!(table.ensure(RS, ip(7), Tick(0)), Some(id));
        let mut probes = 0;
        for ms in (0..200_000).step_by(10) {
            probes += usize::from(table.tend(id.0 as usize, Tick(ms)).is_some());
        }
        assert!(probes > 12, "asked again after failures: {probes}");
        assert!(table.check(id, RS, ip(7)).is_some());
        table.learn(RS, ip(7), MAC, false, Tick(200_000));
        assert!(
            table.tend(id.0 as usize, Tick(230_001)).is_some(),
            "kept fresh unused"
        );
        table.release(id);
        table.release(id);
        table.learn(RS, ip(7), MAC, false, Tick(230_002));
        table.tend(id.0 as usize, Tick(2_000_000));
        assert!(table.check(id, RS, ip(7)).is_none());
    }

    #[test]
    fn what_was_set_by_hand_is_not_overruled() {
        let table = table(16);
        assert!(table.set_permanent(CL, ip(1), MAC, Tick(0)));
        assert!(!table.learn(CL, ip(1), MacAddr([2; 6]), true, Tick(1)));
        assert_eq!(table.resolve(CL, ip(1), Tick(2)), Resolved::Mac(MAC));
        assert_eq!(table.tend(id_slot(&table, ip(1)), Tick(1 << 40)), None);
        assert_eq!(table.resolve(CL, ip(1), Tick(1 << 40)), Resolved::Mac(MAC));
    }

    fn id_slot(table: &NeighbourTable, address: IpAddr) -> usize {
        table.find(CL, address).unwrap().0.0 as usize
    }

    #[test]
    fn strangers_are_not_learned_and_askers_only_while_there_is_room() {
        let table = table(8);
        assert!(!table.learn(CL, ip(1), MAC, false, Tick(0)));
        let learned = (0..100)
            .filter(|n| table.learn(CL, ip(*n), MAC, true, Tick(0)))
            .count();
        assert_eq!(learned, 4);
    }

    #[test]
    fn a_full_table_says_so_and_serves_those_it_has() {
        let table = table(8);
        let found: Vec<_> = (0..20).map(|n| table.resolve(CL, ip(n), Tick(0))).collect();
        let full = found.iter().filter(|r| **r == Resolved::Full).count();
        assert_eq!(full, 12);
        assert_eq!(table.resolve(CL, ip(0), Tick(1)), found[0]);
    }

    #[test]
    fn an_interface_that_became_another_is_forgotten() {
        let table = table(16);
        table.learn(CL, ip(1), MAC, true, Tick(0));
        table.learn(RS, ip(1), MAC, true, Tick(0));
        let pinned = table.ensure(CL, ip(2), Tick(0)).unwrap();
        table.learn(CL, ip(2), MAC, false, Tick(0));
        table.forget_interface(CL, Tick(1));
        assert_eq!(table.peek(CL, ip(1)), None);
        assert_eq!(table.peek(RS, ip(1)), Some(MAC));
        assert_eq!(table.mac(pinned, Tick(1)), None);
        assert!(table.check(pinned, CL, ip(2)).is_some());
    }

    #[test]
    fn workers_that_meet_the_same_new_neighbours_make_one_entry_each() {
        let table = table(512);
        let barrier = Barrier::new(4);
        let found: Vec<Vec<Resolved>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        (0..400)
                            .map(|n| {
                                loop {
                                    // A worker that could not take the flag drops a packet; its sender tries again.
                                    let found = table.resolve(CL, ip(n), Tick(0));
                                    if found != Resolved::Full {
                                        break found;
                                    }
                                }
                            })
                            .collect()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for other in &found {
            assert_eq!(*other, found[0]);
        }
        let mut listed = 0;
        table.list(Tick(0), &mut |_| listed += 1);
        assert_eq!((listed, table.entries.load(Relaxed)), (400, 400));
    }

    #[test]
    fn one_question_goes_to_one_worker() {
        let table = table(16);
        let slot = id_of(&table, CL, ip(1), Tick(0)).0 as usize;
        for round in 0..3u64 {
            let now = Tick(round * 1000);
            let barrier = Barrier::new(4);
            let asked: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            (0..50).filter(|_| table.tend(slot, now).is_some()).count()
                        })
                    })
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).sum()
            });
            assert_eq!(asked, 1);
        }
    }

    #[test]
    fn a_reader_never_meets_one_neighbour_s_mac_under_another_s_address() {
        let table = table(8);
        let done = AtomicBool::new(false);
        let mac_of = |n: u32| {
            let [a, b, c, d] = n.to_be_bytes();
            MacAddr([2, 0, a, b, c, d])
        };
        let met = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut met = 0u64;
                while !done.load(Relaxed) {
                    for n in 0..64 {
                        if let Some(mac) = table.peek(CL, ip(n)) {
                            assert_eq!(mac, mac_of(n));
                            met += 1;
                        }
                    }
                }
                met
            });
            for n in 0..200_000u32 {
                let n = n % 64;
                table.learn(CL, ip(n), mac_of(n), true, Tick(0));
                if n % 3 == 2 {
                    table.forget_interface(CL, Tick(0));
                }
            }
            done.store(true, Relaxed);
            reader.join().unwrap()
        });
        assert!(met > 0);
    }

    proptest! {
        /// Against a map, with entries of both families coming and going.
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0u32..60, any::<bool>(), 0u8..4), 1..400)) {
            let table = table(64);
            let mut model: HashMap<(InterfaceId, IpAddr), MacAddr> = HashMap::new();
            let mut now = Tick(0);
            for (n, six, action) in steps {
                now = now + 7;
                let address = if six { Ipv6Addr::from_bits(u128::from(n) << 60).into() } else { ip(n) };
                let interface = InterfaceId(u16::try_from(n & 1).unwrap());
                let mac = MacAddr([2, 0, action, 0, 0, u8::try_from(n).unwrap()]);
                match action {
                    0 => {
                        if table.learn(interface, address, mac, true, now) {
                            model.insert((interface, address), mac);
                        }
                    }
                    1 => {
                        let known = model.contains_key(&(interface, address));
                        prop_assert_eq!(table.learn(interface, address, mac, false, now), known);
                        if known {
                            model.insert((interface, address), mac);
                        }
                    }
                    2 => {
                        table.forget_interface(interface, now);
                        model.retain(|(i, _), _| *i != interface);
                    }
                    _ => prop_assert_eq!(table.peek(interface, address), model.get(&(interface, address)).copied()),
                }
            }
            let mut listed = HashMap::new();
            table.list(now, &mut |view| {
                listed.insert((view.interface, view.address), view.mac.unwrap());
            });
            prop_assert_eq!(listed, model);
        }
    }
}
