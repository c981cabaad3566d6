//! Ports and VLANs against each other.

use super::{
    Problems,
    addresses::{is_link_local, overlap, unusable_in},
    device::{self, Device},
    repeated,
};
use crate::{Config, Port, model::Interface};
use std::net::IpAddr;
use types::{IpNet, MacAddr};

/// Least MTU of a link that carries IPv6 (RFC 8200, section 5).
const IPV6_MIN_MTU: u16 = 1280;

pub(super) fn check(config: &Config, interfaces_known: bool, problems: &mut Problems) {
    if config.ports.is_empty() {
        problems.add(
            "port",
            "there is no port",
            "write at least one [[port]] with name, device and addresses",
        );
    }
    names(config, problems);
    for (index, port) in config.ports.iter().enumerate() {
        each_port(config, index, port, problems);
    }
    devices(config, problems);
    taps(config, problems);
    vlans(config, problems);
    addresses(config, problems);
    // Of a gateway nothing can be said while an address is missing.
    for interface in config.interfaces().filter(|_| interfaces_known) {
        gateways(&interface, problems);
    }
}

fn path(interface: &Interface<'_>, key: &str) -> String {
    format!("{}[{}].{key}", interface.kind, interface.index)
}

fn names(config: &Config, problems: &mut Problems) {
    let interfaces: Vec<Interface<'_>> = config.interfaces().collect();
    for (again, _) in repeated(interfaces.iter().map(|i| i.name)) {
        if let Some(interface) = interfaces.get(again).filter(|i| !i.name.is_empty()) {
            problems.add(
                path(interface, "name"),
                format!("there is another interface named {:?}", interface.name),
                "give each [[port]] and [[vlan]] a name of its own",
            );
        }
    }
}

fn each_port(config: &Config, index: usize, port: &Port, problems: &mut Problems) {
    let at = |key: &str| format!("port[{index}].{key}");
    if !port.device.is_empty()
        && let Err((what, instead)) = device::read(&port.device)
    {
        problems.add(at("device"), what, instead);
    }
    let workers = config.director.cores.workers();
    if let Some(queues) = port.queues
        && usize::from(queues) > workers
        && workers > 0
    {
        problems.add(
            at("queues"),
            format!(
                "{queues} queues, but {workers} worker{} to serve them",
                if workers == 1 { "" } else { "s" }
            ),
            format!("write queues = {workers} or less, or more cores in [director]"),
        );
    }
    if let Some(mac) = port.mac
        && (mac.is_group() || mac == MacAddr::default())
    {
        let kind = if mac.is_group() {
            "a group address"
        } else {
            "no address"
        };
        problems.add(
            at("mac"),
            format!("{mac} is {kind}, which no port can have"),
            "write one whose first byte is even, like 02:00:00:00:00:01, or leave it out for the device's own",
        );
    }
    let has_ipv6 = |nets: &[IpNet]| nets.iter().any(|net| net.address().is_ipv6());
    let on_vlans = config
        .vlans
        .iter()
        .filter(|v| v.port == port.name)
        .any(|v| has_ipv6(&v.addresses));
    if port.mtu < IPV6_MIN_MTU && (has_ipv6(&port.addresses) || on_vlans) {
        problems.add(
            at("mtu"),
            format!(
                "an MTU of {} is too small for the port's IPv6 addresses",
                port.mtu
            ),
            format!("write mtu = {IPV6_MIN_MTU} or more, or take the IPv6 addresses away"),
        );
    }
}

fn devices(config: &Config, problems: &mut Problems) {
    let known: Vec<(usize, &Port, Device<'_>)> = config
        .ports
        .iter()
        .enumerate()
        .filter_map(|(index, port)| Some((index, port, device::read(&port.device).ok()?)))
        .collect();
    let identities: Vec<(usize, &Port, &String)> = known
        .iter()
        .filter_map(|(index, port, device)| Some((*index, *port, device.identity.as_ref()?)))
        .collect();
    let mut reported = Vec::new();
    for (again, first) in repeated(identities.iter().map(|(_, _, identity)| identity)) {
        let (Some((index, port, name)), Some((_, other, _))) =
            (identities.get(again), identities.get(first))
        else {
            continue;
        };
        reported.push(*index);
        let instead = if port.is_pci() {
            "give each port a device of its own".to_owned()
        } else {
            let driver = name.trim_end_matches(|c: char| c.is_ascii_digit());
            format!("number the virtual devices, like {driver}{index}, or leave the number out")
        };
        problems.add(
            format!("port[{index}].device"),
            format!("port {:?} already uses {name}", other.name),
            instead,
        );
    }
    let interfaces: Vec<(usize, &str, &Port)> = known
        .iter()
        .filter(|(index, ..)| !reported.contains(index))
        .filter_map(|(index, port, device)| Some((*index, device.interface?, *port)))
        .collect();
    for (again, first) in repeated(interfaces.iter().map(|(_, interface, _)| *interface)) {
        if let (Some((index, interface, _)), Some((_, _, other))) =
            (interfaces.get(again), interfaces.get(first))
        {
            problems.add(
                format!("port[{index}].device"),
                format!(
                    "port {:?} already uses the kernel interface {interface}",
                    other.name
                ),
                "give each port an interface of its own",
            );
        }
    }
}

fn taps(config: &Config, problems: &mut Problems) {
    let named: Vec<(usize, &Port, String)> = config
        .ports
        .iter()
        .enumerate()
        .filter(|(_, p)| !p.name.is_empty())
        .filter_map(|(index, p)| Some((index, p, p.tap()?)))
        .collect();
    for (index, port, tap) in &named {
        if tap.len() > 15 {
            problems.add(
                format!("port[{index}].name"),
                format!("the TAP for the host stack would be called {tap:?}, longer than the 15 characters an interface's name has"),
                "write a name for it, like host = \"tp0\", or host = false for none",
            );
        }
        if device::read(&port.device).is_ok_and(|d| d.interface == Some(tap)) {
            problems.add(
                format!("port[{index}].host"),
                format!("{tap:?} is the kernel interface of the port itself"),
                "write another name for the TAP, like host = \"tp0\"",
            );
        }
    }
    for (again, first) in repeated(named.iter().map(|(_, _, tap)| tap)) {
        if let (Some((index, port, tap)), Some((_, other, _))) =
            (named.get(again), named.get(first))
            // Two ports of one name are another mistake.
            && port.name != other.name
        {
            problems.add(
                format!("port[{index}].host"),
                format!("port {:?} already has the TAP {tap:?}", other.name),
                "write another name for this one",
            );
        }
    }
}

fn vlans(config: &Config, problems: &mut Problems) {
    for (index, vlan) in config.vlans.iter().enumerate() {
        if !config.ports.iter().any(|p| p.name == vlan.port) {
            let ports: Vec<&str> = config
                .ports
                .iter()
                .map(|p| p.name.as_str())
                .filter(|n| !n.is_empty())
                .collect();
            problems.add(
                format!("vlan[{index}].port"),
                format!("there is no port {:?}", vlan.port),
                if ports.is_empty() {
                    "write a [[port]] of this name".to_owned()
                } else {
                    format!("write one of: {}", ports.join(", "))
                },
            );
        }
    }
    for (again, first) in repeated(config.vlans.iter().map(|v| (&v.port, v.id))) {
        if let (Some(vlan), Some(other)) = (config.vlans.get(again), config.vlans.get(first)) {
            problems.add(
                format!("vlan[{again}].id"),
                format!(
                    "VLAN {} of port {:?} is already {:?}",
                    vlan.id.get(),
                    vlan.port,
                    other.name
                ),
                "write another id, or put the addresses into that one",
            );
        }
    }
}

fn addresses(config: &Config, problems: &mut Problems) {
    let all: Vec<(Interface<'_>, usize, IpNet)> = config
        .interfaces()
        .flat_map(|i| {
            i.addresses
                .iter()
                .enumerate()
                .map(move |(n, net)| (i, n, *net))
        })
        .collect();
    for (position, (interface, n, net)) in all.iter().enumerate() {
        let at = path(interface, &format!("addresses[{n}]"));
        if let Some(why) = unusable_in(*net) {
            problems.add(
                at,
                format!(
                    "{net} cannot be an interface's address: {} {why}",
                    net.address()
                ),
                "write the address this interface has in its network",
            );
            continue;
        }
        if net.prefix() == 0 {
            problems.add(
                at,
                format!("{net} puts the whole address space on this link"),
                "write the prefix length of the link's network, and a gateway for the rest",
            );
            continue;
        }
        let before = all.get(..position).unwrap_or_default();
        if let Some((other, ..)) = before.iter().find(|(_, _, o)| o.address() == net.address()) {
            problems.add(
                at,
                format!(
                    "{} is already an address of {:?}",
                    net.address(),
                    other.name
                ),
                "give each interface addresses of its own",
            );
            continue;
        }
        let elsewhere = before.iter().find(|(other, _, o)| {
            other.name != interface.name && overlap(*o, *net) && !is_link_local(net.address())
        });
        if let Some((other, _, o)) = elsewhere {
            problems.add(
                at,
                format!(
                    "{net} overlaps with {o} of {:?}: a neighbour could be on either",
                    other.name
                ),
                "give each interface a network of its own, or put both addresses on one",
            );
        }
    }
}

fn gateways(interface: &Interface<'_>, problems: &mut Problems) {
    let v4 = interface.gateway.map(|g| ("gateway", IpAddr::V4(g)));
    let v6 = interface.gateway6.map(|g| ("gateway6", IpAddr::V6(g)));
    for (key, gateway) in v4.into_iter().chain(v6) {
        let at = path(interface, key);
        if interface
            .addresses
            .iter()
            .any(|net| net.address() == gateway)
        {
            problems.add(
                at,
                format!("{gateway} is the interface's own address"),
                "write the address of the router that leads on",
            );
            continue;
        }
        let on_link =
            interface.addresses.iter().any(|net| net.contains(gateway)) || is_link_local(gateway);
        if !on_link {
            let own: Vec<String> = interface
                .addresses
                .iter()
                .filter(|net| net.address().is_ipv4() == gateway.is_ipv4())
                .map(|net| net.network().to_string())
                .collect();
            let (what, instead) = if own.is_empty() {
                (
                    format!(
                        "{gateway} cannot be reached: {:?} has no address of that family",
                        interface.name
                    ),
                    "add an address in the gateway's network to `addresses`".to_owned(),
                )
            } else {
                (
                    format!("{gateway} is not on the link of {:?}", interface.name),
                    format!("write a router's address in {}", own.join(" or ")),
                )
            };
            problems.add(at, what, instead);
        }
    }
}
