use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Template {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_words_of_the_manual_are_read() {
    let template =
        read("udp 10.0.0.1-10.0.0.250:1024-65535 > 10.0.1.1:80 size imix order zipf:1.2 vlan 10:3");
    assert_eq!(template.kind, Kind::Udp);
    assert_eq!(template.flows(), 250 * 64512);
    assert_eq!(template.order, Order::Zipf { s: 1.2 });
    assert_eq!(template.vlan, Some((VlanId::try_from(10).unwrap(), 3)));
    assert_eq!(template.frame_len(64), 64);
    assert_eq!(template.headers_len(), 46);

    let template =
        read("tcp [2001:db8::/112,2001:db9::1]:7 > [2001:db8:1::1]:80,443 flags syn,ack flows 100");
    assert!(template.is_ipv6);
    assert_eq!(template.kind, Kind::Tcp { flags: 0x12 });
    assert_eq!((template.axes[0].total(), template.flows()), (65537, 100));
    // The smallest with room for the stamp.
    assert_eq!(template.sizes, Sizes::one(96));

    let template = read("arp 10.0.0.0/16 > 10.1.0.1 order uniform");
    assert_eq!((template.kind, template.headers_len()), (Kind::Arp, 42));
    assert_eq!(template.sizes, Sizes::one(64));

    let template = read("icmp 192.0.2.1:5-9 > 192.0.2.2 ttl 1 tos 184 df");
    assert_eq!((template.ttl, template.tos), (1, 184));
    assert_eq!(template.axes[1].total(), 5);
    assert!(template.dont_fragment);
}

#[test]
fn mistakes_say_where_what_and_what_instead() {
    for (text, at, part) in [
        ("", 1, "what to send"),
        ("sctp 10.0.0.1 > 10.0.0.2:1", 1, "udp, tcp, icmp or arp"),
        (
            "udp 10.0.0.300 > 10.0.0.2:1",
            5,
            "`10.0.0.300` is no IP address",
        ),
        ("udp 10.0.0.1 10.0.0.2:1", 14, "SOURCE > DESTINATION"),
        ("udp 10.0.0.1 > 10.0.0.2", 16, "lacks the destination port"),
        (
            "udp 10.0.0.1:1-70000 > 10.0.0.2:1",
            14,
            "`70000` is no port",
        ),
        ("udp 10.0.0.1:9-1 > 10.0.0.2:1", 14, "write `1-9`"),
        (
            "udp 10.0.0.9-10.0.0.1 > 10.0.0.2:1",
            5,
            "write `10.0.0.1-10.0.0.9`",
        ),
        ("udp 10.0.0.1,::1 > 10.0.0.2:1", 5, "brackets"),
        ("udp 2001:db8::1 > [::1]:1", 5, "brackets"),
        ("udp [::1]:1 > 10.0.0.2:1", 15, "one family"),
        ("udp [::1:1 > 10.0.0.2:1", 5, "never closed"),
        ("udp [::/3] > [::1]:1", 6, "2^63"),
        ("udp 10.0.0.1 > 10.0.0.2:1 size 32", 32, "64 to 9018"),
        (
            "udp 10.0.0.1 > 10.0.0.2:1 size 64 ttl 3 size 128",
            41,
            "`size` has been said already",
        ),
        (
            "udp 10.0.0.1 > 10.0.0.2:1 speed 3",
            27,
            "one of size, flags",
        ),
        ("udp 10.0.0.1 > 10.0.0.2:1 size", 31, "needs a value"),
        ("udp 10.0.0.1 > 10.0.0.2:1 flags syn", 33, "only tcp"),
        (
            "tcp 10.0.0.1 > 10.0.0.2:1 flags sin",
            33,
            "`sin` is no TCP flag",
        ),
        (
            "tcp 10.0.0.1 > 10.0.0.2:1 order best",
            33,
            "sequential, uniform",
        ),
        (
            "tcp 10.0.0.1 > 10.0.0.2:1 checksum none",
            36,
            "only udp over IPv4",
        ),
        ("tcp [::1] > [::2]:1 size 64", 26, "at least 78"),
        ("icmp 10.0.0.1 > 10.0.0.2:7", 26, "no port here"),
        ("arp [::1] > [::2]", 5, "IPv4's"),
        (
            "udp 10.0.0.1 > 10.0.0.2:1 fragment last",
            36,
            "only `fragment first`",
        ),
        ("udp 10.0.0.1 > 10.0.0.2:1 vlan 4095", 32, "1 to 4094"),
        ("udp 10.0.0.1/33 > 10.0.0.2:1", 5, "prefix length"),
    ] {
        let error = text.parse::<Template>().unwrap_err();
        assert_eq!(error.at, at, "{error}");
        assert!(error.what.contains(part), "{error}");
    }
}

#[test]
fn the_mistake_is_pointed_at() {
    let error = "udp 10.0.0.1 > x:1"
        .parse::<Template>()
        .unwrap_err()
        .to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[1].find('x'), lines[2].find('^'), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = text.parse::<Template>();
    }

    #[test]
    fn nearly_right_texts_neither(text in "(udp|tcp|icmp) [0-9./:,\\[\\]-]{1,16} > [0-9./:,-]{1,16}( (size|vlan|order|flows|ttl) [a-z0-9:,.-]{1,6}){0,3}") {
        match text.parse::<Template>() {
            Ok(template) => prop_assert!(template.flows() > 0),
            Err(error) => prop_assert!(error.at <= text.len() + 1 && !error.what.is_empty()),
        }
    }
}
