//! The engine as a subject: a virtual service with real servers behind it, its connections there before the clock starts.

use crate::{
    flows::{self, SERVERS, Stamp},
    forward::BURST,
    path::Path,
    subject::Subject,
};
use anyhow::{Context, Result, anyhow, ensure};
use arrayvec::ArrayVec;
use dpdk::{Mbuf, Mempool, TxQueue};
use engine::{
    Capacity, Director, Output, Synchronizer, Worker, WorkerCounters,
    model::{Desired, Interface, Limits, Offloads, Route, Server, Service, ServiceKey, Settings},
};
use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};
use types::{
    ForwardingMethod, InterfaceId, IpNet, MacAddr, PortId, Protocol, Scheduler, SynCookies, Tick,
    Weight, WorkerId,
};
use wire::{Frame, tcp};

const CLIENTS: PortId = PortId(0);
const SERVER_SIDE: PortId = PortId(1);

/// A director with a number of established connections.
pub struct Lvs {
    path: Path,
    director: Director,
    /// Its workers.
    pub lanes: Vec<Lane>,
    connections: u32,
    /// Each connection's server.
    servers: Vec<u8>,
    /// Of the burst sent last.
    last: ArrayVec<u8, BURST>,
}

/// What a director and its workers count.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub received: u64,
    pub sent: u64,
    pub connections: u64,
    pub active: u64,
    pub inactive: u64,
}

/// One worker of a director, as a subject.
pub struct Lane {
    name: String,
    /// Where what is measured comes in.
    port: PortId,
    worker: Worker<Mbuf>,
    counters: Arc<WorkerCounters>,
    out: Out,
    started: Instant,
    now: Tick,
}

/// What the engine gives back in one step.
struct Out {
    pool: Mempool,
    sent: ArrayVec<Mbuf, BURST>,
    /// Frames that are not what is measured.
    strays: u64,
}

impl Output<Mbuf> for Out {
    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    #[inline]
    fn transmit(&mut self, _: PortId, frame: Mbuf) {
        if let Err(full) = self.sent.try_push(frame) {
            drop(full);
            self.strays += 1;
        }
    }

    fn punt(&mut self, _: PortId, frame: Mbuf) {
        drop(frame);
        self.strays += 1;
    }
}

impl Lvs {
    /// A director of `workers` workers, with `connections` connections for `path`, filled by sending the first packets of each.
    pub fn new(path: Path, connections: u32, workers: u16, pool: &Mempool) -> Result<Self> {
        Self::with_room(path, connections, 0, workers, pool)
    }

    /// [`Lvs::new`] with room for `more` connections.
    pub fn with_room(
        path: Path,
        connections: u32,
        more: u32,
        workers: u16,
        pool: &Mempool,
    ) -> Result<Self> {
        let room = usize::try_from(connections)? + usize::try_from(more)? + 1024;
        let capacity = Capacity {
            workers,
            connections4: if path.is_ipv6 { 1024 } else { room },
            connections6: if path.is_ipv6 { room } else { 1024 },
            ..Capacity::default()
        };
        let mut director = Director::new(capacity, [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210])?;
        ensure!(
            director.populate(),
            "the kernel has no memory for {room} connections"
        );
        let mistakes =
            |errors: Vec<engine::ModelError>| anyhow!("the engine refuses the service: {errors:?}");
        director.apply(Tick(0), &desired(path)?).map_err(mistakes)?;
        // Nothing to ask for meanwhile.
        let gateways = [gateway(false), gateway(true)].map(|ip| (InterfaceId(0), ip, 0));
        let servers = (0..SERVERS).map(|n| (InterfaceId(1), flows::server(n, path.is_ipv6), n + 1));
        for (interface, address, number) in gateways.into_iter().chain(servers) {
            let mac = MacAddr([2, 0, 0, 0, 1, number]);
            let known = director.set_neighbour(Tick(0), interface, address, mac);
            ensure!(known, "the table of neighbours is full");
        }
        let started = Instant::now();
        let lane = |id| -> Result<Lane> {
            Ok(Lane {
                name: path.to_string(),
                port: if path.is_reply { SERVER_SIDE } else { CLIENTS },
                worker: director.worker(id).context("no such worker")?,
                counters: director.counters(id).context("no such counters")?,
                out: Out {
                    pool: pool.clone(),
                    sent: ArrayVec::new(),
                    strays: 0,
                },
                started,
                now: Tick(1),
            })
        };
        let lanes: Result<Vec<Lane>> = (0..workers).map(WorkerId).map(lane).collect();
        let mut lvs = Self {
            path,
            lanes: lanes?,
            director,
            connections,
            servers: Vec::new(),
            last: ArrayVec::new(),
        };
        lvs.fill()?;
        Ok(lvs)
    }

    /// The packets to measure with.
    pub fn stamp(&self) -> Stamp {
        let mut stamp = Stamp::new(self.path, self.connections, self.servers.clone());
        if self.path.syn.is_one() {
            stamp.set_tcp_flags(tcp::SYN);
        }
        stamp
    }

    /// The requests that make the connections: TCP's are opened and acknowledged.
    fn fill(&mut self) -> Result<()> {
        if self.path.syn.is_one() {
            return Ok(());
        }
        let requests = Path {
            is_reply: false,
            ..self.path
        };
        let mut stamp = Stamp::new(requests, self.connections, Vec::new());
        let rounds: &[u8] = if self.path.protocol == Protocol::Tcp {
            &[tcp::SYN, tcp::ACK]
        } else {
            &[0]
        };
        for flags in rounds {
            stamp.set_tcp_flags(*flags);
            self.servers.clear();
            self.send_all(&stamp)?;
        }
        self.verify(&self.lanes)
    }

    fn send_all(&mut self, stamp: &Stamp) -> Result<()> {
        let mut at = 0;
        while at < self.connections {
            let next = self.connections.min(at + 32);
            self.burst(stamp, at..next, false, false)?;
            self.servers.extend(&self.last);
            at = next;
        }
        Ok(())
    }

    /// Sends a packet of each of `flows`, a burst at most, from the clients' or the servers' side, and keeps in mind which
    /// servers they went to. `dry`: makes the packets and no more.
    pub fn burst(
        &mut self,
        stamp: &Stamp,
        flows: Range<u32>,
        is_reply: bool,
        dry: bool,
    ) -> Result<()> {
        let lane = self.lanes.first_mut().context("a director of no worker")?;
        let mut burst: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        for index in flows {
            let mut frame = lane.out.pool.alloc().context("no packet buffer")?;
            ensure!(frame.append(stamp.len), "a packet buffer without room");
            stamp.write(index, &mut frame);
            burst.push(frame);
        }
        if dry {
            Mbuf::free_burst(&mut burst);
            return Ok(());
        }
        lane.tick();
        let port = if is_reply { SERVER_SIDE } else { CLIENTS };
        lane.worker.step(lane.now, port, &mut burst, &mut lane.out);
        // Servers are told apart by the last byte of their MACs.
        let sent = lane.out.sent.iter();
        let macs = sent.filter_map(|f| f.head().get(5).copied());
        self.last = macs.map(|last| last.wrapping_sub(1)).collect();
        Mbuf::free_burst(&mut lane.out.sent);
        Ok(())
    }

    /// Where the packets of the burst sent last went.
    pub fn last_servers(&self) -> &[u8] {
        &self.last
    }

    /// Requests and replies of the same connections.
    pub fn both_ways(&self) -> (Stamp, Stamp) {
        let way = |is_reply| {
            let path = Path {
                is_reply,
                ..self.path
            };
            Stamp::new(path, self.connections, Vec::new())
        };
        (way(false), way(true))
    }

    /// Reads what its workers note of connections.
    pub fn synchronizer(&mut self) -> Option<Synchronizer> {
        self.director.synchronizer()
    }

    /// Makes `desired` the director's state.
    pub fn apply(&mut self, desired: &Desired) -> Result<()> {
        let applied = self.director.apply(Tick(1), desired);
        applied.map_err(|errors| anyhow!("the engine refuses the change: {errors:?}"))?;
        self.director.reclaim();
        Ok(())
    }

    /// What is counted now.
    pub fn seen(&self) -> Result<Seen> {
        let lane = self.lanes.first().context("a director of no worker")?;
        let services = self.director.services();
        let servers = services.iter().flat_map(|s| &s.servers);
        let (active, inactive) = servers.fold((0, 0), |(active, inactive), server| {
            let counts = server.counts;
            (
                active + u64::from(counts.active),
                inactive + u64::from(counts.inactive),
            )
        });
        Ok(Seen {
            received: lane.counters.rx.get(),
            sent: lane.counters.tx.get(),
            connections: self.director.tables()[0].connections,
            active,
            inactive,
        })
    }

    /// Every packet found its connection and left, by whichever of `lanes`, which are all there are.
    pub fn verify(&self, lanes: &[Lane]) -> Result<()> {
        let [ipv4, ipv6] = self.director.tables();
        let wanted = if self.path.syn.is_one() {
            0
        } else {
            u64::from(self.connections)
        };
        let there = ipv4.connections + ipv6.connections;
        ensure!(there == wanted, "{there} connections instead of {wanted}");
        let mut received = 0;
        for lane in lanes {
            let (rx, tx) = (lane.counters.rx.get(), lane.counters.tx.get());
            let strays = lane.out.strays;
            ensure!(
                rx == tx && strays == 0,
                "{rx} in, {tx} out, {strays} strays"
            );
            ensure!(lane.out.sent.is_empty(), "frames were not sent");
            let conservation = lane.counters.conservation();
            ensure!(conservation.holds(), "{conservation:?}");
            received += rx;
        }
        let services = self.director.services();
        let served: u64 = services.iter().map(|s| s.traffic.connections).sum();
        ensure!(
            served == wanted,
            "{served} connections were scheduled, not {wanted}: some packets were misses"
        );
        let counted: u64 = if self.path.syn.is_one() {
            let answered = |lane: &Lane| lane.counters.dropped(engine::DropReason::CookieSent);
            lanes.iter().map(answered).sum()
        } else {
            let packets = services.iter().map(|s| s.traffic);
            packets.map(|t| t.packets_in + t.packets_out).sum()
        };
        ensure!(
            counted == received,
            "{counted} of {received} packets were counted to a server, or answered"
        );
        Ok(())
    }
}

/// Valgrind knows it by its name: what is counted.
#[inline(never)]
fn counted_step(
    worker: &mut Worker<Mbuf>,
    now: Tick,
    port: PortId,
    burst: &mut ArrayVec<Mbuf, BURST>,
    out: &mut Out,
) {
    worker.step(now, port, burst, out);
}

impl Lane {
    /// Lets time go by at once.
    pub fn jump(&mut self, time: Duration) {
        self.started = self.started.checked_sub(time).unwrap_or(self.started);
        self.now = self.moment();
    }

    fn moment(&self) -> Tick {
        let elapsed = self.started.elapsed().as_millis();
        Tick(1 + u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// What is due at this moment.
    pub fn clockwork(&mut self) {
        self.worker.housekeeping(self.now, &mut self.out);
    }

    /// A burst of nothing: what is done beside packets, alone.
    pub fn nothing(&mut self) {
        let none = &mut ArrayVec::new();
        self.worker.step(self.now, self.port, none, &mut self.out);
    }

    /// A piece of the clockwork that can wait; false: there is none.
    pub fn spare_time(&mut self) -> bool {
        self.worker.spare_time(self.now, &mut self.out)
    }

    /// Packets that came and did not leave.
    pub fn lost(&self) -> u64 {
        self.counters.rx.get() - self.counters.tx.get()
    }

    /// Nobody waits for this worker until its next burst.
    pub fn pause(&mut self) {
        self.worker.offline();
    }
}

impl Subject for Lane {
    fn name(&self) -> &str {
        &self.name
    }

    fn tick(&mut self) {
        let now = self.moment();
        if now != self.now {
            self.now = now;
            self.clockwork();
        }
    }

    #[inline]
    fn step(&mut self, burst: &mut ArrayVec<Mbuf, BURST>, tx: &mut TxQueue) {
        counted_step(&mut self.worker, self.now, self.port, burst, &mut self.out);
        tx.burst(&mut self.out.sent);
    }
}

fn gateway(is_ipv6: bool) -> IpAddr {
    if is_ipv6 {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe])
    } else {
        IpAddr::from([192, 0, 2, 254])
    }
}

/// The service `path` is measured at.
pub fn desired(path: Path) -> Result<Desired> {
    let interface = |name: &str, port: PortId, addresses: [&str; 2]| -> Result<Interface> {
        let addresses: Result<Vec<IpNet>, _> = addresses.iter().map(|a| a.parse()).collect();
        Ok(Interface {
            name: name.to_owned(),
            port,
            vlan: None,
            mac: MacAddr(flows::DIRECTOR[port.index()]),
            mtu: 1500,
            addresses: addresses?,
            host: false,
            offloads: Offloads::default(),
            rp_filter: types::RpFilter::Off,
        })
    };
    let route = |to: &str, is_ipv6| -> Result<Route> {
        Ok(Route {
            to: to.parse()?,
            unreachable: false,
            via: Some(gateway(is_ipv6)),
            interface: None,
        })
    };
    let port = if path.method == ForwardingMethod::Masq {
        flows::SERVER_PORT
    } else {
        flows::VPORT
    };
    let server = |number| Server {
        address: SocketAddr::new(flows::server(number, path.is_ipv6), port),
        method: path.method,
        weight: Weight(1),
        tunnel: types::Tunnel::Ipip,
        upper_threshold: 0,
        lower_threshold: 0,
        edits: 0,
    };
    let key = ServiceKey::Address {
        protocol: path.protocol,
        address: SocketAddr::new(flows::vip(path.is_ipv6), flows::VPORT),
    };
    let limits = path.syn.is_one().then(|| Limits {
        syn_cookies: SynCookies::On,
        client_prefix: 32,
        ..Limits::default()
    });
    Ok(Desired {
        interfaces: vec![
            interface("clients", CLIENTS, ["192.0.2.1/24", "2001:db8::1/64"])?,
            interface("servers", SERVER_SIDE, ["10.200.0.1/24", "fd01::1/64"])?,
        ],
        routes: vec![route("0.0.0.0/0", false)?, route("::/0", true)?],
        services: vec![Service {
            key,
            scheduler: Scheduler::Rr,
            flags: types::SchedulerFlags::default(),
            one_packet: false,
            persistence: None,
            persistence_engine: None,
            servers: (0..SERVERS).map(server).collect(),
        }],
        marks: Vec::new(),
        local: Vec::new(),
        on_removal: Vec::new(),
        limits: limits.map(|limits| (key, limits)).into_iter().collect(),
        vips: Vec::new(),
        floating: Vec::new(),
        unaccepted: Vec::new(),
        virtual_macs: Vec::new(),
        stations: Vec::new(),
        // Longer than any run: nothing may expire under the clock.
        settings: Settings {
            timeout_udp_s: 86_400,
            timeout_tcp_s: 86_400,
            ..Settings::default()
        },
    })
}
