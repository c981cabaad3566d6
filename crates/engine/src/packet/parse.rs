//! The parser: lengths checked once, so that nothing behind it can overrun.

use super::{Addresses, Fragment, Packet, Parsed, Reassembled};
use crate::{DropReason, lvs::Chunk, net::Net};
use types::{InterfaceId, PortId};
use wire::{
    Arp, Ethernet, Frame, FromBytes, Ipv4, Ipv6, RxChecksum, Sctp, Tcp, Udp, VlanTag, checksum,
    ethernet, ipv4, ipv6, protocol,
};

/// Looks at a received frame once. Padding behind the packet is left where it is.
///
/// Written with early returns rather than `?`: a `Packet` is some hundred bytes, built once and in place.
#[inline]
pub(crate) fn parse<F: Frame>(frame: &F, port: PortId, net: &Net) -> Parsed {
    let head = frame.head();
    let Ok((ether, rest)) = Ethernet::ref_from_prefix(head) else {
        return Parsed::Drop(DropReason::EthernetTruncated);
    };
    let link_group = ether.destination[0] & 1 == 1;
    if !link_group
        && net
            .port_mac(port)
            .is_none_or(|mac| mac.0 != ether.destination)
    {
        return Parsed::Drop(DropReason::NotOurMac);
    }
    let mut ethertype = ether.ethertype.get();
    let mut vlan = frame.stripped_vlan().map(ethernet::vlan_id);
    let mut l3 = 14u8;
    let mut body = rest;
    if ethertype == ethernet::VLAN && vlan.is_none() {
        let Ok((tag, behind)) = VlanTag::ref_from_prefix(rest) else {
            return Parsed::Drop(DropReason::EthernetTruncated);
        };
        vlan = Some(ethernet::vlan_id(tag.control.get()));
        ethertype = tag.ethertype.get();
        l3 = 18;
        body = behind;
    }
    let Some(interface) = net.interface_of(port, vlan) else {
        return Parsed::Drop(DropReason::UnknownVlan);
    };
    let place = Place {
        net: Some(net),
        interface,
        l3,
        link_group,
        behind: frame.total_len().saturating_sub(usize::from(l3)),
    };
    match ethertype {
        ethernet::IPV4 => ipv4_packet(body, frame.rx_ip_checksum(), place),
        ethernet::IPV6 => ipv6_packet(body, place),
        ethernet::ARP => arp_packet(body, place),
        _ => Parsed::Punt,
    }
}

#[cold]
fn arp_packet(body: &[u8], place: Place<'_>) -> Parsed {
    match Arp::ref_from_prefix(body) {
        Ok((arp, _)) if arp.is_ipv4_over_ethernet() => Parsed::Arp {
            interface: place.interface,
            at: place.l3,
        },
        _ => Parsed::Drop(DropReason::ArpMalformed),
    }
}

/// What is known of a packet before its own bytes are looked at.
#[derive(Clone, Copy)]
struct Place<'n> {
    /// Whose addresses are ours; `None` where it does not matter any more.
    net: Option<&'n Net>,
    interface: InterfaceId,
    l3: u8,
    link_group: bool,
    /// Bytes from the IP header to the end of the frame, over all segments.
    behind: usize,
}

/// Reads an IP packet that starts at `l3` of a frame of our own making, or one held or rewritten since it was parsed.
pub(crate) fn reparse<F: Frame>(frame: &F, l3: u8, interface: InterfaceId) -> Option<Packet> {
    let body = frame.head().get(usize::from(l3)..)?;
    let place = Place {
        net: None,
        interface,
        l3,
        link_group: false,
        behind: frame.total_len().saturating_sub(usize::from(l3)),
    };
    let parsed = match body.first()? >> 4 {
        4 => ipv4_packet(body, RxChecksum::Good, place),
        6 => ipv6_packet(body, place),
        _ => return None,
    };
    match parsed {
        Parsed::Ip(packet) => Some(packet),
        _ => None,
    }
}

#[inline(always)]
fn ipv4_packet(body: &[u8], checked: RxChecksum, place: Place<'_>) -> Parsed {
    let Ok((ip, behind)) = Ipv4::ref_from_prefix(body) else {
        return Parsed::Drop(DropReason::IpMalformed);
    };
    let total = ip.total_len.get();
    let header_len = ip.header_len();
    let options = header_len.wrapping_sub(ipv4::LEN);
    if ip.version() != 4
        || options > behind.len()
        || usize::from(total) < header_len
        || usize::from(total) > place.behind
    {
        return Parsed::Drop(DropReason::IpMalformed);
    }
    let good = match checked {
        RxChecksum::Good => true,
        RxChecksum::Bad => false,
        RxChecksum::Unknown | RxChecksum::Partial => match body.first_chunk() {
            Some(plain) if options == 0 => checksum::of_plain_header(plain) == 0,
            _ => body.get(..header_len).is_some_and(|h| checksum::of(h) == 0),
        },
    };
    if !good {
        return Parsed::Drop(DropReason::IpChecksum);
    }
    let (source, destination) = (ip.source.get(), ip.destination.get());
    if forbidden_source4(source, destination) {
        return Parsed::Drop(DropReason::IpSource);
    }
    let fragment = match ip.fragment.get() & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) {
        0 => Fragment::No,
        bits => fragment4(bits),
    };
    let l4 = behind.get(options..).unwrap_or_default();
    let len = usize::from(total) - header_len;
    let (ports, headless) = match upper(ip.protocol, l4, len, fragment) {
        Some(ports) => (ports, false),
        None if place
            .net
            .is_none_or(|net| net.local4(destination).is_none()) =>
        {
            (Ports::default(), true)
        }
        None => return Parsed::Drop(DropReason::L4Malformed),
    };
    Parsed::Ip(Packet {
        interface: place.interface,
        addresses: Addresses::V4 {
            source,
            destination,
        },
        l3: place.l3,
        // At most 60 bytes.
        l4: u16::from(place.l3) + u16::from(ip.version_ihl & 15) * 4,
        ip_len: total,
        protocol: ip.protocol,
        source_port: ports.source,
        destination_port: ports.destination,
        tcp_flags: ports.flags,
        chunk: ports.chunk,
        fragment,
        reassembled: Reassembled::default(),
        headless,
        link_group: place.link_group,
    })
}

#[inline(always)]
fn ipv6_packet(body: &[u8], place: Place<'_>) -> Parsed {
    let Ok((ip, _)) = Ipv6::ref_from_prefix(body) else {
        return Parsed::Drop(DropReason::IpMalformed);
    };
    let total = usize::from(ip.payload_len.get()) + ipv6::LEN;
    let Ok(ip_len) = u16::try_from(total) else {
        return Parsed::Drop(DropReason::IpMalformed);
    };
    if ip.version() != 6 || total > place.behind {
        return Parsed::Drop(DropReason::IpMalformed);
    }
    let (source, destination) = (ip.source(), ip.destination());
    if forbidden_source6(source) {
        return Parsed::Drop(DropReason::IpSource);
    }
    // The packet's part of the first segment: without padding, and no further than the chain of headers may go.
    let packet = body.get(..total).unwrap_or(body);
    let Ok(above) = ipv6::upper_layer(packet, ip.next_header) else {
        return Parsed::Drop(DropReason::Ipv6Extensions);
    };
    let fragment = match above.fragment {
        None => Fragment::No,
        Some(true) => Fragment::First,
        Some(false) => Fragment::Later,
    };
    let (Some(l4), Ok(offset)) = (packet.get(above.offset..), u16::try_from(above.offset)) else {
        return Parsed::Drop(DropReason::Ipv6Extensions);
    };
    let (ports, headless) = match upper(above.protocol, l4, total - above.offset, fragment) {
        Some(ports) => (ports, false),
        None if place
            .net
            .is_none_or(|net| net.local6(destination).is_none()) =>
        {
            (Ports::default(), true)
        }
        None => return Parsed::Drop(DropReason::L4Malformed),
    };
    Parsed::Ip(Packet {
        interface: place.interface,
        addresses: Addresses::V6 {
            source,
            destination,
        },
        l3: place.l3,
        l4: u16::from(place.l3) + offset,
        ip_len,
        protocol: above.protocol,
        source_port: ports.source,
        destination_port: ports.destination,
        tcp_flags: ports.flags,
        chunk: ports.chunk,
        fragment,
        reassembled: Reassembled::default(),
        headless,
        link_group: place.link_group,
    })
}

#[derive(Clone, Copy, Default)]
struct Ports {
    source: u16,
    destination: u16,
    flags: u8,
    chunk: Option<Chunk>,
}

/// Checks that the upper-layer header is there and takes the ports from it. `len`: bytes the packet says it has behind
/// the IP header. A first fragment may be too short for its header: it has no ports then. `None`: not there.
#[inline(always)]
fn upper(number: u8, l4: &[u8], len: usize, fragment: Fragment) -> Option<Ports> {
    if fragment != Fragment::No {
        return Some(upper_of_fragment(number, l4, len, fragment));
    }
    let l4 = l4.get(..len).unwrap_or(l4);
    match number {
        protocol::TCP => tcp_ports(l4),
        protocol::UDP => udp_ports(l4, len),
        protocol::SCTP => sctp_ports(l4),
        protocol::ICMP | protocol::ICMPV6 => (l4.len() >= wire::icmp::LEN).then(Ports::default),
        _ => Some(Ports::default()),
    }
}

/// What a fragment has of ports; its UDP length is that of the whole datagram.
#[cold]
fn upper_of_fragment(number: u8, l4: &[u8], len: usize, fragment: Fragment) -> Ports {
    let l4 = l4.get(..len).unwrap_or(l4);
    let found = match (fragment, number) {
        (Fragment::First, protocol::TCP) => tcp_ports(l4),
        (Fragment::First, protocol::SCTP) => sctp_ports(l4),
        (Fragment::First, protocol::UDP) => udp_ports(l4, usize::from(u16::MAX)),
        _ => None,
    };
    found.unwrap_or_default()
}

#[inline(always)]
fn tcp_ports(l4: &[u8]) -> Option<Ports> {
    let (tcp, _) = Tcp::ref_from_prefix(l4).ok()?;
    let header = tcp.header_len();
    if header < wire::tcp::LEN || header > l4.len() {
        return None;
    }
    Some(Ports {
        source: tcp.source.get(),
        destination: tcp.destination.get(),
        flags: tcp.flags,
        chunk: None,
    })
}

/// `len`: bytes the datagram may say it has.
#[inline(always)]
fn udp_ports(l4: &[u8], len: usize) -> Option<Ports> {
    let (udp, _) = Udp::ref_from_prefix(l4).ok()?;
    let said = usize::from(udp.len.get());
    if said < wire::udp::LEN || said > len {
        return None;
    }
    Some(Ports {
        source: udp.source.get(),
        destination: udp.destination.get(),
        flags: 0,
        chunk: None,
    })
}

#[cold]
fn sctp_ports(l4: &[u8]) -> Option<Ports> {
    let (sctp, chunks) = Sctp::ref_from_prefix(l4).ok()?;
    Some(Ports {
        source: sctp.source.get(),
        destination: sctp.destination.get(),
        flags: 0,
        chunk: Chunk::of(chunks),
    })
}

#[cold]
const fn fragment4(bits: u16) -> Fragment {
    if bits & ipv4::OFFSET_MASK == 0 {
        Fragment::First
    } else {
        Fragment::Later
    }
}

/// Sources no packet on a link may have (RFC 1812 5.3.7); 0.0.0.0 may ask groups and everybody (DHCP, IGMP). 240/4
/// and the rest of 0/8 pass, as with Linux.
#[inline]
pub(super) const fn forbidden_source4(source: u32, destination: u32) -> bool {
    // 1.0.0.0 to 126.255.255.255 and 128.0.0.0 to 223.255.255.255: nearly everybody.
    let ordinary = source.wrapping_sub(0x0100_0000) < 0x7e00_0000
        || source.wrapping_sub(0x8000_0000) < 0x6000_0000;
    !ordinary && is_forbidden4(source, destination)
}

#[cold]
const fn is_forbidden4(source: u32, destination: u32) -> bool {
    match source >> 24 {
        0 => source == 0 && destination < 0xe000_0000,
        127 | 224..=239 => true,
        255 => source == u32::MAX,
        _ => false,
    }
}

/// Multicast and loopback sources (RFC 4291 2.5.3, 2.7).
#[inline]
pub(super) const fn forbidden_source6(source: u128) -> bool {
    source >> 120 == 0xff || source == 1
}
