//! The straight way against the long one: two directors alike are given the same frames, one lets plain packets go the
//! straight way, the other parses everything in full. Whatever leaves, and every counter, must be the same.

use super::*;
use crate::{
    Capacity, Director, DropReason, Worker,
    model::{Desired, Persistence, Server, Service, ServiceKey, Settings},
    testing::{self, Out, ip, mac},
};
use sim::{
    VecFrame,
    golden::{Op, Recording},
    mutation::{self, Dice},
};
use std::path::PathBuf;
use types::{ForwardingMethod, InterfaceId, Protocol, Scheduler, Tick, Weight, WorkerId};

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
            engine: None,
        }),
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
