//! Least connection, plain and weighted, and shortest expected delay: the server whose load is smallest in proportion to
//! its weight; of equals the one added last.

use super::{
    super::{
        roster::{Load, Roster, ServerState},
        services::{Candidate, Service},
    },
    PATIENCE, eligible,
};

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighing {
    /// lc: the load; weights count only by being 0 or not.
    Equal,
    /// wlc: the load for its weight.
    ByWeight,
    /// sed: the active connections there would be, for the weight.
    Delay,
    /// nq: as sed, but the first server without active connections wins at once.
    NeverQueue,
}

impl Weighing {
    fn load(self, load: Load) -> u64 {
        match self {
            Self::Equal | Self::ByWeight => load.overhead(),
            Self::Delay | Self::NeverQueue => load.active() + 1,
        }
    }
}

struct Choice<'s, 'r> {
    candidate: &'s Candidate,
    server: &'r ServerState,
    load: Load,
    weight: u64,
}

pub(super) fn choose<'s>(
    service: &'s Service,
    roster: &Roster,
    weighing: Weighing,
) -> Option<&'s Candidate> {
    for _ in 0..PATIENCE {
        let best = least(service, roster, weighing)?;
        if best.server.admit(best.load) {
            return Some(best.candidate);
        }
    }
    let best = least(service, roster, weighing)?;
    best.server.admit_any();
    Some(best.candidate)
}

fn least<'s, 'r>(
    service: &'s Service,
    roster: &'r Roster,
    weighing: Weighing,
) -> Option<Choice<'s, 'r>> {
    let mut best: Option<Choice> = None;
    for candidate in &service.servers {
        let Some(server) = eligible(candidate, roster) else {
            continue;
        };
        let weight = match weighing {
            Weighing::Equal => 1,
            _ => u64::from(candidate.weight.0),
        };
        let load = server.load();
        let choice = Choice {
            candidate,
            server,
            load,
            weight,
        };
        if weighing == Weighing::NeverQueue && load.active() == 0 {
            return Some(choice);
        }
        // overhead / weight, compared without dividing: both factors fit 41 and 31 bits only in u128.
        let product =
            |load: Load, weight: u64| u128::from(weighing.load(load)) * u128::from(weight);
        if best
            .as_ref()
            .is_none_or(|b| product(b.load, weight) > product(load, b.weight))
        {
            best = Some(choice);
        }
    }
    best
}
