//! IPv6 (RFC 8200): the header and the walk over extension headers.

use crate::protocol;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian,
    network_endian::{U16, U32},
};

/// Bytes of the fixed header.
pub const LEN: usize = 40;
/// Bytes of a fragment header.
pub const FRAGMENT_LEN: usize = 8;
/// Extension headers followed at most. More has no honest use.
const EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// The fixed IPv6 header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: U32,
    /// Bytes behind this header.
    pub payload_len: U16,
    /// What follows: an extension header or the upper-layer protocol.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// 6 in a valid header.
    #[must_use]
    #[inline]
    pub fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// DSCP and ECN.
    #[must_use]
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        ((self.version_class_flow.get() >> 20) & 0xff) as u8
    }

    /// Source as a number, host byte order.
    #[must_use]
    #[inline]
    pub const fn source(&self) -> u128 {
        u128::from_be_bytes(self.source)
    }

    /// Destination as a number, host byte order.
    #[must_use]
    #[inline]
    pub const fn destination(&self) -> u128 {
        u128::from_be_bytes(self.destination)
    }

    /// Source and destination as they stand there, each read as two little-endian numbers.
    #[must_use]
    #[inline]
    pub fn addresses(&self) -> [[u64; 2]; 2] {
        let addresses: &Addresses = zerocopy::transmute_ref!(self);
        let Addresses {
            source,
            destination,
            ..
        } = addresses;
        [
            [source[0].get(), source[1].get()],
            [destination[0].get(), destination[1].get()],
        ]
    }

    /// Version 6 with a traffic class and no flow label.
    #[must_use]
    pub const fn class(traffic_class: u8) -> U32 {
        U32::new(0x6000_0000 | ((traffic_class as u32) << 20))
    }
}

/// The header's addresses as words: bytes gathered one by one are not always made one load.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Addresses {
    before: [u8; 8],
    source: [little_endian::U64; 2],
    destination: [little_endian::U64; 2],
}

/// The fragment extension header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FragmentHeader {
    /// What the unfragmented packet has behind it.
    pub next_header: u8,
    /// Zero.
    pub reserved: u8,
    /// Offset in units of 8 bytes (13 bits), reserved (2), more fragments (1).
    pub offset_more: U16,
    /// Shared by fragments of one packet.
    pub id: U32,
}

impl FragmentHeader {
    /// Whether this is the first fragment (offset 0).
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.offset_more.get() & 0xfff8 == 0
    }

    /// Whether more follow.
    #[must_use]
    pub fn more(&self) -> bool {
        self.offset_more.get() & 1 != 0
    }
}

/// Where the fragment header of a fragment stands, in bytes from the IPv6 header's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentAt {
    /// The header.
    pub header: usize,
    /// The byte before it that names it.
    pub named: usize,
}

/// The fragment header of the packet at the start of `packet`, if it has one where others are followed.
#[must_use]
pub fn fragment_header(packet: &[u8]) -> Option<(FragmentAt, FragmentHeader)> {
    let (at, next) = follow(packet, |_, _| true)?;
    if next != protocol::FRAGMENT {
        return None;
    }
    let (header, _) = FragmentHeader::read_from_prefix(packet.get(at.header..)?).ok()?;
    Some((at, header))
}

/// The headers every fragment of the packet at the start of `packet` has to repeat (RFC 8200 4.5): their bytes, where the last of
/// them names what follows, and what that is.
#[must_use]
pub fn unfragmentable(packet: &[u8]) -> Option<(usize, usize, u8)> {
    // Destination options behind a routing header are for the destination alone.
    let (at, next) = follow(packet, |kind, routed| {
        matches!(kind, HOP_BY_HOP | ROUTING) || (kind == DESTINATION && !routed)
    })?;
    Some((at.header, at.named, next))
}

/// Goes over extension headers before a fragment header, as long as `on` says so of their kind and whether a routing header was met.
fn follow(packet: &[u8], on: impl Fn(u8, bool) -> bool) -> Option<(FragmentAt, u8)> {
    let (ip, _) = Ipv6::ref_from_prefix(packet).ok()?;
    let mut next = ip.next_header;
    let mut at = FragmentAt {
        header: LEN,
        named: std::mem::offset_of!(Ipv6, next_header),
    };
    let mut routed = false;
    for _ in 0..=EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | DESTINATION) || !on(next, routed) {
            break;
        }
        routed |= next == ROUTING;
        let &[following, words, ..] = packet.get(at.header..)? else {
            return None;
        };
        at = FragmentAt {
            header: at.header + (usize::from(words) + 1) * 8,
            named: at.header,
        };
        next = following;
    }
    (at.header <= packet.len()).then_some((at, next))
}

/// What stands behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// Protocol number.
    pub protocol: u8,
    /// Bytes from the start of the IPv6 header.
    pub offset: usize,
    /// `None`: no fragment header. `Some(first)`: one was met; a later fragment has no upper-layer header at `offset`.
    pub fragment: Option<bool>,
}

/// Why a chain of extension headers cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionError {
    /// It ends outside the bytes given.
    Truncated,
    /// More headers than are followed.
    TooMany,
}

/// Follows the extension headers. `packet` starts at the IPv6 header and ends where the packet (or segment) ends.
///
/// An "atomic" fragment (offset 0, no more to come) counts as whole. The walk stops at a later fragment's data.
///
/// # Errors
/// [`ExtensionError`] when the chain leaves `packet` or is too long.
#[inline]
pub fn upper_layer(packet: &[u8], next_header: u8) -> Result<UpperLayer, ExtensionError> {
    match next_header {
        HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | protocol::FRAGMENT => {
            walk(packet, next_header)
        }
        protocol => Ok(UpperLayer {
            protocol,
            offset: LEN,
            fragment: None,
        }),
    }
}

#[cold]
fn walk(packet: &[u8], mut next: u8) -> Result<UpperLayer, ExtensionError> {
    let mut offset = LEN;
    let mut fragment = None;
    for _ in 0..=EXTENSIONS {
        let rest = packet.get(offset..).ok_or(ExtensionError::Truncated)?;
        let len = match next {
            HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION => {
                let &[following, words, ..] = rest else {
                    return Err(ExtensionError::Truncated);
                };
                let len = if next == AUTHENTICATION {
                    (usize::from(words) + 2) * 4
                } else {
                    (usize::from(words) + 1) * 8
                };
                next = following;
                len
            }
            protocol::FRAGMENT => {
                let (header, _) =
                    FragmentHeader::ref_from_prefix(rest).map_err(|_| ExtensionError::Truncated)?;
                next = header.next_header;
                if !header.is_first() {
                    return Ok(UpperLayer {
                        protocol: next,
                        offset: offset + FRAGMENT_LEN,
                        fragment: Some(false),
                    });
                }
                if header.more() {
                    fragment = Some(true);
                }
                FRAGMENT_LEN
            }
            protocol => {
                return Ok(UpperLayer {
                    protocol,
                    offset,
                    fragment,
                });
            }
        };
        offset += len;
        if offset > packet.len() {
            return Err(ExtensionError::Truncated);
        }
    }
    Err(ExtensionError::TooMany)
}

const _: () = assert!(size_of::<Ipv6>() == LEN && size_of::<FragmentHeader>() == FRAGMENT_LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(chain: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; LEN];
        bytes.extend_from_slice(chain);
        bytes
    }

    #[test]
    fn extension_headers_are_followed_to_the_upper_layer() {
        // hop-by-hop (8 bytes), destination options (16), then TCP
        let mut chain = vec![DESTINATION, 0, 1, 4, 0, 0, 0, 0];
        chain.extend([protocol::TCP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        chain.extend([0; 20]);
        assert_eq!(
            upper_layer(&packet(&chain), HOP_BY_HOP),
            Ok(UpperLayer {
                protocol: protocol::TCP,
                offset: LEN + 24,
                fragment: None
            })
        );
    }

    #[test]
    fn fragments_are_told_apart() {
        let header = |offset_more: u16| {
            let mut h = vec![protocol::UDP, 0];
            h.extend(offset_more.to_be_bytes());
            h.extend([0; 4]);
            upper_layer(&packet(&h), protocol::FRAGMENT).unwrap()
        };
        assert_eq!(header(1).fragment, Some(true));
        assert_eq!(header(8).fragment, Some(false));
        assert_eq!(header(0).fragment, None);
        assert_eq!(header(0).offset, LEN + 8);
    }

    #[test]
    fn chains_that_lie_are_refused() {
        assert_eq!(
            upper_layer(&packet(&[]), HOP_BY_HOP),
            Err(ExtensionError::Truncated)
        );
        assert_eq!(
            upper_layer(&packet(&[6, 9, 0, 0, 0, 0, 0, 0]), HOP_BY_HOP),
            Err(ExtensionError::Truncated)
        );
        let endless = [DESTINATION, 0, 0, 0, 0, 0, 0, 0].repeat(12);
        assert_eq!(
            upper_layer(&packet(&endless), DESTINATION),
            Err(ExtensionError::TooMany)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_leave_the_packet(bytes in proptest::collection::vec(any::<u8>(), 0..200), next in any::<u8>()) {
            let bytes = packet(&bytes);
            if let Ok(upper) = upper_layer(&bytes, next) {
                prop_assert!(upper.offset <= bytes.len());
            }
        }
    }
}
