//! Packets with every field at hand, right or wrong on purpose.

use crate::golden::Topology;
use std::net::{IpAddr, SocketAddr};
use types::MacAddr;
use wire::{
    Ethernet, FragmentHeader, FromBytes, IntoBytes, Ipv4, Ipv6, Sum, U16, U32, checksum, ethernet,
    ipv4, protocol, sctp::Crc32c,
};

/// A packet to be built.
#[derive(Clone, Debug)]
pub(super) struct Crafted {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub ttl: u8,
    pub tos: u8,
    pub id: u16,
    /// Flags and offset of IPv4.
    pub fragment: u16,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    /// Bytes behind the packet.
    pub padding: usize,
    /// The IPv4 header checksum is wrong.
    pub wrong_header: bool,
}

impl Crafted {
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8, payload: Vec<u8>) -> Self {
        Self {
            source,
            destination,
            protocol,
            ttl: 64,
            tos: 0,
            id: 0x1234,
            fragment: ipv4::DONT_FRAGMENT,
            options: Vec::new(),
            payload,
            padding: 0,
            wrong_header: false,
        }
    }

    /// The IP packet.
    pub fn packet(&self) -> Vec<u8> {
        let mut packet = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = ipv4::LEN + self.options.len();
                let ip = Ipv4 {
                    version_ihl: 0x40 | u8::try_from(header / 4).unwrap_or(5),
                    tos: self.tos,
                    total_len: U16::new(length(header + self.payload.len())),
                    id: U16::new(self.id),
                    fragment: U16::new(self.fragment),
                    ttl: self.ttl,
                    protocol: self.protocol,
                    checksum: U16::new(0),
                    source: U32::new(source.to_bits()),
                    destination: U32::new(destination.to_bits()),
                };
                let mut bytes = ip.as_bytes().to_vec();
                bytes.extend_from_slice(&self.options);
                let mut sum = Sum::new();
                sum.add(&bytes);
                let checksum = sum.finish() ^ u16::from(self.wrong_header);
                bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
                bytes
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6 {
                version_class_flow: Ipv6::class(self.tos),
                payload_len: U16::new(length(self.payload.len())),
                next_header: self.protocol,
                hop_limit: self.ttl,
                source: source.octets(),
                destination: destination.octets(),
            }
            .as_bytes()
            .to_vec(),
            _ => Vec::new(),
        };
        packet.extend_from_slice(&self.payload);
        packet
    }

    /// IPv4 without options: the same in fragments that end behind these bytes of its payload.
    pub fn fragments(&self, cuts: &[usize]) -> Vec<Self> {
        let mut from = 0;
        let ends = cuts.iter().copied().chain([self.payload.len()]);
        ends.map(|to| {
            let more = if to < self.payload.len() {
                ipv4::MORE_FRAGMENTS
            } else {
                0
            };
            let piece = Self {
                payload: self.payload.get(from..to).unwrap_or_default().to_vec(),
                fragment: length(from / 8) | more,
                ..self.clone()
            };
            from = to;
            piece
        })
        .collect()
    }

    /// The frame that brings it to the director's interface of `side`.
    pub fn frame(&self, side: &str, topology: &Topology) -> Vec<u8> {
        framed(side, topology, &self.packet(), self.padding)
    }
}

/// A frame whose packet's identification is higher by `shift`, its header's checksum as right or wrong as it was.
pub(super) fn renumbered(frame: &[u8], shift: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let Ok((ether, packet)) = Ethernet::mut_from_prefix(&mut frame) else {
        return frame;
    };
    match ether.ethertype.get() {
        ethernet::IPV4 => {
            if let Ok((ip, _)) = Ipv4::mut_from_prefix(packet) {
                let new = ip.id.get().wrapping_add(shift);
                let sum = checksum::update16(ip.checksum.get(), ip.id.get(), new);
                ip.checksum.set(sum);
                ip.id.set(new);
            }
        }
        ethernet::IPV6 => {
            let fragment = Ipv6::mut_from_prefix(packet)
                .ok()
                .filter(|(ip, _)| ip.next_header == protocol::FRAGMENT);
            if let Some((_, rest)) = fragment
                && let Ok((fragment, _)) = FragmentHeader::mut_from_prefix(rest)
            {
                fragment
                    .id
                    .set(fragment.id.get().wrapping_add(shift.into()));
            }
        }
        _ => {}
    }
    frame
}

/// An IP packet as a frame for the director's interface of `side`.
pub(super) fn framed(side: &str, topology: &Topology, packet: &[u8], padding: usize) -> Vec<u8> {
    let director = &topology.director[&format!("{side}0")];
    let from = match side {
        "cl" => &topology.gateway.mac,
        _ => &topology.real_servers["rs1"].mac,
    };
    let mac = |text: &str| text.parse().map_or([0; 6], |MacAddr(bytes)| bytes);
    let kind = match packet.first().map(|b| b >> 4) {
        Some(6) => ethernet::IPV6,
        _ => ethernet::IPV4,
    };
    let mut frame = mac(&director.mac).to_vec();
    frame.extend(mac(from));
    frame.extend(kind.to_be_bytes());
    frame.extend_from_slice(packet);
    frame.resize(frame.len() + padding, 0);
    frame
}

/// What of a TCP segment is not its ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// A multiple of four bytes.
    pub options: Vec<u8>,
    pub data: Vec<u8>,
}

pub(super) fn tcp(from: SocketAddr, to: SocketAddr, segment: &Segment) -> Crafted {
    let mut bytes = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    bytes.extend(segment.sequence.to_be_bytes());
    bytes.extend(segment.acknowledgement.to_be_bytes());
    let words = 5 + segment.options.len() / 4;
    bytes.extend([u8::try_from(words << 4).unwrap_or(0x50), segment.flags]);
    bytes.extend([0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend_from_slice(&segment.options);
    bytes.extend_from_slice(&segment.data);
    let sum = checksum(from.ip(), to.ip(), protocol::TCP, &bytes);
    bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    Crafted::new(from.ip(), to.ip(), protocol::TCP, bytes)
}

/// One chunk, whole or cut short as `chunk` is.
pub(super) fn sctp(from: SocketAddr, to: SocketAddr, tag: u32, chunk: &[u8]) -> Crafted {
    let mut bytes = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    bytes.extend(tag.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(chunk);
    let mut crc = Crc32c::default();
    crc.add(&bytes);
    bytes[8..12].copy_from_slice(&crc.finish());
    Crafted::new(from.ip(), to.ip(), protocol::SCTP, bytes)
}

/// With `sum` false its checksum is left out.
pub(super) fn udp(from: SocketAddr, to: SocketAddr, data: &[u8], sum: bool) -> Crafted {
    let mut bytes = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    bytes.extend(length(8 + data.len()).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend_from_slice(data);
    if sum {
        let sum = match checksum(from.ip(), to.ip(), protocol::UDP, &bytes) {
            0 => 0xffff,
            sum => sum,
        };
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    }
    Crafted::new(from.ip(), to.ip(), protocol::UDP, bytes)
}

pub(super) fn icmp(
    from: IpAddr,
    to: IpAddr,
    [kind, code]: [u8; 2],
    rest: u32,
    data: &[u8],
) -> Crafted {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(rest.to_be_bytes());
    bytes.extend_from_slice(data);
    let number = if from.is_ipv4() {
        protocol::ICMP
    } else {
        protocol::ICMPV6
    };
    let sum = if from.is_ipv4() {
        let mut sum = Sum::new();
        sum.add(&bytes);
        sum.finish()
    } else {
        checksum(from, to, number, &bytes)
    };
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    Crafted::new(from, to, number, bytes)
}

fn checksum(from: IpAddr, to: IpAddr, number: u8, bytes: &[u8]) -> u16 {
    let mut sum = match (from, to) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            Sum::pseudo4(s.to_bits(), d.to_bits(), number, length(bytes.len()))
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            Sum::pseudo6(s.to_bits(), d.to_bits(), number, length(bytes.len()).into())
        }
        _ => Sum::new(),
    };
    sum.add(bytes);
    sum.finish()
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// Protocol and ends of a TCP, UDP or SCTP packet behind a header without extensions.
pub(super) fn ends(packet: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let address4 = |at: usize| {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let address6 = |at: usize| {
        let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let (number, from, to, l4) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet.first()? & 15) * 4;
            (*packet.get(9)?, address4(12)?, address4(16)?, header)
        }
        _ => (*packet.get(6)?, address6(8)?, address6(24)?, 40),
    };
    let port = |at: usize| {
        let bytes: [u8; 2] = packet.get(l4 + at..l4 + at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    };
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP).then_some(())?;
    Some((
        number,
        SocketAddr::new(from, port(0)?),
        SocketAddr::new(to, port(2)?),
    ))
}
