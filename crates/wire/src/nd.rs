//! IPv6 neighbour discovery (RFC 4861).

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U32},
};

/// Bytes of a solicitation or advertisement before its options.
pub const LEN: usize = 24;
/// Bytes of a link-layer address option for Ethernet.
pub const OPTION_LEN: usize = 8;
/// Advertisement: the sender is a router.
pub const ROUTER: u32 = 0x8000_0000;
/// Advertisement: it answers a solicitation.
pub const SOLICITED: u32 = 0x4000_0000;
/// Advertisement: override what the cache holds.
pub const OVERRIDE: u32 = 0x2000_0000;
/// Option: the sender's link-layer address.
pub const SOURCE_LINK_LAYER: u8 = 1;
/// Option: the target's link-layer address.
pub const TARGET_LINK_LAYER: u8 = 2;

/// A neighbour solicitation or advertisement, `ICMPv6` header included, options not.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Neighbour {
    /// 135 (solicitation) or 136 (advertisement).
    pub kind: u8,
    /// 0.
    pub code: u8,
    /// `ICMPv6` checksum.
    pub checksum: U16,
    /// [`ROUTER`], [`SOLICITED`], [`OVERRIDE`] in an advertisement; 0 in a solicitation.
    pub flags: U32,
    /// The address asked for or told.
    pub target: [u8; 16],
}

/// A link-layer address option of an Ethernet.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LinkLayerOption {
    /// [`SOURCE_LINK_LAYER`] or [`TARGET_LINK_LAYER`].
    pub kind: u8,
    /// Length in units of 8 bytes: 1.
    pub len: u8,
    /// The address.
    pub mac: [u8; 6],
}

/// An option of zero length, or one that leaves the message: the message must be discarded (RFC 4861 4.6, 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedOptions;

/// The MAC in the option `kind`, if there is one, and whether all `options` are well-formed.
///
/// # Errors
/// [`MalformedOptions`].
pub fn link_layer(mut options: &[u8], kind: u8) -> Result<Option<[u8; 6]>, MalformedOptions> {
    let mut found = None;
    while !options.is_empty() {
        let &[this, words, ..] = options else {
            return Err(MalformedOptions);
        };
        let len = usize::from(words) * 8;
        if len == 0 {
            return Err(MalformedOptions);
        }
        let (option, rest) = options.split_at_checked(len).ok_or(MalformedOptions)?;
        if this == kind && found.is_none() {
            found = LinkLayerOption::ref_from_bytes(option).ok().map(|o| o.mac);
        }
        options = rest;
    }
    Ok(found)
}

/// The solicited-node multicast address of `ip` (RFC 4291 2.7.1).
#[must_use]
pub const fn solicited_node(ip: u128) -> u128 {
    0xff02_0000_0000_0000_0000_0001_ff00_0000 | (ip & 0x00ff_ffff)
}

/// The Ethernet group a multicast address is sent to (RFC 2464 7).
#[must_use]
pub const fn multicast_mac(ip: u128) -> [u8; 6] {
    let [.., a, b, c, d] = ip.to_be_bytes();
    [0x33, 0x33, a, b, c, d]
}

/// The link-local address of a MAC: modified EUI-64 (RFC 4291 appendix A).
#[must_use]
pub const fn link_local(mac: [u8; 6]) -> u128 {
    let [a, b, c, d, e, f] = mac;
    u128::from_be_bytes([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

const _: () = assert!(size_of::<Neighbour>() == LEN && size_of::<LinkLayerOption>() == OPTION_LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    #[test]
    fn addresses_derive_as_the_rfcs_say() {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().to_bits();
        assert_eq!(
            link_local([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]),
            ip("fe80::3656:78ff:fe9a:bcde")
        );
        assert_eq!(
            solicited_node(ip("fd00::12:3456:789a")),
            ip("ff02::1:ff56:789a")
        );
        assert_eq!(
            multicast_mac(ip("ff02::1:ff56:789a")),
            [0x33, 0x33, 0xff, 0x56, 0x78, 0x9a]
        );
    }

    #[test]
    fn options_are_found_or_refused() {
        let option = [SOURCE_LINK_LAYER, 1, 2, 0, 0, 0, 0, 9];
        assert_eq!(
            link_layer(&option, SOURCE_LINK_LAYER),
            Ok(Some([2, 0, 0, 0, 0, 9]))
        );
        assert_eq!(link_layer(&option, TARGET_LINK_LAYER), Ok(None));
        assert_eq!(
            link_layer(&[1, 0, 0, 0, 0, 0, 0, 0], 1),
            Err(MalformedOptions)
        );
        assert_eq!(
            link_layer(&[1, 2, 0, 0, 0, 0, 0, 0], 1),
            Err(MalformedOptions)
        );
        assert_eq!(link_layer(&[1], 1), Err(MalformedOptions));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in any::<u8>()) {
            let _ = link_layer(&bytes, kind);
        }
    }
}
