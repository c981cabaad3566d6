//! TCP (RFC 9293).

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

/// Bytes of a header without options.
pub const LEN: usize = 20;
/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;
/// Where the checksum stands in the header.
pub const CHECKSUM_OFFSET: usize = 16;

/// A TCP header without its options.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Sequence number.
    pub sequence: U32,
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

impl Tcp {
    /// Bytes of the header with options, as it says itself: 0 to 60.
    #[must_use]
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }
}

const _: () = assert!(size_of::<Tcp>() == LEN);
