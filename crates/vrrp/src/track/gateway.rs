//! A neighbour that is asked, again and again, whether it is there.

use std::time::Duration;

/// When a gateway is asked, and what its answers and silences come to.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    interval: Duration,
    rise: u32,
    fall: u32,
    up: Option<bool>,
    /// Answers, or silences, in a row that say the opposite.
    against: u32,
    /// When it was asked last, on the clock of answers.
    asked: Option<Duration>,
    due: Duration,
}

impl Gateway {
    /// One that is to be asked at once, and every `interval` from then on.
    #[must_use]
    pub const fn new(now: Duration, interval: Duration, rise: u32, fall: u32) -> Self {
        Self {
            interval,
            rise,
            fall,
            up: None,
            against: 0,
            asked: None,
            due: now,
        }
    }

    /// When it is asked next.
    #[must_use]
    pub const fn due(&self) -> Duration {
        self.due
    }

    /// What holds; `None`: it has neither answered once nor been silent for long enough.
    #[must_use]
    pub const fn up(&self) -> Option<bool> {
        self.up
    }

    /// Whether it is to be asked now. `heard`: when it last said that it is there, be it unasked, on a clock that may be coarser than the
    /// one of `now`; `stamp`: the moment now on that clock. The question before counts as answered if that was since, or less than `slack`
    /// before, for a reader of that clock who looks only now and then.
    pub fn poll(
        &mut self,
        now: Duration,
        stamp: Duration,
        heard: Option<Duration>,
        slack: Duration,
    ) -> bool {
        if now < self.due {
            return false;
        }
        if let Some(asked) = self.asked {
            self.count(heard.is_some_and(|heard| heard + slack >= asked));
        }
        self.asked = Some(stamp);
        self.due = now + self.interval;
        true
    }

    fn count(&mut self, answered: bool) {
        let needed = match self.up {
            Some(up) if up == answered => {
                self.against = 0;
                return;
            }
            // The first answer will do; the first silence may be this director's own, which has only begun.
            None if answered => 1,
            Some(false) => self.rise,
            Some(true) | None => self.fall,
        };
        self.against += 1;
        if self.against >= needed {
            self.up = Some(answered);
            self.against = 0;
        }
    }
}
