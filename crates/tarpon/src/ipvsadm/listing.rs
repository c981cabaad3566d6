//! `ipvsadm -L`: services, servers and connections in ipvsadm's columns.

use super::{
    names::{self, Transport},
    options::Opt,
};
use api::{Connection, Server, Service, ServiceRef, Traffic};
use std::{cmp::Reverse, fmt::Write as _, net::SocketAddr};
use types::{Family, ForwardingMethod, GueChecksum, Protocol, Tunnel};

/// What is shown of each service and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    Default,
    Stats,
    Rate,
    Thresholds,
    PersistentConnections,
    TunnelInfo,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub columns: Columns,
    /// Addresses and ports by number.
    pub numeric: bool,
    /// Large figures in full.
    pub exact: bool,
    /// By protocol, address and port, as ipvsadm does unless told otherwise; else the newest first.
    pub sorted: bool,
}

/// The line that stands above a whole table; `size` is the connection table's.
pub fn title(size: u64) -> String {
    format!("IP Virtual Server version 1.2.1 (size={size})\n")
}

/// Services with their servers, below the columns' names.
pub fn services(services: &[Service], style: Style) -> String {
    let mut text = heads(style.columns).to_owned();
    for service in ordered(services, style.sorted, order) {
        let _ = writeln!(text, "{}", self::service(service, style));
        let transport = transport_of(service.key);
        let there = |s: &&Server| !s.health.as_ref().is_some_and(|h| h.removed);
        let servers: Vec<Server> = service.servers.iter().filter(there).cloned().collect();
        for server in ordered(&servers, style.sorted, server_order) {
            let _ = writeln!(text, "{}", self::server(server, transport, style));
        }
    }
    text
}

/// The order of services: those by mark last, by their marks.
pub const fn order(service: &Service) -> (u32, bool, u8, Option<SocketAddr>) {
    match service.key {
        ServiceRef::Address { protocol, address } => {
            (0, address.is_ipv6(), protocol.number(), Some(address))
        }
        ServiceRef::Mark { mark, family } => (mark.0, matches!(family, Family::Ipv6), 0, None),
    }
}

/// The order of servers: IPv6 first, where a service has both.
pub const fn server_order(server: &Server) -> (bool, SocketAddr) {
    (server.address.is_ipv4(), server.address)
}

/// In the order of `key`, or the newest first.
pub fn ordered<T, K: Ord>(items: &[T], sorted: bool, key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut all: Vec<(usize, &T)> = items.iter().enumerate().collect();
    if sorted {
        all.sort_by_key(|(_, item)| key(item));
    } else {
        all.sort_by_key(|(at, _)| Reverse(*at));
    }
    all.into_iter().map(|(_, item)| item).collect()
}

const fn heads(columns: Columns) -> &'static str {
    match columns {
        Columns::Default => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        }
        Columns::Stats => {
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n"
        }
        Columns::Rate => {
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  -> RemoteAddress:Port\n"
        }
        Columns::Thresholds => {
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port\n"
        }
        Columns::PersistentConnections => {
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  -> RemoteAddress:Port\n"
        }
        Columns::TunnelInfo => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
        }
    }
}

fn service(service: &Service, style: Style) -> String {
    let name = match service.key {
        ServiceRef::Address { protocol, address } => {
            let address = names::shown(address, transport_of(service.key), style.numeric);
            format!("{:<4} {address}", protocol.to_string().to_uppercase())
        }
        ServiceRef::Mark { mark, family } => match family {
            Family::Ipv4 => format!("FWM  {}", mark.0),
            Family::Ipv6 => format!("FWM  {} IPv6", mark.0),
        },
    };
    let figures = match style.columns {
        Columns::Stats => Some(&service.traffic),
        Columns::Rate => Some(&service.rate),
        _ => None,
    };
    if let Some(figures) = figures {
        return format!("{name:<33}{}", traffic(figures, style.exact));
    }
    let mut text = format!("{name} {}", service.scheduler);
    let flags: Vec<String> = service
        .scheduler_flags
        .iter()
        .map(ToString::to_string)
        .collect();
    if !flags.is_empty() {
        let _ = write!(text, " ({})", flags.join(","));
    }
    if let Some(persistence) = &service.persistence {
        let _ = write!(text, " persistent {}", persistence.timeout_s);
        if let Some(mask) = mask(service) {
            let _ = write!(text, " mask {mask}");
        }
        // Listed beside persistence only; saved always.
        if let Some(engine) = service.persistence_engine {
            let _ = write!(text, " pe {engine}");
        }
    }
    if service.one_packet {
        text.push_str(" ops");
    }
    text
}

/// The persistence mask, where it is not the whole address.
pub fn mask(service: &Service) -> Option<&str> {
    let mask = service.persistence.as_ref()?.netmask.as_str();
    (!matches!(mask, "255.255.255.255" | "128")).then_some(mask)
}

fn server(server: &Server, transport: Transport, style: Style) -> String {
    let address = names::shown(server.address, transport, style.numeric);
    let Server {
        weight,
        active,
        inactive,
        ..
    } = server;
    let forward = match server.method {
        ForwardingMethod::Masq => "Masq",
        ForwardingMethod::Route => "Route",
        ForwardingMethod::Tunnel => "Tunnel",
    };
    let tail = match style.columns {
        Columns::Default => format!("{forward:<7} {:<6} {active:<10} {inactive:<10}", weight.0),
        Columns::Stats | Columns::Rate => {
            let figures = match style.columns {
                Columns::Rate => &server.rate,
                _ => &server.traffic,
            };
            return format!("  -> {address:<28}{}", traffic(figures, style.exact));
        }
        Columns::Thresholds => format!(
            "{:<10} {:<10} {active:<10} {inactive:<10}",
            server.upper_threshold, server.lower_threshold
        ),
        Columns::PersistentConnections => format!(
            "{:<9} {:<11} {active:<10} {inactive:<10}",
            weight.0, server.templates
        ),
        Columns::TunnelInfo => {
            let tunnel = if server.method == ForwardingMethod::Tunnel {
                tunnel_info(server.tunnel)
            } else {
                "n/a".to_owned()
            };
            format!(
                "{forward:<7} {tunnel:<13} {:<6} {active:<10} {inactive:<10}",
                weight.0
            )
        }
    };
    format!("  -> {address:<28} {tail}")
}

fn tunnel_info(tunnel: Tunnel) -> String {
    match tunnel {
        Tunnel::Ipip => "ipip".to_owned(),
        Tunnel::Gre { checksum: false } => "gre:-c".to_owned(),
        Tunnel::Gre { checksum: true } => "gre:+c".to_owned(),
        Tunnel::Gue { port, checksum } => {
            let checksum = match checksum {
                GueChecksum::None => "-c",
                GueChecksum::Full => "+c",
                GueChecksum::Remote => "r+c",
            };
            format!("gue:{port}:{checksum}")
        }
    }
}

fn traffic(traffic: &Traffic, exact: bool) -> String {
    let Traffic {
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    } = *traffic;
    [connections, in_packets, out_packets, in_bytes, out_bytes]
        .map(|figure| figure_of(figure, exact))
        .concat()
}

/// Eight characters, in K, M, G or T of 1000 where eight digits do not do; in full with `--exact`.
fn figure_of(figure: u64, exact: bool) -> String {
    const DIGITS_8: u64 = 100_000_000;
    if exact || figure < DIGITS_8 {
        return format!(" {figure:>8}");
    }
    let units = [("K", 1000), ("M", 1_000_000), ("G", 1_000_000_000)];
    // K up to a thousand millions, then M and G for seven digits each.
    let most = [1_000_000_000, DIGITS_8 * 1000, DIGITS_8 * 1_000_000];
    for ((unit, size), most) in units.into_iter().zip(most) {
        if figure < most {
            return format!(" {:>7}{unit}", figure / size);
        }
    }
    format!(" {:>7}T", figure / 1_000_000_000_000)
}

/// The lines above connections.
pub fn connections_title(persistent: bool) -> &'static str {
    if persistent {
        "IPVS connection entries\npro expire state       source             virtual            destination        pe name          pe_data\n"
    } else {
        "IPVS connection entries\npro expire state       source             virtual            destination\n"
    }
}

/// One connection; `persistent`: with what its persistence engine goes by.
pub fn connection(connection: &Connection, persistent: bool, numeric: bool) -> String {
    let transport = transport(connection.protocol);
    let seconds = connection.expires_ms / 1000;
    let shown = |address: SocketAddr| names::shown(address, transport, numeric);
    let server = shown(connection.server);
    let tail = match &connection.persistence {
        Some(engine) if persistent => {
            format!("{server:<16} {:<18} {}", engine.engine, engine.data)
        }
        _ => server,
    };
    format!(
        "{:<3} {:02}:{:02}  {:<11} {:<18} {:<18} {tail}\n",
        connection.protocol.to_string().to_uppercase(),
        seconds / 60,
        seconds % 60,
        connection.state,
        shown(connection.client),
        shown(connection.vip),
    )
}

/// The transport whose names ports have; a service by mark has ports without names of their own.
pub const fn transport_of(service: ServiceRef) -> Transport {
    match service {
        ServiceRef::Address { protocol, .. } => transport(protocol),
        ServiceRef::Mark { .. } => Transport::Tcp,
    }
}

pub const fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => Transport::Sctp,
    }
}

impl Columns {
    /// What the options ask for; the last of several wins in ipvsadm's own order.
    pub fn wanted(has: impl Fn(Opt) -> bool) -> Self {
        if has(Opt::Stats) {
            Self::Stats
        } else if has(Opt::Rate) {
            Self::Rate
        } else if has(Opt::Thresholds) {
            Self::Thresholds
        } else if has(Opt::PersistentConnections) {
            Self::PersistentConnections
        } else if has(Opt::TunnelInfo) {
            Self::TunnelInfo
        } else {
            Self::Default
        }
    }
}
/// `-L --daemon`: a line for each that runs.
pub fn daemons(sync: Option<&api::Sync>) -> String {
    let Some(s) = sync else {
        return String::new();
    };
    let line = |role: &str| {
        format!(
            "{role} sync daemon (mcast={}, syncid={}, maxlen={}, group={}, port={}, ttl={})\n",
            s.interface, s.syncid, s.sync_maxlen, s.mcast_group, s.mcast_port, s.mcast_ttl
        )
    };
    let runs = |role: &str| s.role != role;
    let mut text = String::new();
    if runs("backup") {
        text += &line("master");
    }
    if runs("master") {
        text += &line("backup");
    }
    text
}
