//! Whether one who listens has all that others tell, and when it asks for everything: at its start, and again when messages did not come.
//! A connection that stays idle is told once. Where that message is lost nobody would learn of it, and the next takeover would end it.

/// Messages may overtake each other by so much: only then one is missing.
const GRACE_MS: u64 = 100;
/// For so long another Tarpon is listened for at the start, which might tell everything.
const LISTEN_MS: u64 = 2500;
/// And then it has so long to tell everything.
const PATIENCE_MS: u64 = 30_000;
/// Before everything is asked for once more, where messages were lost meanwhile: at first, and at most.
const PAUSES_MS: (u64, u64) = (1000, 16_000);

/// What a listener has been told.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    complete: bool,
    /// Since when it is not, in milliseconds.
    since_ms: u64,
    /// Lost messages that everything told since has made up for.
    made_up: u64,
    /// Those lost when it first asked.
    at_asking: Option<u64>,
    /// Since when more are missing.
    missing_since_ms: Option<u64>,
    /// When it may ask.
    not_before_ms: u64,
    pause_ms: u64,
}

impl Whole {
    /// One who begins to listen at `now_ms`, and has been told nothing.
    #[must_use]
    pub const fn new(now_ms: u64) -> Self {
        Self {
            complete: false,
            since_ms: now_ms,
            made_up: 0,
            at_asking: None,
            missing_since_ms: None,
            not_before_ms: now_ms,
            pause_ms: PAUSES_MS.0,
        }
    }

    /// Whether it has been told everything, or nobody would tell it.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether it wants to be told everything, now.
    #[must_use]
    pub const fn asks(&self, now_ms: u64) -> bool {
        !self.complete && now_ms >= self.not_before_ms
    }

    /// Time has passed. `lost`: messages that have not come so far; `somebody`: another Tarpon tells.
    pub fn look(&mut self, now_ms: u64, lost: u64, somebody: bool) {
        // Those that were overtaken, or who told them has gone.
        self.made_up = self.made_up.min(lost);
        if !self.complete {
            let patience = if somebody { PATIENCE_MS } else { LISTEN_MS };
            if now_ms.saturating_sub(self.since_ms) > patience {
                self.complete = true;
                self.made_up = lost;
            }
        } else if lost == self.made_up {
            self.missing_since_ms = None;
        } else {
            let since = *self.missing_since_ms.get_or_insert(now_ms);
            if now_ms.saturating_sub(since) >= GRACE_MS {
                *self = Self {
                    made_up: self.made_up,
                    not_before_ms: self.not_before_ms,
                    pause_ms: self.pause_ms,
                    ..Self::new(now_ms)
                };
            }
        }
    }

    /// It has asked for everything, with so many messages lost.
    pub fn ask(&mut self, lost: u64) {
        self.at_asking.get_or_insert(lost);
    }

    /// It has been told that this was everything. It was, unless messages were lost since it asked.
    pub fn hear_all(&mut self, now_ms: u64, lost: u64) {
        let Some(before) = self.at_asking.take() else {
            return;
        };
        if lost <= before {
            self.complete = true;
            self.made_up = lost;
            self.pause_ms = PAUSES_MS.0;
        } else {
            self.not_before_ms = now_ms + self.pause_ms;
            self.pause_ms = (self.pause_ms * 2).min(PAUSES_MS.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_who_might_tell_and_longer_for_who_tells() {
        let mut whole = Whole::new(1000);
        whole.look(3500, 0, false);
        assert!(whole.asks(3500) && !whole.is_complete());
        whole.look(3501, 0, true);
        assert!(!whole.is_complete());
        whole.look(3501, 0, false);
        assert!(whole.is_complete() && !whole.asks(3501));
        let mut whole = Whole::new(1000);
        whole.look(31_000, 0, true);
        assert!(!whole.is_complete());
        whole.look(31_001, 0, true);
        assert!(whole.is_complete(), "it takes too long");
    }

    #[test]
    fn everything_is_asked_for_again_when_a_message_is_lost() {
        let mut whole = Whole::new(0);
        whole.ask(0);
        whole.hear_all(50, 0);
        assert!(whole.is_complete());
        whole.look(60, 2, true);
        whole.look(120, 1, true);
        whole.look(159, 0, true);
        whole.look(1000, 0, true);
        assert!(whole.is_complete(), "they were overtaken, no more");
        whole.look(2000, 1, true);
        assert!(whole.is_complete(), "it may come yet");
        whole.look(2100, 1, true);
        assert!(whole.asks(2100));
        whole.ask(1);
        whole.hear_all(2200, 1);
        whole.look(9000, 1, true);
        assert!(whole.is_complete(), "that one is made up for");
        // Who told it has gone, and another loses one.
        whole.look(9001, 0, true);
        whole.look(9002, 1, true);
        whole.look(9102, 1, true);
        assert!(whole.asks(9102));
    }

    #[test]
    fn what_is_lost_while_everything_is_told_is_asked_for_later_and_later() {
        let mut whole = Whole::new(0);
        let (mut now, mut lost, mut asked) = (0, 0, Vec::new());
        while now < 40_000 {
            whole.look(now, lost, true);
            if whole.asks(now) {
                asked.push(now);
                whole.ask(lost);
                lost += 1;
                whole.hear_all(now, lost);
            }
            now += 10;
        }
        assert_eq!(asked.get(..5), Some(&[0, 1000, 3000, 7000, 15_000][..]));
        assert!(asked.len() < 8, "{asked:?}");
        whole.ask(lost);
        whole.hear_all(now, lost);
        assert!(whole.is_complete());
    }

    #[test]
    fn that_was_everything_is_for_who_asked() {
        let mut whole = Whole::new(0);
        whole.hear_all(10, 0);
        assert!(!whole.is_complete());
    }
}
