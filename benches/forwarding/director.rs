//! The engine as a subject: a virtual service with real servers behind it, its connections there before the clock starts.

use crate::{
    flows::{self, SERVERS, Stamp},
    forward::BURST,
    path::Path,
    subject::Subject,
};
use anyhow::{Context, Result, ensure};
use arrayvec::ArrayVec;
use dpdk::{Mbuf, Mempool, TxQueue};
use engine::{
    Capacity, Director, Output, Worker, WorkerCounters,
    model::{Desired, Interface, Offloads, Route, Server, Service, ServiceKey, Settings},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use types::{
    ForwardingMethod, InterfaceId, IpNet, MacAddr, PortId, Protocol, Scheduler, Tick, Weight,
    WorkerId,
};
use wire::{Frame, tcp};

const CLIENTS: PortId = PortId(0);
const SERVER_SIDE: PortId = PortId(1);

/// A director of one worker, with a number of established connections.
pub struct Lvs {
    path: Path,
    name: String,
    /// Where what is measured comes in.
    port: PortId,
    director: Director,
    worker: Worker<Mbuf>,
    counters: Arc<WorkerCounters>,
    out: Out,
    started: Instant,
    now: Tick,
    connections: u32,
    /// Each connection's server.
    servers: Vec<u8>,
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
    /// A director with `connections` connections for `path`, filled by sending the first packets of each.
    pub fn new(path: Path, connections: u32, pool: &Mempool) -> Result<Self> {
        let room = usize::try_from(connections)? * 5 / 4 + 1024;
        let capacity = Capacity {
            connections4: if path.is_ipv6 { 1024 } else { room },
            connections6: if path.is_ipv6 { room } else { 1024 },
            ..Capacity::default()
        };
        let mut director = Director::new(capacity, [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210])?;
        let mistakes = |errors: Vec<engine::ModelError>| {
            anyhow::anyhow!("the engine refuses the service: {errors:?}")
        };
        director.apply(Tick(0), &desired(path)?).map_err(mistakes)?;
        // Nothing to ask for meanwhile.
        let gateways = [gateway(false), gateway(true)].map(|ip| (InterfaceId(0), ip, 0));
        let servers = (0..SERVERS).map(|n| (InterfaceId(1), flows::server(n, path.is_ipv6), n + 1));
        for (interface, address, number) in gateways.into_iter().chain(servers) {
            let mac = MacAddr([2, 0, 0, 0, 1, number]);
            let known = director.set_neighbour(Tick(0), interface, address, mac);
            ensure!(known, "the table of neighbours is full");
        }
        let worker = director.worker(WorkerId(0)).context("no worker 0")?;
        let counters = director
            .counters(WorkerId(0))
            .context("no counters of worker 0")?;
        let out = Out {
            pool: pool.clone(),
            sent: ArrayVec::new(),
            strays: 0,
        };
        let mut lvs = Self {
            path,
            name: path.to_string(),
            port: if path.is_reply { SERVER_SIDE } else { CLIENTS },
            director,
            worker,
            counters,
            out,
            started: Instant::now(),
            now: Tick(1),
            connections,
            servers: Vec::new(),
        };
        lvs.fill()?;
        Ok(lvs)
    }

    /// The packets to measure with.
    pub fn stamp(&self) -> Stamp {
        Stamp::new(self.path, self.connections, self.servers.clone())
    }

    /// The requests that make the connections: TCP's are opened and acknowledged.
    fn fill(&mut self) -> Result<()> {
        let requests = Path {
            is_reply: false,
            ..self.path
        };
        let mut stamp = Stamp::new(requests, self.connections, Vec::new());
        let rounds: &[u8] = match self.path.protocol {
            Protocol::Tcp => &[tcp::SYN, tcp::ACK],
            Protocol::Udp => &[0],
        };
        for flags in rounds {
            stamp.set_tcp_flags(*flags);
            self.servers.clear();
            self.send_all(&stamp)?;
        }
        self.verify()
    }

    fn send_all(&mut self, stamp: &Stamp) -> Result<()> {
        let mut burst: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        for index in 0..self.connections {
            let mut frame = self.out.pool.alloc().context("no packet buffer")?;
            ensure!(frame.append(stamp.len), "a packet buffer without room");
            stamp.write(index, &mut frame);
            burst.push(frame);
            if burst.is_full() || index + 1 == self.connections {
                self.tick();
                self.worker
                    .step(self.now, CLIENTS, &mut burst, &mut self.out);
                // Servers are told apart by the last byte of their MACs.
                let macs = self
                    .out
                    .sent
                    .iter()
                    .filter_map(|f| f.head().get(5).copied());
                self.servers.extend(macs.map(|last| last.wrapping_sub(1)));
                Mbuf::free_burst(&mut self.out.sent);
            }
        }
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

impl Subject for Lvs {
    fn name(&self) -> &str {
        &self.name
    }

    fn tick(&mut self) {
        let elapsed: Duration = self.started.elapsed();
        self.now = Tick(1 + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        self.worker.housekeeping(self.now, &mut self.out);
    }

    #[inline]
    fn step(&mut self, burst: &mut ArrayVec<Mbuf, BURST>, tx: &mut TxQueue) {
        counted_step(&mut self.worker, self.now, self.port, burst, &mut self.out);
        tx.burst(&mut self.out.sent);
    }

    /// Every packet found its connection and left.
    fn verify(&self) -> Result<()> {
        let [ipv4, ipv6] = self.director.tables();
        let wanted = u64::from(self.connections);
        let there = ipv4.connections + ipv6.connections;
        ensure!(there == wanted, "{there} connections instead of {wanted}");
        let (rx, tx) = (self.counters.rx.get(), self.counters.tx.get());
        ensure!(
            rx == tx && self.out.strays == 0,
            "{rx} in, {tx} out, {} strays",
            self.out.strays
        );
        ensure!(self.out.sent.is_empty(), "frames were not sent");
        ensure!(
            self.counters.conservation().holds(),
            "{:?}",
            self.counters.conservation()
        );
        let services = self.director.services();
        let served: u64 = services.iter().map(|s| s.traffic.connections).sum();
        ensure!(
            served == wanted,
            "{served} connections were scheduled, not {wanted}: some packets were misses"
        );
        let counted: u64 = services
            .iter()
            .map(|s| s.traffic.packets_in + s.traffic.packets_out)
            .sum();
        ensure!(
            counted == rx,
            "{counted} of {rx} packets were counted to a server"
        );
        Ok(())
    }
}

fn gateway(is_ipv6: bool) -> IpAddr {
    if is_ipv6 {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe])
    } else {
        IpAddr::from([192, 0, 2, 254])
    }
}

fn desired(path: Path) -> Result<Desired> {
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
    };
    Ok(Desired {
        interfaces: vec![
            interface("clients", CLIENTS, ["192.0.2.1/24", "2001:db8::1/64"])?,
            interface("servers", SERVER_SIDE, ["10.200.0.1/24", "fd01::1/64"])?,
        ],
        routes: vec![route("0.0.0.0/0", false)?, route("::/0", true)?],
        services: vec![Service {
            key: ServiceKey::Address {
                protocol: path.protocol,
                address: SocketAddr::new(flows::vip(path.is_ipv6), flows::VPORT),
            },
            scheduler: Scheduler::Rr,
            flags: types::SchedulerFlags::default(),
            one_packet: false,
            persistence: None,
            servers: (0..SERVERS).map(server).collect(),
        }],
        marks: Vec::new(),
        local: Vec::new(),
        vips: Vec::new(),
        // Longer than any run: nothing may expire under the clock.
        settings: Settings {
            timeout_udp_s: 86_400,
            timeout_tcp_s: 86_400,
            ..Settings::default()
        },
    })
}
