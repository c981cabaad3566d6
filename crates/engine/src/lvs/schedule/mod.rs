//! Choosing the server of a new connection: one module an algorithm.
//!
//! Servers are walked newest first, as IPVS does. With any number of workers every choice is one IPVS could have made at
//! some moment during the call: cursors advance by compare-and-swap, and the load-based ones admit the connection only
//! if the load they judged by still stands. With one worker the sequence is IPVS's to the packet.

mod rr;
mod wlc;
mod wrr;

pub(super) use wrr::weight_steps;

use super::{
    roster::{Roster, ServerState, ServiceState},
    services::{Candidate, Service},
};
use types::Scheduler;

/// The server chosen; the connection is already counted with it as inactive.
pub(crate) fn choose<'s>(service: &'s Service, roster: &Roster) -> Option<&'s Candidate> {
    let state = roster.service(service.id)?;
    match service.scheduler {
        Scheduler::Rr => rr::choose(service, state, roster),
        Scheduler::Wrr => wrr::choose(service, state, roster),
        Scheduler::Lc => wlc::choose(service, roster, wlc::Weighing::Equal),
        Scheduler::Wlc => wlc::choose(service, roster, wlc::Weighing::ByWeight),
    }
}

/// Control, right after publishing: carries the walk of `before` over to the servers and weights of `after`.
pub(crate) fn carry_over(before: Option<&Service>, after: &Service, state: &ServiceState) {
    let same = before.is_some_and(|b| b.scheduler == after.scheduler);
    match after.scheduler {
        Scheduler::Rr => rr::carry_over(before.filter(|_| same), after, state),
        Scheduler::Wrr => wrr::carry_over(before.filter(|_| same), after, state),
        Scheduler::Lc | Scheduler::Wlc => {}
    }
}

/// Whether the server takes new connections at all.
fn eligible<'r>(candidate: &Candidate, roster: &'r Roster) -> Option<&'r ServerState> {
    let state = roster.server(candidate.id)?;
    (candidate.weight.0 > 0 && !state.overloaded()).then_some(state)
}

/// Tries lost to other workers before a choice is made without regard to them.
const PATIENCE: usize = 64;
