//! Where the numbers of one stream break off: which was the last frame that never came, and for how long none came at all. What an
//! overload and a reset of a device are told by (RFC 2544 26.5, 26.6).

use std::collections::VecDeque;

/// Breaks that may still be filled by frames that come late. Older ones are taken for lost.
const OPEN: usize = 1024;

/// What one worker sees of one stream, which must all come in by its queues.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// The number to come, and the clock of the frame before it; `None`: nothing has come.
    next: Option<(u32, u64)>,
    open: VecDeque<Gap>,
    /// The last of those that are looked at no more.
    settled: Option<Gap>,
    /// From this number on, frames that have come are counted.
    turn: Option<u32>,
    since_turn: u64,
    came: Option<u64>,
    silence: Silence,
}

/// Numbers in a row that have not come.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: u32,
    len: u32,
    /// Of them, those that have not come since.
    missing: u32,
    /// When the frames before and behind it were sent.
    sent: (u64, u64),
}

/// The longest time in which nothing came, clocks: from the frame before it to the frame behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// When the frame before it came.
    pub from: u64,
    /// When the frame behind it came.
    pub to: u64,
}

/// The last frame that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLost {
    /// None was.
    None,
    /// It was sent between these clocks: of the frames before and behind it that came.
    Between(u64, u64),
    /// Nothing that was sent behind it came.
    AtTheEnd,
}

impl Gaps {
    /// Frame `number`, sent at `sent`, comes at `now`; not one that has come before.
    #[inline]
    pub fn take(&mut self, now: u64, number: u32, sent: u64) {
        if self.turn.is_some_and(|turn| !is_before(number, turn)) {
            self.since_turn += 1;
        }
        if let Some(before) = self.came.replace(now)
            && now.saturating_sub(before) > self.silence.to - self.silence.from
        {
            self.silence = Silence {
                from: before,
                to: now,
            };
        }
        // Streams begin with number 0.
        let (next, before) = self.next.unwrap_or((0, sent));
        if number == next {
            self.next = Some((next.wrapping_add(1), sent));
        } else if is_before(number, next) {
            self.comes_late(number);
        } else {
            let len = number.wrapping_sub(next);
            self.open(Gap {
                from: next,
                len,
                missing: len,
                sent: (before, sent),
            });
            self.next = Some((number.wrapping_add(1), sent));
        }
    }

    /// From now on, that is from frame `number` on, frames are counted anew.
    pub const fn turn(&mut self, number: u32) {
        self.turn = Some(number);
        self.since_turn = 0;
    }

    /// The number at the turn, and frames from it on that have come.
    #[must_use]
    pub fn since_turn(&self) -> Option<(u32, u64)> {
        Some((self.turn?, self.since_turn))
    }

    /// The last frame lost of the first `sent`.
    #[must_use]
    pub fn last_lost(&self, sent: u64) -> LastLost {
        #[expect(clippy::cast_possible_truncation, reason = "numbers wrap")]
        let end = sent as u32;
        match self.next {
            None if sent == 0 => return LastLost::None,
            None => return LastLost::AtTheEnd,
            Some((next, _)) if is_before(next, end) => return LastLost::AtTheEnd,
            Some(_) => {}
        }
        let open = self.open.iter().rev().find(|gap| gap.missing > 0);
        match open.or(self.settled.as_ref()) {
            Some(gap) => LastLost::Between(gap.sent.0, gap.sent.1),
            None => LastLost::None,
        }
    }

    /// When the last frame came.
    #[must_use]
    pub const fn came(&self) -> Option<u64> {
        self.came
    }

    /// The longest silence between two frames, clocks.
    #[must_use]
    pub const fn silence(&self) -> Silence {
        self.silence
    }

    fn open(&mut self, gap: Gap) {
        if self.open.len() >= OPEN
            && let Some(oldest) = self.open.pop_front()
            && oldest.missing > 0
        {
            self.settled = Some(oldest);
        }
        self.open.push_back(gap);
    }

    fn comes_late(&mut self, number: u32) {
        let inside = |gap: &&mut Gap| number.wrapping_sub(gap.from) < gap.len;
        if let Some(gap) = self.open.iter_mut().rev().find(inside) {
            gap.missing = gap.missing.saturating_sub(1);
        }
    }
}

/// Whether number `a` was sent before `b`.
pub(crate) const fn is_before(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) < u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Frame n is sent at 10 n and comes 5 later.
    fn gaps(numbers: impl IntoIterator<Item = u32>) -> Gaps {
        let mut gaps = Gaps::default();
        for number in numbers {
            gaps.take(u64::from(number) * 10 + 5, number, u64::from(number) * 10);
        }
        gaps
    }

    #[test]
    fn the_last_loss_is_between_what_came_around_it() {
        assert_eq!(gaps(0..10).last_lost(10), LastLost::None);
        assert_eq!(gaps([]).last_lost(0), LastLost::None);
        assert_eq!(gaps([]).last_lost(1), LastLost::AtTheEnd);
        assert_eq!(gaps(0..9).last_lost(10), LastLost::AtTheEnd);
        assert_eq!(gaps(3..10).last_lost(10), LastLost::Between(30, 30));
        let two = gaps([0, 3, 4, 6, 7]);
        assert_eq!(two.last_lost(8), LastLost::Between(40, 60));
        assert_eq!(two.silence(), Silence { from: 5, to: 35 });
    }

    #[test]
    fn what_comes_late_is_not_lost() {
        let mut late = gaps([0, 3, 4, 6, 7]);
        late.take(100, 5, 50);
        assert_eq!(late.last_lost(8), LastLost::Between(0, 30));
        late.take(101, 1, 10);
        late.take(102, 2, 20);
        assert_eq!(late.last_lost(8), LastLost::None);
    }

    #[test]
    fn numbers_wrap() {
        let mut gaps = Gaps {
            next: Some((u32::MAX - 1, 0)),
            ..Gaps::default()
        };
        gaps.turn(1);
        for (number, sent) in [(u32::MAX - 1, 1), (u32::MAX, 2), (1, 4), (2, 5)] {
            gaps.take(sent, number, sent);
        }
        assert_eq!(gaps.last_lost((1 << 32) + 3), LastLost::Between(2, 4));
        assert_eq!(gaps.since_turn(), Some((1, 2)));
    }

    proptest! {
        /// Against the set of what came, in any order within a window.
        #[test]
        fn it_is_the_last_that_did_not_come(
            lost in proptest::collection::btree_set(0_u32..6000, 0..3000),
            swaps in proptest::collection::vec((0_usize..6000, 0_usize..20), 0..500),
            turn in 0_u32..6000,
        ) {
            let mut came: Vec<u32> = (0..6000).filter(|n| !lost.contains(n)).collect();
            for (at, by) in swaps {
                if at + by < came.len() {
                    came.swap(at, at + by);
                }
            }
            let mut gaps = Gaps::default();
            gaps.turn(turn);
            for number in &came {
                gaps.take(u64::from(*number), *number, u64::from(*number));
            }
            let all: BTreeSet<u32> = came.iter().copied().collect();
            prop_assert_eq!(gaps.since_turn(), Some((turn, all.range(turn..).count() as u64)));
            let greatest = all.last().copied();
            match (lost.last(), gaps.last_lost(6000)) {
                (None, told) => prop_assert_eq!(told, LastLost::None),
                (Some(last), told) if greatest.is_none_or(|g| g < *last) => {
                    prop_assert_eq!(told, LastLost::AtTheEnd);
                }
                (Some(last), LastLost::Between(before, behind)) => {
                    prop_assert!(u64::from(*last) < behind && (before < u64::from(*last) || before == behind), "{} {} {}", last, before, behind);
                }
                (Some(last), told) => prop_assert!(false, "{last} {told:?}"),
            }
        }
    }
}
