//! What health makes of the configuration: the desired state with the dead left out.
//!
//! Judged anew from the whole each time, so that operator's edits, reloads and verdicts compose in any order.

use super::Health;
use ::health::{Member, Place, Policy, Pool, Watch, Wished};
use config::Config;
use engine::model::{Desired, Server};
use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};
use types::{ServiceKey, Tunnel, Weight};

/// A quorum that was won or lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Whose.
    pub service: ServiceKey,
    /// Won.
    pub won: bool,
    /// The sum of the weights of live servers.
    pub live: u64,
    /// The sum that is needed.
    pub needed: u32,
}

/// What checks have found, as far as a judgement needs it.
pub trait Verdicts {
    /// The time, for slow starts.
    fn now(&self) -> Duration;
    /// Whether every check of a server finds it up.
    fn is_up(&self, service: ServiceKey, server: SocketAddr) -> bool;
    /// What its checks ask for.
    fn wished(&self, service: ServiceKey, server: SocketAddr) -> Wished;
}

/// What checks, and clients' connections, say.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The checks.
    pub health: &'a Health,
    /// The connections.
    pub watch: &'a Watch,
}

impl Verdicts for Seen<'_> {
    fn now(&self) -> Duration {
        self.health.now()
    }

    fn is_up(&self, service: ServiceKey, server: SocketAddr) -> bool {
        self.health.is_up(service, server) && !self.watch.is_ejected(service, server)
    }

    fn wished(&self, service: ServiceKey, server: SocketAddr) -> Wished {
        self.health.wished(service, server)
    }
}

/// What is remembered of each service between judgements.
#[derive(Debug, Default)]
pub struct Standing {
    pools: HashMap<ServiceKey, Pool>,
    sorry: HashSet<ServiceKey>,
    grows: bool,
}

impl Standing {
    /// Leaves out of `desired`, which was made of `config`, what is not to serve now; quorums that changed.
    pub fn impose(
        &mut self,
        config: &Config,
        verdicts: &impl Verdicts,
        desired: &mut Desired,
    ) -> Vec<Quorum> {
        let mut changed = Vec::new();
        let mut pools = std::mem::take(&mut self.pools);
        self.sorry.clear();
        self.grows = false;
        for (service, wanted) in config.services.iter().zip(&mut desired.services) {
            let policy = &service.health;
            if !is_checked(policy) {
                continue;
            }
            let key = service.key;
            let members = members(service, verdicts);
            let mut pool = pools.remove(&key).unwrap_or_default();
            let judgement = pool.judge(policy, &members, verdicts.now());
            let mut places = judgement.places.iter();
            wanted.servers.retain_mut(|server| match places.next() {
                Some(Place::In(weight)) => {
                    server.weight = Weight(*weight);
                    true
                }
                _ => false,
            });
            if let Some(sorry) = policy.sorry_server
                && (judgement.sorry || sorry.inhibit)
            {
                if judgement.sorry {
                    self.sorry.insert(key);
                }
                wanted.servers.push(Server {
                    address: sorry.address,
                    method: sorry.method,
                    tunnel: Tunnel::Ipip,
                    weight: Weight(u32::from(judgement.sorry)),
                    upper_threshold: 0,
                    lower_threshold: 0,
                    edits: 0,
                });
            }
            if let Some(won) = judgement.quorum_changed {
                changed.push(Quorum {
                    service: key,
                    won,
                    live: live(&members),
                    needed: policy.quorum,
                });
            }
            self.grows |= judgement.grows;
            self.pools.insert(key, pool);
        }
        changed
    }

    /// Whether a slow start is under way: judge again soon.
    pub const fn grows(&self) -> bool {
        self.grows
    }

    /// Whether a service has its quorum; one without checks has.
    pub fn has_quorum(&self, service: ServiceKey) -> bool {
        self.pools.get(&service).is_none_or(Pool::has_quorum)
    }

    /// Whether the sorry server serves.
    pub fn is_sorry(&self, service: ServiceKey) -> bool {
        self.sorry.contains(&service)
    }
}

/// Whether health has a say in a service, or somebody is told of its quorum.
pub fn is_checked(policy: &Policy) -> bool {
    let own = |s: &::health::ServerPolicy| s.checks.as_ref().is_some_and(|c| !c.is_empty());
    !policy.checks.is_empty()
        || policy.sorry_server.is_some()
        || policy.passive.eject_after.is_some()
        || !(policy.quorum_up.is_empty() && policy.quorum_down.is_empty())
        || policy.servers.values().any(own)
}

/// The servers of a service as they are.
pub fn members(service: &config::Service, verdicts: &impl Verdicts) -> Vec<Member> {
    let member = |server: &config::Server| Member {
        address: server.address,
        weight: server.weight.0,
        up: verdicts.is_up(service.key, server.address),
        wished: verdicts.wished(service.key, server.address),
    };
    service.servers.iter().map(member).collect()
}

/// The sum of the weights of live servers.
pub fn live(members: &[Member]) -> u64 {
    let up = members.iter().filter(|m| m.up);
    up.map(|m| u64::from(m.full_weight())).sum()
}

#[cfg(test)]
mod tests;
