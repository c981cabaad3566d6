//! Finds every mistake in the services and servers of a desired state.

use super::error::{ServiceError, ServiceName, not_a_host};
use crate::{
    model::{Desired, Server, Service, ServiceKey},
    net::{Local, Net},
};
use hashbrown::HashSet;
use std::net::{IpAddr, SocketAddr};
use types::{Family, ForwardingMethod, Mark, Protocol, Weight};

/// The virtual addresses of the services, each once.
pub(crate) fn vips(desired: &Desired) -> Vec<IpAddr> {
    let own = desired.interfaces.iter().flat_map(|i| &i.addresses);
    let mut seen: HashSet<IpAddr> = own.map(|net| net.address()).collect();
    seen.extend(&desired.vips);
    desired
        .services
        .iter()
        .filter_map(|service| match service.key {
            ServiceKey::Address { address, .. } => Some(address.ip()),
            ServiceKey::Mark { .. } => None,
        })
        .filter(|ip| seen.insert(*ip))
        .collect()
}

/// The server as IPVS sees it: without a way to change the port, it is the service's.
pub(crate) fn normalised(key: &ServiceKey, server: &Server) -> Server {
    let mut server = *server;
    if let ServiceKey::Address { address, .. } = key
        && (server.method != ForwardingMethod::Masq || server.address.port() == 0)
    {
        server.address.set_port(address.port());
    }
    server
}

/// Every mistake. `net`: `None` when the network part is wrong itself; what needs it is then not checked.
pub(crate) fn check(desired: &Desired, net: Option<&Net>) -> Vec<ServiceError> {
    let mut errors = Vec::new();
    let mut keys = HashSet::new();
    for service in &desired.services {
        let name = ServiceName(service.key);
        if !keys.insert(service.key) {
            errors.push(ServiceError::DuplicateService { service: name });
        }
        check_service(service, &mut errors);
        let mut addresses: HashSet<SocketAddr> = HashSet::new();
        for server in &service.servers {
            let server = normalised(&service.key, server);
            if !addresses.insert(server.address) {
                errors.push(ServiceError::DuplicateServer {
                    service: name,
                    server: server.address,
                });
            }
            check_server(
                service,
                &server,
                desired.settings.compat_ipvs,
                net,
                &mut errors,
            );
        }
    }
    errors
}

fn check_service(service: &Service, errors: &mut Vec<ServiceError>) {
    let name = ServiceName(service.key);
    match service.key {
        ServiceKey::Address { address, .. }
            if address.port() == 0 && service.persistence.is_none() =>
        {
            errors.push(ServiceError::PortZero { service: name });
        }
        ServiceKey::Mark { mark: Mark(0), .. } => errors.push(ServiceError::MarkZero),
        ServiceKey::Address { .. } | ServiceKey::Mark { .. } => {}
    }
    if let (true, ServiceKey::Address { protocol, .. }) = (service.one_packet, service.key)
        && protocol != Protocol::Udp
    {
        errors.push(ServiceError::OnePacket { service: name });
    }
    if service.persistence.is_some_and(|p| p.timeout_s == 0) {
        errors.push(ServiceError::PersistenceTimeout { service: name });
    }
}

fn check_server(
    service: &Service,
    server: &Server,
    compat_ipvs: bool,
    net: Option<&Net>,
    errors: &mut Vec<ServiceError>,
) {
    let name = ServiceName(service.key);
    let address = server.address;
    let local = net.and_then(|net| net.local(address.ip()));
    let what = not_a_host(address.ip()).or(match local {
        Some(Local::Broadcast) => Some("a broadcast address"),
        // IPVS delivers to the director itself ("local node"); here nobody would listen.
        Some(Local::Own(_) | Local::Vip) if !compat_ipvs => Some("one of the director's own"),
        _ => None,
    });
    if let Some(what) = what {
        errors.push(ServiceError::ServerAddress {
            service: name,
            server: address,
            what,
        });
    }
    let v4 = match service.key {
        ServiceKey::Address { address, .. } => address.is_ipv4(),
        ServiceKey::Mark { family, .. } => family == Family::Ipv4,
    };
    if v4 != address.is_ipv4() && server.method != ForwardingMethod::Tunnel {
        errors.push(ServiceError::Family {
            service: name,
            server: address,
            method: server.method,
        });
    } else if server.method == ForwardingMethod::Route
        && !compat_ipvs
        && what.is_none()
        && let Some(net) = net
        && net.connected(address.ip()).is_none()
    {
        errors.push(ServiceError::NotConnected {
            service: name,
            server: address,
            connected: segments(net, v4),
        });
    }
    if server.weight > Weight::MAX {
        errors.push(ServiceError::Weight {
            service: name,
            server: address,
            weight: server.weight.0,
        });
    }
    if server.upper_threshold != 0 && server.lower_threshold > server.upper_threshold {
        errors.push(ServiceError::Thresholds {
            service: name,
            server: address,
            lower: server.lower_threshold,
            upper: server.upper_threshold,
        });
    }
}

/// The connected segments of a family, for a message.
fn segments(net: &Net, v4: bool) -> String {
    let mut all = Vec::new();
    for interface in net.interfaces() {
        let name = &interface.name;
        if v4 {
            for (ip, len) in &interface.addresses4 {
                all.push(format!(
                    "{name}: {}/{len}",
                    std::net::Ipv4Addr::from_bits(*ip)
                ));
            }
        } else {
            for (ip, len) in &interface.addresses6 {
                all.push(format!(
                    "{name}: {}/{len}",
                    std::net::Ipv6Addr::from_bits(*ip)
                ));
            }
        }
    }
    if all.is_empty() {
        "there is none".to_owned()
    } else {
        all.join(", ")
    }
}
