//! Ageing takes small pieces of a worker's time, however many connections end at once, and keeps pace with what begins.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use arrayvec::ArrayVec;
use engine::{Capacity, model::Desired};
use sim::{
    Packet, World,
    world::{MACS, network, service},
};
use std::net::{Ipv4Addr, SocketAddr};
use types::{ForwardingMethod::Masq, PortId, Protocol::Udp, Scheduler::Rr};

const VIP: &str = "10.0.0.100:53";
/// Of so many, more are due in a millisecond than may end.
const MANY: u32 = 300_000;
/// Longer than an established UDP connection's timeout.
const LATER_MS: u64 = 400_000;
/// What one piece may end: so many, and the rest of a group.
const PIECE: u64 = 24 + 14;

/// A world of so many connections, with room for half as many more.
fn world(connections: u32) -> World {
    let desired = Desired {
        services: vec![service(
            Udp,
            VIP,
            Rr,
            Masq,
            &["10.1.0.11:53", "10.1.0.12:53"],
        )],
        ..network()
    };
    let capacity = Capacity {
        connections4: connections as usize * 3 / 2,
        connections6: 64,
        ..Capacity::default()
    };
    let mut world = World::with(&desired, capacity);
    for n in 0..connections {
        assert_eq!(open(&mut world, n), 1);
    }
    assert_eq!(there(&world), u64::from(connections));
    world
}

/// A datagram of client `n`; how many frames left.
fn open(world: &mut World, n: u32) -> usize {
    let client = Ipv4Addr::from_bits(0xac10_0000 + n / 1000);
    let port = 10_000 + u16::try_from(n % 1000).unwrap();
    let packet = Packet::udp(
        SocketAddr::new(client.into(), port),
        VIP.parse().unwrap(),
        b"x",
    );
    world.give(0, 0, &packet.frame(MACS[0])).len()
}

/// Connections in the table, whatever the clock says of them.
fn there(world: &World) -> u64 {
    world.director.tables()[0].connections
}

/// A burst of nothing: what is done beside packets.
fn nothing(world: &mut World) {
    let mut none = ArrayVec::new();
    world.workers[0].step(world.now, PortId(0), &mut none, &mut world.out);
}

#[test]
fn a_piece_is_small_and_a_millisecond_has_a_quota() {
    let mut world = world(MANY);
    world.now = world.now + LATER_MS;
    let mut most = 0;
    for ms in 0_u32.. {
        let begun = there(&world);
        world.workers[0].housekeeping(world.now, &mut world.out);
        let mut before = there(&world);
        assert!(begun - before <= PIECE, "{begun}, then {before}");
        for _ in 0..50 {
            nothing(&mut world);
            let now = there(&world);
            assert!(before - now <= PIECE, "{before}, then {now}");
            before = now;
        }
        // The first millisecond stands for all that has gone by.
        if ms > 0 {
            most = most.max(begun - before);
        }
        if before == 0 {
            break;
        }
        assert!(ms < 10_000, "{before} stay");
        world.now = world.now + 1;
    }
    assert!(
        (128..=128 + PIECE).contains(&most),
        "{most} in one millisecond"
    );
}

#[test]
fn ageing_keeps_pace_with_what_begins() {
    let mut world = world(MANY);
    world.now = world.now + LATER_MS;
    world.workers[0].housekeeping(world.now, &mut world.out);
    // More in a millisecond than may end without anything beginning.
    let (each, mut next) = (300, MANY);
    let mut before = 0;
    for ms in 0_u32..101 {
        if ms == 1 {
            before = there(&world);
        }
        for _ in 0..each {
            assert_eq!(open(&mut world, next), 1, "no room");
            next += 1;
        }
        world.now = world.now + 1;
        world.workers[0].housekeeping(world.now, &mut world.out);
        for _ in 0..50 {
            nothing(&mut world);
        }
    }
    let after = there(&world);
    assert!(after <= before, "{before}, then {after}");
}

#[test]
fn without_packets_a_millisecond_is_enough_for_all_that_is_due() {
    let mut world = world(8000);
    world.now = world.now + LATER_MS;
    // 16 groups a millisecond, of a thousand.
    for _ in 0..80 {
        world.now = world.now + 1;
        world.workers[0].housekeeping(world.now, &mut world.out);
        let mut pieces = 0;
        while world.workers[0].spare_time(world.now, &mut world.out) {
            pieces += 1;
            assert!(pieces < 1000, "no end of it");
        }
    }
    assert_eq!(there(&world), 0);
    assert!(!world.workers[0].spare_time(world.now, &mut world.out));
}
