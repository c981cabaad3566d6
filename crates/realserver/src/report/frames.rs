//! The frames a check or probe sends. Control plane only: clarity over speed.

mod heard;

pub(super) use heard::{Heard, What, parse};

use pnet_base::MacAddr as PnetMac;
use pnet_packet::{
    arp::{ArpHardwareTypes, ArpOperation, MutableArpPacket},
    ethernet::{EtherType, EtherTypes, MutableEthernetPacket},
    icmp, icmpv6,
    ip::{IpNextHeaderProtocol, IpNextHeaderProtocols},
    ipv4::{self, Ipv4Flags, MutableIpv4Packet},
    ipv6::MutableIpv6Packet,
    tcp::{self, MutableTcpPacket, TcpFlags},
    udp::{self, MutableUdpPacket},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use types::MacAddr;

/// SYN and ACK together.
pub(super) const SYN_ACK: u8 = TcpFlags::SYN | TcpFlags::ACK;
/// Reset.
pub(super) const RST: u8 = TcpFlags::RST;

const fn pnet(mac: MacAddr) -> PnetMac {
    let [a, b, c, d, e, f] = mac.0;
    PnetMac(a, b, c, d, e, f)
}

fn ethernet(source: MacAddr, destination: MacAddr, kind: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 14 + payload.len().max(46)];
    if let Some(mut header) = MutableEthernetPacket::new(&mut frame) {
        header.set_source(pnet(source));
        header.set_destination(pnet(destination));
        header.set_ethertype(kind);
        header.set_payload(payload);
    }
    frame
}

/// An ARP frame; `to` is the Ethernet destination.
pub(super) fn arp(
    request: bool,
    source: (MacAddr, Ipv4Addr),
    to: MacAddr,
    target: (MacAddr, Ipv4Addr),
) -> Vec<u8> {
    let mut payload = [0; 28];
    if let Some(mut packet) = MutableArpPacket::new(&mut payload) {
        packet.set_hardware_type(ArpHardwareTypes::Ethernet);
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(6);
        packet.set_proto_addr_len(4);
        packet.set_operation(ArpOperation::new(if request { 1 } else { 2 }));
        packet.set_sender_hw_addr(pnet(source.0));
        packet.set_sender_proto_addr(source.1);
        packet.set_target_hw_addr(pnet(target.0));
        packet.set_target_proto_addr(target.1);
    }
    ethernet(source.0, to, EtherTypes::Arp, &payload)
}

/// A neighbour solicitation, or (`target_mac`) an advertisement.
pub(super) fn neighbour(
    solicit: bool,
    source: (MacAddr, Ipv6Addr),
    to: (MacAddr, Ipv6Addr),
    target: Ipv6Addr,
) -> Vec<u8> {
    // Type, code, checksum, flags (solicited, override), target, link-layer address option: RFC 4861 §4.3, §4.4.
    let mut payload = vec![
        if solicit { 135 } else { 136 },
        0,
        0,
        0,
        if solicit { 0 } else { 0x60 },
        0,
        0,
        0,
    ];
    payload.extend(target.octets());
    payload.extend([if solicit { 1 } else { 2 }, 1]);
    payload.extend(source.0.0);
    if let Some(packet) = icmpv6::Icmpv6Packet::new(&payload) {
        let sum = icmpv6::checksum(&packet, &source.1, &to.1).to_be_bytes();
        payload[2..4].copy_from_slice(&sum);
    }
    ip(
        (source.0, source.1.into()),
        (to.0, to.1.into()),
        IpNextHeaderProtocols::Icmpv6,
        &payload,
        255,
    )
}

/// ff02::1:ffXX:XXXX and its Ethernet address (RFC 4291 §2.7.1, RFC 2464 §7).
pub(super) fn solicited_node(address: Ipv6Addr) -> (MacAddr, Ipv6Addr) {
    let [.., a, b, c] = address.octets();
    let multicast = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    (MacAddr([0x33, 0x33, 0xff, a, b, c]), multicast)
}

fn ip(
    from: (MacAddr, IpAddr),
    to: (MacAddr, IpAddr),
    protocol: IpNextHeaderProtocol,
    payload: &[u8],
    hops: u8,
) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    match (from.1, to.1) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut packet = vec![0; 20 + payload.len()];
            if let Some(mut header) = MutableIpv4Packet::new(&mut packet) {
                header.set_version(4);
                header.set_header_length(5);
                header.set_total_length(length.saturating_add(20));
                header.set_flags(Ipv4Flags::DontFragment);
                header.set_ttl(hops);
                header.set_next_level_protocol(protocol);
                header.set_source(source);
                header.set_destination(destination);
                header.set_payload(payload);
                header.set_checksum(ipv4::checksum(&header.to_immutable()));
            }
            ethernet(from.0, to.0, EtherTypes::Ipv4, &packet)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut packet = vec![0; 40 + payload.len()];
            if let Some(mut header) = MutableIpv6Packet::new(&mut packet) {
                header.set_version(6);
                header.set_payload_length(length);
                header.set_next_header(protocol);
                header.set_hop_limit(hops);
                header.set_source(source);
                header.set_destination(destination);
                header.set_payload(payload);
            }
            ethernet(from.0, to.0, EtherTypes::Ipv6, &packet)
        }
        // Callers pair addresses of one family.
        _ => Vec::new(),
    }
}

/// A TCP segment without data: a SYN, or a reset that takes a connection back.
pub(super) fn tcp_segment(
    macs: (MacAddr, MacAddr),
    from: SocketAddr,
    to: SocketAddr,
    flags: u8,
    sequence: u32,
) -> Vec<u8> {
    let mut segment = [0; 20];
    if let Some(mut packet) = MutableTcpPacket::new(&mut segment) {
        packet.set_source(from.port());
        packet.set_destination(to.port());
        packet.set_sequence(sequence);
        packet.set_data_offset(5);
        packet.set_flags(flags);
        packet.set_window(1024);
        let packet = &mut packet;
        let sum = match (from.ip(), to.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => tcp::ipv4_checksum(&packet.to_immutable(), &a, &b),
            (IpAddr::V6(a), IpAddr::V6(b)) => tcp::ipv6_checksum(&packet.to_immutable(), &a, &b),
            _ => 0,
        };
        packet.set_checksum(sum);
    }
    ip(
        (macs.0, from.ip()),
        (macs.1, to.ip()),
        IpNextHeaderProtocols::Tcp,
        &segment,
        64,
    )
}

/// SYN.
pub(super) const SYN: u8 = TcpFlags::SYN;

/// A datagram of four zero bytes.
pub(super) fn udp_datagram(macs: (MacAddr, MacAddr), from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut datagram = [0; 12];
    if let Some(mut packet) = MutableUdpPacket::new(&mut datagram) {
        packet.set_source(from.port());
        packet.set_destination(to.port());
        packet.set_length(12);
        let sum = match (from.ip(), to.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => udp::ipv4_checksum(&packet.to_immutable(), &a, &b),
            (IpAddr::V6(a), IpAddr::V6(b)) => udp::ipv6_checksum(&packet.to_immutable(), &a, &b),
            _ => 0,
        };
        packet.set_checksum(sum);
    }
    ip(
        (macs.0, from.ip()),
        (macs.1, to.ip()),
        IpNextHeaderProtocols::Udp,
        &datagram,
        64,
    )
}

/// An echo request; the whole IP packet is `size` bytes, and must not be fragmented.
pub(super) fn echo(
    macs: (MacAddr, MacAddr),
    from: IpAddr,
    to: IpAddr,
    identifier: u16,
    size: usize,
) -> Vec<u8> {
    let header = if from.is_ipv4() { 20 } else { 40 };
    let mut message = vec![0; size.saturating_sub(header).max(8)];
    message[0] = if from.is_ipv4() { 8 } else { 128 };
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    let (sum, protocol) = match (from, to) {
        (IpAddr::V6(a), IpAddr::V6(b)) => (
            icmpv6::Icmpv6Packet::new(&message).map_or(0, |p| icmpv6::checksum(&p, &a, &b)),
            IpNextHeaderProtocols::Icmpv6,
        ),
        _ => (
            icmp::IcmpPacket::new(&message).map_or(0, |p| icmp::checksum(&p)),
            IpNextHeaderProtocols::Icmp,
        ),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip((macs.0, from), (macs.1, to), protocol, &message, 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn what_is_built_is_what_is_heard() {
        let frame = arp(
            true,
            (A, "10.0.0.1".parse().unwrap()),
            B,
            (MacAddr::default(), "10.0.0.9".parse().unwrap()),
        );
        assert_eq!(frame.len(), 60);
        let heard = parse(&frame).unwrap();
        assert_eq!((heard.source, heard.destination), (A, B));
        assert!(
            matches!(heard.what, What::Arp { request: true, target, .. } if target == Ipv4Addr::new(10, 0, 0, 9))
        );
        for (from, to) in [
            ("10.0.0.1:4000", "10.0.0.9:80"),
            ("[fd00::1]:4000", "[fd00::9]:80"),
        ] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            assert_eq!(
                parse(&tcp_segment((A, B), from, to, SYN, 7)).unwrap().what,
                What::Tcp {
                    from,
                    to,
                    flags: SYN,
                    sequence: 7
                }
            );
            assert_eq!(
                parse(&udp_datagram((A, B), from, to)).unwrap().what,
                What::Udp { from, to }
            );
        }
        let (mac, group) = solicited_node("fd00::12:3456".parse().unwrap());
        let frame = neighbour(
            true,
            (A, "fd00::1".parse().unwrap()),
            (mac, group),
            "fd00::12:3456".parse().unwrap(),
        );
        assert!(
            matches!(parse(&frame).unwrap().what, What::Solicit { target, .. } if target == "fd00::12:3456".parse::<Ipv6Addr>().unwrap())
        );
    }

    #[test]
    fn an_echo_is_as_long_as_asked() {
        assert_eq!(
            echo(
                (A, B),
                "10.0.0.1".parse().unwrap(),
                "10.0.0.9".parse().unwrap(),
                1,
                1500
            )
            .len(),
            1514
        );
        assert_eq!(
            echo(
                (A, B),
                "fd00::1".parse().unwrap(),
                "fd00::9".parse().unwrap(),
                1,
                1500
            )
            .len(),
            1514
        );
    }

    proptest! {
        #[test]
        fn no_frame_makes_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0usize..4) {
            if let Some(ethertype) = bytes.get_mut(12..14) {
                ethertype.copy_from_slice(&[[8, 0], [8, 6], [0x86, 0xdd], [0, 0]][kind]);
            }
            parse(&bytes);
        }
    }
}
