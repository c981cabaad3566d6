//! Connections opened and closed at full speed by real threads, half of them seeing the clients' packets and half the servers'. At the end
//! of every round nothing is left, and no count is adrift.
//!
//! `TARPON_CHURN=24000000 cargo test --release -p sim --test churn` opens that many in each test.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use arrayvec::ArrayVec;
use engine::{
    BURST, Capacity, ConnectionCounts, Director, Worker,
    model::{Desired, Settings},
};
use sim::{
    Packet, Recorder, Sent, VecFrame, packet,
    world::{MACS, PEER, network, service},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};
use types::{
    ForwardingMethod::Masq, InterfaceId, PortId, Protocol::Tcp, Scheduler::Rr, Tick, WorkerId,
};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN: u8 = 0x11;
const VIP: &str = "10.0.0.100:80";
const SERVERS: [&str; 3] = ["10.1.0.11:8080", "10.1.0.12:8080", "10.1.0.13:8080"];
/// Connections of a pair of workers in a round.
const ROUND: u32 = 6000;
/// Opened and closed in each test, unless the environment says otherwise.
const CONNECTIONS: u32 = 24_000;
/// Longer than TIME_WAIT.
const LATER_MS: u64 = 200_000;

fn director(workers: u16) -> Director {
    let capacity = Capacity {
        workers,
        ports: 2,
        connections4: ROUND as usize * usize::from(workers),
        connections6: 64,
        neighbours: 64,
        services: 4,
        servers: 16,
    };
    let mut director = Director::new(capacity, [7, 8]).unwrap();
    let desired = Desired {
        services: vec![service(Tcp, VIP, Rr, Masq, &SERVERS)],
        settings: Settings::ipvs(),
        ..network()
    };
    director.apply(Tick(1000), &desired).unwrap();
    for (interface, ip) in [
        (0, "10.0.0.254"),
        (1, "10.1.0.11"),
        (1, "10.1.0.12"),
        (1, "10.1.0.13"),
    ] {
        let ip = ip.parse().unwrap();
        assert!(director.set_neighbour(Tick(1000), InterfaceId(interface), ip, PEER));
    }
    director
}

/// Connection `n` of a round of pair `pair`.
fn client(pair: u16, n: u32) -> SocketAddr {
    let [.., a, b] = n.to_be_bytes();
    let [.., id] = pair.to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(172, 16, id, a).into(), 2000 + u16::from(b))
}

/// One worker and what comes out of it.
struct Side {
    worker: Worker<VecFrame>,
    out: Recorder,
    port: PortId,
    now: Tick,
}

impl Side {
    fn new(worker: Worker<VecFrame>, port: u16) -> Self {
        Self {
            worker,
            out: Recorder::default(),
            port: PortId(port),
            now: Tick(1000),
        }
    }

    /// Every packet must go on.
    fn burst(&mut self, frames: impl Iterator<Item = Vec<u8>>) -> Vec<Sent> {
        let mut burst: ArrayVec<VecFrame, BURST> =
            frames.map(|frame| VecFrame::new(&frame)).collect();
        let count = burst.len();
        self.worker
            .step(self.now, self.port, &mut burst, &mut self.out);
        while self.worker.counters().held.get() > 0 {
            self.worker.housekeeping(self.now, &mut self.out);
        }
        assert_eq!(self.out.sent.len(), count);
        std::mem::take(&mut self.out.sent)
    }

    /// The other end's answers to what was sent.
    fn answer(&mut self, sent: &[Sent], flags: u8) -> Vec<Sent> {
        let frames = sent.iter().map(|sent| {
            let seen = packet::read(&sent.bytes).unwrap();
            Packet::tcp(seen.destination, seen.source, flags).frame(MACS[usize::from(self.port.0)])
        });
        let frames: Vec<_> = frames.collect();
        self.burst(frames.into_iter())
    }

    /// Time goes by, and what is past its time is swept away.
    fn rest(&mut self) {
        self.now = self.now + LATER_MS;
        for ms in 0..2000 {
            self.worker.housekeeping(self.now + ms, &mut self.out);
        }
        self.now = self.now + 2000;
        assert!(self.worker.counters().conservation().holds());
        self.worker.offline();
    }
}

/// Opens, then confirms and closes, then lets go, as the answers come in.
fn clients_side(side: &mut Side, pair: u16, to: &Sender<Vec<Sent>>, from: &Receiver<Vec<Sent>>) {
    let batches = ROUND / 30;
    for batch in 0..batches {
        let frames = (batch * 30..batch * 30 + 30)
            .map(|n| Packet::tcp(client(pair, n), VIP.parse().unwrap(), SYN).frame(MACS[0]));
        to.send(side.burst(frames)).unwrap();
    }
    for accepted in from.iter().take(batches as usize) {
        side.answer(&accepted, ACK);
        to.send(side.answer(&accepted, FIN)).unwrap();
    }
    for closed in from.iter().take(batches as usize) {
        side.answer(&closed, ACK);
    }
}

/// Accepts, then closes.
fn servers_side(side: &mut Side, from: &Receiver<Vec<Sent>>, to: &Sender<Vec<Sent>>) {
    for flags in [SYN | ACK, FIN] {
        for sent in from.iter().take((ROUND / 30) as usize) {
            to.send(side.answer(&sent, flags)).unwrap();
        }
    }
}

fn churn(pairs: u16) {
    let wanted = std::env::var("TARPON_CHURN").map_or(CONNECTIONS, |n| n.parse().unwrap());
    let mut director = director(2 * pairs);
    let mut sides: Vec<Side> = (0..2 * pairs)
        .map(|id| Side::new(director.worker(WorkerId(id)).unwrap(), id % 2))
        .collect();
    let each_round = ROUND * u32::from(pairs);
    let rounds = wanted.div_ceil(each_round);
    for round in 1..=rounds {
        thread::scope(|scope| {
            for (pair, two) in (0..).zip(sides.chunks_exact_mut(2)) {
                let [clients, servers] = two else {
                    unreachable!("two by two")
                };
                let ((to_servers, at_servers), (to_clients, at_clients)) = (channel(), channel());
                scope.spawn(move || clients_side(clients, pair, &to_servers, &at_clients));
                scope.spawn(move || servers_side(servers, &at_servers, &to_clients));
            }
        });
        let counts = |director: &Director| {
            let [service] = director.services().try_into().unwrap();
            let mut sum = ConnectionCounts::default();
            service.servers.iter().for_each(|s| sum += s.counts);
            (sum, service.traffic)
        };
        let (sum, traffic) = counts(&director);
        assert_eq!(
            (sum.active, sum.inactive),
            (0, each_round),
            "all are closed in round {round}"
        );
        let all = u64::from(round) * u64::from(each_round);
        assert_eq!(
            (traffic.connections, traffic.packets_in, traffic.packets_out),
            (all, 4 * all, 2 * all)
        );
        thread::scope(|scope| {
            for side in &mut sides {
                scope.spawn(|| side.rest());
            }
        });
        director.reclaim();
        assert_eq!(counts(&director).0, ConnectionCounts::default());
        assert_eq!(director.tables()[0].connections, 0, "round {round}");
    }
}

#[test]
fn two_threads() {
    churn(1);
}

#[test]
fn four_threads() {
    churn(2);
}

#[test]
fn eight_threads() {
    churn(4);
}
