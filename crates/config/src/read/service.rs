//! `[[service]]` and `[[service.server]]`

use super::{
    health, limits, mark,
    section::{Reader, Section, Wrong},
    value::{alternatives, flag, integer, parsed, text},
};
use crate::{Netmask, Persistence, Server, Service, model::any};
use ::health::ServerPolicy;
use std::net::{IpAddr, SocketAddr};
use toml::de::DeValue;
use types::{
    Family, ForwardingMethod, PersistenceEngine, Protocol, Scheduler, SchedulerFlag, ServiceKey,
    Tunnel, Weight,
};

/// `persistent = true`, as `ipvsadm -p` without a value.
const DEFAULT_PERSISTENT_S: u32 = 300;

/// Persistence at most: 31 days, where `ipvsadm` stops.
const MAX_PERSISTENT_S: u32 = 31 * 24 * 3600;

pub(super) fn service(reader: &mut Reader, section: &mut Section<'_>) -> Option<Service> {
    let name = section.get(reader, "name", "a text, like \"web\"", text);
    let key = key(reader, section);
    let address = key.map(|key| key.address().unwrap_or_else(|| any(key.family())));
    let scheduler = section.get(
        reader,
        "scheduler",
        &alternatives(Scheduler::ALL.iter().map(|s| s.name())),
        parsed::<Scheduler>,
    );
    let flags = alternatives(SchedulerFlag::ALL.iter().map(|f| f.name()));
    let wanted = (flags.as_str(), "\"sh-port\"");
    let mut scheduler_flags = section
        .list(reader, "scheduler_flags", wanted, parsed::<SchedulerFlag>)
        .unwrap_or_default();
    scheduler_flags.sort_unstable();
    scheduler_flags.dedup();
    let timeout_s = section.get(
        reader,
        "persistent",
        "seconds as a whole number from 1 to 2678400 (31 days), true (300 seconds), or false",
        |v| match v {
            DeValue::Boolean(true) => Ok(DEFAULT_PERSISTENT_S),
            DeValue::Boolean(false) => Ok(0),
            other => integer(0..=MAX_PERSISTENT_S)(other),
        },
    );
    // Which kind of mask it must be hangs on the address; without one, only its type can be judged.
    let netmask = section.get(
        reader,
        "netmask",
        match address {
            Some(SocketAddr::V6(_)) => "a prefix length from 1 to 128, like 64",
            _ => "an IPv4 mask, like \"255.255.255.0\"",
        },
        |v| {
            let text = match v {
                DeValue::Integer(n) => n.to_string(),
                other => text(other)?,
            };
            match &address {
                Some(address) => Netmask::parse(&text, address).map(Some).map_err(|_| None),
                None => Ok(None),
            }
        },
    );
    let engine = section.get(
        reader,
        "persistence_engine",
        &alternatives(PersistenceEngine::ALL.iter().map(|e| e.name())),
        parsed::<PersistenceEngine>,
    );
    let one_packet = section
        .get(reader, "one_packet", "true or false", flag)
        .unwrap_or(false);
    let method = section
        .get(reader, "method", METHODS, method)
        .unwrap_or(ForwardingMethod::Route);
    let mut policy = health::policy(reader, section, method, address);
    let limits = limits::limits(reader, section, key.map(|key| key.family()));
    let servers = section.tables(reader, "server", |reader, section| {
        let (server, own) = server(reader, section, method, address)?;
        if own != ServerPolicy::default() {
            policy.servers.insert(server.address, own);
        }
        Some(server)
    });
    if netmask.is_some() && timeout_s.unwrap_or(0) == 0 {
        reader.report(
            section.position_of("netmask"),
            &format!("{}.netmask", section.path()),
            "`netmask` without `persistent` does nothing".to_owned(),
            "write persistent = 300 (or another number of seconds), or leave `netmask` out"
                .to_owned(),
        );
    }
    let (key, address) = (key?, address?);
    let persistence = timeout_s.filter(|s| *s > 0).map(|timeout_s| Persistence {
        timeout_s,
        netmask: netmask
            .flatten()
            .unwrap_or_else(|| Netmask::whole(&address)),
    });
    Some(Service {
        name,
        key,
        scheduler: scheduler.unwrap_or(Scheduler::Wlc),
        scheduler_flags,
        persistence,
        persistence_engine: engine,
        one_packet,
        method,
        servers,
        limits,
        health: policy,
    })
}

/// What the service catches: an address with a protocol, or a mark.
fn key(reader: &mut Reader, section: &mut Section<'_>) -> Option<ServiceKey> {
    let mark = section.get(
        reader,
        "mark",
        "the firewall mark of a [[mark]] rule, from 1 to 4294967295, like 80",
        mark::value,
    );
    let family = section.get(reader, "family", "\"ipv4\" or \"ipv6\"", parsed::<Family>);
    if section.has("mark") {
        if let Some(key) = ["protocol", "address"].into_iter().find(|k| section.has(k)) {
            reader.report(
                section.position_of(key),
                &format!("{}.{key}", section.path()),
                format!("a service by mark has no `{key}`"),
                "leave it out: a [[mark]] rule says which packets get the mark",
            );
            section.abandon();
            return None;
        }
        return Some(ServiceKey::Mark {
            mark: mark?,
            family: family.unwrap_or(Family::Ipv4),
        });
    }
    if section.has("family") {
        reader.report(
            section.position_of("family"),
            &format!("{}.family", section.path()),
            "`family` is for services by mark",
            "leave it out: the address says it",
        );
    }
    let protocol = section.need(
        reader,
        "protocol",
        &alternatives(Protocol::ALL.iter().map(|p| p.name())),
        parsed::<Protocol>,
    );
    let address = section.need(
        reader,
        "address",
        "the virtual address and port, like \"192.0.2.10:80\" or \"[2001:db8::10]:80\"",
        endpoint,
    );
    Some(ServiceKey::Address {
        protocol: protocol?,
        address: address?,
    })
}

fn server(
    reader: &mut Reader,
    section: &mut Section<'_>,
    default_method: ForwardingMethod,
    service: Option<SocketAddr>,
) -> Option<(Server, ServerPolicy)> {
    let port = service.map_or(0, |s| s.port());
    let address = section.need(
        reader,
        "address",
        "the real server's address, with a port if it is another than the service's, like \"10.1.0.11:8080\"",
        |v| {
            let text = v.as_str().ok_or(None)?;
            text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)).or_else(|_| endpoint(v))
        },
    );
    let method = section
        .get(reader, "method", METHODS, method)
        .unwrap_or(default_method);
    let tunnel = section.get(
        reader,
        "tunnel",
        "\"ipip\", \"gre\", \"gre:csum\", \"gue:6080\", \"gue:6080:csum\" or \"gue:6080:remcsum\"",
        |v| v.as_str().ok_or(None)?.parse::<Tunnel>().map_err(Some),
    );
    let weight = section.get(
        reader,
        "weight",
        "a whole number from 0 to 2147483647, like 1 (0 takes no new connections)",
        integer(0..=Weight::MAX.0),
    );
    let threshold = "a number of connections, 0 for none, like 1000";
    let upper = section.get(reader, "upper_threshold", threshold, integer(0..=u32::MAX));
    let lower = section.get(reader, "lower_threshold", threshold, integer(0..=u32::MAX));
    let own = health::server(reader, section);
    let server = Server {
        address: address?,
        method,
        tunnel: tunnel.unwrap_or_default(),
        weight: weight.map_or_else(Weight::default, Weight),
        upper_threshold: upper.unwrap_or(0),
        lower_threshold: lower.unwrap_or(0),
    };
    Some((server, own))
}

pub(super) const METHODS: &str = "\"masq\" (NAT), \"route\" (direct routing) or \"tunnel\"";

pub(super) fn method(value: &DeValue<'_>) -> Result<ForwardingMethod, Wrong> {
    parsed(value)
}

/// An address with a port.
pub(super) fn endpoint(value: &DeValue<'_>) -> Result<SocketAddr, Wrong> {
    let text = value.as_str().ok_or(None)?;
    if let Ok(endpoint) = text.parse::<SocketAddr>() {
        // A scope (`%eth0`) means nothing here, and would make equal addresses differ.
        return Ok(SocketAddr::new(endpoint.ip(), endpoint.port()));
    }
    Err(match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) if text.matches(':').count() > 2 => Some(format!(
            "`{text}` is an IPv6 address without a port (which goes behind brackets)"
        )),
        Ok(_) => Some(format!("`{text}` has no port")),
        Err(_) => None,
    })
}
