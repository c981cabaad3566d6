//! The defences against floods, as Linux does them (`defence`, whose frames were not all recorded; `defence2` is in
//! `tests/golden`).
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::model::Defence;
use sim::{
    Packet, World,
    world::{MACS, network, persistent, service},
};
use std::{collections::BTreeMap, net::SocketAddr};
use types::{ForwardingMethod::Masq, Protocol::Tcp, Scheduler};

const SYN: u8 = 2;
const ACK: u8 = 16;
const VIP: &str = "10.0.0.100:80";
const SERVER: &str = "10.1.0.11:80";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client(n: u16) -> SocketAddr {
    SocketAddr::from(([172, 16, (n >> 8) as u8, (n & 0xff) as u8], 40_000))
}

/// 200 half-open connections and 20 established ones of a persistent service, under `drop_entry`.
fn flooded(drop_entry: Defence, amemthresh: u32) -> World {
    let mut desired = network();
    let mut service = service(Tcp, VIP, Scheduler::Rr, Masq, &[SERVER]);
    service.persistence = persistent(300);
    desired.services = vec![service];
    desired.settings.drop_entry = drop_entry;
    desired.settings.amemthresh = amemthresh;
    let mut world = World::new(&desired, 2);
    for n in 0..220 {
        let give = |world: &mut World, port, packet: Packet| {
            let worker = usize::from(n % 2 == 0);
            world.give(worker, port, &packet.frame(MACS[usize::from(port)]));
        };
        give(&mut world, 0, Packet::tcp(client(n), at(VIP), SYN));
        if n >= 200 {
            give(&mut world, 1, Packet::tcp(at(SERVER), client(n), SYN | ACK));
            give(&mut world, 0, Packet::tcp(client(n), at(VIP), ACK));
        }
    }
    world
}

/// Connections by state, templates apart.
fn states(world: &World) -> BTreeMap<(bool, &'static str), usize> {
    let mut states = BTreeMap::new();
    for connection in world.connections() {
        *states
            .entry((connection.template, connection.state))
            .or_default() += 1;
    }
    states
}

#[test]
fn drop_entry_ends_half_open_connections_and_their_templates_only() {
    let mut world = flooded(Defence::On, 1024);
    world.pass(8_000);
    let left = states(&world);
    // Each second one slot of 32 is looked at: (31/32)^8 of 200 is 155, as in the recording.
    let half_open = left[&(false, "SYN_RECV")];
    assert!((130..185).contains(&half_open), "{left:?}");
    assert_eq!(left[&(true, "NONE")], half_open, "{left:?}");
    assert_eq!(left[&(false, "ESTABLISHED")], 20);
    assert_eq!(left[&(true, "ASSURED")], 20);
    let view = &world.director.services()[0].servers[0];
    assert_eq!(view.counts.active as usize, half_open + 20);
    assert_eq!(view.counts.persistent as usize, half_open + 20);
}

#[test]
fn off_or_with_room_nothing_is_dropped() {
    for defence in [Defence::Off, Defence::Automatic] {
        let mut world = flooded(defence, 1024);
        world.pass(8_000);
        assert_eq!(states(&world)[&(false, "SYN_RECV")], 200, "{defence:?}");
    }
}
