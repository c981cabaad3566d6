//! Whether a service is under a flood of SYNs: the switch, with hysteresis.

use super::super::limits::Pace;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};
use types::{SynCookies, Tick};

/// How long it stays on after the last second that was beyond the lower rate.
const HOLD_MS: u64 = 5_000;
/// While it stays on anyway, so many milliseconds need not be noted.
const COARSE_MS: u64 = 100;

/// How a service's flood stands. What a flood costs here are reads: words change as often as the limit allows, not as often as SYNs
/// come.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// New SYNs against the rate.
    pace: Pace,
    /// And against three quarters of it: below that it ends.
    calm: Pace,
    /// Connections made of packets that follow a SYN of which nothing was kept, and prove nothing.
    inserted: Pace,
    /// When it ends, unless it goes on.
    until: AtomicU64,
}

impl Flood {
    /// Counts a SYN that no connection has; whether it is to be answered without keeping anything of it.
    pub fn meets(&self, wanted: SynCookies, now: Tick) -> bool {
        match wanted {
            SynCookies::Off => false,
            SynCookies::On => {
                self.prolong(now);
                true
            }
            SynCookies::Above(above) => {
                let on = self.is_on(now);
                let counted = self.count(above, on, now);
                on || counted.is_over
            }
        }
    }

    /// [`Flood::meets`] so many of them, while it is on.
    pub fn meets_all(&self, wanted: SynCookies, n: usize, now: Tick) {
        let SynCookies::Above(above) = wanted else {
            if n > 0 {
                self.meets(wanted, now);
            }
            return;
        };
        for _ in 0..n {
            // Neither rate lets one more through before the clock goes on: nothing would come of counting the others.
            if self.count(above, self.is_on(now), now) == Counted::BEYOND {
                return;
            }
        }
    }

    /// Counts a SYN against both rates.
    fn count(&self, above: u32, on: bool, now: Tick) -> Counted {
        let lower = (above / 4 * 3 + above % 4 * 3 / 4).max(1);
        let counted = Counted {
            is_over: !self.pace.take(now, above),
            goes_on: on && !self.calm.take(now, lower),
        };
        if counted.is_over || counted.goes_on {
            self.prolong(now);
        }
        counted
    }

    /// Whether SYNs are answered so now.
    pub fn is_on(&self, now: Tick) -> bool {
        now.0 < self.until.load(Relaxed)
    }

    /// Whether some were within the last so many milliseconds.
    pub fn was_on(&self, now: Tick, ms: u64) -> bool {
        now.0 < self.until.load(Relaxed).saturating_add(ms) && self.until.load(Relaxed) != 0
    }

    /// Takes one of such connections; whether it may be made.
    pub fn may_insert(&self, now: Tick, rate: u32) -> bool {
        self.inserted.take(now, rate)
    }

    fn prolong(&self, now: Tick) {
        let until = now.0 + HOLD_MS;
        if self.until.load(Relaxed) + COARSE_MS <= until {
            self.until.store(until, Release);
        }
    }

    /// How it stands now.
    pub fn copy(&self) -> Self {
        Self {
            pace: self.pace.copy(),
            calm: self.calm.copy(),
            inserted: self.inserted.copy(),
            until: AtomicU64::new(self.until.load(Relaxed)),
        }
    }
}

/// What a SYN means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    /// The flood begins, or is still as bad.
    is_over: bool,
    /// It goes on.
    goes_on: bool,
}

impl Counted {
    const BEYOND: Self = Self {
        is_over: true,
        goes_on: true,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many SYNs a second, evenly; how many of them were met as a flood.
    fn seconds(flood: &Flood, from_ms: u64, seconds: u64, rate: u64) -> usize {
        let syns = 0..seconds * rate;
        let at = |n| Tick(from_ms + n * 1000 / rate);
        syns.filter(|n| flood.meets(SynCookies::Above(100), at(*n)))
            .count()
    }

    #[test]
    fn on_above_the_rate_and_off_again_below_three_quarters() {
        let flood = Flood::default();
        assert_eq!(seconds(&flood, 10_000, 10, 99), 0);
        // A second's worth at once is no flood; then it begins.
        let met = seconds(&flood, 30_000, 10, 1000);
        assert!((9_500..9_950).contains(&met), "{met}");
        // Between the two rates it goes on.
        assert_eq!(seconds(&flood, 40_000, 20, 90), 20 * 90);
        // Below, it ends within some seconds and does not come back.
        let met = seconds(&flood, 60_000, 20, 70);
        assert!((1..=7 * 70).contains(&met), "{met}");
        assert!(!flood.is_on(Tick(80_000)));
        assert_eq!(seconds(&flood, 80_000, 10, 99), 0);
    }

    /// Rows of SYNs, counted as rows, leave what the same SYNs leave one by one.
    #[test]
    fn many_at_once_count_as_many() {
        let (one_by_one, rows) = (Flood::default(), Flood::default());
        let wanted = SynCookies::Above(100);
        for flood in [&one_by_one, &rows] {
            seconds(flood, 10_000, 2, 1000);
        }
        let sizes = [1, 32, 5, 0, 17].into_iter().cycle();
        for (ms, n) in (12_000..40_000).step_by(7).zip(sizes) {
            let n = if ms < 20_000 { n } else { n / 17 };
            let (now, on) = (Tick(ms), rows.is_on(Tick(ms)));
            assert_eq!(on, one_by_one.is_on(now), "{ms}");
            if !on {
                continue;
            }
            rows.meets_all(wanted, n, now);
            for _ in 0..n {
                one_by_one.meets(wanted, now);
            }
        }
        assert_eq!(format!("{rows:?}"), format!("{one_by_one:?}"));
        assert!(!rows.is_on(Tick(60_000)));
    }

    #[test]
    fn silence_ends_it() {
        let flood = Flood::default();
        seconds(&flood, 10_000, 2, 1000);
        assert!(flood.is_on(Tick(12_000)) && flood.is_on(Tick(16_000)));
        assert!(!flood.is_on(Tick(17_000)));
        assert!(flood.was_on(Tick(17_000), 128_000));
        assert!(!flood.was_on(Tick(146_000), 128_000));
        assert!(!Flood::default().was_on(Tick(0), 128_000));
    }

    #[test]
    fn on_is_always_and_off_never() {
        let flood = Flood::default();
        assert!(!flood.meets(SynCookies::Off, Tick(1)));
        assert!(flood.meets(SynCookies::On, Tick(1)));
    }
}
