//! When which virtual address is announced: at once on becoming master, paced where there are many, repeated, and refreshed.

use std::{ops::Range, time::Duration};

/// Addresses announced in one go.
const PORTION: usize = 32;
/// Between two portions: 32,000 addresses a second, so that a thousand take 32 ms.
const PACE: Duration = Duration::from_millis(1);

/// How often is announced; names as keepalived's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Rounds over all addresses on becoming master (`garp_master_repeat`), at least one.
    pub repeat: u32,
    /// Between those rounds.
    pub spacing: Duration,
    /// After this long the same rounds once more (`garp_master_delay`); zero: not.
    pub delay: Duration,
    /// One round this often while master (`garp_master_refresh`); zero: never.
    pub refresh: Duration,
}

impl Default for Repetition {
    /// Five, five more after five seconds, as keepalived does; and every minute, which it does not.
    fn default() -> Self {
        Self {
            repeat: 5,
            spacing: Duration::from_millis(200),
            delay: Duration::from_secs(5),
            refresh: Duration::from_secs(60),
        }
    }
}

/// Announces a number of addresses while it runs.
#[derive(Clone, Debug)]
pub struct Announcer {
    repetition: Repetition,
    count: usize,
    /// When the rounds under way began; `None`: it does not run.
    running: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    /// The next portion is due.
    due: Duration,
    /// Where in the round it begins.
    next: usize,
    /// When this round began.
    round: Duration,
    /// Rounds to come after this one, before the second lot or the refresh.
    left: u32,
    /// When the second lot is due, until then.
    again: Option<Duration>,
}

impl Announcer {
    /// For `count` addresses; does not run.
    #[must_use]
    pub const fn new(repetition: Repetition, count: usize) -> Self {
        Self {
            repetition,
            count,
            running: None,
        }
    }

    /// Begins, or begins anew.
    pub fn start(&mut self, now: Duration) {
        let delay = self.repetition.delay;
        self.running = (self.count > 0).then_some(Running {
            due: now,
            next: 0,
            round: now,
            left: self.repetition.repeat.saturating_sub(1),
            again: (!delay.is_zero()).then(|| now + delay),
        });
    }

    /// Ends at once.
    pub const fn stop(&mut self) {
        self.running = None;
    }

    /// When [`Announcer::poll`] has something next.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.running.map(|running| running.due)
    }

    /// The addresses to announce now, by their index; to be called until it is empty.
    pub fn poll(&mut self, now: Duration) -> Range<usize> {
        let Some(running) = self.running.as_mut().filter(|r| r.due <= now) else {
            return 0..0;
        };
        let portion = running.next..self.count.min(running.next + PORTION);
        running.next = portion.end;
        if portion.end < self.count {
            running.due = now + PACE;
            return portion;
        }
        running.next = 0;
        let after = if running.left > 0 {
            running.left -= 1;
            Some(running.round + self.repetition.spacing)
        } else if let Some(again) = running.again.take() {
            running.left = self.repetition.repeat.saturating_sub(1);
            Some(again)
        } else if self.repetition.refresh.is_zero() {
            None
        } else {
            Some(running.round + self.repetition.refresh)
        };
        match after {
            // Never faster than the pace, however late it is.
            Some(after) => {
                running.due = after.max(now + PACE);
                running.round = running.due;
            }
            None => self.running = None,
        }
        portion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Moments and portions until `end`, polled on time.
    fn course(announcer: &mut Announcer, end: Duration) -> Vec<(Duration, Range<usize>)> {
        let mut course = Vec::new();
        while let Some(due) = announcer.due().filter(|due| *due <= end) {
            let portion = announcer.poll(due);
            assert!(!portion.is_empty());
            course.push((due, portion));
        }
        course
    }

    #[test]
    fn the_first_is_at_once_and_then_it_repeats_and_refreshes() {
        let mut announcer = Announcer::new(Repetition::default(), 1);
        assert_eq!(announcer.due(), None);
        announcer.start(ms(1000));
        let moments: Vec<u128> = course(&mut announcer, ms(130_000))
            .iter()
            .map(|(at, _)| at.as_millis())
            .collect();
        assert_eq!(
            moments,
            [
                1000, 1200, 1400, 1600, 1800, 6000, 6200, 6400, 6600, 6800, 66_800, 126_800
            ]
        );
        announcer.stop();
        assert_eq!(announcer.due(), None);
        assert!(announcer.poll(ms(200_000)).is_empty());
    }

    #[test]
    fn a_thousand_take_less_than_fifty_milliseconds_and_come_in_portions() {
        let once = Repetition {
            repeat: 1,
            delay: Duration::ZERO,
            refresh: Duration::ZERO,
            ..Repetition::default()
        };
        let mut announcer = Announcer::new(once, 1000);
        announcer.start(ms(0));
        let course = course(&mut announcer, ms(10_000));
        assert_eq!(course.iter().map(|(_, p)| p.len()).sum::<usize>(), 1000);
        assert!(course.iter().all(|(_, p)| p.len() <= PORTION));
        assert!(course.last().unwrap().0 < ms(50));
    }

    #[test]
    fn whoever_polls_late_sends_no_flood() {
        let mut announcer = Announcer::new(Repetition::default(), 64);
        announcer.start(ms(0));
        let mut sent = 0;
        for at in 60_000..60_010 {
            while announcer.due().is_some_and(|due| due <= ms(at)) {
                sent += announcer.poll(ms(at)).len();
            }
        }
        assert!(sent <= 10 * PORTION, "{sent} in 10 ms");
    }
}
