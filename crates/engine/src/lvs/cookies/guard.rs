//! What a snapshot's services do under a flood: compiled when it is published.

use super::super::{
    schedule,
    services::{Service, Services, Target},
};
use crate::model::{Limits, ServiceKey};
use hashbrown::HashMap;
use types::{ForwardingMethod, ServiceId, SynCookies};

/// Of the services that do anything.
#[derive(Debug, Default)]
pub(crate) struct Guards(HashMap<ServiceId, Guard>);

/// One service's.
#[derive(Debug)]
pub(crate) struct Guard {
    /// When.
    pub when: SynCookies,
    /// What.
    pub how: How,
}

/// What becomes of a SYN of which nothing is kept.
#[derive(Debug)]
pub(crate) enum How {
    /// All servers are reached by NAT: it is answered with a cookie.
    Cookie {
        /// Bytes of an IP packet that every way to a server takes.
        mtu: u16,
    },
    /// None is: it goes to the server that a hash of its ends says. Places of servers in the service's list.
    Hash(Box<[u32]>),
}

impl Guards {
    /// Those of `services` that want it. Where some servers are reached by NAT and others not, nothing can be done.
    pub fn new(limits: &[(ServiceKey, Limits)], services: &Services) -> Self {
        let wanted = limits
            .iter()
            .filter(|(_, limits)| limits.syn_cookies != SynCookies::Off);
        let wanted: HashMap<ServiceKey, SynCookies> = wanted
            .map(|(key, limits)| (*key, limits.syn_cookies))
            .collect();
        if wanted.is_empty() {
            return Self::default();
        }
        let guards = services.all().filter_map(|service| {
            let when = *wanted.get(&service.key)?;
            let how = how(service, services)?;
            Some((service.id, Guard { when, how }))
        });
        Self(guards.collect())
    }

    /// Whether any does.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// The service's.
    pub fn of(&self, service: ServiceId) -> Option<&Guard> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&service)
    }
}

fn how(service: &Service, services: &Services) -> Option<How> {
    let targets = || service.servers.iter().map(|c| services.target(c.id));
    let nat = |t: &Target| t.method == ForwardingMethod::Masq;
    if targets().all(|t| t.is_some_and(|t| nat(t) && !t.local)) {
        let mtus = targets().flatten().map(|t| t.mtu).filter(|mtu| *mtu != 0);
        return Some(How::Cookie {
            mtu: mtus.min().unwrap_or(u16::MAX),
        });
    }
    if targets().any(|t| t.is_none_or(nat)) {
        return None;
    }
    let table = schedule::consistent(&service.servers);
    (!table.is_empty()).then_some(How::Hash(table))
}
