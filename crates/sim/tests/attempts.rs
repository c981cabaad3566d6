//! Attempts to connect that servers refuse or leave unanswered are counted, in a row, under NAT.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use sim::{
    Packet, World,
    world::{MACS, network, service},
};
use std::net::SocketAddr;
use types::{ForwardingMethod, Protocol, Scheduler};
use wire::tcp::{ACK, RST, SYN};

const VIP: &str = "10.0.0.100:80";
const SERVER: &str = "10.1.0.11:80";

fn world(method: ForwardingMethod) -> World {
    let mut desired = network();
    desired.services = vec![service(
        Protocol::Tcp,
        VIP,
        Scheduler::Rr,
        method,
        &[SERVER],
    )];
    World::new(&desired, 1)
}

fn client(n: u16) -> SocketAddr {
    SocketAddr::new([172, 16, 0, 1].into(), 10_000 + n)
}

fn ask(world: &mut World, n: u16, flags: u8) {
    let packet = Packet::tcp(client(n), VIP.parse().unwrap(), flags);
    assert_eq!(world.give(0, 0, &packet.frame(MACS[0])).len(), 1);
}

fn answer(world: &mut World, n: u16, flags: u8) {
    let packet = Packet::tcp(SERVER.parse().unwrap(), client(n), flags);
    assert_eq!(world.give(0, 1, &packet.frame(MACS[1])).len(), 1);
}

fn failed(world: &World) -> u32 {
    let mut all = world.director.failed_attempts();
    let found = all.next().map_or(0, |(_, address, failed)| {
        assert_eq!(address, SERVER.parse().unwrap());
        failed
    });
    assert!(all.next().is_none());
    found
}

#[test]
fn refused_attempts_count_until_one_is_taken() {
    let mut world = world(ForwardingMethod::Masq);
    for n in 0..3 {
        ask(&mut world, n, SYN);
        answer(&mut world, n, RST | ACK);
        assert_eq!(failed(&world), u32::from(n) + 1);
    }
    ask(&mut world, 3, SYN);
    assert_eq!(failed(&world), 3, "nothing is known yet");
    answer(&mut world, 3, SYN | ACK);
    assert_eq!(failed(&world), 0);
    // A reset later on is the application's way to end a connection.
    ask(&mut world, 3, ACK);
    answer(&mut world, 3, RST);
    assert_eq!(failed(&world), 0);
}

#[test]
fn a_repeated_syn_counts_if_the_client_has_waited() {
    let mut world = world(ForwardingMethod::Masq);
    ask(&mut world, 0, SYN);
    world.pass(100);
    ask(&mut world, 0, SYN);
    assert_eq!(failed(&world), 0, "no client repeats it so soon");
    world.pass(1000);
    ask(&mut world, 0, SYN);
    assert_eq!(failed(&world), 1);
    world.pass(2000);
    ask(&mut world, 0, SYN);
    assert_eq!(failed(&world), 2);
    answer(&mut world, 0, SYN | ACK);
    assert_eq!(failed(&world), 0);
    // The answer was lost on the way to the client: the server is well.
    world.pass(4000);
    ask(&mut world, 0, SYN);
    assert_eq!(failed(&world), 0);
}

#[test]
fn where_answers_are_not_seen_nothing_counts() {
    let mut world = world(ForwardingMethod::Route);
    ask(&mut world, 0, SYN);
    world.pass(1000);
    ask(&mut world, 0, SYN);
    assert_eq!(failed(&world), 0);
}

#[test]
fn a_server_that_comes_back_begins_anew() {
    let mut world = world(ForwardingMethod::Masq);
    let desired = world.director.desired().clone();
    ask(&mut world, 0, SYN);
    answer(&mut world, 0, RST | ACK);
    assert_eq!(failed(&world), 1);
    let mut none = desired.clone();
    none.services[0].servers.clear();
    world.apply(&none);
    assert_eq!(failed(&world), 0, "it is removed");
    world.apply(&desired);
    assert_eq!(failed(&world), 0);
}
