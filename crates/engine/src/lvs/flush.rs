//! `expire_nodest_conn`: the connections of a removed server go at once, not only when a packet of theirs comes.
//!
//! Control walks the tables in chunks: a removal must not cost it a walk over millions of entries in one piece.

use super::{
    entry::{Ended, account, record},
    ftp::RecordId,
};
use crate::shared::Shared;
use flowtable::{Family, Generation, Listed, Slot, StateWord, Table};
use hashbrown::HashSet;
use types::{ServerId, Tick};

/// Slots looked at in one call.
const CHUNK: u32 = 1 << 18;

/// A walk over the tables.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    servers: HashSet<ServerId>,
    /// When the servers were removed.
    since: Tick,
    /// Where it goes on: IPv4, IPv6. `None`: done.
    at: [Option<u32>; 2],
}

impl Flush {
    /// The connections of these servers are to go; a walk under way starts again.
    pub fn start(&mut self, now: Tick, servers: impl Iterator<Item = ServerId>) {
        self.since = now;
        self.servers = servers.collect();
        self.at = if self.servers.is_empty() {
            [None; 2]
        } else {
            [Some(0); 2]
        };
    }

    /// Does a piece of the work, if there is any.
    pub fn go_on(&mut self, shared: &Shared) {
        let [v4, v6] = &mut self.at;
        if let Some(at) = *v4 {
            *v4 = chunk(&shared.connections4, shared, &self.servers, at, self.since);
        } else if let Some(at) = *v6 {
            *v6 = chunk(&shared.connections6, shared, &self.servers, at, self.since);
        }
    }
}

struct Found {
    slot: Slot,
    generation: Generation,
    server: ServerId,
    is_template: bool,
    template: Option<Slot>,
    record: Option<RecordId>,
}

fn chunk<F: Family>(
    table: &Table<F>,
    shared: &Shared,
    servers: &HashSet<ServerId>,
    at: u32,
    now: Tick,
) -> Option<u32> {
    let mut found = Vec::new();
    let next = table.list(at, CHUNK, now, |listed: &Listed<F::Addr>| {
        if servers.contains(&listed.server) {
            found.push(Found {
                slot: listed.slot,
                generation: listed.state.generation(),
                server: listed.server,
                is_template: listed.key.template,
                template: listed.template,
                record: record(listed.key.flags, listed.note),
            });
        }
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
                entry.record,
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
