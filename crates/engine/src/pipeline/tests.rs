//! The straight way against the long one: two directors alike are given the same frames, one lets plain packets go the
//! straight way, the other parses everything in full. Whatever leaves, and every counter, must be the same.

use super::*;
use crate::{
    Capacity, Director, DropReason, Worker,
    model::{Desired, Limits, Persistence, Server, Service, ServiceKey, Settings},
    testing::{self, Out, ip, mac},
};
use sim::{
    VecFrame,
    golden::{Op, Recording},
    mutation::{self, Dice},
};
use std::path::PathBuf;
use types::{
    ForwardingMethod, InterfaceId, Protocol, Scheduler, SynCookies, Tick, Weight, WorkerId,
};
use wire::tcp;

/// Every frame of the recordings, both directions of every connection among them.
fn seeds() -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut seeds = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "gz") {
            continue;
        }
        for step in Recording::read(&path).unwrap().steps {
            if let Op::Tx { frame, .. } = step.op {
                seeds.push(testing::hex(&frame));
            }
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds
}

fn service(
    protocol: Protocol,
    address: &str,
    method: ForwardingMethod,
    servers: [&str; 2],
) -> Service {
    let server = |address: &str| Server {
        address: address.parse().unwrap(),
        method,
        weight: Weight(1),
        tunnel: types::Tunnel::Ipip,
        upper_threshold: 0,
        lower_threshold: 0,
        edits: 0,
    };
    Service {
        key: ServiceKey::Address {
            protocol,
            address: address.parse().unwrap(),
        },
        scheduler: Scheduler::Rr,
        flags: types::SchedulerFlags::default(),
        one_packet: false,
        persistence: address.ends_with(":53").then_some(Persistence {
            timeout_s: 30,
            netmask: u128::MAX >> if address.starts_with('[') { 0 } else { 96 },
        }),
        persistence_engine: None,
        servers: servers.into_iter().map(server).collect(),
    }
}

/// Small MTUs on the servers' side, so that some packets do not fit.
fn desired(compat_ipvs: bool) -> Desired {
    use ForwardingMethod::{Masq, Route, Tunnel};
    use Protocol::{Tcp, Udp};
    let v4 = ["10.1.0.11:8080", "10.1.0.12:8080"];
    let v6 = ["[fd01::11]:8080", "[fd01::12]:8080"];
    let mut desired = testing::desired();
    desired.vips.clear();
    desired.services = vec![
        service(Tcp, "10.0.0.100:80", Masq, v4),
        service(Tcp, "10.0.0.100:81", Route, v4),
        service(Tcp, "10.0.0.100:82", Tunnel, v4),
        service(Udp, "10.0.0.100:53", Masq, v4),
        service(Tcp, "[fd00::100]:80", Masq, v6),
        service(Tcp, "[fd00::100]:81", Route, v6),
        service(Tcp, "[fd00::100]:82", Tunnel, v6),
        service(Udp, "[fd00::100]:53", Masq, v6),
    ];
    desired.settings = Settings {
        compat_ipvs,
        sloppy_tcp: true,
        icmp_rate: None,
        ..Settings::default()
    };
    desired
}

struct Side {
    director: Director,
    worker: Worker<VecFrame>,
    out: Out,
}

impl Side {
    fn new(desired: &Desired) -> Self {
        let capacity = Capacity {
            workers: 1,
            ports: 2,
            connections4: 4096,
            connections6: 4096,
            neighbours: 64,
            services: 64,
            servers: 256,
        };
        let mut director = Director::new(capacity, [3, 4]).unwrap();
        director.apply(Tick(1000), desired).unwrap();
        // One server is nobody's neighbour yet.
        for (interface, address) in [
            (0, "10.0.0.254"),
            (0, "fd00::fe"),
            (1, "10.1.0.11"),
            (1, "fd01::11"),
        ] {
            let at = mac("02:00:00:00:01:11");
            assert!(director.set_neighbour(Tick(1000), InterfaceId(interface), ip(address), at));
        }
        let worker = director.worker(WorkerId(0)).unwrap();
        let out = Out::default();
        Self {
            director,
            worker,
            out,
        }
    }

    fn sent(&mut self) -> Vec<(PortId, VecFrame)> {
        self.out
            .sent
            .drain(..)
            .chain(self.out.punted.drain(..))
            .collect()
    }

    fn counts(&self) -> Vec<u64> {
        let counters = self.worker.counters();
        let ports = counters
            .ports
            .iter()
            .flat_map(|p| [&p.tx_packets, &p.tx_bytes]);
        let dropped = DropReason::ALL.iter().map(|r| counters.dropped(*r));
        [
            &counters.tx,
            &counters.generated,
            &counters.punted,
            &counters.held,
        ]
        .into_iter()
        .chain(ports)
        .map(crate::counters::Counter::get)
        .chain(dropped)
        .collect()
    }
}

fn both_ways_are_one(compat_ipvs: bool, seed: u64) {
    let seeds = seeds();
    let desired = desired(compat_ipvs);
    let (mut straight, mut long) = (Side::new(&desired), Side::new(&desired));
    let mut dice = Dice::new(seed);
    let mut now = Tick(1000);
    let (mut sent, mut fed) = (0, 0);
    for _ in 0..6000 {
        let port = PortId(u16::from(dice.one_in(2)));
        let frames: ArrayVec<VecFrame, BURST> = (0..=dice.below(BURST - 1))
            .map(|_| match seeds.get(dice.below(seeds.len())) {
                // As they were recorded, mostly: connections come to stand, and are answered.
                Some(bytes) if !dice.one_in(3) => VecFrame::new(bytes),
                _ => mutation::next(&mut dice, &seeds),
            })
            .collect();
        fed += frames.len();
        let (mut one, mut other) = (frames.clone(), frames.clone());
        straight.worker.step(now, port, &mut one, &mut straight.out);
        long.worker
            .step_the_long_way(now, port, &mut other, &mut long.out);
        let (a, b) = (straight.sent(), long.sent());
        sent += a.len();
        assert_eq!(a, b, "after {fed} frames, of {frames:?}");
        assert_eq!(straight.counts(), long.counts(), "after {fed} frames");
        now = now + u64::try_from(dice.below(30)).unwrap();
        if dice.one_in(4) {
            for side in [&mut straight, &mut long] {
                side.worker.housekeeping(now, &mut side.out);
                side.director.reclaim();
            }
            assert_eq!(straight.sent(), long.sent());
        }
    }
    let listed = |side: &Side| format!("{:?}", side.director.services());
    assert_eq!(listed(&straight), listed(&long));
    assert!(sent * 10 > fed, "only {sent} of {fed} frames left");
    let straight_on = straight_on(&desired, &seeds);
    assert!(
        straight_on > 300,
        "only {straight_on} recorded frames can go the straight way"
    );
}

/// Recorded frames that are plain.
fn straight_on(desired: &Desired, seeds: &[Vec<u8>]) -> usize {
    let plain = |bytes: &&Vec<u8>| {
        let frame = VecFrame::new(bytes);
        let mut macs = desired.interfaces.iter().map(|i| i.mac);
        macs.any(|mac| {
            Glance::of(&frame, plain::station(mac.0)).is_some_and(|g| {
                (g.is4() && g.plain4().is_some()) || (g.is6() && g.plain6().is_some())
            })
        })
    };
    seeds.iter().filter(plain).count()
}

#[test]
fn the_straight_way_and_the_long_one_are_one() {
    both_ways_are_one(false, 11);
}

#[test]
fn the_straight_way_and_the_long_one_are_one_with_neighbours_looked_up() {
    both_ways_are_one(true, 12);
}

/// Option lists as stacks and floods send them, and nonsense.
const OPTIONS: [&[u8]; 9] = [
    &[],
    &[2, 4, 5, 180],
    // Linux.
    &[
        2, 4, 5, 180, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7,
    ],
    // Windows.
    &[2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2],
    // FreeBSD.
    &[
        2, 4, 5, 180, 1, 3, 3, 6, 4, 2, 8, 10, 9, 9, 9, 9, 0, 0, 0, 0,
    ],
    &[4, 2, 0, 0],
    &[8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 1],
    &[2, 0, 4, 2],
    &[2, 4, 0, 0, 3, 3, 255, 1],
];

/// A client's TCP segment, mostly a SYN for a service.
fn segment(dice: &mut Dice) -> Vec<u8> {
    let six = dice.one_in(2);
    let pick = |dice: &mut Dice, of: &[u16]| of.get(dice.below(of.len())).copied().unwrap();
    let port = pick(dice, &[80, 80, 80, 80, 81, 83, 84, 85, 21, 7]);
    let from = match dice.below(8) {
        0 => pick(dice, &[20, 1024, 4711, 65535]),
        _ => u16::try_from(dice.below(60_000)).unwrap() + 2000,
    };
    let (source, destination) = if six {
        let host = ["fd77::1", "fd77::2", "fd00::1", "fd00::100", "2001:db8::7"];
        (ip(host[dice.below(host.len())]), ip("fd00::100"))
    } else {
        let host = [
            "172.16.0.1",
            "172.16.0.2",
            "10.0.0.1",
            "10.0.0.100",
            "198.51.100.7",
        ];
        (ip(host[dice.below(host.len())]), ip("10.0.0.100"))
    };
    let flags = match dice.below(12) {
        0 => tcp::SYN | tcp::ACK,
        1 => tcp::SYN | tcp::FIN,
        2 => tcp::ACK,
        // Congestion notification is asked for.
        3 => tcp::SYN | 0xc0,
        _ => tcp::SYN,
    };
    let mut payload = OPTIONS[dice.below(OPTIONS.len())].to_vec();
    let words = u8::try_from(payload.len() / 4).unwrap();
    if dice.one_in(4) {
        payload.extend((0..dice.below(9)).map(|n| u8::try_from(n).unwrap()));
    }
    let mut packet = sim::packet::Packet::tcp(
        std::net::SocketAddr::new(source, from),
        std::net::SocketAddr::new(destination, port),
        flags,
    );
    packet.payload = payload;
    let mut frame = packet.frame(mac("02:00:00:00:00:01"));
    let l4 = if six { 54 } else { 34 };
    // Its checksum was made for a header without options, the only field that changes.
    let offset = (if dice.one_in(20) { words ^ 7 } else { words }) + 5;
    let sum = u16::from_be_bytes([frame[l4 + 16], frame[l4 + 17]]);
    let delta = wire::Delta::between16(0x5000, u16::from(offset) << 12);
    frame[l4 + 12] = offset << 4;
    if !dice.one_in(20) {
        frame[l4 + 16..l4 + 18].copy_from_slice(&delta.apply(sum).to_be_bytes());
    }
    if frame.len() < 60 && dice.one_in(2) {
        frame.resize(60, 0);
    }
    frame
}

fn with_cookies(when: SynCookies) -> Desired {
    use ForwardingMethod::{Masq, Route};
    let mut desired = desired(false);
    desired.settings.sloppy_tcp = false;
    desired.settings.ftp_ports = [21, 0, 0, 0, 0, 0, 0, 0];
    let (v4, v6) = (
        ["10.1.0.11:8080", "10.1.0.12:8080"],
        ["[fd01::11]:8080", "[fd01::12]:8080"],
    );
    let mut services = Vec::new();
    for (port, method) in [(80, Masq), (81, Route), (83, Masq), (84, Masq), (21, Masq)] {
        let of4 = format!("10.0.0.100:{port}");
        let of6 = format!("[fd00::100]:{port}");
        services.push(service(Protocol::Tcp, &of4, method, v4));
        services.push(service(Protocol::Tcp, &of6, method, v6));
    }
    desired.limits = services
        .iter()
        .map(|service| {
            let port = service.key.address().unwrap().port();
            let mut limits = Limits {
                client_prefix: 32,
                syn_cookies: when,
                ..Limits::default()
            };
            match port {
                83 => limits.deny = vec!["172.16.0.2/32".parse().unwrap()],
                84 => limits.connections = Some(1),
                _ => {}
            }
            (service.key, limits)
        })
        .collect();
    // All its servers are out.
    let mut out = service(Protocol::Tcp, "10.0.0.100:85", Masq, v4);
    for server in &mut out.servers {
        server.weight = Weight(0);
    }
    services.push(out);
    desired.services = services;
    desired
}

/// Only the order differs: an answer at once overtakes what goes the long way.
fn cookies_are_the_same(when: SynCookies, seed: u64) {
    let desired = with_cookies(when);
    let (mut straight, mut long) = (Side::new(&desired), Side::new(&desired));
    let mut dice = Dice::new(seed);
    let (mut now, mut answers) = (Tick(1000), 0);
    for _ in 0..3000 {
        let frames: ArrayVec<VecFrame, BURST> = (0..=dice.below(BURST - 1))
            .map(|_| {
                let bytes = segment(&mut dice);
                let mut frame = if dice.one_in(16) {
                    VecFrame::chained(&bytes, &[60])
                } else {
                    VecFrame::new(&bytes)
                };
                frame.l4_checksum = match dice.below(8) {
                    0 => wire::RxChecksum::Good,
                    1 => wire::RxChecksum::Bad,
                    _ => wire::RxChecksum::Unknown,
                };
                frame
            })
            .collect();
        let (mut one, mut other) = (frames.clone(), frames.clone());
        let port = PortId(0);
        straight.worker.step(now, port, &mut one, &mut straight.out);
        long.worker
            .step_the_long_way(now, port, &mut other, &mut long.out);
        let sorted = |side: &mut Side| {
            let mut sent: Vec<_> = side
                .sent()
                .into_iter()
                .map(|(port, frame)| (port, frame.bytes()))
                .collect();
            sent.sort();
            sent
        };
        let (a, b) = (sorted(&mut straight), sorted(&mut long));
        assert_eq!(a, b, "of {frames:?}");
        assert_eq!(straight.counts(), long.counts(), "of {frames:?}");
        answers += a.len();
        now = now + u64::try_from(dice.below(40)).unwrap();
        if dice.one_in(8) {
            for side in [&mut straight, &mut long] {
                side.worker.housekeeping(now, &mut side.out);
                side.director.reclaim();
            }
            assert_eq!(sorted(&mut straight), sorted(&mut long));
        }
    }
    assert!(answers > 10_000, "only {answers}");
    let sent = straight.worker.counters().dropped(DropReason::CookieSent);
    assert!(sent > 4_000, "only {sent} cookies");
}

#[test]
fn a_cookie_at_once_is_the_one_sent_the_long_way() {
    cookies_are_the_same(SynCookies::On, 21);
}

#[test]
fn a_cookie_at_once_is_the_one_sent_the_long_way_while_a_flood_lasts() {
    cookies_are_the_same(SynCookies::Above(50), 22);
}
