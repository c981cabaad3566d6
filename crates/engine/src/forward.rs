//! Plain forwarding: packets that are for nobody here go on to the next router or station (`ip_forward`,
//! `ip6_forward`). No redirects are sent.

use crate::{
    DropReason, Output,
    context::Context,
    icmp::{self, IcmpError},
    localstack,
    net::is_link_local,
    packet::{Addresses, Packet, wrong_source},
    transmit,
};
use wire::{Frame, FromBytes, Ipv4, Ipv6, ipv4};

/// Forwards the packet, or tells its sender why not.
pub(crate) fn route<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
) {
    let net = &cx.snapshot.net;
    let destination = packet.addresses.destination();
    if destination.is_multicast() {
        localstack::group(cx, frame, packet);
        return;
    }
    if packet.link_group {
        cx.drop(frame, DropReason::Multicast);
        return;
    }
    if let Some(reason) = wrong_source(net, packet) {
        cx.drop(frame, reason);
        return;
    }
    if stays_on_link(&packet.addresses) {
        cx.drop(frame, DropReason::NoRoute);
        return;
    }
    if !cx.snapshot.settings.ip_forward {
        cx.drop(frame, DropReason::ForwardingOff);
        return;
    }
    let Some(next) = net.route(destination) else {
        icmp::error(cx, &frame, packet, IcmpError::NetUnreachable, None);
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    let Some(ttl) = ttl(&frame, packet) else {
        cx.drop(frame, DropReason::IpMalformed);
        return;
    };
    if ttl <= 1 {
        icmp::error(cx, &frame, packet, IcmpError::TimeExceeded, None);
        cx.drop(frame, DropReason::TtlExceeded);
        return;
    }
    let mtu = net.interface(next.interface).map_or(u16::MAX, |i| i.mtu);
    let fits = packet.fits(mtu);
    // An error quotes the packet as it came; a fragment carries the lowered TTL.
    if fits || may_fragment(&frame, packet) || packet.reassembled.largest != 0 {
        decrement(&mut frame, packet);
    }
    // What a port padded to the minimum does not go on.
    frame.truncate(usize::from(packet.l3) + usize::from(packet.ip_len));
    if fits && packet.reassembled.largest == 0 {
        transmit::send(cx, frame, packet.l3, next);
    } else {
        transmit::oversize(cx, frame, packet, mtu, next);
    }
}

/// Link-local addresses (RFC 3927 7, RFC 4291 2.5.6), and loopback never leave their link.
fn stays_on_link(addresses: &Addresses) -> bool {
    match *addresses {
        Addresses::V4 {
            source,
            destination,
        } => {
            source >> 16 == 0xa9fe
                || destination >> 16 == 0xa9fe
                || destination >> 24 == 127
                || destination == 0
                || source == 0
        }
        Addresses::V6 {
            source,
            destination,
        } => is_link_local(source) || is_link_local(destination) || source == 0 || destination <= 1,
    }
}

fn may_fragment<F: Frame>(frame: &F, packet: &Packet) -> bool {
    ip4(frame, packet).is_some_and(|ip| !ip.dont_fragment())
}

fn ip4<'f, F: Frame>(frame: &'f F, packet: &Packet) -> Option<&'f Ipv4> {
    let (Addresses::V4 { .. }, Some(ip)) =
        (packet.addresses, frame.head().get(usize::from(packet.l3)..))
    else {
        return None;
    };
    Ipv4::ref_from_prefix(ip).ok().map(|(ip, _)| ip)
}

/// TTL or hop limit of the packet.
#[inline]
pub(crate) fn ttl<F: Frame>(frame: &F, packet: &Packet) -> Option<u8> {
    let at = usize::from(packet.l3)
        + match packet.addresses {
            Addresses::V4 { .. } => std::mem::offset_of!(Ipv4, ttl),
            Addresses::V6 { .. } => std::mem::offset_of!(Ipv6, hop_limit),
        };
    frame.head().get(at).copied()
}

/// Lowers TTL or hop limit by one.
#[inline]
pub(crate) fn decrement<F: Frame>(frame: &mut F, packet: &Packet) {
    let Some(ip) = frame.head_mut().get_mut(usize::from(packet.l3)..) else {
        return;
    };
    match packet.addresses {
        Addresses::V4 { .. } => ipv4::decrement_ttl(ip),
        Addresses::V6 { .. } => {
            if let Ok((ip, _)) = Ipv6::mut_from_prefix(ip) {
                ip.hop_limit = ip.hop_limit.saturating_sub(1);
            }
        }
    }
}
