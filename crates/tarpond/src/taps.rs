//! The TAP of each port: created, given the port's MAC, addresses and routes, and kept in step with the configuration.
//!
//! Never a VIP: the host would answer for it.

use crate::detour;
use anyhow::{Context as _, Result};
use config::{Config, Port};
use host::{Netlink, Tap, set_interface_sysctl};
use std::{collections::BTreeSet, net::IpAddr};
use types::{IpNet, MacAddr};

/// Metric of routes through a TAP: worse than any the host has of its own, so that a management network's default route
/// stays in force.
const METRIC: u32 = 20_000;

/// A route of the host through a TAP.
type HostRoute = (IpNet, Option<IpAddr>);

/// The host's side of one TAP.
struct Interface {
    port: usize,
    name: String,
    index: u32,
    addresses: BTreeSet<IpNet>,
    routes: BTreeSet<HostRoute>,
}

/// All TAPs' host sides.
pub struct Taps {
    netlink: Netlink,
    interfaces: Vec<Interface>,
}

impl Taps {
    /// Creates the TAPs of `config` and sets them up; `macs` by port. The devices vanish when the second value is dropped.
    ///
    /// # Errors
    /// What cannot be created or set up.
    pub fn create(config: &Config, macs: &[MacAddr]) -> Result<(Self, Vec<(usize, Tap)>)> {
        let mut taps = Self {
            netlink: Netlink::open().context("cannot talk to the kernel's rtnetlink")?,
            interfaces: Vec::new(),
        };
        let mut devices = Vec::new();
        for (number, (port, mac)) in config.ports.iter().zip(macs).enumerate() {
            let Some(name) = port.tap() else {
                continue;
            };
            let what = || format!("port `{}`, the TAP `{name}` towards the host", port.name);
            let device = Tap::create(&name).with_context(what)?;
            taps.set_up(number, port, &name, *mac).with_context(what)?;
            devices.push((number, device));
        }
        taps.follow(config)?;
        Ok((taps, devices))
    }

    /// Makes the TAPs' addresses and routes those of `config`.
    ///
    /// # Errors
    /// The first thing the kernel refuses; what was done before stays, and calling again goes on from there.
    pub fn follow(&mut self, config: &Config) -> Result<()> {
        let all_routes = config.all_routes();
        let ranges = detour::ranges(config);
        for interface in &mut self.interfaces {
            let Some(port) = config.ports.get(interface.port) else {
                continue;
            };
            let addresses: BTreeSet<IpNet> = port.addresses.iter().copied().collect();
            let routes: BTreeSet<HostRoute> = all_routes
                .iter()
                .filter(|route| leaves_by(route, port))
                .map(|route| (route.to, route.via))
                .collect();
            interface
                .follow(&mut self.netlink, addresses, routes)
                .with_context(|| format!("the TAP `{}`", interface.name))?;
            for (number, ipv6) in &ranges {
                if usize::from(*number) == interface.port {
                    let (net, gateway) = detour::range(*number, *ipv6);
                    let station = (gateway, detour::GATEWAY_MAC);
                    self.netlink
                        .add_route_to_station(interface.index, net, station, METRIC)
                        .with_context(|| format!("the TAP `{}`", interface.name))?;
                }
            }
        }
        Ok(())
    }

    /// The TAP of a port.
    #[must_use]
    pub fn name(&self, port: usize) -> Option<&str> {
        self.interfaces
            .iter()
            .find(|i| i.port == port)
            .map(|i| i.name.as_str())
    }

    fn set_up(&mut self, number: usize, port: &Port, name: &str, mac: MacAddr) -> Result<()> {
        let link = self
            .netlink
            .link(name)?
            .context("it vanished as soon as it was created")?;
        self.netlink.set_link(link.index, mac, port.mtu)?;
        let settings = [
            // A director is a router: it takes no routes from others' advertisements, and whoever runs the network has
            // seen to it that the addresses are its own.
            ("ipv6", "accept_ra", "0"),
            ("ipv6", "accept_dad", "0"),
            // The link-local address the engine answers for is made from the MAC; so must be the host's.
            ("ipv6", "addr_gen_mode", "0"),
            // Answers may come in by another way than the host's own routes would choose.
            ("ipv4", "rp_filter", "2"),
            ("ipv4", "arp_announce", "2"),
        ];
        for (family, key, value) in settings {
            set_interface_sysctl(family, name, key, value)
                .with_context(|| format!("setting net.{family}.conf.{name}.{key} = {value}"))?;
        }
        self.netlink.set_up(link.index)?;
        self.interfaces.push(Interface {
            port: number,
            name: name.to_owned(),
            index: link.index,
            addresses: BTreeSet::new(),
            routes: BTreeSet::new(),
        });
        Ok(())
    }
}

impl Interface {
    fn follow(
        &mut self,
        netlink: &mut Netlink,
        addresses: BTreeSet<IpNet>,
        routes: BTreeSet<HostRoute>,
    ) -> Result<()> {
        let gone: Vec<HostRoute> = self.routes.difference(&routes).copied().collect();
        for (to, via) in gone {
            // With its gateway's segment the kernel may have removed it already.
            let _ = netlink.remove_route(self.index, to, via, METRIC);
            self.routes.remove(&(to, via));
        }
        let gone: Vec<IpNet> = self.addresses.difference(&addresses).copied().collect();
        let any_gone = !gone.is_empty();
        for address in gone {
            netlink.remove_address(self.index, address)?;
            self.addresses.remove(&address);
        }
        // Without an address of its own the port stays silent in that family: no solicitations, no listener reports.
        let silent = if addresses.iter().any(|net| net.address().is_ipv6()) {
            "0"
        } else {
            "1"
        };
        set_interface_sysctl("ipv6", &self.name, "disable_ipv6", silent)
            .context("turning IPv6 on or off")?;
        for address in addresses {
            if self.addresses.insert(address) {
                netlink.add_address(self.index, address)?;
            }
        }
        // Removing an address may have taken routes with it: set them all again then.
        for (to, via) in routes {
            if self.routes.insert((to, via)) || any_gone {
                netlink.add_route(self.index, to, via, METRIC)?;
            }
        }
        Ok(())
    }
}

/// Whether the host should send what `route` covers out of `port`'s TAP.
fn leaves_by(route: &config::Route, port: &Port) -> bool {
    match (&route.interface, route.via) {
        (Some(interface), _) => *interface == port.name,
        (None, Some(via)) => port.addresses.iter().any(|net| net.contains(via)),
        (None, None) => false,
    }
}
