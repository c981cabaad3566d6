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
use types::{ForwardingMethod::Masq, PortId, Protocol, RpFilter, Scheduler, SynCookies};

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

/// `client_rate_limit` is each service's own.
#[test]
fn what_a_client_has_of_one_service_is_not_taken_from_another() {
    let limit = Limits {
        client_rate: Some(5),
        ..limits()
    };
    let mut desired = limited(V4, Protocol::Tcp, limit.clone());
    let other = "10.0.0.100:81";
    let made = service(Protocol::Tcp, other, Scheduler::Rr, Masq, &[V4.1]);
    desired.limits.push((made.key, limit));
    desired.services.push(made);
    let mut world = World::new(&desired, 2);
    assert_eq!(open(&mut world, "172.16.0.1", 1000..1020, V4.0), 5);
    assert_eq!(open(&mut world, "172.16.0.1", 2000..2020, other), 5);
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

/// Each limit by itself: just under it `explain` foretells a server, beyond it the limit's own name, and so it comes.
#[test]
fn every_limit_is_foretold_by_its_name() {
    let list = |nets: &[&str]| nets.iter().map(|n| n.parse().unwrap()).collect::<Vec<_>>();
    for (limit, reason, let_in) in [
        (
            Limits {
                connections: Some(3),
                ..limits()
            },
            DropReason::ConnectionLimit,
            3,
        ),
        (
            Limits {
                rate: Some(4),
                ..limits()
            },
            DropReason::RateLimit,
            4,
        ),
        (
            Limits {
                client_rate: Some(5),
                ..limits()
            },
            DropReason::ClientRateLimit,
            5,
        ),
        (
            Limits {
                client_rate: Some(5),
                client_prefix: 24,
                ..limits()
            },
            DropReason::ClientRateLimit,
            5,
        ),
        (
            Limits {
                deny: list(&["172.16.0.0/24"]),
                ..limits()
            },
            DropReason::Denied,
            0,
        ),
        (
            Limits {
                allow: list(&["172.17.0.0/16"]),
                ..limits()
            },
            DropReason::Denied,
            0,
        ),
    ] {
        let mut world = World::new(&limited(V4, Protocol::Tcp, limit.clone()), 1);
        let foretold = |world: &World, port: u16| {
            let client = SocketAddr::new("172.16.0.1".parse().unwrap(), port);
            let syn = Packet::tcp(client, V4.0.parse().unwrap(), SYN);
            let frame = VecFrame::new(&syn.frame(MACS[0]));
            let mut out = Recorder::default();
            let told = world
                .director
                .explain(world.now, PortId(0), frame, &mut out);
            let fate = told.unwrap().fate;
            (fate.dropped, fate.chosen.is_some())
        };
        for port in 1000..1000 + let_in {
            assert_eq!(foretold(&world, port), (vec![], true), "{limit:?} {port}");
            assert_eq!(open(&mut world, "172.16.0.1", port..port + 1, V4.0), 1);
        }
        assert_eq!(dropped(&world, reason), 0, "{limit:?}");
        let next = 1000 + let_in;
        assert_eq!(foretold(&world, next), (vec![reason], false), "{limit:?}");
        assert_eq!(dropped(&world, reason), 0, "{limit:?}: nothing changed");
        assert_eq!(open(&mut world, "172.16.0.1", next..next + 1, V4.0), 0);
        assert_eq!(dropped(&world, reason), 1, "{limit:?}");
    }
}

/// Clients' addresses that come in on the clients' port and are believed, and those that are not, by what is asked.
const SOURCES: [(RpFilter, &[&str], &[&str]); 3] = [
    (
        RpFilter::Off,
        &["172.16.0.1", "10.0.0.9", "10.1.0.9", "10.9.0.1"],
        &[],
    ),
    // 10.9.0.0/16 is behind the servers' port, 192.0.2.0/24 nowhere.
    (
        RpFilter::Strict,
        &["172.16.0.1", "10.0.0.9"],
        &["10.1.0.9", "10.9.0.1", "192.0.2.1"],
    ),
    (
        RpFilter::Loose,
        &["172.16.0.1", "10.0.0.9", "10.1.0.9", "10.9.0.1"],
        &["192.0.2.1"],
    ),
];

fn filtered(asked: RpFilter, cookies: SynCookies) -> Desired {
    let limits = Limits {
        syn_cookies: cookies,
        ..limits()
    };
    let mut desired = limited(V4, Protocol::Tcp, limits);
    desired.settings.ip_forward = true;
    desired.settings.icmp_rate = None;
    desired.interfaces[0].rp_filter = asked;
    let route = |to: &str, unreachable: bool| engine::model::Route {
        to: to.parse().unwrap(),
        unreachable,
        via: (!unreachable).then(|| "10.1.0.254".parse().unwrap()),
        interface: None,
    };
    desired.routes.push(route("10.9.0.0/16", false));
    desired.routes.push(route("192.0.2.0/24", true));
    desired
}

/// That a connection begins, is answered with a cookie, is passed on, or reaches the director itself, depends on the source alike.
#[test]
fn a_source_is_believed_by_the_way_back_to_it() {
    for (asked, believed, others) in SOURCES {
        for (destination, cookies) in [
            (V4.0, SynCookies::Off),
            (V4.0, SynCookies::On),
            ("10.1.0.77:9", SynCookies::Off),
            ("10.0.0.1:9", SynCookies::Off),
        ] {
            let mut world = World::new(&filtered(asked, cookies), 2);
            let to: SocketAddr = destination.parse().unwrap();
            // Twice: a cookie's second goes the straight way.
            let packets = |sources: &[&str]| -> Vec<Packet> {
                let sources = [sources, sources].concat().into_iter().zip(1000..);
                sources
                    .map(|(s, port)| {
                        Packet::tcp(SocketAddr::new(s.parse().unwrap(), port), to, SYN)
                    })
                    .collect()
            };
            for packet in packets(others) {
                let frame = VecFrame::new(&packet.frame(MACS[0]));
                let mut out = Recorder::default();
                let told = world
                    .director
                    .explain(world.now, PortId(0), frame, &mut out);
                assert_eq!(told.unwrap().fate.dropped, [DropReason::ReversePath]);
                world.give(0, 0, &packet.frame(MACS[0]));
            }
            let refused = 2 * u64::try_from(others.len()).unwrap();
            let what = format!("{asked:?} {destination} {cookies:?}");
            assert_eq!(dropped(&world, DropReason::ReversePath), refused, "{what}");
            for packet in packets(believed) {
                world.give(0, 0, &packet.frame(MACS[0]));
            }
            assert_eq!(dropped(&world, DropReason::ReversePath), refused, "{what}");
            let cookie = dropped(&world, DropReason::CookieSent);
            let wanted = match cookies {
                SynCookies::Off => 0,
                _ => 2 * u64::try_from(believed.len()).unwrap(),
            };
            assert_eq!(cookie, wanted, "{what}");
        }
    }
}

#[test]
fn a_connection_that_stands_is_not_asked_again_where_it_comes_from() {
    let mut world = World::new(&filtered(RpFilter::Off, SynCookies::Off), 2);
    assert_eq!(open(&mut world, "10.9.0.1", 1000..1001, V4.0), 1);
    world.apply(&filtered(RpFilter::Strict, SynCookies::Off));
    assert_eq!(open(&mut world, "10.9.0.1", 1001..1002, V4.0), 0);
    let stands = Packet::tcp("10.9.0.1:1000".parse().unwrap(), V4.0.parse().unwrap(), ACK);
    assert_eq!(world.give(0, 0, &stands.frame(MACS[0])).len(), 1);
}
