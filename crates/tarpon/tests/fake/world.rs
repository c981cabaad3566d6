//! A director as the fake daemon tells of it.

use api::{
    CapturedFrame, Claim, Connection, Counters, Direction, DropCount, Fill, Link, Loss, Memory,
    MemoryMode, Neighbour, NeighbourState, Overload, Persistence, Port, PortAddress, PortStats,
    Route, RouteKind, Server, Service, Status, Totals, Traffic, Worker, WorkerCounters,
};
use types::{ForwardingMethod, Protocol, Scheduler, ServiceKey, VlanId, Weight};

pub fn status() -> Status {
    Status {
        name: "lb1".into(),
        version: "0.1.0".into(),
        dpdk: "DPDK 22.11.7".into(),
        pid: 4711,
        uptime_s: 273_153,
        config_file: "/etc/tarpon/tarpon.toml".into(),
        compat_ipvs: true,
        memory: Memory {
            mode: MemoryMode::Ordinary,
            text: "512 MiB in ordinary pages".into(),
            buffers: 32_767,
            buffers_in_use: 2_049,
        },
        workers: vec![
            Worker {
                id: 0,
                core: 2,
                busy_percent: 12.34,
                packets_per_s: 1_234_567,
                paused: false,
            },
            Worker {
                id: 1,
                core: 3,
                busy_percent: 0.0,
                packets_per_s: 0,
                paused: true,
            },
        ],
        connections: Fill {
            used: 12_345,
            capacity: 1_000_000,
        },
        connections6: Fill {
            used: 3,
            capacity: 262_144,
        },
        services: 2,
        servers: 3,
        servers_down: 0,
        traffic: Traffic::default(),
        rate: Traffic {
            connections: 1_250,
            in_packets: 9_001,
            out_packets: 8_765,
            in_bytes: 1_288_490,
            out_bytes: 15_032_385,
        },
        ports_up: 1,
        ports: 2,
        vrrp: Vec::new(),
        claims: vec![Claim {
            address: "192.0.2.10".parse().unwrap(),
            mac: "02:00:00:00:01:11".parse().unwrap(),
            interface: "lan".into(),
            servers: vec!["10.1.0.11".parse().unwrap()],
            times: 5,
            age_ms: 12_345,
        }],
        overload: Some(Overload {
            age_ms: 12_000,
            workers: vec![0],
            new_percent: 41,
            established_percent: 13,
            new: 43_210,
            established: 1_234,
            cause: "in 100 ms port wan lost 2345 packets that nobody took in time, with worker 0 busy for 100 % of it".into(),
        }),
        losses: vec![Loss {
            port: Some("wan".into()),
            reason: "rx_missed".into(),
            meaning: "Came faster than they were taken from the port.".into(),
            packets: 1_234,
        }],
        edits: vec!["service tcp 192.0.2.10:80: server 10.1.0.12:8080: weight 1 -> 0".into()],
        mail: None,
        limitations: vec!["wan: no checksum offload, done in software".into()],
    }
}

fn server(address: &str, method: ForwardingMethod, weight: u32) -> Server {
    Server {
        address: address.parse().unwrap(),
        method,
        weight: Weight(weight),
        tunnel: types::Tunnel::Ipip,
        upper_threshold: 0,
        lower_threshold: 0,
        overloaded: false,
        draining: false,
        health: None,
        active: 0,
        inactive: 0,
        templates: 0,
        traffic: Traffic::default(),
        rate: Traffic::default(),
    }
}

pub fn services() -> Vec<Service> {
    let traffic = Traffic {
        connections: 1_234_567,
        in_packets: 9_876_543,
        out_packets: 8_765_432,
        in_bytes: 1_288_490_188,
        out_bytes: 15_032_385_536,
    };
    let rate = Traffic {
        connections: 1_250,
        in_packets: 9_001,
        out_packets: 8_765,
        in_bytes: 1_288_490,
        out_bytes: 15_032_385,
    };
    vec![
        Service {
            name: Some("web".into()),
            key: ServiceKey::Address {
                protocol: Protocol::Tcp,
                address: "192.0.2.10:80".parse().unwrap(),
            },
            scheduler: Scheduler::Wrr,
            scheduler_flags: Vec::new(),
            one_packet: false,
            flood: None,
            persistence: Some(Persistence {
                timeout_s: 300,
                netmask: "255.255.255.0".into(),
            }),
            persistence_engine: None,
            traffic,
            rate,
            servers: vec![
                Server {
                    active: 1000,
                    inactive: 23,
                    templates: 12,
                    upper_threshold: 1000,
                    lower_threshold: 750,
                    overloaded: true,
                    traffic,
                    ..server("10.1.0.11:8080", ForwardingMethod::Masq, 3)
                },
                server("10.1.0.12:8080", ForwardingMethod::Masq, 0),
            ],
        },
        Service {
            name: None,
            key: ServiceKey::Address {
                protocol: Protocol::Udp,
                address: "[2001:db8::10]:0".parse().unwrap(),
            },
            scheduler: Scheduler::Wlc,
            scheduler_flags: Vec::new(),
            one_packet: false,
            flood: None,
            persistence: Some(Persistence {
                timeout_s: 60,
                netmask: "128".into(),
            }),
            persistence_engine: None,
            traffic: Traffic::default(),
            rate: Traffic::default(),
            servers: vec![server("[2001:db8:1::53]:0", ForwardingMethod::Route, 1)],
        },
    ]
}

pub fn connections() -> Vec<Connection> {
    let web = Connection {
        protocol: Protocol::Tcp,
        client: "198.51.100.7:40000".parse().unwrap(),
        vip: "192.0.2.10:80".parse().unwrap(),
        server: "10.1.0.11:8080".parse().unwrap(),
        method: ForwardingMethod::Masq,
        state: "ESTABLISHED".into(),
        expires_ms: 899_001,
        template: false,
        persistence: None,
    };
    vec![
        web.clone(),
        Connection {
            client: "198.51.100.0:0".parse().unwrap(),
            state: "NONE".into(),
            expires_ms: 1,
            template: true,
            ..web
        },
        Connection {
            protocol: Protocol::Udp,
            client: "[2001:db8:ffff:ffff:ffff:ffff:ffff:1]:5353"
                .parse()
                .unwrap(),
            vip: "[2001:db8::10]:53".parse().unwrap(),
            server: "[2001:db8:1::53]:53".parse().unwrap(),
            method: ForwardingMethod::Route,
            state: "UDP".into(),
            expires_ms: 299_999,
            template: false,
            persistence: None,
        },
    ]
}

pub fn ports() -> Vec<Port> {
    vec![
        Port {
            name: "wan".into(),
            device: "net_af_packet0,iface=veth1".into(),
            driver: "net_af_packet".into(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            link: Link {
                up: true,
                mbps: Some(10_000),
                full_duplex: true,
            },
            mtu: 1500,
            rx_queues: 2,
            tx_queues: 2,
            numa_node: None,
            addresses: vec![
                PortAddress {
                    address: "192.0.2.1/24".parse().unwrap(),
                    vlan: None,
                },
                PortAddress {
                    address: "10.10.0.1/24".parse().unwrap(),
                    vlan: Some(VlanId::try_from(10).unwrap()),
                },
            ],
            tap: Some("tp-wan".into()),
            offloads: Vec::new(),
            limitations: vec![
                "no checksum offload: done in software".into(),
                "no RSS: one queue".into(),
            ],
            stats: PortStats {
                rx_packets: 1_000_000,
                tx_packets: 900_000,
                rx_bytes: 1_500_000_000,
                tx_bytes: 64_000,
                rx_missed: 12,
                tx_errors: 3,
                ..PortStats::default()
            },
        },
        Port {
            name: "lan".into(),
            device: "0000:03:00.0".into(),
            driver: "net_virtio".into(),
            mac: "52:54:00:00:00:02".parse().unwrap(),
            link: Link {
                up: false,
                mbps: None,
                full_duplex: false,
            },
            mtu: 9000,
            rx_queues: 1,
            tx_queues: 2,
            numa_node: Some(0),
            addresses: vec![PortAddress {
                address: "10.1.0.1/24".parse().unwrap(),
                vlan: None,
            }],
            tap: None,
            offloads: vec!["rx-checksum".into(), "tx-tcp-checksum".into()],
            limitations: Vec::new(),
            stats: PortStats::default(),
        },
    ]
}

pub fn neighbours() -> Vec<Neighbour> {
    let known = Neighbour {
        interface: "lan".into(),
        address: "10.1.0.11".parse().unwrap(),
        mac: Some("52:54:00:00:00:11".parse().unwrap()),
        state: NeighbourState::Reachable,
        age_ms: Some(3_500),
    };
    vec![
        known.clone(),
        Neighbour {
            address: "2001:db8:1::53".parse().unwrap(),
            state: NeighbourState::Stale,
            age_ms: Some(7_261_000),
            ..known.clone()
        },
        Neighbour {
            address: "10.1.0.99".parse().unwrap(),
            mac: None,
            state: NeighbourState::Failed,
            age_ms: None,
            ..known
        },
    ]
}

pub fn routes() -> Vec<Route> {
    vec![
        Route {
            to: "192.0.2.0/24".parse().unwrap(),
            via: None,
            interface: "wan".into(),
            kind: RouteKind::Connected,
        },
        Route {
            to: "0.0.0.0/0".parse().unwrap(),
            via: Some("192.0.2.254".parse().unwrap()),
            interface: "wan".into(),
            kind: RouteKind::Static,
        },
    ]
}

pub fn counters() -> Counters {
    let total = Totals {
        rx: 1_000_000,
        generated: 12,
        from_host: 3,
        tx: 999_000,
        punted: 5,
        dropped: 1_008,
        held: 2,
        rate_limited: 7,
        no_buffer: 0,
    };
    let drop = |reason: &str, meaning: &str, count| DropCount {
        reason: reason.into(),
        meaning: meaning.into(),
        count,
    };
    Counters {
        total,
        balanced: true,
        drops: vec![
            drop(
                "no_route",
                " No route to the destination (answered with unreachable).",
                1_000,
            ),
            drop("ip_checksum", " The IPv4 header checksum is wrong.", 0),
            drop("answered", " A request answered by the director itself.", 8),
        ],
        workers: vec![WorkerCounters {
            id: 0,
            totals: total,
        }],
    }
}

/// An Ethernet frame of a TCP SYN from a client to the service, and the same as it leaves for the server.
pub fn frames() -> Vec<CapturedFrame> {
    let mut syn = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];
    syn.extend([
        0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 198, 51, 100, 7, 192, 0, 2, 10,
    ]);
    syn.extend([
        0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    let mut to_server = syn.clone();
    to_server[30..34].copy_from_slice(&[10, 1, 0, 11]);
    let frame = |port: &str, direction, timestamp_ns, data: Vec<u8>| CapturedFrame {
        port: port.into(),
        direction,
        timestamp_ns,
        original_len: 54,
        data: api::Bytes(data),
    };
    vec![
        frame("wan", Direction::Rx, 1_700_000_000_123_456_789, syn),
        frame("lan", Direction::Tx, 1_700_000_000_123_460_000, to_server),
    ]
}
