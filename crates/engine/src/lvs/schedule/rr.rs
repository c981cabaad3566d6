//! Round robin: the next server after the last one chosen, whatever its weight, unless it is 0.

use super::{
    super::{
        roster::{Roster, ServiceState},
        services::{Candidate, Service},
    },
    eligible,
};
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// The cursor holds the last server's id plus one; 0 is the head of the list.
const HEAD: u64 = 0;

pub(super) fn choose<'s>(
    service: &'s Service,
    state: &ServiceState,
    roster: &Roster,
) -> Option<&'s Candidate> {
    let servers = &service.servers;
    let mut cursor = state.cursor.load(Acquire);
    loop {
        let start = service.position_after(cursor);
        let (before, from) = servers.split_at_checked(start)?;
        let (candidate, server) = from
            .iter()
            .chain(before)
            .find_map(|c| Some((c, eligible(c, roster)?)))?;
        let next = u64::from(candidate.id.0) + 1;
        match state.cursor.compare_exchange(cursor, next, AcqRel, Acquire) {
            Ok(_) => {
                server.admit_any();
                return Some(candidate);
            }
            // Another worker advanced: a step for everybody, so this ends.
            Err(now) => cursor = now,
        }
    }
}

/// When the server the cursor points at is gone, it moves to the one before.
pub(super) fn carry_over(before: Option<&Service>, after: &Service, state: &ServiceState) {
    let cursor = state.cursor.load(Acquire);
    let moved = match before {
        Some(before) if cursor != HEAD => before.nearest_kept(cursor, after),
        _ => HEAD,
    };
    // Lost to a worker that just advanced on the new list: then the cursor is right already.
    let _ = state
        .cursor
        .compare_exchange(cursor, moved, AcqRel, Acquire);
}
