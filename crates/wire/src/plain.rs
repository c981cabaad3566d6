//! The headers nearly every packet has, in one piece: Ethernet without a tag, IP without options or extension headers,
//! and the part of the upper-layer header that TCP and UDP share. One length check makes all of it readable.

use crate::{Ethernet, Ipv4, Ipv6, ethernet, ipv4, ipv6};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

/// The first bytes of a TCP or UDP header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Upper {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// UDP: bytes of header and data. (TCP: the upper half of the sequence number.)
    pub udp_len: U16,
    /// UDP: checksum. (TCP: the lower half of the sequence number.)
    pub udp_checksum: U16,
}

/// What is left of a TCP header behind [`Upper`], without options.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TcpRest {
    /// Acknowledgement number.
    pub acknowledgement: U32,
    /// Header length in 4-byte words (4 bits), reserved (4 bits).
    pub data_offset: u8,
    /// Flags.
    pub flags: u8,
    /// Receive window.
    pub window: U16,
    /// Checksum over pseudo-header and segment.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

/// The headers of a plain IPv4 packet.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Plain4 {
    /// Link header.
    pub ether: Ethernet,
    /// IPv4 header.
    pub ip: Ipv4,
    /// TCP or UDP.
    pub upper: Upper,
}

/// The headers of a plain IPv6 packet.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Plain6 {
    /// Link header.
    pub ether: Ethernet,
    /// IPv6 header.
    pub ip: Ipv6,
    /// TCP or UDP.
    pub upper: Upper,
}

const _: () = assert!(size_of::<Plain4>() == ethernet::LEN + ipv4::LEN + 8);
const _: () = assert!(size_of::<Plain6>() == ethernet::LEN + ipv6::LEN + 8);
const _: () = assert!(size_of::<Upper>() + size_of::<TcpRest>() == crate::tcp::LEN);
