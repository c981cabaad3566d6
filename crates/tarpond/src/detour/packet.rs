//! An IP packet in a frame, as far as a translator must know it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::{Sum, protocol};

pub(super) const ETHERNET: usize = 14;

/// An IPv4 or IPv6 packet in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Where its header begins.
    pub at: usize,
    /// Where what it carries begins.
    pub upper: usize,
    /// Where it ends.
    pub end: usize,
    pub protocol: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Of TCP and UDP, unless it is a later fragment.
    pub ports: Option<(u16, u16)>,
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Packet {
    /// The packet of an untagged frame, whole.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let packet = Self::read_at(frame, ETHERNET)?;
        let kind = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
        let its = match packet.source {
            IpAddr::V4(_) => wire::ethernet::IPV4,
            IpAddr::V6(_) => wire::ethernet::IPV6,
        };
        (kind == its && packet.end <= frame.len()).then_some(packet)
    }

    /// The packet that begins at `at`; its end may be cut off.
    pub fn read_at(frame: &[u8], at: usize) -> Option<Self> {
        match frame.get(at)? >> 4 {
            4 => Self::read4(frame, at),
            6 => Self::read6(frame, at),
            _ => None,
        }
    }

    fn read4(frame: &[u8], at: usize) -> Option<Self> {
        let header = frame.get(at..at + 20)?;
        let length = usize::from(header.first()? & 15) * 4;
        let total = usize::from(u16_at(header, 2)?);
        let protocol = *header.get(9)?;
        let later_fragment = u16_at(header, 6)? & 0x1fff != 0;
        let ip = |at: usize| {
            let octets: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(octets)))
        };
        if length < 20 || total < length {
            return None;
        }
        Some(Self {
            at,
            upper: at + length,
            end: at + total,
            protocol,
            source: ip(12)?,
            destination: ip(16)?,
            ports: ports(frame, at + length, protocol).filter(|_| !later_fragment),
        })
    }

    /// Extension headers are not looked behind: what is checked answers without.
    fn read6(frame: &[u8], at: usize) -> Option<Self> {
        let header = frame.get(at..at + 40)?;
        let protocol = *header.get(6)?;
        let ip = |at: usize| {
            let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        };
        Some(Self {
            at,
            upper: at + 40,
            end: at + 40 + usize::from(u16_at(header, 4)?),
            protocol,
            source: ip(8)?,
            destination: ip(24)?,
            ports: ports(frame, at + 40, protocol),
        })
    }

    /// Where a side's address stands.
    pub fn address_at(&self, side: Side) -> usize {
        self.at
            + match (self.source, side) {
                (IpAddr::V4(_), Side::Source) => 12,
                (IpAddr::V4(_), Side::Destination) => 16,
                (IpAddr::V6(_), Side::Source) => 8,
                (IpAddr::V6(_), Side::Destination) => 24,
            }
    }

    /// Where a side's port stands.
    pub const fn port_at(&self, side: Side) -> usize {
        match side {
            Side::Source => self.upper,
            Side::Destination => self.upper + 2,
        }
    }

    /// Writes another address, and corrects the checksums.
    pub fn set_address(&self, frame: &mut [u8], side: Side, address: IpAddr) -> Option<()> {
        let bytes = octets(address);
        let at = self.address_at(side);
        let place = frame.get_mut(at..at + bytes.len())?;
        let before = place.to_vec();
        place.copy_from_slice(&bytes);
        if self.source.is_ipv4() {
            correct(frame, self.at + 10, &before, &bytes)?;
        }
        self.correct_upper(frame, &before, &bytes)
    }

    /// Writes another port, and corrects the checksum.
    pub fn set_port(&self, frame: &mut [u8], side: Side, port: u16) -> Option<()> {
        let at = self.port_at(side);
        let place = frame.get_mut(at..at + 2)?;
        let before = place.to_vec();
        place.copy_from_slice(&port.to_be_bytes());
        self.correct_upper(frame, &before, &port.to_be_bytes())
    }

    fn correct_upper(&self, frame: &mut [u8], before: &[u8], after: &[u8]) -> Option<()> {
        let at = match (self.protocol, self.ports) {
            (protocol::TCP, Some(_)) => self.upper + 16,
            (protocol::UDP, Some(_)) => self.upper + 6,
            _ => return Some(()),
        };
        // IPv4: UDP without a checksum stays so.
        if self.protocol == protocol::UDP && u16_at(frame, at)? == 0 {
            return Some(());
        }
        correct(frame, at, before, after)?;
        if self.protocol == protocol::UDP && u16_at(frame, at)? == 0 {
            frame.get_mut(at..at + 2)?.fill(0xff);
        }
        Some(())
    }

    /// Computes the checksum of an ICMP or ICMPv6 message anew.
    pub fn fill_icmp(&self, frame: &mut [u8]) -> Option<()> {
        let message = frame.get_mut(self.upper..self.end)?;
        message.get_mut(2..4)?.fill(0);
        let mut sum = match (self.source, self.destination) {
            (IpAddr::V6(from), IpAddr::V6(to)) => Sum::pseudo6(
                from.to_bits(),
                to.to_bits(),
                protocol::ICMPV6,
                u32::try_from(message.len()).ok()?,
            ),
            _ => Sum::new(),
        };
        sum.add(message);
        let sum = sum.finish().to_be_bytes();
        message.get_mut(2..4)?.copy_from_slice(&sum);
        Some(())
    }
}

fn ports(frame: &[u8], at: usize, protocol: u8) -> Option<(u16, u16)> {
    matches!(protocol, protocol::TCP | protocol::UDP).then_some(())?;
    Some((u16_at(frame, at)?, u16_at(frame, at + 2)?))
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Corrects the checksum at `at` for an even number of bytes that changed (RFC 1624, equation 3).
fn correct(frame: &mut [u8], at: usize, before: &[u8], after: &[u8]) -> Option<()> {
    let mut sum = u32::from(!u16_at(frame, at)?);
    for (old, new) in before.chunks_exact(2).zip(after.chunks_exact(2)) {
        sum += u32::from(!u16_at(old, 0)?) + u32::from(u16_at(new, 0)?);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let new = !u16::try_from(sum).ok()?;
    frame
        .get_mut(at..at + 2)?
        .copy_from_slice(&new.to_be_bytes());
    Some(())
}
