//! Services and their servers against the rest.

use super::{
    Problems,
    addresses::{family, is_link_local, unusable},
    reach::Reach,
    repeated,
};
use crate::{Config, Netmask, Server, Service, ServiceKey};
use std::net::SocketAddr;
use types::{Family, ForwardingMethod, Protocol, Tunnel, Weight};

pub(super) fn check(
    config: &Config,
    reach: &Reach<'_>,
    interfaces_known: bool,
    problems: &mut Problems,
) {
    let services = &config.services;
    for (again, first) in repeated(services.iter().map(Service::key)) {
        if let (Some(service), Some(other)) = (services.get(again), services.get(first)) {
            let named = other
                .name
                .as_ref()
                .map(|n| format!(", named {n:?}"))
                .unwrap_or_default();
            problems.add(
                match service.key.address() {
                    Some(_) => format!("service[{again}].address"),
                    None => format!("service[{again}].mark"),
                },
                format!("there is a service {} already{named}", service.key()),
                "put the servers of both into one, or write another address or port",
            );
        }
    }
    let named: Vec<(usize, &String)> = services
        .iter()
        .enumerate()
        .filter_map(|(index, s)| Some((index, s.name.as_ref()?)))
        .collect();
    for (again, _) in repeated(named.iter().map(|(_, name)| name)) {
        if let Some((index, name)) = named.get(again) {
            problems.add(
                format!("service[{index}].name"),
                format!("there is another service named {name:?}"),
                "give each service a name of its own, or none",
            );
        }
    }
    for (index, service) in services.iter().enumerate() {
        each_service(index, service, config.compat_ipvs, problems);
        for (number, server) in service.servers.iter().enumerate() {
            let path = format!("service[{index}].server[{number}]");
            each_server(service, server, &path, config.compat_ipvs, problems);
            if interfaces_known {
                whereabouts(reach, server, &path, problems);
            }
        }
    }
}

fn each_service(index: usize, service: &Service, compat_ipvs: bool, problems: &mut Problems) {
    if let Some(address) = service.key.address() {
        virtual_address(index, service, address, problems);
    }
    for flag in &service.scheduler_flags {
        if !flag.fits(service.scheduler) {
            let instead = match (flag.scheduler(), flag.beside(service.scheduler)) {
                (Some(own), _) => format!("write scheduler = \"{own}\", or leave the flag out"),
                (None, named) if named != *flag => format!("write \"{named}\""),
                (None, _) => "leave it out".to_owned(),
            };
            problems.add(
                format!("service[{index}].scheduler_flags"),
                format!("{flag} is nothing for the scheduler {}", service.scheduler),
                instead,
            );
        }
    }
    if let Some(persistence) = service.persistence
        && matches!(persistence.netmask, Netmask::V4(_)) != v4(service)
    {
        problems.add(
            format!("service[{index}].netmask"),
            format!(
                "the netmask {} is not for {} clients",
                persistence.netmask,
                family(service.address_or_any().ip())
            ),
            "write a mask like 255.255.255.0 for IPv4, a prefix length like 64 for IPv6",
        );
    }
    if let (Some(engine), ServiceKey::Address { protocol, .. }) =
        (service.persistence_engine, service.key)
        && protocol != Protocol::Udp
        && !compat_ipvs
    {
        problems.add(
            format!("service[{index}].persistence_engine"),
            format!("{engine} goes by what datagrams of UDP say: every connection of {protocol} would be dropped"),
            "leave it out, or make it a service of UDP or by mark",
        );
    }
    if let (true, ServiceKey::Address { protocol, .. }) = (service.one_packet, service.key)
        && protocol != Protocol::Udp
    {
        problems.add(
            format!("service[{index}].one_packet"),
            format!("{protocol} cannot be scheduled packet by packet: it has connections"),
            "leave it out, or make it a service of UDP or by mark",
        );
    }
    for (again, _) in repeated(service.servers.iter().map(|s| s.address)) {
        if let Some(server) = service.servers.get(again) {
            problems.add(
                format!("service[{index}].server[{again}].address"),
                format!("{} is already a server of this service", server.address),
                "name each server once, with the sum of the weights",
            );
        }
    }
}

fn v4(service: &Service) -> bool {
    service.key.family() == Family::Ipv4
}

fn virtual_address(index: usize, service: &Service, address: SocketAddr, problems: &mut Problems) {
    if let Some(why) = unusable(address.ip()) {
        problems.add(
            format!("service[{index}].address"),
            format!("{} cannot be a virtual address: it {why}", address.ip()),
            "write the address clients connect to",
        );
    }
    if is_link_local(address.ip()) {
        problems.add(
            format!("service[{index}].address"),
            format!("{} is link-local, which every link has", address.ip()),
            "write an address that leads to this director only",
        );
    }
    if address.port() == 0 && service.persistence.is_none() {
        problems.add(
            format!("service[{index}].address"),
            "port 0 catches every port, which only a persistent service can",
            "write a port, or add persistent = 300",
        );
    }
}

pub(super) fn each_server(
    service: &Service,
    server: &Server,
    path: &str,
    compat_ipvs: bool,
    problems: &mut Problems,
) {
    let at = format!("{path}.address");
    let (ip, port) = (server.address.ip(), server.address.port());
    if let Some(why) = unusable(ip) {
        problems.add(
            &at,
            format!("{ip} cannot be a real server: it {why}"),
            "write the server's own address",
        );
    } else if ip.is_ipv4() != v4(service) && server.method != ForwardingMethod::Tunnel {
        problems.add(
            &at,
            format!(
                "{ip} is {}, but the service is {}",
                family(ip),
                family(service.address_or_any().ip())
            ),
            "write an address of the service's family, or method = \"tunnel\", which alone leads to the other",
        );
    }
    if server.tunnel != Tunnel::Ipip && server.method != ForwardingMethod::Tunnel {
        problems.add(
            format!("{path}.tunnel"),
            format!("`tunnel` does nothing with the method {}", server.method),
            "write method = \"tunnel\", or leave `tunnel` out",
        );
    }
    let service_port = service.key.port();
    let by_mark = service.key.address().is_none();
    // IPVS lists what the server never sees, and tells servers apart by it.
    let own_port = by_mark && (compat_ipvs || server.method == ForwardingMethod::Masq);
    if port != service_port && !own_port {
        if service_port == 0 {
            problems.add(
                &at,
                if by_mark {
                    format!("the method {} keeps the port of each connection, the server would never see {port}", server.method)
                } else {
                    format!("a server of a service on every port (0) cannot have the port {port}")
                },
                format!("write address = \"{ip}\": each connection keeps its port"),
            );
        } else if port == 0 {
            problems.add(
                &at,
                "port 0 is no server's port",
                format!("write the server's port, or address = \"{ip}\" for the service's, {service_port}"),
            );
        } else if server.method != ForwardingMethod::Masq {
            problems.add(
                &at,
                format!("the method {} keeps the port {service_port}, the server would never see {port}", server.method),
                format!("write address = \"{ip}\", or method = \"masq\", which can change the port"),
            );
        }
    }
    if server.weight > Weight::MAX {
        problems.add(
            format!("{path}.weight"),
            format!("the weight {} is too large", server.weight.0),
            format!("write a whole number from 0 to {}", Weight::MAX.0),
        );
    }
    if server.upper_threshold == 0 && server.lower_threshold > 0 {
        problems.add(
            format!("{path}.lower_threshold"),
            "`lower_threshold` without `upper_threshold` does nothing",
            "write upper_threshold too, or leave it out",
        );
    } else if server.lower_threshold > server.upper_threshold {
        problems.add(
            format!("{path}.lower_threshold"),
            format!(
                "the lower threshold {} is above the upper threshold {}",
                server.lower_threshold, server.upper_threshold
            ),
            format!(
                "write {} or less, or 0 for three quarters of it",
                server.upper_threshold
            ),
        );
    }
}

/// Whether the server is somewhere else than here, and can be reached.
pub(super) fn whereabouts(reach: &Reach<'_>, server: &Server, path: &str, problems: &mut Problems) {
    let at = format!("{path}.address");
    let ip = server.address.ip();
    if unusable(ip).is_some() {
        return;
    }
    if let Some(interface) = reach.own(ip) {
        problems.add(
            at,
            format!(
                "{ip} is the director's own address (on {:?})",
                interface.name
            ),
            "write the address of another machine: the director does not serve by itself",
        );
    } else if let Some(service) = reach.service_on(ip) {
        problems.add(
            at,
            format!("{ip} is the virtual address of service {service}"),
            "write the server's own address (the one it has beside the VIP), else packets would go in circles",
        );
    } else if server.method == ForwardingMethod::Route && !reach.neighbour(ip) {
        problems.add(
            at,
            format!("{ip} is not on a connected segment, and direct routing changes only the MAC"),
            format!(
                "use method = \"tunnel\" or \"masq\", or give an interface an address in its network (now: {})",
                reach.links(ip)
            ),
        );
    } else if !reach.reachable(ip) {
        problems.add(
            at,
            format!("no route leads to {ip}"),
            format!(
                "add a [[route]] or a gateway, or an interface in its network (now: {})",
                reach.links(ip)
            ),
        );
    }
}
