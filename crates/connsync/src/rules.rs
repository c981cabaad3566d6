//! Which connections are told, and when: as `ip_vs_sync.c` of Linux 6.1 does by the settings of the same names.

/// TCP and SCTP by their IANA numbers.
const TCP: u8 = 6;
const SCTP: u8 = 132;

/// Why a connection is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its state has changed.
    State,
    /// The client's packet of a number the [`Rules`] ask for.
    Packet,
}

/// When connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The client's packet at which a connection is told (`sync_threshold`, first number).
    pub threshold: u32,
    /// And again every so many packets (second number, or `sync_period`); 0: not again.
    pub period: u32,
    /// TCP and SCTP connections are told when they are established, not only at their `threshold`th packet. IPVS does not.
    pub established: bool,
    /// Of persistent services, the templates only (`sync_persist_mode`).
    pub templates_only: bool,
}

impl Rules {
    /// IPVS's defaults.
    pub const IPVS: Self = Self {
        threshold: 3,
        period: 50,
        established: false,
        templates_only: false,
    };

    /// Whether the client's packet of that number has its connection told, if its state is one that is.
    #[must_use]
    pub const fn counts(&self, packets: u32) -> bool {
        if self.period == 0 {
            packets == self.threshold
        } else {
            packets % self.period == self.threshold
        }
    }

    /// [`Rules::counts`], for who asks it of every packet.
    #[must_use]
    pub const fn milestones(&self) -> Milestones {
        let threshold = self.threshold as u64;
        match self.period {
            0 => Milestones {
                factor: 1,
                offset: threshold,
                limit: 0,
            },
            // No remainder is as large.
            period if period <= self.threshold => Milestones {
                factor: 0,
                offset: 1,
                limit: 0,
            },
            period => {
                // 2^64 / period, rounded up; of 1 it is 2^64, which is 0 here, and every number is one.
                let factor = (u64::MAX / period as u64).wrapping_add(1);
                Milestones {
                    factor,
                    offset: factor.wrapping_mul(threshold),
                    limit: factor.wrapping_sub(1),
                }
            }
        }
    }

    /// Whether a connection in this state is told for that cause. `persistent`: a template controls it.
    #[must_use]
    pub const fn tells(&self, protocol: u8, state: u8, persistent: bool, cause: Cause) -> bool {
        if (self.templates_only && persistent) || !is_told(protocol, state) {
            return false;
        }
        match cause {
            Cause::Packet => true,
            // At every change but that to ESTABLISHED, which waits for packets: short connections are never told of.
            Cause::State => self.established || !is_established(protocol, state),
        }
    }
}

impl Default for Rules {
    /// IPVS's, and connections are told as soon as they are established: an idle one survives a takeover too.
    fn default() -> Self {
        Self {
            established: true,
            ..Self::IPVS
        }
    }
}

/// [`Rules::counts`] without a division: Lemire, Kaser and Kurz, "Faster remainder by direct computation" (2019), 3.2. A multiple of the period
/// times the period's reciprocal, rounded up to 64 bits behind the point, is the only product whose fraction is below the reciprocal itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milestones {
    factor: u64,
    offset: u64,
    limit: u64,
}

impl Milestones {
    /// Whether the client's packet of that number, from 1, is one. Where the threshold is the period less one, 0 is taken for one: once in
    /// 2^32 packets a connection is told of once more.
    #[inline]
    #[must_use]
    pub const fn has(&self, packets: u32) -> bool {
        let product = self.factor.wrapping_mul(packets as u64);
        product.wrapping_sub(self.offset) <= self.limit
    }
}

/// Whether connections in this state are told of: not before they are established, and not in states that end by themselves.
#[must_use]
pub const fn is_told(protocol: u8, state: u8) -> bool {
    match protocol {
        // ESTABLISHED, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT.
        TCP => matches!(state, 1 | 4..=7),
        // ESTABLISHED, SHUTDOWN_SENT, SHUTDOWN_RECEIVED, SHUTDOWN_ACK_SENT, CLOSED.
        SCTP => matches!(state, 8..=11 | 13),
        _ => true,
    }
}

/// UDP and others have one state: packets alone tell them.
const fn is_established(protocol: u8, state: u8) -> bool {
    match protocol {
        TCP => state == 1,
        SCTP => state == 8,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_count_as_in_ipvs() {
        let rules = Rules::IPVS;
        let told: Vec<u32> = (1..=160).filter(|n| rules.counts(*n)).collect();
        assert_eq!(told, [3, 53, 103, 153]);
        let every = Rules {
            threshold: 0,
            period: 1,
            ..rules
        };
        assert!((1..=9).all(|n| every.counts(n)));
        let once = Rules { period: 0, ..rules };
        assert_eq!((1..=160).filter(|n| once.counts(*n)).count(), 1);
    }

    proptest! {
        #[test]
        fn milestones_are_the_packets_that_count(
            threshold in prop_oneof![0_u32..130, any::<u32>()],
            period in prop_oneof![0_u32..130, any::<u32>()],
            numbers in prop::collection::vec(prop_oneof![1_u32..1000, 1..=u32::MAX], 50),
            times in 0_u32..40,
        ) {
            let rules = Rules { threshold, period, ..Rules::IPVS };
            let milestones = rules.milestones();
            // Some that count, and their neighbours.
            let known = period.wrapping_mul(times).wrapping_add(threshold);
            for number in numbers.into_iter().chain([known.wrapping_sub(1), known, known.wrapping_add(1)]) {
                if number != 0 {
                    prop_assert_eq!(milestones.has(number), rules.counts(number), "{} of {:?}", number, rules);
                }
            }
        }
    }

    #[test]
    fn half_open_connections_are_not_told_and_closing_ones_at_once() {
        let ipvs = Rules::IPVS;
        for state in [0, 2, 3, 8, 9, 10] {
            assert!(!ipvs.tells(TCP, state, false, Cause::State));
            assert!(!ipvs.tells(TCP, state, false, Cause::Packet));
        }
        assert!(!ipvs.tells(TCP, 1, false, Cause::State));
        assert!(ipvs.tells(TCP, 1, false, Cause::Packet));
        assert!(Rules::default().tells(TCP, 1, false, Cause::State));
        assert!((4..=7).all(|state| ipvs.tells(TCP, state, false, Cause::State)));
        assert!(ipvs.tells(17, 0, true, Cause::Packet) && !ipvs.tells(17, 0, true, Cause::State));
        let templates = Rules {
            templates_only: true,
            ..ipvs
        };
        assert!(!templates.tells(TCP, 1, true, Cause::Packet));
        assert!(templates.tells(TCP, 1, false, Cause::Packet));
    }
}
