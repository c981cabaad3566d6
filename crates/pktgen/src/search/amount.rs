//! The search for the most that a device takes at once: connections in its table, frames of a burst.

/// Tries at most: doubling and halving take fewer.
const TRIES: u32 = 60;

/// A search under way: twice as many until some are not taken, then halfway between.
#[derive(Clone, Debug)]
pub struct Amount {
    low: u64,
    high: Option<u64>,
    most: u64,
    resolution: f64,
    wanted: Option<u64>,
    tries: u32,
}

impl Amount {
    /// From `begin` on, up to `most`, to a part `resolution` of the amount.
    #[must_use]
    pub fn new(begin: u64, most: u64, resolution: f64) -> Self {
        Self {
            low: 0,
            high: None,
            most,
            resolution,
            wanted: Some(begin.min(most)),
            tries: 0,
        }
    }

    /// How many to try next; `None` when the search is over.
    #[must_use]
    pub const fn wanted(&self) -> Option<u64> {
        self.wanted
    }

    /// What came of those wanted.
    pub fn tell(&mut self, all_taken: bool) {
        let Some(wanted) = self.wanted else { return };
        if all_taken {
            self.low = wanted;
        } else {
            self.high = Some(wanted);
        }
        self.tries += 1;
        self.wanted = self.next().filter(|_| self.tries < TRIES);
    }

    /// The most that were all taken.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.low
    }

    /// The least that were not; none if there were no more to try.
    #[must_use]
    pub const fn not_taken(&self) -> Option<u64> {
        self.high
    }

    #[expect(clippy::cast_precision_loss, reason = "2^52 is more than there can be")]
    fn next(&self) -> Option<u64> {
        let Some(high) = self.high else {
            return (self.low < self.most).then(|| self.low.saturating_mul(2).min(self.most));
        };
        let middle = u64::midpoint(self.low, high);
        let near = (high - self.low) as f64 <= self.resolution * high as f64;
        (!near && middle > self.low).then_some(middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_device_holds_is_found(capacity in 0..3_000_000_u64, begin in 1..100_000_u64, most in 1..10_000_000_u64) {
            let mut search = Amount::new(begin, most, 0.02);
            let mut tries = 0;
            while let Some(wanted) = search.wanted() {
                tries += 1;
                prop_assert!(wanted > search.taken() && wanted <= most);
                prop_assert!(search.not_taken().is_none_or(|high| wanted < high));
                search.tell(wanted <= capacity);
            }
            prop_assert!(tries < TRIES && search.taken() <= capacity.min(most));
            match search.not_taken() {
                None => prop_assert_eq!(search.taken(), most),
                Some(high) => {
                    let gap = high - search.taken();
                    prop_assert!(high > capacity && (gap <= 1 || gap as f64 <= 0.02 * high as f64));
                }
            }
        }
    }
}
