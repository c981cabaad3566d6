//! What a snapshot's services do under a flood: compiled when it is published.

use super::super::{
    family::Ip,
    schedule,
    services::{Service, Services, Target},
};
use crate::model::{Limits, ServiceKey};
use flowtable::{Family, V4, V6};
use hashbrown::HashMap;
use std::net::IpAddr;
use types::{ForwardingMethod, ServiceId, SynCookies};

/// Of the services that do anything.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    guards: HashMap<ServiceId, Guard>,
    doors: HashMap<Door, AtOnce>,
}

/// Where a service is: its address as it stands in a header, its port, whether that is IPv6.
type Door = ((u64, u64), u16, bool);

/// A service whose SYNs are answered with a cookie whoever sends them and whatever else stands: there is nothing else to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtOnce {
    /// Its place in the list.
    pub place: u32,
    /// As in [`Guard`].
    pub when: SynCookies,
    /// As in [`How::Cookie`].
    pub mtu: u16,
}

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
        let wanted: HashMap<ServiceKey, &Limits> =
            wanted.map(|(key, limits)| (*key, limits)).collect();
        let mut all = Self::default();
        if wanted.is_empty() {
            return all;
        }
        for (service, place) in services.all().zip(0..) {
            let Some(limits) = wanted.get(&service.key) else {
                continue;
            };
            let Some(how) = how(service, services) else {
                continue;
            };
            let when = limits.syn_cookies;
            if let How::Cookie { mtu } = how
                && let Some(door) = door(service, limits)
            {
                all.doors.insert(door, AtOnce { place, when, mtu });
            }
            all.guards.insert(service.id, Guard { when, how });
        }
        all
    }

    /// The service there whose SYNs are answered at once.
    #[inline]
    pub(super) fn at_once<I: Ip>(&self, address: I::Addr, port: u16) -> Option<&AtOnce> {
        self.doors.get(&(I::words(address), port, I::SIX))
    }

    /// Whether any does.
    pub fn any(&self) -> bool {
        !self.guards.is_empty()
    }

    /// Whether some answer SYNs at once.
    #[inline]
    pub fn any_at_once(&self) -> bool {
        !self.doors.is_empty()
    }

    /// The service's.
    pub fn of(&self, service: ServiceId) -> Option<&Guard> {
        if self.guards.is_empty() {
            return None;
        }
        self.guards.get(&service)
    }
}

/// Where the service is, if nobody is kept out and it has an address and a port of its own.
fn door(service: &Service, limits: &Limits) -> Option<Door> {
    let open = limits.allow.is_empty() && limits.deny.is_empty() && limits.connections.is_none();
    let address = service.key.address().filter(|a| open && a.port() != 0)?;
    let words = match address.ip() {
        IpAddr::V4(ip) => V4::words(ip.to_bits()),
        IpAddr::V6(ip) => V6::words(ip.to_bits()),
    };
    Some((words, address.port(), address.is_ipv6()))
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
