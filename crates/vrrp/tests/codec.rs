//! The codec: what it writes it reads, what others wrote, and that nothing else is taken.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use std::net::IpAddr;
use types::{MacAddr, VlanId};
use vrrp::{
    Advertisement, Authentication, Checksum, Interval, Link, ParseError, Received, Version,
    advertisement, announcements, probe, question,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let nibble = |d: u8| char::from(d).to_digit(16).unwrap();
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(nibble(pair[0]) << 4 | nibble(pair[1])).unwrap())
        .collect()
}

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn any_advertisement() -> impl Strategy<Value = (IpAddr, Advertisement, Checksum, Option<u16>)> {
    let v6 = any::<bool>();
    (
        v6,
        any::<bool>(),
        1..=255u8,
        any::<u8>(),
        1..=4095u16,
        1..=20usize,
        any::<u32>(),
        any::<[u8; 8]>(),
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(1..4095u16),
    )
        .prop_map(
            |(v6, two, id, priority, cs, count, seed, password, auth, plain, vlan)| {
                let address = |n: u32| -> IpAddr {
                    let bits = seed.wrapping_add(n);
                    if v6 {
                        std::net::Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(bits)).into()
                    } else {
                        std::net::Ipv4Addr::from_bits(0x0a00_0000 | bits >> 8).into()
                    }
                };
                let version = if two && !v6 { Version::V2 } else { Version::V3 };
                let interval = match version {
                    Version::V2 => Interval::of_seconds(id),
                    Version::V3 => Interval::of_centiseconds(cs),
                };
                let authentication = if auth && version == Version::V2 {
                    Authentication::Password(password)
                } else {
                    Authentication::None
                };
                let said = Advertisement {
                    version,
                    router_id: id,
                    priority,
                    interval: interval.unwrap(),
                    addresses: (0..u32::try_from(count).unwrap()).map(address).collect(),
                    authentication,
                };
                let checksum = if plain {
                    Checksum::MessageOnly
                } else {
                    Checksum::PseudoHeader
                };
                (address(999), said, checksum, vlan)
            },
        )
}

fn link(vlan: Option<u16>) -> Link {
    Link {
        mac: MAC,
        vlan: vlan.map(|id| VlanId::try_from(id).unwrap()),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read((source, said, checksum, vlan) in any_advertisement()) {
        let frame = advertisement(link(vlan), source, None, &said, checksum);
        let read = Received::parse(&frame).unwrap();
        prop_assert_eq!(read.source, source);
        prop_assert_eq!(read.vlan, vlan);
        prop_assert_eq!(read.advertisement, said);
    }

    /// One changed byte anywhere behind the link header is found, whichever it is
    #[test]
    fn no_changed_byte_passes((source, said, checksum, _) in any_advertisement(), at in any::<prop::sample::Index>(), by in 1..=255u8) {
        let mut frame = advertisement(link(None), source, None, &said, checksum);
        let at = 14 + at.index(frame.len() - 14);
        frame[at] ^= by;
        if let Ok(read) = Received::parse(&frame) {
            // IPv6 has no checksum over its class and flow label.
            let unprotected = source.is_ipv6() && (14..18).contains(&at);
            prop_assert!(unprotected, "byte {} changed by {:#x}: {:?}", at, by, read);
        }
    }

    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), six in any::<bool>()) {
        let _ = Received::parse(&bytes);
        let ends: (IpAddr, IpAddr) = if six { ("fe80::1".parse().unwrap(), "ff02::12".parse().unwrap()) }
            else { ("10.0.0.1".parse().unwrap(), "224.0.0.18".parse().unwrap()) };
        let _ = Advertisement::parse(&bytes, ends.0, ends.1);
    }

    #[test]
    fn cut_off_it_is_refused((source, said, checksum, vlan) in any_advertisement(), cut in 1..60usize) {
        let frame = advertisement(link(vlan), source, None, &said, checksum);
        prop_assert!(Received::parse(&frame[..frame.len() - cut.min(frame.len())]).is_err());
    }
}

fn ends4() -> (IpAddr, IpAddr) {
    ("192.0.2.1".parse().unwrap(), "224.0.0.18".parse().unwrap())
}

/// Puts the right checksum (message only) into a message.
fn sealed(text: &str) -> Vec<u8> {
    let mut bytes = hex(text);
    if let Some(field) = bytes.get_mut(6..8) {
        field.fill(0);
    }
    let sum = wire::checksum::of(&bytes);
    if let Some(field) = bytes.get_mut(6..8) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// Every mistake by its name.
#[test]
fn every_mistake_has_a_name() {
    let right2 = "21 07 64 01 00 01 0000 c0000264 0000000000000000";
    let right3 = "31 07 64 01 0064 0000 c0000264";
    let cases: &[(&str, ParseError)] = &[
        ("31 07 64 01 00 64 00", ParseError::Truncated),
        ("41 07 64 01 0064 0000 c0000264", ParseError::Version(4)),
        ("32 07 64 01 0064 0000 c0000264", ParseError::Type(2)),
        ("31 00 64 01 0064 0000 c0000264", ParseError::RouterId),
        ("31 07 64 00 0064 0000", ParseError::NoAddresses),
        (
            "31 07 64 02 0064 0000 c0000264",
            ParseError::Length { count: 2, len: 4 },
        ),
        (
            "31 07 64 01 0064 0000 c0000264 00000000",
            ParseError::Length { count: 1, len: 8 },
        ),
        (
            "21 07 64 01 00 01 0000 c0000264 00000000",
            ParseError::Length { count: 1, len: 8 },
        ),
        ("31 07 64 01 f000 0000 c0000264", ParseError::Interval),
        (
            "21 07 64 01 00 00 0000 c0000264 0000000000000000",
            ParseError::Interval,
        ),
        (
            "21 07 64 01 03 01 0000 c0000264 0000000000000000",
            ParseError::AuthenticationType(3),
        ),
    ];
    let (from, to) = ends4();
    for (text, expected) in cases {
        let parsed = Advertisement::parse(&sealed(text), from, to);
        assert_eq!(parsed, Err(*expected), "{text}");
        assert!(!expected.to_string().is_empty() && !expected.name().is_empty());
    }
    for right in [right2, right3] {
        assert!(Advertisement::parse(&sealed(right), from, to).is_ok());
        let mut bytes = sealed(right);
        bytes[6] ^= 1;
        assert_eq!(
            Advertisement::parse(&bytes, from, to),
            Err(ParseError::Checksum)
        );
    }
    let six: IpAddr = "fe80::1".parse().unwrap();
    assert_eq!(
        Advertisement::parse(&sealed(right2), six, six),
        Err(ParseError::Version2OverIpv6)
    );
}

#[test]
fn mistakes_of_the_frame_have_names_too() {
    let (source, _) = ends4();
    let said = Advertisement {
        version: Version::V3,
        router_id: 7,
        priority: 100,
        interval: Interval::of_centiseconds(100).unwrap(),
        addresses: vec!["192.0.2.100".parse().unwrap()],
        authentication: Authentication::None,
    };
    let good = advertisement(link(None), source, None, &said, Checksum::PseudoHeader);
    let mend = |mut frame: Vec<u8>| {
        frame[24..26].fill(0);
        let sum = wire::checksum::of(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    let changed = |at: usize, to: u8| {
        let mut frame = good.clone();
        frame[at] = to;
        mend(frame)
    };
    assert_eq!(
        Received::parse(&changed(22, 254)),
        Err(ParseError::Ttl(254))
    );
    assert_eq!(
        Received::parse(&changed(20, 0x20)),
        Err(ParseError::Fragment)
    );
    assert_eq!(Received::parse(&changed(23, 6)), Err(ParseError::NotVrrp));
    assert_eq!(
        Received::parse(&changed(14, 0x44)),
        Err(ParseError::IpHeader)
    );
    assert_eq!(
        Received::parse(&changed(26, 224)),
        Err(ParseError::Source("224.0.2.1".parse().unwrap()))
    );
    let mut bad = good.clone();
    bad[24] ^= 1;
    assert_eq!(Received::parse(&bad), Err(ParseError::IpHeader));
    assert_eq!(Received::parse(&good[..20]), Err(ParseError::Truncated));
}

#[test]
fn an_ipv4_address_is_announced_both_ways_and_an_ipv6_one_as_rfc_4861_says() {
    let frames = announcements(link(None), "192.0.2.100".parse().unwrap());
    let arp = |operation: &str, target: &str| {
        hex(&format!(
            "ffffffffffff 020000000001 0806 0001 0800 06 04 {operation} 020000000001 c0000264 {target} c0000264"
        ))
    };
    assert_eq!(
        frames,
        [arp("0001", "000000000000"), arp("0002", "020000000001")]
    );
    let frames = announcements(link(Some(7)), "2001:db8::100".parse().unwrap());
    let frame = &frames[0];
    assert_eq!(
        frame[..22],
        hex("333300000001 020000000001 8100 c007 86dd 6c000000")[..22]
    );
    let message = &frame[18 + 40..];
    assert_eq!(
        (message[0], message[4] & 0xa0),
        (136, 0xa0),
        "router, override"
    );
    let ends = (
        u128::from_be_bytes(frame[18 + 8..18 + 24].try_into().unwrap()),
        u128::from_be_bytes(frame[18 + 24..18 + 40].try_into().unwrap()),
    );
    let len = u32::try_from(message.len()).unwrap();
    let mut sum = wire::Sum::pseudo6(ends.0, ends.1, 58, len);
    sum.add(message);
    assert_eq!(sum.finish(), 0);
}

#[test]
fn an_address_is_asked_for_from_no_address() {
    assert_eq!(
        probe(link(None), "192.0.2.100".parse().unwrap()),
        hex(
            "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 00000000 000000000000 c0000264"
        )
    );
    // RFC 4862 5.4.2: to the solicited-node group, without an option.
    assert_eq!(
        probe(link(Some(7)), "2001:db8::100".parse().unwrap()),
        hex(
            "3333ff000100 020000000001 8100 c007 86dd 6c000000 0018 3a ff 00000000000000000000000000000000 \
             ff0200000000000000000001ff000100 8700 4aef 00000000 20010db8000000000000000000000100"
        )
    );
}

#[test]
fn a_neighbour_is_asked_for_from_an_own_address() {
    assert_eq!(
        question(
            link(None),
            "192.0.2.2".parse().unwrap(),
            "192.0.2.1".parse().unwrap()
        ),
        hex(
            "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c0000202 000000000000 c0000201"
        )
    );
    let (own, other) = ("fe80::2".parse().unwrap(), "2001:db8::1".parse().unwrap());
    let frame = question(link(None), own, other);
    // RFC 4861 4.3: to the solicited-node group, with the MAC to answer to.
    assert_eq!(
        frame[..14 + 40],
        hex(
            "3333ff000001 020000000001 86dd 6c000000 0020 3a ff fe800000000000000000000000000002 \
             ff0200000000000000000001ff000001"
        )
    );
    let message = &frame[14 + 40..];
    let target_and_option = hex("20010db8000000000000000000000001 01 01 020000000001");
    assert_eq!((message[0], &message[8..]), (135, &target_and_option[..]));
    let ends = (
        u128::from_be_bytes(frame[14 + 8..14 + 24].try_into().unwrap()),
        u128::from_be_bytes(frame[14 + 24..14 + 40].try_into().unwrap()),
    );
    let mut sum = wire::Sum::pseudo6(ends.0, ends.1, 58, 32);
    sum.add(message);
    assert_eq!(sum.finish(), 0);
}
