//! Intervals and what follows from them.

use std::time::Duration;

/// Time between advertisements, as the wire can say it: whole hundredths of a second (version 3), of which version 2 only
/// speaks whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval(u16);

impl Interval {
    /// The longest: 40.95 s.
    pub const MAX: Self = Self(4095);

    /// Of that many hundredths of a second: 1 to 4095 (25500 for version 2's seconds).
    #[must_use]
    pub const fn of_centiseconds(value: u16) -> Option<Self> {
        if value == 0 || value > 25_500 {
            None
        } else {
            Some(Self(value))
        }
    }

    /// Of that many seconds: 1 to 255.
    #[must_use]
    pub const fn of_seconds(value: u8) -> Option<Self> {
        Self::of_centiseconds(value as u16 * 100)
    }

    /// In hundredths of a second.
    #[must_use]
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    /// In whole seconds, if it is that.
    #[must_use]
    pub fn seconds(self) -> Option<u8> {
        if self.0.is_multiple_of(100) {
            u8::try_from(self.0 / 100).ok()
        } else {
            None
        }
    }

    /// As time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

/// How much longer than three intervals a director of this priority waits: the better, the shorter. Of a second in version 2
/// (RFC 3768 6.1), of the master's interval in version 3 (RFC 9568 6.1).
#[must_use]
pub fn skew(version: crate::Version, priority: u8, interval: Interval) -> Duration {
    let of = match version {
        crate::Version::V2 => Duration::from_secs(1),
        crate::Version::V3 => interval.duration(),
    };
    of * (256 - u32::from(priority)) / 256
}

/// How long silence of the master lasts before it is taken for dead.
#[must_use]
pub fn master_down(version: crate::Version, priority: u8, interval: Interval) -> Duration {
    interval.duration() * 3 + skew(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version::{V2, V3};

    /// Version, priority, interval (cs), skew and master-down interval in microseconds.
    const TABLE: &[(crate::Version, u8, u16, u64, u64)] = &[
        // The standard's default, as keepalived computes it: 3.609 s.
        (V2, 100, 100, 609_375, 3_609_375),
        (V2, 255, 100, 3_906, 3_003_906),
        (V2, 1, 200, 996_093, 6_996_093),
        (V3, 100, 100, 609_375, 3_609_375),
        (V3, 100, 10, 60_937, 360_937),
        (V3, 200, 1, 2_187, 32_187),
        (V3, 254, 1, 78, 30_078),
        (V3, 1, 4095, 40_790_039, 163_640_039),
    ];

    #[test]
    fn intervals_are_the_standards() {
        for &(version, priority, cs, skew_us, down_us) in TABLE {
            let interval = Interval::of_centiseconds(cs).unwrap();
            let what = format!("{version:?} {priority} {cs}");
            assert_eq!(
                u64::try_from(skew(version, priority, interval).as_micros()).unwrap(),
                skew_us,
                "{what}"
            );
            assert_eq!(
                u64::try_from(master_down(version, priority, interval).as_micros()).unwrap(),
                down_us,
                "{what}"
            );
        }
    }

    #[test]
    fn only_what_the_wire_can_say_is_an_interval() {
        assert_eq!(Interval::of_centiseconds(0), None);
        assert_eq!(Interval::of_seconds(0), None);
        assert_eq!(Interval::of_centiseconds(150).unwrap().seconds(), None);
        assert_eq!(Interval::of_seconds(255).unwrap().seconds(), Some(255));
    }
}
