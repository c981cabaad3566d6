//! What the parse stage finds out about a frame: offsets and facts, checked once, so that later stages cannot overrun.

mod parse;
mod plain;

pub(crate) use parse::{parse, reparse};
pub(crate) use plain::Glance;

use crate::{DropReason, lvs::Chunk, net::Net};
use flowtable::{Side, Tuple};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use types::InterfaceId;

/// An IP packet in a frame. All offsets are from the frame's first byte, lie in the first segment, and were checked
/// against its length: `l4 + l4_header` bytes are there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// The interface (port, VLAN) it came in on.
    pub interface: InterfaceId,
    /// Source and destination.
    pub addresses: Addresses,
    /// Bytes before the IP header: 14, or 18 with an 802.1Q tag in the bytes.
    pub l3: u8,
    /// Where the layer-4 header starts: behind IPv4 options or IPv6 extension headers.
    pub l4: u16,
    /// Bytes of the IP packet, header included, by its own length field; never more than the frame has behind `l3`.
    pub ip_len: u16,
    /// Upper-layer protocol number (behind extension headers).
    pub protocol: u8,
    /// Source port; 0 when the protocol has none or this is a later fragment.
    pub source_port: u16,
    /// Destination port; 0 likewise.
    pub destination_port: u16,
    /// TCP flags byte; 0 for anything else.
    pub tcp_flags: u8,
    /// SCTP: the chunk that decides; `None` for anything else.
    pub chunk: Option<Chunk>,
    /// A fragment (first or later) of a larger packet.
    pub fragment: Fragment,
    /// It came in fragments, and was put together.
    pub reassembled: Reassembled,
    /// The layer-4 header is cut off or contradicts itself, in a packet that is not for us: it may be forwarded, no more.
    pub headless: bool,
    /// Sent to our MAC as a group (broadcast or multicast): never answered with an error.
    pub link_group: bool,
}

/// Addresses of a packet, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// IPv4.
    V4 { source: u32, destination: u32 },
    /// IPv6.
    V6 { source: u128, destination: u128 },
}

impl Addresses {
    /// The source.
    #[must_use]
    #[inline]
    pub const fn source(&self) -> IpAddr {
        match *self {
            Self::V4 { source, .. } => IpAddr::V4(Ipv4Addr::from_bits(source)),
            Self::V6 { source, .. } => IpAddr::V6(Ipv6Addr::from_bits(source)),
        }
    }

    /// The destination.
    #[must_use]
    #[inline]
    pub const fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => IpAddr::V4(Ipv4Addr::from_bits(destination)),
            Self::V6 { destination, .. } => IpAddr::V6(Ipv6Addr::from_bits(destination)),
        }
    }
}

/// Who sent a packet, and to whom: addresses of one family, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends<A> {
    /// Upper-layer protocol.
    pub protocol: u8,
    /// The sender.
    pub source: A,
    /// Its port.
    pub source_port: u16,
    /// The receiver.
    pub destination: A,
    /// Its port.
    pub destination_port: u16,
}

impl<A> Ends<A> {
    /// What they say of the packet's connection, if it goes in the direction of `side`.
    #[inline]
    pub fn tuple(self, side: Side) -> Tuple<A> {
        let Self {
            protocol,
            source,
            source_port,
            destination,
            destination_port,
        } = self;
        match side {
            Side::Virtual => Tuple {
                protocol,
                client: source,
                client_port: source_port,
                other: destination,
                other_port: destination_port,
            },
            Side::Server => Tuple {
                protocol,
                client: destination,
                client_port: destination_port,
                other: source,
                other_port: source_port,
            },
        }
    }
}

impl Packet {
    /// Bytes of IP header, options and extension headers included.
    #[must_use]
    #[inline]
    pub const fn header_len(&self) -> u16 {
        self.l4.saturating_sub(self.l3 as u16)
    }

    /// Bytes behind the IP header and its extension headers.
    #[must_use]
    #[inline]
    pub const fn payload_len(&self) -> u16 {
        self.ip_len.saturating_sub(self.header_len())
    }
}

/// How a packet came in fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reassembled {
    /// Bytes of the largest; 0: it came whole.
    pub largest: u16,
    /// Fragments that leave as a part of the first.
    pub joined: u16,
}

impl Packet {
    /// Whether it goes out whole where `mtu` bytes fit. What came in fragments goes so, none larger than they were.
    #[inline]
    pub fn fits(&self, mtu: u16) -> bool {
        match (self.reassembled.largest, self.addresses) {
            (0, _) => self.ip_len <= mtu,
            (_, Addresses::V4 { .. }) => false,
            (largest, Addresses::V6 { .. }) => self.ip_len <= mtu.min(largest),
        }
    }

    /// Bytes its fragments may have where `mtu` bytes fit.
    pub fn cut_to(&self, mtu: u16) -> u16 {
        /// The least MTU of IPv6.
        const LEAST6: u16 = 1280;
        match (self.reassembled.largest, self.addresses) {
            (0, _) => mtu,
            (largest, Addresses::V4 { .. }) => mtu.min(largest),
            (largest, Addresses::V6 { .. }) => mtu.min(largest.max(LEAST6)),
        }
    }
}

/// Whether a packet is a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// Whole.
    No,
    /// The first: layer-4 header present.
    First,
    /// A later one: no layer-4 header.
    Later,
}

/// What a received frame is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parsed {
    /// An IP packet.
    Ip(Packet),
    /// A well-formed ARP packet that starts at `at`.
    Arp {
        /// The interface it came in on.
        interface: InterfaceId,
        /// Bytes before it.
        at: u8,
    },
    /// Nothing the engine knows: for the host stack.
    Punt,
    /// Nothing anybody wants.
    Drop(DropReason),
}

/// What is wrong with a packet's source, if anything is: it is ours, or not one of those that come in there.
pub(crate) fn wrong_source(net: &Net, packet: &Packet) -> Option<DropReason> {
    if is_martian(net, packet) {
        return Some(DropReason::IpSource);
    }
    let takes = net.takes_from(packet.addresses.source(), packet.interface);
    (!takes).then_some(DropReason::ReversePath)
}

/// Whether the source is one of our own addresses, or a segment's broadcast: no packet from outside has those.
pub(crate) fn is_martian(net: &Net, packet: &Packet) -> bool {
    match packet.addresses {
        Addresses::V4 { source, .. } => net.local4(source).is_some(),
        Addresses::V6 { source, .. } => net.local6(source).is_some(),
    }
}
