//! Packets of clients and servers, built and read back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use types::MacAddr;
use wire::{
    Ethernet, FromBytes, Icmp, IntoBytes, Ipv4, Ipv6, Sum, Tcp, U16, U32, Udp, ethernet, ipv4,
    protocol,
};

/// A TCP or UDP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// TCP flags; `None` for UDP.
    pub flags: Option<u8>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Packet {
    /// A TCP packet without payload.
    #[must_use]
    pub fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8) -> Self {
        Self {
            source,
            destination,
            flags: Some(flags),
            ttl: 64,
            payload: Vec::new(),
        }
    }

    /// A UDP packet.
    #[must_use]
    pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Self {
        Self {
            source,
            destination,
            flags: None,
            ttl: 64,
            payload: payload.to_vec(),
        }
    }

    /// The frame that carries it to `mac`.
    ///
    /// # Panics
    /// When source and destination are of different families.
    #[must_use]
    pub fn frame(&self, mac: MacAddr) -> Vec<u8> {
        let (source, destination) = (self.source.ip(), self.destination.ip());
        ip_frame(
            mac,
            source,
            destination,
            self.protocol(),
            self.ttl,
            &self.l4(),
        )
    }

    /// The IP protocol number.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        match self.flags {
            Some(_) => protocol::TCP,
            None => protocol::UDP,
        }
    }

    fn l4(&self) -> Vec<u8> {
        let (from, to) = (self.source.port(), self.destination.port());
        let mut bytes = match self.flags {
            Some(flags) => Tcp {
                source: U16::new(from),
                destination: U16::new(to),
                sequence: U32::new(1),
                acknowledgement: U32::new(1),
                data_offset: 5 << 4,
                flags,
                window: U16::new(1000),
                checksum: U16::new(0),
                urgent: U16::new(0),
            }
            .as_bytes()
            .to_vec(),
            None => Udp {
                source: U16::new(from),
                destination: U16::new(to),
                len: U16::new(length(self.payload.len() + wire::udp::LEN)),
                checksum: U16::new(0),
            }
            .as_bytes()
            .to_vec(),
        };
        bytes.extend_from_slice(&self.payload);
        let mut sum = pseudo(
            self.source.ip(),
            self.destination.ip(),
            self.protocol(),
            bytes.len(),
        );
        sum.add(&bytes);
        let at = match self.flags {
            Some(_) => wire::tcp::CHECKSUM_OFFSET,
            None => wire::udp::CHECKSUM_OFFSET,
        };
        bytes[at..at + 2].copy_from_slice(&sum.finish().to_be_bytes());
        bytes
    }
}

/// An IP packet as a frame.
///
/// # Panics
/// When source and destination are of different families.
#[must_use]
pub fn ip_frame(
    mac: MacAddr,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ttl: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    let ethertype = if source.is_ipv4() {
        ethernet::IPV4
    } else {
        ethernet::IPV6
    };
    let link = Ethernet {
        destination: mac.0,
        source: [2, 9, 9, 9, 9, 9],
        ethertype: U16::new(ethertype),
    };
    frame.extend_from_slice(link.as_bytes());
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip = Ipv4 {
                version_ihl: 0x45,
                tos: 0,
                total_len: U16::new(length(ipv4::LEN + payload.len())),
                id: U16::new(7),
                fragment: U16::new(ipv4::DONT_FRAGMENT),
                ttl,
                protocol,
                checksum: U16::new(0),
                source: U32::new(source.to_bits()),
                destination: U32::new(destination.to_bits()),
            };
            ip.fill_checksum();
            frame.extend_from_slice(ip.as_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = Ipv6 {
                version_class_flow: Ipv6::class(0),
                payload_len: U16::new(length(payload.len())),
                next_header: protocol,
                hop_limit: ttl,
                source: source.octets(),
                destination: destination.octets(),
            };
            frame.extend_from_slice(ip.as_bytes());
        }
        _ => panic!("{source} and {destination} are of different families"),
    }
    frame.extend_from_slice(payload);
    frame
}

/// An ICMP or `ICMPv6` message about `about`, an IP packet.
#[must_use]
pub fn icmp_error(
    mac: MacAddr,
    source: IpAddr,
    destination: IpAddr,
    kind: u8,
    code: u8,
    about: &[u8],
) -> Vec<u8> {
    let number = if source.is_ipv4() {
        protocol::ICMP
    } else {
        protocol::ICMPV6
    };
    let mut message = Icmp {
        kind,
        code,
        checksum: U16::new(0),
        rest: U32::new(0),
    }
    .as_bytes()
    .to_vec();
    message.extend_from_slice(about);
    let mut sum = if source.is_ipv4() {
        Sum::new()
    } else {
        pseudo(source, destination, number, message.len())
    };
    sum.add(&message);
    message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    ip_frame(mac, source, destination, number, 64, &message)
}

/// Reads a frame with a TCP or UDP packet; `None` for anything else.
///
/// # Panics
/// When its checksums are wrong: a frame the engine sent must not be so.
#[must_use]
pub fn read(frame: &[u8]) -> Option<Packet> {
    let (link, rest) = Ethernet::ref_from_prefix(frame).ok()?;
    let (source, destination, protocol, ttl, l4): (IpAddr, IpAddr, u8, u8, &[u8]) =
        match link.ethertype.get() {
            ethernet::IPV4 => {
                let (ip, _) = Ipv4::ref_from_prefix(rest).ok()?;
                assert_eq!(
                    wire::checksum::of(rest.get(..ip.header_len())?),
                    0,
                    "IPv4 header checksum"
                );
                let l4 = rest.get(ip.header_len()..ip.total_len.get().into())?;
                let ends = (
                    Ipv4Addr::from_bits(ip.source.get()),
                    Ipv4Addr::from_bits(ip.destination.get()),
                );
                (ends.0.into(), ends.1.into(), ip.protocol, ip.ttl, l4)
            }
            ethernet::IPV6 => {
                let (ip, behind) = Ipv6::ref_from_prefix(rest).ok()?;
                let l4 = behind.get(..ip.payload_len.get().into())?;
                let ends = (Ipv6Addr::from(ip.source), Ipv6Addr::from(ip.destination));
                (
                    ends.0.into(),
                    ends.1.into(),
                    ip.next_header,
                    ip.hop_limit,
                    l4,
                )
            }
            _ => return None,
        };
    let (flags, from, to, header) = match protocol {
        protocol::TCP => {
            let (tcp, _) = Tcp::ref_from_prefix(l4).ok()?;
            let ports = (tcp.source.get(), tcp.destination.get());
            (Some(tcp.flags), ports.0, ports.1, tcp.header_len())
        }
        protocol::UDP => {
            let (udp, _) = Udp::ref_from_prefix(l4).ok()?;
            (
                None,
                udp.source.get(),
                udp.destination.get(),
                wire::udp::LEN,
            )
        }
        _ => return None,
    };
    let mut sum = pseudo(source, destination, protocol, l4.len());
    sum.add(l4);
    assert_eq!(sum.finish(), 0, "TCP or UDP checksum");
    Some(Packet {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
        flags,
        ttl,
        payload: l4.get(header..)?.to_vec(),
    })
}

fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Sum {
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            Sum::pseudo4(s.to_bits(), d.to_bits(), protocol, length(len))
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            Sum::pseudo6(s.to_bits(), d.to_bits(), protocol, length(len).into())
        }
        _ => Sum::new(),
    }
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("a packet of a test is small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read_back() {
        let ends = [
            ("192.0.2.1:4000", "198.51.100.1:80"),
            ("[2001:db8::1]:4000", "[2001:db8:1::1]:80"),
        ];
        for (from, to) in ends {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            for packet in [Packet::tcp(from, to, 2), Packet::udp(from, to, b"hello")] {
                assert_eq!(read(&packet.frame(MacAddr([2; 6]))), Some(packet));
            }
        }
    }
}
