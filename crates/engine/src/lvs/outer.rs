//! ICMP errors about a tunnel's outer header, from routers between the director and a real server: the client is told the same
//! of its own packet, by the virtual address, and what the way takes is remembered.

use super::{entry::method, family::Ip, related, tunnel};
use crate::{
    DropReason, Output,
    context::Context,
    icmp::{self, IcmpError},
    localstack,
    packet::{Addresses, Fragment, Packet, Reassembled},
};
use flowtable::{Side, Tuple, V4, V6};
use std::net::IpAddr;
use types::{ForwardingMethod, ServerId, Tunnel};
use wire::{
    Frame, FromBytes, Icmp, Ipv4, Udp,
    icmp::{LEN, v4, v6},
    ipv4, protocol,
};

/// What an ICMP error says.
#[derive(Clone, Copy)]
struct Said {
    kind: u8,
    code: u8,
    rest: u32,
}

/// The packet that was in the tunnel.
#[derive(Clone, Copy)]
struct Inside {
    /// Where it starts in the frame.
    at: usize,
    /// Bytes of it that are quoted.
    len: usize,
    /// [`protocol::IPIP`] or [`protocol::IPV6`].
    protocol: u8,
}

/// An ICMP message: given back unless it is an error about a tunnel packet of ours.
#[cold]
pub(super) fn icmp<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    match packet.addresses {
        Addresses::V4 { .. } => outside::<V4, F, O>(cx, frame, packet),
        Addresses::V6 { .. } => outside::<V6, F, O>(cx, frame, packet),
    }
}

fn outside<A: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    let Some((said, to, tunnel, inside)) = read::<A, F>(&frame, packet) else {
        return Err(frame);
    };
    let families = (packet.protocol, inside.protocol);
    // Linux knows IPv4 in IPv4 alone here.
    if cx.snapshot.settings.compat_ipvs && families != (protocol::ICMP, protocol::IPIP) {
        return Err(frame);
    }
    match inside.protocol {
        protocol::IPV6 => about::<V6, F, O>(cx, frame, packet, said, (to, tunnel), inside),
        _ => about::<V4, F, O>(cx, frame, packet, said, (to, tunnel), inside),
    }
}

/// The error, where the tunnel packet was going, how it was wrapped, and what was in it.
fn read<A: Ip, F: Frame>(frame: &F, packet: &Packet) -> Option<(Said, IpAddr, Kind, Inside)> {
    let end = usize::from(packet.l4) + usize::from(packet.payload_len());
    let head = frame.head();
    let head = head.get(..end).unwrap_or(head);
    let message = head.get(usize::from(packet.l4)..)?;
    let (header, quote) = Icmp::ref_from_prefix(message).ok()?;
    let told = match packet.protocol {
        protocol::ICMP => matches!(
            header.kind,
            v4::UNREACHABLE | v4::SOURCE_QUENCH | v4::TIME_EXCEEDED
        ),
        _ => v6::is_error(header.kind),
    };
    let outer = A::quoted(quote).filter(|_| told)?;
    let behind = quote.get(outer.l4..)?;
    let (kind, header_len, protocol) = between(outer.protocol, behind)?;
    let at = usize::from(packet.l4) + LEN + outer.l4 + header_len;
    let inside = Inside {
        at,
        len: head.len().checked_sub(at)?,
        protocol,
    };
    let said = Said {
        kind: header.kind,
        code: header.code,
        rest: header.rest.get(),
    };
    Some((said, A::ip(outer.destination), kind, inside))
}

/// What a tunnel packet shows of how it was wrapped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ipip,
    Gre,
    Gue(u16),
}

impl Kind {
    fn is(self, tunnel: Tunnel) -> bool {
        match tunnel {
            Tunnel::Ipip => self == Self::Ipip,
            Tunnel::Gre { .. } => self == Self::Gre,
            Tunnel::Gue { port, .. } => self == Self::Gue(port.get()),
        }
    }
}

/// How a packet is wrapped, in how many bytes, and the protocol number of what is inside.
fn between(outer: u8, behind: &[u8]) -> Option<(Kind, usize, u8)> {
    /// In a GRE header of ours: a checksum is there.
    const CHECKSUM: u8 = 0x80;
    match outer {
        protocol::IPIP | protocol::IPV6 => Some((Kind::Ipip, 0, outer)),
        protocol::GRE => {
            let (&[flags, 0, high, low], _) = behind.split_first_chunk::<4>()? else {
                return None;
            };
            let inside = match u16::from_be_bytes([high, low]) {
                wire::ethernet::IPV4 => protocol::IPIP,
                wire::ethernet::IPV6 => protocol::IPV6,
                _ => return None,
            };
            match flags {
                0 => Some((Kind::Gre, 4, inside)),
                CHECKSUM => Some((Kind::Gre, 8, inside)),
                _ => None,
            }
        }
        protocol::UDP => {
            let (udp, behind) = Udp::ref_from_prefix(behind).ok()?;
            let (&[0, inside @ (protocol::IPIP | protocol::IPV6), 0, 0], _) =
                behind.split_first_chunk::<4>()?
            else {
                return None;
            };
            Some((Kind::Gue(udp.destination.get()), 12, inside))
        }
        _ => None,
    }
}

fn about<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    said: Said,
    (to, kind): (IpAddr, Kind),
    inside: Inside,
) -> Result<(), F> {
    let Some((own, tuple)) = inner::<I, F>(&frame, packet, inside) else {
        return Err(frame);
    };
    let Some(entry) = related::find::<I, F, O>(cx, &tuple, Side::Virtual) else {
        return Err(frame);
    };
    let server = entry.server();
    let known = cx.snapshot.services.target(server).filter(|target| {
        method(entry.key().flags) == ForwardingMethod::Tunnel
            && target.address == to
            && kind.is(target.tunnel)
    });
    let Some(target) = known else {
        return Err(frame);
    };
    if !localstack::icmp_checksum_is_right(&frame, packet) {
        cx.drop(frame, DropReason::IcmpChecksum);
        return Ok(());
    }
    let header_len = tunnel::overhead(to) + target.tunnel.header_len();
    let error = match too_big(packet.protocol, said) {
        Some(mtu) => learn(
            cx,
            server,
            (mtu, target.mtu),
            header_len,
            may_cut::<F>(&frame, inside),
        ),
        None => translated(packet.protocol, inside.protocol, said),
    };
    if let Some(error) = error {
        icmp::error(cx, &frame, &own, error, Some(I::ip(entry.key().vaddr)));
        cx.local.traffic.outgoing(server, own.ip_len.into());
    }
    cx.drop(frame, DropReason::TunnelError);
    Ok(())
}

/// The MTU in a "fragmentation needed" or "packet too big".
fn too_big(icmp: u8, said: Said) -> Option<u16> {
    /// "Fragmentation needed and DF set".
    const FRAGMENTATION_NEEDED: u8 = 4;
    match (icmp, said.kind, said.code) {
        (protocol::ICMP, v4::UNREACHABLE, FRAGMENTATION_NEEDED) => {
            u16::try_from(said.rest & 0xffff).ok()
        }
        (protocol::ICMPV6, v6::TOO_BIG, _) => u16::try_from(said.rest).ok(),
        _ => None,
    }
}

/// Remembers what the way takes; what the client is to be told of it.
fn learn<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    server: ServerId,
    (mtu, link): (u16, u16),
    header_len: u16,
    may_cut: bool,
) -> Option<IcmpError> {
    let paths = &cx.shared.roster.paths;
    let was_known = paths.is_known(server);
    paths.learn(server, mtu, cx.now);
    let mtu = paths.mtu(server, link, cx.now);
    let mtu = match (cx.snapshot.settings.compat_ipvs, was_known) {
        // Linux allows for an IPv4 header alone, and the first time tells what it went by until then.
        (true, true) => mtu.saturating_sub(20),
        (true, false) => link.saturating_sub(20),
        (false, _) => mtu.saturating_sub(header_len),
    };
    (!may_cut).then_some(IcmpError::TooBig { mtu })
}

/// IPv4 without "don't fragment": its sender need not know.
fn may_cut<F: Frame>(frame: &F, inside: Inside) -> bool {
    inside.protocol == protocol::IPIP
        && frame
            .head()
            .get(inside.at..)
            .and_then(|ip| Ipv4::ref_from_prefix(ip).ok())
            .is_some_and(|(ip, _)| ip.fragment.get() & ipv4::DONT_FRAGMENT == 0)
}

/// The same error in the client's family. Across families a host that cannot be reached is all that is told (RFC 2473 8).
fn translated(icmp: u8, inside: u8, said: Said) -> Option<IcmpError> {
    let Said { kind, code, rest } = said;
    match (icmp, inside) {
        (protocol::ICMP, protocol::IPIP) | (protocol::ICMPV6, protocol::IPV6) => {
            Some(IcmpError::Relayed { kind, code, rest })
        }
        (protocol::ICMP, _) if kind == v4::UNREACHABLE => Some(IcmpError::HostUnreachable),
        (protocol::ICMPV6, _) if kind == v6::UNREACHABLE => Some(IcmpError::HostUnreachable),
        _ => None,
    }
}

/// The packet in the tunnel as far as it is quoted, and its connection.
fn inner<I: Ip, F: Frame>(
    frame: &F,
    packet: &Packet,
    inside: Inside,
) -> Option<(Packet, Tuple<I::Addr>)> {
    let bytes = frame.head().get(inside.at..)?;
    let bytes = bytes.get(..inside.len).unwrap_or(bytes);
    let quoted = I::quoted(bytes)?;
    let &[a, b, c, d] = bytes
        .get(quoted.l4..)?
        .first_chunk::<{ related::PORTS }>()?;
    let (client_port, other_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let addresses = match (I::ip(quoted.source), I::ip(quoted.destination)) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Addresses::V4 {
            source: source.to_bits(),
            destination: destination.to_bits(),
        },
        (IpAddr::V6(source), IpAddr::V6(destination)) => Addresses::V6 {
            source: source.to_bits(),
            destination: destination.to_bits(),
        },
        _ => return None,
    };
    let own = Packet {
        addresses,
        l3: u8::try_from(inside.at).ok()?,
        l4: u16::try_from(inside.at + quoted.l4).ok()?,
        ip_len: u16::try_from(bytes.len()).ok()?,
        protocol: quoted.protocol,
        source_port: client_port,
        destination_port: other_port,
        tcp_flags: 0,
        fragment: Fragment::No,
        reassembled: Reassembled::default(),
        ..*packet
    };
    let tuple = Tuple {
        protocol: quoted.protocol,
        client: quoted.source,
        client_port,
        other: quoted.destination,
        other_port,
    };
    Some((own, tuple))
}
