//! The frame a described packet would come in.

use api::packet::{IcmpKind, PacketKind, PacketSpec};
use engine::model::Interface;
use std::net::{IpAddr, SocketAddr};
use wire::{
    FragmentHeader, Icmp, IntoBytes as _, Ipv4, Ipv6, Sctp, Sum, Tcp, U16, U32, Udp, ethernet,
    icmp, ipv4, protocol, sctp, tcp, udp,
};

/// The sender: a station nobody has.
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Bytes of a packet an ICMP error quotes.
const QUOTED: usize = 128;
/// SCTP's chunk header with a little behind it.
const CHUNK_LEN: u16 = 20;

/// The frame, as it would be received through `interface`.
pub fn frame(packet: &PacketSpec, interface: &Interface) -> Vec<u8> {
    let mut frame = interface.mac.0.to_vec();
    frame.extend(SENDER);
    if let Some(vlan) = interface.vlan {
        frame.extend(ethernet::VLAN.to_be_bytes());
        frame.extend(vlan.get().to_be_bytes());
    }
    let kind = if packet.source.is_ipv4() {
        ethernet::IPV4
    } else {
        ethernet::IPV6
    };
    frame.extend(kind.to_be_bytes());
    frame.extend(ip(packet));
    frame
}

fn ip(packet: &PacketSpec) -> Vec<u8> {
    let (mut number, mut upper) = upper(packet);
    let class = packet.dscp << 2;
    let (mut id, mut fragment) = (1, ipv4::DONT_FRAGMENT);
    if let Some(part) = packet.fragment {
        let end = usize::from(part.offset) + usize::from(part.length);
        upper.truncate(end);
        upper.drain(..usize::from(part.offset).min(upper.len()));
        let more = packet.more_fragments();
        id = part.id;
        fragment = part.offset / 8;
        if more {
            fragment |= ipv4::MORE_FRAGMENTS;
        }
        if !packet.source.is_ipv4() {
            let header = FragmentHeader {
                next_header: number,
                reserved: 0,
                offset_more: U16::new(part.offset | u16::from(more)),
                id: U32::new(id.into()),
            };
            number = protocol::FRAGMENT;
            upper.splice(..0, header.as_bytes().iter().copied());
        }
    }
    let mut bytes = match (packet.source.ip(), packet.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4 {
                version_ihl: 0x45,
                tos: class,
                total_len: U16::new(length(ipv4::LEN + upper.len())),
                id: U16::new(id),
                fragment: U16::new(fragment),
                ttl: packet.ttl,
                protocol: number,
                checksum: U16::new(0),
                source: U32::new(source.to_bits()),
                destination: U32::new(destination.to_bits()),
            };
            header.fill_checksum();
            header.as_bytes().to_vec()
        }
        (source, destination) => Ipv6 {
            version_class_flow: Ipv6::class(class),
            payload_len: U16::new(length(upper.len())),
            next_header: number,
            hop_limit: packet.ttl,
            source: bits(source).to_be_bytes(),
            destination: bits(destination).to_be_bytes(),
        }
        .as_bytes()
        .to_vec(),
    };
    bytes.extend(upper);
    bytes
}

/// Protocol number, and header and payload with the right checksum.
fn upper(packet: &PacketSpec) -> (u8, Vec<u8>) {
    let (from, to) = (packet.source.port(), packet.destination.port());
    let (source, destination) = (U16::new(from), U16::new(to));
    let checksum = U16::new(0);
    let payload = usize::from(packet.payload);
    let (protocol, header, place) = match &packet.kind {
        PacketKind::Tcp(flags) => {
            let header = Tcp {
                source,
                destination,
                sequence: U32::new(1),
                acknowledgement: U32::new(u32::from(flags & tcp::ACK != 0)),
                data_offset: 5 << 4,
                flags: *flags,
                window: U16::new(65535),
                checksum,
                urgent: U16::new(0),
            };
            let header = header.as_bytes().to_vec();
            (protocol::TCP, header, tcp::CHECKSUM_OFFSET)
        }
        PacketKind::Udp => {
            let len = U16::new(length(udp::LEN + payload));
            let header = Udp {
                source,
                destination,
                len,
                checksum,
            };
            let header = header.as_bytes().to_vec();
            (protocol::UDP, header, udp::CHECKSUM_OFFSET)
        }
        PacketKind::Sctp(chunk) => {
            return (
                protocol::SCTP,
                sctp_packet((source, destination), *chunk, payload),
            );
        }
        PacketKind::Echo | PacketKind::Error(..) => {
            let v4 = packet.source.is_ipv4();
            let (kind, code, rest, quoted) = message(&packet.kind, v4);
            let header = Icmp {
                kind,
                code,
                checksum,
                rest: U32::new(rest),
            };
            let mut header = header.as_bytes().to_vec();
            header.extend(quoted);
            let number = if v4 { protocol::ICMP } else { protocol::ICMPV6 };
            (number, header, CHECKSUM_OF_ICMP)
        }
    };
    let mut bytes = header;
    bytes.resize(bytes.len() + payload, 0);
    let mut sum = pseudo(packet.source, packet.destination, protocol, bytes.len());
    sum.add(&bytes);
    if let Some(field) = bytes.get_mut(place..place + 2) {
        field.copy_from_slice(&sum.finish().to_be_bytes());
    }
    (protocol, bytes)
}

const CHECKSUM_OF_ICMP: usize = std::mem::offset_of!(Icmp, checksum);

/// Type, code, the rest of the header, and the packet an error quotes.
fn message(kind: &PacketKind, v4: bool) -> (u8, u8, u32, Vec<u8>) {
    let PacketKind::Error(said, about) = kind else {
        let echo = if v4 { icmp::v4::ECHO } else { icmp::v6::ECHO };
        return (echo, 0, 0x0001_0001, Vec::new());
    };
    let (kind, code, rest) = match (said, v4) {
        (IcmpKind::Unreachable, true) => (icmp::v4::UNREACHABLE, 3, 0),
        (IcmpKind::Unreachable, false) => (icmp::v6::UNREACHABLE, 4, 0),
        (IcmpKind::Exceeded, true) => (icmp::v4::TIME_EXCEEDED, 0, 0),
        (IcmpKind::Exceeded, false) => (icmp::v6::TIME_EXCEEDED, 0, 0),
        (IcmpKind::TooBig(mtu), true) => (icmp::v4::UNREACHABLE, 4, *mtu),
        (IcmpKind::TooBig(mtu), false) => (icmp::v6::TOO_BIG, 0, *mtu),
    };
    let mut quoted = ip(about);
    quoted.truncate(QUOTED);
    (kind, code, rest.into(), quoted)
}

fn sctp_packet((source, destination): (U16, U16), chunk: u8, payload: usize) -> Vec<u8> {
    let header = Sctp {
        source,
        destination,
        verification_tag: [0, 0, 0, 1],
        checksum: [0; 4],
    };
    let mut bytes = header.as_bytes().to_vec();
    let [high, low] = CHUNK_LEN.to_be_bytes();
    bytes.extend([chunk, 0, high, low]);
    bytes.resize(sctp::LEN + usize::from(CHUNK_LEN) + payload, 0);
    let mut crc = sctp::Crc32c::default();
    crc.add(&bytes);
    let place = std::mem::offset_of!(Sctp, checksum);
    if let Some(field) = bytes.get_mut(place..place + 4) {
        field.copy_from_slice(&crc.finish());
    }
    bytes
}

fn pseudo(source: SocketAddr, destination: SocketAddr, number: u8, len: usize) -> Sum {
    let len = length(len);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(_), _) if number == protocol::ICMP => Sum::new(),
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Sum::pseudo4(from.to_bits(), to.to_bits(), number, len)
        }
        (from, to) => Sum::pseudo6(bits(from), bits(to), number, len.into()),
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// A description says no more than 9,000 bytes.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::packet;

    /// Fragments one after the other are the packet.
    #[test]
    fn fragments_are_parts_of_the_whole() {
        for (ends, header) in [("1.1.1.1:5 > 2.2.2.2:6", 20), ("[::1]:5 > [::2]:6", 40)] {
            let bytes = |more: &str| {
                let text = format!("udp {ends} payload 100{more}");
                ip(&packet::parse(&text).unwrap())
            };
            let whole = bytes("");
            let (first, last) = (bytes(" fragment 0+56 id 7"), bytes(" fragment 56+52 id 7"));
            let own = if header == 20 { 20 } else { 48 };
            assert_eq!([&first[own..], &last[own..]].concat(), whole[header..]);
            let fields: [[u8; 4]; 2] = if header == 20 {
                // Identification; more fragments, the offset in eights.
                assert_eq!(first[6..8], [0x20, 0]);
                assert_eq!(last[6..8], [0, 7]);
                [[0, 0, first[4], first[5]], [0, 0, last[4], last[5]]]
            } else {
                assert_eq!((first[6], first[40], last[40]), (44, 17, 17));
                assert_eq!((&first[42..44], &last[42..44]), (&[0, 1][..], &[0, 56][..]));
                [0, 1].map(|n| [&first, &last][n][44..48].try_into().unwrap())
            };
            assert_eq!(fields, [[0, 0, 0, 7]; 2]);
        }
    }
}
