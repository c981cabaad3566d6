//! The engine as a subject: a virtual service with real servers behind it, its connections there before the clock starts.

use crate::{flows, forward::BURST, subject::Subject};
use anyhow::{Context, Result, ensure};
use arrayvec::ArrayVec;
use dpdk::{Mbuf, Mempool, TxQueue};
use engine::{
    Capacity, Director, Output, Worker, WorkerCounters,
    model::{Desired, Interface, Offloads, Route, Server, Service, ServiceKey, Settings},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use types::{
    ForwardingMethod, InterfaceId, IpNet, MacAddr, PortId, Protocol, Scheduler, Tick, Weight,
    WorkerId,
};
use wire::Frame;

/// Real servers of the service.
const SERVERS: u8 = 8;
const CLIENTS: PortId = PortId(0);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// A director of one worker, with a number of UDP connections of the requests' direction.
pub struct Lvs {
    name: String,
    director: Director,
    worker: Worker<Mbuf>,
    counters: Arc<WorkerCounters>,
    out: Out,
    started: Instant,
    now: Tick,
    connections: u64,
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
    /// A director with `connections` connections by `method`, filled by sending the first packet of each.
    pub fn new(method: ForwardingMethod, connections: u32, pool: &Mempool) -> Result<Self> {
        let capacity = Capacity {
            connections4: usize::try_from(connections)? * 5 / 4 + 1024,
            connections6: 1024,
            ..Capacity::default()
        };
        let mut director = Director::new(capacity, [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210])?;
        let mistakes = |errors: Vec<engine::ModelError>| {
            anyhow::anyhow!("the engine refuses the service: {errors:?}")
        };
        director
            .apply(Tick(0), &desired(method)?)
            .map_err(mistakes)?;
        for number in 0..SERVERS {
            let mac = MacAddr([2, 0, 0, 0, 1, number]);
            let known =
                director.set_neighbour(Tick(0), InterfaceId(1), IpAddr::V4(server(number)), mac);
            ensure!(known, "the table of neighbours is full");
        }
        // Nothing to ask for meanwhile.
        let gateway = IpAddr::V4(GATEWAY);
        let known =
            director.set_neighbour(Tick(0), InterfaceId(0), gateway, MacAddr(flows::CLIENT));
        ensure!(known, "the table of neighbours is full");
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
            name: format!("UDP requests, {method}"),
            director,
            worker,
            counters,
            out,
            started: Instant::now(),
            now: Tick(1),
            connections: connections.into(),
        };
        lvs.fill(connections)?;
        Ok(lvs)
    }

    fn fill(&mut self, connections: u32) -> Result<()> {
        let stamp = flows::Stamp::new(connections);
        let mut burst: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        for index in 0..connections {
            let mut frame = self.out.pool.alloc().context("no packet buffer")?;
            ensure!(frame.append(flows::FRAME), "a packet buffer without room");
            stamp.write(index, &mut frame);
            burst.push(frame);
            if burst.is_full() || index + 1 == connections {
                self.tick();
                self.worker
                    .step(self.now, CLIENTS, &mut burst, &mut self.out);
                Mbuf::free_burst(&mut self.out.sent);
            }
        }
        self.verify()
    }
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
        self.worker.step(self.now, CLIENTS, burst, &mut self.out);
        tx.burst(&mut self.out.sent);
    }

    /// Every packet found its connection and left.
    fn verify(&self) -> Result<()> {
        let [ipv4, _] = self.director.tables();
        let wanted = self.connections;
        ensure!(
            ipv4.connections == wanted,
            "{} connections instead of {wanted}",
            ipv4.connections
        );
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
        let served: u64 = self
            .director
            .services()
            .iter()
            .map(|service| service.traffic.connections)
            .sum();
        ensure!(
            served == wanted,
            "{served} connections were scheduled, not {wanted}: some packets were misses"
        );
        Ok(())
    }
}

fn server(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 200, 0, 11 + number)
}

fn desired(method: ForwardingMethod) -> Result<Desired> {
    let interface = |name: &str, port, mac, address: &str| -> Result<Interface> {
        Ok(Interface {
            name: name.to_owned(),
            port: PortId(port),
            vlan: None,
            mac: MacAddr(mac),
            mtu: 1500,
            addresses: vec![address.parse::<IpNet>()?],
            host: false,
            offloads: Offloads::default(),
        })
    };
    let server = |number| Server {
        address: SocketAddr::new(
            IpAddr::V4(server(number)),
            if method == ForwardingMethod::Masq {
                8080
            } else {
                flows::VPORT
            },
        ),
        method,
        weight: Weight(1),
        upper_threshold: 0,
        lower_threshold: 0,
    };
    Ok(Desired {
        interfaces: vec![
            interface("clients", 0, flows::DIRECTOR, "192.0.2.1/24")?,
            interface("servers", 1, [2, 0, 0, 0, 0, 3], "10.200.0.1/24")?,
        ],
        routes: vec![Route {
            to: "0.0.0.0/0".parse()?,
            via: Some(GATEWAY.into()),
            interface: None,
        }],
        services: vec![Service {
            key: ServiceKey::Address {
                protocol: Protocol::Udp,
                address: SocketAddr::new(flows::VIP.into(), flows::VPORT),
            },
            scheduler: Scheduler::Rr,
            flags: types::SchedulerFlags::default(),
            persistence: None,
            servers: (0..SERVERS).map(server).collect(),
        }],
        vips: Vec::new(),
        // Longer than any run: nothing may expire under the clock.
        settings: Settings {
            timeout_udp_s: 86_400,
            ..Settings::default()
        },
    })
}
