//! A frame in a line of words, and where two frames part: for messages only.

use super::{compare::from_hex, recording::OutFrame};
use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};
use wire::{Ethernet, FromBytes, Icmp, Ipv4, Ipv6, Tcp, ethernet, ipv6, protocol, tcp};

/// What the frame is, as recordings put it: `tcp 172.16.0.1:108 > 10.0.0.100:80 S ttl=64`.
#[must_use]
pub fn frame(bytes: &[u8]) -> String {
    let Ok((ether, rest)) = Ethernet::ref_from_prefix(bytes) else {
        return format!("{} bytes, no Ethernet frame", bytes.len());
    };
    match ether.ethertype.get() {
        ethernet::IPV4 => ipv4(rest),
        ethernet::IPV6 => ipv6(rest),
        other => Some(format!("ethertype {other:#06x}, {} bytes", bytes.len())),
    }
    .unwrap_or_else(|| format!("{} bytes cut off in a header", bytes.len()))
}

fn ipv4(packet: &[u8]) -> Option<String> {
    let (ip, _) = Ipv4::ref_from_prefix(packet).ok()?;
    let (from, to) = (
        IpAddr::from(ip.source.get().to_be_bytes()),
        IpAddr::from(ip.destination.get().to_be_bytes()),
    );
    let offset = ip.fragment_offset();
    let l4 = packet.get(ip.header_len()..)?;
    let mut text = if offset == 0 {
        upper(ip.protocol, from, to, l4)
    } else {
        format!(
            "protocol {} {from} > {to} fragment at {offset}",
            ip.protocol
        )
    };
    let _ = write!(text, " ttl={}", ip.ttl);
    Some(text)
}

fn ipv6(packet: &[u8]) -> Option<String> {
    let (ip, rest) = Ipv6::ref_from_prefix(packet).ok()?;
    let (from, to) = (IpAddr::from(ip.source), IpAddr::from(ip.destination));
    let mut text = match ipv6::upper_layer(packet, ip.next_header) {
        Ok(above) if above.fragment != Some(false) => {
            upper(above.protocol, from, to, packet.get(above.offset..)?)
        }
        _ => format!("{from} > {to}, {} bytes", rest.len()),
    };
    let _ = write!(text, " ttl={}", ip.hop_limit);
    Some(text)
}

fn upper(number: u8, from: IpAddr, to: IpAddr, l4: &[u8]) -> String {
    let port = |at: usize| Some(u16::from_be_bytes([*l4.get(at)?, *l4.get(at + 1)?]));
    let between = || {
        let (source, destination) = (port(0)?, port(2)?);
        let from = SocketAddr::new(from, source);
        Some(format!("{from} > {}", SocketAddr::new(to, destination)))
    };
    let ends = || between().unwrap_or_else(|| format!("{from} > {to}"));
    match number {
        protocol::TCP => {
            let flags = Tcp::ref_from_prefix(l4).map_or(0, |(tcp, _)| tcp.flags);
            format!("tcp {} {}", ends(), tcp_flags(flags))
        }
        protocol::UDP => format!("udp {}", ends()),
        protocol::ICMP | protocol::ICMPV6 => {
            let kind = Icmp::ref_from_prefix(l4)
                .map(|(icmp, _)| format!("{}/{}", icmp.kind, icmp.code))
                .unwrap_or_default();
            format!("icmp {from} > {to} {kind}")
        }
        other => format!("protocol {other} {from} > {to}"),
    }
}

fn tcp_flags(flags: u8) -> String {
    let letters = [
        (tcp::SYN, 'S'),
        (tcp::FIN, 'F'),
        (tcp::RST, 'R'),
        (tcp::ACK, 'A'),
    ];
    let set = letters.iter().filter(|(bit, _)| flags & bit != 0);
    set.map(|(_, letter)| letter).collect()
}

/// The first byte in which a found frame is not the recorded one, in words.
pub(super) fn first_difference(expected: &OutFrame, found: &[u8]) -> String {
    let want = from_hex(&expected.frame).unwrap_or_default();
    if want.len() != found.len() {
        return format!("{} bytes recorded, {} found", want.len(), found.len());
    }
    let volatile = |at: &usize| expected.volatile.iter().any(|[a, b]| (a..b).contains(&at));
    let differs = |at: &usize| want.get(*at) != found.get(*at) && !volatile(at);
    (0..want.len()).find(differs).map_or_else(
        || "the same".to_owned(),
        |at| {
            format!(
                "byte {at}: {:02x} recorded, {:02x} found",
                want[at], found[at]
            )
        },
    )
}
