//! What could be said again and again, as long as something is wrong, and shall not fill a log: a few times at once, then once a while.

use std::time::{Duration, Instant};

/// So often it is said as it happens.
const AT_ONCE: u32 = 4;
/// Then one more in this time.
const EVERY: Duration = Duration::from_secs(60);

/// How often something was said, and left out.
#[derive(Debug, Default)]
pub struct Seldom {
    /// Times it may be said now are [`AT_ONCE`] less these.
    spent: u32,
    /// When the oldest of those is forgotten.
    since: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// Whether it may be said now: with how often it was not since it was said last. `None`: not now, which is counted.
    pub fn may(&mut self, now: Instant) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let whole = now.saturating_duration_since(since).as_secs() / EVERY.as_secs();
        let regained = u32::try_from(whole).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_sub(regained);
        self.since = match self.spent {
            0 => Some(now),
            _ => since.checked_add(EVERY.saturating_mul(regained)),
        };
        if self.spent == AT_ONCE {
            self.left_out += 1;
            return None;
        }
        self.spent += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Behind what is said again: ` (N more like it were left out)`, or nothing.
#[must_use]
pub fn more(left_out: u64) -> String {
    match left_out {
        0 => String::new(),
        1 => " (and once more, which was left out)".to_owned(),
        n => format!(" (and {n} times more, which were left out)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_for_an_hour_every_three_seconds_is_said_once_a_minute() {
        let begin = Instant::now();
        let mut seldom = Seldom::default();
        let said: Vec<(u64, u64)> = (0..1200)
            .map(|n| n * 3)
            .filter_map(|s| Some((s, seldom.may(begin + Duration::from_secs(s))?)))
            .collect();
        assert_eq!(
            said.get(..6),
            Some(&[(0, 0), (3, 0), (6, 0), (9, 0), (60, 16), (120, 19)][..])
        );
        assert_eq!(said.len(), 4 + 59);
        // After a quiet time it is news again.
        let later = begin + Duration::from_secs(8000);
        let again: Vec<_> = (0..6)
            .map(|s| seldom.may(later + Duration::from_secs(s)))
            .collect();
        assert_eq!(
            again,
            [Some(19), Some(0), Some(0), Some(0), None, None],
            "the last 19 of that hour come with the next"
        );
    }

    #[test]
    fn what_comes_now_and_then_is_always_said() {
        let begin = Instant::now();
        let mut seldom = Seldom::default();
        for n in 0..100 {
            assert_eq!(seldom.may(begin + Duration::from_secs(n * 61)), Some(0));
        }
    }
}
