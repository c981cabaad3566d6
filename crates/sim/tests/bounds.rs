//! What is bounded whoever floods it: just under each bound nothing is refused, one beyond it something is, counted by its reason; and what
//! stands, and others, go on.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

#[expect(dead_code, reason = "other tests speak of more")]
mod segments;

use engine::{
    Capacity, DropReason, FRAGMENT_BYTES, Fate,
    model::{Desired, Limits, Persistence},
};
use segments::{ACK, SYN, Segment};
use sim::{
    Packet, Recorder, VecFrame, World,
    packet::{icmp_error, ip_frame},
    world::{MACS, PEER, network, service},
};
use std::net::{IpAddr, SocketAddr};
use types::{ForwardingMethod::Masq, PersistenceEngine, PortId, Protocol, Scheduler, SynCookies};
use wire::protocol;

const VIP: &str = "10.0.0.100:80";
const SERVER: &str = "10.1.0.11:80";
const CLIENT: &str = "172.16.0.1";
const DIRECTOR: &str = "10.0.0.1";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A client's endpoint.
fn client(n: u32) -> SocketAddr {
    let port = u16::try_from(1024 + n % 60_000).unwrap();
    let host = 0xac10_0001 + n / 60_000;
    SocketAddr::new(IpAddr::V4(host.into()), port)
}

fn desired() -> Desired {
    let mut desired = network();
    desired.services = vec![service(Protocol::Tcp, VIP, Scheduler::Rr, Masq, &[SERVER])];
    desired
}

fn dropped(world: &World, reason: DropReason) -> u64 {
    let workers = world.workers.iter();
    workers.map(|w| w.counters().dropped(reason)).sum()
}

/// A SYN; whether it goes on to a server.
fn opens(world: &mut World, client: SocketAddr, vip: &str) -> bool {
    let syn = Packet::tcp(client, at(vip), SYN);
    !world.give(0, 0, &syn.frame(MACS[0])).is_empty()
}

/// What `explain` says becomes of a frame; nothing changes.
fn explained(world: &World, frame: &[u8]) -> Fate {
    let mut out = Recorder::default();
    let frame = VecFrame::new(frame);
    let told = world
        .director
        .explain(world.now, PortId(0), frame, &mut out);
    told.unwrap().fate
}

/// Likewise of a SYN.
fn foretold(world: &World, client: SocketAddr, vip: &str) -> Vec<DropReason> {
    let syn = Packet::tcp(client, at(vip), SYN);
    explained(world, &syn.frame(MACS[0])).dropped
}

/// Whether what stands goes on.
fn goes_on(world: &mut World, client: SocketAddr) -> bool {
    let data = Packet::tcp(client, at(VIP), ACK);
    !world.give(0, 0, &data.frame(MACS[0])).is_empty()
}

/// `icmp_rate`: a second's worth at once, of echo replies and errors together; then the rate.
#[test]
fn answers_by_icmp() {
    const RATE: u32 = 20;
    let mut desired = desired();
    desired.settings.icmp_rate = Some(RATE);
    let mut world = World::new(&desired, 1);
    let echo = icmp_error(MACS[0], ip(CLIENT), ip(DIRECTOR), 8, 0, &[]);
    let to_a_closed_port = Packet::udp(client(1), at("10.0.0.1:9"), b"?").frame(MACS[0]);
    let limited = |world: &World| world.workers[0].counters().rate_limited.get();
    let answered = |world: &World, packet: &[u8]| {
        let fate = explained(world, packet);
        (fate.sent.len(), fate.unanswered)
    };
    for n in 0..RATE {
        let packet = if n % 2 == 0 { &echo } else { &to_a_closed_port };
        assert_eq!(answered(&world, packet), (1, false), "{n}");
        assert_eq!(world.give(0, 0, packet).len(), 1, "{n}");
    }
    assert_eq!(answered(&world, &echo), (0, true));
    assert_eq!(explained(&world, &echo).dropped, [DropReason::IcmpIgnored]);
    assert_eq!(answered(&world, &to_a_closed_port), (0, true));
    assert_eq!(
        explained(&world, &to_a_closed_port).dropped,
        [DropReason::PortClosed]
    );
    assert_eq!(
        (limited(&world), dropped(&world, DropReason::IcmpIgnored)),
        (0, 0)
    );
    assert_eq!(world.give(0, 0, &echo).len(), 0);
    assert_eq!(
        (limited(&world), dropped(&world, DropReason::IcmpIgnored)),
        (1, 1)
    );
    // An error that is not sent leaves the packet's own reason.
    let closed = dropped(&world, DropReason::PortClosed);
    assert_eq!(world.give(0, 0, &to_a_closed_port).len(), 0);
    assert_eq!(dropped(&world, DropReason::PortClosed), closed + 1);
    assert_eq!(limited(&world), 2);
    // Connections are no answers.
    assert!(opens(&mut world, client(5), VIP));
    world.pass(100);
    assert_eq!(answered(&world, &echo), (1, false));
    let answered = (0..10).filter(|_| !world.give(0, 0, &echo).is_empty());
    assert_eq!(answered.count(), 2);
}

/// Packets wait for a neighbour that has not answered: 64 for each, the oldest go first; others' wait beside them.
#[test]
fn packets_that_wait_for_a_neighbour() {
    let mut desired = desired();
    desired.settings.ip_forward = true;
    let mut world = World::new(&desired, 1);
    let to = |world: &mut World, host: u8, n: usize| {
        let packet = Packet::udp(client(1), at(&format!("10.1.0.{host}:9")), b"?");
        for _ in 0..n {
            world.give(0, 0, &packet.frame(MACS[0]));
        }
    };
    let held = |world: &World| world.workers[0].counters().held.get();
    let told = |world: &World, host: u8| {
        let packet = Packet::udp(client(1), at(&format!("10.1.0.{host}:9")), b"?");
        let fate = explained(world, &packet.frame(MACS[0]));
        (fate.held, fate.dropped)
    };
    let queue_full = vec![DropReason::NeighbourQueueFull];
    to(&mut world, 99, 63);
    assert_eq!(told(&world, 99), (true, vec![]), "the last place");
    to(&mut world, 99, 1);
    assert_eq!(told(&world, 99), (true, queue_full.clone()), "the oldest's");
    assert_eq!(told(&world, 98), (true, vec![]), "others' wait beside");
    assert_eq!(
        (
            held(&world),
            dropped(&world, DropReason::NeighbourQueueFull)
        ),
        (64, 0)
    );
    to(&mut world, 99, 10);
    assert_eq!(
        (
            held(&world),
            dropped(&world, DropReason::NeighbourQueueFull)
        ),
        (64, 10)
    );
    to(&mut world, 98, 64);
    assert_eq!(
        (
            held(&world),
            dropped(&world, DropReason::NeighbourQueueFull)
        ),
        (128, 10)
    );
    // 1024 in all.
    for host in 80..94 {
        to(&mut world, host, 64);
    }
    assert_eq!(
        (
            held(&world),
            dropped(&world, DropReason::NeighbourQueueFull)
        ),
        (1024, 10)
    );
    assert_eq!(told(&world, 95), (false, queue_full.clone()), "no place");
    assert_eq!(told(&world, 99), (true, queue_full), "the oldest's");
    to(&mut world, 95, 1);
    assert_eq!(
        (
            held(&world),
            dropped(&world, DropReason::NeighbourQueueFull)
        ),
        (1024, 11)
    );
    // Who is known is not concerned.
    assert!(opens(&mut world, client(2), VIP));
}

/// A scan of a whole network fills the table of neighbours, and no more; who is in it stays.
#[test]
fn neighbours() {
    const ROOM: usize = 64;
    let mut desired = desired();
    desired.settings.ip_forward = true;
    let capacity = Capacity {
        workers: 1,
        ports: 2,
        connections4: 1024,
        connections6: 64,
        neighbours: ROOM,
        services: 8,
        servers: 8,
    };
    let mut world = World::with(&desired, capacity);
    let scan = |world: &mut World, hosts: std::ops::Range<u8>| {
        for host in hosts {
            let packet = Packet::udp(client(1), at(&format!("10.1.0.{host}:9")), b"?");
            world.give(0, 0, &packet.frame(MACS[0]));
        }
    };
    scan(&mut world, 30..40);
    assert_eq!(dropped(&world, DropReason::NeighbourTableFull), 0);
    scan(&mut world, 40..255);
    let refused = dropped(&world, DropReason::NeighbourTableFull);
    assert!(refused >= 225 - ROOM as u64, "{refused}");
    assert!(opens(&mut world, client(2), VIP) && goes_on(&mut world, client(2)));
}

/// The first eight bytes of a packet that never gets whole.
fn fragment(source: IpAddr, id: u16) -> Vec<u8> {
    let mut frame = ip_frame(
        MACS[0],
        source,
        ip("10.0.0.100"),
        protocol::UDP,
        64,
        &[0; 8],
    );
    let header = &mut frame[14..34];
    header[4..6].copy_from_slice(&id.to_be_bytes());
    // More fragments; no "do not fragment".
    header[6..8].copy_from_slice(&0x2000_u16.to_be_bytes());
    assert!(wire::ipv4::fill_checksum(header));
    frame
}

/// `ipfrag_high_thresh`: who sends most loses what it sent first; others' packets are put together.
#[test]
fn fragments() {
    // Each of four parts of the table has room for so many.
    const EACH: u16 = 16;
    let mut desired = desired();
    desired.settings.ipfrag_high_thresh = 4 * u32::from(EACH) * FRAGMENT_BYTES;
    let mut world = World::new(&desired, 1);
    let told = |world: &World, frame: &[u8]| {
        let fate = explained(world, frame);
        (fate.held, fate.dropped)
    };
    for id in 0..EACH {
        let fragment = fragment(ip(CLIENT), id);
        assert_eq!(told(&world, &fragment), (true, vec![]), "{id}");
        world.give(0, 0, &fragment);
    }
    // It is there already.
    let again = (false, vec![DropReason::FragmentDuplicate]);
    assert_eq!(told(&world, &fragment(ip(CLIENT), 0)), again);
    let held = |world: &World| world.workers[0].counters().held.get();
    assert_eq!(
        (held(&world), dropped(&world, DropReason::FragmentNoRoom)),
        (u64::from(EACH), 0)
    );
    for id in EACH..1000 {
        world.give(0, 0, &fragment(ip(CLIENT), id));
    }
    // One more waits, and the oldest of the same network goes for it.
    let for_the_oldest = (true, vec![DropReason::FragmentNoRoom]);
    assert_eq!(told(&world, &fragment(ip(CLIENT), 1000)), for_the_oldest);
    let refused = dropped(&world, DropReason::FragmentNoRoom);
    assert!(held(&world) <= 4 * u64::from(EACH), "{} held", held(&world));
    assert_eq!(refused + held(&world), 1000);
    // A packet of another network comes in between, and is whole: for a virtual address with no service of UDP.
    let mut last = fragment(ip("203.0.113.9"), 7);
    last[20..22].copy_from_slice(&1_u16.to_be_bytes());
    assert!(wire::ipv4::fill_checksum(&mut last[14..34]));
    let first = fragment(ip("203.0.113.9"), 7);
    assert_eq!(told(&world, &last), for_the_oldest);
    world.give(0, 0, &first);
    // The whole is for a port that nobody has.
    let whole = explained(&world, &last);
    assert!(!whole.held, "{whole:?}");
    assert!(
        whole.dropped.contains(&DropReason::Reassembled),
        "{whole:?}"
    );
    world.give(0, 0, &last);
    assert_eq!(dropped(&world, DropReason::Reassembled), 1);
    // And who is whole anyway is not concerned.
    assert!(opens(&mut world, client(2), VIP) && goes_on(&mut world, client(2)));
}

/// The table of connections: what stands goes on.
#[test]
fn connections() {
    const ROOM: u32 = 1024;
    let capacity = Capacity {
        workers: 1,
        ports: 2,
        connections4: ROOM as usize,
        connections6: 64,
        neighbours: 64,
        services: 8,
        servers: 8,
    };
    let mut world = World::with(&desired(), capacity);
    // What it was made for there is room for, and not twice as much.
    let room = 2 * ROOM;
    let under = ROOM;
    for n in 0..under {
        assert!(opens(&mut world, client(n), VIP), "{n} of {room}");
    }
    assert_eq!(dropped(&world, DropReason::TableFull), 0);
    let opened = (under..4 * room)
        .filter(|n| opens(&mut world, client(*n), VIP))
        .count();
    let refused = dropped(&world, DropReason::TableFull);
    assert_eq!(opened as u64 + refused, u64::from(4 * room - under));
    assert!(u64::from(under) + opened as u64 <= u64::from(room));
    assert!(refused >= u64::from(3 * room));
    let refused_too = |n: &u32| foretold(&world, client(*n), VIP) == [DropReason::TableFull];
    // Where there is room goes by a hash, and nearly everywhere there is none.
    let foretold_full = (8 * room..8 * room + 100).filter(refused_too).count();
    assert!(foretold_full > 90, "{foretold_full} of 100");
    let others = (8 * room..8 * room + 100).filter(|n| !refused_too(n));
    let others: Vec<u32> = others.collect();
    assert_eq!(dropped(&world, DropReason::TableFull), refused);
    assert!(others.iter().all(|n| opens(&mut world, client(*n), VIP)));
    assert!((0..under).all(|n| goes_on(&mut world, client(n))));
    assert_eq!(foretold(&world, client(0), VIP), [], "what stands");
    // SYN_RECV lasts a minute.
    world.pass(61_000);
    assert!(opens(&mut world, client(9 * room), VIP));
}

/// `endpoint_connections`: one address and port of a client.
#[test]
fn connections_of_one_endpoint() {
    const EACH: u16 = 10;
    let mut desired = network();
    desired.settings.endpoint_connections = EACH.into();
    // From a server's end a client's endpoint is one connection: each service has a port of its own there.
    let ports = 80..=80 + EACH;
    let vips: Vec<String> = ports.clone().map(|p| format!("10.0.0.100:{p}")).collect();
    let servers: Vec<String> = ports.map(|p| format!("10.1.0.11:{p}")).collect();
    let made = |(vip, server): (&String, &String)| {
        service(Protocol::Tcp, vip, Scheduler::Rr, Masq, &[server])
    };
    desired.services = vips.iter().zip(&servers).map(made).collect();
    let mut world = World::new(&desired, 1);
    let (last, first) = vips.split_last().unwrap();
    for vip in first {
        assert!(opens(&mut world, client(1), vip), "{vip}");
    }
    assert_eq!(dropped(&world, DropReason::EndpointLimit), 0);
    assert_eq!(
        foretold(&world, client(1), last),
        [DropReason::EndpointLimit]
    );
    assert_eq!(foretold(&world, client(2), last), []);
    assert!(!opens(&mut world, client(1), last));
    assert_eq!(dropped(&world, DropReason::EndpointLimit), 1);
    assert!(opens(&mut world, client(2), last));
}

/// Clients that are there, and servers that are not: handshakes that began with a cookie have a list of their own, and take nothing from
/// anybody else.
#[test]
fn handshakes_with_servers() {
    const MOST: u32 = 32_768;
    let mut desired = desired();
    let limits = Limits {
        syn_cookies: SynCookies::On,
        ..Limits::default()
    };
    desired.limits = vec![(desired.services[0].key, limits)];
    desired.services.push(service(
        Protocol::Tcp,
        "10.0.0.100:81",
        Scheduler::Rr,
        Masq,
        &[SERVER],
    ));
    let capacity = Capacity {
        workers: 1,
        ports: 2,
        connections4: 2 * MOST as usize,
        connections6: 64,
        neighbours: 64,
        services: 8,
        servers: 8,
    };
    let mut world = World::with(&desired, capacity);
    assert!(opens(&mut world, client(MOST + 9), "10.0.0.100:81"));
    let accepted = |world: &mut World, n: u32| {
        let syn = Segment::new(client(n), at(VIP), n, 0, SYN);
        let answer = world.give(0, 0, &syn.frame(MACS[0]));
        let answer = Segment::read(&answer.first().unwrap().bytes);
        let ack = Segment::new(client(n), at(VIP), n + 1, answer.seq.wrapping_add(1), ACK);
        !world.give(0, 0, &ack.frame(MACS[0])).is_empty()
    };
    for n in 0..MOST {
        assert!(accepted(&mut world, n), "{n}");
    }
    assert_eq!(dropped(&world, DropReason::HandshakesFull), 0);
    assert_eq!(dropped(&world, DropReason::CookieAccepted), u64::from(MOST));
    let before = world.director.tables()[0].connections;
    assert!(!accepted(&mut world, MOST));
    assert_eq!(dropped(&world, DropReason::HandshakesFull), 1);
    assert_eq!(world.director.tables()[0].connections, before);
    // What stands goes on, and others begin.
    let data = Packet::tcp(client(MOST + 9), at("10.0.0.100:81"), ACK);
    assert!(!world.give(0, 0, &data.frame(MACS[0])).is_empty());
    assert!(opens(&mut world, client(MOST + 10), "10.0.0.100:81"));
    // After 15 seconds the servers are given up, and there is room.
    world.pass(16_000);
    assert!(accepted(&mut world, MOST));
}

/// A flood of ARP makes the director ask nobody, and learn nobody it did not ask.
#[test]
fn strangers_that_announce_themselves() {
    let mut world = World::new(&desired(), 1);
    let known = world.director.neighbours(world.now).len();
    for n in 0..2000_u32 {
        let mut arp = [&[0xff; 6], &PEER.0[..]].concat();
        arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        arp.extend(PEER.0);
        arp.extend((0x0a00_0100_u32 + n).to_be_bytes());
        arp.extend([0; 6]);
        arp.extend((0x0a00_0100_u32 + n).to_be_bytes());
        assert!(world.give(0, 0, &arp).is_empty());
    }
    assert_eq!(world.director.neighbours(world.now).len(), known);
    assert!(opens(&mut world, client(2), VIP));
}

/// A persistent service's clients need two places each, and a full table has none for another client's template, though it may have one for
/// the connection.
#[test]
fn templates() {
    const ROOM: u32 = 1024;
    let mut desired = desired();
    desired.services[0].persistence = Some(Persistence {
        timeout_s: 300,
        netmask: u32::MAX.into(),
    });
    let mut world = World::with(&desired, small());
    let of = |n: u32| SocketAddr::new(IpAddr::V4((0xac10_0001 + n).into()), 4000);
    for n in 0..ROOM / 2 {
        assert_eq!(foretold(&world, of(n), VIP), [], "{n}");
        assert!(opens(&mut world, of(n), VIP), "{n}");
    }
    assert_eq!(dropped(&world, DropReason::TableFull), 0);
    // Where there is room goes by a hash, of each kind by its own: it is foretold of each client by itself.
    let mut refused = 0;
    for n in ROOM / 2..4 * ROOM {
        let wanted = foretold(&world, of(n), VIP);
        let before = dropped(&world, DropReason::TableFull);
        let came = opens(&mut world, of(n), VIP);
        let full = dropped(&world, DropReason::TableFull) - before;
        assert!(full < 2, "{n}: {full}");
        let reason = (full == 1).then_some(DropReason::TableFull);
        assert_eq!(wanted, Vec::from_iter(reason), "{n}");
        assert_eq!(came, full == 0, "{n}");
        refused += full;
    }
    assert!(refused > u64::from(ROOM), "{refused}");
    // Whoever has a template needs no other, and what stands goes on.
    assert_eq!(foretold(&world, of(0), VIP), []);
    assert!(goes_on(&mut world, of(0)));
}

/// What is kept of FTP control connections under NAT has a bound of its own: one in 64 connections.
#[test]
fn ftp_connections() {
    const FTP: &str = "10.0.0.100:21";
    let mut desired = desired();
    let servers = ["10.1.0.11:21"];
    desired
        .services
        .push(service(Protocol::Tcp, FTP, Scheduler::Rr, Masq, &servers));
    let capacity = small();
    let most = u32::try_from(capacity.ftp_connections()).unwrap();
    let mut world = World::with(&desired, capacity);
    for n in 0..most {
        assert_eq!(foretold(&world, client(n), FTP), [], "{n} of {most}");
        assert!(opens(&mut world, client(n), FTP), "{n} of {most}");
    }
    assert_eq!(dropped(&world, DropReason::TableFull), 0);
    assert_eq!(foretold(&world, client(most), FTP), [DropReason::TableFull]);
    assert_eq!(dropped(&world, DropReason::TableFull), 0);
    assert!(!opens(&mut world, client(most), FTP));
    assert_eq!(dropped(&world, DropReason::TableFull), 1);
    // Other services' clients are not concerned, and who stands goes on.
    assert_eq!(foretold(&world, client(most), VIP), []);
    assert!(opens(&mut world, client(most), VIP));
    let data = Packet::tcp(client(0), at(FTP), ACK);
    assert!(!world.give(0, 0, &data.frame(MACS[0])).is_empty());
    // SYN_RECV lasts a minute.
    world.pass(61_000);
    assert!(opens(&mut world, client(most + 1), FTP));
}

/// Calls that templates are told apart by have a bound of their own: one in 16 connections.
#[test]
fn calls() {
    const SIP: &str = "10.0.0.100:5060";
    let mut desired = desired();
    let mut sip = service(Protocol::Udp, SIP, Scheduler::Rr, Masq, &["10.1.0.11:5060"]);
    sip.persistence = Some(Persistence {
        timeout_s: 60,
        netmask: u32::MAX.into(),
    });
    sip.persistence_engine = Some(PersistenceEngine::Sip);
    desired.services.push(sip);
    let capacity = small();
    let most = u32::try_from(capacity.sip_calls()).unwrap();
    let mut world = World::with(&desired, capacity);
    // Each from a port of its own: a datagram of a connection there is asks for no template.
    let call = |from: u32, call: u32| {
        let message = format!("INVITE sip:lab SIP/2.0\r\nCall-ID: {call}@lab\r\n\r\n");
        Packet::udp(client(from), at(SIP), message.as_bytes()).frame(MACS[0])
    };
    for n in 0..most {
        let invite = call(n, n);
        assert_eq!(explained(&world, &invite).dropped, [], "{n} of {most}");
        assert_eq!(world.give(0, 0, &invite).len(), 1, "{n} of {most}");
    }
    assert_eq!(dropped(&world, DropReason::TableFull), 0);
    let another = call(most, most);
    let fate = explained(&world, &another);
    assert_eq!(fate.dropped, [DropReason::TableFull]);
    assert_eq!(dropped(&world, DropReason::TableFull), 0);
    assert!(world.give(0, 0, &another).is_empty());
    assert_eq!(dropped(&world, DropReason::TableFull), 1);
    // A call that is known has no need of another place.
    let known = call(most + 1, 0);
    let host = SocketAddr::new(client(0).ip(), client(most + 1).port());
    assert_eq!(host, client(most + 1), "of the same client");
    assert_eq!(explained(&world, &known).dropped, []);
    assert_eq!(world.give(0, 0, &known).len(), 1);
    // Templates last a minute from their last connection on, and a connection of UDP five.
    world.pass(6 * 60_000);
    world.pass(2 * 60_000);
    assert_eq!(world.give(0, 0, &another).len(), 1);
}

/// What the host behind a port does not take in time is dropped, and counted as that and not as the host's.
#[test]
fn what_the_host_does_not_take() {
    let mut desired = desired();
    desired.interfaces[0].host = true;
    let mut world = World::new(&desired, 1);
    let ssh = Packet::tcp(client(1), at("10.0.0.1:22"), SYN).frame(MACS[0]);
    assert!(explained(&world, &ssh).punted);
    for _ in 0..3 {
        assert_eq!(world.give(0, 0, &ssh).len(), 0);
    }
    let counted = |world: &World| {
        let punted = world.workers[0].counters().punted.get();
        (punted, dropped(world, DropReason::HostQueueFull))
    };
    assert_eq!(counted(&world), (3, 0));
    world.workers[0].host_refused(1);
    assert_eq!(counted(&world), (2, 1));
    assert!(world.workers[0].counters().conservation().holds());
}

/// A director of a thousand connections.
fn small() -> Capacity {
    Capacity {
        workers: 1,
        ports: 2,
        connections4: 1024,
        connections6: 64,
        neighbours: 64,
        services: 8,
        servers: 8,
    }
}
