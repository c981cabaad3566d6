//! From the desired interfaces, addresses and routes to [`Net`]: every mistake is found, not only the first.

use super::{
    AddressTable, FILTER_WORDS, InterfaceNet, Local, Net, PortNet, addresses, filter_position,
    is_link_local, routes::Routes,
};
use crate::{
    ModelError,
    fib::Fib,
    model::{Desired, Interface},
};
use flowtable::{Family as _, V4, V6};
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
                IpAddr::V4(ip) => addresses::hash4(V4::words(ip.to_bits())),
                IpAddr::V6(ip) => addresses::hash6(V6::words(ip.to_bits())),
            };
            let (word, bit) = filter_position(hash);
            if let Some(word) = vip_filter.get_mut(word) {
                *word |= 1 << bit;
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
            exits: Box::default(),
            one_default: (0..2).all(|family| {
                let of = |defaults: &[_; 2]| defaults.get(family).is_some_and(Option::is_some);
                routes
                    .defaults
                    .iter()
                    .filter(|defaults| of(defaults))
                    .count()
                    < 2
            }),
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
        rp_filter: interface.rp_filter,
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
pub(super) fn no_station(ip: IpAddr) -> Option<&'static str> {
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
