//! Requests that real servers of SIP begin themselves: they leave as the virtual service's, and their answers come back to the server
//! that asked (IPVS's `conn_out`).

use super::{
    calls, connect,
    connect::Sought,
    entry,
    family::Ip,
    known,
    services::{Service, Target},
};
use crate::{
    DropReason, Output,
    context::Context,
    model::ServiceKey,
    packet::{Addresses, Fragment, Packet},
};
use flowtable::{Claim, Side, Slot, Tuple, V4, V6};
use std::net::SocketAddr;
use wire::Frame;

/// A datagram of no connection, perhaps of a server that calls. Given back if it is not, or says nothing of a call.
#[cold]
pub(super) fn request<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    match packet.addresses {
        Addresses::V4 { .. } => of::<V4, F, O>(cx, frame, packet),
        Addresses::V6 { .. } => of::<V6, F, O>(cx, frame, packet),
    }
}

fn of<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    let services = &cx.snapshot.services;
    let caller = services.caller(packet.addresses.source(), packet.source_port);
    if packet.headless || packet.fragment != Fragment::No {
        return Err(frame);
    }
    let Some((service, server)) = caller else {
        return Err(frame);
    };
    let (Some(target), Ok(call)) = (
        services
            .target(server)
            .filter(|target| connect::serves(target)),
        calls::asked(service, &frame, packet),
    ) else {
        return Err(frame);
    };
    let Some(tuple) = tuple::<I>(service, packet) else {
        return Err(frame);
    };
    let sought = Sought {
        service,
        call: call.as_ref(),
        server: Some(server),
        bypass: false,
        opening: None,
        quoted: false,
    };
    let slot = match begin::<I, F, O>(cx, &tuple, &sought, target) {
        Ok(slot) => slot,
        Err(reason) => {
            cx.drop(frame, reason);
            return Ok(());
        }
    };
    let table = I::table(cx.shared);
    let made = table.entry(slot);
    let generation = made.state().generation();
    let sent = known::packet::<I, F, O>(cx, frame, packet, &made, Side::Server);
    // One-packet scheduling: it was a connection for as long as that took.
    if service.one_packet
        && let Some(last) = table.remove(slot, generation)
    {
        entry::ended(table, &cx.shared.roster, &made, last);
    }
    sent
}

/// The connection as the answer's packets will show it.
fn tuple<I: Ip>(service: &Service, packet: &Packet) -> Option<Tuple<I::Addr>> {
    let ServiceKey::Address { address, .. } = service.key else {
        return None;
    };
    let peer = SocketAddr::new(packet.addresses.destination(), packet.destination_port);
    Some(Tuple {
        protocol: packet.protocol,
        client: I::address(peer.ip())?,
        client_port: peer.port(),
        other: I::address(address.ip())?,
        other_port: address.port(),
    })
}

/// Makes the connection, and the template if there is none of this server's.
fn begin<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    tuple: &Tuple<I::Addr>,
    sought: &Sought<'_>,
    target: &Target,
) -> Result<Slot, DropReason> {
    let (shared, snapshot, now) = (cx.shared, cx.snapshot, cx.now);
    let table = I::table(shared);
    let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
    let mut settle = |e: flowtable::Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
    let kind = flowtable::Kind::Connection;
    let embryo = match table.claim(hash, tuple, kind, now, &mut settle) {
        Claim::Won(embryo) => embryo,
        Claim::Exists(_) | Claim::Busy => return Err(DropReason::ConnectionBusy),
        Claim::Full => return Err(DropReason::TableFull),
        Claim::ClientFull => return Err(DropReason::EndpointLimit),
    };
    let assigned = match connect::assign::<I>(shared, snapshot, tuple, sought, now) {
        Ok(assigned) => assigned,
        Err(connect::NotAssigned::Refused(reason)) => return Err(reason),
        Err(_) => return Err(DropReason::ConnectionBusy),
    };
    cx.local.traffic.connection(assigned.server);
    let of = (sought.service.mark(), target);
    let flags = entry::flags(target.method);
    Ok(connect::publish::<I>(
        embryo,
        tuple,
        &assigned,
        of,
        (flags, 0),
    ))
}
