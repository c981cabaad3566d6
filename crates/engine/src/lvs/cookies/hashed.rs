//! Servers reached directly, by routing or a tunnel: while a service is under a flood, a SYN goes to the server that a hash of its ends
//! says, and nothing is kept of it. What the client sends next goes to the same server by the same hash, and makes the connection.
//!
//! The hash is Maglev's (`schedule::maglev`): if the servers change between a client's SYN and its next packet, few clients are of
//! another server then. Those are told by it that there is no such connection, as if their server had failed, and come again. A server
//! of weight 0 takes no part; thresholds do not count, or the hash would say one thing now and another then.
//!
//! Nothing proves that a client has shaken hands, so connections made this way are bounded by the rate at which the flood begins;
//! what comes beyond goes by the hash, too, for as long as it must.

use super::{
    super::{
        connect::{self, Assigned, Sought, or},
        family::Ip,
        limits, one_packet, persist,
        roster::ServiceState,
        schedule, send,
        services::{Service, Standing, Target},
    },
    Guard,
};
use crate::{Output, context::Context, packet::Packet};
use flowtable::Tuple;
use types::{PortId, SynCookies};
use wire::Frame;

/// Connections made in a second of acknowledgements where the flood has no rate.
const PACE: u32 = 10_000;

/// A service whose clients are spread by a hash.
pub(super) struct Of<'s> {
    pub service: &'s Service,
    pub guard: &'s Guard,
    pub table: &'s [u32],
    pub state: &'s ServiceState,
}

/// Sends a SYN to its server. Given back if there is none.
pub(super) fn syn<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    tuple: &Tuple<I::Addr>,
    service: &Service,
    table: &[u32],
) -> Result<(), F> {
    let Some(target) = server::<I, F, O>(cx, &frame, packet, tuple, service, table) else {
        return Err(frame);
    };
    cx.local.tallies.hashed(service.id);
    forward::<I, F, O>(cx, frame, packet, tuple, target);
    Ok(())
}

/// A packet after the SYN: makes the connection, or just goes on.
pub(super) fn follows<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    packet: &Packet,
    tries: u8,
    tuple: &Tuple<I::Addr>,
    of: &Of<'_>,
) -> Result<(), F> {
    let service = of.service;
    let found = server::<I, F, O>(cx, &frame, packet, tuple, service, of.table);
    let Some(target) = found else {
        return Err(frame);
    };
    let rate = match of.guard.when {
        SynCookies::Above(above) => above,
        SynCookies::On | SynCookies::Off => PACE,
    };
    if tries == 0 {
        let admitted = limits::admit::<I>(cx.shared, cx.snapshot, service, tuple.client, cx.now);
        if let Err(reason) = admitted {
            cx.drop(frame, reason);
            return Ok(());
        }
        if !of.state.flood.may_insert(cx.now, rate) {
            forward::<I, F, O>(cx, frame, packet, tuple, target);
            return Ok(());
        }
        cx.local.tallies.accepted(service.id);
    }
    let sought = Sought {
        service,
        call: None,
        server: Some(target.id),
        bypass: false,
        opening: None,
        quoted: false,
    };
    connect::for_service::<I, F, O>(cx, port, frame, packet, tries, &sought);
    Ok(())
}

/// The server of a client's: its template's, or the hash's.
fn server<'s, I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'s, F, O>,
    frame: &F,
    packet: &Packet,
    tuple: &Tuple<I::Addr>,
    service: &Service,
    table: &[u32],
) -> Option<&'s Target> {
    let services = &cx.snapshot.services;
    let connections = I::table(cx.shared);
    let template = persist::template_of::<I, F>(cx.shared, service, frame, packet);
    let template = template.and_then(|(key, name)| {
        let hash = connections.template_hash(&key, name);
        let slot = connections.find_template(hash, &key, name, cx.now)?;
        services.target(connections.entry(slot).server())
    });
    let usable = |t: &&Target| t.standing == Standing::Serving && t.weight.0 > 0;
    if let Some(target) = template.filter(usable) {
        return Some(target);
    }
    // Of a persistent service a client is its address.
    let port = match service.persistence {
        None => tuple.client_port,
        Some(_) => 0,
    };
    let place = schedule::consistent_place(I::ip(tuple.client), port);
    let index = *table.get(place)?;
    let candidate = service.servers.get(index as usize)?;
    services.target(candidate.id).filter(usable)
}

/// Sends a packet to a server as one of a connection that is not there.
fn forward<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    tuple: &Tuple<I::Addr>,
    target: &Target,
) {
    let assigned = Assigned {
        server: target.id,
        port: or(target.port, tuple.other_port),
        template: None,
    };
    let key = one_packet::key::<I>(tuple, &assigned, target);
    cx.local.traffic.incoming(target.id, packet.ip_len.into());
    send::to_server::<I, F, O>(cx, frame, packet, &key, target, |_, _| {});
}
