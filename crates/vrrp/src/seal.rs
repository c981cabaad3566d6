//! The IP authentication header (RFC 2402) around an advertisement of version 2, as keepalived makes it: `auth_type AH`.
//!
//! The digest is HMAC-MD5-96 over the IP packet with its class, fragment word and checksum zero; the time to live is under it, since
//! advertisements are not routed. The security parameters index is the sender's address. A sequence number goes up with each packet, of whichever director:
//! who was backup goes on where the master was.

use crate::PROTOCOL;
use hmac::{Hmac, Mac as _};
use md5::Md5;
use wire::{Ethernet, FromBytes as _, Ipv4, checksum, ethernet, ipv4, protocol};

/// Bytes of the header.
pub(crate) const LEN: usize = 24;
/// Bytes of the digest in it, at its end.
const DIGEST: usize = 12;
/// Its length in words of four bytes, less two.
const WORDS: u8 = 4;

/// What a received authentication header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The sender's count of packets.
    pub sequence: u32,
    digest: [u8; DIGEST],
    /// What the digest is over.
    covered: Vec<u8>,
}

impl Seal {
    /// Reads the header behind the IP header of `packet`, which has `header` bytes; `None`: there is none around an advertisement.
    pub(crate) fn parse(packet: &[u8], header: usize) -> Option<Self> {
        let seal: &[u8; LEN] = packet.get(header..)?.first_chunk()?;
        let [
            PROTOCOL,
            WORDS,
            _,
            _,
            _,
            _,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            digest @ ..,
        ] = seal
        else {
            return None;
        };
        Some(Self {
            sequence: u32::from_be_bytes([*s0, *s1, *s2, *s3]),
            digest: *digest,
            covered: covered(packet, header),
        })
    }

    /// Whether it was made with this key.
    #[must_use]
    pub fn is_by(&self, key: &[u8; 8]) -> bool {
        keyed(key).is_some_and(|mut mac| {
            mac.update(&self.covered);
            mac.verify_truncated_left(&self.digest).is_ok()
        })
    }
}

/// A frame of an advertisement over IPv4 with the authentication header in it; any other frame as it is.
#[must_use]
pub fn sealed(frame: &[u8], key: &[u8; 8], sequence: u32) -> Vec<u8> {
    try_sealed(frame, key, sequence).unwrap_or_else(|| frame.to_vec())
}

fn try_sealed(frame: &[u8], key: &[u8; 8], sequence: u32) -> Option<Vec<u8>> {
    let (ether, _) = Ethernet::ref_from_prefix(frame).ok()?;
    let l3 = match ether.ethertype.get() {
        ethernet::VLAN => 18,
        _ => 14,
    };
    let (link, packet) = frame.split_at_checked(l3)?;
    let (ip, _) = Ipv4::ref_from_prefix(packet).ok()?;
    if ip.version() != 4 || ip.protocol != PROTOCOL {
        return None;
    }
    let header = ip.header_len();
    let source = ip.source.get().to_be_bytes();
    let total = ip.total_len.get().checked_add(u16::try_from(LEN).ok()?)?;
    let (head, message) = packet.split_at_checked(header)?;
    let mut packet = head.to_vec();
    packet.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
    *packet.get_mut(9)? = protocol::AH;
    packet.get_mut(10..12)?.fill(0);
    let sum = checksum::of(packet.get(..ipv4::LEN.max(header))?);
    packet.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
    packet.extend([PROTOCOL, WORDS, 0, 0]);
    packet.extend(source);
    packet.extend(sequence.to_be_bytes());
    packet.extend([0; DIGEST]);
    packet.extend(message);
    let mut mac = keyed(key)?;
    mac.update(&covered(&packet, header));
    let digest = mac.finalize().into_bytes();
    let at = header + LEN - DIGEST;
    packet
        .get_mut(at..at + DIGEST)?
        .copy_from_slice(digest.get(..DIGEST)?);
    Some([link, &packet].concat())
}

fn keyed(key: &[u8; 8]) -> Option<Hmac<Md5>> {
    Hmac::new_from_slice(key).ok()
}

/// The packet as the digest is over it.
fn covered(packet: &[u8], header: usize) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let zero = [1..2, 6..8, 10..12, header + LEN - DIGEST..header + LEN];
    for range in zero {
        if let Some(bytes) = bytes.get_mut(range) {
            bytes.fill(0);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Seal, sealed};
    use crate::{Authentication, ParseError, Received};

    /// The first advertisement of a keepalived 2.2.7 with `auth_type AH`, `auth_pass abc`.
    const KEEPALIVED: &str = "01005e0000127686f7faa5db080045c0004000010000ff3318b5c0000202e0000012\
        70040000c0000202000000012a0a172953967f8bf999cab021339601020184bfc000020a0000000000000000";

    fn keepalived() -> Vec<u8> {
        let digits: String = KEEPALIVED.split_whitespace().collect();
        (0..digits.len() / 2)
            .map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn keepaliveds_seal_is_its_keys() {
        let received = Received::parse(&keepalived()).unwrap();
        let seal = received.seal.unwrap();
        assert_eq!(seal.sequence, 1);
        assert!(seal.is_by(b"abc\0\0\0\0\0"));
        assert!(!seal.is_by(b"abd\0\0\0\0\0"));
        let said = received.advertisement;
        assert_eq!(said.authentication, Authentication::Header);
        assert_eq!((said.router_id, said.priority), (51, 150));
    }

    #[test]
    fn what_was_changed_on_the_way_is_not_its_keys() {
        let good = keepalived();
        for at in 14..good.len() {
            // The class, the fragment word and the header's checksum are not under it.
            let free = [15, 20, 21, 24, 25].contains(&at);
            let mut bad = good.clone();
            bad[at] ^= 1;
            let Some(seal) = Seal::parse(&bad[14..], 20) else {
                continue;
            };
            assert_eq!(seal.is_by(b"abc\0\0\0\0\0"), free, "byte {at}");
        }
    }

    #[test]
    fn a_sealed_frame_is_byte_for_byte_what_keepalived_sends() {
        let good = keepalived();
        let plain = {
            let mut plain = good.clone();
            plain.drain(34..58);
            plain[16..18].copy_from_slice(&40u16.to_be_bytes());
            plain[23] = crate::PROTOCOL;
            plain[24..26].fill(0);
            let sum = wire::checksum::of(&plain[14..34]);
            plain[24..26].copy_from_slice(&sum.to_be_bytes());
            plain
        };
        assert_eq!(sealed(&plain, b"abc\0\0\0\0\0", 1), good);
        // Without its seal it says that it should have one.
        assert_eq!(Received::parse(&plain), Err(ParseError::Unsealed));
    }

    #[test]
    fn a_header_around_something_else_is_none() {
        let mut other = keepalived();
        other[34] = 6;
        assert_eq!(Received::parse(&other), Err(ParseError::NotVrrp));
        for len in 34..58 {
            let mut short = keepalived();
            short.truncate(len);
            let total = u16::try_from(len - 14).unwrap();
            short[16..18].copy_from_slice(&total.to_be_bytes());
            short[24..26].fill(0);
            let sum = wire::checksum::of(&short[14..34]);
            short[24..26].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(Received::parse(&short), Err(ParseError::NotVrrp), "{len}");
        }
    }
}
