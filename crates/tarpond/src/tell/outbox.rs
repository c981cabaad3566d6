//! What waits to be mailed, and when: on its caller's clock, without I/O.
//!
//! A first change is mailed after a moment in which others may join it; after that, mails are an interval apart, and what happens
//! meanwhile goes into the next one. Each change is tried a bounded number of times.

use std::{collections::VecDeque, time::Duration};

/// Changes that wait at most; more are lost, and counted.
const WAITING: usize = 1000;
/// How long others may join a first change.
const SETTLE: Duration = Duration::from_secs(1);
/// How often a change is tried.
const TRIES: u32 = 5;
/// Until the second try; doubled with each.
const PAUSE: Duration = Duration::from_secs(10);

/// A change, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    /// `server 10.1.0.11:8080 of tcp 192.0.2.10:80 is down`
    pub what: String,
    /// What brought it about.
    pub cause: String,
}

/// What became of mail so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Mails that were taken.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Changes nobody was told of.
    pub lost: u64,
}

/// The changes that wait.
#[derive(Debug, Default)]
pub struct Outbox {
    /// With how often each was tried.
    waiting: VecDeque<(Change, u32)>,
    /// When the next mail may go.
    due: Option<Duration>,
    /// When the last went, or was tried.
    last: Option<Duration>,
    /// Attempts that failed since one did not.
    failures: u32,
    counts: Counts,
}

impl Outbox {
    /// Takes a change.
    pub fn push(&mut self, now: Duration, interval: Duration, change: Change) {
        if self.waiting.len() >= WAITING {
            self.counts.lost += 1;
            return;
        }
        self.waiting.push_back((change, 0));
        let settled = now + SETTLE;
        let spaced = self
            .last
            .map_or(settled, |last| settled.max(last + interval));
        self.due.get_or_insert(spaced);
    }

    /// When a mail is due.
    pub const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// What goes into the next mail: all that waits.
    pub fn batch(&self) -> Vec<Change> {
        self.waiting
            .iter()
            .map(|(change, _)| change.clone())
            .collect()
    }

    /// A mail of the first `n` changes was taken, or not.
    pub fn done(&mut self, now: Duration, n: usize, taken: bool) {
        self.last = Some(now);
        self.due = None;
        if taken {
            self.waiting.drain(..n.min(self.waiting.len()));
            self.failures = 0;
            self.counts.sent += 1;
        } else {
            for (_, tries) in self.waiting.iter_mut().take(n) {
                *tries += 1;
            }
            let before = self.waiting.len();
            self.waiting.retain(|(_, tries)| *tries < TRIES);
            self.counts.lost += (before - self.waiting.len()) as u64;
            self.counts.failed += 1;
            self.failures = (self.failures + 1).min(TRIES - 1);
        }
        if !self.waiting.is_empty() {
            let pause = match self.failures {
                0 => SETTLE,
                failures => PAUSE * 2u32.pow(failures - 1),
            };
            self.due = Some(now + pause);
        }
    }

    /// Everything that waits is due now: the end.
    pub fn hurry(&mut self, now: Duration) {
        if !self.waiting.is_empty() {
            self.due = Some(now);
        }
    }

    /// How it went so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn change(n: usize) -> Change {
        Change {
            time_ms: 0,
            what: n.to_string(),
            cause: String::new(),
        }
    }

    #[test]
    fn many_changes_are_few_mails() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.due(), None);
        for n in 0..500 {
            outbox.push(s(100), INTERVAL, change(n));
        }
        assert_eq!(
            outbox.due(),
            Some(s(101)),
            "others may join it for a second"
        );
        assert_eq!(outbox.batch().len(), 500);
        // One comes while the mail is on its way.
        outbox.push(s(101), INTERVAL, change(500));
        outbox.done(s(102), 500, true);
        assert_eq!(outbox.batch(), [change(500)]);
        outbox.done(s(103), 1, true);
        assert_eq!(outbox.due(), None);
        outbox.push(s(104), INTERVAL, change(0));
        assert_eq!(outbox.due(), Some(s(113)), "an interval after the last");
        outbox.push(s(112), INTERVAL, change(1));
        assert_eq!(outbox.due(), Some(s(113)));
        outbox.done(s(113), 2, true);
        outbox.push(s(200), INTERVAL, change(1));
        assert_eq!(outbox.due(), Some(s(201)));
        assert_eq!((outbox.counts().sent, outbox.counts().lost), (3, 0));
    }

    #[test]
    fn what_cannot_be_sent_is_tried_five_times_and_counted() {
        let mut outbox = Outbox::default();
        outbox.push(s(0), INTERVAL, change(0));
        let mut now = s(0);
        let mut tries = Vec::new();
        while let Some(due) = outbox.due() {
            tries.push((due - now).as_secs());
            now = due;
            if tries.len() == 3 {
                outbox.push(now, INTERVAL, change(1));
            }
            let n = outbox.batch().len();
            outbox.done(now, n, false);
        }
        // The second change came before the third try, and has five of its own.
        assert_eq!(tries, [1, 10, 20, 40, 80, 80, 80]);
        let counts = outbox.counts();
        assert_eq!((counts.failed, counts.lost, outbox.waiting()), (7, 2, 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut outbox = Outbox::default();
        for n in 0..WAITING + 7 {
            outbox.push(s(0), INTERVAL, change(n));
        }
        assert_eq!((outbox.waiting(), outbox.counts().lost), (WAITING, 7));
        outbox.hurry(s(0));
        assert_eq!(outbox.due(), Some(s(0)));
    }
}
