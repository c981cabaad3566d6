//! A rate, kept by one word: the generic cell rate algorithm (ITU-T I.371), with a second's worth at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use types::Tick;

/// Nanoseconds in a second, and in a [`Tick`].
const SECOND_NS: u64 = 1_000_000_000;
const TICK_NS: u64 = SECOND_NS / 1000;
/// Tries of a worker that meets others at the same word.
pub(super) const TRIES: u8 = 16;

/// When the next would come if they came evenly, in nanoseconds of [`Tick`]'s clock; long past after a silence.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// Takes one at `rate` a second, 1 to 1,000,000; whether it was in time.
    pub fn take(&self, now: Tick, rate: u32) -> bool {
        let now = now.0.saturating_mul(TICK_NS);
        for _ in 0..TRIES {
            let due = self.0.load(Relaxed);
            let Some(next) = next(due, now, rate, SECOND_NS) else {
                return false;
            };
            let changed = self.0.compare_exchange_weak(due, next, Relaxed, Relaxed);
            if changed.is_ok() {
                return true;
            }
        }
        false
    }

    /// How it stands now.
    pub fn copy(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Relaxed)))
    }
}

/// Where `due` stands after one more at `now`, both in the unit `second` is in; `None` if that comes too early.
pub(super) fn next(due: u64, now: u64, rate: u32, second: u64) -> Option<u64> {
    // Rounded up: never more than the rate.
    let rate = u64::from(rate.max(1));
    let each = second.div_ceil(rate);
    let next = due.max(now).saturating_add(each);
    (next - now <= each * rate).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pace: &Pace, now: u64, rate: u32) -> usize {
        (0..10_000)
            .take_while(|_| pace.take(Tick(now), rate))
            .count()
    }

    #[test]
    fn a_second_s_worth_at_once_then_the_rate() {
        for rate in [1, 3, 7, 100, 999, 7_777] {
            let pace = Pace::default();
            let each = usize::try_from(rate).unwrap_or(0);
            assert_eq!(taken(&pace, 50_000, rate), each, "{rate}");
            assert_eq!(taken(&pace, 50_000, rate), 0, "{rate}");
            // Evenly over ten seconds, in steps of a millisecond: never more than the rate.
            let over: usize = (1..=10_000).map(|ms| taken(&pace, 50_000 + ms, rate)).sum();
            assert!(
                (each * 10 - 1..=each * 10).contains(&over),
                "{rate}: {over}"
            );
        }
    }
}
