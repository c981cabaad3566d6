//! What a lookup costs: ns per hit, uniformly random over a full table, staged in bursts of 32 as the engine stages it.
//!
//! `cargo run --release -p flowtable --example lookup -- [CONNECTIONS [WORKERS]]`. Each figure is the median of interleaved
//! windows, with the quartiles: "base" makes the same random tuples and sums them without looking anything up, "find" also hashes,
//! prefetches, finds and touches, "unstaged" does that one packet after the other. Report differences to base.

use flowtable::{Claim, Deltas, Expiry, Hash, Kind, New, Side, StateFlags, Table, Tuple, V4};
use rcu::Domain;
use std::{
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use types::{Mark, ServerId, Tick};

const BURST: usize = 32;
const WINDOWS: usize = 15;
const BURSTS_PER_WINDOW: usize = 10_000;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u32>());
    let mut number = |default| {
        arguments
            .next()
            .map_or(default, |n| n.expect("a number of connections, of workers"))
    };
    let (connections, workers) = (number(1_000_000), number(1));
    let domain = Domain::new(workers as usize);
    let table = Arc::new(
        Table::new(connections as usize, [0x5eed, 0xfeed], domain).expect("memory for the table"),
    );
    table.populate();
    let start = Instant::now();
    fill(&table, connections);
    per("insert", start.elapsed(), f64::from(connections));
    println!(
        "{connections} connections, {:.1} bytes each, {workers} worker(s)",
        table.bytes() as f64 / f64::from(connections)
    );
    thread::scope(|scope| {
        for worker in 0..workers {
            let table = &table;
            scope.spawn(move || measure(table, connections, worker));
        }
    });
    let start = Instant::now();
    let mut cursor = table.cursor(0, 1);
    let swept = table.expire(Tick(1000), &mut cursor, usize::MAX, &mut |_| Expiry::Expire);
    assert_eq!(swept.expired, 0);
    per(
        "sweep, nothing due",
        start.elapsed(),
        f64::from(connections),
    );
    let start = Instant::now();
    let swept = table.expire(Tick(10_000_000), &mut cursor, usize::MAX, &mut |_| {
        Expiry::Expire
    });
    assert_eq!(swept.expired, connections);
    per("sweep, all due", start.elapsed(), f64::from(connections));
}

fn per(what: &str, time: Duration, n: f64) {
    println!("{what}: {:.1} ns each", time.as_secs_f64() * 1e9 / n);
}

fn tuple(n: u32) -> Tuple<u32> {
    #[expect(clippy::cast_possible_truncation, reason = "any port will do")]
    let client_port = (n.wrapping_mul(40_503) >> 3) as u16;
    Tuple {
        protocol: 6,
        client: n.wrapping_mul(2_654_435_761),
        client_port,
        other: 0x0a00_00fe,
        other_port: 80,
    }
}

fn reply(n: u32) -> Tuple<u32> {
    Tuple {
        other: 0x0b00_0000 | (n % 997),
        other_port: 8080,
        ..tuple(n)
    }
}

fn fill(table: &Table<V4>, connections: u32) {
    for n in 0..connections {
        let t = tuple(n);
        let h = table.hash(t.protocol, t.client, t.client_port);
        match table.claim(h, &t, Kind::Connection, Tick(0), &mut |_| Expiry::Expire) {
            Claim::Won(embryo) => {
                embryo.publish(&New {
                    daddr: reply(n).other,
                    dport: 8080,
                    server: ServerId(n % 997),
                    flags: 0,
                    state: 0,
                    state_flags: StateFlags::default(),
                    timeout_ms: 900_000,
                    template: None,
                    mark: Mark(0),
                    deltas: Deltas::default(),
                    note: 0,
                });
            }
            other => panic!("connection {n}: {other:?}"),
        }
    }
    assert_eq!(table.counts().connections, u64::from(connections));
}

/// A burst as the engine meets it: client packets and replies mixed.
struct Packets {
    random: u64,
    connections: u32,
}

impl Packets {
    fn burst(&mut self) -> [(Tuple<u32>, Side); BURST] {
        std::array::from_fn(|_| {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let n = (((self.random >> 32) * u64::from(self.connections)) >> 32) as u32;
            if self.random & 1 == 0 {
                (tuple(n), Side::Virtual)
            } else {
                (reply(n), Side::Server)
            }
        })
    }
}

fn measure(table: &Table<V4>, connections: u32, worker: u32) {
    let mut packets = Packets {
        random: 88_172_645_463_325_252 + u64::from(worker),
        connections,
    };
    let mut results = [const { Vec::new() }; 3];
    for window in 0..WINDOWS as u64 {
        for (mode, result) in results.iter_mut().enumerate() {
            let start = Instant::now();
            for burst in 0..BURSTS_PER_WINDOW as u64 {
                let packets = black_box(packets.burst());
                let now = Tick(1 + window + burst / 1000);
                match mode {
                    0 => drop(black_box(
                        packets
                            .iter()
                            .map(|(t, _)| t.client ^ t.other)
                            .fold(0, |a, b| a ^ b),
                    )),
                    1 => staged(table, &packets, now),
                    _ => unstaged(table, &packets, now),
                }
            }
            result.push(start.elapsed().as_secs_f64() * 1e9 / (BURSTS_PER_WINDOW * BURST) as f64);
        }
    }
    for (name, result) in ["base", "find", "unstaged"].iter().zip(&mut results) {
        result.sort_by(f64::total_cmp);
        let at = |quarter: usize| result[result.len() * quarter / 4];
        println!(
            "worker {worker} {name}: median {:.1} ns (quartiles {:.1} to {:.1})",
            at(2),
            at(1),
            at(3)
        );
    }
}

fn staged(table: &Table<V4>, packets: &[(Tuple<u32>, Side); BURST], now: Tick) {
    let hashes: [Hash; BURST] = std::array::from_fn(|i| {
        let t = &packets[i].0;
        let h = table.hash(t.protocol, t.client, t.client_port);
        table.prefetch_tags(h);
        h
    });
    for &h in &hashes {
        let _ = table.candidate(h);
    }
    for (h, (t, side)) in hashes.iter().zip(packets) {
        hit(table, *h, t, *side, now);
    }
}

fn unstaged(table: &Table<V4>, packets: &[(Tuple<u32>, Side); BURST], now: Tick) {
    for (t, side) in packets {
        hit(
            table,
            table.hash(t.protocol, t.client, t.client_port),
            t,
            *side,
            now,
        );
    }
}

#[inline]
fn hit(table: &Table<V4>, h: Hash, t: &Tuple<u32>, side: Side, now: Tick) {
    let slot = table.find(h, t, side, now).expect("every packet hits");
    let entry = table.entry(slot);
    entry.touch(now);
    black_box((entry.server(), entry.deltas(), entry.state()));
}
