//! What the parse stage finds out about a frame: offsets and facts, checked once, so that later stages cannot overrun.

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
    /// A fragment (first or later) of a larger packet.
    pub fragment: Fragment,
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
