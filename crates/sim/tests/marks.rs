//! Services by firewall mark, outside of `compat = "ipvs"`: marks come from the director's own rules.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::model::{Desired, MarkRule, Service, ServiceKey};
use sim::{
    Packet, World, packet,
    world::{MACS, network, persistent, service},
};
use std::net::SocketAddr;
use types::{Family, ForwardingMethod::Masq, Mark, PortId, Protocol::Tcp, Scheduler::Rr};

const SYN: u8 = 2;
const ACK: u8 = 0x10;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// HTTP and HTTPS of one address as one persistent service.
fn web() -> Desired {
    let mut desired = network();
    desired.vips = vec!["10.0.0.100".parse().unwrap()];
    desired.marks = vec![MarkRule {
        mark: Mark(80),
        protocol: Some(Tcp),
        destination: Some("10.0.0.100/32".parse().unwrap()),
        destination_ports: vec![80..=80, 443..=443],
        ..MarkRule::default()
    }];
    let servers = ["10.1.0.11:0", "10.1.0.12:0"];
    desired.services = vec![Service {
        key: ServiceKey::Mark {
            mark: Mark(80),
            family: Family::Ipv4,
        },
        persistence_engine: None,
        one_packet: false,
        persistence: persistent(300),
        ..service(Tcp, "10.0.0.100:1", Rr, Masq, &servers)
    }];
    desired
}

/// Where a client's packet went.
fn sent(world: &mut World, client: &str, to: &str, flags: u8) -> Option<SocketAddr> {
    let frame = Packet::tcp(at(client), at(to), flags).frame(MACS[0]);
    let out = world.give(0, 0, &frame);
    let on = out.iter().find(|s| s.port == PortId(1))?;
    Some(packet::read(&on.bytes).unwrap().destination)
}

#[test]
fn http_and_https_of_a_client_go_to_one_server() {
    let mut world = World::new(&web(), 1);
    let first = sent(&mut world, "172.16.0.1:1000", "10.0.0.100:80", SYN).unwrap();
    assert_eq!(first, at("10.1.0.12:80"));
    let other = sent(&mut world, "172.16.0.2:1000", "10.0.0.100:443", SYN).unwrap();
    assert_eq!(other, at("10.1.0.11:443"));
    let second = sent(&mut world, "172.16.0.1:1001", "10.0.0.100:443", SYN).unwrap();
    assert_eq!(second, at("10.1.0.12:443"));
    assert_eq!(
        sent(&mut world, "172.16.0.1:1002", "10.0.0.100:8080", SYN),
        None
    );
    // The reply has the virtual address.
    let reply = Packet::tcp(at("10.1.0.12:443"), at("172.16.0.1:1001"), SYN | ACK).frame(MACS[1]);
    let out = world.give(0, 1, &reply);
    assert_eq!(
        packet::read(&out[0].bytes).unwrap().source,
        at("10.0.0.100:443")
    );
    // Only what began a connection was asked about.
    assert!(sent(&mut world, "172.16.0.1:1001", "10.0.0.100:443", ACK).is_some());
    assert_eq!(world.director.mark_hits(), [3]);
}

#[test]
fn a_connection_outlives_its_rule() {
    let mut desired = web();
    let mut world = World::new(&desired, 1);
    let (client, vip) = ("172.16.0.1:1000", "10.0.0.100:80");
    let server = sent(&mut world, client, vip, SYN);
    desired.marks.clear();
    world.apply(&desired);
    assert_eq!(sent(&mut world, client, vip, ACK), server);
    assert_eq!(sent(&mut world, "172.16.0.1:1001", vip, SYN), None);
}

#[test]
fn marked_packets_to_foreign_addresses_are_taken_but_not_in_compat() {
    let mut desired = web();
    desired.marks[0].destination = Some("203.0.113.0/24".parse().unwrap());
    let (client, to) = ("172.16.0.1:1000", "203.0.113.9:80");
    let mut world = World::new(&desired, 1);
    assert_eq!(sent(&mut world, client, to, SYN), Some(at("10.1.0.12:80")));
    assert_eq!(sent(&mut world, client, to, ACK), Some(at("10.1.0.12:80")));
    let reply = Packet::tcp(at("10.1.0.12:80"), at(client), SYN | ACK).frame(MACS[1]);
    let out = world.give(0, 1, &reply);
    assert_eq!(packet::read(&out[0].bytes).unwrap().source, at(to));
    desired.settings.compat_ipvs = true;
    let mut world = World::new(&desired, 1);
    assert_eq!(sent(&mut world, client, to, SYN), None);
    desired.local = vec!["203.0.113.0/24".parse().unwrap()];
    world.apply(&desired);
    assert_eq!(sent(&mut world, client, to, SYN), Some(at("10.1.0.12:80")));
}
