//! Header views and checksums over any bytes: no panic, offsets inside the bytes, checksums as computed the plain way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Arp, Delta, Ethernet, FromBytes, Icmp, Ipv4, Ipv6, Sum, Tcp, Udp, checksum, ipv6, nd};

fuzz_target!(|bytes: &[u8]| {
    headers(bytes);
    sums(bytes);
    rewritten(bytes);
    addresses(bytes);
});

/// No address is left in what SCTP's endpoints tell of themselves, and everything else stays.
fn addresses(bytes: &[u8]) {
    let mut chunks = bytes.to_vec();
    let found = wire::sctp::blank_addresses(&mut chunks);
    assert!(chunks.len() == bytes.len() && found == (chunks != bytes));
    assert!(!wire::sctp::blank_addresses(&mut chunks));
}

fn headers(bytes: &[u8]) {
    if let Ok((arp, _)) = Arp::ref_from_prefix(bytes) {
        (arp.is_ipv4_over_ethernet(), arp.sender(), arp.target());
    }
    if let Ok((ip, _)) = Ipv4::ref_from_prefix(bytes) {
        assert!(ip.header_len() <= 60 && ip.fragment_offset() <= 0xfff8);
        (ip.version(), ip.is_fragment(), ip.dont_fragment());
    }
    if let Ok((ip, _)) = Ipv6::ref_from_prefix(bytes) {
        (ip.version(), ip.traffic_class());
        if let Ok(upper) = ipv6::upper_layer(bytes, ip.next_header) {
            assert!((ipv6::LEN..=bytes.len()).contains(&upper.offset));
        }
    }
    if let Ok((tcp, _)) = Tcp::ref_from_prefix(bytes) {
        assert!(tcp.header_len() <= 60);
    }
    let _ = Ethernet::ref_from_prefix(bytes);
    let _ = (Udp::ref_from_prefix(bytes), Icmp::ref_from_prefix(bytes));
    for kind in [1, 2] {
        let _ = nd::link_layer(bytes, kind);
    }
}

/// RFC 1071 as its text has it.
fn plain(bytes: &[u8]) -> u16 {
    let mut sum: u64 = bytes
        .chunks(2)
        .map(|pair| {
            u64::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn sums(bytes: &[u8]) {
    assert_eq!(checksum::of(bytes), plain(bytes));
    if let Some(header) = bytes.first_chunk::<20>() {
        assert_eq!(checksum::of_plain_header(header), plain(header));
    }
    // In two parts, the first of even length.
    let (first, second) = bytes.split_at(bytes.len() / 4 * 2);
    let mut sum = Sum::new();
    sum.add(first);
    sum.add(second);
    assert_eq!(sum.finish(), plain(bytes));
}

/// RFC 1624 agrees with a checksum computed anew.
fn rewritten(bytes: &[u8]) {
    let Some((ends, rest)) = bytes.split_first_chunk::<32>() else {
        return;
    };
    let (from, to) = ends.split_at(16);
    let number = |half: &[u8]| u128::from_be_bytes(half.try_into().expect("16 bytes"));
    let (from, to) = (number(from), number(to));
    let of = |head: u128| plain(&[&head.to_be_bytes(), rest].concat());
    // Of nothing but zeros there are two zeros in ones' complement; no header is all zeros.
    if from == 0 || to == 0 {
        return;
    }
    assert_eq!(checksum::update128(of(from), from, to), of(to));
    let delta = Delta::between128(from, to);
    assert_eq!(delta.apply(of(from)), of(to));
    assert_eq!(delta.reverse().apply(of(to)), of(from));

    let mut header = bytes.to_vec();
    if wire::ipv4::fill_checksum(&mut header)
        && let Ok((ip, _)) = Ipv4::ref_from_prefix(&header)
        && ip.header_len() >= wire::ipv4::LEN
    {
        let (length, ttl) = (ip.header_len(), ip.ttl);
        assert_eq!(plain(&header[..length]), 0);
        if ttl > 0 {
            wire::ipv4::decrement_ttl(&mut header);
            assert_eq!(plain(&header[..length]), 0);
        }
    }
}
