//! `expire_nodest_conn`, `on_removal`: the connections of a removed server go at once, not only when a packet of theirs comes.
//!
//! Control walks the tables in chunks: a removal must not cost it a walk over millions of entries in one piece. Connections whose
//! ends are to be told are left to the workers ([`super::reset`]); the walk waits while they have enough of them.

use super::{
    entry::{Ended, Kept, account, kept},
    reset::{Queue, is_told},
};
use crate::shared::Shared;
use flowtable::{Family, Generation, Listed, Slot, StateWord, Table};
use hashbrown::HashMap;
use types::{OnRemoval, ServerId, Tick};

/// Slots looked at in one call.
const CHUNK: u32 = 1 << 18;

/// A walk over the tables.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    servers: HashMap<ServerId, OnRemoval>,
    /// When the servers were removed.
    since: Tick,
    /// Where it goes on: IPv4, IPv6. `None`: done.
    at: [Option<u32>; 2],
}

impl Flush {
    /// The connections of these servers are to go, unless they are kept; a walk under way starts again.
    pub fn start(&mut self, now: Tick, servers: impl Iterator<Item = (ServerId, OnRemoval)>) {
        self.since = now;
        self.servers = servers.filter(|(_, on)| *on != OnRemoval::Keep).collect();
        self.at = if self.servers.is_empty() {
            [None; 2]
        } else {
            [Some(0); 2]
        };
    }

    /// Whether there is something to do.
    pub const fn is_under_way(&self) -> bool {
        self.at[0].is_some() || self.at[1].is_some()
    }

    /// Does a piece of the work, if there is any.
    pub fn go_on(&mut self, shared: &Shared) {
        let [v4, v6] = &mut self.at;
        let (servers, since, told) = (&self.servers, self.since, &shared.resets);
        if let Some(at) = *v4 {
            *v4 = chunk(&shared.connections4, shared, servers, &told.v4, at, since);
        } else if let Some(at) = *v6 {
            *v6 = chunk(&shared.connections6, shared, servers, &told.v6, at, since);
        }
    }
}

struct Found {
    slot: Slot,
    generation: Generation,
    server: ServerId,
    is_template: bool,
    template: Option<Slot>,
    kept: Option<Kept>,
}

fn chunk<F: Family>(
    table: &Table<F>,
    shared: &Shared,
    servers: &HashMap<ServerId, OnRemoval>,
    told: &Queue,
    mut at: u32,
    now: Tick,
) -> Option<u32> {
    let resets = servers.values().any(|on| *on == OnRemoval::Reset);
    let end = at.saturating_add(CHUNK);
    while at < end {
        let mut most = end - at;
        if resets {
            most = most.min(told.room());
        }
        if most == 0 {
            break;
        }
        at = piece(table, shared, servers, told, (at, most), now)?;
    }
    Some(at)
}

fn piece<F: Family>(
    table: &Table<F>,
    shared: &Shared,
    servers: &HashMap<ServerId, OnRemoval>,
    told: &Queue,
    (at, most): (u32, u32),
    now: Tick,
) -> Option<u32> {
    let mut found = Vec::new();
    let next = table.list(at, most, now, |listed: &Listed<F::Addr>| {
        let Some(on) = servers.get(&listed.server) else {
            return;
        };
        let generation = listed.state.generation();
        if *on == OnRemoval::Reset && is_told(listed) {
            told.push(listed.slot, generation);
            return;
        }
        found.push(Found {
            slot: listed.slot,
            generation,
            server: listed.server,
            is_template: listed.key.template,
            template: listed.template,
            kept: kept(listed.key.flags, listed.note),
        });
    });
    // Connections before their templates, which end only when they control nothing any more.
    found.sort_by_key(|f| f.is_template);
    for entry in found {
        // Not a reader of the domain: everything about the entry is in the copy.
        if let Some(last) = table.remove(entry.slot, entry.generation) {
            let kind = kind(&entry, last);
            account(
                table,
                &shared.roster,
                entry.server,
                kind,
                entry.template,
                entry.kept,
            );
        }
    }
    next
}

const fn kind(entry: &Found, last: StateWord) -> Ended {
    if entry.is_template {
        Ended::Template
    } else {
        Ended::Connection(last)
    }
}
