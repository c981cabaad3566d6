//! Listings for people and connection sync: bounded chunks, no epoch held, each entry read whole or not at all.

use crate::{
    entry::Deltas,
    entry::Entry,
    family::{Family, Key, KeyCells},
    hash::Name,
    state::StateWord,
    table::{Kind, Slot, Table},
};
use rcu::sync::{
    Ordering::{Acquire, Relaxed},
    fence,
};
use types::{Mark, ServerId, Tick};

/// A copy of a live entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<A> {
    /// Where it is.
    pub slot: Slot,
    /// Addresses, ports, protocol, static flags.
    pub key: Key<A>,
    /// The real server.
    pub server: ServerId,
    /// Protocol state, run-time flags, generation.
    pub state: StateWord,
    /// Milliseconds left.
    pub expires_in_ms: u32,
    /// Its timeout.
    pub timeout_ms: u32,
    /// The template that controls it.
    pub template: Option<Slot>,
    /// Packets from the client; in a template, connections it controls.
    pub packets: u32,
    /// Firewall mark.
    pub mark: Mark,
    /// Checksum deltas of NAT; of a template nothing of use.
    pub deltas: Deltas,
    /// The caller's number.
    pub note: u32,
}

impl<A> Listed<A> {
    /// A template's name.
    #[must_use]
    pub fn name(&self) -> Name {
        Name(self.deltas.packed())
    }

    /// What it is, as a claim asks for it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.key.template {
            Kind::Template(self.name())
        } else {
            Kind::Connection
        }
    }
}

impl<F: Family> Table<F> {
    /// Copies the live entries among the next `max_slots` slots from `position` to `f`, and returns the position to go
    /// on from, `None` at the end. Start at 0. What lives throughout a listing is listed once.
    ///
    /// Needs no reader of the domain, so the control thread may take its time. Entries past their time by `now` are left out.
    pub fn list(
        &self,
        position: u32,
        max_slots: u32,
        now: Tick,
        mut f: impl FnMut(&Listed<F::Addr>),
    ) -> Option<u32> {
        let end = u32::try_from(self.slots())
            .unwrap_or(u32::MAX)
            .min(position.saturating_add(max_slots.max(1)));
        for index in position..end {
            if let Some(listed) = self.copy(Slot(index), now) {
                f(&listed);
            }
        }
        ((end as usize) < self.slots()).then_some(end)
    }

    /// One live entry, read whole: `None` if the slot holds none, or one past its time.
    #[must_use]
    pub fn copy(&self, slot: Slot, now: Tick) -> Option<Listed<F::Addr>> {
        let row = self.rows.get(slot.0 as usize)?;
        let entry = Entry::<F> { row, slot };
        // Bounded: a slot reused under us three times in a row is busy enough to be met by the next listing.
        for _ in 0..3 {
            let state = row.state();
            if !state.is_live() || row.past_its_time(now) {
                return None;
            }
            let listed = Listed {
                slot,
                key: row.key.load(),
                server: entry.server(),
                state,
                expires_in_ms: entry.expires_in_ms(now),
                timeout_ms: entry.timeout_ms(),
                template: entry.template(),
                packets: entry.packets(),
                mark: entry.mark(),
                deltas: entry.deltas(),
                note: entry.note(),
            };
            // The slot's next claimant changes the word before it writes a field: the same generation means that all the
            // loads above were of one connection.
            fence(Acquire);
            let again = StateWord(row.state.load(Relaxed));
            if again.is_live() && again.generation() == state.generation() {
                return Some(listed);
            }
        }
        None
    }
}
