//! A world for the unit tests: two interfaces, a net behind each, and every frame accounted for.

use crate::{
    Output, WorkerCounters,
    claims::Claims,
    context::Context,
    forward,
    local::Local,
    localstack,
    lvs::{Roster, Services, Timeouts, TrafficCells},
    model::{Desired, Interface, Offloads, Route, Settings},
    neighbour::NeighbourTable,
    net::Net,
    packet::{self, Parsed},
    reassembly::Reassembly,
    role::Floating,
    shared::Shared,
    snapshot::Snapshot,
    virtual_mac::VirtualMacs,
};
use flowtable::Table;
use rcu::{Domain, Published};
use sim::VecFrame;
use std::{net::IpAddr, sync::Arc};
use types::{InterfaceId, MacAddr, PortId, Tick};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

/// The bytes of a frame in hexadecimal.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
        .collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What left the engine, in order.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub sent: Vec<(PortId, VecFrame)>,
    pub punted: Vec<(PortId, VecFrame)>,
    /// Buffers that are left; `None`: as many as wanted.
    pub buffers: Option<usize>,
}

impl Output<VecFrame> for Out {
    fn alloc(&mut self) -> Option<VecFrame> {
        if let Some(left) = &mut self.buffers {
            *left = left.checked_sub(1)?;
        }
        Some(VecFrame::new(&[]))
    }

    fn transmit(&mut self, port: PortId, frame: VecFrame) {
        self.sent.push((port, frame));
    }

    fn punt(&mut self, port: PortId, frame: VecFrame) {
        self.punted.push((port, frame));
    }
}

/// A director without services.
pub(crate) struct World {
    pub snapshot: Snapshot,
    pub shared: Shared,
    pub local: Local<VecFrame>,
    pub out: Out,
    pub now: Tick,
}

/// The oracle's topology: `cl` (port 0) towards the clients, `rs` (port 1) towards the servers, VIPs 10.0.0.100 and
/// fd00::100.
pub(crate) fn desired() -> Desired {
    let interface = |name: &str, port, mac_text: &str, addresses: &[&str]| Interface {
        name: name.to_owned(),
        port: PortId(port),
        vlan: None,
        mac: mac(mac_text),
        mtu: 1500,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        host: false,
        offloads: Offloads::default(),
        rp_filter: types::RpFilter::Off,
    };
    let default = |to: &str, via: &str| Route {
        to: to.parse().unwrap(),
        via: Some(ip(via)),
        unreachable: false,
        interface: None,
    };
    Desired {
        interfaces: vec![
            interface("cl", 0, "02:00:00:00:00:01", &["10.0.0.1/24", "fd00::1/64"]),
            interface("rs", 1, "02:00:00:00:01:01", &["10.1.0.1/24", "fd01::1/64"]),
        ],
        routes: vec![
            default("0.0.0.0/0", "10.0.0.254"),
            default("::/0", "fd00::fe"),
        ],
        vips: vec![ip("10.0.0.100"), ip("fd00::100")],
        settings: Settings {
            icmp_rate: None,
            ..Settings::ipvs()
        },
        ..Desired::default()
    }
}

/// Neighbours of the oracle's topology.
const NEIGHBOURS: &[(u16, &str, &str)] = &[
    (0, "10.0.0.254", "02:00:00:00:00:fe"),
    (0, "fd00::fe", "02:00:00:00:00:fe"),
    (1, "10.1.0.11", "02:00:00:00:01:11"),
    (1, "10.1.0.12", "02:00:00:00:01:12"),
    (1, "fd01::11", "02:00:00:00:01:11"),
];

impl World {
    /// The oracle's topology, its neighbours permanent.
    pub fn new() -> Self {
        let world = Self::of(&desired());
        for (interface, address, mac_text) in NEIGHBOURS {
            let known = world.shared.neighbours.set_permanent(
                InterfaceId(*interface),
                ip(address),
                mac(mac_text),
                Tick(0),
            );
            assert!(known);
        }
        world
    }

    /// Nobody known yet.
    pub fn of(desired: &Desired) -> Self {
        let snapshot = |net| Snapshot {
            net,
            services: Services::default(),
            marks: Arc::default(),
            gates: Arc::default(),
            cookies: Arc::default(),
            local: Box::default(),
            floating: Floating::default(),
            virtual_macs: VirtualMacs::default(),
            settings: desired.settings.clone(),
            timeouts: Timeouts::new(&desired.settings),
            milestones: desired.settings.sync.map(|rules| rules.milestones()),
        };
        let domain = Domain::new(1);
        let connections4 = Table::new(64, [3, 5], Arc::clone(&domain)).unwrap();
        let connections6 = Table::new(64, [3, 5], Arc::clone(&domain)).unwrap();
        let shared = Shared {
            aside4: flowtable::Aside::new(&connections4).unwrap(),
            aside6: flowtable::Aside::new(&connections6).unwrap(),
            secret: crate::lvs::Secret::new([3, 5]),
            snapshot: Published::new(Arc::clone(&domain), snapshot(Net::default())),
            neighbours: NeighbourTable::new(64, [3, 5]),
            connections4,
            connections6,
            roles: Arc::default(),
            claims: Claims::default(),
            watch: Arc::default(),
            roster: Roster::new(0, 0),
            defences: crate::lvs::Defences::default(),
            clients: crate::lvs::Clients::default(),
            resets: crate::lvs::Resets::default(),
            domain,
        };
        let counters = Arc::new(WorkerCounters::new(2));
        let cells = (Arc::new(TrafficCells::new(0)), Arc::default());
        Self {
            snapshot: snapshot(Net::compile(desired, &[]).unwrap()),
            local: Local::new(
                counters,
                cells,
                Default::default(),
                Default::default(),
                Arc::new(Reassembly::new([3, 5])),
                &shared,
                (0, 1),
            ),
            shared,
            out: Out::default(),
            now: Tick(1000),
        }
    }

    pub fn run<R>(&mut self, f: impl FnOnce(&mut Context<'_, VecFrame, Out>) -> R) -> R {
        let result = f(&mut Context {
            now: self.now,
            snapshot: &self.snapshot,
            shared: &self.shared,
            local: &mut self.local,
            out: &mut self.out,
        });
        let conservation = self.local.counters.conservation();
        assert!(conservation.holds(), "{conservation:?}");
        result
    }

    /// What a worker does with a frame no service catches.
    pub fn receive(&mut self, port: u16, frame: VecFrame) {
        let port = PortId(port);
        self.local.counters.rx.add(1);
        self.run(|cx| match packet::parse(&frame, port, &cx.snapshot.net) {
            Parsed::Ip(packet) => {
                if cx
                    .snapshot
                    .net
                    .local(packet.addresses.destination())
                    .is_some()
                {
                    localstack::deliver(cx, frame, &packet);
                } else {
                    forward::route(cx, frame, &packet);
                }
            }
            Parsed::Arp { interface, at } => localstack::arp(cx, frame, port, interface, at),
            Parsed::Punt => cx.punt(port, frame),
            Parsed::Drop(reason) => cx.drop(frame, reason),
        });
    }

    /// Receives the bytes and gives back what they caused.
    pub fn answer(&mut self, port: u16, bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
        self.receive(port, VecFrame::new(bytes));
        self.sent()
    }

    /// What was sent since the last look.
    pub fn sent(&mut self) -> Vec<(u16, Vec<u8>)> {
        let sent = std::mem::take(&mut self.out.sent);
        sent.into_iter()
            .map(|(port, f)| (port.0, f.bytes()))
            .collect()
    }

    /// Lets `ms` pass, a millisecond at a time.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now + 1;
            self.run(localstack::housekeeping);
        }
    }

    pub fn dropped(&self, reason: crate::DropReason) -> u64 {
        self.local.counters.dropped(reason)
    }
}
