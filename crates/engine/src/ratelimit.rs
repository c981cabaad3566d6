//! The limit on packets a worker builds in answer to others': a token bucket, refilled by the tick.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use types::Tick;

/// Tokens of one packet.
const PACKET: u64 = 1000;

/// Not a moment.
const NEVER: u64 = u64::MAX;

/// A worker's limits. The bucket holds one second's worth, so that a burst of honest errors after silence passes. Written by its worker
/// only; who explains packets reads it.
#[derive(Debug)]
pub(crate) struct RateLimits {
    /// In thousandths of a packet.
    tokens: AtomicU64,
    filled: AtomicU64,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            tokens: AtomicU64::new(0),
            filled: AtomicU64::new(NEVER),
        }
    }
}

impl RateLimits {
    /// Takes one packet's worth at `rate` packets a second. Always true without a rate.
    pub fn take(&self, now: Tick, rate: Option<u32>) -> bool {
        let Some(rate) = rate else {
            return true;
        };
        let tokens = self.tokens(now, rate);
        let filled = match self.filled.load(Relaxed) {
            NEVER => now.0,
            at => at.max(now.0),
        };
        self.filled.store(filled, Relaxed);
        let rest = tokens.checked_sub(PACKET);
        self.tokens.store(rest.unwrap_or(tokens), Relaxed);
        rest.is_some()
    }

    /// What there is to take at `now`, in thousandths of a packet. Of another worker's at about that time: its two words are not read as one.
    pub fn tokens(&self, now: Tick, rate: u32) -> u64 {
        let rate = u64::from(rate);
        let full = rate * PACKET;
        match self.filled.load(Relaxed) {
            NEVER => full,
            // A millisecond brings rate / 1000 packets, that is `rate` thousandths.
            at => now
                .since_ms(Tick(at))
                .saturating_mul(rate)
                .saturating_add(self.tokens.load(Relaxed))
                .min(full),
        }
    }

    /// How it stands, by itself.
    pub fn copy(&self) -> Self {
        Self {
            tokens: AtomicU64::new(self.tokens.load(Relaxed)),
            filled: AtomicU64::new(self.filled.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(limits: &RateLimits, now: u64, rate: u32) -> usize {
        (0..10_000)
            .take_while(|_| limits.take(Tick(now), Some(rate)))
            .count()
    }

    #[test]
    fn a_second_s_worth_at_once_then_the_rate() {
        let limits = RateLimits::default();
        assert_eq!(taken(&limits, 5, 100), 100);
        assert_eq!(taken(&limits, 5, 100), 0);
        assert_eq!(taken(&limits, 14, 100), 0);
        assert_eq!(taken(&limits, 25, 100), 2);
        assert_eq!(taken(&limits, 60_000, 100), 100);
    }

    #[test]
    fn none_is_unlimited_and_zero_is_nothing() {
        let limits = RateLimits::default();
        assert!((0..5000).all(|_| limits.take(Tick(0), None)));
        assert_eq!(taken(&limits, 1000, 0), 0);
    }

    #[test]
    fn what_a_copy_gives_is_not_taken_from_it() {
        let limits = RateLimits::default();
        assert_eq!(taken(&limits, 5, 4), 4);
        assert_eq!(taken(&limits.copy(), 255, 4), 1);
        assert_eq!(
            (limits.tokens(Tick(255), 4), taken(&limits, 255, 4)),
            (1000, 1)
        );
        assert_eq!(taken(&limits.copy(), 255, 4), 0);
    }

    #[test]
    fn a_clock_that_steps_back_brings_nothing() {
        let limits = RateLimits::default();
        assert_eq!(taken(&limits, 1000, 10), 10);
        assert_eq!(taken(&limits, 0, 10), 0);
        assert_eq!(taken(&limits, 1000, 10), 0);
    }
}
