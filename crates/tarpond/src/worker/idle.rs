//! What a worker does when its queues are empty: poll on for a while, then sleep longer and longer.
//!
//! It never yields: a yield gives the rest of the time slice to whoever else wants the CPU, milliseconds of it, while a
//! sleeper is put back in front the moment its timer rings.

use config::Idle;
use std::time::Duration;

/// Empty rounds before the first sleep.
const SPIN_ROUNDS: u32 = 64;
/// The first sleep; each is longer than the one before.
const SHORTEST: Duration = Duration::from_micros(20);
/// The longest sleep: a packet to an idle router waits no longer.
const LONGEST: Duration = Duration::from_micros(500);

/// What to do after an empty round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Poll again at once.
    Spin,
    /// Sleep, unless woken.
    Sleep(Duration),
}

/// The state of a worker's patience.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pause: bool,
    empty: u32,
    next: Duration,
}

impl Patience {
    /// As the configuration wants it.
    #[must_use]
    pub fn new(idle: Idle) -> Self {
        Self {
            pause: idle == Idle::Pause,
            empty: 0,
            next: SHORTEST,
        }
    }

    /// A round moved packets.
    #[inline]
    pub fn worked(&mut self) {
        self.empty = 0;
        self.next = SHORTEST;
    }

    /// A round found nothing.
    #[inline]
    pub fn found_nothing(&mut self) -> Rest {
        if !self.pause {
            return Rest::Spin;
        }
        self.empty = self.empty.saturating_add(1);
        if self.empty <= SPIN_ROUNDS {
            return Rest::Spin;
        }
        let now = self.next;
        self.next = (now * 5 / 4).min(LONGEST);
        Rest::Sleep(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_wears_out_slowly_and_one_packet_restores_it() {
        let mut patience = Patience::new(Idle::Pause);
        let rests: Vec<Rest> = (0..200).map(|_| patience.found_nothing()).collect();
        assert_eq!(rests[0], Rest::Spin);
        assert_eq!(rests[SPIN_ROUNDS as usize - 1], Rest::Spin);
        assert_eq!(rests[SPIN_ROUNDS as usize], Rest::Sleep(SHORTEST));
        assert_eq!(rests[199], Rest::Sleep(LONGEST));
        patience.worked();
        assert_eq!(patience.found_nothing(), Rest::Spin);
    }

    #[test]
    fn an_appliance_never_sleeps() {
        let mut patience = Patience::new(Idle::Poll);
        assert!((0..10_000).all(|_| patience.found_nothing() == Rest::Spin));
    }
}
