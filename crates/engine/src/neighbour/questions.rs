//! When a neighbour is asked for, when it is given up, and when it is forgotten: the clockwork of one slot.

use super::{
    Link, NeighbourTable, State,
    entry::{Entry, PRESENT, address_of, interface_of, revive, since},
};
use std::{
    net::IpAddr,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};
use types::{InterfaceId, MacAddr, Tick};

/// Between two questions: RFC 4861's RetransTimer, RFC 1122's limit of one a second.
const RETRY_MS: u64 = 1000;
/// How long an answer is good: RFC 4861's REACHABLE_TIME.
const REACHABLE_MS: u64 = 30_000;
/// An entry nobody sent to for so long goes.
pub(super) const UNUSED_MS: u64 = 600_000;
/// The same when three quarters of the table are used, and for entries that never answered.
const UNUSED_SCARCE_MS: u64 = 60_000;
/// A failed entry goes after this, so that it is asked anew.
const FAILED_MS: u64 = 5_000;
/// A question to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The link.
    pub interface: InterfaceId,
    /// Who is asked for.
    pub address: IpAddr,
    /// Whom to ask; `None`: everybody.
    pub to: Option<MacAddr>,
}

impl NeighbourTable {
    /// Moves one slot's clockwork: the question now due to its entry, if it has one to ask. Any worker may call it; a
    /// question is given to one of them only.
    pub fn tend(&self, slot: usize, now: Tick) -> Option<Probe> {
        let entry = self.slots.get(slot)?;
        let meta = entry.meta.load(Acquire);
        if meta & PRESENT == 0 {
            return None;
        }
        let link = entry.link();
        let idle_ms = since(now, entry.used.load(Relaxed));
        let pinned = entry.pinned.load(Relaxed) > 0;
        match link.state() {
            State::Permanent => None,
            State::Reachable => {
                let confirmed = since(now, entry.confirmed.load(Relaxed));
                if confirmed > REACHABLE_MS && (idle_ms < REACHABLE_MS || pinned) {
                    return self.ask(entry, meta, link, now);
                }
                if !pinned && idle_ms.min(confirmed) > self.unused_ms() {
                    self.remove(slot, meta, link);
                }
                None
            }
            State::Incomplete | State::Probing => self.ask(entry, meta, link, now),
            State::Failed => {
                let failed = now.0.saturating_sub(entry.next.load(Relaxed));
                if pinned && failed > REACHABLE_MS {
                    revive(entry, link);
                } else if !pinned && failed > FAILED_MS {
                    self.remove(slot, meta, link);
                }
                None
            }
        }
    }

    /// Takes the next question, or gives up. Whose exchange of `next` succeeds does it; others find it not due.
    fn ask(&self, entry: &Entry, meta: u64, link: Link, now: Tick) -> Option<Probe> {
        let (next, to) = match link.asked() {
            Some((next, to)) => (next, Some(to)),
            None => (Link::new(State::Failed, MacAddr([0; 6]), 0), None),
        };
        let due = entry.next.load(Relaxed);
        // After a failure `next` is the moment of it.
        let then = if to.is_some() {
            now.0 + RETRY_MS
        } else {
            now.0
        };
        if due > now.0
            || entry
                .next
                .compare_exchange(due, then, Relaxed, Relaxed)
                .is_err()
        {
            return None;
        }
        entry
            .link
            .compare_exchange(link.0, next.0, Release, Relaxed)
            .ok()?;
        Some(Probe {
            interface: interface_of(meta),
            address: address_of(meta, entry),
            to: to?,
        })
    }

    fn unused_ms(&self) -> u64 {
        if self.entries.load(Relaxed) * 4 > self.capacity * 3 {
            UNUSED_SCARCE_MS
        } else {
            UNUSED_MS
        }
    }
}
