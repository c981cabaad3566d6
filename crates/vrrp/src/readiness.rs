//! Readiness: what a director that has just begun waits for before it takes over from a master that is well. One that took over sooner
//! would have connections to learn that the other still has, and would send clients to servers that nobody has looked at yet.
//!
//! Only preemption waits. Who hears no master, or one that gives up, takes over whatever it knows.

use std::{fmt, time::Duration};

/// Why a director lets a worse master be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The other director's connections are not all here.
    Connections,
    /// So many checks have had no verdict yet, for which it waits so much longer at most.
    Checks(usize, Duration),
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections => f.write_str("not all connections of the master are here yet"),
            Self::Checks(1, left) => write!(
                f,
                "a check has had no verdict yet (waits {} s more at most)",
                left.as_millis().div_ceil(1000)
            ),
            Self::Checks(count, left) => write!(
                f,
                "{count} checks have had no verdict yet (waits {} s more at most)",
                left.as_millis().div_ceil(1000)
            ),
        }
    }
}

/// What is known of that.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    begun: Duration,
    connections: bool,
    cold: usize,
    /// Every check once had a verdict.
    warm: bool,
}

impl Readiness {
    /// A director that begins at `now`, and knows nothing.
    #[must_use]
    pub const fn new(now: Duration) -> Self {
        Self {
            begun: now,
            connections: false,
            cold: 0,
            warm: false,
        }
    }

    /// Whether the other's connections are here, and how many checks have had no verdict yet. That a later check has had none does not
    /// make a director cold that was warm.
    pub const fn learn(&mut self, connections: bool, cold: usize) {
        self.connections = connections;
        self.cold = cold;
        self.warm |= cold == 0;
    }

    /// What it waits for; for checks until `patience` after the start.
    #[must_use]
    pub fn waits(&self, now: Duration, patience: Duration) -> Option<Waits> {
        let left = (self.begun + patience).saturating_sub(now);
        if !self.connections {
            Some(Waits::Connections)
        } else if !self.warm && !left.is_zero() {
            Some(Waits::Checks(self.cold, left))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn connections_are_waited_for_without_end_and_checks_for_so_long() {
        let mut readiness = Readiness::new(s(100));
        assert_eq!(readiness.waits(s(100), s(60)), Some(Waits::Connections));
        readiness.learn(false, 3);
        assert_eq!(readiness.waits(s(500), s(60)), Some(Waits::Connections));
        readiness.learn(true, 3);
        assert_eq!(
            readiness.waits(s(110), s(60)),
            Some(Waits::Checks(3, s(50)))
        );
        assert_eq!(readiness.waits(s(160), s(60)), None, "long enough");
        assert_eq!(readiness.waits(s(110), s(0)), None, "not to be waited for");
        readiness.learn(true, 0);
        assert_eq!(readiness.waits(s(110), s(60)), None);
    }

    #[test]
    fn who_was_warm_stays_warm_but_may_lose_its_connections() {
        let mut readiness = Readiness::new(s(0));
        readiness.learn(true, 0);
        readiness.learn(true, 5);
        assert_eq!(readiness.waits(s(1), s(60)), None);
        readiness.learn(false, 5);
        assert_eq!(readiness.waits(s(1), s(60)), Some(Waits::Connections));
    }

    #[test]
    fn it_is_said_in_words() {
        let of = |count, ms| Waits::Checks(count, Duration::from_millis(ms)).to_string();
        assert_eq!(
            of(12, 29_001),
            "12 checks have had no verdict yet (waits 30 s more at most)"
        );
        assert_eq!(
            of(1, 1),
            "a check has had no verdict yet (waits 1 s more at most)"
        );
    }
}
