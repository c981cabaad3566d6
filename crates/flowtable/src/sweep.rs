//! Ending connections: by the clock, by order, and giving their slots back after a grace period.
//!
//! live → doomed (whoever swaps this settles it, once) → live again, or condemned → (grace period) → free.
//! A doomed entry is not matched and its key cannot be claimed, so no second incarnation appears before it is settled.

use crate::{
    entry::Entry,
    family::{Family, KeyCells, Side, Tuple},
    group::LANES,
    hash::Hash,
    memory::prefetch,
    state::{Generation, Lifecycle, StateFlags, StateWord},
    table::{Slot, Table},
};
use rcu::{
    Epoch,
    sync::{
        Ordering::{Relaxed, Release, SeqCst},
        fence,
    },
};
use std::{collections::VecDeque, ops::ControlFlow};
use types::Tick;

/// What to do with an entry past its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// End it. The callback has done the accounting.
    Expire,
    /// Keep it: a template that still controls connections.
    Rearm {
        /// Its timeout from now on.
        timeout_ms: u32,
    },
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries ended.
    pub expired: u32,
    /// Slots given back.
    pub freed: u32,
    /// Groups the hand has passed.
    pub groups: usize,
}

/// What became of an entry found past its time.
pub enum Settled {
    /// It ended, and may be freed after that epoch.
    Expired(Epoch),
    /// It was touched meanwhile, or rearmed.
    Lives,
    /// Somebody else settles it.
    Lost,
}

/// A worker's clock hand over its share of the table.
#[derive(Debug)]
pub struct Cursor {
    start: u32,
    end: u32,
    next: u32,
    /// Dead slots to free without waiting for the hand to come round: only a shortcut, the table knows them too.
    waiting: VecDeque<(Epoch, Slot, StateWord)>,
}

/// Slots a cursor remembers. More are found by the next round of the hand.
const WAITING: usize = 1024;

impl<F: Family> Table<F> {
    /// The hand of worker `share` of `shares`. Each sweeps its own part; together they cover the table.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most group_count")]
    pub fn cursor(&self, share: u32, shares: u32) -> Cursor {
        let shares = u64::from(shares.max(1));
        let edge = |n: u64| (u64::from(self.group_count) * n.min(shares) / shares) as u32;
        let (start, end) = (edge(u64::from(share)), edge(u64::from(share) + 1));
        Cursor {
            start,
            end,
            next: start,
            waiting: VecDeque::with_capacity(WAITING),
        }
    }

    /// Moves the hand over `budget_groups` groups of 14 slots: ends what is past its time, and frees what is dead and
    /// past its grace period. `on` is called exactly once for each end, by whichever worker gets to do it; the entry
    /// shows its last state word, for the accounting. An entry touched meanwhile lives on without a call.
    pub fn expire(
        &self,
        now: Tick,
        cursor: &mut Cursor,
        budget_groups: usize,
        on: &mut dyn FnMut(Entry<'_, F>) -> Expiry,
    ) -> Swept {
        self.expire_some(now, cursor, budget_groups, u32::MAX, on)
    }

    /// [`Table::expire`] that stops behind the group in which the `most`th entry has ended, and frees hardly more without the hand:
    /// either takes ten times as long as passing one over.
    pub fn expire_some(
        &self,
        now: Tick,
        cursor: &mut Cursor,
        budget_groups: usize,
        most: u32,
        on: &mut dyn FnMut(Entry<'_, F>) -> Expiry,
    ) -> Swept {
        let mut swept = Swept {
            expired: 0,
            // As many as can have ended in one call, so that the queue does not grow.
            freed: self.free_waiting(cursor, most.saturating_add(LANES)),
            groups: 0,
        };
        let share = (cursor.end - cursor.start) as usize;
        while swept.groups < budget_groups.min(share) && swept.expired < most {
            swept.groups += 1;
            let group = cursor.next;
            cursor.next = if group + 1 == cursor.end {
                cursor.start
            } else {
                group + 1
            };
            self.prefetch_group(cursor.next);
            for lane in self.groups[group as usize].load().occupied() {
                self.sweep(Slot(group * LANES + lane), now, cursor, on, &mut swept);
            }
        }
        swept
    }

    /// Ends a connection at once: its key can be claimed anew immediately. Returns its last state word to the one caller
    /// who ended it, `None` to all others, also while a sweep settles it (it may yet live: [`Table::claim`] tells). A template that controls connections is only unhashed
    /// ([`Entry::unhash`]), because those connections refer to its slot.
    pub fn remove(&self, slot: Slot, generation: Generation) -> Option<StateWord> {
        let row = &self.rows[slot.0 as usize];
        let mut word = row.state();
        while word.is_live() && word.generation() == generation {
            let doomed = word.with_lifecycle(Lifecycle::Doomed);
            match row.swap_state(word, doomed) {
                Ok(()) => {
                    // Pairs with the fence in `Entry::add_control`.
                    fence(SeqCst);
                    if row.key.is_template() && row.packets.load(Relaxed) > 0 {
                        let unhashed = word.with_flags(word.flags().with(StateFlags::UNHASHED));
                        row.state.store(unhashed.0, Release);
                        return None;
                    }
                    self.condemn(slot, doomed);
                    return Some(word);
                }
                Err(now) => word = now,
            }
        }
        None
    }

    /// A connection past its time that lives on, because `on` (as in [`Table::expire`]) keeps it: what no lookup has found may be
    /// one that no sweep has come by yet. One that does not live on is ended.
    #[cold]
    pub fn find_kept(
        &self,
        h: Hash,
        t: &Tuple<F::Addr>,
        side: Side,
        now: Tick,
        on: &mut dyn FnMut(Entry<'_, F>) -> Expiry,
    ) -> Option<Entry<'_, F>> {
        let late = self.probe(h, |slot, row| {
            let it = row.state().is_matchable() && row.key.matches(t, side, false);
            if it && row.past_its_time(now) {
                ControlFlow::Break(slot)
            } else {
                ControlFlow::Continue(())
            }
        });
        let slot = late?;
        matches!(self.settle(slot, now, on), Settled::Lives).then(|| self.entry(slot))
    }

    /// Ends an entry found past its time, unless it turns out to live.
    pub(crate) fn settle(
        &self,
        slot: Slot,
        now: Tick,
        on: &mut dyn FnMut(Entry<'_, F>) -> Expiry,
    ) -> Settled {
        let row = &self.rows[slot.0 as usize];
        let live = row.state();
        let due =
            |word: StateWord| word.flags().contains(StateFlags::UNHASHED) || row.past_its_time(now);
        if !live.is_live() || !due(live) {
            return Settled::Lost;
        }
        let doomed = live.with_lifecycle(Lifecycle::Doomed);
        if row.swap_state(live, doomed).is_err() {
            return Settled::Lost;
        }
        // Pairs with the fence in `Entry::add_control`; and stamps made before the swap are looked at again.
        fence(SeqCst);
        if due(live) {
            match on(Entry { row, slot }) {
                Expiry::Expire => return Settled::Expired(self.condemn(slot, doomed)),
                Expiry::Rearm { timeout_ms } => {
                    row.last.store(now.low(), Relaxed);
                    row.set_timeout_ms(timeout_ms);
                }
            }
        }
        // Nobody else changes a doomed word.
        row.state.store(live.0, Release);
        Settled::Lives
    }

    /// Doomed → condemned, by the one who doomed it.
    fn condemn(&self, slot: Slot, doomed: StateWord) -> Epoch {
        let row = &self.rows[slot.0 as usize];
        self.tally.died(slot.0, row.key.is_template());
        // The epoch is taken after the entry stopped being matched: workers that passed it cannot hold the slot.
        let until = self.domain.next();
        row.state.store(doomed.condemned(until).0, Release);
        until
    }

    fn sweep(
        &self,
        slot: Slot,
        now: Tick,
        cursor: &mut Cursor,
        on: &mut dyn FnMut(Entry<'_, F>) -> Expiry,
        swept: &mut Swept,
    ) {
        let row = &self.rows[slot.0 as usize];
        let word = row.state();
        match word.lifecycle() {
            Lifecycle::Live => {
                if let Settled::Expired(until) = self.settle(slot, now, on) {
                    swept.expired += 1;
                    cursor.remember(until, slot, row.state());
                }
            }
            Lifecycle::Condemned => {
                let until = word.waits_for(self.domain.next());
                if self.domain.passed(until) {
                    swept.freed += u32::from(self.free(slot, word));
                } else {
                    cursor.remember(until, slot, word);
                }
            }
            _ => {}
        }
    }

    fn free_waiting(&self, cursor: &mut Cursor, most: u32) -> u32 {
        let mut freed = 0;
        for _ in 0..most {
            let Some(&(until, slot, word)) = cursor.waiting.front() else {
                break;
            };
            if !self.domain.passed(until) {
                let current = self.domain.current();
                // One grace period at a time, started by whichever cursor needs it first.
                if until > current && self.domain.passed(current) {
                    self.domain.advance();
                }
                break;
            }
            cursor.waiting.pop_front();
            freed += u32::from(self.free(slot, word));
        }
        freed
    }

    /// Frees a condemned slot whose epoch has passed. False if another cursor was first.
    fn free(&self, slot: Slot, word: StateWord) -> bool {
        let row = &self.rows[slot.0 as usize];
        let claimed = word.with_lifecycle(Lifecycle::Claimed);
        if row.swap_state(word, claimed).is_err() {
            return false;
        }
        let key = row.key.load();
        let t = key.client_tuple();
        let home = if key.template {
            self.template_hash(&t, row.name())
        } else {
            self.hash(t.protocol, t.client, t.client_port)
        };
        self.vacate(slot, home, claimed);
        true
    }

    /// The sweep's next group: its entries are lines of memory nobody has touched for long.
    fn prefetch_group(&self, group: u32) {
        let Some(tags) = self.groups.get(group as usize) else {
            return;
        };
        for lane in tags.load().occupied() {
            if let Some(row) = self.rows.get((group * LANES + lane) as usize) {
                prefetch(std::slice::from_ref(row), 0);
            }
        }
    }
}

impl Cursor {
    fn remember(&mut self, until: Epoch, slot: Slot, word: StateWord) {
        // Never beyond the capacity it was made with: no allocation.
        if self.waiting.len() < WAITING {
            self.waiting.push_back((until, slot, word));
        }
    }
}
