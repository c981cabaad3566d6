//! Locality-based least connection: an address asked for goes to the server that had it last, as long as that is not
//! overloaded while another has room; else to the least loaded. With replication (lblcr) an address collects a set of
//! servers, of which the least loaded takes the connection; a set that has not changed for a while loses its most loaded.
//!
//! What is remembered stands in cells of fixed number, read and written without waiting: who meets another worker at the
//! same cell does as if nothing were remembered.

use super::{
    super::{
        roster::{Roster, ServerState},
        services::{Candidate, Service},
    },
    Asker, hash,
    load::{self, Weighing},
};
use std::{
    net::IpAddr,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};
use types::{ServerId, Tick};

/// Addresses remembered at most; IPVS begins to forget at as many.
const CELLS: usize = 1 << BITS;
const BITS: u32 = 14;
/// Cells an address may be in.
const PROBES: usize = 8;
/// Servers of a set at most. Of more, the one that has been in it longest leaves.
const SET: usize = 16;
/// How often IPVS looks for addresses nobody has asked for lately.
const CHECK_MS: u64 = 30 * 60 * 1000;

/// What a service remembers. Made on the control side, and as old as the service's scheduler.
#[derive(Debug)]
pub(crate) struct Locality {
    cells: Box<[Cell]>,
    since: Tick,
}

/// One address and its servers.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell {
    /// Odd while it is written; even numbers count the writes, 0 is empty.
    version: AtomicU32,
    count: AtomicU32,
    address: [AtomicU64; 2],
    used: AtomicU64,
    changed: AtomicU64,
    servers: [AtomicU32; SET],
}

/// The servers of an address, newest first.
#[derive(Clone, Copy, Debug)]
struct Set {
    servers: [ServerId; SET],
    count: usize,
    changed: Tick,
}

impl Set {
    fn of(server: ServerId, now: Tick) -> Self {
        Self {
            servers: [server; SET],
            count: 1,
            changed: now,
        }
    }

    fn iter(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.servers.iter().copied().take(self.count)
    }

    /// As the newest; says whether it is new.
    fn insert(&mut self, server: ServerId, now: Tick) -> bool {
        if self.iter().any(|s| s == server) {
            return false;
        }
        let last = self.count.min(SET - 1);
        self.servers.copy_within(..last, 1);
        let [first, ..] = &mut self.servers;
        *first = server;
        self.count = last + 1;
        self.changed = now;
        true
    }

    fn remove(&mut self, server: ServerId, now: Tick) {
        let at = self.iter().position(|s| s == server);
        if let Some(at) = at {
            self.servers.copy_within(at + 1..self.count, at);
            self.count -= 1;
            self.changed = now;
        }
    }
}

/// An address as two words, never both 0 for one that can be asked for.
fn words(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    [(bits >> 64) as u64, bits as u64]
}

impl Locality {
    /// Remembers nothing yet.
    pub fn new(since: Tick) -> Self {
        Self {
            cells: (0..CELLS).map(|_| Cell::default()).collect(),
            since,
        }
    }

    /// What is remembered now, in cells of its own.
    pub fn copy(&self) -> Self {
        let copy = Self::new(self.since);
        for (to, from) in copy.cells.iter().zip(&self.cells) {
            if let Some((address, used, set)) = from.read() {
                to.write(address, &set, set.changed);
                to.used.store(used.0, Relaxed);
            }
        }
        copy
    }

    fn cells_of(&self, address: IpAddr) -> impl Iterator<Item = &Cell> {
        let first = hash::multiplicative::<BITS>(hash::folded(address));
        (0..PROBES).filter_map(move |n| self.cells.get((first + n) % CELLS))
    }

    /// Whether what was last asked for at `used` is forgotten by now.
    fn is_forgotten(&self, used: Tick, expiry_ms: u64, now: Tick) -> bool {
        let checked = self.since + now.since_ms(self.since) / CHECK_MS * CHECK_MS;
        checked > self.since && checked >= used + expiry_ms
    }

    /// The servers of an address, which now has been asked for.
    fn find(&self, address: IpAddr, expiry_ms: u64, now: Tick) -> Option<Set> {
        let wanted = words(address);
        for cell in self.cells_of(address) {
            let Some((found, used, set)) = cell.read() else {
                continue;
            };
            if found != wanted {
                continue;
            }
            if self.is_forgotten(used, expiry_ms, now) {
                return None;
            }
            cell.used.store(now.0, Relaxed);
            return Some(set);
        }
        None
    }

    /// Remembers the servers of an address, in place of what was known of it, or of the address longest not asked for.
    fn put(&self, address: IpAddr, set: &Set, now: Tick) {
        let wanted = words(address);
        let age = |cell: &&Cell| match cell.read() {
            Some((found, ..)) if found == wanted => (0, 0),
            Some((_, used, _)) => (2, used.0),
            None => (1, 0),
        };
        if let Some(cell) = self.cells_of(address).min_by_key(age) {
            cell.write(wanted, set, now);
        }
    }
}

impl Cell {
    /// Address, when it was last asked for, servers. `None`: empty, or being written.
    fn read(&self) -> Option<([u64; 2], Tick, Set)> {
        let before = self.version.load(Acquire);
        if before == 0 || before % 2 == 1 {
            return None;
        }
        let address = [0, 1].map(|n: usize| self.address.get(n).map_or(0, |a| a.load(Relaxed)));
        let mut set = Set::of(ServerId(0), Tick(self.changed.load(Relaxed)));
        set.count = (self.count.load(Relaxed) as usize).min(SET);
        for (to, from) in set.servers.iter_mut().zip(&self.servers) {
            *to = ServerId(from.load(Relaxed));
        }
        let used = Tick(self.used.load(Relaxed));
        // What was read above is believed only if nobody has written meanwhile.
        fence(Acquire);
        (self.version.load(Relaxed) == before).then_some((address, used, set))
    }

    fn write(&self, address: [u64; 2], set: &Set, now: Tick) {
        let before = self.version.load(Relaxed);
        let odd = before.wrapping_add(1);
        if before % 2 == 1
            || self
                .version
                .compare_exchange(before, odd, Acquire, Relaxed)
                .is_err()
        {
            // Another worker writes here: this time it is not remembered.
            return;
        }
        // A reader that sees what is written below also sees that the version is odd.
        fence(Release);
        for (to, from) in self.address.iter().zip(address) {
            to.store(from, Relaxed);
        }
        for (to, from) in self.servers.iter().zip(set.servers) {
            to.store(from.0, Relaxed);
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most SET")]
        self.count.store(set.count as u32, Relaxed);
        self.changed.store(set.changed.0, Relaxed);
        self.used.store(now.0, Relaxed);
        // Never 0 again, which is empty.
        let even = match odd.wrapping_add(1) {
            0 => 2,
            even => even,
        };
        self.version.store(even, Release);
    }
}

/// A server of the service, with its state.
fn server<'s, 'r>(
    service: &'s Service,
    roster: &'r Roster,
    id: ServerId,
) -> Option<(&'s Candidate, &'r ServerState)> {
    let candidate = service.servers.iter().find(|c| c.id == id)?;
    Some((candidate, roster.server(id)?))
}

/// More active connections than its weight says, while a server has less than half of what its own says.
fn is_overloaded(service: &Service, roster: &Roster, candidate: &Candidate) -> bool {
    let active = |c: &Candidate| roster.server(c.id).map_or(0, |s| s.load().active());
    active(candidate) > u64::from(candidate.weight.0)
        && service
            .servers
            .iter()
            .any(|c| active(c) * 2 < u64::from(c.weight.0))
}

/// lblc.
pub(super) fn choose<'s>(
    service: &'s Service,
    roster: &Roster,
    asker: &Asker<'_>,
) -> Option<&'s Candidate> {
    let locality = service.locality.as_deref()?;
    let (address, now) = (asker.destination, asker.now);
    let expiry_ms = u64::from(asker.settings.lblc_expiration_s) * 1000;
    let known = locality.find(address, expiry_ms, now);
    let last = known.and_then(|set| server(service, roster, set.iter().next()?));
    if let Some((candidate, state)) = last
        && candidate.weight.0 > 0
        && !is_overloaded(service, roster, candidate)
    {
        // The thresholds do not count here, as in IPVS.
        state.admit_any();
        return Some(candidate);
    }
    let chosen = load::choose(service, roster, Weighing::ByWeight)?;
    locality.put(address, &Set::of(chosen.id, now), now);
    Some(chosen)
}

/// lblcr.
pub(super) fn choose_of_set<'s>(
    service: &'s Service,
    roster: &Roster,
    asker: &Asker<'_>,
) -> Option<&'s Candidate> {
    let locality = service.locality.as_deref()?;
    let (address, now) = (asker.destination, asker.now);
    let expiry_ms = u64::from(asker.settings.lblcr_expiration_s) * 1000;
    let Some(mut set) = locality.find(address, expiry_ms, now) else {
        let chosen = load::choose(service, roster, Weighing::ByWeight)?;
        locality.put(address, &Set::of(chosen.id, now), now);
        return Some(chosen);
    };
    let least = extreme(service, roster, &set, false);
    if set.count > 1
        && now > set.changed + expiry_ms
        && let Some((most, _)) = extreme(service, roster, &set, true)
    {
        set.remove(most.id, now);
        locality.put(address, &set, now);
    }
    if let Some((candidate, state)) = least
        && !is_overloaded(service, roster, candidate)
    {
        state.admit_any();
        return Some(candidate);
    }
    let chosen = load::choose(service, roster, Weighing::ByWeight)?;
    if set.insert(chosen.id, now) {
        locality.put(address, &set, now);
    }
    Some(chosen)
}

/// Of a set's servers the least loaded for its weight, or the most; of equals the newest.
fn extreme<'s, 'r>(
    service: &'s Service,
    roster: &'r Roster,
    set: &Set,
    most: bool,
) -> Option<(&'s Candidate, &'r ServerState)> {
    let servers = set.iter().filter_map(|id| server(service, roster, id));
    servers
        .filter(|(c, state)| c.weight.0 > 0 && (most || !state.overloaded()))
        .map(|(c, state)| (c, state, state.load().overhead()))
        .reduce(|best, next| {
            let product = |load: u64, weight: u32| u128::from(load) * u128::from(weight);
            let (of_best, of_next) = (
                product(best.2, next.0.weight.0),
                product(next.2, best.0.weight.0),
            );
            let wins = if most {
                of_best < of_next
            } else {
                of_best > of_next
            };
            if wins { next } else { best }
        })
        .map(|(candidate, state, _)| (candidate, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0xc633_6400 + n).into()
    }

    #[test]
    fn what_is_put_is_found_until_it_is_forgotten() {
        let locality = Locality::new(Tick(5));
        let now = Tick(1000);
        assert!(locality.find(address(1), HOUR, now).is_none());
        locality.put(address(1), &Set::of(ServerId(7), now), now);
        let found = |at: u64| {
            let set = locality.find(address(1), HOUR, Tick(at))?;
            set.iter().next()
        };
        assert_eq!(found(2000), Some(ServerId(7)));
        // Only at every half hour does IPVS look: 2000 + an hour is forgotten at an hour and a half.
        assert!(locality.is_forgotten(Tick(2000), HOUR, Tick(5 + HOUR * 3 / 2)));
        assert!(!locality.is_forgotten(Tick(2000), HOUR, Tick(HOUR + 3000)));
        assert_eq!(found(HOUR + 3000), Some(ServerId(7)));
        assert_eq!(found(4 * HOUR), None);
    }

    #[test]
    fn more_addresses_than_room_push_out_the_oldest() {
        let locality = Locality::new(Tick(0));
        for n in 0..100_000 {
            let set = Set::of(ServerId(n), Tick(n.into()));
            locality.put(address(n), &set, Tick(n.into()));
            let found = locality.find(address(n), HOUR, Tick(n.into()));
            assert_eq!(found.and_then(|set| set.iter().next()), Some(ServerId(n)));
        }
        assert!(locality.find(address(0), HOUR, Tick(100_000)).is_none());
    }

    #[test]
    fn a_set_is_bounded_and_newest_first() {
        let mut set = Set::of(ServerId(0), Tick(0));
        for n in 1..40 {
            assert!(set.insert(ServerId(n), Tick(n.into())));
            assert!(!set.insert(ServerId(n), Tick(99)));
        }
        assert_eq!((set.count, set.changed), (SET, Tick(39)));
        assert_eq!(set.iter().next(), Some(ServerId(39)));
        assert_eq!(set.iter().last(), Some(ServerId(24)));
        set.remove(ServerId(38), Tick(50));
        let left: Vec<u32> = set.iter().map(|s| s.0).collect();
        assert_eq!((left.len(), left[0], left[1]), (SET - 1, 39, 37));
    }

    /// Whatever readers see was once written: all servers of a set are of one write.
    #[test]
    fn a_cell_is_read_whole_or_not_at_all() {
        let locality = Locality::new(Tick(0));
        std::thread::scope(|scope| {
            for thread in 0..2_u32 {
                let locality = &locality;
                scope.spawn(move || {
                    for n in 0..20_000 {
                        let set = Set::of(ServerId(n * 2 + thread), Tick(0));
                        locality.put(address(3), &set, Tick(0));
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..40_000 {
                    if let Some(set) = locality.find(address(3), HOUR, Tick(1)) {
                        assert!(set.servers.iter().all(|s| *s == set.servers[0]));
                    }
                }
            });
        });
    }
}
