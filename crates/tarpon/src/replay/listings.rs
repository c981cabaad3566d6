//! The state at the end, as ipvsadm prints it.

use crate::ipvsadm::{
    listing::{self, Columns, Style},
    saved,
};
use api::{Persistence, Server, Service, Traffic};
use engine::{ServerView, ServiceView, model::ServiceKey};
use sim::golden::ConnectionRow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use types::{Family, SchedulerFlag, SchedulerFlags};

/// IPVS's own table has as many buckets.
const SIZE: u64 = 4096;

/// `ipvsadm -Ln`
pub fn list(services: &[ServiceView]) -> String {
    table(services, Columns::Default)
}

/// `ipvsadm -Ln --stats --exact`
pub fn stats(services: &[ServiceView]) -> String {
    table(services, Columns::Stats)
}

/// `ipvsadm -Sn`
pub fn rules(services: &[ServiceView]) -> String {
    let services: Vec<Service> = services.iter().map(service).collect();
    saved::saved(&services, true)
}

/// `ipvsadm -Lnc`
pub fn connections(rows: &[ConnectionRow]) -> String {
    let mut text = listing::connections_title(false).to_owned();
    for row in rows {
        text += &format!(
            "{:<3} {:02}:{:02}  {:<11} {:<18} {:<18} {}\n",
            row.proto,
            row.expire / 60,
            row.expire % 60,
            row.state,
            endpoint(&row.client),
            endpoint(&row.virtual_address),
            endpoint(&row.dest)
        );
    }
    text
}

fn endpoint(text: &str) -> String {
    let parsed = text.split_once('|').and_then(|(ip, port)| {
        let ip: IpAddr = ip.parse().ok()?;
        Some(SocketAddr::new(ip, port.parse().ok()?))
    });
    parsed.map_or_else(|| text.to_owned(), |address| address.to_string())
}

fn table(views: &[ServiceView], columns: Columns) -> String {
    let services: Vec<Service> = views.iter().map(service).collect();
    let style = Style {
        columns,
        numeric: true,
        exact: columns == Columns::Stats,
        sorted: true,
    };
    listing::title(SIZE) + &listing::services(&services, style)
}

fn service(view: &ServiceView) -> Service {
    let set = |flag: &&SchedulerFlag| {
        let SchedulerFlags {
            fallback,
            port,
            third,
        } = SchedulerFlags::of(view.scheduler, &[**flag]);
        (fallback && view.flags.fallback)
            || (port && view.flags.port)
            || (third && view.flags.third)
    };
    let v4 = match view.key {
        ServiceKey::Address { address, .. } => address.is_ipv4(),
        ServiceKey::Mark { family, .. } => family == Family::Ipv4,
    };
    let netmask = |mask: u128| match u32::try_from(mask) {
        Ok(mask) if v4 => Ipv4Addr::from_bits(mask).to_string(),
        _ => mask.leading_ones().to_string(),
    };
    Service {
        name: None,
        key: view.key,
        scheduler: view.scheduler,
        scheduler_flags: SchedulerFlag::ALL.iter().filter(set).copied().collect(),
        persistence: view.persistence.map(|p| Persistence {
            timeout_s: p.timeout_s,
            netmask: netmask(p.netmask),
        }),
        persistence_engine: view.persistence_engine,
        one_packet: view.one_packet,
        flood: None,
        traffic: traffic(view.traffic),
        rate: traffic(view.rate),
        servers: view.servers.iter().map(server).collect(),
    }
}

fn server(view: &ServerView) -> Server {
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
