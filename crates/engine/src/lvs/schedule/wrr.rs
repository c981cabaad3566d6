//! Weighted round robin, interleaved: passes over the list with a threshold that falls from the largest weight by the
//! weights' greatest common divisor; a pass takes every server whose weight reaches the threshold.

use super::{
    super::{
        roster::{Roster, ServiceState},
        services::{Candidate, Service},
    },
    eligible, gcd,
};
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// The walk: where it stands in the list, and the threshold. Packed into the cursor, server id plus one (0: head of
/// the list) in the high half.
#[derive(Clone, Copy)]
struct Walk {
    last: u64,
    threshold: u32,
}

impl Walk {
    const fn unpack(cursor: u64) -> Self {
        Self {
            last: cursor >> 32,
            threshold: (cursor & 0xffff_ffff) as u32,
        }
    }

    const fn pack(self) -> u64 {
        self.last << 32 | self.threshold as u64
    }
}

/// Greatest common divisor of the weights (1 if there are none) and the threshold a round starts with.
fn steps(service: &Service) -> (u32, u32) {
    let weights = service.servers.iter().map(|c| c.weight.0);
    let divisor = match weights.clone().fold(0, gcd) {
        0 => 1,
        divisor => divisor,
    };
    let top = weights.max().unwrap_or(0).saturating_sub(divisor - 1);
    (divisor, top)
}

pub(super) fn choose<'s>(
    service: &'s Service,
    state: &ServiceState,
    roster: &Roster,
) -> Option<&'s Candidate> {
    let (divisor, top) = (service.weight_step, service.weight_top);
    if top == 0 {
        return None;
    }
    let mut cursor = state.cursor.load(Acquire);
    loop {
        let walk = Walk::unpack(cursor);
        let (candidate, walk) = step(service, walk, divisor, top, roster)?;
        match state
            .cursor
            .compare_exchange(cursor, walk.pack(), AcqRel, Acquire)
        {
            Ok(_) => {
                roster.server(candidate.id)?.admit_any();
                return Some(candidate);
            }
            // Another worker advanced: a step for everybody, so this ends.
            Err(now) => cursor = now,
        }
    }
}

/// The next server of the walk. At worst every threshold of a round is tried; thresholds nobody can reach are skipped.
fn step<'s>(
    service: &'s Service,
    walk: Walk,
    divisor: u32,
    top: u32,
    roster: &Roster,
) -> Option<(&'s Candidate, Walk)> {
    let found = |candidate: &'s Candidate, threshold| {
        let last = u64::from(candidate.id.0) + 1;
        (candidate, Walk { last, threshold })
    };
    let reaches =
        |c: &&Candidate, threshold| c.weight.0 >= threshold && eligible(c, roster).is_some();
    // The rest of the pass under way.
    let start = service.position_after(walk.last);
    let mut threshold = walk.threshold.clamp(1, top);
    if let Some(candidate) = service
        .servers
        .get(start..)?
        .iter()
        .find(|c| reaches(c, threshold))
    {
        return Some(found(candidate, threshold));
    }
    // Then whole passes. The largest weight still eligible says where the first that finds anything is.
    let best = service
        .servers
        .iter()
        .filter(|c| eligible(c, roster).is_some())
        .map(|c| c.weight.0)
        .max()?;
    threshold = match threshold.checked_sub(divisor) {
        None | Some(0) => top,
        Some(lower) => lower,
    };
    if threshold > best {
        threshold -= (threshold - best).div_ceil(divisor) * divisor;
    }
    let candidate = service.servers.iter().find(|c| reaches(c, threshold))?;
    Some(found(candidate, threshold))
}

/// A change restarts the pass at the head of the list, and fits the threshold into the new weights.
pub(super) fn carry_over(before: Option<&Service>, after: &Service, state: &ServiceState) {
    let (divisor, top) = (after.weight_step, after.weight_top);
    let old = state.cursor.load(Acquire);
    let threshold = match (before, Walk::unpack(old).threshold) {
        (None, _) | (_, 0) => top,
        (_, threshold) if threshold > top => top,
        (_, threshold) if divisor > 1 => threshold / divisor * divisor + 1,
        (_, threshold) => threshold,
    };
    let walk = Walk { last: 0, threshold };
    let _ = state
        .cursor
        .compare_exchange(old, walk.pack(), AcqRel, Acquire);
}

/// For the snapshot: see [`steps`].
pub(in super::super) fn weight_steps(service: &Service) -> (u32, u32) {
    steps(service)
}
