//! `tarpon services`

use crate::{
    table::Table,
    units::{bytes, count},
};
use api::{Server, Service, ServiceRef, Traffic};
use types::Tunnel;

/// Which figures of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figures {
    /// Connections and bytes so far.
    Short,
    /// Packets too.
    All,
    /// All of them per second.
    Rate,
}

impl Figures {
    pub const fn of(stats: bool, rate: bool) -> Self {
        match (rate, stats) {
            (true, _) => Self::Rate,
            (false, true) => Self::All,
            (false, false) => Self::Short,
        }
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Short => &[">CONNECTIONS", ">BYTES IN", ">BYTES OUT"],
            Self::All => &[
                ">CONNECTIONS",
                ">PACKETS IN",
                ">PACKETS OUT",
                ">BYTES IN",
                ">BYTES OUT",
            ],
            Self::Rate => &[
                ">CONNECTIONS/S",
                ">PACKETS IN/S",
                ">PACKETS OUT/S",
                ">BYTES IN/S",
                ">BYTES OUT/S",
            ],
        }
    }
}

pub fn services(services: &[Service], figures: Figures) -> String {
    if services.is_empty() {
        return "no services: add one with `tarpon service add`, or in the configuration file\n"
            .into();
    }
    let mut names = vec!["SERVICE", "METHOD", ">WEIGHT", ">ACTIVE", ">INACTIVE"];
    names.extend(figures.columns());
    names.push("");
    let mut table = Table::new(&names);
    for service in services {
        let mut row = vec![
            match service.key {
                ServiceRef::Address { protocol, address } if address.port() == 0 => {
                    format!("{protocol} {} every port", address.ip())
                }
                key => key.to_string(),
            },
            service.scheduler.to_string(),
            String::new(),
            count(service.servers.iter().map(|s| s.active).sum()),
            count(service.servers.iter().map(|s| s.inactive).sum()),
        ];
        traffic(&mut row, &service.traffic, &service.rate, figures);
        row.push(service_notes(service));
        table.row(row);
        for server in &service.servers {
            let mut row = vec![
                if server.address.port() == 0 {
                    format!("  -> {}", server.address.ip())
                } else {
                    format!("  -> {}", server.address)
                },
                server.method.to_string(),
                server.weight.0.to_string(),
                count(server.active),
                count(server.inactive),
            ];
            traffic(&mut row, &server.traffic, &server.rate, figures);
            row.push(server_notes(server));
            table.row(row);
        }
    }
    table.to_string()
}

fn traffic(row: &mut Vec<String>, total: &Traffic, rate: &Traffic, figures: Figures) {
    let traffic = match figures {
        Figures::Rate => rate,
        Figures::Short | Figures::All => total,
    };
    row.push(count(traffic.connections));
    if figures != Figures::Short {
        row.extend([count(traffic.in_packets), count(traffic.out_packets)]);
    }
    row.extend([bytes(traffic.in_bytes), bytes(traffic.out_bytes)]);
}

fn service_notes(service: &Service) -> String {
    let name = service.name.as_ref().map(|name| format!("{name:?}"));
    let flags = service.scheduler_flags.iter().map(|f| f.name());
    let flags = Some(flags.collect::<Vec<_>>().join(" ")).filter(|f| !f.is_empty());
    let persistence = service.persistence.as_ref().map(|p| {
        let whole = matches!(p.netmask.as_str(), "255.255.255.255" | "128");
        let mask = if whole {
            String::new()
        } else {
            format!(" by {}", p.netmask)
        };
        format!("persistent {} s{mask}", p.timeout_s)
    });
    let engine = service.persistence_engine.map(|e| format!("pe {e}"));
    let empty = service.servers.is_empty().then(|| "no servers".to_owned());
    let one_packet = service.one_packet.then(|| "one packet".to_owned());
    let flood = service.flood.map(|flood| {
        let how = if flood.on { "on" } else { "ready" };
        let made = count(flood.accepted);
        match (flood.cookies_sent, flood.hashed) {
            (0, 0) => format!("SYN cookies {how}"),
            (sent, 0) => format!("SYN cookies {how}: {} sent, {made} accepted", count(sent)),
            (_, hashed) => format!("SYNs by hash {how}: {}, {made} accepted", count(hashed)),
        }
    });
    join([name, flags, persistence, engine, one_packet, flood, empty])
}

fn server_notes(server: &Server) -> String {
    let thresholds = (server.upper_threshold > 0).then(|| {
        let lower = match server.lower_threshold {
            0 => String::new(),
            n => format!(", again below {}", count(n.into())),
        };
        format!("at most {}{lower}", count(server.upper_threshold.into()))
    });
    let health = server.health.as_ref().and_then(|health| {
        let why = health
            .reason
            .as_ref()
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        match (health.sorry, health.up, health.removed) {
            (true, ..) => Some("sorry server".to_owned()),
            (_, true, _) => None,
            (_, false, true) => Some(format!("DOWN, removed{why}")),
            (_, false, false) => Some(format!("DOWN{why}")),
        }
    });
    let overloaded = server.overloaded.then(|| "overloaded".to_owned());
    let quiesced = match (server.draining, server.weight.0) {
        (true, _) => Some("draining".to_owned()),
        (false, 0) if health.is_none() => Some("quiesced".to_owned()),
        _ => None,
    };
    let templates =
        (server.templates > 0).then(|| format!("{} templates", count(server.templates)));
    let tunnel = (server.tunnel != Tunnel::Ipip).then(|| server.tunnel.to_string());
    join([health, quiesced, overloaded, tunnel, thresholds, templates])
}

fn join<const N: usize>(notes: [Option<String>; N]) -> String {
    notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
