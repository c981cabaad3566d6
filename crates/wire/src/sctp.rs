//! SCTP's common header (RFC 9260 3.1), its checksum, and the addresses an endpoint tells of itself.

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

/// INIT and INIT ACK: the chunks in which an endpoint tells of its other addresses.
const TELLING: [u8; 2] = [1, 2];
/// Bytes of those before their parameters.
const FIXED: usize = 20;
/// Parameters: an IPv4 address, an IPv6 address (RFC 9260 3.3.2.1), and padding (RFC 4820 3), which a receiver passes over.
const ADDRESSES: [u16; 2] = [5, 6];
const PADDING: u16 = 0x8005;

/// Makes padding of the addresses that an INIT or INIT ACK tells of. `chunks`: what follows the common header, at least the
/// chunk itself. True if there were any: the checksum is wrong then.
pub fn blank_addresses(chunks: &mut [u8]) -> bool {
    let Some([kind, _, high, low]) = chunks.first_chunk::<4>().copied() else {
        return false;
    };
    let len = usize::from(u16::from_be_bytes([high, low])).min(chunks.len());
    let Some(mut rest) = chunks.get_mut(FIXED..len) else {
        return false;
    };
    if !TELLING.contains(&kind) {
        return false;
    }
    let mut found = false;
    while let Some([a, b, c, d]) = rest.first_chunk::<4>().copied() {
        let len = usize::from(u16::from_be_bytes([c, d])).max(4);
        let (parameter, behind) = rest.split_at_mut(len.next_multiple_of(4).min(rest.len()));
        if ADDRESSES.contains(&u16::from_be_bytes([a, b]))
            && let Some((kind, value)) = parameter.split_at_mut_checked(4)
        {
            kind.iter_mut()
                .zip(PADDING.to_be_bytes())
                .for_each(|(to, byte)| *to = byte);
            value.fill(0);
            found = true;
        }
        rest = behind;
    }
    found
}

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
#[expect(
    clippy::indexing_slicing,
    reason = "a test ends where something is wrong"
)]
mod tests {
    use super::*;

    fn init_ack(parameters: &[u8]) -> Vec<u8> {
        let len = u8::try_from(FIXED + parameters.len()).unwrap();
        let mut chunk = vec![2, 0, 0, len];
        chunk.resize(FIXED, 0xee);
        chunk.extend(parameters);
        chunk
    }

    #[test]
    fn addresses_become_padding() {
        let cookie = [0, 7, 0, 6, 5, 5, 0, 0];
        let v4 = [0, 5, 0, 8, 10, 1, 0, 11];
        let v6 = [
            0, 6, 0, 20, 0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
        ];
        let mut chunk = init_ack(&[&v4[..], &cookie, &v6].concat());
        assert!(blank_addresses(&mut chunk));
        let blank4 = [0x80, 5, 0, 8, 0, 0, 0, 0];
        let mut blank6 = [0; 20];
        blank6[..4].copy_from_slice(&[0x80, 5, 0, 20]);
        assert_eq!(chunk, init_ack(&[&blank4[..], &cookie, &blank6].concat()));
        assert!(!blank_addresses(&mut chunk));
    }

    #[test]
    fn nothing_else_is_touched() {
        let v4 = [0, 5, 0, 8, 10, 1, 0, 11];
        let mut data = init_ack(&v4);
        data[0] = 0;
        let mut bare = init_ack(&[0, 7, 0, 8, 0, 5, 0, 8]);
        for chunk in [&mut data, &mut bare] {
            let before = chunk.clone();
            assert!(!blank_addresses(chunk));
            assert_eq!(*chunk, before);
        }
        // Cut short, or a length that is none: what is there is still made unreadable.
        let mut short = init_ack(&[0, 5, 0, 8, 10, 1]);
        assert!(blank_addresses(&mut short));
        assert_eq!(short, init_ack(&[0x80, 5, 0, 8, 0, 0]));
        let mut none = init_ack(&[0, 9, 0, 0, 0, 5, 0, 8, 10, 1, 0, 11]);
        assert!(blank_addresses(&mut none));
        assert!(!blank_addresses(&mut []));
    }

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
