//! Persistence: a template per client network says which server its connections go to.
//!
//! The template's key is the client's masked address and the service: for a service of one port that port, for one of
//! every port none, for a mark the mark in place of address and protocol, so that all it covers stays together. With a persistence
//! engine the Call-ID is part of it ([`super::calls`]).

use super::{
    calls::{self, CallId},
    connect::{Assigned, NotAssigned, asker, or, serves},
    entry,
    family::{self, Ip},
    roster::Roster,
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
use flowtable::{Claim, Deltas, Embryo, Kind, Name, New, Side, Slot, StateFlags, Tuple};
use types::{ServerId, Tick};
use wire::Frame;

/// A connection looking for its server.
pub(crate) struct Wanted<'w, A> {
    /// The service.
    pub service: &'w Service,
    /// Its persistence.
    pub persistence: Persistence,
    /// What its persistence engine goes by.
    pub call: Option<&'w CallId>,
    /// The server it is of already: one that calls a client.
    pub server: Option<ServerId>,
    /// As in [`Sought`](super::connect::Sought).
    pub quoted: bool,
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
    let name = match (calls::engine(wanted.service), wanted.call) {
        (None, _) => Name::NONE,
        (Some(_), Some(call)) => table.name(call.words()),
        (Some(_), None) => return Err(NotAssigned::Refused(DropReason::NoCallId)),
    };
    let hash = table.template_hash(&key, name);
    let mut settle = |e: flowtable::Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
    // Twice: a template that does not hold any more is given up, and another made.
    for _ in 0..2 {
        match table.claim(hash, &key, Kind::Template(name), now, &mut settle) {
            Claim::Won(embryo) => return make::<I>(shared, snapshot, wanted, embryo, now),
            Claim::Exists(slot) => {
                if !is_of_call(&table.entry(slot), &shared.roster, wanted.call) {
                    return Err(NotAssigned::Busy);
                }
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

/// Whether a template found by its name is the call's: it ends in this instant if not, or another call's has the same name.
pub(super) fn is_of_call<I: Ip>(
    template: &flowtable::Entry<'_, I>,
    roster: &Roster,
    call: Option<&CallId>,
) -> bool {
    let number = entry::call(template.key().flags, template.note());
    match (number, call) {
        (None, None) => true,
        (Some(number), Some(call)) => roster.calls.is(number, call),
        _ => false,
    }
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

/// The template that a new connection of this packet's would go by, its name in a table of this key included.
pub(crate) fn template_of<I: Ip, F: Frame>(
    shared: &Shared,
    service: &Service,
    frame: &F,
    packet: &Packet,
) -> Option<(Tuple<I::Addr>, Name)> {
    let tuple = &family::tuple::<I>(packet, Side::Virtual)?;
    let persistence = service.persistence?;
    let call = calls::asked(service, frame, packet).ok()?;
    let key = template_key::<I>(&Wanted {
        service,
        persistence,
        call: None,
        server: None,
        quoted: false,
        tuple,
    });
    let name = |call: CallId| I::table(shared).name(call.words());
    Some((key, call.map_or(Name::NONE, name)))
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
        serves(target) && !quiescent && wanted.server.is_none_or(|own| own == id)
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
    // Given back below unless the template keeps it.
    let call = match wanted.call.map(|call| shared.roster.calls.keep(call)) {
        None => None,
        Some(Some(held)) => Some(held),
        Some(None) => return Err(NotAssigned::Refused(DropReason::TableFull)),
    };
    let id = if let Some(id) = wanted.server {
        id
    } else {
        let asker = asker::<I>(wanted.tuple, wanted.quoted, &snapshot.settings, now);
        match schedule::choose(wanted.service, &shared.roster, &asker) {
            Some(chosen) => chosen.id,
            None => return Err(none),
        }
    };
    let target = snapshot.services.target(id);
    let (Some(target), Some(server)) = (target, shared.roster.server(id)) else {
        return Err(none);
    };
    if wanted.server.is_some() {
        // The scheduler has counted the one it has chosen.
        server.admit_any();
    }
    server.hold();
    let covers_all = template_key::<I>(wanted).other_port == 0;
    let slot = embryo.publish(&New {
        daddr: I::address(target.address).unwrap_or_else(|| I::number(0)),
        dport: if covers_all {
            0
        } else {
            server_port(wanted, target)
        },
        server: id,
        flags: entry::template_flags(target.method, call.is_some()),
        state: state::TEMPLATE_NONE,
        state_flags: StateFlags::default(),
        timeout_ms: lifetime_ms(&wanted.persistence),
        template: None,
        mark: wanted.service.mark(),
        deltas: Deltas::default(),
        note: call.map_or(0, |call| call.keep().0),
    });
    // Just made, and touched: it cannot have ended.
    let controlled = I::table(shared).entry(slot).add_control();
    Ok(Assigned {
        server: id,
        port: server_port(wanted, target),
        template: controlled.then_some(slot),
    })
}

fn lifetime_ms(persistence: &Persistence) -> u32 {
    let ms = persistence.timeout_s.saturating_mul(1000);
    ms.clamp(1, flowtable::MAX_TIMEOUT_MS)
}
