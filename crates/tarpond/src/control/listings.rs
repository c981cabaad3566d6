//! What the daemon tells about itself.

use super::{Control, floods, health, overload};
use crate::{
    desired::interface_names,
    ports::Pools,
    worker::{Gauge, Reading},
};
use api::{
    Counters, DropCount, Fill, Flood, Link, Loss, MarkRule, Memory, MemoryMode, Neighbour,
    NeighbourState, Persistence, Port, PortAddress, PortStats, Route, RouteKind, Server, Service,
    Status, Totals, Traffic, Worker, WorkerCounters,
};
use config::{Config, ServiceKey};
use engine::{DropReason, ServerView, ServiceView};
use std::{collections::HashMap, sync::Arc, time::Instant};
use types::WorkerId;

/// What each worker did over the last second.
pub struct Rates {
    last: Vec<Reading>,
    cycles: u64,
    moment: Instant,
    shown: Vec<Rate>,
}

#[derive(Clone, Copy, Default)]
struct Rate {
    busy_percent: f64,
    packets_per_s: u64,
}

impl Rates {
    /// Nothing known yet.
    pub fn new(gauges: &[Arc<Gauge>]) -> Self {
        Self {
            last: gauges.iter().map(|g| g.read()).collect(),
            cycles: host::cycles(),
            moment: Instant::now(),
            shown: vec![Rate::default(); gauges.len()],
        }
    }

    /// Reads the gauges again.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "shares and rates for people"
    )]
    pub fn sample(&mut self, gauges: &[Arc<Gauge>]) {
        let (cycles, moment) = (host::cycles(), Instant::now());
        let total = cycles.wrapping_sub(self.cycles).max(1) as f64;
        let seconds = moment.duration_since(self.moment).as_secs_f64().max(0.001);
        for ((gauge, last), shown) in gauges.iter().zip(&mut self.last).zip(&mut self.shown) {
            let now = gauge.read();
            let busy = now.busy.wrapping_sub(last.busy) as f64;
            let packets = now.packets.wrapping_sub(last.packets) as f64;
            *shown = Rate {
                busy_percent: (busy / total * 100.0).clamp(0.0, 100.0),
                packets_per_s: (packets / seconds) as u64,
            };
            *last = now;
        }
        self.cycles = cycles;
        self.moment = moment;
    }
}

/// To `status`.
pub fn status(control: &Control) -> Status {
    let config = &control.config;
    let [v4, v6] = control.director.tables();
    let capacity = &config.director;
    let fill = |counts: flowtable::Counts, capacity: u32| Fill {
        used: counts.connections + counts.templates,
        capacity: capacity.into(),
    };
    let workers = control
        .gauges
        .iter()
        .zip(&control.cpus)
        .zip(&control.rates.shown)
        .zip(0..);
    let (all, rate) = control.director.traffic();
    let mut limitations = Vec::new();
    if let dpdk::MemoryMode::Ordinary { why, .. } = &control.memory {
        limitations.push(why.clone());
    }
    for port in &control.ports {
        let of = |limitation| format!("port {}: {limitation}", port.name);
        limitations.extend(port.port.limitations().iter().map(of));
    }
    Status {
        name: capacity.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dpdk: dpdk::Eal::version(),
        pid: std::process::id(),
        uptime_s: control.started.elapsed().as_secs(),
        config_file: control.source.file.display().to_string(),
        compat_ipvs: config.compat_ipvs,
        memory: memory(&control.memory, &control.pools),
        workers: workers
            .map(|(((gauge, cpu), rate), id)| Worker {
                id,
                core: u16::try_from(*cpu).unwrap_or(u16::MAX),
                busy_percent: (rate.busy_percent * 10.0).round() / 10.0,
                packets_per_s: rate.packets_per_s,
                paused: gauge.read().paused,
            })
            .collect(),
        connections: fill(v4, capacity.connections),
        connections6: fill(v6, capacity.connections6),
        services: config.services.len() as u64,
        servers: config.services.iter().map(|s| s.servers.len() as u64).sum(),
        servers_down: health::servers_down(control),
        traffic: traffic(all),
        rate: traffic(rate),
        ports_up: control.ports.iter().filter(|p| p.port.link().up).count() as u64,
        ports: control.ports.len() as u64,
        vrrp: control.vrrp(),
        claims: control.claims.shown(),
        mail: control.mail(),
        overload: overload::shown(control),
        losses: losses(control),
        edits: control.edits(),
        limitations,
    }
}

/// Reasons that say that something was full.
const FULL: [DropReason; 9] = [
    DropReason::OverloadNew,
    DropReason::OverloadEstablished,
    DropReason::TxRefused,
    DropReason::NoBuffer,
    DropReason::TableFull,
    DropReason::NeighbourTableFull,
    DropReason::NeighbourQueueFull,
    DropReason::FragmentNoRoom,
    DropReason::HostQueueFull,
];

fn losses(control: &Control) -> Vec<Loss> {
    let ports = control.ports.iter().flat_map(|open| {
        let stats = open.port.stats().unwrap_or_default();
        let loss = |reason: &str, meaning: &str, packets| Loss {
            port: Some(open.name.clone()),
            reason: reason.to_owned(),
            meaning: meaning.to_owned(),
            packets,
        };
        [
            loss(
                "rx_missed",
                "Came faster than they were taken from the port.",
                stats.rx_missed,
            ),
            loss(
                "rx_no_buffer",
                "Came while no packet buffer was free.",
                stats.rx_no_buffer,
            ),
        ]
    });
    let workers = 0..u16::try_from(control.gauges.len()).unwrap_or(u16::MAX);
    let counters: Vec<_> = workers
        .filter_map(|id| control.director.counters(WorkerId(id)))
        .collect();
    let reasons = FULL.into_iter().map(|reason| Loss {
        port: None,
        reason: reason.name().to_owned(),
        meaning: reason.meaning().trim().to_owned(),
        packets: counters.iter().map(|c| c.dropped(reason)).sum(),
    });
    ports.chain(reasons).filter(|l| l.packets > 0).collect()
}

fn memory(mode: &dpdk::MemoryMode, pools: &Pools) -> Memory {
    let (mode, text) = match mode {
        dpdk::MemoryMode::Hugepages => (MemoryMode::Hugepages, "hugepages".to_owned()),
        dpdk::MemoryMode::Ordinary { memory_mb, .. } => (
            MemoryMode::Ordinary,
            format!("{memory_mb} MiB in ordinary pages"),
        ),
    };
    Memory {
        mode,
        text,
        buffers: pools.size().into(),
        buffers_in_use: pools.in_use().into(),
    }
}

/// To `services`.
pub fn services(control: &Control) -> Vec<Service> {
    let views = control.director.services();
    let floods = floods::shown(control);
    let configured = control.config.services.iter();
    configured
        .filter_map(|service| {
            let view = views.iter().find(|view| view.key == service.key)?;
            Some(shown(control, service, view, &floods))
        })
        .collect()
}

fn shown(
    control: &Control,
    service: &config::Service,
    view: &ServiceView,
    floods: &HashMap<ServiceKey, Flood>,
) -> Service {
    Service {
        name: service.name.clone(),
        key: service.key,
        scheduler: view.scheduler,
        scheduler_flags: service.scheduler_flags.clone(),
        persistence: service.persistence.map(|persistence| Persistence {
            timeout_s: persistence.timeout_s,
            netmask: persistence.netmask.to_string(),
        }),
        persistence_engine: service.persistence_engine,
        one_packet: service.one_packet,
        flood: floods.get(&service.key).copied(),
        traffic: traffic(view.traffic),
        rate: traffic(view.rate),
        servers: servers(control, service, view),
    }
}

/// Those in the table, and those that health keeps out of it.
fn servers(control: &Control, service: &config::Service, view: &ServiceView) -> Vec<Server> {
    let notes = health::notes(control, service);
    let note = |address| {
        notes
            .iter()
            .find(|(a, _)| *a == address)
            .map(|(_, n)| n.clone())
    };
    let mut shown: Vec<Server> = view
        .servers
        .iter()
        .map(|server| Server {
            draining: control.draining.contains(&(service.key(), server.address)),
            health: note(server.address),
            ..server_shown(server)
        })
        .collect();
    for server in &service.servers {
        if view
            .servers
            .iter()
            .any(|view| view.address == server.address)
        {
            continue;
        }
        let note = note(server.address).map(|note| api::ServerHealth {
            removed: true,
            ..note
        });
        shown.push(Server {
            health: note,
            ..absent(server)
        });
    }
    shown
}

/// A server that is not in the table.
fn absent(server: &config::Server) -> Server {
    Server {
        address: server.address,
        method: server.method,
        tunnel: server.tunnel,
        weight: server.weight,
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
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

fn server_shown(view: &ServerView) -> Server {
    Server {
        address: view.address,
        method: view.method,
        tunnel: view.tunnel,
        weight: view.weight,
        upper_threshold: view.upper_threshold,
        lower_threshold: view.lower_threshold,
        overloaded: view.overloaded,
        draining: false,
        health: None,
        active: view.counts.active.into(),
        inactive: view.counts.inactive.into(),
        templates: view.counts.persistent.into(),
        traffic: traffic(view.traffic),
        rate: traffic(view.rate),
    }
}

const fn traffic(view: engine::Traffic) -> Traffic {
    Traffic {
        connections: view.connections,
        in_packets: view.packets_in,
        out_packets: view.packets_out,
        in_bytes: view.bytes_in,
        out_bytes: view.bytes_out,
    }
}

/// To `ports`.
pub fn ports(control: &Control) -> Vec<Port> {
    let numbered = control.ports.iter().zip(&control.config.ports).enumerate();
    numbered
        .map(|(number, (open, configured))| {
            let port = &open.port;
            let (capabilities, offloads, link) =
                (port.capabilities(), port.offloads(), port.link());
            let tagged = control
                .config
                .vlans
                .iter()
                .filter(|v| v.port == configured.name);
            let own = configured.addresses.iter().map(|&address| PortAddress {
                address,
                vlan: None,
            });
            let in_use = [
                (offloads.rx_ipv4_checksum, "rx-ipv4-checksum"),
                (offloads.rx_l4_checksum, "rx-l4-checksum"),
                (offloads.tx_ipv4_checksum, "tx-ipv4-checksum"),
                (offloads.tx_l4_checksum, "tx-l4-checksum"),
                (offloads.vlan_strip, "vlan-strip"),
                (offloads.rss, "rss"),
            ];
            let stats = port.stats().unwrap_or_default();
            Port {
                name: open.name.clone(),
                device: configured.device.clone(),
                driver: capabilities.driver.clone(),
                mac: open.mac,
                link: Link {
                    up: link.up,
                    mbps: link.speed_mbps,
                    full_duplex: link.full_duplex,
                },
                mtu: port.mtu(),
                rx_queues: u16::try_from(port.rx_queues()).unwrap_or(u16::MAX),
                tx_queues: u16::try_from(port.tx_queues()).unwrap_or(u16::MAX),
                numa_node: capabilities.numa.and_then(|node| u16::try_from(node).ok()),
                addresses: own
                    .chain(tagged.flat_map(|vlan| {
                        vlan.addresses.iter().map(|&address| PortAddress {
                            address,
                            vlan: Some(vlan.id),
                        })
                    }))
                    .collect(),
                tap: control.taps.name(number).map(str::to_owned),
                offloads: in_use
                    .iter()
                    .filter(|(on, _)| *on)
                    .map(|(_, name)| (*name).to_owned())
                    .collect(),
                limitations: port.limitations().iter().map(ToString::to_string).collect(),
                stats: PortStats {
                    rx_packets: stats.rx_packets,
                    tx_packets: stats.tx_packets,
                    rx_bytes: stats.rx_bytes,
                    tx_bytes: stats.tx_bytes,
                    rx_missed: stats.rx_missed,
                    rx_errors: stats.rx_errors,
                    tx_errors: stats.tx_errors,
                    rx_no_buffer: stats.rx_no_buffer,
                },
            }
        })
        .collect()
}

/// To `neighbours`.
pub fn neighbours(control: &Control) -> Vec<Neighbour> {
    let names: Vec<&str> = interface_names(&control.config).collect();
    let mut all: Vec<Neighbour> = control
        .director
        .neighbours(control.clock.now())
        .into_iter()
        .map(|view| Neighbour {
            interface: name(&names, view.interface.index()),
            address: view.address,
            mac: view.mac,
            state: match view.state {
                engine::NeighbourState::Incomplete => NeighbourState::Incomplete,
                engine::NeighbourState::Reachable | engine::NeighbourState::Permanent => {
                    NeighbourState::Reachable
                }
                engine::NeighbourState::Probing => NeighbourState::Stale,
                engine::NeighbourState::Failed => NeighbourState::Failed,
            },
            age_ms: view.confirmed_ms_ago,
        })
        .collect();
    all.sort_by(|a, b| (&a.interface, a.address).cmp(&(&b.interface, b.address)));
    all
}

/// To `routes`.
pub fn routes(control: &Control) -> Vec<Route> {
    let names: Vec<&str> = interface_names(&control.config).collect();
    control
        .director
        .routes()
        .into_iter()
        .map(|view| Route {
            to: view.to,
            via: view.via,
            interface: name(&names, view.interface.index()),
            kind: if view.connected {
                RouteKind::Connected
            } else {
                RouteKind::Static
            },
        })
        .collect()
}

/// To `marks`.
pub fn marks(control: &Control) -> Vec<MarkRule> {
    let config = &control.config;
    let hits = control.director.mark_hits();
    let rules = config.marks.iter().zip(hits).zip(1..);
    rules
        .map(|((rule, packets), number)| MarkRule {
            number,
            mark: rule.mark,
            rule: rule.to_string(),
            packets,
            warning: config.mark_warning(rule),
        })
        .collect()
}

fn name(names: &[&str], index: usize) -> String {
    names.get(index).copied().unwrap_or_default().to_owned()
}

/// To `counters`.
pub fn counters(control: &Control) -> Counters {
    let all: Vec<_> = (0..u16::try_from(control.gauges.len()).unwrap_or(u16::MAX))
        .filter_map(|id| Some((id, control.director.counters(WorkerId(id))?)))
        .collect();
    let workers: Vec<WorkerCounters> = all
        .iter()
        .map(|(id, counters)| WorkerCounters {
            id: *id,
            totals: totals(counters),
        })
        .collect();
    let total = workers
        .iter()
        .fold(Totals::default(), |sum, w| add(sum, w.totals));
    let drops = DropReason::ALL.iter().map(|&reason| DropCount {
        reason: reason.name().to_owned(),
        meaning: reason.meaning().trim().to_owned(),
        count: all.iter().map(|(_, c)| c.dropped(reason)).sum(),
    });
    let entered = total.rx + total.generated + total.from_host;
    let left = total
        .tx
        .wrapping_add(total.punted)
        .wrapping_add(total.dropped)
        .wrapping_add(total.held);
    Counters {
        total,
        balanced: entered == left,
        drops: drops.collect(),
        workers,
    }
}

fn totals(counters: &engine::WorkerCounters) -> Totals {
    Totals {
        rx: counters.rx.get(),
        generated: counters.generated.get(),
        from_host: counters.from_host.get(),
        tx: counters.tx.get(),
        punted: counters.punted.get(),
        dropped: DropReason::ALL.iter().map(|&r| counters.dropped(r)).sum(),
        held: counters.held.get(),
        rate_limited: counters.rate_limited.get(),
        no_buffer: counters.alloc_failed.get(),
    }
}

/// The sum of two. Wrapping: a worker that sends for another takes back what the port refuses, and so may be below zero by
/// itself.
const fn add(a: Totals, b: Totals) -> Totals {
    Totals {
        rx: a.rx.wrapping_add(b.rx),
        generated: a.generated.wrapping_add(b.generated),
        from_host: a.from_host.wrapping_add(b.from_host),
        tx: a.tx.wrapping_add(b.tx),
        punted: a.punted.wrapping_add(b.punted),
        dropped: a.dropped.wrapping_add(b.dropped),
        held: a.held.wrapping_add(b.held),
        rate_limited: a.rate_limited.wrapping_add(b.rate_limited),
        no_buffer: a.no_buffer.wrapping_add(b.no_buffer),
    }
}

/// The settings in force.
pub fn settings(config: &Config) -> Vec<api::Setting> {
    let list = config.named_settings().into_iter();
    let shown = list.map(|setting| api::Setting {
        name: setting.name,
        value: setting.value,
        default: setting.default,
    });
    shown.collect()
}
