//! Static routes against the interfaces and each other.

use super::{
    Problems,
    addresses::{family, is_link_local, unusable},
    reach::Reach,
    repeated,
};
use crate::{Config, Route};
use std::net::IpAddr;

pub(super) fn check(
    config: &Config,
    reach: &Reach<'_>,
    interfaces_known: bool,
    problems: &mut Problems,
) {
    for (index, route) in config.routes.iter().enumerate() {
        let at = |key: &str| format!("route[{index}].{key}");
        if route.to.prefix() > 0
            && let Some(why) = unusable(route.to.address())
        {
            problems.add(
                at("to"),
                format!("no route can lead to {}: it {why}", route.to),
                "write a prefix of addresses that hosts have",
            );
        }
        if route.via.is_none() && route.interface.is_none() && !route.unreachable {
            problems.add(
                format!("route[{index}]"),
                format!("the route to {} leads nowhere", route.to),
                "write via = \"GATEWAY\", or interface = \"NAME\" if it is on link",
            );
        }
        if !interfaces_known {
            continue;
        }
        if let Some(name) = &route.interface
            && !config.interfaces().any(|i| i.name == *name)
        {
            let names: Vec<&str> = config.interfaces().map(|i| i.name).collect();
            problems.add(
                at("interface"),
                format!("there is no port or VLAN {name:?}"),
                format!("write one of: {}", names.join(", ")),
            );
            continue;
        }
        if let Some(via) = route.via {
            gateway(config, reach, route, via, &at("via"), problems);
        }
        if let Some(interface) = config
            .interfaces()
            .find(|i| i.addresses.iter().any(|net| net.network() == route.to))
        {
            problems.add(
                at("to"),
                format!(
                    "{} is already on the link of {:?}",
                    route.to, interface.name
                ),
                "leave this route out, or write a smaller part of that network",
            );
        }
    }
    twice(config, reach, problems);
}

fn gateway(
    config: &Config,
    reach: &Reach<'_>,
    route: &Route,
    via: IpAddr,
    at: &str,
    problems: &mut Problems,
) {
    if via.is_ipv4() != route.to.address().is_ipv4() {
        problems.add(
            at,
            format!(
                "{via} is {}, but {} is {}",
                family(via),
                route.to,
                family(route.to.address())
            ),
            "write a gateway of the same family",
        );
    } else if let Some(interface) = reach.own(via) {
        problems.add(
            at,
            format!(
                "{via} is the director's own address (on {:?})",
                interface.name
            ),
            "write the address of another router",
        );
    } else if is_link_local(via) {
        if route.interface.is_none() {
            problems.add(
                at,
                format!("{via} is link-local, which every link has"),
                "add interface = \"NAME\" to say which",
            );
        }
    } else {
        let on = reach.on_link(via);
        let right = match (&route.interface, &on) {
            (Some(name), _) => config
                .interfaces()
                .any(|i| i.name == *name && i.addresses.iter().any(|net| net.contains(via))),
            (None, on) => on.is_some(),
        };
        if !right {
            let instead = match on {
                Some(interface) => format!(
                    "write interface = {:?}, where {via} is, or leave it out",
                    interface.name
                ),
                None => format!(
                    "write a gateway that is on one of the links: {}",
                    reach.links(via)
                ),
            };
            problems.add(at, format!("the gateway {via} is not on link"), instead);
        }
    }
}

/// Two routes to one prefix, the interfaces' gateways among them. Default routes may be one for each interface: the first
/// is the director's, the others serve what came in there.
fn twice(config: &Config, reach: &Reach<'_>, problems: &mut Problems) {
    let all = config.all_routes();
    let gateways = all.len() - config.routes.len();
    let interface = |route: &Route| {
        let on_link = || Some(reach.on_link(route.via?)?.name.to_owned());
        route.interface.clone().or_else(on_link)
    };
    let key = |route: &Route| {
        let own = (route.to.prefix() == 0).then(|| interface(route));
        (route.to, own)
    };
    for (again, first) in repeated(all.iter().map(key)) {
        let (Some(route), Some(other)) = (all.get(again), all.get(first)) else {
            continue;
        };
        // Interfaces have one gateway each: the later of two is always a [[route]].
        let Some(index) = again.checked_sub(gateways) else {
            continue;
        };
        let by = match (&other.via, interface(other)) {
            (Some(via), Some(interface)) => format!("by {via} on {interface:?}"),
            (Some(via), None) => format!("by {via}"),
            (None, _) => "on link".to_owned(),
        };
        let name = if route.to.prefix() == 0 {
            format!("a default route for {}", family(route.to.address()))
        } else {
            format!("a route to {}", route.to)
        };
        problems.add(
            format!("route[{index}].to"),
            format!("there is {name} already, {by}"),
            "keep one of them, and give the other the prefix it is to lead to",
        );
    }
}
