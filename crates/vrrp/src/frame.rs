//! Whole Ethernet frames: advertisements in and out, gratuitous ARP and unsolicited neighbour advertisements out.

use crate::{
    Advertisement, Authentication, Checksum, GROUP4, GROUP6, PROTOCOL, ParseError, TTL,
    seal::{self, Seal},
};
use std::net::{IpAddr, Ipv6Addr};
use types::{MacAddr, VlanId};
use wire::{
    Arp, Ethernet, FromBytes as _, IntoBytes as _, Ipv4, Ipv6, Sum, U16, U32, VlanTag, arp,
    checksum, ethernet, icmp, ipv4, nd, protocol,
};

/// Internetwork control: VRRP is sent before other traffic.
const TOS: u8 = 0xc0;
const ALL_NODES: u128 = 0xff02_0000_0000_0000_0000_0000_0000_0001;

/// Where frames go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The MAC they are sent from, and that has the virtual addresses.
    pub mac: MacAddr,
    /// The tag they carry.
    pub vlan: Option<VlanId>,
}

/// A received advertisement with what the frame says of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub source: IpAddr,
    /// The group, or this director.
    pub destination: IpAddr,
    /// Its time to live, or hop limit. To the group it is [`TTL`]; of what is sent to one director alone the caller must see to it that it comes
    /// from this link, where it is another: keepalived sends over IPv6 with the host's hop limit, unless `unicast_ttl` is set.
    pub ttl: u8,
    /// The MAC that sent it.
    pub mac: MacAddr,
    /// The 802.1Q tag in the bytes, if there is one.
    pub vlan: Option<u16>,
    /// The authentication header around it, if there is one; nobody has looked yet whose it is.
    pub seal: Option<Seal>,
    /// What it says.
    pub advertisement: Advertisement,
}

impl Received {
    /// Reads an Ethernet frame.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let (ether, mut body) =
            Ethernet::ref_from_prefix(frame).map_err(|_| ParseError::Truncated)?;
        let mut ethertype = ether.ethertype.get();
        let mut vlan = None;
        if ethertype == ethernet::VLAN {
            let (tag, behind) =
                VlanTag::ref_from_prefix(body).map_err(|_| ParseError::Truncated)?;
            vlan = Some(ethernet::vlan_id(tag.control.get()));
            ethertype = tag.ethertype.get();
            body = behind;
        }
        let ((source, destination, ttl, message), seal) = match ethertype {
            ethernet::IPV4 => inside4(body)?,
            ethernet::IPV6 => (inside6(body)?, None),
            _ => return Err(ParseError::NotVrrp),
        };
        if ttl != TTL && destination.is_multicast() {
            return Err(ParseError::Ttl(ttl));
        }
        if source.is_unspecified() || source.is_multicast() || source.is_loopback() {
            return Err(ParseError::Source(source));
        }
        let advertisement = Advertisement::parse(message, source, destination)?;
        if advertisement.authentication == Authentication::Header && seal.is_none() {
            return Err(ParseError::Unsealed);
        }
        Ok(Self {
            source,
            destination,
            ttl,
            mac: MacAddr(ether.source),
            vlan,
            seal,
            advertisement,
        })
    }
}

type Inside<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn inside4(body: &[u8]) -> Result<(Inside<'_>, Option<Seal>), ParseError> {
    let (ip, _) = Ipv4::ref_from_prefix(body).map_err(|_| ParseError::Truncated)?;
    if !matches!(ip.protocol, PROTOCOL | protocol::AH) {
        return Err(ParseError::NotVrrp);
    }
    let (header, total) = (ip.header_len(), usize::from(ip.total_len.get()));
    if ip.version() != 4 || header < ipv4::LEN || total < header {
        return Err(ParseError::IpHeader);
    }
    let packet = body.get(..total).ok_or(ParseError::Truncated)?;
    let (head, message) = packet
        .split_at_checked(header)
        .ok_or(ParseError::Truncated)?;
    if checksum::of(head) != 0 {
        return Err(ParseError::IpHeader);
    }
    if ip.fragment.get() & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) != 0 {
        return Err(ParseError::Fragment);
    }
    let (message, seal) = if ip.protocol == protocol::AH {
        let seal = Seal::parse(packet, header).ok_or(ParseError::NotVrrp)?;
        let message = message.get(seal::LEN..).ok_or(ParseError::Truncated)?;
        (message, Some(seal))
    } else {
        (message, None)
    };
    let ends = (ip.source.get(), ip.destination.get());
    let inside = (
        std::net::Ipv4Addr::from_bits(ends.0).into(),
        std::net::Ipv4Addr::from_bits(ends.1).into(),
        ip.ttl,
        message,
    );
    Ok((inside, seal))
}

fn inside6(body: &[u8]) -> Result<Inside<'_>, ParseError> {
    let (ip, behind) = Ipv6::ref_from_prefix(body).map_err(|_| ParseError::Truncated)?;
    if ip.next_header != PROTOCOL {
        return Err(ParseError::NotVrrp);
    }
    if ip.version() != 6 {
        return Err(ParseError::IpHeader);
    }
    let message = behind
        .get(..usize::from(ip.payload_len.get()))
        .ok_or(ParseError::Truncated)?;
    Ok((
        Ipv6Addr::from(ip.source).into(),
        Ipv6Addr::from(ip.destination).into(),
        ip.hop_limit,
        message,
    ))
}

/// The frame of an advertisement; `to` with its MAC: one peer, else the group.
#[must_use]
pub fn advertisement(
    link: Link,
    source: IpAddr,
    to: Option<(IpAddr, MacAddr)>,
    advertisement: &Advertisement,
    checksum: Checksum,
) -> Vec<u8> {
    let (destination, mac) = to.unwrap_or_else(|| match source {
        IpAddr::V4(_) => (GROUP4.into(), MacAddr([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12])),
        IpAddr::V6(_) => (GROUP6.into(), MacAddr(nd::multicast_mac(GROUP6.to_bits()))),
    });
    let message = advertisement.emit(source, destination, checksum);
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut frame = link_header(link, mac, ethernet::IPV4);
            frame.extend(header4((from.to_bits(), to.to_bits()), message.len()));
            frame.extend(message);
            frame
        }
        (from, to) => {
            let ends = (bits6(from), bits6(to));
            packet6(link, mac, ends, PROTOCOL, &message)
        }
    }
}

/// What tells the segment that `address` is at `link` now: gratuitous ARP as a request and as a reply, since some listen to one
/// and some to the other, or one unsolicited neighbour advertisement.
#[must_use]
pub fn announcements(link: Link, address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(ip) => {
            let ip = ip.to_bits();
            let arp = |operation, target_mac| {
                let mut frame = link_header(link, MacAddr::BROADCAST, ethernet::ARP);
                let arp = Arp::new(operation, (link.mac.0, ip), (target_mac, ip));
                frame.extend(arp.as_bytes());
                frame
            };
            vec![arp(arp::REQUEST, [0; 6]), arp(arp::REPLY, link.mac.0)]
        }
        IpAddr::V6(ip) => {
            let mut message = nd::Neighbour {
                kind: icmp::v6::NEIGHBOUR_ADVERTISEMENT,
                code: 0,
                checksum: U16::new(0),
                flags: U32::new(nd::ROUTER | nd::OVERRIDE),
                target: ip.octets(),
            }
            .as_bytes()
            .to_vec();
            let option = nd::LinkLayerOption {
                kind: nd::TARGET_LINK_LAYER,
                len: 1,
                mac: link.mac.0,
            };
            message.extend(option.as_bytes());
            // From an address that is there only with the virtual one: itself.
            vec![discovery(link, (ip.to_bits(), ALL_NODES), message)]
        }
    }
}

/// What asks the segment whether anybody has `address`, as a host does before it takes one (RFC 5227 2.1.1, RFC 4862 5.4.2): from no
/// address, so that nobody learns anything by it.
#[must_use]
pub fn probe(link: Link, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => request(link, 0, ip.to_bits()),
        IpAddr::V6(ip) => {
            let ends = (0, nd::solicited_node(ip.to_bits()));
            discovery(link, ends, solicitation(ip))
        }
    }
}

/// What asks the segment who has `address`, from `source`, an address of the same family that is this director's on that link: a question that
/// every host answers, and learns from.
#[must_use]
pub fn question(link: Link, source: IpAddr, address: IpAddr) -> Vec<u8> {
    match (source, address) {
        (IpAddr::V4(from), IpAddr::V4(ip)) => request(link, from.to_bits(), ip.to_bits()),
        (_, IpAddr::V4(ip)) => request(link, 0, ip.to_bits()),
        (from, IpAddr::V6(ip)) => {
            let mut message = solicitation(ip);
            let option = nd::LinkLayerOption {
                kind: nd::SOURCE_LINK_LAYER,
                len: 1,
                mac: link.mac.0,
            };
            message.extend(option.as_bytes());
            let ends = (bits6(from), nd::solicited_node(ip.to_bits()));
            discovery(link, ends, message)
        }
    }
}

fn request(link: Link, from: u32, target: u32) -> Vec<u8> {
    let mut frame = link_header(link, MacAddr::BROADCAST, ethernet::ARP);
    let arp = Arp::new(arp::REQUEST, (link.mac.0, from), ([0; 6], target));
    frame.extend(arp.as_bytes());
    frame
}

fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    let message = nd::Neighbour {
        kind: icmp::v6::NEIGHBOUR_SOLICITATION,
        code: 0,
        checksum: U16::new(0),
        flags: U32::new(0),
        target: target.octets(),
    };
    message.as_bytes().to_vec()
}

/// A message of neighbour discovery to a group, its checksum still to be computed.
fn discovery(link: Link, ends: (u128, u128), mut message: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut sum = Sum::pseudo6(ends.0, ends.1, protocol::ICMPV6, len);
    sum.add(&message);
    let sum = sum.finish().to_be_bytes();
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum);
    }
    let mac = MacAddr(nd::multicast_mac(ends.1));
    packet6(link, mac, ends, protocol::ICMPV6, &message)
}

fn link_header(link: Link, to: MacAddr, ethertype: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend(to.0);
    bytes.extend(link.mac.0);
    if let Some(vlan) = link.vlan {
        bytes.extend(ethernet::VLAN.to_be_bytes());
        // Priority 6, internetwork control.
        bytes.extend((6 << 13 | vlan.get()).to_be_bytes());
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes
}

fn header4((from, to): (u32, u32), payload: usize) -> Vec<u8> {
    let total = u16::try_from(ipv4::LEN + payload).unwrap_or(u16::MAX);
    let mut header = vec![0x45, TOS];
    header.extend(total.to_be_bytes());
    header.extend([0, 0, 0, 0, TTL, PROTOCOL, 0, 0]);
    header.extend(from.to_be_bytes());
    header.extend(to.to_be_bytes());
    let sum = checksum::of(&header).to_be_bytes();
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&sum);
    }
    header
}

fn packet6(
    link: Link,
    mac: MacAddr,
    (from, to): (u128, u128),
    next_header: u8,
    message: &[u8],
) -> Vec<u8> {
    let mut frame = link_header(link, mac, ethernet::IPV6);
    frame.extend((6 << 28 | u32::from(TOS) << 20).to_be_bytes());
    frame.extend(
        u16::try_from(message.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    frame.extend([next_header, TTL]);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend(message);
    frame
}

const fn bits6(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}
