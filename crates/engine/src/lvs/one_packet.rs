//! One-packet scheduling (`-o`): a datagram's server is chosen for it alone, and nothing is kept. Replies are nobody's.

use super::{
    connect::{self, Assigned, NotAssigned, Sought},
    entry, family,
    family::Ip,
    rewrite, send,
    services::Target,
};
use crate::{DropReason, Output, context::Context, packet::Packet};
use flowtable::{Key, Side, Tuple};
use wire::Frame;

/// Sends the datagram to a server; gives it back with the reason if there is none.
pub(super) fn datagram<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    sought: &Sought<'_>,
) -> Result<(), (F, NotAssigned)> {
    let Some(tuple) = family::tuple::<I>(packet, Side::Virtual) else {
        return Err((frame, NotAssigned::Refused(DropReason::IpMalformed)));
    };
    let snapshot = cx.snapshot;
    let assigned = match connect::assign::<I>(cx.shared, snapshot, &tuple, sought, cx.now) {
        Ok(assigned) => assigned,
        Err(why) => return Err((frame, why)),
    };
    let Some(target) = snapshot.services.target(assigned.server) else {
        return Err((frame, NotAssigned::NoServer));
    };
    let traffic = &cx.local.traffic;
    traffic.connection(assigned.server);
    traffic.incoming(assigned.server, packet.ip_len.into());
    let key = key::<I>(&tuple, &assigned, target);
    let deltas = family::deltas::<I>((key.vaddr, key.vport), (key.daddr, key.dport));
    send::to_server::<I, F, O>(cx, frame, packet, &key, target, |frame, key| {
        rewrite::to_server::<I, F>(frame, packet, key, deltas);
    });
    // It was a connection for as long as that took.
    if let Some(server) = cx.shared.roster.server(assigned.server) {
        server.leave(false);
    }
    if let Some(template) = assigned.template {
        I::table(cx.shared).entry(template).drop_control();
    }
    Ok(())
}

/// The connection there would be.
pub(super) fn key<I: Ip>(
    tuple: &Tuple<I::Addr>,
    assigned: &Assigned,
    target: &Target,
) -> Key<I::Addr> {
    Key {
        protocol: tuple.protocol,
        caddr: tuple.client,
        cport: tuple.client_port,
        vaddr: tuple.other,
        vport: tuple.other_port,
        daddr: I::address(target.address).unwrap_or_else(|| I::number(0)),
        dport: assigned.port,
        flags: entry::flags(target.method),
        template: false,
    }
}
