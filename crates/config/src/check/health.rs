//! Checks against the services and servers they are of.

use super::{
    Problems,
    reach::Reach,
    repeated,
    services::{each_server, whereabouts},
};
use crate::{Config, Server, Service, check_line};
use ::health::{Aim, Check, Kind};
use std::{collections::BTreeMap, net::IpAddr};
use types::{ForwardingMethod, Protocol, ServiceKey};

/// What is wrong with a check: which key, what, and what instead.
type Fault = (&'static str, String, String);

pub(super) fn check(
    config: &Config,
    reach: &Reach<'_>,
    interfaces_known: bool,
    problems: &mut Problems,
) {
    sessions(config, problems);
    let reach = interfaces_known.then_some(reach);
    for (index, service) in config.services.iter().enumerate() {
        let path = format!("service[{index}]");
        let health = &service.health;
        let own = |server: &Server| health.servers.get(&server.address)?.checks.as_deref();
        for (number, check) in health.checks.iter().enumerate() {
            // A fault may show at every server; it is the check's, and said once.
            let mut others = service.servers.iter().filter(|s| own(s).is_none());
            let fault = others.find_map(|server| fault(check, service, server, reach));
            report(fault, &format!("{path}.check[{number}]"), problems);
        }
        twice(&health.checks, &path, problems);
        for (number, server) in service.servers.iter().enumerate() {
            let checks = own(server).unwrap_or_default();
            let path = format!("{path}.server[{number}]");
            for (number, check) in checks.iter().enumerate() {
                let fault = fault(check, service, server, reach);
                report(fault, &format!("{path}.check[{number}]"), problems);
            }
            twice(checks, &path, problems);
        }
        if let Some(removal) = health.on_removal
            && config.compat_ipvs
        {
            problems.add(
                format!("{path}.on_removal"),
                format!(
                    "with compat = \"ipvs\" connections of removed servers end as in IPVS, not by {:?}",
                    removal.word()
                ),
                "leave it out (`expire_nodest_conn` in [settings] is for all services), or leave `compat` out",
            );
        }
        passive(service, &path, problems);
        sorry_server(service, reach, &path, problems);
    }
}

/// Answers of servers are seen under NAT only, and only TCP's say anything.
fn passive(service: &Service, path: &str, problems: &mut Problems) {
    let passive = &service.health.passive;
    let key = match (passive.suspect_after, passive.eject_after) {
        (Some(_), _) => "suspect_after",
        (None, Some(_)) => "eject_after",
        (None, None) => return,
    };
    let path = format!("{path}.{key}");
    if matches!(service.key, ServiceKey::Address { protocol, .. } if protocol != Protocol::Tcp) {
        let what =
            "only servers of TCP refuse or leave unanswered what can be told from a connection";
        problems.add(path, what, "leave it out, or make it a service of TCP");
    } else if !service.servers.is_empty()
        && service
            .servers
            .iter()
            .all(|s| s.method != ForwardingMethod::Masq)
    {
        let what = "servers' answers are seen under masq only, and no server has that";
        problems.add(path, what, "leave it out, or write method = \"masq\"");
    }
}

fn report(fault: Option<Fault>, path: &str, problems: &mut Problems) {
    if let Some((key, what, instead)) = fault {
        problems.add(format!("{path}.{key}"), what, instead);
    }
}

/// With a neighbour there is one session: checks that share it must agree on it.
fn sessions(config: &Config, problems: &mut Problems) {
    let mut first = BTreeMap::new();
    for (index, service) in config.services.iter().enumerate() {
        for (number, server) in service.servers.iter().enumerate() {
            let own = service.health.servers.get(&server.address);
            let of_server = own.is_some_and(|own| own.checks.is_some());
            for (which, check) in service.health.checks_of(server.address).iter().enumerate() {
                let Some(peer) = check.peer(server.address) else {
                    continue;
                };
                let path = match of_server {
                    true => format!("service[{index}].server[{number}].check[{which}]"),
                    false => format!("service[{index}].check[{which}]"),
                };
                let (other, found) = first.entry(peer).or_insert_with(|| (path.clone(), check));
                let agrees = check.kind == found.kind
                    && check.bind == found.bind
                    && check.timing.timeout == found.timing.timeout;
                if !agrees {
                    problems.add(
                        path,
                        format!(
                            "there is one BFD session with {}, and {other} wants another",
                            peer.address
                        ),
                        "write the same min_tx, min_rx, multiplier, max_hops, passive, bind and timeout in both",
                    );
                }
            }
        }
    }
}

fn fault(
    check: &Check,
    service: &Service,
    server: &Server,
    reach: Option<&Reach<'_>>,
) -> Option<Fault> {
    if check.aim == Some(Aim::Virtual)
        && let Some((what, instead)) = no_virtual(check, service, server)
    {
        return Some(("target", what.into(), instead.into()));
    }
    let server = server.address;
    let target = check.target(server);
    if check.kind.has_port() && target.port() == 0 {
        return Some((
            "type",
            format!(
                "the server {} has no port that could be checked",
                server.ip()
            ),
            "write port = 80 (or another) in the check".into(),
        ));
    }
    if let Kind::Bfd(bfd) = check.kind
        && bfd.max_hops == 0
        && reach.is_some_and(|reach| reach.on_link(target.ip()).is_none())
    {
        return Some((
            "type",
            format!(
                "{} is behind a gateway, and this takes no packet that has passed a router",
                target.ip()
            ),
            "write multihop = true, at the neighbour too".into(),
        ));
    }
    let bind = check.bind.address?;
    let family = |ip: IpAddr| if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    (bind.is_ipv4() != target.is_ipv4()).then(|| {
        (
            "bind",
            format!(
                "{bind} is {}, but what is checked, {}, is {}",
                family(bind),
                target.ip(),
                family(target.ip())
            ),
            "write an address of the same family, or leave it out".into(),
        )
    })
}

/// Why there is no virtual address on that server that could be checked.
fn no_virtual(
    check: &Check,
    service: &Service,
    server: &Server,
) -> Option<(&'static str, &'static str)> {
    if check.address.is_some() {
        return Some((
            "`address` names another address than the virtual one",
            "leave one of the two out",
        ));
    }
    if service.key.address().is_none() {
        return Some((
            "a service by mark has no virtual address of its own",
            "write address = \"VIP\" of a service by address, or leave `target` out",
        ));
    }
    (server.method == ForwardingMethod::Masq).then_some((
        "under masq a server does not have the virtual address",
        "leave `target` out: the server's own address is what clients reach",
    ))
}

fn twice(checks: &[Check], path: &str, problems: &mut Problems) {
    for (again, first) in repeated(checks.iter().map(check_line)) {
        problems.add(
            format!("{path}.check[{again}]"),
            format!("this is what check {} says already", first + 1),
            "remove it",
        );
    }
}

fn sorry_server(service: &Service, reach: Option<&Reach<'_>>, path: &str, problems: &mut Problems) {
    let Some(sorry) = service.health.sorry_server else {
        return;
    };
    let path = format!("{path}.sorry_server");
    if service.servers.iter().any(|s| s.address == sorry.address) {
        problems.add(
            path,
            format!("{} is one of the service's servers", sorry.address),
            "write another: the sorry server serves when these do not",
        );
        return;
    }
    let server = Server::new(sorry.address, sorry.method);
    each_server(service, &server, &path, false, problems);
    if let Some(reach) = reach {
        whereabouts(reach, &server, &path, problems);
    }
}
