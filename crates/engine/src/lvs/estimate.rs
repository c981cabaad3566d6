//! Rates as IPVS shows them: every two seconds a quarter of the way from the average to what the last two seconds were,
//! in integers, so that `ipvsadm -L --rate` prints the same figures (observed in the recording `stats`).
//!
//! Only the control side estimates; workers merely count.

use crate::views::Traffic;

/// Milliseconds from one step to the next.
pub(crate) const PERIOD_MS: u64 = 2000;

/// One average for each figure of a service or server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimator {
    /// The figures at the last step.
    last: Traffic,
    /// Per second: connections and packets in 1024ths, bytes in 32nds.
    average: Traffic,
}

impl Estimator {
    /// The figures are `now`; two seconds ago they were those of the step before.
    pub fn step(&mut self, now: Traffic) {
        let grown = now - self.last;
        let towards = |average: u64, grown: u64, shift: u32| {
            // Two's complement: the difference may be negative, and is rounded down as IPVS does.
            let difference = (grown << shift).wrapping_sub(average).cast_signed() >> 2;
            average.wrapping_add_signed(difference)
        };
        let old = self.average;
        self.average = Traffic {
            connections: towards(old.connections, grown.connections, 9),
            packets_in: towards(old.packets_in, grown.packets_in, 9),
            packets_out: towards(old.packets_out, grown.packets_out, 9),
            bytes_in: towards(old.bytes_in, grown.bytes_in, 4),
            bytes_out: towards(old.bytes_out, grown.bytes_out, 4),
        };
        self.last = now;
    }

    /// Per second, rounded as IPVS rounds.
    pub const fn rate(&self) -> Traffic {
        const fn count(average: u64) -> u64 {
            (average + 0x1ff) >> 10
        }
        const fn bytes(average: u64) -> u64 {
            (average + 0xf) >> 5
        }
        Traffic {
            connections: count(self.average.connections),
            packets_in: count(self.average.packets_in),
            packets_out: count(self.average.packets_out),
            bytes_in: bytes(self.average.bytes_in),
            bytes_out: bytes(self.average.bytes_out),
        }
    }

    /// The figures, now `counted`, start anew from zero. What was counted since the last step still counts at the next.
    pub fn zero(&mut self, counted: Traffic) {
        *self = Self {
            last: self.last - counted,
            average: Traffic::default(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(packets: u64, bytes: u64) -> Traffic {
        Traffic {
            connections: packets,
            packets_in: packets,
            packets_out: packets,
            bytes_in: bytes,
            bytes_out: bytes,
        }
    }

    #[test]
    fn a_constant_stream_is_approached_by_quarters() {
        let mut estimator = Estimator::default();
        let mut published = Vec::new();
        for step in 1..=40 {
            estimator.step(traffic(2000 * step, 3000 * step));
            let rate = estimator.rate();
            assert_eq!(rate.connections, rate.packets_out);
            assert_eq!(rate.bytes_in, rate.bytes_out);
            published.push((rate.packets_in, rate.bytes_in));
        }
        // 1000/s and 1500 bytes/s: 1/4, 7/16, 37/64, 175/256 of them.
        assert_eq!(
            published[..4],
            [(250, 375), (437, 656), (578, 867), (684, 1025)]
        );
        assert_eq!(published[39], (1000, 1500));
        for step in 0..60 {
            estimator.step(traffic(80_000, 120_000));
            assert!(step > 0 || estimator.rate() == traffic(750, 1125));
        }
        assert_eq!(estimator.rate(), Traffic::default());
    }

    #[test]
    fn zeroed_in_the_middle_of_a_step_it_counts_what_has_come_since_the_last() {
        let mut estimator = Estimator::default();
        estimator.step(traffic(100, 6400));
        estimator.zero(traffic(150, 9600));
        assert_eq!(estimator.rate(), Traffic::default());
        // 50 packets before the zeroing, 30 after it.
        estimator.step(traffic(30, 1920));
        assert_eq!(estimator.rate(), traffic(10, 640));
    }
}
