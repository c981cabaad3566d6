//! `on_removal`: what becomes of the connections of a removed server, per service.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::model::Desired;
use sim::{
    Packet, Sent, World, packet,
    world::{MACS, network, service},
};
use std::net::{IpAddr, SocketAddr};
use types::{ForwardingMethod, OnRemoval, PortId, Protocol, Scheduler, Tick};
use wire::{Sum, tcp};

use ForwardingMethod::{Masq, Route, Tunnel};

const SYN: u8 = tcp::SYN;
const ACK: u8 = tcp::ACK;
const RST: u8 = tcp::RST;

/// A client's network, a virtual address, two servers.
struct Case {
    client: &'static str,
    vip: &'static str,
    servers: [&'static str; 2],
    method: ForwardingMethod,
}

const V4: Case = Case {
    client: "172.16.0.1",
    vip: "10.0.0.100:80",
    servers: ["10.1.0.11:80", "10.1.0.12:80"],
    method: Masq,
};
const V6: Case = Case {
    client: "fd77::1",
    vip: "[fd00::100]:80",
    servers: ["[fd01::11]:80", "[fd01::12]:80"],
    method: Masq,
};

impl Case {
    fn desired(&self, on: Option<OnRemoval>, protocol: Protocol) -> Desired {
        let mut desired = network();
        let made = service(
            protocol,
            self.vip,
            Scheduler::Rr,
            self.method,
            &self.servers,
        );
        desired.on_removal = on.map(|on| (made.key, on)).into_iter().collect();
        desired.services = vec![made];
        desired
    }

    fn vip(&self) -> SocketAddr {
        self.vip.parse().unwrap()
    }

    fn client(&self, n: u16) -> SocketAddr {
        SocketAddr::new(self.client.parse().unwrap(), 10_000 + n)
    }

    fn give(&self, world: &mut World, n: u16, flags: u8, numbers: (u32, u32)) -> Vec<Sent> {
        let packet = Packet::tcp(self.client(n), self.vip(), flags);
        world.give(0, 0, &numbered(packet.frame(MACS[0]), numbers))
    }

    fn establish(&self, world: &mut World, clients: u16) {
        for n in 0..clients {
            self.give(world, n, SYN, (1, 0));
            self.give(world, n, ACK, (2, 1));
        }
    }

    /// Removes the service's first server, which has the odd clients.
    fn remove(&self, world: &mut World, desired: &Desired) {
        let mut fewer = desired.clone();
        fewer.services[0].servers.remove(0);
        world.apply(&fewer);
    }
}

/// The bytes of a frame's TCP header.
fn segment(frame: &[u8]) -> usize {
    if frame[12..14] == [0x86, 0xdd] {
        14 + 40
    } else {
        14 + 20
    }
}

/// With other sequence and acknowledgement numbers.
fn numbered(mut frame: Vec<u8>, (sequence, acknowledgement): (u32, u32)) -> Vec<u8> {
    let at = segment(&frame);
    let packet = packet::read(&frame).unwrap();
    frame[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
    frame[at + 8..at + 12].copy_from_slice(&acknowledgement.to_be_bytes());
    frame[at + 16..at + 18].fill(0);
    let mut sum = match (packet.source.ip(), packet.destination.ip()) {
        (IpAddr::V4(s), IpAddr::V4(d)) => Sum::pseudo4(s.to_bits(), d.to_bits(), 6, 20),
        (IpAddr::V6(s), IpAddr::V6(d)) => Sum::pseudo6(s.to_bits(), d.to_bits(), 6, 20),
        _ => unreachable!(),
    };
    sum.add(&frame[at..at + 20]);
    frame[at + 16..at + 18].copy_from_slice(&sum.finish().to_be_bytes());
    frame
}

fn sequence(sent: &Sent) -> u32 {
    let at = segment(&sent.bytes) + 4;
    u32::from_be_bytes(sent.bytes[at..at + 4].try_into().unwrap())
}

fn read(sent: &Sent) -> Packet {
    packet::read(&sent.bytes).unwrap()
}

/// Clients that were asked.
fn asked(case: &Case, sent: &[Sent]) -> Vec<SocketAddr> {
    let mut clients: Vec<SocketAddr> = sent
        .iter()
        .map(|sent| {
            let packet = read(sent);
            assert_eq!((sent.port, packet.source), (PortId(0), case.vip()));
            assert_eq!((packet.flags, packet.payload.len()), (Some(ACK), 0));
            packet.destination
        })
        .collect();
    clients.sort_unstable();
    clients
}

#[test]
fn both_ends_are_reset_with_the_numbers_the_client_tells() {
    let methods = [Masq, Route];
    let cases = methods
        .into_iter()
        .flat_map(|method| [V4, V6].map(|case| Case { method, ..case }));
    for case in cases {
        let desired = case.desired(Some(OnRemoval::Reset), Protocol::Tcp);
        let mut world = World::new(&desired, 1);
        case.establish(&mut world, 4);
        case.remove(&mut world, &desired);
        let odd = [case.client(1), case.client(3)];
        assert_eq!(asked(&case, &world.pass(100)), odd);
        assert_eq!(asked(&case, &world.pass(1000)), [], "asked once");

        let sent = case.give(&mut world, 1, ACK, (7000, 9000));
        let [to_client, to_server] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!((to_client.port, to_server.port), (PortId(0), PortId(1)));
        assert_eq!((sequence(to_client), sequence(to_server)), (9000, 7000));
        let (client, server) = (read(to_client), read(to_server));
        assert_eq!((client.flags, server.flags), (Some(RST), Some(RST)));
        assert_eq!((client.source, client.destination), (case.vip(), odd[0]));
        let there = match case.method {
            Masq => case.servers[0].parse().unwrap(),
            _ => case.vip(),
        };
        assert_eq!((server.source, server.destination), (odd[0], there));
        assert_eq!(world.connections().len(), 3);
        // The others go on where they were; a new one goes to the server that is left.
        assert_eq!(case.give(&mut world, 0, ACK, (2, 1)).len(), 1);
        assert_eq!(case.give(&mut world, 1, SYN, (1, 0)).len(), 1);
        // Who does not answer is forgotten.
        world.pass(7000);
        let left = world.connections();
        assert!(left.iter().all(|c| c.client.port() != 10_003), "{left:?}");
    }
}

#[test]
fn through_a_tunnel_too() {
    let case = Case {
        method: Tunnel,
        ..V4
    };
    let desired = case.desired(Some(OnRemoval::Reset), Protocol::Tcp);
    let mut world = World::new(&desired, 1);
    case.establish(&mut world, 2);
    case.remove(&mut world, &desired);
    world.pass(100);
    let sent = case.give(&mut world, 1, ACK, (7000, 9000));
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].bytes[23], 4, "IP in IP");
    let inner: Vec<u8> = [&sent[1].bytes[..14], &sent[1].bytes[34..]].concat();
    assert_eq!(packet::read(&inner).unwrap().flags, Some(RST));
}

#[test]
fn a_client_s_own_reset_is_not_answered_and_a_broken_packet_does_nothing() {
    let desired = V4.desired(Some(OnRemoval::Reset), Protocol::Tcp);
    let mut world = World::new(&desired, 1);
    V4.establish(&mut world, 2);
    V4.remove(&mut world, &desired);
    world.pass(100);
    let mut broken = Packet::tcp(V4.client(1), V4.vip(), ACK).frame(MACS[0]);
    let last = segment(&broken) + 17;
    broken[last] ^= 1;
    assert_eq!(world.give(0, 0, &broken).len(), 0);
    assert_eq!(world.connections().len(), 2);
    let sent = V4.give(&mut world, 1, RST, (7000, 0));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].port, sequence(&sent[0])), (PortId(1), 7000));
    assert_eq!(world.connections().len(), 1);
}

#[test]
fn half_open_connections_go_elsewhere_and_datagrams_too() {
    let desired = V4.desired(Some(OnRemoval::Reset), Protocol::Tcp);
    let mut world = World::new(&desired, 1);
    V4.give(&mut world, 0, SYN, (1, 0));
    V4.give(&mut world, 1, SYN, (1, 0));
    V4.remove(&mut world, &desired);
    assert_eq!(asked(&V4, &world.pass(100)), []);
    let sent = V4.give(&mut world, 1, SYN, (1, 0));
    assert_eq!(read(&sent[0]).destination, V4.servers[1].parse().unwrap());

    let desired = V4.desired(Some(OnRemoval::Reset), Protocol::Udp);
    let mut world = World::new(&desired, 1);
    for n in 0..2 {
        let packet = Packet::udp(V4.client(n), V4.vip(), b"x");
        world.give(0, 0, &packet.frame(MACS[0]));
    }
    V4.remove(&mut world, &desired);
    assert_eq!(world.pass(100).len(), 0);
    assert_eq!(world.connections().len(), 1);
}

#[test]
fn clients_are_asked_at_a_pace() {
    let desired = V4.desired(Some(OnRemoval::Reset), Protocol::Tcp);
    let mut world = World::new(&desired, 1);
    V4.establish(&mut world, 400);
    V4.remove(&mut world, &desired);
    // A round of the clockwork.
    assert_eq!(world.pass(10).len(), 16);
    assert_eq!(world.pass(1000).len(), 200 - 16);
}

#[test]
fn a_standby_asks_nobody() {
    let mut desired = V4.desired(Some(OnRemoval::Reset), Protocol::Tcp);
    desired.floating = vec![(V4.vip().ip(), 0)];
    let mut world = World::new(&desired, 1);
    let roles = world.director.roles();
    roles.lease(Tick(u64::MAX));
    roles.set(0, true);
    V4.establish(&mut world, 2);
    roles.set(0, false);
    V4.remove(&mut world, &desired);
    assert_eq!(world.pass(1000).len(), 0);
}

#[test]
fn a_service_s_own_word_counts_more_than_the_setting() {
    for (setting, on, left) in [
        (false, None, 4),
        (true, None, 2),
        (true, Some(OnRemoval::Keep), 4),
        (false, Some(OnRemoval::Expire), 2),
    ] {
        let mut desired = V4.desired(on, Protocol::Tcp);
        desired.settings.expire_nodest_conn = setting;
        let mut world = World::new(&desired, 1);
        V4.establish(&mut world, 4);
        V4.remove(&mut world, &desired);
        assert_eq!(world.pass(100).len(), 0);
        assert_eq!(world.connections().len(), left, "{setting} {on:?}");
        let sent = V4.give(&mut world, 1, ACK, (7000, 9000));
        let flags: Vec<_> = sent.iter().map(|sent| read(sent).flags).collect();
        // What is kept is silent; what has ended is unknown, and so refused.
        match left {
            4 => assert_eq!(flags, []),
            _ => assert_eq!(flags, [Some(RST)]),
        }
    }
}

#[test]
fn the_word_stays_when_the_service_goes_with_its_servers() {
    let desired = V4.desired(Some(OnRemoval::Reset), Protocol::Tcp);
    let mut world = World::new(&desired, 1);
    V4.establish(&mut world, 2);
    world.apply(&network());
    assert_eq!(asked(&V4, &world.pass(100)), [V4.client(0), V4.client(1)]);
}
