//! Persistence: a template per client network says which server its connections go to.
//!
//! The template's key is the client's masked address and the service: for a service of one port that port, for one of
//! every port none, for a mark the mark in place of address and protocol, so that all it covers stays together.

use super::{
    connect::{Assigned, NotAssigned, asker, or, serves},
    entry,
    family::{self, Ip},
    schedule,
    services::{FTP, Service, Target},
    state,
};
use crate::{
    DropReason,
    model::{Persistence, ServiceKey},
    packet::Packet,
    shared::Shared,
    snapshot::Snapshot,
};
use flowtable::{Claim, Deltas, Embryo, New, Side, Slot, StateFlags, Tuple};
use types::Tick;

/// A connection looking for its server.
pub(crate) struct Wanted<'w, A> {
    /// The service.
    pub service: &'w Service,
    /// Its persistence.
    pub persistence: Persistence,
    /// What the client's packet shows.
    pub tuple: &'w Tuple<A>,
}

/// The server a client's template says; if there is none, a server is chosen and one made.
pub(crate) fn assign<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    wanted: &Wanted<'_, I::Addr>,
    now: Tick,
) -> Result<Assigned, NotAssigned> {
    let table = I::table(shared);
    let key = template_key::<I>(wanted);
    let hash = table.template_hash(&key);
    let mut settle = |e: flowtable::Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
    // Twice: a template that does not hold any more is given up, and another made.
    for _ in 0..2 {
        match table.claim(hash, &key, true, now, &mut settle) {
            Claim::Won(embryo) => return make::<I>(shared, snapshot, wanted, embryo, now),
            Claim::Exists(slot) => {
                if let Some(assigned) = follow::<I>(shared, snapshot, wanted, slot, now) {
                    return Ok(assigned);
                }
            }
            Claim::Busy => return Err(NotAssigned::Busy),
            Claim::Full | Claim::ClientFull => {
                return Err(NotAssigned::Refused(DropReason::TableFull));
            }
        }
    }
    Err(NotAssigned::Busy)
}

fn template_key<I: Ip>(wanted: &Wanted<'_, I::Addr>) -> Tuple<I::Addr> {
    let t = wanted.tuple;
    let client = I::masked(t.client, wanted.persistence.netmask);
    let (protocol, other, other_port) = match wanted.service.key {
        ServiceKey::Mark { mark, .. } => (0, I::number(mark.0), 0),
        ServiceKey::Address { address, .. } if matches!(address.port(), 0 | FTP) => {
            (t.protocol, t.other, 0)
        }
        ServiceKey::Address { address, .. } => (t.protocol, t.other, address.port()),
    };
    Tuple {
        protocol,
        client,
        client_port: 0,
        other,
        other_port,
    }
}

/// The template that a new connection of this packet's would go by.
pub(crate) fn template_of<I: Ip>(service: &Service, packet: &Packet) -> Option<Tuple<I::Addr>> {
    let tuple = &family::tuple::<I>(packet, Side::Virtual)?;
    let persistence = service.persistence?;
    Some(template_key::<I>(&Wanted {
        service,
        persistence,
        tuple,
    }))
}

/// The server's port for this connection: its own if the client asked for the service's, else the one asked for.
fn server_port<A>(wanted: &Wanted<'_, A>, target: &Target) -> u16 {
    match wanted.service.key {
        ServiceKey::Address { address, .. } if address.port() == wanted.tuple.other_port => {
            or(target.port, wanted.tuple.other_port)
        }
        _ => wanted.tuple.other_port,
    }
}

/// Goes by the template there is. `None`: it leads nowhere any more and has been given up.
fn follow<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    wanted: &Wanted<'_, I::Addr>,
    slot: Slot,
    now: Tick,
) -> Option<Assigned> {
    let template = I::table(shared).entry(slot);
    let id = template.server();
    let settings = &snapshot.settings;
    let target = snapshot.services.target(id).filter(|target| {
        let quiescent = settings.expire_quiescent_template && target.weight.0 == 0;
        serves(target) && !quiescent
    });
    let (Some(target), Some(server)) = (target, shared.roster.server(id)) else {
        // Its connections keep it in its slot until they have ended.
        template.unhash();
        return None;
    };
    if !template.add_control() {
        return None;
    }
    if !settings.compat_ipvs {
        // In IPVS one that ran out while connections stood keeps the minute it was given then.
        template.set_timeout_ms(lifetime_ms(&wanted.persistence));
    }
    template.touch(now);
    // Thresholds do not hold a client back from where it belongs.
    server.admit_any();
    Some(Assigned {
        server: id,
        port: server_port(wanted, target),
        template: Some(slot),
    })
}

fn make<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    wanted: &Wanted<'_, I::Addr>,
    embryo: Embryo<'_, I>,
    now: Tick,
) -> Result<Assigned, NotAssigned> {
    let none = NotAssigned::NoServer;
    let asker = asker::<I>(wanted.tuple, &snapshot.settings, now);
    let Some(chosen) = schedule::choose(wanted.service, &shared.roster, &asker) else {
        return Err(none);
    };
    let target = snapshot.services.target(chosen.id);
    let (Some(target), Some(server)) = (target, shared.roster.server(chosen.id)) else {
        return Err(none);
    };
    server.hold();
    let covers_all = template_key::<I>(wanted).other_port == 0;
    let slot = embryo.publish(&New {
        daddr: I::address(target.address).unwrap_or_else(|| I::number(0)),
        dport: if covers_all {
            0
        } else {
            server_port(wanted, target)
        },
        server: chosen.id,
        flags: entry::flags(target.method),
        state: state::TEMPLATE_NONE,
        state_flags: StateFlags::default(),
        timeout_ms: lifetime_ms(&wanted.persistence),
        template: None,
        mark: wanted.service.mark(),
        deltas: Deltas::default(),
        note: 0,
    });
    // Just made, and touched: it cannot have ended.
    let controlled = I::table(shared).entry(slot).add_control();
    Ok(Assigned {
        server: chosen.id,
        port: server_port(wanted, target),
        template: controlled.then_some(slot),
    })
}

fn lifetime_ms(persistence: &Persistence) -> u32 {
    let ms = persistence.timeout_s.saturating_mul(1000);
    ms.clamp(1, flowtable::MAX_TIMEOUT_MS)
}
