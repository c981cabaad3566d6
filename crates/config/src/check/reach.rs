//! What is on which link, and what routes lead to.

use crate::{Config, model::Interface};
use std::net::IpAddr;

/// The interface on whose link `address` is, by the longest prefix.
pub(super) fn on_link(config: &Config, address: IpAddr) -> Option<Interface<'_>> {
    config
        .interfaces()
        .flat_map(|i| i.addresses.iter().map(move |net| (i, net)))
        .filter(|(_, net)| net.contains(address))
        .max_by_key(|(_, net)| net.prefix())
        .map(|(interface, _)| interface)
}

/// The longest prefix of a static route or gateway that has `address`, as its gateway or "on link" ones.
pub(super) fn longest_static(config: &Config, address: IpAddr) -> Option<crate::Route> {
    config
        .all_routes()
        .into_iter()
        .filter(|route| route.to.contains(address))
        .max_by_key(|route| route.to.prefix())
}

/// Whether packets to `address` have a way out.
pub(super) fn reachable(config: &Config, address: IpAddr) -> bool {
    on_link(config, address).is_some() || longest_static(config, address).is_some()
}

/// Whether `address` can be a next hop by itself: on a connected segment, or behind a route without gateway.
pub(super) fn neighbour(config: &Config, address: IpAddr) -> bool {
    let connected = config
        .interfaces()
        .flat_map(|i| i.addresses.iter())
        .filter(|net| net.contains(address))
        .map(|net| net.prefix())
        .max();
    let routed = longest_static(config, address).map(|route| (route.to.prefix(), route.via));
    match (connected, routed) {
        (Some(connected), Some((prefix, Some(_)))) => connected >= prefix,
        (Some(_), _) => true,
        (None, Some((_, via))) => via.is_none(),
        (None, None) => false,
    }
}

/// The networks on link of `address`'s family, for messages.
pub(super) fn links(config: &Config, address: IpAddr) -> String {
    let nets: Vec<String> = config
        .interfaces()
        .flat_map(|i| i.addresses.iter())
        .filter(|net| net.address().is_ipv4() == address.is_ipv4())
        .map(|net| net.network().to_string())
        .collect();
    if nets.is_empty() {
        "there is none of its family".to_owned()
    } else {
        nets.join(", ")
    }
}

/// Which interface has `address` as its own.
pub(super) fn own(config: &Config, address: IpAddr) -> Option<Interface<'_>> {
    config
        .interfaces()
        .find(|i| i.addresses.iter().any(|net| net.address() == address))
}
