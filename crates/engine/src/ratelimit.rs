//! The limit on packets a worker builds in answer to others': a token bucket, refilled by the tick.

use types::Tick;

/// Tokens of one packet.
const PACKET: u64 = 1000;

/// A worker's limits. The bucket holds one second's worth, so that a burst of honest errors after silence passes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateLimits {
    /// In thousandths of a packet.
    tokens: u64,
    filled: Option<Tick>,
}

impl RateLimits {
    /// Takes one packet's worth at `rate` packets a second. Always true without a rate.
    pub fn take(&mut self, now: Tick, rate: Option<u32>) -> bool {
        let Some(rate) = rate else {
            return true;
        };
        let rate = u64::from(rate);
        let full = rate * PACKET;
        self.tokens = match self.filled {
            // A millisecond brings rate / 1000 packets, that is `rate` thousandths.
            Some(at) => now
                .since_ms(at)
                .saturating_mul(rate)
                .saturating_add(self.tokens)
                .min(full),
            None => full,
        };
        self.filled = Some(self.filled.map_or(now, |at| at.max(now)));
        match self.tokens.checked_sub(PACKET) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(limits: &mut RateLimits, now: u64, rate: u32) -> usize {
        (0..10_000)
            .take_while(|_| limits.take(Tick(now), Some(rate)))
            .count()
    }

    #[test]
    fn a_second_s_worth_at_once_then_the_rate() {
        let mut limits = RateLimits::default();
        assert_eq!(taken(&mut limits, 5, 100), 100);
        assert_eq!(taken(&mut limits, 5, 100), 0);
        assert_eq!(taken(&mut limits, 14, 100), 0);
        assert_eq!(taken(&mut limits, 25, 100), 2);
        assert_eq!(taken(&mut limits, 60_000, 100), 100);
    }

    #[test]
    fn none_is_unlimited_and_zero_is_nothing() {
        let mut limits = RateLimits::default();
        assert!((0..5000).all(|_| limits.take(Tick(0), None)));
        assert_eq!(taken(&mut limits, 1000, 0), 0);
    }

    #[test]
    fn a_clock_that_steps_back_brings_nothing() {
        let mut limits = RateLimits::default();
        assert_eq!(taken(&mut limits, 1000, 10), 10);
        assert_eq!(taken(&mut limits, 0, 10), 0);
        assert_eq!(taken(&mut limits, 1000, 10), 0);
    }
}
