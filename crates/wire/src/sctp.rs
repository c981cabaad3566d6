//! SCTP's common header (RFC 9260 3.1), and its checksum.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// The common header; chunks follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sctp {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Whose association it is.
    pub verification_tag: [u8; 4],
    /// CRC32c, least significant byte first.
    pub checksum: [u8; 4],
}

/// Bytes of the common header.
pub const LEN: usize = 12;
const _: () = assert!(size_of::<Sctp>() == LEN);

/// The reflected polynomial of CRC32c (Castagnoli).
const POLYNOMIAL: u32 = 0x82f6_3b78;

#[expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "256 bytes, worked out by the compiler"
)]
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// A CRC32c under way.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32c {
    /// Goes on over `bytes`.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = (self.0 ^ u32::from(*byte)) & 0xff;
            self.0 = self.0 >> 8 ^ TABLE.get(at as usize).copied().unwrap_or(0);
        }
    }

    /// As it stands in the header's field.
    #[must_use]
    pub const fn finish(self) -> [u8; 4] {
        (!self.0).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 B.4.
    #[test]
    fn known_values() {
        let crc = |bytes: &[u8]| {
            let (a, b) = bytes.split_at(bytes.len() / 3);
            let mut crc = Crc32c::default();
            crc.add(a);
            crc.add(b);
            u32::from_le_bytes(crc.finish())
        };
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc(b"123456789"), 0xe306_9283);
    }
}
