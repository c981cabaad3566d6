//! One check on a virtual clock.

use std::time::Duration;

/// When a check is made, and how many failures count. Words of keepalived.conf(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the end of a check to the start of the next.
    pub delay_loop: Duration,
    /// The check as a whole may take this long.
    pub timeout: Duration,
    /// Further failures, after the first, until the server is down.
    pub retry: u32,
    /// From a failure to its repetition.
    pub delay_before_retry: Duration,
    /// Whether failures are repeated while the server is down, too, as keepalived's TCP and SMTP checkers do.
    pub retry_when_down: bool,
    /// Successes in a row, at least 1, that bring a server back; one that has not failed yet (`alpha`) needs one less, as there.
    pub rise: u32,
    /// The first check comes at a random moment within this; absent: within `delay_loop`. Zero: at once.
    pub warmup: Option<Duration>,
    /// Down until the first success; else up until proved otherwise.
    pub alpha: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            delay_loop: Duration::from_secs(5),
            timeout: Duration::from_secs(3),
            retry: 1,
            delay_before_retry: Duration::from_secs(1),
            retry_when_down: false,
            rise: 1,
            warmup: None,
            alpha: false,
        }
    }
}

/// Another weight for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// This one.
    To(u32),
    /// So much more than it is to have otherwise; below 0: less.
    By(i64),
}

/// What one run of a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answers as it should; a script or a file may also ask for another weight.
    Passed {
        /// What it asks for.
        weight: Option<Wish>,
    },
    /// It does not, for this reason.
    Failed(String),
    /// The check could not be made, for a reason that is the director's own: says nothing about the server.
    Undecided(String),
}

impl Outcome {
    /// Passed, without a wish for a weight.
    pub const PASSED: Self = Self::Passed { weight: None };
}

/// A check's verdict has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// To up.
    Up,
    /// To down.
    Down,
}

/// One check: when it is due, and whether its server is up.
#[derive(Clone, Debug)]
pub struct Machine {
    timing: Timing,
    up: bool,
    /// Failures in a row, until they have made the server down.
    failures: u32,
    /// Successes in a row of a server that is down.
    successes: u32,
    /// When the next check starts; `None`: one is under way, or it rests.
    next: Option<Duration>,
    /// Whether any check has had an outcome.
    decided: bool,
    /// Whether it has been found down.
    failed: bool,
    /// Whether it ever came to a verdict.
    judged: bool,
}

impl Machine {
    /// A check whose first run is at `now` plus a share of the warm-up, `draw` (0 to 65535) parts in 65536.
    #[must_use]
    pub fn new(timing: Timing, now: Duration, draw: u16) -> Self {
        let warmup = timing.warmup.unwrap_or(timing.delay_loop);
        Self {
            timing,
            up: !timing.alpha,
            failures: 0,
            successes: 0,
            next: Some(now + warmup * u32::from(draw) / 65_536),
            decided: false,
            failed: false,
            judged: false,
        }
    }

    /// Other timing from now on; the verdict stays, and the check comes no later than the new delay allows.
    pub fn set_timing(&mut self, now: Duration, timing: Timing) {
        self.timing = timing;
        if let Some(next) = &mut self.next {
            *next = (*next).min(now + timing.delay_loop);
        }
    }

    /// The next check comes at once, unless one is under way.
    pub fn hurry(&mut self, now: Duration) {
        if let Some(next) = &mut self.next {
            *next = (*next).min(now);
        }
    }

    /// Forgets the check under way: it is made again, at once. The verdict stays.
    pub fn restart(&mut self, now: Duration) {
        self.next = Some(now);
        self.failures = 0;
        self.successes = 0;
    }

    /// The server is known to be down already: it must answer first, and is asked at once.
    pub fn begin_down(&mut self, now: Duration) {
        self.up = false;
        self.failed = true;
        self.restart(now);
    }

    /// It is never made: [`Self::settle`] tells how the server is.
    pub const fn rest(&mut self) {
        self.next = None;
    }

    /// The server is known to be up or down from now on.
    pub fn settle(&mut self, up: bool) -> Option<Change> {
        self.decided = true;
        self.judged = true;
        self.turn(up)
    }

    fn turn(&mut self, up: bool) -> Option<Change> {
        let before = std::mem::replace(&mut self.up, up);
        match (before, up) {
            (false, true) => Some(Change::Up),
            (true, false) => Some(Change::Down),
            _ => None,
        }
    }

    /// When the next check starts; `None`: one is under way, or it rests.
    #[must_use]
    pub const fn next(&self) -> Option<Duration> {
        self.next
    }

    /// Its timing.
    #[must_use]
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Whether its server is up, as far as this check goes.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// Whether any check has been made.
    #[must_use]
    pub const fn is_decided(&self) -> bool {
        self.decided
    }

    /// Whether it ever came to a verdict: its first runs have passed or failed as often as the timing asks for.
    #[must_use]
    pub const fn is_judged(&self) -> bool {
        self.judged
    }

    /// Failures in a row that have not made the server down yet.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        if self.up { self.failures } else { 0 }
    }

    /// Starts the check if it is due.
    pub fn begin(&mut self, now: Duration) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = None;
        }
        due
    }

    /// The check that was under way is over.
    pub fn finish(&mut self, now: Duration, outcome: &Outcome) -> Option<Change> {
        let soon = now + self.timing.delay_before_retry;
        let (next, up) = match outcome {
            Outcome::Undecided(_) => {
                self.next = Some(soon);
                return None;
            }
            Outcome::Passed { .. } => {
                self.failures = 0;
                self.successes = if self.up { 0 } else { self.successes + 1 };
                let rise = self.timing.rise;
                let enough = if self.failed {
                    rise
                } else {
                    rise.saturating_sub(1)
                };
                let back = self.up || self.successes >= enough;
                (now + self.timing.delay_loop, back)
            }
            Outcome::Failed(_)
                if self.failures < self.timing.retry
                    && (self.up || self.timing.retry_when_down) =>
            {
                self.failures += 1;
                self.successes = 0;
                self.failed = true;
                (soon, self.up)
            }
            Outcome::Failed(_) => {
                self.failures = 0;
                self.successes = 0;
                self.failed = true;
                (now + self.timing.delay_loop, false)
            }
        };
        self.next = Some(next);
        self.decided = true;
        let change = self.turn(up);
        self.judged |= self.failures == 0 && (self.up || self.successes == 0);
        change
    }
}

#[cfg(test)]
mod tests;
