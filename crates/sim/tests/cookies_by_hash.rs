//! `syn_cookies` where servers are reached directly: a SYN goes where a hash says and leaves nothing behind; what follows goes there, too,
//! and makes the connection, at a bounded rate.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::model::{Desired, Limits};
use sim::{
    Packet, World,
    world::{MACS, network, persistent, service},
};
use std::{collections::BTreeMap, net::SocketAddr};
use types::{
    ForwardingMethod::{Masq, Route},
    MacAddr, Protocol, Scheduler, SynCookies,
};

const SYN: u8 = 2;
const ACK: u8 = 16;
const VIP: &str = "10.0.0.100:80";
const SERVERS: [&str; 3] = ["10.1.0.11:80", "10.1.0.12:80", "10.1.0.13:80"];

fn desired(when: SynCookies, servers: &[&str]) -> Desired {
    let mut desired = network();
    let made = service(Protocol::Tcp, VIP, Scheduler::Rr, Route, servers);
    let limits = Limits {
        syn_cookies: when,
        client_prefix: 32,
        ..Limits::default()
    };
    desired.limits = vec![(made.key, limits)];
    desired.services = vec![made];
    desired
}

/// Servers told apart by their MACs.
fn world(desired: &Desired) -> World {
    let mut world = World::new(desired, 2);
    for last in [11, 12, 13] {
        let (lan, address) = (types::InterfaceId(1), format!("10.1.0.{last}"));
        let mac = MacAddr([2, 7, 7, 7, 7, last]);
        let known = world
            .director
            .set_neighbour(world.now, lan, address.parse().unwrap(), mac);
        assert!(known);
    }
    world
}

/// Where the client's packet goes; `None` if nowhere.
fn goes(world: &mut World, client: &str, flags: u8) -> Option<u8> {
    let from: SocketAddr = client.parse().unwrap();
    let packet = Packet::tcp(from, VIP.parse().unwrap(), flags);
    let worker = usize::from(from.port()) % 2;
    let sent = world.give(worker, 0, &packet.frame(MACS[0]));
    sent.iter().find(|s| s.port.0 == 1).map(|s| s.bytes[5])
}

fn clients() -> impl Iterator<Item = String> {
    (0..300u16).map(|n| format!("172.16.{}.7:{}", n % 7, 2000 + n))
}

#[test]
fn what_follows_a_syn_goes_where_it_went() {
    let mut world = world(&desired(SynCookies::On, &SERVERS));
    let mut shares: BTreeMap<u8, usize> = BTreeMap::new();
    let first: Vec<u8> = clients()
        .map(|c| goes(&mut world, &c, SYN).unwrap())
        .collect();
    assert!(world.connections().is_empty());
    for (client, server) in clients().zip(&first) {
        *shares.entry(*server).or_default() += 1;
        assert_eq!(goes(&mut world, &client, ACK), Some(*server), "{client}");
        assert_eq!(goes(&mut world, &client, ACK), Some(*server), "{client}");
    }
    assert_eq!(world.connections().len(), 300);
    assert!(
        shares.len() == 3 && shares.values().all(|n| *n > 60),
        "{shares:?}"
    );
    let [(_, flooded)] = world.director.floods(world.now)[..] else {
        panic!("one service has cookies");
    };
    assert_eq!(
        (flooded.hashed, flooded.accepted, flooded.cookies_sent),
        (300, 300, 0)
    );
}

#[test]
fn a_server_less_moves_its_own_clients_and_few_others() {
    let mut world = world(&desired(SynCookies::On, &SERVERS));
    let first: Vec<u8> = clients()
        .map(|c| goes(&mut world, &c, SYN).unwrap())
        .collect();
    // The same set with its weights told anew changes nothing.
    world.apply(&desired(SynCookies::On, &SERVERS));
    let mut moved = 0;
    world.apply(&desired(SynCookies::On, &SERVERS[..2]));
    for (client, server) in clients().zip(&first) {
        let now = goes(&mut world, &client, ACK).unwrap();
        assert_ne!(now, 13);
        moved += usize::from(*server != 13 && now != *server);
    }
    assert!(
        moved < 30,
        "{moved} of 300 moved though their server stayed"
    );
}

#[test]
fn acknowledgements_of_nothing_fill_the_table_no_faster_than_the_rate() {
    let mut world = world(&desired(SynCookies::Above(50), &SERVERS));
    // It begins when more than a second's worth has come.
    for client in clients() {
        goes(&mut world, &client, SYN);
    }
    let before = world.connections().len();
    assert!((50..60).contains(&before), "{before}");
    for n in 0..2_000u16 {
        let client = format!("198.18.{}.{}:{}", n / 250, n % 250, 1024 + n);
        assert!(
            goes(&mut world, &client, ACK).is_some(),
            "it goes on all the same"
        );
    }
    assert_eq!(world.connections().len(), before + 50);
    world.pass(1_000);
    for n in 0..2_000u16 {
        let client = format!("198.19.{}.{}:{}", n / 250, n % 250, 1024 + n);
        goes(&mut world, &client, ACK);
    }
    let after = world.connections().len();
    assert!((before + 95..=before + 101).contains(&after), "{after}");
    // Over, and forgotten: an acknowledgement of nothing is nobody's.
    world.pass(150_000);
    assert_eq!(goes(&mut world, "198.18.77.1:9", ACK), None);
}

#[test]
fn a_persistent_client_stays_with_its_server() {
    let mut desired = desired(SynCookies::On, &SERVERS);
    desired.services[0].persistence = persistent(300);
    let mut world = world(&desired);
    let first = goes(&mut world, "172.16.0.1:1000", SYN);
    assert_eq!(goes(&mut world, "172.16.0.1:1000", ACK), first);
    for port in 1001..1040 {
        let client = format!("172.16.0.1:{port}");
        assert_eq!(goes(&mut world, &client, SYN), first);
        assert_eq!(goes(&mut world, &client, ACK), first);
    }
    let templates = world.connections().iter().filter(|c| c.template).count();
    assert_eq!((templates, world.connections().len()), (1, 41));
}

#[test]
fn where_only_some_servers_are_behind_nat_nothing_is_done() {
    let mut desired = desired(SynCookies::On, &SERVERS);
    desired.services[0].servers[1].method = Masq;
    let mut world = world(&desired);
    assert!(goes(&mut world, "172.16.0.1:1000", SYN).is_some());
    assert_eq!(world.connections().len(), 1);
    assert!(world.director.floods(world.now).is_empty());
}
