//! From the desired interfaces, addresses and routes to [`Net`]: every mistake is found, not only the first.

use super::{
    AddressTable, FILTER_WORDS, Hop, InterfaceNet, Local, Net, NextHop, PortNet, addresses,
    filter_position, is_link_local,
};
use crate::{
    ModelError,
    fib::{Fib, Prefix},
    model::{Desired, Interface, Route},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use types::{InterfaceId, IpNet};
use wire::nd;

impl Net {
    /// Compiles what `desired` says about interfaces and routes. `vips`: the services' addresses; those of
    /// `desired.vips` are added.
    ///
    /// # Errors
    /// Every mistake there is.
    pub fn compile(desired: &Desired, vips: &[IpAddr]) -> Result<Self, Vec<ModelError>> {
        let mut errors = Vec::new();
        let interfaces: Box<[InterfaceNet]> = desired
            .interfaces
            .iter()
            .zip(0..)
            .map(|(interface, id)| interface_net(interface, InterfaceId(id), &mut errors))
            .collect();
        let ports = ports(desired, &interfaces, &mut errors);
        let (local4, local6) = local(desired, &interfaces, vips, &mut errors);
        let mut vip_filter = [0; FILTER_WORDS];
        for vip in vips.iter().chain(&desired.vips) {
            let hash = match vip {
                IpAddr::V4(ip) => addresses::hash4(ip.to_bits()),
                IpAddr::V6(ip) => addresses::hash6(ip.to_bits()),
            };
            let (word, bit) = filter_position(hash);
            if let Some(word) = vip_filter.get_mut(word) {
                *word |= bit;
            }
        }
        let mut routes = Routes::connected(&interfaces);
        for route in &desired.routes {
            if let Err(error) = routes.add(route, &interfaces) {
                errors.push(error);
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            fib4: Fib::new(routes.prefixes4),
            fib6: Fib::new(routes.prefixes6),
            hops: routes.hops.into(),
            defaults: routes.defaults.into(),
            interfaces,
            ports,
            local4: AddressTable::new(&local4),
            local6: AddressTable::new(&local6),
            vip_filter,
        })
    }
}

fn interface_net(
    interface: &Interface,
    id: InterfaceId,
    errors: &mut Vec<ModelError>,
) -> InterfaceNet {
    if interface.mac.is_group() || interface.mac.0 == [0; 6] {
        errors.push(ModelError::InterfaceMac {
            interface: interface.name.clone(),
            mac: interface.mac,
        });
    }
    let mut addresses4 = Vec::new();
    let mut addresses6 = Vec::new();
    for net in &interface.addresses {
        if let Some(what) = unfit(*net) {
            errors.push(ModelError::InterfaceAddress {
                interface: interface.name.clone(),
                address: *net,
                what,
            });
        }
        match net.address() {
            IpAddr::V4(ip) => addresses4.push((ip.to_bits(), net.prefix())),
            IpAddr::V6(ip) => addresses6.push((ip.to_bits(), net.prefix())),
        }
    }
    let (family, minimum) = if addresses6.is_empty() {
        ("IPv4", 68)
    } else {
        ("IPv6", 1280)
    };
    if interface.mtu < minimum {
        errors.push(ModelError::Mtu {
            interface: interface.name.clone(),
            mtu: interface.mtu,
            family,
            minimum,
        });
    }
    InterfaceNet {
        id,
        name: interface.name.clone(),
        port: interface.port,
        vlan: interface.vlan,
        mac: interface.mac,
        mtu: interface.mtu,
        host: interface.host,
        offloads: interface.offloads,
        link_local: nd::link_local(interface.mac.0),
        addresses4: addresses4.into(),
        addresses6: addresses6.into(),
    }
}

/// What an address is instead of one an interface can have.
fn unfit(net: IpNet) -> Option<&'static str> {
    let group = no_station(net.address());
    if group.is_some() {
        return group;
    }
    let (IpAddr::V4(ip), 0..=30) = (net.address(), net.prefix()) else {
        return None;
    };
    let host = u32::MAX >> net.prefix();
    match ip.to_bits() & host {
        0 => Some("the network's own address"),
        part if part == host => Some("the network's broadcast address"),
        _ => None,
    }
}

/// What an address is instead of one a station can have.
fn no_station(ip: IpAddr) -> Option<&'static str> {
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    match ip {
        _ if ip.is_unspecified() => Some("the unspecified address"),
        _ if ip.is_loopback() => Some("a loopback address"),
        _ if ip.is_multicast() => Some("a multicast address"),
        _ if broadcast => Some("the broadcast address"),
        _ => None,
    }
}

fn ports(
    desired: &Desired,
    interfaces: &[InterfaceNet],
    errors: &mut Vec<ModelError>,
) -> Box<[PortNet]> {
    let count = interfaces.iter().map(|i| i.port.index() + 1).max();
    let mut first: BTreeMap<_, &Interface> = BTreeMap::new();
    for interface in &desired.interfaces {
        let earlier = desired.interfaces.iter().find(|other| {
            std::ptr::eq(*other, interface)
                || (other.port, other.vlan) == (interface.port, interface.vlan)
        });
        if let Some(earlier) = earlier.filter(|e| !std::ptr::eq(*e, interface)) {
            errors.push(ModelError::DuplicateInterface {
                first: earlier.name.clone(),
                second: interface.name.clone(),
                port: interface.port,
            });
        }
        let port = first.entry(interface.port).or_insert(interface);
        if port.mac != interface.mac {
            errors.push(ModelError::PortMac {
                first: port.name.clone(),
                second: interface.name.clone(),
            });
        }
    }
    (0..count.unwrap_or(0))
        .map(|port| {
            let of_port = || interfaces.iter().filter(move |i| i.port.index() == port);
            PortNet {
                mac: of_port().next().map_or_else(Default::default, |i| i.mac),
                host: of_port().any(|i| i.host),
                untagged: of_port().find(|i| i.vlan.is_none()).map(|i| i.id),
                tagged: of_port()
                    .filter_map(|i| Some((i.vlan?.get(), i.id)))
                    .collect(),
            }
        })
        .collect()
}

type Entries = (Vec<(u32, Local)>, Vec<(u128, Local)>);

/// Everything that is ours. Own addresses first: one that carries a service too is still the host's.
fn local(
    desired: &Desired,
    interfaces: &[InterfaceNet],
    vips: &[IpAddr],
    errors: &mut Vec<ModelError>,
) -> Entries {
    let mut own: BTreeMap<IpAddr, &InterfaceNet> = BTreeMap::new();
    let (mut v4, mut v6): Entries = (Vec::new(), Vec::new());
    for interface in interfaces {
        let local = Local::Own(interface.id);
        let addresses4 = interface.addresses4.iter().map(|(ip, _)| (*ip, local));
        let addresses6 = interface.addresses6.iter().map(|(ip, _)| (*ip, local));
        let all = (addresses4
            .clone()
            .map(|(ip, _)| Ipv4Addr::from_bits(ip).into()))
        .chain(
            addresses6
                .clone()
                .map(|(ip, _)| Ipv6Addr::from_bits(ip).into()),
        );
        for address in all {
            if let Some(first) = own.insert(address, interface) {
                errors.push(ModelError::DuplicateAddress {
                    address,
                    first: first.name.clone(),
                    second: interface.name.clone(),
                });
            }
        }
        v4.extend(addresses4);
        v6.extend(addresses6);
        v6.push((interface.link_local, local));
    }
    for &vip in vips.iter().chain(&desired.vips) {
        let what = match vip {
            IpAddr::V6(ip) if is_link_local(ip.to_bits()) => Some("a link-local address"),
            _ => no_station(vip),
        };
        if let Some(what) = what {
            errors.push(ModelError::Vip { address: vip, what });
        }
        match vip {
            IpAddr::V4(ip) => v4.push((ip.to_bits(), Local::Vip)),
            IpAddr::V6(ip) => v6.push((ip.to_bits(), Local::Vip)),
        }
    }
    v4.push((u32::MAX, Local::Broadcast));
    for interface in interfaces {
        for &(ip, len) in interface.addresses4.iter().filter(|(_, len)| *len <= 30) {
            v4.push((ip | (u32::MAX >> len), Local::Broadcast));
        }
    }
    (v4, v6)
}

/// The routes as they are collected.
struct Routes {
    prefixes4: Vec<Prefix<u32>>,
    prefixes6: Vec<Prefix<u128>>,
    hops: Vec<Hop>,
    defaults: Vec<[Option<NextHop>; 2]>,
    seen: BTreeMap<IpNet, Vec<(InterfaceId, String)>>,
}

impl Routes {
    /// Those that follow from the interfaces' addresses. One prefix on two interfaces is allowed, as the first has it.
    fn connected(interfaces: &[InterfaceNet]) -> Self {
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
        let value = u32::try_from(self.hops.len()).unwrap_or(u32::MAX);
        self.hops.push(hop);
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

    fn add(&mut self, route: &Route, interfaces: &[InterfaceNet]) -> Result<(), ModelError> {
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
