//! When which connection wants to be looked at: a hashed wheel of lists through arrays, so that nothing is allocated and every
//! operation takes the same time however many connections there are.

/// Nanoseconds of a tick, as a power of two: about a millisecond.
const TICK_BITS: u32 = 20;
/// Ticks of a turn: about 8.6 s. What is due later is looked at once a turn.
const SLOTS: usize = 1 << 13;
const NONE: u32 = u32::MAX;

/// Each of a fixed number of entries is armed for one time, or not.
pub struct Wheel {
    heads: Box<[u32]>,
    links: Box<[Link]>,
    /// The tick whose list is being emptied.
    tick: u64,
}

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    before: u32,
    /// The tick it is listed under; none if it is not.
    tick: Option<u64>,
}

impl Wheel {
    /// For entries 0 to `entries`, none armed.
    #[must_use]
    pub fn new(entries: u32) -> Self {
        let idle = Link {
            next: NONE,
            before: NONE,
            tick: None,
        };
        Self {
            heads: vec![NONE; SLOTS].into(),
            links: vec![idle; entries as usize].into(),
            tick: 0,
        }
    }

    /// Arms an entry for `deadline`, nanoseconds. One armed for an earlier time stays there: it comes out then, and its owner arms it anew.
    #[inline]
    pub fn arm(&mut self, entry: u32, deadline: u64) {
        // Not in the list that is being emptied: it would never end. Rounded up, so that what comes out is due.
        let wanted = (deadline >> TICK_BITS) + 1;
        let wanted = wanted.clamp(self.tick + 1, self.tick + SLOTS as u64 - 1);
        match self.links[entry as usize].tick {
            Some(tick) if tick <= wanted => return,
            Some(_) => self.disarm(entry),
            None => {}
        }
        let head = &mut self.heads[slot(wanted)];
        let next = std::mem::replace(head, entry);
        if next != NONE {
            self.links[next as usize].before = entry;
        }
        self.links[entry as usize] = Link {
            next,
            before: NONE,
            tick: Some(wanted),
        };
    }

    /// The entry no longer wants anything.
    #[inline]
    pub fn disarm(&mut self, entry: u32) {
        let Link { next, before, tick } = self.links[entry as usize];
        let Some(tick) = tick else { return };
        if next != NONE {
            self.links[next as usize].before = before;
        }
        if before == NONE {
            self.heads[slot(tick)] = next;
        } else {
            self.links[before as usize].next = next;
        }
        self.links[entry as usize].tick = None;
    }

    /// Takes out one entry whose time has come, or nearly: its owner looks at its deadline.
    #[inline]
    pub fn due(&mut self, now: u64) -> Option<u32> {
        let until = now >> TICK_BITS;
        loop {
            let entry = self.heads[slot(self.tick)];
            if entry != NONE {
                self.disarm(entry);
                return Some(entry);
            }
            if self.tick >= until {
                return None;
            }
            self.tick += 1;
        }
    }

    /// No later than this [`Wheel::due`] has something, if anything is armed.
    #[must_use]
    pub fn next_look(&self) -> Option<u64> {
        (self.tick..self.tick + SLOTS as u64)
            .find(|tick| self.heads[slot(*tick)] != NONE)
            .map(|tick| tick << TICK_BITS)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below the number of slots")]
const fn slot(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Beside a plain map: nothing comes out much too late or is forgotten, whatever is armed and disarmed between.
        #[test]
        fn everything_comes_out_in_its_tick(steps in proptest::collection::vec((0..20_u32, 0..30_000_000_000_u64, any::<bool>(), 0..500_000_000_u64), 1..200)) {
            let mut wheel = Wheel::new(20);
            let mut armed: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (entry, ahead, is_armed, pause) in steps {
                if is_armed {
                    let deadline = now + ahead;
                    // As its owner does: the deadline is what was said last, the list may be of an earlier time.
                    armed.insert(entry, deadline);
                    wheel.arm(entry, deadline);
                } else {
                    armed.remove(&entry);
                    wheel.disarm(entry);
                }
                now += pause;
                while let Some(entry) = wheel.due(now) {
                    let deadline = armed[&entry];
                    if deadline <= now {
                        armed.remove(&entry);
                    } else {
                        wheel.arm(entry, deadline);
                    }
                }
                // Late by two ticks at most.
                prop_assert!(armed.values().all(|deadline| *deadline + (2 << TICK_BITS) > now), "{armed:?} at {now}");
                prop_assert_eq!(wheel.next_look().is_some(), !armed.is_empty());
            }
        }
    }
}
