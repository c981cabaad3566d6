//! Ports and VLANs against each other.

use super::{
    Problems,
    addresses::{is_link_local, overlap, unusable_in},
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
        && let Some((what, instead)) = wrong_device(&port.device)
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

/// `0000:03:00.0`, or `03:00.0` in domain 0.
pub(crate) fn is_pci_address(device: &str) -> bool {
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let Some((bus_and_device, function)) = device.rsplit_once('.') else {
        return false;
    };
    let parts: Vec<&str> = bus_and_device.split(':').collect();
    let place = match parts.as_slice() {
        [domain, bus, slot] => hex(domain, 4) && hex(bus, 2) && hex(slot, 2),
        [bus, slot] => hex(bus, 2) && hex(slot, 2),
        _ => false,
    };
    place && function.len() == 1 && function.bytes().all(|b| (b'0'..=b'7').contains(&b))
}

/// Drivers of virtual devices have these prefixes in DPDK.
fn is_vdev(device: &str) -> bool {
    let driver = device.split(',').next().unwrap_or_default();
    ["net_", "eth_", "virtio_user"]
        .iter()
        .any(|prefix| driver.starts_with(prefix) && driver.len() > prefix.len())
        || driver.starts_with("virtio_user")
}

fn wrong_device(device: &str) -> Option<(String, String)> {
    if is_pci_address(device) {
        return None;
    }
    let drivers_with_interface = ["net_af_packet", "net_af_xdp", "net_tap"];
    if is_vdev(device) {
        let needs_interface = drivers_with_interface
            .iter()
            .take(2)
            .any(|d| device.starts_with(d));
        return (needs_interface && argument(device, "iface").is_none()).then(|| {
            (
                format!("{device:?} does not say which kernel interface to use"),
                format!("write device = \"{device},iface=eth1\", with your interface's name"),
            )
        });
    }
    let kernel_name = !device.is_empty()
        && device.len() <= 15
        && device
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@'));
    let instead = if kernel_name && !device.contains('.') {
        format!(
            "if {device} is a kernel interface, write device = \"net_af_packet0,iface={device}\", or the NIC's PCI address"
        )
    } else {
        "write a PCI address, like \"0000:03:00.0\" (see dpdk-devbind.py --status), or a virtual device, like \"net_af_packet0,iface=eth1\""
            .to_owned()
    };
    Some((format!("{device:?} is no device that DPDK knows"), instead))
}

/// The value of `name=` among a device's arguments.
fn argument<'d>(device: &'d str, name: &str) -> Option<&'d str> {
    device
        .split(',')
        .skip(1)
        .filter_map(|part| part.trim().split_once('='))
        .find(|(key, value)| *key == name && !value.is_empty())
        .map(|(_, value)| value)
}

fn devices(config: &Config, problems: &mut Problems) {
    let device = |port: &Port| {
        let first = port
            .device
            .split(',')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if port.is_pci() && first.matches(':').count() == 1 {
            format!("0000:{first}")
        } else {
            first
        }
    };
    let known: Vec<(usize, &Port)> = config
        .ports
        .iter()
        .enumerate()
        .filter(|(_, p)| !p.device.is_empty())
        .collect();
    let mut reported = Vec::new();
    for (again, first) in repeated(known.iter().map(|(_, p)| device(p))) {
        let (Some((index, port)), Some((_, other))) = (known.get(again), known.get(first)) else {
            continue;
        };
        reported.push(*index);
        let name = device(port);
        let instead = if port.is_pci() {
            "give each port a device of its own".to_owned()
        } else {
            format!(
                "number the virtual devices, like {}{index}",
                name.trim_end_matches(|c: char| c.is_ascii_digit())
            )
        };
        problems.add(
            format!("port[{index}].device"),
            format!("port {:?} already uses {name}", other.name),
            instead,
        );
    }
    let with_interface: Vec<(usize, &Port, &str)> = known
        .iter()
        .filter_map(|(index, p)| Some((*index, *p, argument(&p.device, "iface")?)))
        .filter(|(index, ..)| !reported.contains(index))
        .collect();
    for (again, first) in repeated(with_interface.iter().map(|(_, _, iface)| *iface)) {
        if let (Some((index, _, iface)), Some((_, other, _))) =
            (with_interface.get(again), with_interface.get(first))
        {
            problems.add(
                format!("port[{index}].device"),
                format!(
                    "port {:?} already uses the kernel interface {iface}",
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
        if argument(&port.device, "iface") == Some(tap.as_str()) {
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
