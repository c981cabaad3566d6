//! Connection synchronisation: what workers note, what is told of it, and what is taken over from another director.
//!
//! Workers only note a connection's place ([`Notes`]); what becomes of it is another thread's business, by a [`Synchronizer`]. What is
//! told is the connection as it is when it is told, not as it was when it was noted.

mod notes;
mod take;
mod tell;

use notes::Note;
pub(crate) use notes::Notes;

use super::{entry::is_controlled, family::Ip};
use crate::{Output, context::Context, shared::Shared, snapshot::Snapshot};
use connsync::{Addresses, Cause, Connection, Rules, is_told};
use flowtable::{Entry, Listed, StateWord, V4, V6};
use rcu::Reader;
use std::sync::Arc;
use types::Tick;
use wire::Frame;

/// Counts a packet from the client, and notes the connection if it is one of those the rules ask for.
#[inline(always)]
pub(super) fn count<I: Ip, F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, entry: &Entry<'_, I>) {
    if let Some(milestones) = &cx.snapshot.milestones
        && milestones.has(entry.count_packet())
    {
        note(cx, entry, Cause::Packet);
    }
}

/// A connection's state has become `new`'s.
#[cold]
pub(super) fn changed<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    entry: &Entry<'_, I>,
    new: StateWord,
) {
    if let Some(rules) = &cx.snapshot.settings.sync {
        let (protocol, persistent) = (entry.key().protocol, entry.template().is_some());
        if rules.tells(protocol, new.state(), persistent, Cause::State) {
            note(cx, entry, Cause::State);
        }
    }
}

#[cold]
#[inline(never)]
fn note<I: Ip, F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, entry: &Entry<'_, I>, cause: Cause) {
    let generation = entry.state().generation();
    cx.local.notes.push(entry.slot(), generation, I::SIX, cause);
}

/// What became of a connection another director told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Taken {
    /// It was made.
    New,
    /// It was there, and is as told now.
    Known,
    /// Its end, but there is a newer one in its place.
    Stale,
    /// Its service or server is not configured here.
    NoServer,
    /// The table, or the client's share of it, is full.
    NoRoom,
    /// Workers were at it all the time.
    Busy,
    /// It is of a kind, or in a state, nobody here knows.
    Unsupported,
}

/// The engine's side of connection synchronisation, for one thread.
#[derive(Debug)]
pub struct Synchronizer {
    shared: Arc<Shared>,
    reader: Reader,
    notes: Vec<Arc<Notes>>,
}

/// Positions below this are of the IPv4 table.
const IPV6: u64 = 1 << 32;

impl Synchronizer {
    pub(crate) fn new(shared: Arc<Shared>, notes: Vec<Arc<Notes>>) -> Option<Self> {
        let reader = shared.domain.reader()?;
        Some(Self {
            shared,
            reader,
            notes,
        })
    }

    /// Gives `tell` the connections workers have noted that are to be told, each with its template behind it; at most about `most`.
    /// Returns how many notes were looked at.
    pub fn noted(&mut self, now: Tick, most: usize, tell: &mut dyn FnMut(&Connection)) -> usize {
        self.with_snapshot(|shared, snapshot, notes| {
            let mut looked_at = 0;
            for ring in notes {
                let mut last = None;
                while looked_at < most
                    && let Some(note) = ring.pop()
                {
                    looked_at += 1;
                    let told = if note.six {
                        one::<V6>(shared, snapshot, now, (&note, last), tell)
                    } else {
                        one::<V4>(shared, snapshot, now, (&note, last), tell)
                    };
                    last = told.map(|word| (note, word));
                }
            }
            looked_at
        })
    }

    /// Gives `tell` every connection and template that is told, of the next `slots` slots from `position` on; returns where to go on.
    /// Start at 0.
    pub fn all(
        &mut self,
        now: Tick,
        position: u64,
        slots: u32,
        tell: &mut dyn FnMut(&Connection),
    ) -> Option<u64> {
        let at = u32::try_from(position & (IPV6 - 1)).unwrap_or(0);
        self.with_snapshot(|shared, snapshot, _| {
            if position < IPV6 {
                let next = part::<V4>(shared, snapshot, now, (at, slots), tell);
                Some(next.map_or(IPV6, u64::from))
            } else {
                let next = part::<V6>(shared, snapshot, now, (at, slots), tell);
                next.map(|at| IPV6 | u64::from(at))
            }
        })
    }

    /// Takes over a connection another director told of.
    pub fn take(&mut self, now: Tick, told: &Connection) -> Taken {
        self.with_snapshot(|shared, snapshot, _| {
            let into = take::Into {
                shared,
                snapshot,
                now,
            };
            match told.addresses {
                Addresses::V4(all) => take::take::<V4>(&into, told, all.map(|a| a.to_bits())),
                Addresses::V6(all) => take::take::<V6>(&into, told, all.map(|a| a.to_bits())),
            }
        })
    }

    /// Connections there are, and those of them that count as active at a server.
    #[must_use]
    pub fn counts(&mut self) -> (u64, u64) {
        self.with_snapshot(|shared, snapshot, _| {
            let tables = [shared.connections4.counts(), shared.connections6.counts()];
            let connections = tables.iter().map(|counts| counts.connections).sum();
            let servers = snapshot.services.all().flat_map(|s| s.servers.iter());
            let active = servers.filter_map(|c| shared.roster.server(c.id));
            (connections, active.map(|s| s.load().active()).sum())
        })
    }

    /// Notes there was no room for, of all workers.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.notes.iter().map(|ring| ring.lost()).sum()
    }

    /// Holds what is published while `f` looks, and nothing afterwards.
    fn with_snapshot<R>(&mut self, f: impl FnOnce(&Shared, &Snapshot, &[Arc<Notes>]) -> R) -> R {
        self.reader.online();
        let result = f(
            &self.shared,
            self.shared.snapshot.read(&self.reader),
            &self.notes,
        );
        self.reader.offline();
        result
    }
}

/// Tells of a noted connection, and gives back its state. One packet may be noted for two causes, which is no reason to tell twice:
/// `last` is what was told before.
fn one<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    now: Tick,
    (note, last): (&Note, Option<(Note, StateWord)>),
    tell: &mut dyn FnMut(&Connection),
) -> Option<StateWord> {
    let table = I::table(shared);
    let listed = table.copy(note.slot, now)?;
    let word = listed.state;
    if last.is_some_and(|(before, told)| before.is_of_same(note) && told == word) {
        return Some(word);
    }
    let rules = snapshot.settings.sync.unwrap_or(Rules::IPVS);
    let persistent = listed.template.is_some();
    if word.generation().number() != note.generation {
        return None;
    }
    let mut told = None;
    if rules.tells(listed.key.protocol, word.state(), persistent, note.cause)
        && let Some(connection) = tell::connection::<I>(shared, &listed, &snapshot.timeouts)
    {
        tell(&connection);
        told = Some(word);
    }
    // A template cannot end before its connection.
    if let Some(template) = listed.template.and_then(|slot| table.copy(slot, now))
        && template.key.template
        && let Some(template) = tell::connection::<I>(shared, &template, &snapshot.timeouts)
    {
        tell(&template);
    }
    told
}

fn part<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    now: Tick,
    (at, slots): (u32, u32),
    tell: &mut dyn FnMut(&Connection),
) -> Option<u32> {
    let wanted = |listed: &Listed<I::Addr>| {
        let key = &listed.key;
        let expected = is_controlled(key.flags) && key.cport == 0;
        key.template || (is_told(key.protocol, listed.state.state()) && !expected)
    };
    I::table(shared).list(at, slots, now, |listed| {
        if wanted(listed)
            && let Some(connection) = tell::connection::<I>(shared, listed, &snapshot.timeouts)
        {
            tell(&connection);
        }
    })
}
