//! Tunnels: the packet goes to the real server inside another, whatever the families of the two: IP in IP, GRE or GUE.
//!
//! Outer header as Linux 6.1 writes it: TOS of the inner one, except that "congestion experienced" inside becomes ECT(0)
//! outside (RFC 6040's initial marking is left to the sender's own layer); TTL of the inner one after its decrement;
//! "don't fragment" copied if `pmtu_disc`; identification 0 when that is set, else counted.

use super::{services::Target, wrap};
use crate::{
    DropReason, Output,
    context::Context,
    fragment_out::{self, Cut, To},
    icmp,
    icmp::IcmpError,
    net::NextHop,
    packet::{Addresses, Packet, reparse},
    transmit,
};
use std::net::IpAddr;
use wire::{Frame, FromBytes, IntoBytes, Ipv4, Ipv6, RxChecksum, U16, U32, ipv4, protocol};

/// What of the inner header the outer one is made from.
#[derive(Clone, Copy)]
pub(crate) struct Inner {
    pub tos: u8,
    pub ttl: u8,
    pub dont_fragment: bool,
    pub protocol: u8,
}

/// Linux takes no tunnel over IPv6 that would carry less than IPv6's least MTU (RFC 8200 5): it drops whatever should go in, of either
/// family and however short, and tells nobody.
pub(super) const LEAST_PATH6: u16 = 1280;

/// Bytes of the outer IP header between these addresses.
#[inline]
pub(super) const fn overhead(source: IpAddr) -> u16 {
    if source.is_ipv4() { 20 } else { 40 }
}

/// Wraps the packet (its TTL is lowered already) and sends it.
#[cold]
pub(crate) fn send<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
    target: &Target,
    next: NextHop,
) {
    let Some(inner) = inner(&frame, packet) else {
        cx.drop(frame, DropReason::IpMalformed);
        return;
    };
    let Some(source) = target.tunnel_source else {
        icmp::error(cx, &frame, packet, IcmpError::HostUnreachable, None);
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    let between = target.tunnel.header_len();
    let path = cx.shared.roster.paths.mtu(target.id, target.mtu, cx.now);
    let mtu = path.saturating_sub(overhead(source) + between);
    if source.is_ipv6() && mtu < LEAST_PATH6 && cx.snapshot.settings.compat_ipvs {
        cx.drop(frame, DropReason::TooBig);
        return;
    }
    // Only an IPv4 packet that may be fragmented, or whose sender's wish is not honoured, goes on in pieces.
    let too_big = match (inner.protocol, packet.reassembled.largest) {
        (protocol::IPV6, 0) => packet.ip_len > mtu,
        (protocol::IPV6, largest) => largest > mtu,
        _ => packet.ip_len > mtu && inner.dont_fragment && cx.snapshot.settings.pmtu_disc,
    };
    if too_big {
        let bytes = icmp::error(cx, &frame, packet, IcmpError::TooBig { mtu }, None);
        if bytes > 0 {
            cx.local.traffic.outgoing(target.id, bytes.into());
        }
        cx.drop(frame, DropReason::TooBig);
        return;
    }
    // Nobody can complete the inner checksum any more.
    if frame.rx_l4_checksum() == RxChecksum::Partial {
        transmit::complete_checksum(&mut frame, packet.l3);
    }
    frame.truncate(usize::from(packet.l3) + usize::from(packet.ip_len));
    if !frame.prepend(usize::from(overhead(source) + between)) {
        cx.drop(frame, DropReason::NoRoom);
        return;
    }
    let fragment = fragment_fields(cx, &inner);
    let at = usize::from(packet.l3);
    let ends = (source, target.address);
    let middle = at + usize::from(overhead(source));
    let outer = wrap::write(&mut frame, middle, target.tunnel, &inner, packet, ends);
    let written = outer.is_some_and(|protocol| {
        let inner = Inner { protocol, ..inner };
        let bytes = frame.head_mut().get_mut(at..).unwrap_or_default();
        let len = packet.ip_len.saturating_add(between);
        write_outer(bytes, &inner, len, ends, fragment)
    });
    if !written {
        cx.drop(frame, DropReason::NoRoom);
        return;
    }
    match reparse(&frame, packet.l3, next.interface) {
        Some(outer) => {
            let outer = Packet {
                reassembled: packet.reassembled,
                ..outer
            };
            if outer.reassembled.largest == 0 && outer.ip_len <= path {
                transmit::send(cx, frame, packet.l3, next);
                return;
            }
            // Linux copies an IPv4 packet for its tunnel: how it came is forgotten but for the size.
            let cut = match packet.addresses {
                Addresses::V4 { .. } => Cut::Even,
                Addresses::V6 { .. } => Cut::AsItCame,
            };
            let way = (To::Hop(next), cut);
            fragment_out::send(cx, frame, &outer, outer.cut_to(path), way);
        }
        _ => transmit::send(cx, frame, packet.l3, next),
    }
}

fn inner<F: Frame>(frame: &F, packet: &Packet) -> Option<Inner> {
    let bytes = frame.head().get(usize::from(packet.l3)..)?;
    Some(match packet.addresses {
        Addresses::V4 { .. } => {
            let (ip, _) = Ipv4::ref_from_prefix(bytes).ok()?;
            Inner {
                tos: ip.tos,
                ttl: ip.ttl,
                dont_fragment: ip.dont_fragment(),
                protocol: protocol::IPIP,
            }
        }
        Addresses::V6 { .. } => {
            let (ip, _) = Ipv6::ref_from_prefix(bytes).ok()?;
            Inner {
                tos: ip.traffic_class(),
                ttl: ip.hop_limit,
                dont_fragment: false,
                protocol: protocol::IPV6,
            }
        }
    })
}

/// "Don't fragment" and identification of the outer header.
#[inline]
pub(super) fn fragment_fields<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    inner: &Inner,
) -> (bool, u16) {
    if inner.dont_fragment && cx.snapshot.settings.pmtu_disc {
        (true, 0)
    } else {
        (false, cx.local.next_ip_id().unwrap_or(0))
    }
}

/// The outer header in front of a packet of `inner_len` bytes. False if it does not fit.
#[inline]
pub(super) fn write_outer(
    bytes: &mut [u8],
    inner: &Inner,
    inner_len: u16,
    (source, destination): (IpAddr, IpAddr),
    (dont_fragment, id): (bool, u16),
) -> bool {
    let tos = if inner.tos & 3 == 3 {
        inner.tos & !1
    } else {
        inner.tos
    };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4 {
                version_ihl: 0x45,
                tos,
                total_len: U16::new(inner_len.saturating_add(20)),
                id: U16::new(id),
                fragment: U16::new(if dont_fragment {
                    ipv4::DONT_FRAGMENT
                } else {
                    0
                }),
                ttl: inner.ttl,
                protocol: inner.protocol,
                checksum: U16::new(0),
                source: U32::new(source.to_bits()),
                destination: U32::new(destination.to_bits()),
            };
            header.fill_checksum();
            header.write_to_prefix(bytes).is_ok()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6 {
                version_class_flow: Ipv6::class(tos),
                payload_len: U16::new(inner_len),
                next_header: inner.protocol,
                hop_limit: inner.ttl,
                source: source.octets(),
                destination: destination.octets(),
            };
            header.write_to_prefix(bytes).is_ok()
        }
        _ => false,
    }
}
