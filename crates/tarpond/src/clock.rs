//! Ticks for the engine: milliseconds since the daemon started, the same for all threads.

use rustix::time::{ClockId, clock_gettime};
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
