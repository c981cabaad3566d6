//! The way out of a packet of a connection: TTL, MTU, next hop, by forwarding method.

use super::{family::Ip, services::Target, tunnel};
use crate::{
    DropReason, Output,
    context::Context,
    forward,
    icmp::{self, IcmpError},
    localstack,
    neighbour::NeighbourId,
    net::NextHop,
    packet::{Addresses, Packet},
    transmit,
};
use flowtable::Key;
use std::net::IpAddr;
use types::ForwardingMethod;
use wire::{Frame, FromBytes, Ipv4};

/// The address a client asked for: errors come from it, though it may be the director's by a mark only.
const fn asked(packet: &Packet) -> Option<IpAddr> {
    Some(packet.addresses.destination())
}

/// To the connection's server. `nat` rewrites the packet, or what is about it, under NAT.
#[inline]
pub(crate) fn to_server<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
    key: &Key<I::Addr>,
    target: &Target,
    nat: impl FnOnce(&mut F, &Key<I::Addr>),
) {
    if target.local {
        // IPVS's "local node": the director's own stack has it.
        localstack::deliver(cx, frame, packet);
        return;
    }
    let Some(next) = target.next else {
        tell(
            cx,
            &frame,
            packet,
            target,
            key.flags,
            IcmpError::HostUnreachable,
        );
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    if forward::ttl(&frame, packet).is_none_or(|ttl| ttl <= 1) {
        tell(
            cx,
            &frame,
            packet,
            target,
            key.flags,
            IcmpError::TimeExceeded,
        );
        cx.drop(frame, DropReason::TtlExceeded);
        return;
    }
    forward::decrement(&mut frame, packet);
    // The method is the connection's own: an edited server keeps the connections it has as they are.
    let method = super::entry::method(key.flags);
    if method == ForwardingMethod::Tunnel {
        tunnel::send(cx, frame, packet, target, next);
        return;
    }
    if packet.ip_len > target.mtu && !may_fragment(&frame, packet, target.mtu) {
        let mtu = target.mtu;
        tell(
            cx,
            &frame,
            packet,
            target,
            key.flags,
            IcmpError::TooBig { mtu },
        );
        cx.drop(frame, DropReason::TooBig);
        return;
    }
    if method == ForwardingMethod::Masq {
        nat(&mut frame, key);
    }
    let way = Way {
        next,
        neighbour: target.neighbour,
        mtu: target.mtu,
    };
    on_its_way(cx, frame, packet, way);
}

/// Tells the client what is wrong with its packet, as the address it asked for. Where replies do not pass here, IPVS counts that
/// as one of the server's.
#[cold]
pub(super) fn tell<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &F,
    packet: &Packet,
    target: &Target,
    flags: u8,
    what: IcmpError,
) {
    let bytes = icmp::error(cx, frame, packet, what, asked(packet));
    if bytes > 0 && super::entry::method(flags) != ForwardingMethod::Masq {
        cx.local.traffic.outgoing(target.id, bytes.into());
    }
}

/// A next hop and what it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    next: NextHop,
    /// Where it is kept resolved.
    neighbour: Option<NeighbourId>,
    mtu: u16,
}

impl Way {
    /// Bytes of an IP packet it takes.
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }
}

/// Where a reply goes, its TTL lowered; `None` when it goes nowhere and its sender was told.
#[inline]
pub(crate) fn way_to_client<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
) -> Option<(F, Way)> {
    let net = &cx.snapshot.net;
    let Some(next) = net.route(packet.addresses.destination()) else {
        icmp::error(cx, &frame, packet, IcmpError::NetUnreachable, None);
        cx.drop(frame, DropReason::NoRoute);
        return None;
    };
    if forward::ttl(&frame, packet).is_none_or(|ttl| ttl <= 1) {
        icmp::error(cx, &frame, packet, IcmpError::TimeExceeded, None);
        cx.drop(frame, DropReason::TtlExceeded);
        return None;
    }
    let mtu = net.interface(next.interface).map_or(0, |i| i.mtu);
    if packet.ip_len > mtu && !may_fragment(&frame, packet, mtu) {
        icmp::error(cx, &frame, packet, IcmpError::TooBig { mtu }, None);
        cx.drop(frame, DropReason::TooBig);
        return None;
    }
    forward::decrement(&mut frame, packet);
    let neighbour = None;
    Some((
        frame,
        Way {
            next,
            neighbour,
            mtu,
        },
    ))
}

/// Sends a packet that is final but for its link header.
#[inline]
pub(crate) fn on_its_way<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
    way: Way,
) {
    // What a port padded to the minimum does not go on.
    frame.truncate(usize::from(packet.l3) + usize::from(packet.ip_len));
    let NextHop { interface, gateway } = way.next;
    if packet.reassembled.largest != 0 || packet.ip_len > way.mtu {
        transmit::oversize(cx, frame, packet, way.mtu, way.next);
    } else if let Some(neighbour) = way.neighbour {
        transmit::send_to_known(cx, frame, packet.l3, interface, neighbour, gateway);
    } else {
        transmit::send(cx, frame, packet.l3, way.next);
    }
}

/// IPv4 without "don't fragment"; IPv6 whose sender has cut it small enough.
#[cold]
fn may_fragment<F: Frame>(frame: &F, packet: &Packet, mtu: u16) -> bool {
    let Addresses::V4 { .. } = packet.addresses else {
        return (1..=mtu).contains(&packet.reassembled.largest);
    };
    let ip = frame.head().get(usize::from(packet.l3)..);
    ip.and_then(|ip| Ipv4::ref_from_prefix(ip).ok())
        .is_some_and(|(ip, _)| !ip.dont_fragment())
}
