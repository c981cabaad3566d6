//! The headers nearly every packet has, in one piece: Ethernet without a tag, IP without options or extension headers,
//! and the part of the upper-layer header that TCP and UDP share. One length check makes all of it readable.

use crate::{Ethernet, Ipv4, Ipv6, ethernet, ipv4, ipv6};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian,
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

/// What [`Plain4::kind`] is of an untagged IPv4 packet without options, in the bits of [`KIND4_BITS`].
pub const KIND4: u32 = 0x0045_0008;
/// Ethertype, version and header length.
pub const KIND4_BITS: u32 = 0x00ff_ffff;
/// What [`Plain4::kind`] is of an untagged IPv6 packet, in the bits of [`KIND6_BITS`].
pub const KIND6: u32 = 0x0060_dd86;
/// Ethertype and version.
pub const KIND6_BITS: u32 = 0x00f0_ffff;

/// What [`Plain4::station`] is of a frame for this MAC.
#[must_use]
#[inline]
pub const fn station([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_le_bytes([0, 0, a, b, c, d, e, f])
}

/// A plain packet's start as words: bytes gathered one by one are not always made one load.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Start {
    station_and_two: little_endian::U64,
    sender: [u8; 4],
    kind: little_endian::U32,
    rest: [u8; size_of::<Plain4>() - 16],
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct UpperWords {
    ports: little_endian::U32,
    rest: [u8; 4],
}

impl Plain4 {
    /// The MAC the frame is for, in one word: see [`station`].
    #[must_use]
    #[inline]
    pub fn station(&self) -> u64 {
        let start: &Start = zerocopy::transmute_ref!(self);
        start.station_and_two.get() << 16
    }

    /// Ethertype and the two bytes behind it, whatever they are, in one word: see [`KIND4`] and [`KIND6`].
    #[must_use]
    #[inline]
    pub fn kind(&self) -> u32 {
        let start: &Start = zerocopy::transmute_ref!(self);
        start.kind.get()
    }
}

impl Upper {
    /// Both ports as they stand there, read as one little-endian number.
    #[must_use]
    #[inline]
    pub fn ports(&self) -> u32 {
        let words: &UpperWords = zerocopy::transmute_ref!(self);
        words.ports.get()
    }
}

const _: () = assert!(size_of::<Plain4>() == ethernet::LEN + ipv4::LEN + 8);
const _: () = assert!(size_of::<Plain6>() == ethernet::LEN + ipv6::LEN + 8);
const _: () = assert!(size_of::<Upper>() + size_of::<TcpRest>() == crate::tcp::LEN);
