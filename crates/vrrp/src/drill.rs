//! A rehearsed takeover: the addresses go to the other director and come back, and probes say for how long nobody answered for them.
//!
//! Pure: the caller sends a probe for one of the addresses every [`PROBE`], counts what answers, and says how the unit stands.

use crate::State;
use std::{net::IpAddr, time::Duration};

/// Between two probes, and so the resolution of what is measured.
pub const PROBE: Duration = Duration::from_millis(1);
/// For how long the other director keeps the addresses.
const STAY: Duration = Duration::from_secs(1);
/// For how long probes go on when the addresses are back.
const SETTLE: Duration = Duration::from_millis(200);
/// How long the other director may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing but probing.
    Probe,
    /// The unit may preempt again.
    TakeBack,
    /// It is over.
    End,
}

/// How it stands, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Given up; the other has not answered yet.
    Going,
    /// The other has them.
    There,
    /// They are to come back.
    Returning,
    /// They are back; whether the other stops answering is looked at.
    Settling,
    /// There and back.
    Passed,
    /// It has ended otherwise, for this reason.
    Failed(String),
}

/// What is known of the unit at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Where it stands.
    pub state: State,
    /// How often somebody else was heard to have the address since the drill began.
    pub heard: u64,
    /// Who advertised last, with which priority.
    pub master: Option<(IpAddr, u8)>,
    /// Its own priority.
    pub priority: u8,
    /// Whether it takes over from a worse master, now that its connections are here or not.
    pub ready: bool,
}

/// A drill under way, or the last one.
#[derive(Clone, Debug)]
pub struct Drill {
    progress: Progress,
    /// Whether it is allowed to come back, and how long that may take.
    back: Option<Duration>,
    left: Duration,
    phase_since: Duration,
    heard: u64,
    last_heard: Option<Duration>,
    gap: Option<Duration>,
    back_at: Option<Duration>,
    peer: Option<(IpAddr, u8)>,
}

impl Drill {
    /// The addresses have been given up at `now`. `back`: how long it may take until they are preempted; `None`: they are not.
    #[must_use]
    pub const fn new(now: Duration, back: Option<Duration>) -> Self {
        Self {
            progress: Progress::Going,
            back,
            left: now,
            phase_since: now,
            heard: 0,
            last_heard: None,
            gap: None,
            back_at: None,
            peer: None,
        }
    }

    /// One that could not begin.
    #[must_use]
    pub fn not_begun(now: Duration, why: &str) -> Self {
        Self {
            progress: Progress::Failed(why.to_owned()),
            ..Self::new(now, None)
        }
    }

    /// How it stands.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.progress, Progress::Passed | Progress::Failed(_))
    }

    /// Who had the addresses, with its priority.
    #[must_use]
    pub const fn peer(&self) -> Option<(IpAddr, u8)> {
        self.peer
    }

    /// From giving the addresses up to the first sign of somebody else who has them.
    #[must_use]
    pub const fn gap_there(&self) -> Option<Duration> {
        self.gap
    }

    /// From the last sign of the other until they were back; nothing if it answered until then, or longer.
    #[must_use]
    pub fn gap_back(&self) -> Option<Duration> {
        let back = self.back_at?;
        Some(back.saturating_sub(self.last_heard.unwrap_or(self.left)))
    }

    /// For how long the other still answered when they were back.
    #[must_use]
    pub fn overlap(&self) -> Option<Duration> {
        let back = self.back_at?;
        Some(self.last_heard.unwrap_or(back).saturating_sub(back))
    }

    /// A moment later.
    pub fn step(&mut self, now: Duration, seen: Seen) -> Step {
        if seen.heard > self.heard {
            self.heard = seen.heard;
            self.last_heard = Some(now);
        }
        let waited = now.saturating_sub(self.phase_since);
        match &self.progress {
            Progress::Going => self.going(now, waited, seen),
            Progress::There => self.there(now, waited, seen),
            Progress::Returning => self.returning(now, waited, seen),
            Progress::Settling if waited >= SETTLE => self.enter(now, Progress::Passed, Step::End),
            Progress::Settling => Step::Probe,
            Progress::Passed | Progress::Failed(_) => Step::End,
        }
    }

    fn going(&mut self, now: Duration, waited: Duration, seen: Seen) -> Step {
        if seen.state == State::Master {
            self.gap = Some(waited);
            return self.fail(
                now,
                "nobody took over: the addresses came back by themselves",
            );
        }
        // It answers, and says so as well: else it is somebody who only claims the address.
        if self.heard > 0 && self.gap.is_none() {
            self.gap = Some(waited);
        }
        match (self.gap, seen.master) {
            (Some(_), Some((_, priority))) if priority > 0 => {
                self.peer = seen.master;
                self.enter(now, Progress::There, Step::Probe)
            }
            _ if waited >= PATIENCE => self.fail(now, "nobody has taken over"),
            _ => Step::Probe,
        }
    }

    fn there(&mut self, now: Duration, waited: Duration, seen: Seen) -> Step {
        self.peer = seen.master.or(self.peer);
        let priority = self.peer.map_or(0, |(_, priority)| priority);
        if seen.state == State::Master {
            return self.fail(now, "the other director did not keep them");
        }
        let Some(back) = self.back else {
            return self.fail(
                now,
                "they stay there: this director does not preempt (preempt = false)",
            );
        };
        if priority >= seen.priority {
            let why = format!(
                "they stay there: the other director has priority {priority}, this one {}",
                seen.priority
            );
            return self.fail(now, &why);
        }
        match (waited >= STAY, seen.ready) {
            (true, true) => self.enter(now, Progress::Returning, Step::TakeBack),
            (true, false) if waited >= STAY + PATIENCE + back => self.fail(
                now,
                "they stay there: this director is not told of all connections",
            ),
            _ => Step::Probe,
        }
    }

    fn returning(&mut self, now: Duration, waited: Duration, seen: Seen) -> Step {
        if seen.state == State::Master {
            self.back_at = Some(now);
            return self.enter(now, Progress::Settling, Step::Probe);
        }
        match waited >= PATIENCE + self.back.unwrap_or_default() {
            true => self.fail(now, "they have not come back yet"),
            false => Step::Probe,
        }
    }

    fn enter(&mut self, now: Duration, progress: Progress, step: Step) -> Step {
        self.progress = progress;
        self.phase_since = now;
        step
    }

    fn fail(&mut self, now: Duration, why: &str) -> Step {
        self.enter(now, Progress::Failed(why.to_owned()), Step::End)
    }
}

#[cfg(test)]
mod tests;
