//! What stands between the outer IP header of a tunnel and the packet: nothing, GRE (RFC 2784), or UDP and GUE version 0
//! (draft-ietf-intarea-gue), as Linux 6.1 writes them.

use super::tunnel::Inner;
use crate::{
    packet::{Addresses, Packet},
    transmit,
};
use std::net::IpAddr;
use types::{GueChecksum, Tunnel};
use wire::{Frame, Immutable, IntoBytes, Sum, U16, Udp, ethernet, protocol};

/// "A checksum is there": the only flag of a GRE header IPVS sets.
const GRE_CHECKSUM: u16 = 0x8000;
/// Bytes of a GRE header; a checksum and two reserved bytes may follow.
const GRE_LEN: usize = 4;
/// Source ports of GUE's outer UDP header: the dynamic ones (RFC 6335).
const FIRST_PORT: u16 = 0xc000;

/// Writes what `tunnel` has at `at` of `frame`, where room was made, with the packet behind it. Gives the protocol number for the
/// outer IP header; `None` if the room is not there.
pub(super) fn write<F: Frame>(
    frame: &mut F,
    at: usize,
    tunnel: Tunnel,
    inner: &Inner,
    packet: &Packet,
    ends: (IpAddr, IpAddr),
) -> Option<u8> {
    match tunnel {
        Tunnel::Ipip => Some(inner.protocol),
        Tunnel::Gre { checksum } => {
            let ethertype = match inner.protocol {
                protocol::IPV6 => ethernet::IPV6,
                _ => ethernet::IPV4,
            };
            let flags = if checksum { GRE_CHECKSUM } else { 0 };
            put(frame, at, &[U16::new(flags), U16::new(ethertype)])?;
            if checksum {
                put(frame, at + GRE_LEN, &[0u8; 4])?;
                let len = packet.ip_len.checked_add(tunnel.header_len())?;
                let sum = transmit::sum_of(frame, at, len.into()).finish();
                put(frame, at + GRE_LEN, &U16::new(sum))?;
            }
            Some(protocol::GRE)
        }
        Tunnel::Gue { port, checksum } => {
            let len = packet.ip_len.checked_add(tunnel.header_len())?;
            let udp = Udp {
                source: U16::new(source_port(packet)),
                destination: U16::new(port.get()),
                len: U16::new(len),
                checksum: U16::new(0),
            };
            put(frame, at, &udp)?;
            // Version 0 without options, the protocol, no flags.
            put(frame, at + wire::udp::LEN, &[0, inner.protocol, 0, 0])?;
            if checksum != GueChecksum::None {
                let mut sum = transmit::sum_of(frame, at, len.into());
                sum.add16(pseudo_header(ends, len).folded());
                let sum = match sum.finish() {
                    0 => 0xffff,
                    sum => sum,
                };
                put(frame, at + wire::udp::CHECKSUM_OFFSET, &U16::new(sum))?;
            }
            Some(protocol::UDP)
        }
    }
}

fn put<F: Frame, T: IntoBytes + Immutable>(frame: &mut F, at: usize, value: &T) -> Option<()> {
    let bytes = frame.head_mut().get_mut(at..)?;
    value.write_to_prefix(bytes).ok()
}

fn pseudo_header(ends: (IpAddr, IpAddr), len: u16) -> Sum {
    match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Sum::pseudo4(source.to_bits(), destination.to_bits(), protocol::UDP, len)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => Sum::pseudo6(
            source.to_bits(),
            destination.to_bits(),
            protocol::UDP,
            len.into(),
        ),
        _ => Sum::new(),
    }
}

/// The same for all packets of a connection, and spread over connections, so that the way to the server may be several.
#[expect(
    clippy::cast_possible_truncation,
    reason = "folded, then cut to 14 bits"
)]
fn source_port(packet: &Packet) -> u16 {
    /// 2^64 divided by the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |a: u128| (a >> 64) as u64 ^ a as u64;
    let addresses = match packet.addresses {
        Addresses::V4 {
            source,
            destination,
        } => u64::from(source) << 32 | u64::from(destination),
        Addresses::V6 {
            source,
            destination,
        } => fold(source) ^ fold(destination).rotate_left(32),
    };
    let ports = u64::from(packet.source_port) << 16 | u64::from(packet.destination_port);
    let mixed = (addresses.wrapping_mul(SPREAD) ^ ports).wrapping_mul(SPREAD);
    FIRST_PORT | (mixed >> 50) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Parsed, parse};
    use crate::testing::{World, desired};
    use sim::{VecFrame, packet};
    use std::collections::BTreeSet;

    #[test]
    fn a_connection_keeps_its_port_and_connections_spread() {
        let world = World::of(&desired());
        let port = |client: u16| {
            let packet = packet::Packet::tcp(
                std::net::SocketAddr::from(([172, 16, 0, 1], client)),
                "10.0.0.100:80".parse().unwrap(),
                2,
            );
            let frame = VecFrame::new(&packet.frame(crate::testing::mac("02:00:00:00:00:01")));
            match parse(&frame, types::PortId(0), &world.snapshot.net) {
                Parsed::Ip(packet) => source_port(&packet),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(port(4000), port(4000));
        let ports: BTreeSet<u16> = (4000..5000).map(port).collect();
        assert!(ports.len() > 900, "{}", ports.len());
        assert!(ports.iter().all(|p| *p >= FIRST_PORT));
    }
}
