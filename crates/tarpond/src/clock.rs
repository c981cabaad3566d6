//! Ticks for the engine: milliseconds since the daemon started, the same for all threads.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use types::Tick;

/// A source of ticks. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start_ms: u64,
}

impl Clock {
    /// Begins at tick 0.
    #[must_use]
    pub fn start() -> Self {
        Self { start_ms: now_ms() }
    }

    /// The moment now on the same scale, exactly: a system call where the kernel has no faster way.
    #[must_use]
    pub fn precise(&self) -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        let since_boot = Duration::new(
            now.tv_sec.cast_unsigned(),
            u32::try_from(now.tv_nsec).unwrap_or(0),
        );
        since_boot.saturating_sub(Duration::from_millis(self.start_ms))
    }

    /// How much [`Clock::now`] is behind [`Clock::precise`] at most, while the kernel's timer is in time: a step of the coarse clock, and
    /// what whole milliseconds leave out.
    #[must_use]
    pub fn coarseness(&self) -> Duration {
        let step = rustix::time::clock_getres(ClockId::MonotonicCoarse);
        let step = Duration::new(
            step.tv_sec.cast_unsigned(),
            u32::try_from(step.tv_nsec).unwrap_or(0),
        );
        step + Duration::from_millis(1)
    }

    /// The tick now. A read of the kernel's coarse clock: no system call, right to a few milliseconds.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick(now_ms().saturating_sub(self.start_ms))
    }
}

/// Nanoseconds since 1970-01-01 UTC.
#[must_use]
pub fn wall_ns() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[inline]
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    // A monotonic clock is never negative.
    now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
