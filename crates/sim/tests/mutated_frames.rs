//! Random and mutated frames through a busy director: nothing panics, no frame is lost or invented, and what held
//! before still works after. `TARPON_FRAMES=10000000 cargo test --release -p sim --test mutated_frames` runs more.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use arrayvec::ArrayVec;
use engine::{
    BURST, Capacity, Director, DropReason,
    model::{
        Desired, Interface, MarkRule, Offloads, Persistence, Route, Server, Service, ServiceKey,
        Settings,
    },
};
use sim::{
    Recorder, VecFrame,
    golden::{Op, Recording},
    mutation::{self, Dice},
};
use std::path::PathBuf;
use types::{ForwardingMethod, PortId, Protocol, Scheduler, Tick, Weight, WorkerId};

/// Frames when `TARPON_FRAMES` does not say otherwise.
const FRAMES: usize = 300_000;

fn seeds() -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut seeds = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "gz"))
        .collect();
    files.sort();
    for file in files {
        for step in Recording::read(&file).unwrap().steps {
            if let Op::Tx { frame, .. } = step.op {
                let bytes = (0..frame.len() / 2)
                    .map(|i| u8::from_str_radix(&frame[2 * i..2 * i + 2], 16).unwrap());
                seeds.push(bytes.collect());
            }
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds
}

fn interface(name: &str, port: u16, mac: &str, addresses: &[&str]) -> Interface {
    Interface {
        name: name.to_owned(),
        port: PortId(port),
        vlan: None,
        mac: mac.parse().unwrap(),
        mtu: 1500,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        host: port == 0,
        rp_filter: types::RpFilter::Off,
        offloads: Offloads {
            tx_ipv4: port == 1,
            tx_l4: port == 1,
        },
    }
}

fn service(
    protocol: Protocol,
    address: &str,
    method: ForwardingMethod,
    servers: [&str; 2],
    scheduler: Scheduler,
) -> Service {
    let netmask = if address.starts_with('[') {
        u128::MAX
    } else {
        u128::from(u32::MAX)
    };
    Service {
        key: ServiceKey::Address {
            protocol,
            address: address.parse().unwrap(),
        },
        scheduler,
        flags: types::SchedulerFlags::default(),
        one_packet: false,
        persistence: (scheduler == Scheduler::Wlc).then_some(Persistence {
            timeout_s: 30,
            netmask,
        }),
        persistence_engine: None,
        servers: servers
            .iter()
            .map(|s| Server {
                address: s.parse().unwrap(),
                method,
                weight: Weight(2),
                tunnel: types::Tunnel::Ipip,
                upper_threshold: 0,
                lower_threshold: 0,
                edits: 0,
            })
            .collect(),
    }
}

fn desired() -> Desired {
    use ForwardingMethod::{Masq, Route as Direct, Tunnel};
    use Protocol::{Tcp, Udp};
    let v4 = ["10.1.0.11:8080", "10.1.0.12:8080"];
    let v6 = ["[fd01::11]:8080", "[fd01::12]:8080"];
    Desired {
        unaccepted: Vec::new(),
        interfaces: vec![
            interface(
                "cl0",
                0,
                "02:00:00:00:00:01",
                &[
                    "10.0.0.1/24",
                    "10.0.0.100/32",
                    "fd00::1/64",
                    "fd00::100/128",
                ],
            ),
            interface(
                "rs0",
                1,
                "02:00:00:00:01:01",
                &["10.1.0.1/24", "fd01::1/64"],
            ),
        ],
        routes: vec![
            Route {
                to: "0.0.0.0/0".parse().unwrap(),
                unreachable: false,
                via: Some("10.0.0.254".parse().unwrap()),
                interface: None,
            },
            Route {
                to: "::/0".parse().unwrap(),
                unreachable: false,
                via: Some("fd00::fe".parse().unwrap()),
                interface: None,
            },
        ],
        services: vec![
            service(Tcp, "10.0.0.100:80", Masq, v4, Scheduler::Rr),
            service(Tcp, "10.0.0.100:81", Direct, v4, Scheduler::Wrr),
            service(Tcp, "10.0.0.100:82", Tunnel, v4, Scheduler::Lc),
            service(Udp, "10.0.0.100:53", Masq, v4, Scheduler::Wlc),
            service(Tcp, "[fd00::100]:80", Masq, v6, Scheduler::Rr),
            service(Tcp, "[fd00::100]:81", Direct, v6, Scheduler::Rr),
            service(Tcp, "[fd00::100]:82", Tunnel, v6, Scheduler::Wlc),
            service(Udp, "[fd00::100]:53", Masq, v6, Scheduler::Rr),
        ],
        vips: Vec::new(),
        floating: Vec::new(),
        virtual_macs: Vec::new(),
        stations: Vec::new(),
        // Every packet is looked at, to the last condition.
        marks: vec![MarkRule {
            mark: types::Mark(9),
            source_ports: vec![0..=u16::MAX],
            dscp: Some(63),
            tcp_flags: Some((0xff, 0xff)),
            ..MarkRule::default()
        }],
        local: Vec::new(),
        on_removal: Vec::new(),
        limits: Vec::new(),
        settings: Settings {
            sloppy_tcp: true,
            ..Settings::default()
        },
    }
}

#[test]
fn mutated_frames_neither_panic_nor_get_lost() {
    let frames: usize = std::env::var("TARPON_FRAMES")
        .map_or(FRAMES, |text| text.parse().expect("a number of frames"));
    let seeds = seeds();
    assert!(
        seeds.len() > 1000,
        "the recordings give {} seeds",
        seeds.len()
    );
    let capacity = Capacity {
        workers: 1,
        ports: 2,
        connections4: 8192,
        connections6: 2048,
        neighbours: 64,
        services: 64,
        servers: 256,
    };
    let mut director = Director::new(capacity, [3, 4]).unwrap();
    let mut now = Tick(1000);
    director
        .apply(now, &desired())
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    let mut worker = director.worker(WorkerId(0)).unwrap();
    let mut dice = Dice::new(7);
    let mut out = Recorder::default();
    let mut burst: ArrayVec<VecFrame, BURST> = ArrayVec::new();
    let mut fed = 0;
    while fed < frames {
        // Now and then the pool runs dry.
        out.buffers = if dice.one_in(20) {
            dice.below(3)
        } else {
            usize::MAX
        };
        let size = 1 + dice.below(BURST);
        burst.extend((0..size).map(|_| mutation::next(&mut dice, &seeds)));
        fed += size;
        let port = PortId(u16::try_from(dice.below(2)).unwrap());
        if dice.one_in(10) {
            worker.from_host(now, port, &mut burst, &mut out);
        } else {
            worker.step(now, port, &mut burst, &mut out);
        }
        assert!(burst.is_empty());
        now = now + u64::try_from(dice.below(20)).unwrap();
        if dice.one_in(3) {
            worker.housekeeping(now, &mut out);
            director.reclaim();
        }
        let identity = worker.counters().conservation();
        assert!(identity.holds(), "after {fed} frames: {identity:?}");
        out.sent.clear();
        out.punted.clear();
    }
    let counters = worker.counters();
    assert_eq!(
        counters.rx.get() + counters.from_host.get(),
        u64::try_from(fed).unwrap()
    );
    assert!(counters.tx.get() > 0 && counters.punted.get() > 0 && counters.generated.get() > 0);
    let reached = DropReason::ALL
        .iter()
        .filter(|reason| counters.dropped(**reason) > 0)
        .count();
    println!(
        "{fed} frames, {} sent, {} reasons for drops reached",
        counters.tx.get(),
        reached
    );
    assert!(
        reached >= 15,
        "only {reached} reasons for drops were reached"
    );
}
