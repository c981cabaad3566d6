//! Real threads: two workers that each see one direction of every connection, and workers that race for the same new
//! connections. Counts are exact at the end, and round robin has advanced once for each connection.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use arrayvec::ArrayVec;
use engine::{
    BURST, Capacity, ConnectionCounts, Director, Worker,
    model::{Desired, Service, Settings},
};
use sim::{
    Packet, Recorder, Sent, VecFrame, packet,
    world::{MACS, PEER, network, service},
};
use std::{
    net::SocketAddr,
    sync::{
        Barrier,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};
use types::{
    ForwardingMethod::Masq,
    InterfaceId, PortId,
    Protocol::Tcp,
    Scheduler::{Rr, Wrr},
    Tick, Weight, WorkerId,
};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN: u8 = 0x11;
const VIP: &str = "10.0.0.100:80";
const SERVERS: [&str; 3] = ["10.1.0.11:8080", "10.1.0.12:8080", "10.1.0.13:8080"];
const CLIENTS: u16 = 3000;
const NOW: Tick = Tick(1000);

fn director(workers: u16) -> Director {
    director_with(workers, service(Tcp, VIP, Rr, Masq, &SERVERS))
}

fn director_with(workers: u16, service: Service) -> Director {
    let capacity = Capacity {
        workers,
        ports: 2,
        connections4: 16_384,
        connections6: 64,
        neighbours: 64,
        services: 4,
        servers: 16,
    };
    let mut director = Director::new(capacity, [7, 8]).unwrap();
    let desired = Desired {
        services: vec![service],
        settings: Settings::ipvs(),
        ..network()
    };
    director.apply(NOW, &desired).unwrap();
    for (interface, ip) in [
        (0, "10.0.0.254"),
        (1, "10.1.0.11"),
        (1, "10.1.0.12"),
        (1, "10.1.0.13"),
    ] {
        assert!(director.set_neighbour(NOW, InterfaceId(interface), ip.parse().unwrap(), PEER));
    }
    director
}

fn client(n: u16) -> SocketAddr {
    SocketAddr::new("172.16.0.1".parse().unwrap(), 2000 + n)
}

fn from_client(n: u16, flags: u8) -> Vec<u8> {
    Packet::tcp(client(n), VIP.parse().unwrap(), flags).frame(MACS[0])
}

/// What the server answers to a frame it was sent.
fn reply(sent: &Sent, flags: u8) -> Vec<u8> {
    let seen = packet::read(&sent.bytes).unwrap();
    Packet::tcp(seen.destination, seen.source, flags).frame(MACS[1])
}

fn step(worker: &mut Worker<VecFrame>, port: u16, frame: &[u8], out: &mut Recorder) -> Vec<Sent> {
    let mut burst: ArrayVec<VecFrame, BURST> = ArrayVec::new();
    burst.push(VecFrame::new(frame));
    worker.step(NOW, PortId(port), &mut burst, out);
    assert!(worker.counters().conservation().holds());
    std::mem::take(&mut out.sent)
}

/// Worker of the clients' side: opens, confirms and closes each connection as the other side's answers come in.
fn clients_side(mut worker: Worker<VecFrame>, to: &Sender<Sent>, from: &Receiver<u16>) {
    let mut out = Recorder::default();
    for n in 0..CLIENTS {
        let sent = step(&mut worker, 0, &from_client(n, SYN), &mut out);
        to.send(sent.into_iter().next().unwrap()).unwrap();
    }
    for n in from.iter().take(usize::from(CLIENTS)) {
        assert_eq!(
            step(&mut worker, 0, &from_client(n, ACK), &mut out).len(),
            1
        );
        let sent = step(&mut worker, 0, &from_client(n, FIN), &mut out);
        to.send(sent.into_iter().next().unwrap()).unwrap();
    }
}

/// Worker of the servers' side: accepts, then closes.
fn servers_side(mut worker: Worker<VecFrame>, from: &Receiver<Sent>, to: &Sender<u16>) {
    let mut out = Recorder::default();
    let answer = |worker: &mut Worker<VecFrame>, out: &mut Recorder, sent: &Sent, flags| {
        let back = step(worker, 1, &reply(sent, flags), out);
        let seen = packet::read(&back[0].bytes).unwrap();
        assert_eq!(seen.source, VIP.parse().unwrap());
        seen.destination.port() - 2000
    };
    for sent in from.iter().take(usize::from(CLIENTS)) {
        let n = answer(&mut worker, &mut out, &sent, SYN | ACK);
        to.send(n).unwrap();
    }
    for sent in from.iter().take(usize::from(CLIENTS)) {
        answer(&mut worker, &mut out, &sent, FIN);
    }
}

fn counts(director: &Director) -> Vec<ConnectionCounts> {
    let [service] = director.services().try_into().unwrap();
    service.servers.iter().map(|s| s.counts).collect()
}

#[test]
fn each_direction_on_a_thread_of_its_own() {
    let mut director = director(2);
    let (a, b) = (director.worker(WorkerId(0)), director.worker(WorkerId(1)));
    let ((to_servers, at_servers), (to_clients, at_clients)) = (channel(), channel());
    thread::scope(|scope| {
        scope.spawn(move || clients_side(a.unwrap(), &to_servers, &at_clients));
        scope.spawn(move || servers_side(b.unwrap(), &at_servers, &to_clients));
    });
    let each = ConnectionCounts {
        active: 0,
        inactive: u32::from(CLIENTS) / 3,
        persistent: 0,
    };
    assert_eq!(counts(&director), [each; 3]);
    let [service] = director.services().try_into().unwrap();
    let n = u64::from(CLIENTS);
    let traffic = service.traffic;
    assert_eq!(
        (traffic.connections, traffic.packets_in, traffic.packets_out),
        (n, 3 * n, 2 * n)
    );
    let mut states = Vec::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        cursor = director.connections(NOW, at, 1000, |c| states.push(c.state));
    }
    assert_eq!(states, vec!["TIME_WAIT"; usize::from(CLIENTS)]);
}

#[test]
fn four_workers_race_for_the_same_connections_and_sweep_them_away() {
    const WORKERS: u16 = 4;
    let mut director = director(WORKERS);
    let barrier = Barrier::new(usize::from(WORKERS));
    let workers: Vec<Worker<VecFrame>> = (0..WORKERS)
        .map(|id| director.worker(WorkerId(id)).unwrap())
        .collect();
    // Every worker is given every client's SYN, at about the same time.
    let race = |mut worker: Worker<VecFrame>| {
        let mut out = Recorder::default();
        for first in (0..CLIENTS).step_by(30) {
            barrier.wait();
            let mut burst: ArrayVec<VecFrame, BURST> = (first..first + 30)
                .map(|n| VecFrame::new(&from_client(n, SYN)))
                .collect();
            worker.step(NOW, PortId(0), &mut burst, &mut out);
            while worker.counters().held.get() > 0 {
                worker.housekeeping(NOW, &mut out);
            }
            assert!(worker.counters().conservation().holds());
        }
        worker
    };
    let race = &race;
    let mut workers: Vec<Worker<VecFrame>> = thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|worker| scope.spawn(move || race(worker)))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let each = ConnectionCounts {
        active: u32::from(CLIENTS) / 3,
        inactive: 0,
        persistent: 0,
    };
    assert_eq!(
        counts(&director),
        [each; 3],
        "one connection for each client"
    );
    let [service] = director.services().try_into().unwrap();
    assert_eq!(service.traffic.connections, u64::from(CLIENTS));
    // Their time runs out while all sweep at once.
    thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(|| {
                let mut out = Recorder::default();
                for ms in 0..3000 {
                    worker.housekeeping(NOW + 60_000 + ms, &mut out);
                }
            });
        }
    });
    assert_eq!(counts(&director), [ConnectionCounts::default(); 3]);
    assert_eq!(director.tables()[0].connections, 0);
}

#[test]
fn weighted_shares_are_exact_whoever_schedules() {
    const WORKERS: u16 = 3;
    let mut weighted = service(Tcp, VIP, Wrr, Masq, &SERVERS);
    for (server, weight) in weighted.servers.iter_mut().zip(1..) {
        server.weight = Weight(weight);
    }
    let mut director = director_with(WORKERS, weighted);
    thread::scope(|scope| {
        for id in 0..WORKERS {
            let mut worker: Worker<VecFrame> = director.worker(WorkerId(id)).unwrap();
            scope.spawn(move || {
                let mut out = Recorder::default();
                for n in (id..CLIENTS).step_by(usize::from(WORKERS)) {
                    assert_eq!(
                        step(&mut worker, 0, &from_client(n, SYN), &mut out).len(),
                        1
                    );
                }
            });
        }
    });
    let shares: Vec<u32> = counts(&director).iter().map(|c| c.active).collect();
    assert_eq!(shares, [500, 1000, 1500]);
}
