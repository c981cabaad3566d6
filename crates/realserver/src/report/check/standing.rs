//! What stands on the machine: services that listen, routes back to clients, reverse-path filters.

use super::{CheckOptions, nics};
use crate::{
    error::Refusal,
    facts::Facts,
    live::{System, gather::read_sysctl},
    report::{Outcome, Report},
    request::{Method, Request},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn listeners(request: &Request, vip: IpAddr, facts: &Facts, report: &mut Report) {
    for &port in &request.ports {
        for &protocol in &request.protocols {
            let subject = format!("a service for {vip} port {port}/{protocol}");
            let bound: Vec<IpAddr> = facts
                .listeners
                .iter()
                .filter(|l| l.protocol == protocol && l.address.port() == port)
                .filter(|l| l.address.is_ipv4() == vip.is_ipv4() || l.dual)
                .map(|l| l.address.ip())
                .collect();
            let wildcard = bound.iter().any(IpAddr::is_unspecified);
            let specific = bound.contains(&vip);
            // REDIRECT leads to the first address of the interface the packet came in by.
            let own = request.method.redirects()
                && nics(request, facts)
                    .any(|i| i.addresses.iter().any(|n| bound.contains(&n.address())));
            if wildcard || own || (specific && !request.method.redirects()) {
                let place = if specific {
                    "bound to the VIP"
                } else {
                    "bound to all addresses"
                };
                report.pass(subject, place);
            } else if bound.is_empty() {
                report.add(
                    Outcome::Fail,
                    subject,
                    "nothing listens on that port",
                    "start the service",
                );
            } else {
                let list = bound
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ");
                let remedy = if request.method.redirects() {
                    "bind it to all addresses"
                } else {
                    "bind it to the VIP or to all addresses"
                };
                report.add(
                    Outcome::Fail,
                    subject,
                    format!("listens on {list} only, where the VIP's packets do not arrive"),
                    remedy,
                );
            }
        }
    }
}

/// "via ADDRESS" and "dev NAME" of `ip route get`.
fn route_get(
    system: &System,
    to: IpAddr,
    from: IpAddr,
) -> Result<(Option<IpAddr>, String), Refusal> {
    let words = [
        "ip",
        "route",
        "get",
        &to.to_string(),
        "from",
        &from.to_string(),
    ]
    .map(str::to_owned);
    // A VIP that is not on this machine cannot be asked for as a source.
    let text = system.run(&words).or_else(|_| system.run(&words[..4]))?;
    let after = |word: &str| text.split_whitespace().skip_while(|w| *w != word).nth(1);
    Ok((
        after("via").and_then(|v| v.parse().ok()),
        after("dev").unwrap_or_default().to_owned(),
    ))
}

pub(super) fn routes(
    system: &System,
    request: &Request,
    vip: IpAddr,
    facts: &Facts,
    options: &CheckOptions,
    report: &mut Report,
) {
    let example = if vip.is_ipv4() {
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1))
    } else {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))
    };
    let client = options.client.filter(|c| c.is_ipv4() == vip.is_ipv4());
    let subject = client.map_or(format!("the way back from {vip}"), |c| {
        format!("the way back from {vip} to {c}")
    });
    match route_get(system, client.unwrap_or(example), vip) {
        Ok((via, device)) => {
            let way = via.map_or(format!("directly over {device}"), |v| {
                format!("via {v} over {device}")
            });
            if request.method != Method::Nat && via.is_some() && via == options.director {
                report.add(
                    Outcome::Fail,
                    subject,
                    format!("{way}: that is the director, which has no use for it"),
                    "with direct routing and tunnelling answers must not pass the director: set another gateway",
                );
            } else {
                report.pass(subject, way);
            }
            if let Some(nic) = facts.interface(&device) {
                report.pass("MTU", format!("{} on {device}", nic.mtu));
            }
        }
        Err(_) => report.add(
            Outcome::Fail,
            subject,
            "no route: answers to clients cannot leave",
            "set a default gateway that is not the director",
        ),
    }
}

pub(super) fn rp_filter(
    system: &System,
    request: &Request,
    facts: &Facts,
    options: &CheckOptions,
    report: &mut Report,
) {
    let example = options
        .client
        .filter(IpAddr::is_ipv4)
        .unwrap_or(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)));
    let way = route_get(system, example, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).ok();
    for nic in nics(request, facts) {
        let own = read_sysctl(&format!("net/ipv4/conf/{}/rp_filter", nic.name))
            .and_then(|v| v.parse::<u8>().ok())
            .unwrap_or(0);
        // The kernel takes the larger of the two (ip-sysctl.rst).
        let effective = own.max(facts.rp_filter_all);
        let subject = format!("rp_filter on {}", nic.name);
        match (&way, effective) {
            (Some((_, device)), 1) if *device != nic.name => report.add(
                Outcome::Fail,
                subject,
                format!("1 (strict), and clients are routed over {device}: their packets are dropped on arrival here"),
                format!("echo 2 > /proc/sys/net/ipv4/conf/{}/rp_filter", nic.name),
            ),
            (None, 1 | 2) => {
                report.add(Outcome::Fail, subject, format!("{effective}, and there is no route to clients: their packets are dropped"), "set a default gateway");
            }
            _ => report.pass(subject, format!("{effective}: clients' packets pass")),
        }
    }
}
