//! Look at the machine, changing nothing on it.

use super::{
    parse,
    system::{System, find},
};
use crate::{
    action::{ArpChains, NFT_TABLE, Rule, Tool},
    error::Refusal,
    facts::{Facts, Init, Interface, Listener},
};
use std::{collections::BTreeSet, fs, path::Path};
use types::{IpNet, MacAddr, Protocol};

const TOOLS: &[&str] = &[
    "ip",
    "sysctl",
    "arptables",
    "arptables-save",
    "iptables",
    "iptables-save",
    "ip6tables",
    "ip6tables-save",
    "firewall-cmd",
    "nft",
    "modprobe",
    "systemctl",
    "service",
    "chkconfig",
    "update-rc.d",
    "tc",
];

/// Units whose presence decides how rules are kept.
const UNITS: &[&str] = &[
    "arptables.service",
    "iptables.service",
    "ip6tables.service",
    "netfilter-persistent.service",
    "nftables.service",
    "firewalld.service",
];

/// Everything [`plan`](crate::plan()) wants to know. `chains` overrides what arptables says of itself.
///
/// # Errors
/// When `ip` cannot be run.
pub fn gather(system: &System, chains: Option<ArpChains>) -> Result<Facts, Refusal> {
    if system.files_only {
        return Ok(image(system, chains));
    }
    let run = |argv: &[&str]| system.run(&argv.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    let mut facts = Facts {
        known: true,
        files: true,
        root: rustix::process::geteuid().is_root(),
        tools: TOOLS
            .iter()
            .filter_map(|t| find(t).map(|p| ((*t).to_owned(), p)))
            .collect(),
        init: init(system),
        ..Facts::default()
    };
    let mtus = if facts.tools.contains_key("ip") {
        parse::mtus(&run(&["ip", "-o", "link", "show"])?)
    } else {
        vec![]
    };
    facts.interfaces = interfaces(&mtus);
    facts.rp_filter_all = read_sysctl("net/ipv4/conf/all/rp_filter")
        .and_then(|v| v.parse().ok())
        .unwrap_or(0);
    for (name, protocol) in [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ] {
        // IPv6 may be off: no file, no sockets.
        let text = fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
        facts
            .listeners
            .extend::<Vec<Listener>>(parse::listeners(&text, protocol));
    }
    facts.firewalld = direct_rules(system);
    if facts.root {
        let mut xtables = vec![format!("ip {NFT_TABLE}"), format!("ip6 {NFT_TABLE}")];
        for (tool, table) in [(Tool::Iptables, "ip nat"), (Tool::Ip6tables, "ip6 nat")] {
            let save = format!("{}-save", tool.name());
            if facts.tools.contains_key(&save) {
                // A kernel without the table is a machine without rules.
                let text = run(&[&save]).unwrap_or_default();
                facts.rules.extend(parse::saved_rules(tool, &text));
                if parse::has_table(tool, &text) {
                    xtables.push(table.to_owned());
                }
            }
        }
        if facts.tools.contains_key("arptables") {
            let (list, in_out) = arp_listing(system)?;
            facts.chains = if in_out {
                ArpChains::InOut
            } else {
                ArpChains::InputOutput
            };
            facts.rules.extend(list);
            xtables.push("arp filter".into());
        }
        if facts.tools.contains_key("nft") {
            facts.nft = parse::nft_without(
                &run(&["nft", "list", "ruleset"]).unwrap_or_default(),
                &xtables,
            );
        }
    }
    facts.chains = chains.unwrap_or(facts.chains);
    Ok(facts)
}

/// A system of which only the files are there.
fn image(system: &System, chains: Option<ArpChains>) -> Facts {
    let mut facts = Facts {
        files: true,
        root: rustix::process::geteuid().is_root(),
        tools: TOOLS
            .iter()
            .filter_map(|t| system.find_inside(t).map(|p| ((*t).to_owned(), p)))
            .collect(),
        init: init(system),
        ..Facts::default()
    };
    let old = facts.init.scripts.contains("arptables_jf");
    facts.chains = chains.unwrap_or(if old {
        ArpChains::InOut
    } else {
        ArpChains::InputOutput
    });
    facts.firewalld = direct_rules(system);
    facts
}

fn direct_rules(system: &System) -> Vec<String> {
    match system.read("/etc/firewalld/direct.xml") {
        Ok(Some((xml, _))) => parse::direct_rules(&xml),
        _ => vec![],
    }
}

/// arptables' rules, and whether it calls its chains IN and OUT.
///
/// An older arptables loads its table when it lists it; where the table is not loaded there are no rules, and it is left so.
pub(super) fn arp_listing(system: &System) -> Result<(Vec<Rule>, bool), Refusal> {
    let run = |argv: &[&str]| system.run(&argv.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    let nft = run(&["arptables", "-V"]).is_ok_and(|v| v.contains("nf_tables"));
    let loaded = fs::read_to_string("/proc/net/arp_tables_names")
        .map_or(true, |names| names.lines().any(|n| n == "filter"));
    let named = |list: &str| list.lines().any(|l| l.starts_with("Chain IN "));
    if !nft && !loaded {
        // Only its name tells then: RHEL 4 and 5 ship it as arptables_jf.
        return Ok((
            vec![],
            find("arptables_jf").is_some() || system.path("/etc/init.d/arptables_jf").exists(),
        ));
    }
    let list = run(&["arptables", "-L", "-n"]).unwrap_or_default();
    let in_out = named(&list);
    let rules = parse::listed_arp_rules(&list);
    if rules.is_empty() && in_out {
        // arptables_jf lists in columns; its save is in words.
        return Ok((
            parse::saved_rules(
                Tool::Arptables,
                &run(&["arptables-save"]).unwrap_or_default(),
            ),
            true,
        ));
    }
    Ok((rules, in_out))
}

fn interfaces(mtus: &[(String, u32)]) -> Vec<Interface> {
    pnet_datalink::interfaces()
        .into_iter()
        .map(|i| Interface {
            mtu: mtus
                .iter()
                .find(|(n, _)| *n == i.name)
                .map_or(1500, |(_, m)| *m),
            mac: i
                .mac
                .filter(|m| !i.is_loopback() && !m.is_zero())
                .map(|m| MacAddr(m.octets())),
            up: i.is_up(),
            addresses: i
                .ips
                .iter()
                .filter_map(|n| IpNet::new(n.ip(), n.prefix()).ok())
                .collect(),
            name: i.name,
        })
        .collect()
}

/// A sysctl's value.
pub(crate) fn read_sysctl(key: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(key))
        .ok()
        .map(|v| v.trim().to_owned())
}

fn init(system: &System) -> Init {
    let exists = |path: &str| system.path(path).exists();
    let directories = [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ];
    let units = UNITS
        .iter()
        .filter(|u| directories.iter().any(|d| exists(&format!("{d}/{u}"))))
        .map(|u| (*u).to_owned())
        .collect();
    Init {
        systemd: exists("/run/systemd/system")
            || exists("/usr/lib/systemd/systemd")
            || exists("/lib/systemd/systemd"),
        red_hat: exists("/etc/redhat-release"),
        units,
        enabled: UNITS
            .iter()
            .filter(|u| enabled(system, u))
            .map(|u| (*u).to_owned())
            .collect(),
        scripts: names(&system.path("/etc/init.d")),
    }
}

/// Whether a unit is wanted by another: what `systemctl enable` leaves behind.
pub(super) fn enabled(system: &System, unit: &str) -> bool {
    let wants = names(&system.path("/etc/systemd/system"));
    wants
        .iter()
        .filter(|d| d.ends_with(".wants") || d.ends_with(".requires"))
        .any(|d| {
            fs::symlink_metadata(system.path(&format!("/etc/systemd/system/{d}/{unit}"))).is_ok()
        })
}

fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect()
}
