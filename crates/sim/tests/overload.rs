//! A worker past its capacity (`overload_drop`): what is new goes first, what stands next, what keeps director and links going never;
//! and over time, with a worker of so much capacity, what stands fares better for it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::{
    Capacity, DropReason, Droppable, Load,
    model::{Desired, Limits},
};
use sim::{
    Packet, Recorder, VecFrame, World,
    world::{MACS, PEER, network, service},
};
use std::{collections::VecDeque, net::SocketAddr};
use types::{ForwardingMethod::Masq, PortId, Protocol, Scheduler, SynCookies};

const SYN: u8 = 2;
const ACK: u8 = 16;
const WEB: (&str, &str) = ("10.0.0.100:80", "10.1.0.11:80");
const WEB6: (&str, &str) = ("[fd00::100]:80", "[fd01::11]:80");
const DNS: (&str, &str) = ("10.0.0.100:53", "10.1.0.11:53");

const OVER: Load = Load {
    past_capacity: true,
    mostly_new: false,
};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn desired() -> Desired {
    let mut desired = network();
    let made = |protocol, (vip, server): (&str, &str)| {
        service(protocol, vip, Scheduler::Rr, Masq, &[server])
    };
    desired.services = vec![
        made(Protocol::Tcp, WEB),
        made(Protocol::Tcp, WEB6),
        made(Protocol::Udp, DNS),
    ];
    desired.settings.ip_forward = true;
    desired.settings.icmp_rate = None;
    desired
}

/// Judged so often as past its capacity.
fn judged(world: &mut World, droppable: Droppable, times: usize) {
    let workers = world.workers.len();
    for _ in 0..times {
        let now = world.now;
        let overload = world.director.overload_mut();
        overload.judge(now, droppable, &vec![OVER; workers]);
    }
}

fn client(n: u16) -> SocketAddr {
    SocketAddr::from(([172, 16, 0, 1], 1000 + n))
}

fn client6(n: u16) -> SocketAddr {
    SocketAddr::new("fd00:9::1".parse().unwrap(), 1000 + n)
}

/// How many of these get anything out.
fn through(world: &mut World, packets: impl Iterator<Item = Packet>) -> usize {
    packets
        .filter(|packet| !world.give(0, 0, &packet.frame(MACS[0])).is_empty())
        .count()
}

/// A request by ARP, for the VIP.
fn asks() -> Vec<u8> {
    let mut arp = [&[0xff; 6], &PEER.0[..]].concat();
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend(PEER.0);
    arp.extend([10, 0, 0, 254]);
    arp.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 100]);
    arp
}

fn dropped(world: &World, reason: DropReason) -> u64 {
    let workers = world.workers.iter();
    workers.map(|w| w.counters().dropped(reason)).sum()
}

#[test]
fn new_ones_first_then_what_stands_and_control_never() {
    let mut world = World::new(&desired(), 1);
    let syn = |n| Packet::tcp(client(n), at(WEB.0), SYN);
    let syn6 = |n| Packet::tcp(client6(n), at(WEB6.0), SYN);
    let query = |n| Packet::udp(client(n), at(DNS.0), b"q");
    let standing = |n| Packet::tcp(client(n), at(WEB.0), ACK);
    assert_eq!(through(&mut world, (0..100).map(syn)), 100);
    assert_eq!(through(&mut world, (0..100).map(query)), 100);

    // An eighth.
    judged(&mut world, Droppable::Established, 1);
    let some = through(&mut world, (1000..2000).map(syn));
    assert!((825..925).contains(&some), "{some} of 1000 let in");
    let again = through(&mut world, (1000..2000).map(syn));
    assert_eq!(again, some, "whose first was refused is refused again");
    let some6 = through(&mut world, (1000..2000).map(syn6));
    assert!((825..925).contains(&some6), "{some6} of 1000 let in");
    assert_eq!(through(&mut world, (0..100).map(standing)), 100);

    // All of them.
    judged(&mut world, Droppable::Established, 3);
    assert_eq!(through(&mut world, (3000..3100).map(syn)), 0);
    assert_eq!(through(&mut world, (3000..3100).map(query)), 0);
    // Packets of nothing that is known, to which an answer would be due.
    let strays = (3000..3100).map(|n| Packet::tcp(client(n), at(WEB.0), ACK));
    assert_eq!(through(&mut world, strays), 0);
    let nowhere = (3000..3100).map(|n| Packet::udp(client(n), at("10.0.0.100:9"), b"?"));
    assert_eq!(through(&mut world, nowhere), 0);
    assert_eq!(dropped(&world, DropReason::OverloadEstablished), 0);
    assert_eq!(through(&mut world, (0..100).map(standing)), 100);
    assert_eq!(through(&mut world, (0..100).map(query)), 100);

    // An eighth of what stands, every client's alike.
    judged(&mut world, Droppable::Established, 1);
    let got = through(&mut world, (0..10).flat_map(|_| (0..80).map(standing)));
    assert_eq!(got, 700);
    assert_eq!(dropped(&world, DropReason::OverloadEstablished), 100);

    // Three quarters at most; what is for the director, and what links need, all of it.
    judged(&mut world, Droppable::Established, 20);
    assert_eq!(through(&mut world, (0..80).map(standing)), 20);
    let own = (0..50).map(|n| Packet::tcp(client(n), at("10.0.0.1:22"), SYN));
    let before = world.out.punted.len();
    through(&mut world, own);
    let answered = dropped(&world, DropReason::PortClosed);
    let punted = (world.out.punted.len() - before) as u64;
    assert_eq!(punted + answered, 50);
    for _ in 0..50 {
        assert_eq!(world.give(0, 0, &asks()).len(), 1, "ARP is answered");
    }
}

#[test]
fn a_share_nobody_renews_ends_by_itself() {
    let mut world = World::new(&desired(), 1);
    judged(&mut world, Droppable::New, 9);
    let syn = |n| Packet::tcp(client(n), at(WEB.0), SYN);
    assert_eq!(through(&mut world, (0..10).map(syn)), 0);
    world.pass(2_000);
    assert_eq!(through(&mut world, (0..10).map(syn)), 0);
    world.pass(10);
    assert_eq!(through(&mut world, (0..10).map(syn)), 10);
}

/// SYNs that would be answered with a cookie, too; and what a refused SYN met is what is told of it.
#[test]
fn cookies_are_refused_first_and_explained() {
    let mut desired = desired();
    let limits = Limits {
        syn_cookies: SynCookies::On,
        ..Limits::default()
    };
    desired.limits = vec![(desired.services[0].key, limits)];
    let mut world = World::new(&desired, 1);
    let syn = |n| Packet::tcp(client(n), at(WEB.0), SYN);
    assert_eq!(through(&mut world, (0..10).map(syn)), 10);
    assert_eq!(dropped(&world, DropReason::CookieSent), 10);
    judged(&mut world, Droppable::New, 9);
    assert_eq!(through(&mut world, (0..10).map(syn)), 0);
    assert_eq!(dropped(&world, DropReason::OverloadNew), 10);
    let frame = VecFrame::new(&syn(1).frame(MACS[0]));
    let mut out = Recorder::default();
    let told = world
        .director
        .explain(world.now, PortId(0), frame, &mut out);
    assert_eq!(told.unwrap().fate.dropped, [DropReason::OverloadNew]);
    assert_eq!(
        dropped(&world, DropReason::OverloadNew),
        10,
        "nothing changed"
    );
}

/// What a second of traffic is made of, a tick of 100 ms at a time.
#[derive(Clone, Copy)]
struct Offered {
    syns: u32,
    standing: u32,
}

/// What came of a course.
#[derive(Debug, Default)]
struct Came {
    standing_offered: u64,
    standing_through: u64,
    let_in: u64,
    control_lost: u64,
}

/// What a packet is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    New,
    Standing,
    Control,
}

/// A worker whose time for a tick is that of 1000 packets forwarded, or of four times as many let go at once; behind a ring of 200. What
/// does not fit is lost, whatever it is. What happens in the first ticks, before `from`, does not count.
fn course(droppable: Droppable, offered: impl Fn(u32) -> Offered, ticks: u32, from: u32) -> Came {
    const TIME: u32 = 4000;
    const RING: usize = 200;
    let capacity = Capacity {
        workers: 1,
        ports: 2,
        connections4: 1 << 17,
        connections6: 64,
        neighbours: 64,
        services: 8,
        servers: 8,
    };
    let mut world = World::with(&desired(), capacity);
    let standing = |n: u32| Packet::tcp(client((n % 100) as u16), at(WEB.0), ACK);
    assert_eq!(
        through(
            &mut world,
            (0..100).map(|n| Packet::tcp(client(n), at(WEB.0), SYN))
        ),
        100
    );
    let (mut came, mut random) = (Came::default(), 1_u64);
    let (mut clients, mut refused_before) = (0x0b00_0000_u32, 0);
    let mut ring = VecDeque::new();
    for tick in 0..ticks {
        let Offered {
            syns,
            standing: old,
        } = offered(tick);
        let (all, mut spent, mut lost) = (syns + old, 0, 0);
        let counts = u64::from(tick >= from);
        for n in 0..all {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let draw = (random >> 33) as u32;
            let kind = match draw % all {
                _ if draw.is_multiple_of(200) => Kind::Control,
                least if least < old => Kind::Standing,
                _ => Kind::New,
            };
            came.standing_offered += counts * u64::from(kind == Kind::Standing);
            if ring.len() == RING {
                lost += 1;
                came.control_lost += counts * u64::from(kind == Kind::Control);
            } else {
                ring.push_back(kind);
            }
            // The worker has come so far when the next packet comes.
            while spent < TIME * (n + 1) / all {
                let Some(kind) = ring.pop_front() else {
                    spent = TIME * (n + 1) / all;
                    break;
                };
                let frame = match kind {
                    Kind::Control => asks(),
                    Kind::Standing => standing(n).frame(MACS[0]),
                    Kind::New => {
                        clients += 1;
                        let source = SocketAddr::from((clients.to_be_bytes(), 4000));
                        Packet::tcp(source, at(WEB.0), SYN).frame(MACS[0])
                    }
                };
                let went = !world.give(0, 0, &frame).is_empty();
                spent += if went { 4 } else { 1 };
                let counted = counts * u64::from(went);
                match kind {
                    Kind::New => came.let_in += counted,
                    Kind::Standing => came.standing_through += counted,
                    Kind::Control => assert!(went, "control is never let go"),
                }
            }
        }
        world.pass(100);
        let refused = dropped(&world, DropReason::OverloadNew);
        let load = Load {
            past_capacity: lost > all / 128,
            mostly_new: (refused - refused_before) * 2 >= u64::from(all - lost),
        };
        refused_before = refused;
        let now = world.now;
        let overload = world.director.overload_mut();
        overload.judge(now, droppable, &[load]);
    }
    came
}

/// Twice what it can do, four fifths of it new: without it what stands loses as much as everything; with it next to nothing. Some new ones
/// still get in.
#[test]
fn what_stands_fares_better_under_a_flood_of_new_ones() {
    let flood = |_| Offered {
        syns: 1600,
        standing: 400,
    };
    let without = course(Droppable::Nothing, flood, 60, 20);
    let with = course(Droppable::Established, flood, 60, 20);
    println!("without: {without:?}\nwith: {with:?}");
    let share = |came: &Came| came.standing_through * 100 / came.standing_offered;
    assert!(share(&without) < 60, "{without:?}");
    assert!(share(&with) >= 95, "{with:?}");
    assert!(with.let_in > 1000, "new ones are served with what is left");
    assert!(with.control_lost * 8 < without.control_lost, "{with:?}");
}

/// Of what stands alone half as much again as it can do: what it lets go spares the rest, control first of all, from being lost at random.
#[test]
fn what_stands_is_thinned_when_it_is_itself_too_much() {
    let load = |_| Offered {
        syns: 10,
        standing: 1500,
    };
    let without = course(Droppable::New, load, 60, 20);
    let with = course(Droppable::Established, load, 60, 20);
    println!("without: {without:?}\nwith: {with:?}");
    assert!(without.control_lost > 50, "{without:?}");
    assert!(with.control_lost * 3 < without.control_lost, "{with:?}");
    let went = |came: &Came| came.standing_through * 100 / came.standing_offered;
    assert!(went(&with) + 15 > went(&without), "{with:?}");
}

/// Loss that ends: everything is let in again, after some seconds.
#[test]
fn it_ends_with_the_flood() {
    let burst = |tick| Offered {
        syns: if tick < 20 { 1600 } else { 100 },
        standing: 400,
    };
    let after = course(Droppable::Established, burst, 80, 60);
    assert_eq!(after.standing_through, after.standing_offered);
    assert!((1800..2200).contains(&after.let_in), "{after:?}");
}
