//! Outside `compat = "ipvs"` no packet of a NAT service shows a client a real server's address: whatever a server sends,
//! at whatever moment of a connection's life, nothing that goes to the clients' side has it anywhere in its bytes.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use proptest::prelude::*;
use sim::{
    Packet, Sent, World, packet,
    world::{MACS, network, persistent, service},
};
use std::net::{IpAddr, SocketAddr};
use types::{ForwardingMethod::Masq, PortId, Protocol, Scheduler};

const V4: [&str; 2] = ["10.1.0.11", "10.1.0.12"];
const V6: [&str; 2] = ["fd01::11", "fd01::12"];

#[derive(Clone, Debug)]
enum Event {
    /// A client's packet: family, protocol, client, flags.
    Client(bool, bool, u16, u8),
    /// A server's packet from its service's port: and which server.
    Server(bool, bool, u16, u8, usize),
    /// The same in fragments, of which the second, the first or none comes late or never.
    Fragments(bool, bool, u16, u8, usize, u8),
    /// An ICMP error of a server about a packet it was, or might have been, sent: type and code.
    Error(bool, bool, u16, usize, u8, u8),
    /// Milliseconds pass.
    Pass(u64),
    /// A server is removed or comes back.
    Toggle(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..6u16;
    let flags = prop::sample::select(vec![0x02u8, 0x10, 0x12, 0x11, 0x04, 0x14, 0x18, 0]);
    let any = (any::<bool>(), any::<bool>());
    prop_oneof![
        5 => (any, client.clone(), flags.clone()).prop_map(|((v6, udp), c, f)| Event::Client(v6, udp, c, f)),
        5 => (any, client.clone(), flags.clone(), 0..2usize)
            .prop_map(|((v6, udp), c, f, s)| Event::Server(v6, udp, c, f, s)),
        2 => (any, client.clone(), flags.clone(), 0..2usize, 0..4u8)
            .prop_map(|((v6, udp), c, f, s, order)| Event::Fragments(v6, udp, c, f, s, order)),
        2 => (any, client, 0..2usize, prop::sample::select(vec![1u8, 2, 3, 4, 5, 11, 12]), 0..5u8)
            .prop_map(|((v6, udp), c, s, kind, code)| Event::Error(v6, udp, c, s, kind, code)),
        1 => prop_oneof![Just(10u64), Just(1_000), Just(6_000), Just(25_000)].prop_map(Event::Pass),
        1 => (0..2usize).prop_map(Event::Toggle),
    ]
}

fn vip(v6: bool, udp: bool) -> SocketAddr {
    let ip: IpAddr = if v6 { "fd00::100" } else { "10.0.0.100" }.parse().unwrap();
    SocketAddr::new(ip, if udp { 53 } else { 80 })
}

fn server(v6: bool, udp: bool, n: usize) -> SocketAddr {
    let ip: IpAddr = if v6 { V6 } else { V4 }[n].parse().unwrap();
    SocketAddr::new(ip, if udp { 5353 } else { 8080 })
}

fn client(v6: bool, n: u16) -> SocketAddr {
    let ip: IpAddr = if v6 { "2001:db8::7" } else { "172.16.0.7" }
        .parse()
        .unwrap();
    SocketAddr::new(ip, 4000 + n)
}

fn packet(udp: bool, from: SocketAddr, to: SocketAddr, flags: u8) -> Packet {
    if udp {
        Packet::udp(from, to, b"payload of some length")
    } else {
        Packet::tcp(from, to, flags)
    }
}

/// The frame's packet in two fragments, the first with 8 bytes behind the IP header.
fn cut(frame: &[u8]) -> [Vec<u8>; 2] {
    let v6 = frame[14] >> 4 == 6;
    let header = if v6 { 40 } else { 20 };
    let (head, data) = frame.split_at(14 + header);
    [(0, &data[..8], true), (8, &data[8..], false)].map(|(offset, data, more)| {
        let mut one = head.to_vec();
        if v6 {
            let len = u16::try_from(8 + data.len()).unwrap();
            one[18..20].copy_from_slice(&len.to_be_bytes());
            let next = std::mem::replace(&mut one[20], 44);
            one.extend([next, 0, 0, offset | u8::from(more), 0, 0, 0, 7]);
        } else {
            let len = u16::try_from(20 + data.len()).unwrap();
            one[16..18].copy_from_slice(&len.to_be_bytes());
            one[20] = u8::from(more) << 5;
            one[21] = offset / 8;
            assert!(wire::ipv4::fill_checksum(&mut one[14..]));
        }
        one.extend(data);
        one
    })
}

/// Whether a frame shows an address of a server.
fn shows_a_server(frame: &[u8]) -> bool {
    let has = |needle: &[u8]| frame.windows(needle.len()).any(|w| w == needle);
    V4.iter()
        .chain(&V6)
        .any(|text| match text.parse().unwrap() {
            IpAddr::V4(ip) => has(&ip.octets()),
            IpAddr::V6(ip) => has(&ip.octets()),
        })
}

fn world(present: [bool; 2]) -> engine::model::Desired {
    let mut desired = network();
    // Short enough for connections to end within the test, which is shorter than a removed server is remembered.
    desired.settings.timeout_tcp_s = 20;
    desired.settings.timeout_tcp_fin_s = 5;
    desired.settings.timeout_udp_s = 5;
    for v6 in [false, true] {
        for udp in [false, true] {
            let servers: Vec<String> = (0..2)
                .filter(|&n| present[n])
                .map(|n| server(v6, udp, n).to_string())
                .collect();
            let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let vip = vip(v6, udp).to_string();
            let mut one = service(protocol, &vip, Scheduler::Wlc, Masq, &servers);
            one.persistence = if v6 { persistent(20) } else { None };
            desired.services.push(one);
        }
    }
    desired
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_server_s_address_never_reaches_the_clients(events in prop::collection::vec(event(), 1..100)) {
        let mut present = [true; 2];
        let mut world_now = World::new(&world(present), 2);
        for (at, event) in events.into_iter().enumerate() {
            let worker = at % 2;
            let sent: Vec<Sent> = match event {
                Event::Client(v6, udp, c, flags) => {
                    let frame = packet(udp, client(v6, c), vip(v6, udp), flags).frame(MACS[0]);
                    world_now.give(worker, 0, &frame)
                }
                Event::Server(v6, udp, c, flags, s) => {
                    let frame = packet(udp, server(v6, udp, s), client(v6, c), flags).frame(MACS[1]);
                    world_now.give(worker, 1, &frame)
                }
                Event::Fragments(v6, udp, c, flags, s, order) => {
                    let frame = packet(udp, server(v6, udp, s), client(v6, c), flags).frame(MACS[1]);
                    let pieces = cut(&frame);
                    let which: &[usize] = [&[0, 1][..], &[1, 0], &[0], &[1]][usize::from(order)];
                    let given = which.iter().enumerate();
                    given
                        .flat_map(|(n, piece)| world_now.give((worker + n) % 2, 1, &pieces[*piece]))
                        .collect()
                }
                Event::Error(v6, udp, c, s, kind, code) => {
                    let about = packet(udp, client(v6, c), server(v6, udp, s), 0x10).frame(MACS[1]);
                    let (from, to) = (server(v6, udp, s).ip(), client(v6, c).ip());
                    let frame = packet::icmp_error(MACS[1], from, to, kind, code, &about[14..]);
                    world_now.give(worker, 1, &frame)
                }
                Event::Pass(ms) => world_now.pass(ms),
                Event::Toggle(n) => {
                    present[n] = !present[n];
                    world_now.apply(&world(present));
                    Vec::new()
                }
            };
            for frame in sent.iter().filter(|s| s.port == PortId(0)) {
                prop_assert!(!shows_a_server(&frame.bytes), "after event {at}: {:02x?}", frame.bytes);
            }
        }
    }
}
