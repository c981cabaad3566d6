//! Inserting exactly once, with any number of workers.
//!
//! A claimant takes a free slot as a *candidate* with its key and tag in place, then walks the probe sequence again. Of
//! several candidates for one key the earliest in probe order defeats the later ones; a candidate becomes an *embryo* by
//! a compare-and-swap that its defeat would make fail. Two claimants cannot both win: after each has published its tag
//! comes a fence, so at least one sees the other, and it either defeats, or gives way.

use crate::{
    entry::{Deltas, Entry, NO_SLOT, Row},
    family::{Family, KeyCells, Side, Tuple},
    group::{LANES, PROBE_LIMIT},
    hash::Hash,
    state::{Lifecycle, StateFlags, StateWord},
    sweep::{Expiry, Settled},
    table::{Kind, Slot, Table},
    tally::Event,
};
use rcu::sync::{
    Ordering::{AcqRel, Relaxed, Release, SeqCst},
    fence,
};
use std::{mem, ops::ControlFlow};
use types::{Mark, ServerId, Tick};

/// What came of a claim.
#[derive(Debug)]
#[must_use]
pub enum Claim<'a, F: Family> {
    /// The caller alone may schedule this connection, and publishes or drops the embryo.
    Won(Embryo<'a, F>),
    /// The connection exists.
    Exists(Slot),
    /// Another worker is inserting or settling it: try again next burst.
    Busy,
    /// No room within the probe sequence. Counted.
    Full,
    /// The client's endpoint has as many connections as it may. Counted.
    ClientFull,
}

/// What a claim of a key that is not there would be refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// As [`Claim::Full`].
    Full,
    /// As [`Claim::ClientFull`].
    ClientFull,
}

/// A connection about to be.
#[derive(Clone, Copy, Debug)]
pub struct New<A> {
    /// Real server's address.
    pub daddr: A,
    /// Real server's port.
    pub dport: u16,
    /// The real server.
    pub server: ServerId,
    /// Static flags of the caller's, 7 bits.
    pub flags: u8,
    /// Protocol state.
    pub state: u8,
    /// Run-time flags.
    pub state_flags: StateFlags,
    /// At most [`crate::MAX_TIMEOUT_MS`].
    pub timeout_ms: u32,
    /// The template that controls it; its [`Entry::add_control`] has been called.
    pub template: Option<Slot>,
    /// Firewall mark, 0 for none.
    pub mark: Mark,
    /// Checksum deltas of NAT; a template has none.
    pub deltas: Deltas,
    /// A number of the caller's.
    pub note: u32,
}

/// A slot this worker has claimed. Publish it within the burst; dropping it gives the slot back.
#[must_use]
pub struct Embryo<'a, F: Family> {
    table: &'a Table<F>,
    slot: Slot,
    home: Hash,
    word: StateWord,
    now: Tick,
}

impl<F: Family> std::fmt::Debug for Embryo<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Embryo").field(&self.slot).finish()
    }
}

/// What a walk over the probe sequence met of a key.
enum Met {
    Exists(Slot),
    PastItsTime(Slot),
    Busy,
}

impl<F: Family> Table<F> {
    /// Claims the key for a new connection or template: `t` as the client's packet shows it (with [`Side::Virtual`]),
    /// `h` its [`Table::hash`] or, for a template, [`Table::template_hash`].
    ///
    /// An entry of this key that is past its time but not swept yet is settled first, by `on` as in [`Table::expire`].
    #[cold]
    pub fn claim(
        &self,
        h: Hash,
        t: &Tuple<F::Addr>,
        kind: Kind,
        now: Tick,
        on: &mut dyn FnMut(Entry<'_, F>) -> Expiry,
    ) -> Claim<'_, F> {
        loop {
            match self.survey(h, t, kind, now) {
                Some(Met::Exists(slot)) => return Claim::Exists(slot),
                Some(Met::Busy) => return self.busy(h),
                Some(Met::PastItsTime(slot)) => match self.settle(slot, now, on) {
                    // Gone: look again, there may be an older incarnation further on. Each pass ends one, so this ends.
                    Settled::Expired(_) => {}
                    Settled::Lives => return Claim::Exists(slot),
                    Settled::Lost => return self.busy(h),
                },
                None => break,
            }
        }
        if !kind.is_template() && self.connections_of(h, t) >= self.client_cap.load(Relaxed) {
            self.tally.refused(h.group, Event::ClientFull);
            return Claim::ClientFull;
        }
        let Some((slot, word)) = self.take_free(h) else {
            self.tally.refused(h.group, Event::Full);
            return Claim::Full;
        };
        self.contend(h, t, kind, now, slot, word)
    }

    /// Makes a taken slot a candidate and sees whether it wins.
    fn contend(
        &self,
        h: Hash,
        t: &Tuple<F::Addr>,
        kind: Kind,
        now: Tick,
        slot: Slot,
        word: StateWord,
    ) -> Claim<'_, F> {
        let row = &self.rows[slot.0 as usize];
        // Pairs with the acquire fence of a reader without an epoch (`Table::list`): whoever sees a word written below also
        // sees that the generation has changed.
        fence(Release);
        row.claim(t, kind);
        let candidate = word.with_lifecycle(Lifecycle::Candidate);
        // Release: whoever sees a candidate sees its key.
        row.state.store(candidate.0, Release);
        let group = slot.0 / LANES;
        // Before the tag, so that whoever can see the tag also walks this far.
        self.passed_over(h.group, group)
            .for_each(|g| g.raise_overflow());
        self.groups[group as usize].set(slot.0 % LANES, h.tag);
        // Of two claimants' fences one comes first; the other's walk below sees that one's tag and key.
        fence(SeqCst);
        let mut embryo = Embryo {
            table: self,
            slot,
            home: h,
            word: candidate,
            now,
        };
        match self.met_while_contending(h, t, kind, now, slot) {
            Some(Met::Exists(slot)) => return Claim::Exists(slot),
            Some(Met::Busy | Met::PastItsTime(_)) => return self.busy(h),
            None => {}
        }
        let won = candidate.with_lifecycle(Lifecycle::Embryo);
        if row.swap_state(candidate, won).is_err() {
            return self.busy(h);
        }
        embryo.word = won;
        Claim::Won(embryo)
    }

    /// First look: is there anything of this key?
    fn survey(&self, h: Hash, t: &Tuple<F::Addr>, kind: Kind, now: Tick) -> Option<Met> {
        self.probe(h, |slot, row| {
            let Some(word) = key_owner(row, t, kind) else {
                return ControlFlow::Continue(());
            };
            match word.lifecycle() {
                Lifecycle::Live if row.past_its_time(now) => {
                    ControlFlow::Break(Met::PastItsTime(slot))
                }
                Lifecycle::Live => ControlFlow::Break(Met::Exists(slot)),
                _ => ControlFlow::Break(Met::Busy),
            }
        })
    }

    /// Second look, as the candidate at `own`: defeats later candidates, gives way to anything else.
    fn met_while_contending(
        &self,
        h: Hash,
        t: &Tuple<F::Addr>,
        kind: Kind,
        now: Tick,
        own: Slot,
    ) -> Option<Met> {
        let mut behind_own = false;
        self.probe(h, |slot, row| {
            if slot == own {
                behind_own = true;
                return ControlFlow::Continue(());
            }
            // Another try only after the word has changed under us, which a slot does a few times in a claim's life.
            while let Some(word) = key_owner(row, t, kind) {
                match word.lifecycle() {
                    Lifecycle::Live if !row.past_its_time(now) => {
                        return ControlFlow::Break(Met::Exists(slot));
                    }
                    Lifecycle::Candidate if behind_own => {
                        if row
                            .swap_state(word, word.with_lifecycle(Lifecycle::Defeated))
                            .is_ok()
                        {
                            return ControlFlow::Continue(());
                        }
                    }
                    _ => return ControlFlow::Break(Met::Busy),
                }
            }
            ControlFlow::Continue(())
        })
    }

    fn connections_of(&self, h: Hash, t: &Tuple<F::Addr>) -> u32 {
        let mut count = 0;
        self.probe(h, |_, row| {
            count += u32::from(row.state().is_live() && row.key.same_client(t));
            ControlFlow::<()>::Continue(())
        });
        count
    }

    /// What a connection of this key, which is not there, would be refused for now. Nothing is claimed or counted.
    #[must_use]
    pub fn bound(&self, h: Hash, t: &Tuple<F::Addr>) -> Option<Bound> {
        if self.connections_of(h, t) >= self.client_cap.load(Relaxed) {
            return Some(Bound::ClientFull);
        }
        self.is_full(h).then_some(Bound::Full)
    }

    /// Whether there is no room for what has this hash: one more is refused as [`Claim::Full`].
    #[must_use]
    pub fn is_full(&self, h: Hash) -> bool {
        let mut index = h.group;
        for _ in 0..PROBE_LIMIT.min(self.group_count) {
            let is_free = |lane| {
                let row = &self.rows[(index * LANES + lane) as usize];
                row.state().lifecycle() == Lifecycle::Free
            };
            if self.groups[index as usize].load().matching(0).any(is_free) {
                return false;
            }
            index = self.after(index);
        }
        true
    }

    /// Takes the first free slot of the probe sequence.
    fn take_free(&self, h: Hash) -> Option<(Slot, StateWord)> {
        let mut index = h.group;
        for _ in 0..PROBE_LIMIT.min(self.group_count) {
            for lane in self.groups[index as usize].load().matching(0) {
                let slot = Slot(index * LANES + lane);
                let row = &self.rows[slot.0 as usize];
                let free = row.state();
                let claimed = free.next_claim();
                if free.lifecycle() == Lifecycle::Free && row.swap_state(free, claimed).is_ok() {
                    return Some((slot, claimed));
                }
            }
            index = self.after(index);
        }
        None
    }

    fn busy(&self, h: Hash) -> Claim<'_, F> {
        self.tally.refused(h.group, Event::Busy);
        Claim::Busy
    }

    /// Takes tag and overflow counts of a slot away and frees it. The caller owns the slot, and nobody can hold it.
    pub(crate) fn vacate(&self, slot: Slot, home: Hash, word: StateWord) {
        let group = slot.0 / LANES;
        self.groups[group as usize].clear(slot.0 % LANES);
        // After the tag, so that a tag is never beyond the reach of a walk.
        self.passed_over(home.group, group)
            .for_each(|g| g.lower_overflow());
        // Last, and release: the next claimant finds the lane clean. A swap, because a candidate that gives way may be defeated
        // in the same instant.
        self.rows[slot.0 as usize]
            .state
            .swap(word.with_lifecycle(Lifecycle::Free).0, AcqRel);
    }
}

/// The word of a row that stands for this key: a live entry or one being made or settled, not an unhashed or dead one.
fn key_owner<C: KeyCells>(row: &Row<C>, t: &Tuple<C::Addr>, kind: Kind) -> Option<StateWord> {
    loop {
        let word = row.state();
        match word.lifecycle() {
            Lifecycle::Free | Lifecycle::Claimed | Lifecycle::Defeated | Lifecycle::Condemned => {
                return None;
            }
            _ if word.flags().contains(StateFlags::UNHASHED) => return None,
            Lifecycle::Candidate | Lifecycle::Embryo | Lifecycle::Live | Lifecycle::Doomed => {}
        }
        let matches = row.is_of(t, Side::Virtual, kind);
        // A candidate's slot needs no grace period to be reused: believe the key only if the word still stands.
        fence(rcu::sync::Ordering::Acquire);
        if row.state.load(Relaxed) == word.0 {
            return matches.then_some(word);
        }
    }
}

impl<F: Family> Embryo<'_, F> {
    /// The slot it will have.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Makes it a connection, touched at the tick of its claim. From here on any worker may meet it.
    pub fn publish(self, new: &New<F::Addr>) -> Slot {
        let Self {
            table,
            slot,
            word,
            now,
            ..
        } = self;
        mem::forget(self);
        let row = &table.rows[slot.0 as usize];
        row.key
            .complete(new.daddr, new.dport, new.server.0, new.flags);
        row.last.store(now.low(), Relaxed);
        row.set_timeout_ms(new.timeout_ms);
        row.template
            .store(new.template.map_or(NO_SLOT, |s| s.0), Relaxed);
        row.packets.store(0, Relaxed);
        row.mark.store(new.mark.0, Relaxed);
        row.note.store(new.note, Relaxed);
        let is_template = row.key.is_template();
        if !is_template {
            row.deltas.store(new.deltas.packed(), Relaxed);
        }
        table.tally.born(slot.0, is_template);
        let live = word
            .with_lifecycle(Lifecycle::Live)
            .with_state(new.state)
            .with_flags(new.state_flags);
        // Release: whoever sees it live sees all of the above.
        row.state.store(live.0, Release);
        slot
    }
}

impl<F: Family> Drop for Embryo<'_, F> {
    fn drop(&mut self) {
        // No grace period: slots of embryos are never handed out, and claimants compare the word again after the key.
        self.table.vacate(self.slot, self.home, self.word);
    }
}
