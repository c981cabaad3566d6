use super::*;
use crate::detour::packet::ETHERNET;
use std::net::SocketAddr;
use types::Tunnel;
use wire::Sum;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 11]);

struct Ends {
    own: SocketAddr,
    vip: SocketAddr,
    far: [SocketAddr; 2],
    tunnel: (IpAddr, IpAddr),
}

fn ends() -> [Ends; 2] {
    let a = |text: &str| text.parse().expect("an endpoint");
    let ip = |text: &str| text.parse().expect("an address");
    [
        Ends {
            own: a("10.1.0.1:4000"),
            vip: a("192.0.2.10:80"),
            far: [a("240.1.0.7:80"), a("240.1.0.8:80")],
            tunnel: (ip("10.1.0.1"), ip("10.1.0.11")),
        },
        Ends {
            own: a("[2001:db8::1]:4000"),
            vip: a("[2001:db8::10]:80"),
            far: [a("[100::1:0:7]:80"), a("[100::1:0:8]:80")],
            tunnel: (ip("2001:db8::1"), ip("2001:db8::11")),
        },
    ]
}

/// A frame with right checksums.
fn frame(protocol: u8, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut upper: Vec<u8> = Vec::new();
    upper.extend(from.port().to_be_bytes());
    upper.extend(to.port().to_be_bytes());
    match protocol {
        protocol::TCP => upper.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]),
        _ => upper.extend([0, 12, 0, 0, b'a', b'b', b'c', b'd']),
    }
    let at = if protocol == protocol::TCP { 16 } else { 6 };
    let sum = sum(protocol, from.ip(), to.ip(), &upper).to_be_bytes();
    upper[at..at + 2].copy_from_slice(&sum);
    framed(protocol, from.ip(), to.ip(), &upper)
}

fn framed(protocol: u8, from: IpAddr, to: IpAddr, upper: &[u8]) -> Vec<u8> {
    let length = u16::try_from(upper.len()).expect("short");
    let mut frame = vec![9; 12];
    let mut ip = Vec::new();
    if from.is_ipv4() {
        frame.extend([8, 0]);
        ip.extend([0x45, 0]);
        ip.extend((length + 20).to_be_bytes());
        ip.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    } else {
        frame.extend([0x86, 0xdd]);
        ip.extend([0x60, 0, 0, 0]);
        ip.extend(length.to_be_bytes());
        ip.extend([protocol, 64]);
    }
    ip.extend(crate::detour::packet::octets(from));
    ip.extend(crate::detour::packet::octets(to));
    if from.is_ipv4() {
        assert!(wire::ipv4::fill_checksum(&mut ip));
    }
    [frame, ip, upper.to_vec()].concat()
}

fn sum(protocol: u8, from: IpAddr, to: IpAddr, upper: &[u8]) -> u16 {
    let length = u16::try_from(upper.len()).expect("short");
    let mut sum = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Sum::pseudo4(from.to_bits(), to.to_bits(), protocol, length)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Sum::pseudo6(from.to_bits(), to.to_bits(), protocol, length.into())
        }
        _ => panic!("one family"),
    };
    sum.add(upper);
    sum.finish()
}

/// What a frame holds from `at` on must be a packet between these ends with right checksums.
fn holds(frame: &[u8], at: usize, from: SocketAddr, to: SocketAddr) {
    let packet = Packet::read_at(frame, at).expect("a packet");
    assert_eq!((packet.source, packet.destination), (from.ip(), to.ip()));
    assert_eq!(packet.ports, Some((from.port(), to.port())));
    if from.is_ipv4() {
        let header = &frame[at..packet.upper];
        assert_eq!(wire::checksum::of(header), 0, "the header's checksum");
    }
    let upper = &frame[packet.upper..packet.end];
    assert_eq!(
        sum(packet.protocol, from.ip(), to.ip(), upper),
        0,
        "{upper:?}"
    );
}

fn translator(ends: &Ends, tunnel: Option<Tunnel>) -> Translator {
    let detour = Detour {
        vip: ends.vip.ip(),
        hop: (InterfaceId(0), ends.tunnel.1),
        tunnel: tunnel.map(|tunnel| (tunnel, ends.tunnel.0, ends.tunnel.1)),
    };
    let table = Table::default();
    let entries = ends.far.iter().map(|far| (far.ip(), detour)).collect();
    *table.lock().expect("alone") = Arc::new(entries);
    Translator::new(table)
}

fn known(_: InterfaceId, _: IpAddr) -> Option<MacAddr> {
    Some(MAC)
}

fn instead(way: Way) -> Vec<u8> {
    match way {
        Way::Instead(frame) => frame,
        other => panic!("it goes elsewhere, not {other:?}"),
    }
}

#[test]
fn there_it_is_the_virtual_address_and_back_the_hosts() {
    for ends in ends() {
        for protocol in [protocol::TCP, protocol::UDP] {
            let mut translator = translator(&ends, None);
            let answer = frame(protocol, ends.vip, ends.own);
            assert_eq!(translator.inward(&answer), None, "nobody asked");
            let asked = frame(protocol, ends.own, ends.far[0]);
            let out = instead(translator.outward(&asked, Duration::ZERO, known));
            assert_eq!(out[..6], MAC.0);
            holds(&out, ETHERNET, ends.own, ends.vip);
            let back = translator.inward(&answer).expect("an answer");
            holds(&back, ETHERNET, ends.far[0], ends.own);
            let mut other = ends.vip;
            other.set_port(81);
            assert_eq!(translator.inward(&frame(protocol, other, ends.own)), None);
        }
    }
}

/// The host may use one port towards two servers; both have the same virtual address.
#[test]
fn two_conversations_from_one_port_are_kept_apart() {
    for ends in ends() {
        let mut translator = translator(&ends, None);
        let mut outside = |far: SocketAddr, at: u64| {
            let asked = frame(protocol::TCP, ends.own, far);
            let out = instead(translator.outward(&asked, Duration::from_secs(at), known));
            let packet = Packet::read(&out).expect("a packet");
            let own = SocketAddr::new(packet.source, packet.ports.expect("ports").0);
            holds(&out, ETHERNET, own, ends.vip);
            own
        };
        let (first, second) = (outside(ends.far[0], 0), outside(ends.far[1], 1));
        assert_ne!(first, second);
        assert_eq!(outside(ends.far[1], 2), second, "as long as it goes on");
        for (own, far) in [(first, ends.far[0]), (second, ends.far[1])] {
            let back = translator.inward(&frame(protocol::TCP, ends.vip, own));
            holds(&back.expect("an answer"), ETHERNET, far, ends.own);
        }
        // Long after the first has ended its port is free again.
        let mut other = ends.far[1];
        other.set_port(80);
        let asked = frame(protocol::TCP, ends.own, other);
        let out = translator.outward(&asked, Duration::from_secs(200), known);
        holds(&instead(out), ETHERNET, second, ends.vip);
    }
}

#[test]
fn through_the_tunnel_it_is_wrapped() {
    let tunnels = ["ipip", "gre", "gre:csum", "gue:6080", "gue:6080:csum"];
    for ends in ends() {
        for text in tunnels {
            let tunnel: Tunnel = text.parse().expect("a tunnel");
            let mut translator = translator(&ends, Some(tunnel));
            let asked = frame(protocol::TCP, ends.own, ends.far[0]);
            let out = instead(translator.outward(&asked, Duration::ZERO, known));
            let outer = Packet::read(&out).expect("a packet");
            assert_eq!((outer.source, outer.destination), ends.tunnel, "{text}");
            assert_eq!(outer.end, out.len());
            if outer.source.is_ipv4() {
                assert_eq!(wire::checksum::of(&out[ETHERNET..outer.upper]), 0);
            }
            let between = usize::from(tunnel.header_len());
            holds(&out, outer.upper + between, ends.own, ends.vip);
            let upper = &out[outer.upper..];
            match text {
                "gre:csum" => assert_eq!(wire::checksum::of(upper), 0, "{text}"),
                "gue:6080:csum" => {
                    assert_eq!(
                        sum(protocol::UDP, outer.source, outer.destination, upper),
                        0
                    );
                }
                _ => {}
            }
        }
    }
}

#[test]
fn what_is_not_for_a_detour_goes_as_it_is() {
    for ends in ends() {
        let mut translator = translator(&ends, None);
        let elsewhere = frame(protocol::TCP, ends.own, ends.vip);
        assert_eq!(
            translator.outward(&elsewhere, Duration::ZERO, known),
            Way::Out
        );
        let asked = frame(protocol::TCP, ends.own, ends.far[0]);
        let nobody = |_, _| None;
        assert_eq!(
            translator.outward(&asked, Duration::ZERO, nobody),
            Way::Drop,
            "without a MAC"
        );
        let stray = match ends.own {
            SocketAddr::V4(_) => "240.1.9.9:80".parse().expect("an endpoint"),
            SocketAddr::V6(_) => "[100::1:0:9999]:80".parse().expect("an endpoint"),
        };
        let stray = frame(protocol::TCP, ends.own, stray);
        assert_eq!(translator.outward(&stray, Duration::ZERO, known), Way::Drop);
        for length in 0..asked.len() {
            let cut = &asked[..length];
            assert!(!matches!(
                translator.outward(cut, Duration::ZERO, known),
                Way::Instead(_)
            ));
            assert_eq!(translator.inward(cut), None);
        }
    }
}

#[test]
fn an_error_is_about_what_the_host_sent() {
    for ends in ends() {
        let mut translator = translator(&ends, None);
        let asked = frame(protocol::UDP, ends.own, ends.far[0]);
        let sent = instead(translator.outward(&asked, Duration::ZERO, known));
        let (number, head) = match ends.own {
            SocketAddr::V4(_) => (protocol::ICMP, [3, 3]),
            SocketAddr::V6(_) => (protocol::ICMPV6, [1, 4]),
        };
        let mut message = head.to_vec();
        message.extend([0; 6]);
        message.extend(&sent[ETHERNET..]);
        let error = framed(number, ends.vip.ip(), ends.own.ip(), &message);
        let told = translator.inward(&error).expect("it is about a check");
        let packet = Packet::read(&told).expect("a packet");
        assert_eq!(packet.source, ends.far[0].ip());
        let quoted = Packet::read_at(&told, packet.upper + 8).expect("a packet");
        assert_eq!(quoted.destination, ends.far[0].ip());
        assert_eq!(quoted.ports, Some((ends.own.port(), ends.far[0].port())));
        let upper = &told[packet.upper..packet.end];
        match ends.own {
            SocketAddr::V4(_) => assert_eq!(wire::checksum::of(upper), 0),
            SocketAddr::V6(_) => {
                assert_eq!(sum(number, packet.source, packet.destination, upper), 0);
            }
        }
    }
}
