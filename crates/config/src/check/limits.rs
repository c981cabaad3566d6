//! Lists of clients against each other and the services they are of.

use super::{Problems, repeated};
use crate::{Access, Config, Server, Service, Settings};
use types::{Family, ForwardingMethod, Protocol, ServiceKey, SynCookies};

pub(super) fn check(config: &Config, problems: &mut Problems) {
    twice(&config.access, "access", problems);
    for (index, service) in config.services.iter().enumerate() {
        let path = format!("service[{index}]");
        let access = &service.limits.access;
        twice(access, &path, problems);
        let family = service.key.family();
        syn_cookies(service, &config.settings, &path, problems);
        for (key, nets) in [("allow", &access.allow), ("deny", &access.deny)] {
            for (number, net) in nets.iter().enumerate() {
                if net.address().is_ipv4() != (family == Family::Ipv4) {
                    problems.add(
                        format!("{path}.{key}[{number}]"),
                        format!(
                            "{net} can have no client of this service, which has {}",
                            family.name()
                        ),
                        "leave it out",
                    );
                }
            }
        }
    }
}

/// Where nothing can be done with SYNs.
fn syn_cookies(service: &Service, settings: &Settings, path: &str, problems: &mut Problems) {
    if service.limits.syn_cookies == SynCookies::Off {
        return;
    }
    let mut report = |what: &str, instead: &str| {
        problems.add(format!("{path}.syn_cookies"), what, instead);
    };
    let leave_out = "leave it out";
    if let ServiceKey::Address { protocol, address } = service.key {
        if protocol != Protocol::Tcp {
            report("`syn_cookies` is for TCP: nothing else has SYNs", leave_out);
        } else if settings.ftp_ports.contains(&address.port()) {
            report(
                "`syn_cookies` cannot be had with FTP, whose control connections are read",
                leave_out,
            );
        }
    }
    let nat = |server: &&Server| server.method == ForwardingMethod::Masq;
    let by_nat = service.servers.iter().filter(nat).count();
    if by_nat != 0 && by_nat != service.servers.len() {
        report(
            "`syn_cookies` needs servers that are all reached by NAT, or none of them: here some are",
            "give all servers method \"masq\", or none, or leave it out",
        );
    }
}

/// A prefix that is there twice.
fn twice(access: &Access, path: &str, problems: &mut Problems) {
    for (key, nets) in [("allow", &access.allow), ("deny", &access.deny)] {
        for (number, _) in repeated(nets.iter()) {
            let what = nets
                .get(number)
                .map(|net| format!("{net} is there already"));
            let path = format!("{path}.{key}[{number}]");
            problems.add(path, what.unwrap_or_default(), "leave it out");
        }
    }
    for (number, net) in access.deny.iter().enumerate() {
        if access.allow.contains(net) {
            problems.add(
                format!("{path}.deny[{number}]"),
                format!("{net} is in `allow`, too"),
                "leave it out of one of them",
            );
        }
    }
}
