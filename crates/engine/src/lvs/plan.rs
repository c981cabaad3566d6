//! A change of services and servers: planned on a copy of the book, and made the book only once its snapshot is
//! published, so that a refused one leaves no trace.

use super::{
    check::normalised,
    error::ServiceError,
    estimate::Estimator,
    roll::{Removal, Roll, ServerRecord, ServiceRecord},
    roster::Roster,
    schedule::{Locality, folded},
    services::{Candidate, Service, Standing, Target, server_ports},
};
use crate::{
    model::{self, Desired, ServiceKey},
    net::{Exit, Net},
    pins::Pins,
    views::{Applied, Traffic},
};
use hashbrown::HashMap;
use rcu::Domain;
use std::sync::Arc;
use types::{ForwardingMethod, OnRemoval, Scheduler, ServerId, ServiceId, Tick, Tunnel};

/// How long a removed NAT server's packets are kept from the clients: an established connection's default timeout.
const REMEMBERED_MS: u64 = 900_000;

/// No slot of a service.
const NO_SERVICE: ServiceId = ServiceId(u32::MAX);

/// A change, worked out but not published.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The book after it.
    pub roll: Roll,
    /// The services in the order wanted.
    pub list: Box<[Arc<Service>]>,
    /// By server slot, up to the last that is in use.
    pub targets: Box<[Target]>,
    /// What changes.
    pub applied: Applied,
    /// Services that are new or changed, with what they were.
    changed: Vec<(Option<Arc<Service>>, Arc<Service>)>,
    /// Servers whose thresholds are to be set.
    thresholds: Vec<(ServerId, u32, u32)>,
    /// Services that go.
    leaving: Vec<u32>,
}

impl Roll {
    /// Works out what `desired`, which has been checked, changes.
    pub fn plan(
        &self,
        now: Tick,
        desired: &Desired,
        net: &Net,
        pins: &Pins,
        read: &dyn Fn(ServerId) -> Traffic,
    ) -> Result<Plan, ServiceError> {
        let mut plan = Plan {
            roll: self.clone(),
            list: Box::default(),
            targets: Box::default(),
            applied: Applied::default(),
            changed: Vec::new(),
            thresholds: Vec::new(),
            leaving: Vec::new(),
        };
        plan.remove_missing(now, desired);
        let mut list = Vec::with_capacity(desired.services.len());
        for service in &desired.services {
            list.push(plan.place(now, self, service, desired.services.len(), read)?);
        }
        plan.list = list.into();
        plan.set_removals(&desired.on_removal);
        plan.fill_targets(net, pins, desired.settings.expire_nodest_conn);
        Ok(plan)
    }

    fn no_room(&self) -> ServiceError {
        let removed = self
            .servers
            .values()
            .filter(|r| r.removed.is_some())
            .count();
        ServiceError::TooManyServers {
            wanted: self.servers.len() + 1,
            removed,
            room: self.capacity.1,
        }
    }
}

impl Plan {
    fn remove_missing(&mut self, now: Tick, desired: &Desired) {
        let former = &mut self.roll.former;
        former.retain(|_, until| *until > now);
        let wanted: HashMap<ServiceKey, &model::Service> =
            desired.services.iter().map(|s| (s.key, s)).collect();
        let (leaving, applied) = (&mut self.leaving, &mut self.applied);
        self.roll.services.retain(|key, record| {
            let stays = wanted.contains_key(key);
            if !stays {
                leaving.push(record.compiled.id.0);
                applied.services_removed += 1;
            }
            stays
        });
        for ((key, address), record) in &mut self.roll.servers {
            if !wanted.contains_key(key) {
                // What goes through it from now on is counted for no service; the slot may be another's soon.
                record.service = NO_SERVICE;
            }
            let stays = wanted.get(key).is_some_and(|service| {
                let mut servers = service.servers.iter();
                servers.any(|s| normalised(key, s).address == *address)
            });
            if !stays && record.removed.is_none() {
                record.removed = Some(Removal::Planned);
                if record.model.method == ForwardingMethod::Masq {
                    let ports = server_ports(key, *address);
                    former.extend(ports.map(|port| (port, now + REMEMBERED_MS)));
                }
                self.applied.servers_removed += 1;
            }
        }
    }

    fn place(
        &mut self,
        now: Tick,
        old: &Roll,
        wanted: &model::Service,
        total: usize,
        read: &dyn Fn(ServerId) -> Traffic,
    ) -> Result<Arc<Service>, ServiceError> {
        let before = old.services.get(&wanted.key);
        let id = match before {
            Some(record) => record.compiled.id,
            None => {
                let slot = self.roll.service_slots.free.pop();
                let room = self.roll.capacity.0;
                ServiceId(slot.ok_or(ServiceError::TooManyServices {
                    wanted: total,
                    room,
                })?)
            }
        };
        let servers: Arc<[model::Server]> = wanted
            .servers
            .iter()
            .map(|s| normalised(&wanted.key, s))
            .collect();
        let mut changed = before.is_none_or(|b| b.servers != servers);
        for server in &*servers {
            changed |= self.place_server(&wanted.key, id, server, read)?;
        }
        if let Some(record) = before
            && !changed
            && record.compiled.scheduler == wanted.scheduler
            && record.compiled.flags == wanted.flags
            && record.compiled.persistence == wanted.persistence
            && record.compiled.persistence_engine == wanted.persistence_engine
            && record.compiled.one_packet == wanted.one_packet
        {
            return Ok(Arc::clone(&record.compiled));
        }
        let candidates = servers.iter().rev().filter_map(|server| {
            let record = self.roll.servers.get(&(wanted.key, server.address))?;
            Some(Candidate {
                id: record.id,
                weight: server.weight,
                last_weight: record.last_weight,
                spread: folded(server.address.ip()).wrapping_add(server.address.port().into()),
            })
        });
        let locality = match wanted.scheduler {
            Scheduler::Lblc | Scheduler::Lblcr => before
                .filter(|b| b.compiled.scheduler == wanted.scheduler)
                .and_then(|b| b.compiled.locality.clone())
                .or_else(|| Some(Arc::new(Locality::new(now)))),
            _ => None,
        };
        let compiled = Arc::new(Service::new(id, wanted, candidates.collect(), locality));
        match before {
            Some(_) => self.applied.services_changed += 1,
            None => self.applied.services_added += 1,
        }
        // A walk goes on over an edit of the service alone.
        let same_walk =
            !changed && before.is_some_and(|b| b.compiled.scheduler == wanted.scheduler);
        if !same_walk {
            self.changed.push((
                before.map(|b| Arc::clone(&b.compiled)),
                Arc::clone(&compiled),
            ));
        }
        let record = ServiceRecord {
            compiled: Arc::clone(&compiled),
            servers,
            retired: before.map(|b| b.retired).unwrap_or_default(),
            estimator: before.map(|b| b.estimator).unwrap_or_default(),
        };
        self.roll.services.insert(wanted.key, record);
        Ok(compiled)
    }

    /// Whether anything about the server is other than it was.
    fn place_server(
        &mut self,
        key: &ServiceKey,
        service: ServiceId,
        wanted: &model::Server,
        read: &dyn Fn(ServerId) -> Traffic,
    ) -> Result<bool, ServiceError> {
        let thresholds = |id| (id, wanted.upper_threshold, wanted.lower_threshold);
        let Some(record) = self.roll.servers.get_mut(&(*key, wanted.address)) else {
            let id = ServerId(
                self.roll
                    .server_slots
                    .free
                    .pop()
                    .ok_or_else(|| self.roll.no_room())?,
            );
            self.applied.servers_added += 1;
            self.thresholds.push(thresholds(id));
            let record = ServerRecord {
                id,
                service,
                model: *wanted,
                last_weight: wanted.weight,
                base: read(id),
                estimator: Estimator::default(),
                on_removal: None,
                removed: None,
            };
            self.roll.servers.insert((*key, wanted.address), record);
            return Ok(true);
        };
        let revived = record.removed.take().is_some();
        if record.service != service {
            // Its service was deleted meanwhile: connections come back, traffic starts anew (as IPVS does).
            record.service = service;
            record.base = read(record.id);
            record.estimator = Estimator::default();
        }
        let edited = record.model != *wanted;
        record.model = *wanted;
        if revived || wanted.weight.0 != 0 {
            record.last_weight = wanted.weight;
        }
        if revived {
            self.applied.servers_revived += 1;
        } else if edited {
            self.applied.servers_changed += 1;
        }
        if revived || edited {
            self.thresholds.push(thresholds(record.id));
        }
        Ok(revived || edited)
    }

    /// A service that is gone leaves its servers what it wanted last.
    fn set_removals(&mut self, wanted: &[(ServiceKey, OnRemoval)]) {
        let wanted: HashMap<ServiceKey, OnRemoval> = wanted.iter().copied().collect();
        let services = &self.roll.services;
        for ((key, _), record) in &mut self.roll.servers {
            if services.contains_key(key) {
                record.on_removal = wanted.get(key).copied();
            }
        }
    }

    fn fill_targets(&mut self, net: &Net, pins: &Pins, expires: bool) {
        // Not as many as there is room for: to write megabytes at each change takes longer than all else, and pushes out of the caches
        // what the workers need.
        let used = self.roll.servers.values().map(|r| r.id.index() + 1).max();
        self.targets = vec![Target::VACANT; used.unwrap_or(0)].into();
        for record in self.roll.servers.values() {
            let Some(target) = self.targets.get_mut(record.id.index()) else {
                continue;
            };
            let address = record.model.address.ip();
            let next = net.route(address);
            let interface = next.and_then(|next| net.interface(next.interface));
            let local = net.local(address).is_some();
            let tunnel = record.model.tunnel;
            // GRE and GUE take the long way.
            let plain = record.model.method != ForwardingMethod::Tunnel || tunnel == Tunnel::Ipip;
            let straight = next.filter(|_| record.removed.is_none() && !local && plain);
            *target = Target {
                id: record.id,
                standing: match record.removed {
                    Some(_) => Standing::Removed,
                    None => Standing::Serving,
                },
                method: record.model.method,
                on_removal: record.on_removal(expires),
                weight: record.model.weight,
                address,
                port: record.model.address.port(),
                local,
                next,
                neighbour: next.and_then(|next| pins.slot(next)),
                mtu: interface.map_or(0, |i| i.mtu),
                tunnel,
                // Connections keep the method they were made with: one may be in a tunnel yet.
                tunnel_source: next.and_then(|next| net.source_for(address, next)),
                exit: straight.map_or(Exit::NONE, |next| net.exit(next, pins)),
            };
        }
    }

    /// After publishing: makes the plan the book, and brings the state outside the snapshot in line.
    pub fn commit(self, domain: &Domain, roster: &Roster) -> (Roll, Applied) {
        let mut roll = self.roll;
        let published = domain.current();
        for record in roll.servers.values_mut() {
            if record.removed == Some(Removal::Planned) {
                record.removed = Some(Removal::At(published));
            }
        }
        let leaving = self.leaving.into_iter().map(|slot| (published, slot));
        roll.service_slots.leaving.extend(leaving);
        for (id, upper, lower) in self.thresholds {
            if let Some(state) = roster.server(id) {
                state.set_thresholds(upper, lower);
                // Whoever is new in the slot, or back, begins anew.
                state.attempt_succeeded();
            }
        }
        for (before, after) in self.changed {
            if let Some(state) = roster.service(after.id) {
                super::schedule::carry_over(before.as_deref(), &after, state);
            }
        }
        (roll, self.applied)
    }
}
