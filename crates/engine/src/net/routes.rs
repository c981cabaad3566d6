//! Routes as they are collected from addresses and configuration, and what can be wrong with one.

use super::{Hop, InterfaceNet, NextHop, compile::no_station, is_link_local};
use crate::{ModelError, fib::Prefix, model::Route};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use types::{InterfaceId, IpNet};

/// The place of a hop there is not.
const NOWHERE: u32 = u32::MAX;

/// The routes as they are collected.
pub(super) struct Routes {
    pub prefixes4: Vec<Prefix<u32>>,
    pub prefixes6: Vec<Prefix<u128>>,
    pub hops: Vec<Hop>,
    pub defaults: Vec<[Option<NextHop>; 2]>,
    seen: BTreeMap<IpNet, Vec<(InterfaceId, String)>>,
}

impl Routes {
    /// Those that follow from the interfaces' addresses. One prefix on two interfaces is allowed, as the first has it.
    pub fn connected(interfaces: &[InterfaceNet]) -> Self {
        let mut routes = Self {
            prefixes4: Vec::new(),
            prefixes6: Vec::new(),
            hops: Vec::new(),
            defaults: vec![[None; 2]; interfaces.len()],
            seen: BTreeMap::new(),
        };
        for interface in interfaces {
            let hop = Hop {
                interface: interface.id,
                gateway: None,
            };
            let four = interface.addresses4.iter();
            let six = interface.addresses6.iter();
            let nets = four
                .map(|&(ip, len)| (IpAddr::V4(Ipv4Addr::from_bits(ip)), len))
                .chain(six.map(|&(ip, len)| (IpAddr::V6(Ipv6Addr::from_bits(ip)), len)));
            for (ip, len) in nets {
                let Ok(net) = IpNet::new(ip, len) else {
                    continue;
                };
                let seen = routes.seen.entry(net.network()).or_default();
                let new = seen.is_empty();
                seen.push((interface.id, format!("connected to `{}`", interface.name)));
                if new {
                    routes.put(net, hop);
                }
            }
        }
        routes
    }

    fn put(&mut self, to: IpNet, hop: Hop) {
        let value = u32::try_from(self.hops.len()).unwrap_or(NOWHERE);
        self.hops.push(hop);
        self.put_value(to, value);
    }

    fn put_value(&mut self, to: IpNet, value: u32) {
        match to.address() {
            IpAddr::V4(ip) => self.prefixes4.push(Prefix {
                address: ip.to_bits(),
                len: to.prefix(),
                value,
            }),
            IpAddr::V6(ip) => self.prefixes6.push(Prefix {
                address: ip.to_bits(),
                len: to.prefix(),
                value,
            }),
        }
    }

    fn add_unreachable(&mut self, to: IpNet) -> Result<(), ModelError> {
        let seen = self.seen.entry(to.network()).or_default();
        if let Some((_, earlier)) = seen.first() {
            return Err(ModelError::DuplicateRoute {
                to: to.network(),
                first: earlier.clone(),
                second: "unreachable".to_owned(),
            });
        }
        seen.push((InterfaceId(u16::MAX), "unreachable".to_owned()));
        self.put_value(to, NOWHERE);
        Ok(())
    }

    pub fn add(&mut self, route: &Route, interfaces: &[InterfaceNet]) -> Result<(), ModelError> {
        let to = route.to;
        if let Some(id) = route.interface
            && interfaces.get(id.index()).is_none()
        {
            return Err(ModelError::RouteInterface {
                to,
                interface: id,
                interfaces: interfaces.len(),
            });
        }
        let what = match to.address() {
            _ if to.prefix() == 0 => None,
            IpAddr::V6(ip) if is_link_local(ip.to_bits()) => Some("link-local"),
            ip if ip.is_multicast() => Some("multicast"),
            ip if ip.is_loopback() => Some("loopback"),
            _ => None,
        };
        if let Some(what) = what {
            return Err(ModelError::RouteDestination { to, what });
        }
        if route.unreachable {
            return self.add_unreachable(to);
        }
        let interface = match (route.via, route.interface) {
            (None, None) => return Err(ModelError::RouteNowhere { to }),
            (None, Some(id)) => id,
            (Some(via), named) => gateway_interface(to, via, named, interfaces)?,
        };
        let name = interfaces.get(interface.index()).map_or("", |i| &i.name);
        let how = match route.via {
            Some(via) => format!("via {via} on `{name}`"),
            None => format!("on link at `{name}`"),
        };
        let seen = self.seen.entry(to.network()).or_default();
        // A default route of each interface: the first is the director's, the others serve what came in there.
        let first = seen.is_empty();
        let earlier = seen
            .iter()
            .find(|(id, _)| to.prefix() != 0 || *id == interface);
        if let Some((_, earlier)) = earlier {
            return Err(ModelError::DuplicateRoute {
                to: to.network(),
                first: earlier.clone(),
                second: how,
            });
        }
        seen.push((interface, how));
        if first {
            self.put(
                to,
                Hop {
                    interface,
                    gateway: route.via,
                },
            );
        }
        if let (0, Some(gateway)) = (to.prefix(), route.via)
            && let Some(defaults) = self.defaults.get_mut(interface.index())
            && let Some(own) = defaults.get_mut(usize::from(gateway.is_ipv6()))
        {
            *own = Some(NextHop { interface, gateway });
            if !first {
                // Not in the table of prefixes, but its gateway must be resolved all the same.
                self.hops.push(Hop {
                    interface,
                    gateway: Some(gateway),
                });
            }
        }
        Ok(())
    }
}

fn gateway_interface(
    to: IpNet,
    via: IpAddr,
    named: Option<InterfaceId>,
    interfaces: &[InterfaceNet],
) -> Result<InterfaceId, ModelError> {
    if via.is_ipv4() != to.address().is_ipv4() {
        return Err(ModelError::RouteFamily { to, via });
    }
    let own = |i: &InterfaceNet| match via {
        IpAddr::V4(ip) => i.addresses4.iter().any(|(own, _)| *own == ip.to_bits()),
        IpAddr::V6(ip) => {
            i.link_local == ip.to_bits() || i.addresses6.iter().any(|(own, _)| *own == ip.to_bits())
        }
    };
    if interfaces.iter().any(own) {
        return Err(ModelError::GatewayIsOwn { to, via });
    }
    let not_connected = || ModelError::GatewayNotConnected {
        to,
        via,
        connected: connected_segments(via.is_ipv4(), interfaces),
    };
    // A link-local gateway is on every link: it needs the interface's name, or there to be only one.
    let ambiguous = matches!(via, IpAddr::V6(ip) if is_link_local(ip.to_bits()))
        && named.is_none()
        && interfaces.len() > 1;
    let reaches = interfaces
        .iter()
        .find(|i| named.is_none_or(|id| id == i.id) && i.on_link(via));
    match reaches {
        Some(interface) if !ambiguous && no_station(via).is_none() => Ok(interface.id),
        _ => Err(not_connected()),
    }
}

fn connected_segments(v4: bool, interfaces: &[InterfaceNet]) -> String {
    let mut segments = Vec::new();
    for interface in interfaces {
        let nets: Vec<_> = if v4 {
            let addresses = interface.addresses4.iter();
            addresses
                .map(|&(ip, len)| IpNet::new(Ipv4Addr::from_bits(ip).into(), len))
                .collect()
        } else {
            let addresses = interface.addresses6.iter();
            addresses
                .map(|&(ip, len)| IpNet::new(Ipv6Addr::from_bits(ip).into(), len))
                .collect()
        };
        for net in nets.into_iter().flatten() {
            segments.push(format!("{} on `{}`", net.network(), interface.name));
        }
    }
    if segments.is_empty() {
        "there is none".to_owned()
    } else {
        segments.join(", ")
    }
}
