//! Control's book of services and servers: which slot is whose, who was removed but is still referred to.

use super::{
    estimate::Estimator,
    roster::Roster,
    services::{ServerPort, Service},
};
use crate::{
    model::{self, ServiceKey},
    views::Traffic,
};
use hashbrown::HashMap;
use rcu::{Domain, Epoch};
use std::{net::SocketAddr, sync::Arc};
use types::{OnRemoval, ServerId, ServiceId, Tick, Weight};

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRecord {
    /// As the workers have it.
    pub compiled: Arc<Service>,
    /// Its servers as wanted, oldest first.
    pub servers: Arc<[model::Server]>,
    /// What went through servers whose slots were given back.
    pub retired: Traffic,
    /// Its rates.
    pub estimator: Estimator,
}

/// A server, present or removed.
#[derive(Clone, Debug)]
pub(crate) struct ServerRecord {
    /// Its slot.
    pub id: ServerId,
    /// The service it counts for.
    pub service: ServiceId,
    /// As last wanted.
    pub model: model::Server,
    /// Its weight when that was last not 0: Maglev hashing goes on by it while the server is quiesced.
    pub last_weight: Weight,
    /// What the slot's counters held when this server began, or was zeroed.
    pub base: Traffic,
    /// Its rates.
    pub estimator: Estimator,
    /// What becomes of its connections when it is removed; `None`: as `expire_nodest_conn` says.
    pub on_removal: Option<OnRemoval>,
    /// When it was removed. It goes once no worker can meet it any more and no connection refers to it.
    pub removed: Option<Removal>,
}

impl ServerRecord {
    /// What becomes of its connections when it is removed.
    pub fn on_removal(&self, expires: bool) -> OnRemoval {
        self.on_removal.unwrap_or(if expires {
            OnRemoval::Expire
        } else {
            OnRemoval::Keep
        })
    }
}

/// When a server was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// By the change being planned.
    Planned,
    /// Workers that have passed this do not know it as present.
    At(Epoch),
}

/// Slots not in use; those given back wait until no worker can hold them.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    pub free: Vec<u32>,
    pub leaving: Vec<(Epoch, u32)>,
}

impl Slots {
    fn new(count: u32) -> Self {
        Self {
            free: (0..count).rev().collect(),
            leaving: Vec::new(),
        }
    }

    fn settle(&mut self, domain: &Domain) {
        let free = &mut self.free;
        self.leaving.retain(|&(epoch, slot)| {
            let passed = domain.passed(epoch);
            if passed {
                free.push(slot);
            }
            !passed
        });
    }
}

/// The book.
#[derive(Clone, Debug)]
pub(crate) struct Roll {
    pub services: HashMap<ServiceKey, ServiceRecord>,
    pub servers: HashMap<(ServiceKey, SocketAddr), ServerRecord>,
    /// Ports of NAT servers removed not long ago, and until when they are remembered.
    pub(super) former: HashMap<ServerPort, Tick>,
    pub(super) service_slots: Slots,
    pub(super) server_slots: Slots,
    /// Services, servers.
    pub(super) capacity: (u32, u32),
}

impl Roll {
    /// An empty book over slabs of that size.
    pub fn new(services: u32, servers: u32) -> Self {
        Self {
            services: HashMap::new(),
            servers: HashMap::new(),
            former: HashMap::new(),
            service_slots: Slots::new(services),
            server_slots: Slots::new(servers),
            capacity: (services, servers),
        }
    }

    /// Gives back the slots of removed servers that nothing refers to any more. `read`: a slot's counters.
    pub fn settle(&mut self, domain: &Domain, roster: &Roster, read: &dyn Fn(ServerId) -> Traffic) {
        self.service_slots.settle(domain);
        self.server_slots.settle(domain);
        let (slots, services) = (&mut self.server_slots, &mut self.services);
        self.servers.retain(|(key, _), record| {
            let Some(Removal::At(epoch)) = record.removed else {
                return true;
            };
            let referenced = roster.server(record.id).is_some_and(|s| s.referenced());
            if !domain.passed(epoch) || referenced {
                return true;
            }
            if let Some(service) = services.get_mut(key)
                && service.compiled.id == record.service
            {
                service.retired += read(record.id) - record.base;
            }
            roster.paths.forget(record.id);
            slots.free.push(record.id.0);
            false
        });
    }

    /// Ports of NAT servers removed not long ago, and until when they are remembered.
    pub fn former(&self) -> impl Iterator<Item = (ServerPort, Tick)> {
        self.former.iter().map(|(port, until)| (*port, *until))
    }

    /// The servers that are not removed, with their slots.
    pub fn present(&self) -> impl Iterator<Item = (ServiceKey, SocketAddr, ServerId)> {
        let present = self.servers.iter().filter(|(_, r)| r.removed.is_none());
        present.map(|((key, address), record)| (*key, *address, record.id))
    }

    /// Slots of servers, removed ones too, and whether templates to them that were given up stay to the end of their time. Those of a
    /// removed server end with its connections if these are `flushed` now; `expires` is `expire_nodest_conn`. A removed server that is
    /// not among them is as it was: the setting alone, changed later, ends no template.
    pub fn lasting(
        &self,
        compat: bool,
        expires: bool,
        flushed: bool,
    ) -> impl Iterator<Item = (ServerId, bool)> {
        self.servers.values().filter_map(move |record| {
            let stays = match record.removed {
                None => compat,
                Some(_) if flushed || !compat => {
                    compat && record.on_removal(expires) == OnRemoval::Keep
                }
                Some(_) => return None,
            };
            Some((record.id, stays))
        })
    }

    /// The slots of removed servers to which something may still refer, and what is to become of that. `expires` is
    /// `expire_nodest_conn`.
    pub fn removed(&self, expires: bool) -> impl Iterator<Item = (ServerId, OnRemoval)> {
        let removed = self.servers.values().filter(|r| r.removed.is_some());
        removed.map(move |r| (r.id, r.on_removal(expires)))
    }
}
