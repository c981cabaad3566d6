//! Choosing the server of a new connection: one module a kind of algorithm.
//!
//! Servers are walked newest first, as IPVS does. With any number of workers every choice is one IPVS could have made at
//! some moment during the call: cursors advance by compare-and-swap, and the load-based ones admit the connection only
//! if the load they judged by still stands. With one worker the sequence is IPVS's to the packet. Tables of hashing
//! schedulers are made with the snapshot.

mod buckets;
mod hash;
mod load;
mod locality;
mod maglev;
mod priority;
mod rr;
mod twos;
mod wrr;

pub(super) use hash::{folded, round};
pub(super) use locality::Locality;
pub(super) use wrr::weight_steps;

use super::{
    roster::{Roster, ServerState, ServiceState},
    services::{Candidate, Service},
};
use crate::model::Settings;
use load::Weighing;
use std::net::IpAddr;
use types::{Scheduler, SchedulerFlags, Tick};

/// Who asks for a server, and for what: the hashing schedulers go by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'s> {
    /// The client.
    pub client: IpAddr,
    /// Its port.
    pub client_port: u16,
    /// The address it asks for.
    pub destination: IpAddr,
    /// When.
    pub now: Tick,
    /// Settings of schedulers.
    pub settings: &'s Settings,
}

impl Asker<'_> {
    /// The client, and its port if that is wanted, as one number.
    fn source(&self, flags: SchedulerFlags) -> u32 {
        let port = if flags.port { self.client_port } else { 0 };
        folded(self.client).wrapping_add(port.into())
    }
}

/// The server chosen; the connection is already counted with it as inactive.
pub(crate) fn choose<'s>(
    service: &'s Service,
    roster: &Roster,
    asker: &Asker<'_>,
) -> Option<&'s Candidate> {
    let state = roster.service(service.id)?;
    match service.scheduler {
        Scheduler::Rr => rr::choose(service, state, roster),
        Scheduler::Wrr => wrr::choose(service, state, roster),
        Scheduler::Lc => load::choose(service, roster, Weighing::Equal),
        Scheduler::Wlc => load::choose(service, roster, Weighing::ByWeight),
        Scheduler::Lblc => locality::choose(service, roster, asker),
        Scheduler::Lblcr => locality::choose_of_set(service, roster, asker),
        Scheduler::Sed => load::choose(service, roster, Weighing::Delay),
        Scheduler::Nq => load::choose(service, roster, Weighing::NeverQueue),
        Scheduler::Fo => priority::failover(service, roster),
        Scheduler::Ovf => priority::overflow(service, roster),
        Scheduler::Sh => buckets::by_source(service, roster, asker),
        Scheduler::Dh => buckets::by_destination(service, roster, asker),
        Scheduler::Mh => maglev::choose(service, roster, asker),
        Scheduler::Twos => twos::choose(service, state, roster),
    }
}

/// For the snapshot: what a hashing scheduler looks its servers up in.
pub(super) fn table(scheduler: Scheduler, servers: &[Candidate]) -> Box<[u32]> {
    match scheduler {
        Scheduler::Sh => buckets::table(servers, buckets::Turn::ByWeight),
        Scheduler::Dh => buckets::table(servers, buckets::Turn::One),
        Scheduler::Mh => maglev::table(servers),
        _ => Box::default(),
    }
}

/// A table by which any service's clients can be spread, quiesced servers left out: the server of each place, as an index
/// into `servers`. Empty when none has a weight.
pub(super) fn consistent(servers: &[Candidate]) -> Box<[u32]> {
    let weighed = servers.iter().map(|server| Candidate {
        last_weight: server.weight,
        ..*server
    });
    maglev::table(&weighed.collect::<Vec<_>>())
}

/// The place of a client in such a table.
pub(super) fn consistent_place(client: IpAddr, port: u16) -> usize {
    maglev::place(folded(client).wrapping_add(port.into())) as usize
}

/// Control, right after publishing: carries the walk of `before` over to the servers and weights of `after`.
pub(crate) fn carry_over(before: Option<&Service>, after: &Service, state: &ServiceState) {
    let same = before.is_some_and(|b| b.scheduler == after.scheduler);
    match after.scheduler {
        Scheduler::Rr => rr::carry_over(before.filter(|_| same), after, state),
        Scheduler::Wrr => wrr::carry_over(before.filter(|_| same), after, state),
        // Without a walk, or one that any number will do for.
        _ => {}
    }
}

/// Whether the server takes new connections at all.
fn eligible<'r>(candidate: &Candidate, roster: &'r Roster) -> Option<&'r ServerState> {
    let state = roster.server(candidate.id)?;
    (candidate.weight.0 > 0 && !state.overloaded()).then_some(state)
}

/// The server at a place of the service's table, with the connection counted, if it takes it.
fn admitted<'s>(service: &'s Service, roster: &Roster, place: usize) -> Option<&'s Candidate> {
    let index = *service.table.get(place)?;
    let candidate = service.servers.get(index as usize)?;
    eligible(candidate, roster)?.admit_any();
    Some(candidate)
}

/// Whether some server would take a new connection.
pub(super) fn is_there_any(service: &Service, roster: &Roster) -> bool {
    let mut servers = service.servers.iter();
    servers.any(|candidate| eligible(candidate, roster).is_some())
}

const fn gcd(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Tries lost to other workers before a choice is made without regard to them.
const PATIENCE: usize = 64;

#[cfg(test)]
mod testing {
    use super::*;
    use crate::model;
    use types::{Mark, ServerId, ServiceId, Weight};

    /// A service with servers of these weights.
    pub fn service(scheduler: Scheduler, weights: &[u32]) -> Service {
        let wanted = model::Service {
            key: model::ServiceKey::Mark {
                mark: Mark(1),
                family: types::Family::Ipv4,
            },
            scheduler,
            flags: SchedulerFlags::default(),
            persistence: None,
            persistence_engine: None,
            one_packet: false,
            servers: Vec::new(),
        };
        Service::new(ServiceId(0), &wanted, candidates(weights).into(), None)
    }

    /// Servers of these weights: 10.1.0.11:80 and so on.
    pub fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let servers = weights.iter().zip(0u32..);
        let made = servers.map(|(&weight, n)| Candidate {
            id: ServerId(n),
            weight: Weight(weight),
            last_weight: Weight(weight),
            spread: 0x0a01_000b + n + 80,
        });
        made.collect()
    }
}
