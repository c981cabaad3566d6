//! `allow`, `deny`, `connection_limit`, `rate_limit`, `client_rate_limit`: just under each everything goes, beyond it nothing
//! new does, and what stands goes on.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::{
    DropReason,
    model::{Desired, Limits},
};
use sim::{
    Packet, Recorder, VecFrame, World,
    world::{MACS, network, service},
};
use std::net::{IpAddr, SocketAddr};
use types::{ForwardingMethod::Masq, PortId, Protocol, Scheduler};

const SYN: u8 = 2;
const ACK: u8 = 16;
const V4: (&str, &str) = ("10.0.0.100:80", "10.1.0.11:80");
const V6: (&str, &str) = ("[fd00::100]:80", "[fd01::11]:80");

fn limited((vip, server): (&str, &str), protocol: Protocol, limits: Limits) -> Desired {
    let mut desired = network();
    let made = service(protocol, vip, Scheduler::Rr, Masq, &[server]);
    desired.limits = vec![(made.key, limits)];
    desired.services = vec![made];
    desired
}

fn limits() -> Limits {
    Limits {
        client_prefix: 32,
        ..Limits::default()
    }
}

/// Packets that wanted a connection, of this client with so many ports; how many were let in.
fn open(world: &mut World, client: &str, ports: std::ops::Range<u16>, vip: &str) -> usize {
    let ip: IpAddr = client.parse().unwrap();
    let vip: SocketAddr = vip.parse().unwrap();
    let workers = world.workers.len();
    ports
        .filter(|port| {
            let packet = Packet::tcp(SocketAddr::new(ip, *port), vip, SYN);
            let worker = usize::from(*port) % workers;
            !world.give(worker, 0, &packet.frame(MACS[0])).is_empty()
        })
        .count()
}

fn dropped(world: &World, reason: DropReason) -> u64 {
    let workers = world.workers.iter();
    workers.map(|w| w.counters().dropped(reason)).sum()
}

#[test]
fn who_may_not_gets_no_connection_and_keeps_those_he_has() {
    let mut world = World::new(&limited(V4, Protocol::Tcp, limits()), 2);
    assert_eq!(open(&mut world, "172.16.0.1", 1000..1001, V4.0), 1);
    let list = |nets: &[&str]| nets.iter().map(|n| n.parse().unwrap()).collect();
    let deny = Limits {
        deny: list(&["172.16.0.0/24"]),
        allow: list(&["172.16.0.9/32", "0.0.0.0/0"]),
        ..limits()
    };
    world.apply(&limited(V4, Protocol::Tcp, deny));
    assert_eq!(open(&mut world, "172.16.0.1", 2000..2010, V4.0), 0);
    assert_eq!(open(&mut world, "172.16.0.9", 2000..2010, V4.0), 10);
    assert_eq!(open(&mut world, "172.16.1.1", 2000..2010, V4.0), 10);
    assert_eq!(dropped(&world, DropReason::Denied), 10);
    let stands = Packet::tcp(
        "172.16.0.1:1000".parse().unwrap(),
        V4.0.parse().unwrap(),
        ACK,
    );
    assert_eq!(world.give(0, 0, &stands.frame(MACS[0])).len(), 1);
}

#[test]
fn as_many_at_once_as_the_limit_and_one_more_when_one_ends() {
    let limit = Limits {
        connections: Some(20),
        ..limits()
    };
    let mut world = World::new(&limited(V4, Protocol::Tcp, limit), 2);
    assert_eq!(open(&mut world, "172.16.0.1", 1000..1020, V4.0), 20);
    assert_eq!(open(&mut world, "172.16.0.2", 1000..1020, V4.0), 0);
    assert_eq!(dropped(&world, DropReason::ConnectionLimit), 20);
    // SYN_RECV lasts a minute.
    world.pass(61_000);
    assert_eq!(open(&mut world, "172.16.0.2", 1000..1030, V4.0), 20);
}

#[test]
fn a_second_s_worth_at_once_then_the_rate() {
    for ends in [V4, V6] {
        let client = if ends == V4 { "172.16.0.1" } else { "fd77::1" };
        let limit = Limits {
            rate: Some(50),
            ..limits()
        };
        let mut world = World::new(&limited(ends, Protocol::Tcp, limit), 2);
        assert_eq!(open(&mut world, client, 1000..1100, ends.0), 50);
        assert_eq!(dropped(&world, DropReason::RateLimit), 50);
        world.pass(200);
        assert_eq!(open(&mut world, client, 2000..2100, ends.0), 10);
        world.pass(5_000);
        assert_eq!(open(&mut world, client, 3000..3100, ends.0), 50);
    }
}

#[test]
fn one_client_s_excess_is_nobody_else_s_loss() {
    let limit = Limits {
        rate: Some(30),
        client_rate: Some(5),
        client_prefix: 24,
        ..limits()
    };
    let mut world = World::new(&limited(V4, Protocol::Tcp, limit), 2);
    assert_eq!(open(&mut world, "172.16.0.1", 1000..1400, V4.0), 5);
    assert_eq!(dropped(&world, DropReason::ClientRateLimit), 395);
    // His neighbour is the same client by the prefix; others are not.
    assert_eq!(open(&mut world, "172.16.0.200", 1000..1010, V4.0), 0);
    for net in 1..=5 {
        let client = format!("172.16.{net}.1");
        assert_eq!(open(&mut world, &client, 1000..1010, V4.0), 5, "{client}");
    }
    assert_eq!(dropped(&world, DropReason::RateLimit), 0);
    assert_eq!(open(&mut world, "172.16.6.1", 1000..1005, V4.0), 0);
    assert_eq!(dropped(&world, DropReason::RateLimit), 5);
}

#[test]
fn ten_thousand_prefixes_are_told_apart() {
    let nets = (0..10_000u32).map(|n| {
        let address = std::net::Ipv4Addr::from_bits((100 << 24) | (n << 8));
        types::IpNet::new(address.into(), 24).unwrap()
    });
    let deny = Limits {
        deny: nets
            .filter(|net| net.address().to_string().ends_with(".0"))
            .collect(),
        ..limits()
    };
    let mut world = World::new(&limited(V4, Protocol::Tcp, deny), 1);
    assert_eq!(open(&mut world, "100.39.15.7", 1000..1010, V4.0), 0);
    assert_eq!(open(&mut world, "100.39.16.7", 1000..1010, V4.0), 10);
    assert_eq!(open(&mut world, "99.255.255.255", 1000..1010, V4.0), 10);
}

#[test]
fn what_would_be_refused_is_foretold_and_costs_nothing() {
    let limit = Limits {
        rate: Some(1),
        client_rate: Some(1),
        ..limits()
    };
    let mut world = World::new(&limited(V4, Protocol::Tcp, limit), 1);
    let frame = |port: u16| {
        let client = SocketAddr::new("172.16.0.1".parse().unwrap(), port);
        VecFrame::new(&Packet::tcp(client, V4.0.parse().unwrap(), SYN).frame(MACS[0]))
    };
    let foretold = |world: &World, port| {
        let mut out = Recorder::default();
        world
            .director
            .explain(world.now, PortId(0), frame(port), &mut out)
            .unwrap();
        out.sent.len()
    };
    for _ in 0..3 {
        assert_eq!(foretold(&world, 1000), 1);
    }
    assert_eq!(open(&mut world, "172.16.0.1", 1000..1001, V4.0), 1);
    assert_eq!(foretold(&world, 1001), 0);
    assert_eq!(open(&mut world, "172.16.0.1", 1001..1002, V4.0), 0);
}
