//! Listings: services with their servers' counts, and the connections.

use super::{
    entry,
    family::Ip,
    roll::{Roll, ServerRecord},
    roster::Roster,
    state,
};
use crate::{
    model::ServiceKey,
    shared::Shared,
    views::{ConnectionView, ServerView, ServiceView, Traffic},
};
use flowtable::{Listed, StateFlags, V4, V6};
use hashbrown::HashMap;
use std::net::{IpAddr, SocketAddr};
use types::{ForwardingMethod, PersistenceEngine, ServerId, ServiceId, Tick};

impl Roll {
    /// The services of these keys, in this order. `read`: a slot's counters.
    pub fn views(
        &self,
        keys: impl Iterator<Item = ServiceKey>,
        roster: &Roster,
        read: &dyn Fn(ServerId) -> Traffic,
    ) -> Vec<ServiceView> {
        let sums = self.sums(read);
        let view = |key: ServiceKey| {
            let service = self.services.get(&key)?;
            let id = service.compiled.id;
            let mut traffic = service.retired;
            traffic += sums.get(&id).copied().unwrap_or_default();
            let rate = service.estimator.rate();
            let servers = service.servers.iter().filter_map(|server| {
                let record = self.servers.get(&(key, server.address))?;
                Some(server_view(record, roster, read))
            });
            Some(ServiceView {
                id,
                key,
                scheduler: service.compiled.scheduler,
                flags: service.compiled.flags,
                persistence: service.compiled.persistence,
                persistence_engine: service.compiled.persistence_engine,
                one_packet: service.compiled.one_packet,
                traffic,
                rate,
                servers: servers.collect(),
            })
        };
        keys.filter_map(view).collect()
    }

    /// What went through the present servers of each service, and those not yet forgotten.
    fn sums(&self, read: &dyn Fn(ServerId) -> Traffic) -> HashMap<ServiceId, Traffic> {
        let mut sums: HashMap<ServiceId, Traffic> = HashMap::new();
        for record in self.servers.values() {
            *sums.entry(record.service).or_default() += read(record.id) - record.base;
        }
        sums
    }

    /// Takes the rates' next step.
    pub fn estimate(&mut self, read: &dyn Fn(ServerId) -> Traffic) {
        let sums = self.sums(read);
        for service in self.services.values_mut() {
            let mut counted = service.retired;
            counted += sums.get(&service.compiled.id).copied().unwrap_or_default();
            service.estimator.step(counted);
        }
        // A removed server's rates stand still, in case it returns.
        for record in self.servers.values_mut().filter(|r| r.removed.is_none()) {
            record.estimator.step(read(record.id) - record.base);
        }
    }

    /// Starts the figures of one service, or of all, from zero.
    pub fn zero(
        &mut self,
        service: Option<&ServiceKey>,
        read: &dyn Fn(ServerId) -> Traffic,
    ) -> bool {
        let mut found = service.is_none();
        let sums = self.sums(read);
        for (key, record) in &mut self.services {
            if service.is_none_or(|wanted| wanted == key) {
                let mut counted = std::mem::take(&mut record.retired);
                counted += sums.get(&record.compiled.id).copied().unwrap_or_default();
                record.estimator.zero(counted);
                found = true;
            }
        }
        for ((key, _), record) in &mut self.servers {
            if service.is_none_or(|wanted| wanted == key) {
                let counted = read(record.id);
                record.estimator.zero(counted - record.base);
                record.base = counted;
            }
        }
        found
    }

    fn server_address(&self, id: ServerId) -> Option<SocketAddr> {
        let mut records = self.servers.values();
        records.find(|r| r.id == id).map(|r| r.model.address)
    }
}

fn server_view(
    record: &ServerRecord,
    roster: &Roster,
    read: &dyn Fn(ServerId) -> Traffic,
) -> ServerView {
    let state = roster.server(record.id);
    ServerView {
        id: record.id,
        address: record.model.address,
        method: record.model.method,
        tunnel: record.model.tunnel,
        weight: record.model.weight,
        upper_threshold: record.model.upper_threshold,
        lower_threshold: record.model.lower_threshold,
        overloaded: state.is_some_and(|s| s.overloaded()),
        counts: state.map(|s| s.view()).unwrap_or_default(),
        traffic: read(record.id) - record.base,
        rate: record.estimator.rate(),
    }
}

/// Positions below this are of the IPv4 table.
const IPV6: u64 = 1 << 32;

/// Gives `f` the connections in the next `max` slots; returns where to go on.
pub(crate) fn list(
    shared: &Shared,
    roll: &Roll,
    now: Tick,
    cursor: u64,
    max: u32,
    f: &mut dyn FnMut(&ConnectionView),
) -> Option<u64> {
    let at = u32::try_from(cursor & (IPV6 - 1)).unwrap_or(0);
    if cursor < IPV6 {
        let next = part::<V4>(shared, roll, now, at, max, f);
        Some(next.map_or(IPV6, u64::from))
    } else {
        let next = part::<V6>(shared, roll, now, at, max, f);
        next.map(|at| IPV6 | u64::from(at))
    }
}

fn part<I: Ip>(
    shared: &Shared,
    roll: &Roll,
    now: Tick,
    at: u32,
    max: u32,
    f: &mut dyn FnMut(&ConnectionView),
) -> Option<u32> {
    let server = |id| roll.server_address(id);
    I::table(shared).list(at, max, now, |listed: &Listed<I::Addr>| {
        f(&view(listed, call_of::<I>(shared, listed), I::ip, server));
    })
}

/// The Call-ID of a template that has one; `None` too if it ends in this instant.
pub(crate) fn call_of<I: Ip>(shared: &Shared, listed: &Listed<I::Addr>) -> Option<Vec<u8>> {
    let number = entry::call(listed.key.flags, listed.note)?;
    let call = shared.roster.calls.read(number)?;
    let stands = I::table(shared).name(call.words()) == listed.name();
    stands.then(|| call.text())
}

/// An entry for people. `call`: its Call-ID; `server`: the address of the server in a slot.
pub(crate) fn view<A: Copy>(
    listed: &Listed<A>,
    call: Option<Vec<u8>>,
    ip: impl Fn(A) -> IpAddr,
    server: impl Fn(ServerId) -> Option<SocketAddr>,
) -> ConnectionView {
    let key = &listed.key;
    let method = super::entry::method(key.flags);
    let own = SocketAddr::new(ip(key.daddr), key.dport);
    // A tunnel may lead to a server of the other family, whose address the entry has no room for.
    let server = match method {
        ForwardingMethod::Tunnel if own.ip().is_unspecified() => {
            server(listed.server).unwrap_or(own)
        }
        _ => own,
    };
    // Given up, but connections still hold it: IPVS shows such a template with a port nobody has.
    let given_up = listed.state.flags().contains(StateFlags::UNHASHED);
    let port = |port| if given_up { u16::MAX } else { port };
    ConnectionView {
        protocol: key.protocol,
        client: SocketAddr::new(ip(key.caddr), key.cport),
        destination: SocketAddr::new(ip(key.vaddr), port(key.vport)),
        server: SocketAddr::new(server.ip(), port(server.port())),
        state: state::name(key.protocol, key.template, listed.state.state()),
        expires_ms: listed.expires_in_ms.into(),
        method,
        template: key.template,
        engine: call.map(|call| (PersistenceEngine::Sip, call)),
        id: listed.server,
    }
}
