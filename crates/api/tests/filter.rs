//! The capture filter: what matches what, what is refused, and that no text and no frame upsets it.

use api::filter::{Filter, MAX_FILTER_LENGTH, parse};
use proptest::prelude::*;

const HEAD: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9];

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&HEAD[..], &kind.to_be_bytes(), payload].concat()
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 60, 0, 1, 0, 0, 64, protocol, 0, 0];
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header.extend([198, 51, 100, 7, 192, 0, 2, 10]);
    header.extend_from_slice(payload);
    header
}

/// 2001:db8::7 to 2001:db8::10
fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    for last in [7, 16] {
        header.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    header.extend_from_slice(payload);
    header
}

/// Ports 40000 to 80.
const TCP: [u8; 20] = [
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
];

fn tcp4() -> Vec<u8> {
    ethernet(0x0800, &ipv4(6, 0x4000, &TCP))
}

fn tcp6_behind_options() -> Vec<u8> {
    let options = [[6, 0, 0, 0, 0, 0, 0, 0].as_slice(), &TCP].concat();
    ethernet(0x86dd, &ipv6(0, &options))
}

fn tagged() -> Vec<u8> {
    let inner = [&[0, 10, 8, 0][..], &ipv4(17, 0, &TCP)].concat();
    ethernet(0x8100, &inner)
}

fn arp() -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 192, 0, 2, 7];
    packet.extend([0, 0, 0, 0, 0, 0, 192, 0, 2, 1]);
    ethernet(0x0806, &packet)
}

#[test]
fn frames_match_what_they_should() {
    let later_fragment = ethernet(0x0800, &ipv4(6, 100, &TCP));
    let later_fragment6 = ethernet(
        0x86dd,
        &ipv6(44, &[6, 0, 0x10, 0, 0, 0, 0, 1, 0, 80, 0, 80]),
    );
    let icmp = ethernet(0x0800, &ipv4(1, 0, &[8, 0, 0, 0]));
    // Filter, frame, does it match?
    let cases: &[(&str, &[u8], bool)] = &[
        ("", &tcp4(), true),
        ("tcp", &tcp4(), true),
        ("udp", &tcp4(), false),
        ("ip", &tcp4(), true),
        ("ip6", &tcp4(), false),
        ("host 192.0.2.10", &tcp4(), true),
        ("src host 192.0.2.10", &tcp4(), false),
        ("dst 192.0.2.10", &tcp4(), true),
        ("net 198.51.100.0/24", &tcp4(), true),
        ("dst net 198.51.100.0/24", &tcp4(), false),
        ("host 2001:db8::7", &tcp4(), false),
        ("port 80", &tcp4(), true),
        ("src port 80", &tcp4(), false),
        ("dst port 80", &tcp4(), true),
        ("portrange 79-81", &tcp4(), true),
        ("portrange 81-90", &tcp4(), false),
        ("tcp port 80", &tcp4(), true),
        ("udp port 80", &tcp4(), false),
        ("tcp dst port 80 and host 198.51.100.7", &tcp4(), true),
        ("not tcp", &tcp4(), false),
        ("!udp && !arp", &tcp4(), true),
        ("udp or port 80", &tcp4(), true),
        ("udp and (port 80 or port 40000)", &tcp4(), false),
        // Equals, from left to right: (udp and udp) or tcp; (tcp or tcp) and udp.
        ("udp and udp or tcp", &tcp4(), true),
        ("tcp or tcp and udp", &tcp4(), false),
        ("tcp and port 80 or port 8080", &tcp4(), true),
        ("not udp port 80", &tcp4(), true),
        ("ether src host 02:00:00:00:00:09", &tcp4(), true),
        ("ether dst 02:00:00:00:00:01", &tcp4(), true),
        ("ether host 02:00:00:00:00:02", &tcp4(), false),
        ("less 54", &tcp4(), true),
        ("greater 55", &tcp4(), false),
        ("proto 6", &tcp4(), true),
        ("vlan", &tcp4(), false),
        ("ip6 and tcp port 80", &tcp6_behind_options(), true),
        ("host 2001:db8::10", &tcp6_behind_options(), true),
        ("net 2001:db8::/32", &tcp6_behind_options(), true),
        ("vlan", &tagged(), true),
        ("vlan 10", &tagged(), true),
        ("vlan 11", &tagged(), false),
        ("vlan 10 udp dst port 80", &tagged(), true),
        ("vlan and host 192.0.2.10", &tagged(), true),
        ("arp", &arp(), true),
        ("host 192.0.2.1", &arp(), true),
        ("src host 192.0.2.1", &arp(), false),
        ("ip", &arp(), false),
        ("icmp", &icmp, true),
        ("port 0", &icmp, false),
        ("tcp", &later_fragment, true),
        ("port 80", &later_fragment, false),
        ("ip6 and tcp", &later_fragment6, true),
        ("port 80", &later_fragment6, false),
    ];
    for (text, frame, expected) in cases {
        let filter = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(filter.matches(frame, frame.len()), *expected, "{text}");
    }
}

#[test]
fn what_is_cut_off_matches_nothing() {
    let frame = tcp4();
    assert!(
        parse("host 192.0.2.10")
            .unwrap()
            .matches(&frame[..34], frame.len())
    );
    assert!(!parse("port 80").unwrap().matches(&frame[..34], frame.len()));
    assert!(
        parse("greater 54")
            .unwrap()
            .matches(&frame[..20], frame.len()),
        "the whole frame's length counts"
    );
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, message) in [
        (
            "tcp prot 80",
            "filter, at character 5: unknown word `prot`; did you mean `port`?",
        ),
        (
            "192.0.2.1",
            "filter, at character 1: write `host 192.0.2.1`",
        ),
        (
            "host 192.0.2.0/24",
            "filter, at character 6: `192.0.2.0/24` is not an IP address (names are not looked up)",
        ),
        (
            "host example.org",
            "filter, at character 6: `example.org` is not an IP address (names are not looked up)",
        ),
        (
            "net 10.0.0.0/33",
            "filter, at character 5: `/33` is not a prefix length for IPv4; 0 to 32",
        ),
        (
            "port http",
            "filter, at character 6: `http` is not a port number, 0 to 65535",
        ),
        (
            "port 65536",
            "filter, at character 6: `65536` is not a port number, 0 to 65535",
        ),
        (
            "portrange 90-80",
            "filter, at character 11: `90-80` is not a range of ports, like 8000-8080",
        ),
        (
            "vlan 5000",
            "filter, at character 6: VLAN id 5000 is out of range; 0 to 4095",
        ),
        (
            "tcp and",
            "filter, at character 8: it ends where a condition, like `host 192.0.2.1`, must follow",
        ),
        (
            "and tcp",
            "filter, at character 1: a condition must come before `and`",
        ),
        (
            "(tcp",
            "filter, at character 5: a closing parenthesis is missing",
        ),
        (
            "tcp)",
            "filter, at character 4: a closing parenthesis that was never opened",
        ),
        (
            "tcp & udp",
            "filter, at character 5: unknown word `&`; one of: host, net, port, portrange, src, dst, ether, ip, ip6, arp, tcp, udp, sctp, icmp, icmp6, proto, vlan, less, greater, and, or, not",
        ),
        (
            "src",
            "filter, at character 4: it ends where `host`, `net`, `port` or an address must follow",
        ),
        (
            "ether 02:00:00:00:00:01",
            "filter, at character 7: after `ether` write `host`, `src` or `dst`",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
    }
    let deep = "(".repeat(200) + "tcp" + &")".repeat(200);
    assert!(parse(&deep).unwrap_err().what.contains("nested deeper"));
    let long = "tcp ".repeat(MAX_FILTER_LENGTH);
    assert!(parse(&long).unwrap_err().what.contains("longer than"));
    let alternating = "tcp".to_owned() + &" and tcp or tcp".repeat(100);
    assert!(parse(&alternating).unwrap_err().what.contains("alternate"));
}

/// Words of the language and near misses, in any order.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "tcp",
        "udp",
        "arp",
        "ip",
        "ip6",
        "not",
        "!",
        "and",
        "&&",
        "or",
        "||",
        "(",
        ")",
        "host",
        "192.0.2.10",
        "net",
        "198.51.100.0/24",
        "2001:db8::/32",
        "src",
        "dst",
        "port",
        "80",
        "portrange",
        "1-100",
        "vlan",
        "10",
        "less",
        "ether",
        "02:00:00:00:00:01",
        "proto",
        "6",
        "é",
        "&",
        "x",
    ]);
    prop::collection::vec(word, 0..20).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_text_and_no_frame_upset_it(
        text in prop_oneof![words(), ".{0,80}"],
        frame in prop::collection::vec(any::<u8>(), 0..120),
        kind in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x0806, 0x8100, 0x1234]),
    ) {
        let mut frame = frame;
        if let Some(slot) = frame.get_mut(12..14) {
            slot.copy_from_slice(&kind.to_be_bytes());
        }
        if let Ok(filter) = parse(&text) {
            let once = filter.matches(&frame, frame.len());
            prop_assert_eq!(filter.matches(&frame, frame.len()), once);
            // A filter and its negation share the frames out among them.
            if let Ok(negated) = parse(&format!("not ({text})")) && !text.trim().is_empty() {
                prop_assert_ne!(negated.matches(&frame, frame.len()), once);
            }
        }
        prop_assert!(Filter::all().matches(&frame, frame.len()));
    }
}
