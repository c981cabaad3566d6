//! Failover and overflow: the server of the highest weight gets everything; of equals the one added last.

use super::{
    super::{
        roster::{Load, Roster, ServerState},
        services::{Candidate, Service},
    },
    PATIENCE, eligible,
};

/// fo: while it is there at all.
pub(super) fn failover<'s>(service: &'s Service, roster: &Roster) -> Option<&'s Candidate> {
    let (candidate, server, _) = first(service, roster, |_, _| true)?;
    server.admit_any();
    Some(candidate)
}

/// ovf: while it has no more active connections than its weight, then the next; with all of them full, none.
pub(super) fn overflow<'s>(service: &'s Service, roster: &Roster) -> Option<&'s Candidate> {
    let room = |candidate: &Candidate, load: Load| load.active() <= candidate.weight.0.into();
    for _ in 0..PATIENCE {
        let (candidate, server, load) = first(service, roster, room)?;
        if server.admit(load) {
            return Some(candidate);
        }
    }
    let (candidate, server, _) = first(service, roster, room)?;
    server.admit_any();
    Some(candidate)
}

/// Of the eligible servers that are `fit`, the first of those with the highest weight, and the load it was judged by.
fn first<'s, 'r>(
    service: &'s Service,
    roster: &'r Roster,
    fit: impl Fn(&Candidate, Load) -> bool,
) -> Option<(&'s Candidate, &'r ServerState, Load)> {
    let mut best: Option<(&Candidate, &ServerState, Load)> = None;
    for candidate in &service.servers {
        let Some(server) = eligible(candidate, roster) else {
            continue;
        };
        let load = server.load();
        if fit(candidate, load) && best.is_none_or(|(b, ..)| candidate.weight > b.weight) {
            best = Some((candidate, server, load));
        }
    }
    best
}
