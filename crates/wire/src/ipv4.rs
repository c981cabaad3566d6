//! IPv4 (RFC 791).

use crate::checksum::{self, Delta};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian,
    network_endian::{U16, U32},
};

/// Bytes of a header without options.
pub const LEN: usize = 20;
/// "Don't fragment" in [`Ipv4::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in [`Ipv4::fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset in [`Ipv4::fragment`], in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// What lowering a TTL that is not 0 by one does to the header's checksum, whatever TTL and protocol are.
pub const TTL_LOWERED: Delta = Delta::between16(0x0100, 0);
/// The same for a checksum that is not swapped to host byte order.
pub const TTL_LOWERED_ON_WIRE: Delta = Delta(TTL_LOWERED.0.swap_bytes());

/// An IPv4 header without its options.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4 bits), header length in 4-byte words (4 bits).
    pub version_ihl: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Bytes of the packet, header included.
    pub total_len: U16,
    /// Identification, shared by fragments of one packet.
    pub id: U16,
    /// Flags (3 bits), fragment offset (13 bits).
    pub fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: U16,
    /// Source address.
    pub source: U32,
    /// Destination address.
    pub destination: U32,
}

impl Ipv4 {
    /// 4 in a valid header.
    #[must_use]
    #[inline]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Bytes of the header with options, as it says itself: 0 to 60.
    #[must_use]
    #[inline]
    pub const fn header_len(&self) -> usize {
        ((self.version_ihl & 0x0f) as usize) * 4
    }

    /// The header's bytes.
    #[must_use]
    #[inline]
    pub fn as_array(&self) -> &[u8; LEN] {
        zerocopy::transmute_ref!(self)
    }

    /// Source and destination as they stand there, read as one little-endian number.
    #[must_use]
    #[inline]
    pub fn addresses(&self) -> u64 {
        let words: &Addresses = zerocopy::transmute_ref!(self);
        words.addresses.get()
    }

    /// The whole header in little-endian words of 8, 8 and 4 bytes.
    #[must_use]
    #[inline]
    pub fn words(&self) -> (u64, u64, u32) {
        let words: &Words = zerocopy::transmute_ref!(self);
        (words.low.get(), words.middle.get(), words.high.get())
    }

    /// Whether this is a fragment, first or later.
    #[must_use]
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Offset of the payload in the unfragmented packet's payload, bytes.
    #[must_use]
    #[inline]
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.fragment.get() & OFFSET_MASK) * 8
    }

    /// Whether "don't fragment" is set.
    #[must_use]
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment.get() & DONT_FRAGMENT != 0
    }

    /// Lowers the TTL by one and mends the checksum (RFC 1624). No effect at 0.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        let Some(ttl) = self.ttl.checked_sub(1) else {
            return;
        };
        self.ttl = ttl;
        self.checksum.set(TTL_LOWERED.apply(self.checksum.get()));
    }

    /// Computes the checksum of this header; right only if it has no options.
    pub fn fill_checksum(&mut self) {
        self.checksum.set(0);
        self.checksum
            .set(checksum::of_plain_header(self.as_array()));
    }
}

/// The header as words: bytes gathered one by one are not always made one load.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Words {
    low: little_endian::U64,
    middle: little_endian::U64,
    high: little_endian::U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Addresses {
    before: [u8; 12],
    addresses: little_endian::U64,
}

/// Lowers the TTL of the header at the start of `bytes` by one and mends its checksum; no effect on a truncated header.
#[inline]
pub fn decrement_ttl(bytes: &mut [u8]) {
    if let Ok((header, _)) = Ipv4::mut_from_prefix(bytes) {
        header.decrement_ttl();
    }
}

/// Computes the checksum of the header (with its options) at the start of `bytes`. False if it is cut off.
#[must_use]
pub fn fill_checksum(bytes: &mut [u8]) -> bool {
    let Ok((header, _)) = Ipv4::mut_from_prefix(bytes) else {
        return false;
    };
    header.checksum.set(0);
    let Some(whole) = bytes.get(..bytes.first().map_or(0, |b| usize::from(b & 15) * 4)) else {
        return false;
    };
    let sum = checksum::of(whole);
    if let Ok((header, _)) = Ipv4::mut_from_prefix(bytes) {
        header.checksum.set(sum);
    }
    true
}

const _: () = assert!(size_of::<Ipv4>() == LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decrementing_keeps_the_checksum_right(mut bytes in any::<[u8; 20]>(), ttl in 1u8..) {
            bytes[0] = 0x45;
            bytes[8] = ttl;
            assert!(fill_checksum(&mut bytes));
            decrement_ttl(&mut bytes);
            prop_assert_eq!(bytes[8], ttl - 1);
            prop_assert_eq!(checksum::of(&bytes), 0);
        }
    }

    #[test]
    fn a_ttl_of_0_stays() {
        let mut bytes = [0u8; 20];
        decrement_ttl(&mut bytes);
        assert_eq!(bytes, [0; 20]);
        assert!(!fill_checksum(&mut [0x46; 20]));
    }
}
