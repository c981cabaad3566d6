//! What control may ask of a director, and what becomes of connections when it does.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::{ModelError, ServiceError, model::Desired};
use sim::{
    Packet, World, packet,
    world::{MACS, network, persistent, service},
};
use std::net::SocketAddr;
use types::{ForwardingMethod, PortId, Protocol, Scheduler, Tick, Weight};

use ForwardingMethod::{Masq, Route, Tunnel};
use Protocol::{Tcp, Udp};
use Scheduler::{Rr, Wlc};

const SYN: u8 = 2;
const ACK: u8 = 0x10;
const VIP: &str = "10.0.0.100:80";
const SERVERS: [&str; 2] = ["10.1.0.11:8080", "10.1.0.12:8080"];

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client(n: u16) -> SocketAddr {
    at(&format!("172.16.0.1:{}", 10_000 + n))
}

fn web() -> Desired {
    let mut desired = network();
    desired.services = vec![service(Tcp, VIP, Rr, Masq, &SERVERS)];
    desired.settings.expire_nodest_conn = false;
    desired
}

/// Where the client's packet went, as the director sent it on.
fn sent_to(world: &mut World, n: u16, flags: u8) -> Option<SocketAddr> {
    let frame = Packet::tcp(client(n), at(VIP), flags).frame(MACS[0]);
    let sent = world.give(0, 0, &frame);
    let on: Vec<_> = sent.iter().filter(|s| s.port == PortId(1)).collect();
    assert!(on.len() <= 1);
    Some(packet::read(&on.first()?.bytes).unwrap().destination)
}

#[test]
fn every_mistake_is_found_at_once_and_nothing_changes() {
    let mut world = World::new(&web(), 1);
    let mut wrong = network();
    let v6 = "[fd01::11]:80";
    wrong.services = vec![
        service(Tcp, VIP, Rr, Masq, &["10.1.0.11:80", "10.1.0.11:80"]),
        service(Tcp, VIP, Rr, Masq, &[]),
        service(Udp, "10.0.0.100:0", Rr, Masq, &[]),
        service(Tcp, "10.0.0.100:81", Rr, Route, &["10.9.0.1:81"]),
        service(Tcp, "10.0.0.100:82", Rr, Route, &[v6]),
        service(Tcp, "10.0.0.100:83", Rr, Masq, &["10.1.0.1:80"]),
        service(Tcp, "10.0.0.100:84", Rr, Masq, &["224.0.0.1:80"]),
        service(Tcp, "10.0.0.100:85", Rr, Masq, &["10.1.0.12:80"]),
        service(Tcp, "10.0.0.100:86", Rr, Tunnel, &[v6, "10.200.0.1:86"]),
        service(Tcp, "224.0.0.9:80", Rr, Masq, &[]),
    ];
    wrong.services[4].persistence = persistent(0);
    wrong.services[7].servers[0].weight = Weight(u32::MAX);
    wrong.services[7].servers[0].upper_threshold = 3;
    wrong.services[7].servers[0].lower_threshold = 4;
    let errors = world.director.apply(world.now, &wrong).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let expected = [
        "service tcp 10.0.0.100:80 has the server 10.1.0.11:80 twice",
        "service tcp 10.0.0.100:80 is there twice",
        "service udp 10.0.0.100:0 is for every port (0), which only a persistent service can be",
        "server 10.9.0.1:81 of service tcp 10.0.0.100:81 is not on a connected segment (wan: 10.0.0.1/24, lan: 10.1.0.1/24); direct routing",
        "service tcp 10.0.0.100:82 is persistent for 0 seconds",
        "of the other address family, which only method `tunnel` can reach, not `route`",
        "server 10.1.0.1:80 of service tcp 10.0.0.100:83 cannot have this address: it is one of the director's own",
        "server 224.0.0.1:80 of service tcp 10.0.0.100:84 cannot have this address: it is a multicast address",
        "has the weight 4294967295; 0 to 2147483647",
        "has a lower threshold of 4 above the upper one of 3",
        "224.0.0.9 cannot be a virtual address",
    ];
    for part in expected {
        let times = texts.iter().filter(|text| text.contains(part)).count();
        assert_eq!(times, 1, "{part}\nin {texts:#?}");
    }
    assert_eq!(texts.len(), expected.len(), "{texts:#?}");
    // What was in force still is.
    assert_eq!(sent_to(&mut world, 1, SYN), Some(at(SERVERS[1])));
}

#[test]
fn a_removed_server_keeps_its_connections_and_comes_back_with_its_counters() {
    let mut world = World::new(&web(), 1);
    for n in 0..4 {
        sent_to(&mut world, n, SYN);
        sent_to(&mut world, n, ACK);
    }
    let mut fewer = web();
    fewer.services[0].servers.remove(0);
    let applied = world.director.apply(world.now, &fewer).unwrap();
    assert_eq!((applied.servers_removed, applied.services_changed), (1, 1));
    world.pass(2000);
    assert_eq!(world.connections().len(), 4);
    let to_removed: Vec<u16> = (0..4)
        .filter(|&n| sent_to(&mut world, n, ACK).is_none())
        .collect();
    assert_eq!(
        to_removed,
        [1, 3],
        "packets to the removed server are dropped in silence"
    );
    let applied = world.director.apply(world.now, &web()).unwrap();
    assert_eq!((applied.servers_revived, applied.servers_added), (1, 0));
    assert_eq!(sent_to(&mut world, 1, ACK), Some(at(SERVERS[0])));
    let view = world.service(at(VIP));
    assert_eq!(view.servers[0].counts.active, 2);
    // Two SYNs, two ACKs, and the one just now.
    assert_eq!(view.servers[0].traffic.packets_in, 5);
    assert_eq!(view.traffic.connections, 4);
}

#[test]
fn with_expire_nodest_conn_they_go_and_the_slot_is_free_again() {
    let mut desired = web();
    desired.settings.expire_nodest_conn = true;
    let mut world = World::new(&desired, 1);
    for n in 0..4 {
        sent_to(&mut world, n, SYN);
    }
    let before = world.service(at(VIP)).traffic;
    let mut fewer = desired.clone();
    fewer.services[0].servers.remove(0);
    world.apply(&fewer);
    world.pass(100);
    assert_eq!(world.connections().len(), 2);
    assert_eq!(
        world.service(at(VIP)).traffic,
        before,
        "what went through stays counted"
    );
    // More servers come and go than there are slots.
    for round in 0..200u16 {
        let mut other = fewer.clone();
        let extra = format!("10.1.0.13:{}", 1000 + round);
        let more = service(Tcp, VIP, Rr, Masq, &[&extra, "10.1.0.14:80"]);
        other.services[0].servers.extend(more.servers);
        world.apply(&other);
        for n in 0..4 {
            sent_to(&mut world, 100 + 4 * round + n, SYN);
        }
        world.apply(&fewer);
        world.pass(30);
    }
    let counts = world.service(at(VIP)).servers[0].counts;
    assert_eq!(
        world.connections().len(),
        counts.active as usize + counts.inactive as usize
    );
}

#[test]
fn edits_keep_connections_counters_and_the_scheduler_s_walk() {
    let mut world = World::new(&web(), 1);
    assert_eq!(sent_to(&mut world, 0, SYN), Some(at(SERVERS[1])));
    let mut edited = web();
    edited.services[0].servers[0].weight = Weight(5);
    let applied = world.director.apply(world.now, &edited).unwrap();
    assert_eq!((applied.servers_changed, applied.servers_added), (1, 0));
    assert_eq!(
        sent_to(&mut world, 1, SYN),
        Some(at(SERVERS[0])),
        "the walk goes on"
    );
    edited.services[0].scheduler = Wlc;
    edited.services[0].persistence = persistent(60);
    world.apply(&edited);
    assert_eq!(sent_to(&mut world, 0, ACK), Some(at(SERVERS[1])));
    let view = world.service(at(VIP));
    assert_eq!((view.traffic.connections, view.traffic.packets_in), (2, 3));
    assert!(world.director.zero(Some(&view.key)));
    assert_eq!(world.service(at(VIP)).traffic, engine::Traffic::default());
    let same = world.director.apply(world.now, &edited).unwrap();
    assert_eq!(same, engine::Applied::default(), "nothing changed");
}

#[test]
fn a_service_made_again_has_its_connections_back_and_new_figures() {
    let mut world = World::new(&web(), 1);
    sent_to(&mut world, 0, SYN);
    let mut none = web();
    none.services.clear();
    world.apply(&none);
    assert_eq!(
        sent_to(&mut world, 0, ACK),
        None,
        "no service, no balancing"
    );
    world.apply(&web());
    assert_eq!(
        sent_to(&mut world, 0, ACK),
        Some(at(SERVERS[1])),
        "its connections revive"
    );
    let view = world.service(at(VIP));
    assert_eq!(
        view.traffic.connections, 0,
        "its figures start anew, as in IPVS"
    );
    assert_eq!(view.servers[1].counts.active, 1);
}

#[test]
fn capacity_is_refused_by_name() {
    let mut desired = network();
    let ports = 1..=65;
    desired.services = ports
        .map(|port| service(Tcp, &format!("10.0.0.100:{port}"), Rr, Masq, &[]))
        .collect();
    let mut world = World::new(&network(), 1);
    let errors = world.director.apply(Tick(1), &desired).unwrap_err();
    let wanted = ServiceError::TooManyServices {
        wanted: 65,
        room: 64,
    };
    assert_eq!(errors, [ModelError::Service(wanted)]);
    desired.services.pop();
    world.apply(&desired);
    assert_eq!(world.director.services().len(), 64);
}

#[test]
fn thresholds_turn_clients_away_until_connections_end() {
    let mut desired = web();
    desired.services[0].servers.truncate(1);
    desired.services[0].servers[0].upper_threshold = 2;
    let mut world = World::new(&desired, 1);
    let admitted: Vec<bool> = (0..4)
        .map(|n| sent_to(&mut world, n, SYN).is_some())
        .collect();
    assert_eq!(admitted, [true, true, false, false]);
    assert!(world.service(at(VIP)).servers[0].overloaded);
    world.pass(62_000);
    assert!(world.connections().is_empty());
    assert!(sent_to(&mut world, 9, SYN).is_some());
}

#[test]
fn a_worker_that_has_not_begun_or_pauses_holds_nothing_up() {
    let mut world = World::new(&web(), 2);
    sent_to(&mut world, 0, SYN);
    world.workers[0].offline();
    for round in 0..200 {
        let mut desired = web();
        desired.services[0].servers[0].weight = Weight(round);
        world.apply(&desired);
    }
    assert!(
        sent_to(&mut world, 0, ACK).is_some(),
        "the next call ends the pause"
    );
    // One that neither pauses nor calls is told of, not waited for without end.
    let refused = (0..200).find_map(|round| {
        let mut desired = web();
        desired.services[0].servers[0].weight = Weight(round);
        world.director.apply(world.now, &desired).err()
    });
    assert_eq!(refused, Some(vec![ModelError::WorkerHangs]));
    sent_to(&mut world, 0, ACK);
    world.apply(&web());
}

#[test]
fn a_client_port_used_anew_towards_another_service_gets_its_own_answers() {
    let server = "10.1.0.11:8080";
    let other = "10.0.0.100:81";
    let mut desired = web();
    desired.services = vec![
        service(Tcp, VIP, Rr, Masq, &[server]),
        service(Tcp, other, Rr, Masq, &[server]),
    ];
    let mut world = World::new(&desired, 1);
    for vip in [VIP, other, VIP] {
        world.give(0, 0, &Packet::tcp(client(1), at(vip), SYN).frame(MACS[0]));
        let answer = Packet::tcp(at(server), client(1), SYN | ACK).frame(MACS[1]);
        let sent = world.give(0, 1, &answer);
        let source = packet::read(&sent.first().unwrap().bytes).unwrap().source;
        assert_eq!(
            source,
            at(vip),
            "the server knows only the newest use of the port"
        );
    }
    assert_eq!(world.connections().len(), 1);
    let counts = |vip| world.service(at(vip)).servers[0].counts;
    assert_eq!((counts(VIP).active, counts(other).active), (1, 0));
}
