//! The search for the highest rate a device takes (RFC 2544 26.1): halving between a rate it has taken and one it has not; for the most it takes
//! at once ([`Amount`]); and the scan of what it loses by load ([`Steps`]).

mod amount;
mod steps;

pub use amount::Amount;
pub use steps::Steps;

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The rate wanted, frames a second.
    pub wanted: f64,
    /// The rate that was reached.
    pub reached: f64,
    /// Frames lost, of those sent: 0 to 1.
    pub loss: f64,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    /// The highest rate taken, and the lowest not taken.
    low: f64,
    high: f64,
    /// The highest rate asked for at all.
    top: f64,
    resolution: f64,
    tolerated: f64,
    trials: u32,
    /// Trials whose rate was not reached, though nothing was lost.
    stalls: u32,
    /// The top has been tried.
    begun: bool,
    /// What is above `low` could not be sent, not: was lost.
    limit: Limit,
}

/// What kept a search from a higher rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The device lost frames above.
    Device,
    /// The generator sent no faster.
    Generator,
    /// No more was asked for.
    Top,
}

impl Limit {
    /// For people.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Device => "more is lost",
            Self::Generator => "this machine sends no faster",
            Self::Top => "no more was asked for",
        }
    }
}

/// Trials of one search at most: halving takes fewer, so this is for devices that change their mind.
const TRIALS: u32 = 40;
/// Rates that could not be sent before the generator is held to be too slow.
const STALLS: u32 = 4;
/// A rate is reached if no more than this is missing.
pub const NEARLY: f64 = 0.995;

impl Search {
    /// From `top` downwards, to a part `resolution` of the rate; `tolerated` of the frames may be lost (RFC 2544: 0).
    #[must_use]
    pub const fn new(top: f64, resolution: f64, tolerated: f64) -> Self {
        Self {
            low: 0.0,
            high: top,
            top,
            resolution,
            tolerated,
            trials: 0,
            stalls: 0,
            begun: false,
            limit: Limit::Top,
        }
    }

    /// The rate to try next; `None` when the search is over.
    #[must_use]
    pub fn next_rate(&self) -> Option<f64> {
        if !self.begun {
            return Some(self.top);
        }
        let near = self.high - self.low <= self.resolution * self.high;
        // A device that takes nothing is believed when a thousandth is too much for it.
        let hopeless = self.low == 0.0 && self.high < self.top / 1000.0;
        let over = near || hopeless || self.trials >= TRIALS || self.low >= self.top;
        (!over).then(|| f64::midpoint(self.low, self.high))
    }

    /// What came of a trial; true if the device took it.
    pub fn tell(&mut self, trial: Trial) -> bool {
        self.begun = true;
        self.trials += 1;
        let rate = trial.reached.min(trial.wanted);
        let is_taken = trial.loss <= self.tolerated;
        let is_reached = trial.reached >= trial.wanted * NEARLY;
        if is_taken {
            self.low = self.low.max(if is_reached { trial.wanted } else { rate });
            if !is_reached {
                // Nothing is known of the rate that was wanted: a busy machine may send it the next time.
                self.stalls += 1;
                if self.stalls >= STALLS {
                    self.high = self.low;
                    self.limit = Limit::Generator;
                }
            }
        } else {
            self.high = self.high.min(rate).max(self.low);
            self.limit = Limit::Device;
        }
        is_taken
    }

    /// The highest rate taken.
    #[must_use]
    pub const fn result(&self) -> f64 {
        self.low
    }

    /// Why it is no higher.
    #[must_use]
    pub const fn limit(&self) -> Limit {
        self.limit
    }

    /// Trials so far.
    #[must_use]
    pub const fn trials(&self) -> u32 {
        self.trials
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use proptest::prelude::*;

    /// A device that takes `capacity` frames a second, with a generator that sends `generator` at most.
    struct Model {
        capacity: f64,
        generator: f64,
        seconds: f64,
        /// Frames it can hold beyond its capacity.
        buffer: f64,
    }

    impl Model {
        fn trial(&self, wanted: f64) -> Trial {
            let reached = wanted.min(self.generator);
            let sent = (reached * self.seconds).floor();
            let taken = (self.capacity * self.seconds + self.buffer).floor();
            let lost = (sent - taken).max(0.0);
            Trial {
                wanted,
                reached,
                loss: if sent > 0.0 { lost / sent } else { 0.0 },
            }
        }

        fn search(&self, mut search: Search) -> Search {
            while let Some(rate) = search.next_rate() {
                search.tell(self.trial(rate));
            }
            search
        }
    }

    const MODEL: Model = Model {
        capacity: 1e6,
        generator: 1e9,
        seconds: 1.0,
        buffer: 0.0,
    };

    #[test]
    fn a_device_faster_than_the_link_takes_one_trial() {
        let search = MODEL.search(Search::new(5e5, 0.01, 0.0));
        assert!((search.result() - 5e5).abs() < 1e-9);
        assert_eq!((search.trials(), search.limit()), (1, Limit::Top));
    }

    #[test]
    fn a_generator_that_is_too_slow_is_said_to_be() {
        let slow = Model {
            generator: 4e5,
            ..MODEL
        };
        let search = slow.search(Search::new(1.488e6, 0.01, 0.0));
        assert!(
            (3.9e5..=4e5).contains(&search.result()),
            "{}",
            search.result()
        );
        assert_eq!(search.limit(), Limit::Generator);
    }

    #[test]
    fn a_generator_that_stumbles_does_not_spoil_the_result() {
        let mut search = Search::new(4e6, 0.005, 0.0);
        let mut trials = 0;
        while let Some(rate) = search.next_rate() {
            trials += 1;
            let generator = if trials == 3 || trials == 6 { 1e5 } else { 1e9 };
            search.tell(Model { generator, ..MODEL }.trial(rate));
        }
        assert!(
            (9.9e5..=1e6).contains(&search.result()),
            "{}",
            search.result()
        );
        assert_eq!(search.limit(), Limit::Device);
    }

    #[test]
    fn a_dead_device_takes_nothing_and_few_trials() {
        let dead = Model {
            capacity: 0.0,
            ..MODEL
        };
        let search = dead.search(Search::new(1e6, 0.01, 0.0));
        assert!(search.result() == 0.0 && search.trials() < 15, "{search:?}");
    }

    #[test]
    fn tolerated_loss_raises_the_result_by_as_much() {
        let search = MODEL.search(Search::new(4e6, 0.001, 0.1));
        let expected = 1e6 / 0.9;
        assert!(
            (search.result() / expected - 1.0).abs() < 0.002,
            "{}",
            search.result()
        );
    }

    #[test]
    fn a_device_that_changes_its_mind_does_not_keep_it_going() {
        let mut random = Random::new(3);
        for _ in 0..200 {
            let mut search = Search::new(1e6, 0.0001, 0.0);
            while let Some(wanted) = search.next_rate() {
                let lossy = random.below(2) == 0;
                let reached = wanted * (0.9 + random.unit() * 0.1);
                let loss = if lossy { 0.5 } else { 0.0 };
                search.tell(Trial {
                    wanted,
                    reached,
                    loss,
                });
            }
            assert!(search.trials() <= TRIALS && search.result() <= 1e6);
        }
    }

    proptest! {
        #[test]
        fn the_capacity_is_found(capacity in 1e3..1e7_f64, top in 1e5..2e7_f64, buffer in 0.0..50.0_f64) {
            prop_assume!(capacity > top / 500.0);
            let search = Model { capacity, buffer, ..MODEL }.search(Search::new(top, 0.005, 0.0));
            let expected = (capacity + buffer).min(top);
            prop_assert!(search.result() <= expected + 1.0);
            prop_assert!(search.result() >= expected * 0.99 - 1.0, "{} of {expected}", search.result());
            prop_assert!(search.trials() <= 25);
            prop_assert_eq!(search.limit() == Limit::Device, search.result() < top);
        }
    }
}
