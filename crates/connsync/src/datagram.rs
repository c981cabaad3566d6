//! Whole Ethernet frames with a message in them.

use crate::ParseError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use types::{MacAddr, VlanId};
use wire::{
    Ethernet, FromBytes as _, IntoBytes as _, Ipv4, Ipv6, Sum, U16, U32, Udp, VlanTag, checksum,
    ethernet, ipv4, nd, protocol,
};

/// Bytes of a UDP header.
const UDP: usize = 8;

/// Where a message is sent from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The sender's MAC.
    pub mac: MacAddr,
    /// The tag it carries.
    pub vlan: Option<VlanId>,
    /// The receiver's MAC, or the group's.
    pub to_mac: MacAddr,
    /// From which address and port.
    pub source: SocketAddr,
    /// To which.
    pub destination: SocketAddr,
    /// Time to live.
    pub ttl: u8,
}

/// A message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'f> {
    /// From where.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
    /// The 802.1Q tag in the bytes, if there is one.
    pub vlan: Option<u16>,
    /// What it says.
    pub message: &'f [u8],
}

/// The MAC of a multicast group.
#[must_use]
pub fn group_mac(group: IpAddr) -> MacAddr {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => MacAddr(nd::multicast_mac(group.to_bits())),
    }
}

/// The frame of a message. `id`: the IPv4 identification. Both ends are of one family.
#[must_use]
pub fn frame(route: &Route, id: u16, message: &[u8]) -> Vec<u8> {
    let mut datagram = Udp {
        source: U16::new(route.source.port()),
        destination: U16::new(route.destination.port()),
        len: U16::new(len16(UDP + message.len())),
        checksum: U16::new(0),
    }
    .as_bytes()
    .to_vec();
    datagram.extend_from_slice(message);
    let pseudo = pseudo(route.source.ip(), route.destination.ip(), datagram.len());
    seal(&mut datagram, pseudo);
    let mut frame = Vec::with_capacity(64 + datagram.len());
    let ethertype = |four| if four { ethernet::IPV4 } else { ethernet::IPV6 };
    let inner = ethertype(route.source.is_ipv4());
    frame.extend_from_slice(&route.to_mac.0);
    frame.extend_from_slice(&route.mac.0);
    if let Some(vlan) = route.vlan {
        frame.extend_from_slice(&ethernet::VLAN.to_be_bytes());
        frame.extend_from_slice(&vlan.get().to_be_bytes());
    }
    frame.extend_from_slice(&inner.to_be_bytes());
    match (route.source.ip(), route.destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut ip = Ipv4 {
                version_ihl: 0x45,
                tos: 0,
                total_len: U16::new(len16(ipv4::LEN + datagram.len())),
                id: U16::new(id),
                fragment: U16::new(0),
                ttl: route.ttl,
                protocol: protocol::UDP,
                checksum: U16::new(0),
                source: U32::new(from.to_bits()),
                destination: U32::new(to.to_bits()),
            };
            ip.checksum = U16::new(checksum::of(ip.as_bytes()));
            frame.extend_from_slice(ip.as_bytes());
        }
        (from, to) => {
            let ip = Ipv6 {
                version_class_flow: U32::new(6 << 28),
                payload_len: U16::new(len16(datagram.len())),
                next_header: protocol::UDP,
                hop_limit: route.ttl,
                source: bits6(from).to_be_bytes(),
                destination: bits6(to).to_be_bytes(),
            };
            frame.extend_from_slice(ip.as_bytes());
        }
    }
    frame.extend_from_slice(&datagram);
    frame
}

/// Reads a frame.
///
/// # Errors
/// When it has no UDP datagram in one piece whose checksum is right.
pub fn datagram(frame: &[u8]) -> Result<Datagram<'_>, ParseError> {
    let none = |_| ParseError::Datagram;
    let (ether, mut body) = Ethernet::ref_from_prefix(frame).map_err(|_| ParseError::Datagram)?;
    let (mut ethertype, mut vlan) = (ether.ethertype.get(), None);
    if ethertype == ethernet::VLAN {
        let (tag, behind) = VlanTag::ref_from_prefix(body).map_err(|_| ParseError::Datagram)?;
        vlan = Some(ethernet::vlan_id(tag.control.get()));
        (ethertype, body) = (tag.ethertype.get(), behind);
    }
    let (source, destination, l4): (IpAddr, IpAddr, &[u8]) = match ethertype {
        ethernet::IPV4 => {
            let (ip, _) = Ipv4::ref_from_prefix(body).map_err(|_| ParseError::Datagram)?;
            let whole = ip.fragment.get() & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) == 0;
            let packet = body.get(ip.header_len()..ip.total_len.get().into());
            let packet = packet.filter(|_| whole && ip.protocol == protocol::UDP);
            (
                Ipv4Addr::from_bits(ip.source.get()).into(),
                Ipv4Addr::from_bits(ip.destination.get()).into(),
                packet.ok_or(()).map_err(none)?,
            )
        }
        ethernet::IPV6 => {
            let (ip, behind) = Ipv6::ref_from_prefix(body).map_err(|_| ParseError::Datagram)?;
            let packet = behind.get(..ip.payload_len.get().into());
            let packet = packet.filter(|_| ip.next_header == protocol::UDP);
            (
                Ipv6Addr::from(ip.source).into(),
                Ipv6Addr::from(ip.destination).into(),
                packet.ok_or(()).map_err(none)?,
            )
        }
        _ => return Err(ParseError::Datagram),
    };
    let (udp, _) = Udp::ref_from_prefix(l4).map_err(|_| ParseError::Datagram)?;
    let l4 = l4.get(..udp.len.get().into()).ok_or(ParseError::Datagram)?;
    if udp.checksum.get() != 0 {
        let mut sum = pseudo(source, destination, l4.len());
        sum.add(l4);
        if sum.finish() != 0 {
            return Err(ParseError::Datagram);
        }
    }
    Ok(Datagram {
        source: SocketAddr::new(source, udp.source.get()),
        destination: SocketAddr::new(destination, udp.destination.get()),
        vlan,
        message: l4.get(UDP..).ok_or(ParseError::Datagram)?,
    })
}

fn pseudo(source: IpAddr, destination: IpAddr, len: usize) -> Sum {
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Sum::pseudo4(from.to_bits(), to.to_bits(), protocol::UDP, len16(len))
        }
        (from, to) => Sum::pseudo6(bits6(from), bits6(to), protocol::UDP, len16(len).into()),
    }
}

fn seal(datagram: &mut [u8], mut sum: Sum) {
    sum.add(datagram);
    // 0 says that there is none (RFC 768).
    let checksum = match sum.finish() {
        0 => u16::MAX,
        some => some,
    };
    if let Some(field) = datagram.get_mut(6..8) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

fn bits6(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V6(ip) => ip.to_bits(),
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
    }
}

fn len16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
