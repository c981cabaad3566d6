//! Loads from all of a rate downwards, until two in a row lost nothing (RFC 2544 26.3).

/// Loads in a row without loss that end it.
const CLEAN: u32 = 2;

/// A scan under way.
#[derive(Clone, Debug)]
pub struct Steps {
    step: f64,
    done: u32,
    clean: u32,
}

impl Steps {
    /// Each load by `step` percent of the whole below the one before.
    #[must_use]
    pub const fn new(step: f64) -> Self {
        Self {
            step,
            done: 0,
            clean: 0,
        }
    }

    /// The load to try next, percent; `None` when the scan is over.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        let percent = 100.0 - f64::from(self.done) * self.step;
        // What is nearly nothing is a sum's rounding.
        (self.clean < CLEAN && percent > self.step / 1e6).then_some(percent)
    }

    /// What came of it.
    pub fn tell(&mut self, is_lossless: bool) {
        self.done += 1;
        self.clean = if is_lossless { self.clean + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads tried of a device that takes so many percent.
    fn tried(step: f64, takes: f64) -> Vec<f64> {
        let mut steps = Steps::new(step);
        let mut tried = Vec::new();
        while let Some(percent) = steps.percent() {
            tried.push(percent);
            steps.tell(percent <= takes);
        }
        tried
    }

    #[test]
    fn it_ends_with_two_in_a_row_that_lost_nothing() {
        assert_eq!(tried(10.0, 100.0), [100.0, 90.0]);
        assert_eq!(tried(10.0, 75.0), [100.0, 90.0, 80.0, 70.0, 60.0]);
        assert_eq!(tried(50.0, 10.0), [100.0, 50.0]);
        assert_eq!(tried(10.0, 0.0).len(), 10);
        assert_eq!(tried(0.1, 0.0).len(), 1000);
    }

    #[test]
    fn one_by_chance_does_not_end_it() {
        let mut steps = Steps::new(10.0);
        for is_lossless in [true, false, true, true] {
            assert!(steps.percent().is_some());
            steps.tell(is_lossless);
        }
        assert_eq!(steps.percent(), None);
    }
}
