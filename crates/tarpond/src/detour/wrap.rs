//! A packet of the host's in a tunnel, as the engine wraps clients' packets.

use super::packet::{ETHERNET, Packet, octets};
use std::net::IpAddr;
use types::{GueChecksum, Tunnel};
use wire::{Sum, protocol};

/// Of the outer header.
const TTL: u8 = 64;
/// Source port of GUE's outer UDP header.
const GUE_SOURCE: u16 = 0xc000;

/// Puts the packet of `frame` into a tunnel between these ends.
pub(super) fn wrap(
    frame: &mut Vec<u8>,
    tunnel: Tunnel,
    (from, to): (IpAddr, IpAddr),
) -> Option<()> {
    let packet = Packet::read(frame)?;
    let inner = frame.get(packet.at..packet.end)?;
    let (inner_protocol, inner_type) = match packet.source {
        IpAddr::V4(_) => (protocol::IPIP, wire::ethernet::IPV4),
        IpAddr::V6(_) => (protocol::IPV6, wire::ethernet::IPV6),
    };
    let (number, between) = match tunnel {
        Tunnel::Ipip => (inner_protocol, Vec::new()),
        Tunnel::Gre { checksum } => (protocol::GRE, gre(checksum, inner_type, inner)),
        Tunnel::Gue { port, checksum } => {
            let ends = (from, to);
            (
                protocol::UDP,
                gue(port.get(), checksum, inner_protocol, inner, ends)?,
            )
        }
    };
    let behind = u16::try_from(between.len() + inner.len()).ok()?;
    let header = outer((from, to), number, behind)?;
    let ethertype = match from {
        IpAddr::V4(_) => wire::ethernet::IPV4,
        IpAddr::V6(_) => wire::ethernet::IPV6,
    };
    frame.truncate(packet.end);
    frame
        .get_mut(12..ETHERNET)?
        .copy_from_slice(&ethertype.to_be_bytes());
    frame.splice(ETHERNET..ETHERNET, header.into_iter().chain(between));
    Some(())
}

fn outer((from, to): (IpAddr, IpAddr), number: u8, behind: u16) -> Option<Vec<u8>> {
    let mut header = Vec::with_capacity(40);
    if from.is_ipv4() {
        header.extend([0x45, 0]);
        header.extend(behind.checked_add(20)?.to_be_bytes());
        header.extend([0, 0, 0, 0, TTL, number, 0, 0]);
    } else {
        header.extend([0x60, 0, 0, 0]);
        header.extend(behind.to_be_bytes());
        header.extend([number, TTL]);
    }
    header.extend(octets(from));
    header.extend(octets(to));
    if from.is_ipv4() {
        wire::ipv4::fill_checksum(&mut header).then_some(())?;
    }
    Some(header)
}

fn gre(checksum: bool, inner_type: u16, inner: &[u8]) -> Vec<u8> {
    let mut header = vec![if checksum { 0x80 } else { 0 }, 0];
    header.extend(inner_type.to_be_bytes());
    if checksum {
        let mut sum = Sum::new();
        sum.add(&header);
        sum.add(inner);
        header.extend(sum.finish().to_be_bytes());
        header.extend([0, 0]);
    }
    header
}

fn gue(
    port: u16,
    checksum: GueChecksum,
    inner_protocol: u8,
    inner: &[u8],
    ends: (IpAddr, IpAddr),
) -> Option<Vec<u8>> {
    let length = u16::try_from(12 + inner.len()).ok()?;
    let mut header = Vec::with_capacity(12);
    for word in [GUE_SOURCE, port, length, 0] {
        header.extend(word.to_be_bytes());
    }
    // Version 0 without options, the protocol, no flags.
    header.extend([0, inner_protocol, 0, 0]);
    if checksum != GueChecksum::None {
        let mut sum = match ends {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Sum::pseudo4(from.to_bits(), to.to_bits(), protocol::UDP, length)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Sum::pseudo6(from.to_bits(), to.to_bits(), protocol::UDP, length.into())
            }
            _ => return None,
        };
        sum.add(&header);
        sum.add(inner);
        let sum = match sum.finish() {
            0 => 0xffff,
            sum => sum,
        };
        header.get_mut(6..8)?.copy_from_slice(&sum.to_be_bytes());
    }
    Some(header)
}
