//! What is on which link, and what routes lead to.

use crate::{Config, ServiceKey, model::Interface};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use types::IpNet;

/// Where packets to an address go, looked up once for each of many servers.
pub(super) struct Reach<'c> {
    connected: Vec<(IpNet, Interface<'c>)>,
    /// Static routes and gateways: from the prefix to the next hop, if it has one.
    routes: BTreeMap<IpNet, Option<IpAddr>>,
    /// Prefix lengths of the routes, longest first.
    lengths: Vec<u8>,
    own: BTreeMap<IpAddr, Interface<'c>>,
    virtuals: BTreeMap<IpAddr, ServiceKey>,
}

impl<'c> Reach<'c> {
    pub fn new(config: &'c Config) -> Self {
        let connected: Vec<(IpNet, Interface<'c>)> = config
            .interfaces()
            .flat_map(|i| i.addresses.iter().map(move |net| (*net, i)))
            .collect();
        let routes: BTreeMap<IpNet, Option<IpAddr>> = config
            .all_routes()
            .into_iter()
            .map(|route| (route.to, route.via))
            .collect();
        let lengths: BTreeSet<u8> = routes.keys().map(IpNet::prefix).collect();
        Self {
            own: connected
                .iter()
                .map(|(net, interface)| (net.address(), *interface))
                .collect(),
            connected,
            routes,
            lengths: lengths.into_iter().rev().collect(),
            virtuals: config
                .services
                .iter()
                .filter_map(|service| Some((service.key.address()?.ip(), service.key)))
                .chain(config.mark_addresses())
                .collect(),
        }
    }

    /// The interface on whose link `address` is, by the longest prefix.
    pub fn on_link(&self, address: IpAddr) -> Option<Interface<'c>> {
        self.connected_to(address).map(|(_, interface)| *interface)
    }

    /// Whether packets to `address` have a way out.
    pub fn reachable(&self, address: IpAddr) -> bool {
        self.connected_to(address).is_some() || self.routed(address).is_some()
    }

    /// Whether `address` can be a next hop by itself: on a connected segment, or behind a route without gateway.
    pub fn neighbour(&self, address: IpAddr) -> bool {
        let connected = self.connected_to(address).map(|(net, _)| net.prefix());
        match (connected, self.routed(address)) {
            (Some(connected), Some((prefix, Some(_)))) => connected >= prefix,
            (Some(_), _) => true,
            (None, Some((_, via))) => via.is_none(),
            (None, None) => false,
        }
    }

    /// The networks on link of `address`'s family, for messages.
    pub fn links(&self, address: IpAddr) -> String {
        let nets: Vec<String> = self
            .connected
            .iter()
            .filter(|(net, _)| net.address().is_ipv4() == address.is_ipv4())
            .map(|(net, _)| net.network().to_string())
            .collect();
        if nets.is_empty() {
            "there is none of its family".to_owned()
        } else {
            nets.join(", ")
        }
    }

    /// Which interface has `address` as its own.
    pub fn own(&self, address: IpAddr) -> Option<Interface<'c>> {
        self.own.get(&address).copied()
    }

    /// A service of which `address` is the virtual address.
    pub fn service_on(&self, address: IpAddr) -> Option<ServiceKey> {
        self.virtuals.get(&address).copied()
    }

    fn connected_to(&self, address: IpAddr) -> Option<&(IpNet, Interface<'c>)> {
        self.connected
            .iter()
            .filter(|(net, _)| net.contains(address))
            .max_by_key(|(net, _)| net.prefix())
    }

    /// Length and next hop of the longest route that has `address`.
    fn routed(&self, address: IpAddr) -> Option<(u8, Option<IpAddr>)> {
        self.lengths.iter().find_map(|length| {
            let net = IpNet::new(address, *length).ok()?.network();
            self.routes.get(&net).map(|via| (*length, *via))
        })
    }
}
