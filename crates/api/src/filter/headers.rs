//! What a filter can ask about a frame, read in one pass. Everything is optional: a capture meets broken frames too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use types::MacAddr;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

/// IPv6 extension headers followed at most.
const MAX_EXTENSIONS: usize = 8;

/// The headers of a frame, as far as its bytes go.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// Ethernet addresses: source and destination.
    pub macs: Option<(MacAddr, MacAddr)>,
    /// VLAN ids, outermost first.
    pub vlans: [Option<u16>; 2],
    /// The type behind the tags.
    pub ethertype: Option<u16>,
    /// IP addresses: source and destination; of ARP, sender and target.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Upper-layer protocol number, behind IPv6 extension headers.
    pub protocol: Option<u8>,
    /// Source and destination port, of the protocols that have them.
    pub ports: Option<(u16, u16)>,
    /// TCP's flags byte.
    pub tcp_flags: Option<u8>,
    /// Bytes of the whole frame.
    pub length: usize,
}

impl Headers {
    /// Reads a frame from its destination MAC on; `length` is the whole frame's, should the bytes be fewer.
    #[must_use]
    pub fn read(frame: &[u8], length: usize) -> Self {
        let mut headers = Self {
            length,
            ..Self::default()
        };
        // Each part ends the reading where its bytes end; what was read so far stands.
        let _ = headers.ethernet(frame);
        headers
    }

    fn ethernet(&mut self, frame: &[u8]) -> Option<()> {
        let destination = MacAddr(array(frame, 0)?);
        let source = MacAddr(array(frame, 6)?);
        self.macs = Some((source, destination));
        let mut kind = u16_at(frame, 12)?;
        let mut at = 14;
        for slot in &mut self.vlans {
            if kind != VLAN && kind != QINQ {
                break;
            }
            *slot = Some(u16_at(frame, at)? & 0xfff);
            kind = u16_at(frame, at + 2)?;
            at += 4;
        }
        self.ethertype = Some(kind);
        let rest = frame.get(at..)?;
        match kind {
            IPV4 => self.ipv4(rest),
            IPV6 => self.ipv6(rest),
            ARP => self.arp(rest),
            _ => None,
        }
    }

    fn arp(&mut self, packet: &[u8]) -> Option<()> {
        // Ethernet and IPv4 with their lengths (RFC 826); other kinds name no IP address.
        if packet.get(..6)? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        let sender = Ipv4Addr::from(array::<4>(packet, 14)?);
        let target = Ipv4Addr::from(array::<4>(packet, 24)?);
        self.addresses = Some((sender.into(), target.into()));
        Some(())
    }

    fn ipv4(&mut self, packet: &[u8]) -> Option<()> {
        let first = *packet.first()?;
        let source = Ipv4Addr::from(array::<4>(packet, 12)?);
        let destination = Ipv4Addr::from(array::<4>(packet, 16)?);
        if first >> 4 != 4 {
            return None;
        }
        self.addresses = Some((source.into(), destination.into()));
        let protocol = *packet.get(9)?;
        self.protocol = Some(protocol);
        let later_fragment = u16_at(packet, 6)? & 0x1fff != 0;
        if !later_fragment {
            self.transport(protocol, packet.get(usize::from(first & 0xf) * 4..)?)?;
        }
        Some(())
    }

    fn ipv6(&mut self, packet: &[u8]) -> Option<()> {
        if packet.first()? >> 4 != 6 {
            return None;
        }
        let source = Ipv6Addr::from(array::<16>(packet, 8)?);
        let destination = Ipv6Addr::from(array::<16>(packet, 24)?);
        self.addresses = Some((source.into(), destination.into()));
        let mut next = *packet.get(6)?;
        let mut rest = packet.get(40..)?;
        for _ in 0..MAX_EXTENSIONS {
            // RFC 8200: hop-by-hop 0, routing 43, destination options 60; fragment 44; authentication 51 counts in
            // units of 4 bytes.
            let length = match next {
                0 | 43 | 60 => (usize::from(*rest.get(1)?) + 1) * 8,
                51 => (usize::from(*rest.get(1)?) + 2) * 4,
                44 => {
                    if u16_at(rest, 2)? & 0xfff8 != 0 {
                        self.protocol = Some(*rest.first()?);
                        return Some(());
                    }
                    8
                }
                _ => break,
            };
            next = *rest.first()?;
            rest = rest.get(length..)?;
        }
        self.protocol = Some(next);
        self.transport(next, rest)
    }

    fn transport(&mut self, protocol: u8, segment: &[u8]) -> Option<()> {
        // TCP, UDP, SCTP, UDP-Lite begin with their ports.
        if matches!(protocol, 6 | 17 | 132 | 136) {
            self.ports = Some((u16_at(segment, 0)?, u16_at(segment, 2)?));
        }
        if protocol == 6 {
            self.tcp_flags = segment.get(13).copied();
        }
        Some(())
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}
