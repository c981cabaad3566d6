//! What virtual routers track: whether it is there, and whether its weight can do anything.

use super::{
    Problems,
    addresses::{family, is_link_local, unusable},
    reach::Reach,
    repeated,
};
use crate::{
    Config, Problem, Track, TrackBfd, TrackGateway, TrackedBy, Vrrp, VrrpNotify, track::TrackWeight,
};

pub(super) fn check(
    config: &Config,
    reach: &Reach<'_>,
    interfaces_known: bool,
    problems: &mut Problems,
) {
    for (again, _) in repeated(config.vrrp_scripts.iter().map(|s| &s.name)) {
        twice(&format!("vrrp_script[{again}].name"), "script", problems);
    }
    for (again, _) in repeated(config.track_files.iter().map(|f| &f.name)) {
        twice(&format!("track_file[{again}].name"), "file", problems);
    }
    for (again, _) in repeated(config.track_gateways.iter().map(|g| &g.name)) {
        let path = format!("track_gateway[{again}].name");
        twice(&path, "gateway", problems);
    }
    for (again, _) in repeated(config.track_bfds.iter().map(|b| &b.name)) {
        twice(&format!("track_bfd[{again}].name"), "BFD session", problems);
    }
    for (index, bfd) in config.track_bfds.iter().enumerate() {
        session(
            bfd,
            |key| format!("track_bfd[{index}].{key}"),
            reach,
            problems,
        );
    }
    for (again, _) in repeated(config.track_servers.iter().map(|s| &s.name)) {
        let path = format!("track_servers[{again}].name");
        twice(&path, "[[track_servers]]", problems);
    }
    for (index, notify) in config.vrrp_notify.iter().enumerate() {
        let path = format!("vrrp_notify[{index}]");
        let same =
            |other: &VrrpNotify| (&other.router, &other.user) == (&notify.router, &notify.user);
        if !config.vrrp.iter().any(|v| notify.is_about(v)) {
            problems.add(
                format!("{path}.router"),
                format!(
                    "there is no instance, and no sync_group, {:?}",
                    notify.router
                ),
                "name a [[vrrp]], or what one has as sync_group",
            );
        } else if notify
            .programs()
            .iter()
            .all(|(_, program)| program.is_empty())
        {
            problems.add(
                format!("{path}.router"),
                format!("no program is named for {:?}", notify.router),
                "add notify_master, notify_backup, notify_fault, notify_stop, notify or notify_master_rx_lower_pri: a program and its arguments, as a list",
            );
        } else if config.vrrp_notify.iter().take(index).any(same) {
            problems.add(
                format!("{path}.router"),
                format!(
                    "there is another [[vrrp_notify]] for {:?} and the same user",
                    notify.router
                ),
                "write all its programs in one",
            );
        }
    }
    let interfaces: Vec<&str> = config.interfaces().map(|i| i.name).collect();
    if interfaces_known {
        for (index, gateway) in config.track_gateways.iter().enumerate() {
            let at = |key: &str| format!("track_gateway[{index}].{key}");
            place(gateway, at, config, reach, problems);
        }
    }
    let scripts: Vec<&str> = config
        .vrrp_scripts
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    let files: Vec<&str> = config.track_files.iter().map(|f| f.name.as_str()).collect();
    let gateways = config.track_gateways.iter();
    let gateways: Vec<&str> = gateways.map(|g| g.name.as_str()).collect();
    let bfds: Vec<&str> = config.track_bfds.iter().map(|b| b.name.as_str()).collect();
    let servers = config.track_servers.iter();
    let servers: Vec<&str> = servers.map(|s| s.name.as_str()).collect();
    for (index, instance) in config.vrrp.iter().enumerate() {
        let at = |key: &str| format!("vrrp[{index}].{key}");
        if interfaces_known {
            let list = &instance.track_interface;
            known(
                list,
                &interfaces,
                &at("track_interface"),
                "port or VLAN",
                problems,
            );
        }
        let list = &instance.track_script;
        known(
            list,
            &scripts,
            &at("track_script"),
            "[[vrrp_script]]",
            problems,
        );
        let list = &instance.track_file;
        known(list, &files, &at("track_file"), "[[track_file]]", problems);
        let list = &instance.track_gateway;
        known(
            list,
            &gateways,
            &at("track_gateway"),
            "[[track_gateway]]",
            problems,
        );
        let list = &instance.track_bfd;
        known(list, &bfds, &at("track_bfd"), "[[track_bfd]]", problems);
        let list = &instance.track_servers;
        known(
            list,
            &servers,
            &at("track_servers"),
            "[[track_servers]]",
            problems,
        );
        if instance.priority == 255 {
            let weighs = |t: &TrackedBy<'_>| t.parts().2.by != 0;
            if let Some(tracked) = config.tracked(&[instance]).iter().find(|t| weighs(t)) {
                let (kind, name, weight) = tracked.parts();
                problems.add(
                    at(&format!("track_{kind}")),
                    format!(
                        "{weight} of {kind} {name:?} does nothing: priority 255 does not change"
                    ),
                    format!(
                        "write \"{name} weight 0\" (a fault while it is down), or a lower priority"
                    ),
                );
            }
        }
    }
    for (_, members) in config.vrrp_units() {
        contradictions(config, &members, problems);
    }
}

/// A session that cannot be.
fn session(
    bfd: &TrackBfd,
    at: impl Fn(&str) -> String,
    reach: &Reach<'_>,
    problems: &mut Problems,
) {
    let address = bfd.address;
    if let Some(why) = unusable(address) {
        let what = format!("{address} {why}");
        problems.add(at("address"), what, "write the address of a neighbour");
    } else if reach.own(address).is_some() {
        let what = format!("{address} is this director's own");
        problems.add(at("address"), what, "write the address of a neighbour");
    }
    if let Some(bind) = bfd.bind
        && bind.is_ipv4() != address.is_ipv4()
    {
        problems.add(
            at("bind"),
            format!(
                "{bind} is {}, {address} is {}",
                family(bind),
                family(address)
            ),
            "write an address of the same family",
        );
    }
}

fn twice(path: &str, what: &str, problems: &mut Problems) {
    problems.add(
        path,
        format!("there is another {what} of that name"),
        "give each a name of its own",
    );
}

fn known(list: &[Track], names: &[&str], path: &str, what: &str, problems: &mut Problems) {
    for (number, track) in list.iter().enumerate() {
        if names.contains(&track.name.as_str()) {
            continue;
        }
        let instead = match names {
            [] => format!("there is none: add a {what}"),
            _ => format!("the names are {}", names.join(", ")),
        };
        let what = format!("there is no {what} named {:?}", track.name);
        problems.add(format!("{path}[{number}]"), what, instead);
    }
}

/// What moves together has one priority: nothing can weigh in it twice.
fn contradictions(config: &Config, members: &[&Vrrp], problems: &mut Problems) {
    let mut seen: Vec<(&str, &str, TrackWeight)> = Vec::new();
    for tracked in config.tracked(members) {
        let (kind, name, weight) = tracked.parts();
        let same = |(k, n, _): &&(&str, &str, TrackWeight)| (*k, *n) == (kind, name);
        let Some((_, _, other)) = seen.iter().find(same) else {
            seen.push((kind, name, weight));
            continue;
        };
        let index = config
            .vrrp
            .iter()
            .position(|v| v.unit() == members.first().map_or("", |m| m.unit()));
        problems.add(
            format!("vrrp[{}].track_{kind}", index.unwrap_or(0)),
            format!("{kind} {name:?} has {other} and {weight} for what moves together"),
            "name it once, or with the same weight",
        );
    }
}

/// A gateway is asked on a link by who has an address there.
fn place(
    gateway: &TrackGateway,
    at: impl Fn(&str) -> String,
    config: &Config,
    reach: &Reach<'_>,
    problems: &mut Problems,
) {
    let address = gateway.address;
    if let Some(why) = unusable(address) {
        let what = format!("{address} {why}");
        problems.add(at("address"), what, "write the address of a neighbour");
        return;
    }
    if reach.own(address).is_some() {
        let what = format!("{address} is this director's own");
        problems.add(at("address"), what, "write the address of a neighbour");
        return;
    }
    let names: Vec<&str> = config.interfaces().map(|i| i.name).collect();
    let names = names.join(", ");
    match &gateway.interface {
        None if is_link_local(address) => problems.add(
            at("address"),
            format!("{address} is link-local: it may be on any link"),
            format!("add `interface`: one of {names}"),
        ),
        None if reach.on_link(address).is_none() => problems.add(
            at("address"),
            format!("{address} is on no link of this director"),
            format!(
                "only neighbours can be asked; the links are {}",
                reach.links(address)
            ),
        ),
        None => {}
        Some(name) => match config.interfaces().find(|i| i.name == name) {
            None => problems.add(
                at("interface"),
                format!("there is no port or VLAN named {name:?}"),
                format!("the names are {names}"),
            ),
            Some(interface) => {
                let on_link = interface.addresses.iter().any(|net| net.contains(address));
                if !on_link && !is_link_local(address) {
                    problems.add(
                        at("interface"),
                        format!("{address} is not on the link of {name:?}"),
                        format!(
                            "name the interface that has an address of that {} network",
                            family(address)
                        ),
                    );
                }
            }
        },
    }
}

impl Config {
    /// Services that `[[track_servers]]` name and that are not there. Only a file is judged by it: at run time a service may go, and
    /// what tracked it has none.
    pub(crate) fn untracked_services(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        for (index, tracked) in self.track_servers.iter().enumerate() {
            let Some(wanted) = &tracked.service else {
                continue;
            };
            if self.services.iter().any(|s| tracked.counts(s)) {
                continue;
            }
            let names: Vec<String> = self.services.iter().map(|s| s.key.to_string()).collect();
            let instead = match names.as_slice() {
                [] => "there is none: add a [[service]]".to_owned(),
                all => {
                    let shown = all.get(..all.len().min(5)).unwrap_or_default().join(", ");
                    let more = if all.len() > 5 { ", ..." } else { "" };
                    format!("the services are {shown}{more}; or leave it out, for all of them")
                }
            };
            found.push(Problem::new(
                format!("track_servers[{index}].service"),
                format!("there is no service {wanted:?}"),
                instead,
            ));
        }
        found
    }
}
