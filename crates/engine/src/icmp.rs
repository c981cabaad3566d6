//! ICMP and ICMPv6 errors, as Linux builds them (`icmp_send`, `icmp6_send`): when one is due, from which address, how
//! much is quoted.

use crate::{
    Output,
    context::Context,
    datagram::{self, Header},
    net::Local,
    packet::{Addresses, Fragment, Packet},
    transmit,
};
use std::net::IpAddr;
use wire::{
    Frame, FromBytes, Icmp, IntoBytes, Ipv4, U16, U32,
    icmp::{LEN, v4, v6},
    ipv4, ipv6, protocol,
};

/// Bytes of an IPv4 error in all: RFC 1812 4.3.2.3.
const LARGEST4: usize = 576;
/// Bytes of an IPv6 error in all: the minimum MTU (RFC 4443 2.4 c).
const LARGEST6: usize = 1280;
/// Internetwork control: the precedence of errors (RFC 1812 4.3.2.5). The TOS bits are the packet's.
const PRECEDENCE: u8 = 0xc0;
const TOS_BITS: u8 = 0x1e;
/// The highest ICMP type Linux knows; it never answers a higher one with an error.
const KNOWN_TYPES: u8 = 18;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IcmpError {
    /// Nobody listens on the port.
    PortUnreachable,
    /// The next hop does not answer.
    HostUnreachable,
    /// No route.
    NetUnreachable,
    /// Nobody speaks the protocol.
    ProtocolUnreachable,
    /// Time to live or hop limit used up.
    TimeExceeded,
    /// The other fragments did not come in time.
    ReassemblyTime,
    /// Fragmentation needed, packet too big.
    TooBig {
        /// What the way out takes.
        mtu: u16,
    },
    /// What another router has said, in the words of the packet's own family.
    Relayed {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The rest of the header.
        rest: u32,
    },
}

impl IcmpError {
    /// Type, code and the rest of the header. `next_header_at`: where the packet names its protocol.
    fn header(self, ipv4: bool, next_header_at: u32) -> (u8, u8, u32) {
        match (self, ipv4) {
            (Self::Relayed { kind, code, rest }, _) => (kind, code, rest),
            (Self::NetUnreachable, true) => (v4::UNREACHABLE, 0, 0),
            (Self::HostUnreachable, true) => (v4::UNREACHABLE, 1, 0),
            (Self::ProtocolUnreachable, true) => (v4::UNREACHABLE, 2, 0),
            (Self::PortUnreachable, true) => (v4::UNREACHABLE, 3, 0),
            (Self::TooBig { mtu }, true) => (v4::UNREACHABLE, 4, mtu.into()),
            (Self::ReassemblyTime, true) => (v4::TIME_EXCEEDED, 1, 0),
            (Self::ReassemblyTime, false) => (v6::TIME_EXCEEDED, 1, 0),
            (Self::TimeExceeded, true) => (v4::TIME_EXCEEDED, 0, 0),
            (Self::NetUnreachable, false) => (v6::UNREACHABLE, 0, 0),
            (Self::HostUnreachable, false) => (v6::UNREACHABLE, 3, 0),
            (Self::PortUnreachable, false) => (v6::UNREACHABLE, 4, 0),
            (Self::TooBig { mtu }, false) => (v6::TOO_BIG, 0, u32::from(mtu).max(1280)),
            (Self::TimeExceeded, false) => (v6::TIME_EXCEEDED, 0, 0),
            // "Unrecognized next header", pointing at it (RFC 4443 3.4).
            (Self::ProtocolUnreachable, false) => (v6::PARAMETER_PROBLEM, 1, next_header_at),
        }
    }
}

/// Tells the sender of `about` what is wrong, if that is allowed and the rate permits. `about` stays the caller's, to
/// be dropped. `packet.l3` and `packet.ip_len` tell what is quoted; the quote is of the bytes as they are now.
///
/// `source`: `None` is Linux's choice: the address the packet was sent to if it is ours (a VIP too), else that of the
/// interface towards the sender.
///
/// Gives the bytes of the IP packet that was sent, 0 if none was.
#[cold]
pub(crate) fn error<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    about: &F,
    packet: &Packet,
    what: IcmpError,
    source: Option<IpAddr>,
) -> u16 {
    if !is_due(cx, about, packet, what) {
        return 0;
    }
    let net = &cx.snapshot.net;
    let destination = packet.addresses.source();
    let Some(next) = net.route_back(destination, packet.interface) else {
        return 0;
    };
    let to = packet.addresses.destination();
    let ours = matches!(net.local(to), Some(Local::Own(_) | Local::Vip)).then_some(to);
    let Some(source) = source
        .filter(|s| s.is_ipv4() == destination.is_ipv4())
        .or(ours)
        .or_else(|| net.source_for(destination, next))
    else {
        return 0;
    };
    if !cx.may_answer() {
        return 0;
    }
    let is4 = destination.is_ipv4();
    let header = Header {
        source,
        destination,
        protocol: if is4 {
            protocol::ICMP
        } else {
            protocol::ICMPV6
        },
        tos: if is4 {
            tos_of(about, packet) & TOS_BITS | PRECEDENCE
        } else {
            0
        },
        ttl: cx.snapshot.settings.default_ttl,
        id: cx.local.next_ip_id(),
    };
    let largest = if is4 { LARGEST4 } else { LARGEST6 };
    let quoted = usize::from(packet.ip_len).min(largest - header.len() - LEN);
    let (kind, code, rest) = what.header(is4, next_header_at(about, packet));
    let Some(mut frame) = cx.generated() else {
        return 0;
    };
    let Some(payload) = datagram::begin(&mut frame, &header, LEN + quoted) else {
        cx.drop(frame, crate::DropReason::NoRoom);
        return 0;
    };
    let icmp = Icmp {
        kind,
        code,
        checksum: U16::new(0),
        rest: U32::new(rest),
    };
    let _ = icmp.write_to_prefix(payload);
    if let Some(quote) = payload.get_mut(LEN..) {
        datagram::copy(about, packet.l3.into(), quote);
    }
    datagram::seal(&header, payload, 2);
    transmit::send(cx, frame, datagram::L3, next);
    u16::try_from(header.len() + LEN + quoted).unwrap_or(0)
}

/// RFC 1122 3.2.2, RFC 4443 2.4 e: never about an error, a later fragment, a broadcast or multicast, or to a source
/// that is nobody.
fn is_due<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    about: &F,
    packet: &Packet,
    what: IcmpError,
) -> bool {
    if packet.fragment == Fragment::Later {
        return false;
    }
    let net = &cx.snapshot.net;
    // Packet too big alone may be about a multicast, so that path MTU discovery works there.
    let about_group = packet.link_group || packet.addresses.destination().is_multicast();
    let group_allowed = matches!(what, IcmpError::TooBig { .. });
    match packet.addresses {
        Addresses::V4 {
            source,
            destination,
        } => {
            !about_group
                && destination != u32::MAX
                && net.local4(destination) != Some(Local::Broadcast)
                && source != 0
                && net.local4(source).is_none()
                && (packet.protocol != protocol::ICMP
                    || upper_kind(about, packet)
                        .is_some_and(|kind| kind <= KNOWN_TYPES && !v4::is_error(kind)))
        }
        Addresses::V6 { source, .. } => {
            (!about_group || group_allowed)
                && source != 0
                && net.local6(source).is_none()
                && (packet.protocol != protocol::ICMPV6
                    || upper_kind(about, packet).is_some_and(|kind| !v6::is_error(kind)))
        }
    }
}

/// The ICMP type of the packet.
fn upper_kind<F: Frame>(about: &F, packet: &Packet) -> Option<u8> {
    about.head().get(usize::from(packet.l4)).copied()
}

fn tos_of<F: Frame>(about: &F, packet: &Packet) -> u8 {
    about
        .head()
        .get(usize::from(packet.l3)..)
        .and_then(|ip| Ipv4::ref_from_prefix(ip).ok())
        .map_or(0, |(ip, _)| ip.tos)
}

/// Where, from the IPv6 header on, the byte stands that names the upper-layer protocol.
fn next_header_at<F: Frame>(about: &F, packet: &Packet) -> u32 {
    const IN_FIXED_HEADER: u32 = 6;
    let head = about.head();
    let Some(ip) = head.get(usize::from(packet.l3)..) else {
        return IN_FIXED_HEADER;
    };
    let above = usize::from(packet.header_len());
    if above <= ipv6::LEN {
        return IN_FIXED_HEADER;
    }
    // The last extension header's first byte: the one from which the walk arrives at the upper layer.
    let mut at = ipv6::LEN;
    let mut kind = ip.get(6).copied().unwrap_or(protocol::NO_NEXT);
    while at < above {
        let (Some(&next), Some(&words)) = (ip.get(at), ip.get(at + 1)) else {
            break;
        };
        let len = match kind {
            protocol::FRAGMENT => ipv6::FRAGMENT_LEN,
            51 => (usize::from(words) + 2) * 4,
            _ => (usize::from(words) + 1) * 8,
        };
        if at + len >= above {
            break;
        }
        kind = next;
        at += len;
    }
    u32::try_from(at).unwrap_or(IN_FIXED_HEADER)
}

const _: () = assert!(LARGEST4 - ipv4::LEN - LEN == 548);
