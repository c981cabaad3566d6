//! A director between clients (port 0) and real servers (port 1), on virtual time.

use crate::{Recorder, Sent, VecFrame};
use arrayvec::ArrayVec;
use engine::{
    Capacity, ConnectionView, Director, ServiceView, Worker,
    model::{Desired, Interface, Offloads, Persistence, Route, Server, Service, ServiceKey},
};
use std::net::{IpAddr, SocketAddr};
use types::{
    ForwardingMethod, InterfaceId, MacAddr, PortId, Protocol, Scheduler, SchedulerFlags, Tick,
    Weight, WorkerId,
};

/// The MACs of the director's two ports.
pub const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 1, 1])];

/// The clients' gateway and the real servers all have this MAC on their own link.
pub const PEER: MacAddr = MacAddr([2, 7, 7, 7, 7, 7]);

/// Two ports: 10.0.0.1/24 and fd00::1/64 with a default gateway towards the clients, 10.1.0.1/24 and fd01::1/64 towards
/// the servers. No services yet.
#[must_use]
pub fn network() -> Desired {
    let interface = |port: u16, name: &str, addresses: [&str; 2]| Interface {
        name: name.to_owned(),
        port: PortId(port),
        vlan: None,
        mac: MACS[usize::from(port)],
        mtu: 1500,
        addresses: addresses.map(|a| a.parse().expect("a prefix")).to_vec(),
        host: false,
        offloads: Offloads::default(),
        rp_filter: types::RpFilter::Off,
    };
    let route = |to: &str, via: &str| Route {
        to: to.parse().expect("a prefix"),
        unreachable: false,
        via: Some(via.parse().expect("an address")),
        interface: None,
    };
    Desired {
        interfaces: vec![
            interface(0, "wan", ["10.0.0.1/24", "fd00::1/64"]),
            interface(1, "lan", ["10.1.0.1/24", "fd01::1/64"]),
        ],
        routes: vec![route("0.0.0.0/0", "10.0.0.254"), route("::/0", "fd00::fe")],
        ..Desired::default()
    }
}

/// A service with servers of weight 1.
///
/// # Panics
/// When an address is none.
#[must_use]
pub fn service(
    protocol: Protocol,
    address: &str,
    scheduler: Scheduler,
    method: ForwardingMethod,
    servers: &[&str],
) -> Service {
    let server = |text: &&str| Server {
        address: text.parse().expect("a server's address"),
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
            address: address.parse().expect("a service's address"),
        },
        scheduler,
        flags: SchedulerFlags::default(),
        one_packet: false,
        persistence: None,
        persistence_engine: None,
        servers: servers.iter().map(server).collect(),
    }
}

/// Persistence of single clients.
#[must_use]
pub const fn persistent(timeout_s: u32) -> Option<Persistence> {
    Some(Persistence {
        timeout_s,
        netmask: u128::MAX,
    })
}

/// The director, its workers and the time.
#[derive(Debug)]
pub struct World {
    /// The moment.
    pub now: Tick,
    /// The control side.
    pub director: Director,
    /// The workers.
    pub workers: Vec<Worker<VecFrame>>,
    /// What they sent and punted; [`World::give`] takes what is sent out of it.
    pub out: Recorder,
}

impl World {
    /// A small director with that many workers and `desired` applied.
    ///
    /// # Panics
    /// When `desired` is wrong.
    #[must_use]
    pub fn new(desired: &Desired, workers: u16) -> Self {
        Self::with(
            desired,
            Capacity {
                workers,
                ports: 2,
                connections4: 8192,
                connections6: 2048,
                neighbours: 256,
                services: 64,
                servers: 256,
            },
        )
    }

    /// A director of that capacity, two ports, with `desired` applied.
    ///
    /// # Panics
    /// When `desired` is wrong, or does not fit.
    #[must_use]
    pub fn with(desired: &Desired, capacity: Capacity) -> Self {
        let mut director = Director::new(capacity, [5, 6]).expect("the capacity is small");
        let workers = (0..capacity.workers)
            .map(|id| director.worker(WorkerId(id)).expect("taken once"))
            .collect();
        let mut world = Self {
            now: Tick(1000),
            director,
            workers,
            out: Recorder::default(),
        };
        world.apply(desired);
        world.neighbour(0, "10.0.0.254");
        world.neighbour(0, "fd00::fe");
        for host in 11..=19 {
            world.neighbour(1, &format!("10.1.0.{host}"));
            world.neighbour(1, &format!("fd01::{host}"));
        }
        world
    }

    /// Applies a desired state.
    ///
    /// # Panics
    /// When it is wrong.
    pub fn apply(&mut self, desired: &Desired) {
        if let Err(errors) = self.director.apply(self.now, desired) {
            panic!("{errors:#?}");
        }
    }

    /// Makes a neighbour known by hand, with the MAC [`PEER`].
    ///
    /// # Panics
    /// When `address` is none, or there is no room.
    pub fn neighbour(&mut self, interface: u16, address: &str) {
        let ip: IpAddr = address.parse().expect("an address");
        let id = InterfaceId(interface);
        assert!(self.director.set_neighbour(self.now, id, ip, PEER));
    }

    /// Gives a frame that came in on `port` to a worker; what it sends at once.
    ///
    /// # Panics
    /// When a frame is lost or invented.
    pub fn give(&mut self, worker: usize, port: u16, frame: &[u8]) -> Vec<Sent> {
        let mut burst = ArrayVec::new();
        burst.push(VecFrame::new(frame));
        self.workers[worker].step(self.now, PortId(port), &mut burst, &mut self.out);
        assert!(burst.is_empty());
        self.assert_conserved();
        std::mem::take(&mut self.out.sent)
    }

    /// Lets time pass, with housekeeping every 10 milliseconds; what is sent meanwhile.
    ///
    /// # Panics
    /// When a frame is lost or invented.
    pub fn pass(&mut self, ms: u64) -> Vec<Sent> {
        let until = self.now + ms;
        while self.now < until {
            self.now = until.min(self.now + 10);
            for worker in &mut self.workers {
                worker.housekeeping(self.now, &mut self.out);
            }
            self.director.reclaim();
        }
        self.assert_conserved();
        std::mem::take(&mut self.out.sent)
    }

    /// Every connection and template.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionView> {
        let mut all = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            cursor = self
                .director
                .connections(self.now, at, 4096, |c| all.push(c.clone()));
        }
        all
    }

    /// The service on this address.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn service(&self, address: SocketAddr) -> ServiceView {
        let on = |s: &ServiceView| matches!(s.key, ServiceKey::Address { address: a, .. } if a == address);
        let mut all = self.director.services().into_iter();
        all.find(on).expect("the service is there")
    }

    fn assert_conserved(&self) {
        for worker in &self.workers {
            let identity = worker.counters().conservation();
            assert!(
                identity.holds(),
                "a frame was lost or invented: {identity:?}"
            );
        }
    }
}
