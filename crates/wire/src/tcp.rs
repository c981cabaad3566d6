//! TCP (RFC 9293).

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian,
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

/// Kinds of options.
pub mod kind {
    /// No more options.
    pub const END: u8 = 0;
    /// One byte of nothing.
    pub const NOTHING: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323).
    pub const SCALE: u8 = 3;
    /// Selective acknowledgements are understood (RFC 2018).
    pub const SACK_PERMITTED: u8 = 4;
    /// A selective acknowledgement.
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323).
    pub const TIMESTAMPS: u8 = 8;
}

/// Calls `f` with kind and contents of each option; what follows one that says nonsense of its length is passed over.
pub fn each_option(options: &mut [u8], mut f: impl FnMut(u8, &mut [u8])) {
    let mut left = options;
    loop {
        let (kind, len) = match *left {
            [] | [kind::END, ..] => return,
            [kind::NOTHING, ..] => (kind::NOTHING, 1),
            [kind, len, ..] if len >= 2 => (kind, usize::from(len)),
            _ => return,
        };
        let Some((option, rest)) = std::mem::take(&mut left).split_at_mut_checked(len) else {
            return;
        };
        if let [_, _, contents @ ..] = option {
            f(kind, contents);
        }
        left = rest;
    }
}

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

/// A TCP header without its options in little-endian words, as it stands there: for who makes all of it anew, and its checksum
/// ([`crate::OnWireSum`]) meanwhile.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Words([little_endian::U32; 5]);

impl Words {
    /// Of these words.
    #[must_use]
    #[inline(always)]
    pub const fn new([a, b, c, d, e]: [u32; 5]) -> Self {
        let word = little_endian::U32::new;
        Self([word(a), word(b), word(c), word(d), word(e)])
    }

    /// The words: the ports, the sequence number, what is acknowledged, offset and flags and window, checksum and urgent pointer.
    #[must_use]
    #[inline(always)]
    pub fn get(&self) -> [u32; 5] {
        self.0.map(little_endian::U32::get)
    }
}

/// Header length in bytes and flags, of the word they stand in.
#[must_use]
#[inline(always)]
pub const fn offset_and_flags(word: u32) -> (usize, u8) {
    let [offset, flags, _, _] = word.to_le_bytes();
    ((offset >> 4) as usize * 4, flags)
}

const _: () = assert!(size_of::<Words>() == LEN);

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(options: &[u8]) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        each_option(&mut options.to_vec(), |kind, contents| {
            found.push((kind, contents.len()));
        });
        found
    }

    #[test]
    fn options_are_walked_as_far_as_they_make_sense() {
        let whole = [
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7,
        ];
        assert_eq!(kinds(&whole), [(2, 2), (4, 0), (8, 8), (3, 1)]);
        assert_eq!(kinds(&[1, 1, 0, 2, 4, 1, 1]), []);
        // Cut off, of no length, of length 1.
        assert_eq!(kinds(&[4, 2, 2, 4, 5]), [(4, 0)]);
        assert_eq!(kinds(&[2, 0, 4, 2]), []);
        assert_eq!(kinds(&[2, 1, 4, 2]), []);
        assert_eq!(kinds(&[8]), []);
    }
}
