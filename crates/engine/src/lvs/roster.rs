//! What is known of services and servers beyond any snapshot: counts, scheduling cursors, thresholds.
//!
//! Fixed-size slabs, indexed by the stable ids. Control hands slots out and takes them back once no snapshot names them
//! and no connection refers to them; workers only touch these lines for new connections and changes of activity.

use super::{calls::Calls, cookies::Flood, entry::Kept, ftp::Records, limits::Pace, paths::Paths};
use crate::views::ConnectionCounts;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use types::{ServerId, ServiceId};

/// A service's state that outlives snapshots.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct ServiceState {
    /// Where the scheduler's walk stands; the scheduler says what it means.
    pub cursor: AtomicU64,
    /// Its new connections against its `rate_limit`.
    pub pace: Pace,
    /// Its SYNs against `syn_cookies`.
    pub flood: Flood,
}

impl ServiceState {
    fn copy(&self) -> Self {
        Self {
            cursor: AtomicU64::new(self.cursor.load(Acquire)),
            pace: self.pace.copy(),
            flood: self.flood.copy(),
        }
    }
}

/// A server's state that outlives snapshots.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct ServerState {
    /// Active in the high half, inactive in the low one: both change in one step.
    counts: AtomicU64,
    persistent: AtomicU32,
    overloaded: AtomicBool,
    /// 0 is off.
    upper: AtomicU32,
    /// 0 is three quarters of the upper.
    lower: AtomicU32,
    /// Attempts to connect, in a row, that it refused or left unanswered (NAT only: elsewhere its answers are not seen).
    failed: AtomicU32,
    /// Templates to it that were given up stay to the end of their time.
    lasting: AtomicBool,
}

/// One active connection in [`ServerState::counts`].
const ACTIVE: u64 = 1 << 32;
const INACTIVE: u64 = 1;

/// Active and inactive connections at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load(u64);

impl Load {
    /// Active connections.
    pub const fn active(self) -> u64 {
        self.0 >> 32
    }

    /// Inactive connections.
    pub const fn inactive(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    /// What lc and wlc compare: an active connection weighs as much as 256 inactive ones.
    pub const fn overhead(self) -> u64 {
        self.active() * 256 + self.inactive()
    }

    /// Both.
    pub const fn total(self) -> u64 {
        self.active() + self.inactive()
    }
}

impl ServerState {
    fn copy(&self) -> Self {
        Self {
            counts: AtomicU64::new(self.counts.load(Acquire)),
            persistent: AtomicU32::new(self.persistent.load(Acquire)),
            overloaded: AtomicBool::new(self.overloaded()),
            upper: AtomicU32::new(self.upper.load(Acquire)),
            lower: AtomicU32::new(self.lower.load(Acquire)),
            failed: AtomicU32::new(self.failed_attempts()),
            lasting: AtomicBool::new(self.lasting.load(Relaxed)),
        }
    }

    /// Control: whether templates to it that were given up stay to the end of their time, as in IPVS, though nothing goes by
    /// them. Else, and once its connections are to end, they go with the last connection they control.
    pub fn set_lasting(&self, lasting: bool) {
        self.lasting.store(lasting, Relaxed);
    }

    /// The upper and the lower threshold.
    pub fn thresholds(&self) -> (u32, u32) {
        (self.upper.load(Acquire), self.lower.load(Acquire))
    }

    /// The load now.
    pub fn load(&self) -> Load {
        Load(self.counts.load(Acquire))
    }

    /// Takes one new, inactive connection on, unless the load is no longer what the choice was based on.
    pub fn admit(&self, seen: Load) -> bool {
        let admitted = self
            .counts
            .compare_exchange(seen.0, seen.0 + INACTIVE, AcqRel, Relaxed)
            .is_ok();
        if admitted {
            self.check_upper(Load(seen.0 + INACTIVE));
        }
        admitted
    }

    /// Takes one new, inactive connection on, whatever the load.
    pub fn admit_any(&self) {
        let before = self.counts.fetch_add(INACTIVE, AcqRel);
        self.check_upper(Load(before + INACTIVE));
    }

    /// An inactive connection became active.
    pub fn activate(&self) {
        self.counts.fetch_add(ACTIVE - INACTIVE, AcqRel);
    }

    /// An active connection became inactive.
    pub fn deactivate(&self) {
        self.counts.fetch_sub(ACTIVE - INACTIVE, AcqRel);
    }

    /// A connection is gone.
    pub fn leave(&self, active: bool) {
        let one = if active { ACTIVE } else { INACTIVE };
        let before = self.counts.fetch_sub(one, AcqRel);
        self.check_lower(Load(before - one));
    }

    /// A persistence template to this server is made.
    pub fn hold(&self) {
        self.persistent.fetch_add(1, AcqRel);
    }

    /// A persistence template is gone.
    pub fn release(&self) {
        self.persistent.fetch_sub(1, AcqRel);
        self.check_lower(self.load());
    }

    /// Whether new connections go elsewhere until some have ended.
    pub fn overloaded(&self) -> bool {
        self.overloaded.load(Acquire)
    }

    /// Control: sets the thresholds. As in IPVS a change only tells at the next connection, but switching them off, or
    /// raising the upper one, lets connections in at once.
    pub fn set_thresholds(&self, upper: u32, lower: u32) {
        let before = self.upper.swap(upper, AcqRel);
        self.lower.store(lower, Release);
        if upper == 0 || upper > before {
            self.overloaded.store(false, Release);
        }
    }

    /// It refused an attempt to connect, or a client had to repeat one.
    pub fn attempt_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// It took an attempt to connect.
    pub fn attempt_succeeded(&self) {
        // Nearly always so already: the line stays clean.
        if self.failed_attempts() != 0 {
            self.failed.store(0, Relaxed);
        }
    }

    /// Attempts that failed since the last that did not.
    pub fn failed_attempts(&self) -> u32 {
        self.failed.load(Relaxed)
    }

    /// Whether connections or templates still refer to it.
    pub fn referenced(&self) -> bool {
        self.counts.load(Acquire) != 0 || self.persistent.load(Acquire) != 0
    }

    /// The counts for a listing.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half of the word is 32 bits"
    )]
    pub fn view(&self) -> ConnectionCounts {
        let load = self.load();
        ConnectionCounts {
            active: load.active() as u32,
            inactive: load.inactive() as u32,
            persistent: self.persistent.load(Acquire),
        }
    }

    fn check_upper(&self, load: Load) {
        let upper = u64::from(self.upper.load(Acquire));
        if upper != 0 && load.total() >= upper {
            self.overloaded.store(true, Release);
        }
    }

    fn check_lower(&self, load: Load) {
        if !self.overloaded.load(Acquire) {
            return;
        }
        let upper = u64::from(self.upper.load(Acquire));
        let lower = u64::from(self.lower.load(Acquire));
        let passed = if lower != 0 {
            load.total() < lower
        } else {
            load.total() * 4 < upper * 3
        };
        if passed || upper == 0 {
            self.overloaded.store(false, Release);
        }
    }
}

/// The slabs.
#[derive(Debug)]
pub(crate) struct Roster {
    services: Box<[ServiceState]>,
    servers: Box<[ServerState]>,
    /// What the ways to servers take.
    pub paths: Paths,
    /// What is kept of FTP control connections.
    pub records: Records,
    /// The Call-IDs of templates.
    pub calls: Calls,
}

impl Roster {
    /// Slabs of that size, all slots unused.
    pub fn new(services: u32, servers: u32) -> Self {
        Self {
            services: (0..services).map(|_| ServiceState::default()).collect(),
            servers: (0..servers).map(|_| ServerState::default()).collect(),
            paths: Paths::new(servers),
            records: Records::default(),
            calls: Calls::default(),
        }
    }

    /// With room for so many FTP control connections, and for so many Call-IDs.
    pub fn with_room(self, records: usize, calls: usize) -> Self {
        Self {
            records: Records::new(records),
            calls: Calls::new(calls),
            ..self
        }
    }

    /// Whether templates to that server that were given up stay to the end of their time.
    pub fn keeps_to_the_end(&self, server: ServerId) -> bool {
        self.server(server)
            .is_some_and(|server| server.lasting.load(Relaxed))
    }

    /// An entry of which that was kept has ended.
    pub fn release(&self, kept: Kept) {
        match kept {
            Kept::Said(record) => self.records.release(record),
            Kept::Call(call) => self.calls.release(call),
        }
    }

    /// How all stand now, by themselves.
    pub fn copy(&self) -> Self {
        Self {
            services: self.services.iter().map(ServiceState::copy).collect(),
            servers: self.servers.iter().map(ServerState::copy).collect(),
            paths: self.paths.copy(),
            records: self.records.copy(),
            calls: self.calls.copy(),
        }
    }

    /// The state in that slot.
    #[inline]
    pub fn service(&self, id: ServiceId) -> Option<&ServiceState> {
        self.services.get(id.index())
    }

    /// The state in that slot.
    #[inline]
    pub fn server(&self, id: ServerId) -> Option<&ServerState> {
        self.servers.get(id.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_have_hysteresis() {
        // Observed of IPVS: x=4 resumes at 2, 5 at 3, 8 at 5 when no lower one is set; else strictly below the lower.
        for (upper, lower, resumes) in [(4, 0, 2), (5, 0, 3), (8, 0, 5), (8, 3, 2)] {
            let server = ServerState::default();
            server.set_thresholds(upper, lower);
            for n in 1..=upper {
                assert!(!server.overloaded());
                assert!(server.admit(server.load()), "{n}");
            }
            assert!(server.overloaded());
            let mut left = upper;
            while server.overloaded() {
                server.leave(false);
                left -= 1;
            }
            assert_eq!(left, resumes, "upper {upper} lower {lower}");
        }
    }

    #[test]
    fn activity_moves_one_connection_between_the_halves() {
        let server = ServerState::default();
        server.admit_any();
        server.activate();
        assert_eq!((server.load().active(), server.load().inactive()), (1, 0));
        assert_eq!(server.load().overhead(), 256);
        server.deactivate();
        assert!(server.referenced());
        assert!(!server.admit(Load(0)), "the load is not what it was");
        server.leave(false);
        assert!(!server.referenced());
    }
}
