//! Time as the engine sees it.

use std::ops::{Add, Sub};

/// A moment: milliseconds since the director started. Injected by whoever drives the engine; nothing below level 3
/// reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// Milliseconds from `earlier` to `self`, 0 if `earlier` is later.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The low 32 bits: what a connection entry stores. Wraps after 49 days; compare with [`Tick::since_low_ms`].
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what is asked for"
    )]
    pub const fn low(self) -> u32 {
        self.0 as u32
    }

    /// Milliseconds from a stored low half to `self`, exact while the true distance is under 24 days. A stamp from
    /// another worker whose clock read was a little later counts as 0, not as 49 days.
    #[must_use]
    #[expect(
        clippy::cast_sign_loss,
        reason = "negative distances are clamped to 0 first"
    )]
    pub const fn since_low_ms(self, stamp: u32) -> u32 {
        let distance = self.low().wrapping_sub(stamp) as i32;
        if distance < 0 { 0 } else { distance as u32 }
    }
}

impl Add<u64> for Tick {
    type Output = Self;
    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Sub for Tick {
    type Output = u64;
    fn sub(self, other: Self) -> u64 {
        self.since_ms(other)
    }
}

#[cfg(test)]
mod tests {
    use super::Tick;

    #[test]
    fn low_half_survives_the_wrap() {
        let before = Tick(u64::from(u32::MAX) - 5);
        let after = before + 10;
        assert_eq!(after.since_low_ms(before.low()), 10);
    }

    #[test]
    fn a_stamp_from_the_future_counts_as_now() {
        assert_eq!(Tick(1000).since_low_ms(Tick(1003).low()), 0);
    }
}
