//! Virtual routers: each by itself, those of a group with each other, and whether what must move together does.

use super::{
    Problems,
    addresses::{family, is_link_local, unusable},
    reach::Reach,
    repeated,
};
use crate::{AuthType, Config, Vrrp, vrrp::MAX_UNITS};
use std::{collections::BTreeMap, net::IpAddr};
use types::ForwardingMethod;

/// Addresses in an advertisement that fits a link of 1500 bytes, IPv6.
const MOST: [usize; 2] = [255, 90];

pub(super) fn check(
    config: &Config,
    reach: &Reach<'_>,
    interfaces_known: bool,
    problems: &mut Problems,
) {
    let all = &config.vrrp;
    for (again, _) in repeated(all.iter().map(|v| &v.name)) {
        problems.add(
            format!("vrrp[{again}].name"),
            "there is another instance of that name",
            "give each instance a name of its own",
        );
    }
    let group_named = |name: &str| all.iter().any(|v| v.sync_group.as_deref() == Some(name));
    for (index, instance) in all.iter().enumerate() {
        if instance.sync_group.is_none() && group_named(&instance.name) {
            problems.add(
                format!("vrrp[{index}].name"),
                format!("there is a sync_group named {:?}", instance.name),
                "give it another name, or put the instance into the group",
            );
        }
    }
    let identity = |v: &Vrrp| (v.interface.clone(), v.virtual_router_id, is6(v));
    for (again, first) in repeated(all.iter().map(identity)) {
        let other = all.get(first).map_or("", |v| v.name.as_str());
        problems.add(
            format!("vrrp[{again}].virtual_router_id"),
            format!("the instance {other:?} has that id on the same interface"),
            "write another id",
        );
    }
    let owned = all
        .iter()
        .enumerate()
        .flat_map(|(index, instance)| instance.addresses().map(move |address| (index, address)));
    let owned: Vec<(usize, IpAddr)> = owned.collect();
    for (again, first) in repeated(owned.iter().map(|(_, address)| *address)) {
        if let (Some((index, address)), Some((other, _))) = (owned.get(again), owned.get(first)) {
            let other = all.get(*other).map_or("", |v| v.name.as_str());
            problems.add(
                format!("vrrp[{index}].virtual_ipaddress"),
                format!("{address} is in {other:?} already"),
                "an address moves with one instance: name it once",
            );
        }
    }
    for (index, instance) in all.iter().enumerate() {
        each(index, instance, problems);
        if interfaces_known {
            place(index, instance, config, reach, problems);
        }
    }
    groups(config, problems);
    if interfaces_known && !all.is_empty() {
        together(config, reach, problems);
    }
}

fn is6(instance: &Vrrp) -> bool {
    instance
        .virtual_ipaddress
        .first()
        .is_some_and(IpAddr::is_ipv6)
}

fn each(index: usize, instance: &Vrrp, problems: &mut Problems) {
    let at = |key: &str| format!("vrrp[{index}].{key}");
    let six = is6(instance);
    let Some(first) = instance.virtual_ipaddress.first() else {
        problems.add(
            at("virtual_ipaddress"),
            "an instance without virtual_ipaddress moves nothing",
            "write virtual_ipaddress = [\"192.0.2.10\"]",
        );
        return;
    };
    for (number, address) in instance.virtual_ipaddress.iter().enumerate() {
        if address.is_ipv6() != six {
            problems.add(
                at(&format!("virtual_ipaddress[{number}]")),
                format!("{address} is {}, {first} is {}", family(*address), family(*first)),
                "write an instance for each family, in one sync_group; or virtual_ipaddress_excluded",
            );
        }
    }
    let most = MOST.get(usize::from(six)).copied().unwrap_or(0);
    if instance.virtual_ipaddress.len() > most {
        problems.add(
            at("virtual_ipaddress"),
            format!(
                "an advertisement has no room for more than {most} {} addresses",
                family(*first)
            ),
            "write the others under virtual_ipaddress_excluded: they move with these",
        );
    }
    for address in instance.addresses() {
        let why = unusable(address);
        let link_local =
            is_link_local(address).then_some("is link-local, which the director has of its own");
        if let Some(why) = why.or(link_local) {
            problems.add(
                at("virtual_ipaddress"),
                format!("{address} {why}"),
                "write an address that the directors can have in turn",
            );
        }
    }
    if instance.version == 2 {
        if six {
            problems.add(
                at("version"),
                "version 2 has no IPv6",
                "write version = 3, or leave it out",
            );
        }
        if !instance.advert_int_ms.is_multiple_of(1000) {
            problems.add(
                at("advert_int"),
                format!(
                    "version 2 counts in seconds, not in {} ms",
                    instance.advert_int_ms
                ),
                "write whole seconds, or version = 3",
            );
        }
    } else {
        if instance.advert_int_ms > 40_950 {
            problems.add(
                at("advert_int"),
                "version 3 knows no interval longer than 40.95 seconds",
                "write less",
            );
        }
        if instance.auth_pass.is_some() {
            problems.add(
                at("auth_pass"),
                "version 3 has no passwords",
                "leave it out, or write version = 2",
            );
        }
    }
    if instance.auth_type == AuthType::Ah && instance.auth_pass.is_none() {
        problems.add(
            at("auth_type"),
            "an authentication header needs a key",
            "write auth_pass, the same on all directors",
        );
    }
    if instance.v3_checksum_as_v2 && (instance.version == 2 || six) {
        problems.add(
            at("v3_checksum_as_v2"),
            "this is for version 3 over IPv4 only",
            "leave it out",
        );
    }
    if !instance.preempt && instance.preempt_delay > 0 {
        problems.add(
            at("preempt_delay"),
            "`preempt_delay` does nothing without preemption",
            "leave it out, or write preempt = true",
        );
    }
}

fn place(
    index: usize,
    instance: &Vrrp,
    config: &Config,
    reach: &Reach<'_>,
    problems: &mut Problems,
) {
    let at = |key: &str| format!("vrrp[{index}].{key}");
    let Some(interface) = config.interfaces().find(|i| i.name == instance.interface) else {
        let names: Vec<&str> = config.interfaces().map(|i| i.name).collect();
        problems.add(
            at("interface"),
            format!("there is no port or VLAN named {:?}", instance.interface),
            format!("the names are {}", names.join(", ")),
        );
        return;
    };
    // IPv6 is spoken from the link-local address, which is always there.
    if !is6(instance)
        && !interface
            .addresses
            .iter()
            .any(|net| net.address().is_ipv4())
    {
        problems.add(
            at("interface"),
            format!(
                "{:?} has no IPv4 address of its own to advertise from",
                instance.interface
            ),
            "give the interface one",
        );
    }
    for address in instance.addresses() {
        if let Some(owner) = reach.own(address) {
            problems.add(
                at("virtual_ipaddress"),
                format!(
                    "{address} is the director's own address (on {:?})",
                    owner.name
                ),
                "write an address that moves, or take it from the interface",
            );
        }
    }
    for (number, peer) in instance.unicast_peer.iter().enumerate() {
        let on_link = interface.addresses.iter().any(|net| net.contains(*peer))
            || (is_link_local(*peer) && is6(instance));
        let what = if peer.is_ipv6() != is6(instance) {
            format!("{peer} is {}, the virtual addresses are not", family(*peer))
        } else if reach.own(*peer).is_some() {
            format!("{peer} is this director")
        } else if !on_link {
            format!("{peer} is not on the link of {:?}", instance.interface)
        } else if let Some(first) = instance.unicast_peer.first()
            && is_link_local(*first) != is_link_local(*peer)
        {
            problems.add(
                at(&format!("unicast_peer[{number}]")),
                format!("of {first} and {peer} only one is link-local, and all are told from one address"),
                "write the link-local addresses of all, or of none",
            );
            continue;
        } else {
            continue;
        };
        problems.add(
            at(&format!("unicast_peer[{number}]")),
            what,
            "write the other director's own address on that link",
        );
    }
}

fn groups(config: &Config, problems: &mut Problems) {
    let units = config.vrrp_units();
    if units.len() > MAX_UNITS {
        problems.add(
            "vrrp",
            format!("{} groups and instances by themselves", units.len()),
            format!("{MAX_UNITS} are possible: put what may move together into one sync_group"),
        );
    }
    for (index, instance) in config.vrrp.iter().enumerate() {
        let Some((name, first)) = units.iter().find_map(|(name, members)| {
            (*name == instance.unit()).then(|| Some((*name, *members.first()?)))?
        }) else {
            continue;
        };
        let differs = [
            ("priority", instance.priority != first.priority),
            ("advert_int", instance.advert_int_ms != first.advert_int_ms),
            ("preempt", instance.preempt != first.preempt),
            (
                "preempt_delay",
                instance.preempt_delay != first.preempt_delay,
            ),
            (
                "preempt_warmup",
                instance.preempt_warmup != first.preempt_warmup,
            ),
        ];
        for (key, differs) in differs {
            if differs {
                problems.add(
                    format!("vrrp[{index}].{key}"),
                    format!("`{key}` is another than that of {:?}, with which it moves (sync_group {name:?})", first.name),
                    "write the same in all instances of a group",
                );
            }
        }
    }
}

/// What both directors would answer for, and NAT whose two sides could part.
fn together(config: &Config, reach: &Reach<'_>, problems: &mut Problems) {
    let units: BTreeMap<IpAddr, &Vrrp> = config
        .vrrp
        .iter()
        .flat_map(|v| v.addresses().map(move |address| (address, v)))
        .collect();
    for (index, service) in config.services.iter().enumerate() {
        let addresses: Vec<IpAddr> = match service.key.address() {
            Some(address) => vec![address.ip()],
            None => config
                .mark_addresses()
                .filter(|(_, key)| *key == service.key)
                .map(|(ip, _)| ip)
                .collect(),
        };
        for vip in addresses {
            let Some(holder) = units.get(&vip) else {
                // One that is routed to the director comes to whoever has the address it is routed to.
                if let Some(link) = reach.on_link(vip) {
                    problems.add(
                        format!("service[{index}].address"),
                        format!("{vip} is in no [[vrrp]], so that all directors on {:?} would answer for it", link.name),
                        "name it under virtual_ipaddress (or virtual_ipaddress_excluded) of an instance",
                    );
                }
                continue;
            };
            let mut said = Vec::new();
            for (number, server) in service.servers.iter().enumerate() {
                let Some(link) = reach.on_link(server.address.ip()) else {
                    continue;
                };
                if server.method != ForwardingMethod::Masq
                    || link.name == holder.interface
                    || said.contains(&link.name)
                {
                    continue;
                }
                let gateway = units.iter().any(|(address, v)| {
                    v.unit() == holder.unit()
                        && v.interface == link.name
                        && link.addresses.iter().any(|net| net.contains(*address))
                        && address.is_ipv6() == vip.is_ipv6()
                });
                if !gateway {
                    said.push(link.name);
                    problems.add(
                        format!("service[{index}].server[{number}].address"),
                        format!(
                            "with masq its answers must come back through the master, but on {:?} no gateway address moves with {vip}",
                            link.name
                        ),
                        format!(
                            "write a [[vrrp]] on {:?} whose virtual_ipaddress is the servers' gateway, and the same sync_group in it and in {:?}",
                            link.name, holder.name
                        ),
                    );
                }
            }
        }
    }
}
