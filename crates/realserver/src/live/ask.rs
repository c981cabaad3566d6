//! What is in force now: questions to the machine, which change nothing on it.

use super::{
    argv,
    gather::{arp_listing, enabled, read_sysctl},
    is_live, parse,
    system::System,
};
use crate::{
    action::{Action, NFT_TABLE, Rule, Tool},
    error::Refusal,
    facts::Facts,
};
use std::{fs, path::Path};

/// Whether the change is in force now.
pub(super) fn satisfied(system: &System, action: &Action, facts: &Facts) -> Result<bool, Refusal> {
    if system.files_only && is_live(action) {
        return Ok(true);
    }
    Ok(match action {
        Action::Sysctl { key, value } => read_sysctl(key).as_deref() == Some(value),
        Action::Address { net, device, .. } => {
            let list = system.run(&argv(&["ip", "-o", "addr", "show", "dev", device]))?;
            list.split_whitespace()
                .any(|w| w == net.to_string() || (is_host(net) && w == net.address().to_string()))
        }
        // Made by the tool itself when it is first used: never there "already" in the sense that undo should leave it, see `first`.
        Action::Table { family, table } => has_nft_table(system, family, table),
        Action::Rule(rule) => count(system, rule, facts)? > 0,
        Action::Firewalld { rules } => {
            for (family, spec) in rules {
                let query =
                    format!("firewall-cmd --permanent --direct --query-rule {family} {spec}");
                let live = format!("firewall-cmd --direct --query-rule {family} {spec}");
                for line in [query, live] {
                    if system
                        .run(&argv(&line.split_whitespace().collect::<Vec<_>>()))
                        .is_err()
                    {
                        return Ok(false);
                    }
                }
            }
            true
        }
        Action::Nft { family, rules } => {
            let list = system
                .run(&argv(&["nft", "list", "table", family, NFT_TABLE]))
                .unwrap_or_default();
            let live: Vec<&str> = list
                .lines()
                .map(str::trim)
                .filter(|l| l.ends_with(" redirect"))
                .collect();
            live.len() == rules.len() && rules.iter().all(|r| live.contains(&r.as_str()))
        }
        Action::File {
            path,
            content,
            mode,
            append,
        } => match system.read(&path.to_string_lossy())? {
            Some((text, _)) if *append => content
                .lines()
                .all(|wanted| text.lines().any(|l| l.trim() == wanted.trim())),
            Some((text, bits)) => text == facts.fill(content) && bits == *mode,
            None => false,
        },
        // Rules may have changed since: whoever changed one saves.
        Action::Save { .. } => false,
        Action::Enable { unit } => enabled(system, unit),
        Action::Start { unit } => match unit.as_str() {
            "firewalld.service" => system.run(&argv(&["firewall-cmd", "--state"])).is_ok(),
            _ => system.run(&argv(&["systemctl", "is-active", unit])).is_ok(),
        },
        Action::Chkconfig { service } => runlevel_links(system, service)
            .iter()
            .any(|l| l.contains("/S")),
        Action::Module { device, .. } => {
            Path::new(&format!("/proc/sys/net/ipv4/conf/{device}")).exists()
        }
        Action::LinkUp { device } => {
            let list = system.run(&argv(&["ip", "-o", "link", "show", "dev", device]))?;
            list.split_once('<')
                .and_then(|(_, r)| r.split_once('>'))
                .is_some_and(|(flags, _)| flags.split(',').any(|f| f == "UP"))
        }
        Action::DefaultRoute { gateway, device } => {
            let routes = default_routes(system, action)?;
            routes.lines().count() == 1 && routes.contains(&format!("via {gateway} dev {device}"))
        }
    })
}

fn is_host(net: &types::IpNet) -> bool {
    net.prefix() == if net.address().is_ipv4() { 32 } else { 128 }
}

/// How many copies of a rule are in force.
pub(super) fn count(system: &System, rule: &Rule, facts: &Facts) -> Result<usize, Refusal> {
    let rules = match rule.tool {
        Tool::Arptables => arp_listing(system)?.0,
        tool => parse::saved_rules(
            tool,
            &system.run(&argv(&[&format!("{}-save", tool.name())]))?,
        ),
    };
    let chain = rule.chain_name(facts.chains);
    Ok(rules
        .iter()
        .filter(|r| r.chain_name(facts.chains) == chain && r.normal() == rule.normal())
        .count())
}

pub(super) fn has_nft_table(system: &System, family: &str, table: &str) -> bool {
    let wanted = format!("table {family} {table}");
    system
        .run(&argv(&["nft", "list", "tables"]))
        .is_ok_and(|t| t.lines().any(|l| l.trim() == wanted))
}

fn runlevel_links(system: &System, service: &str) -> Vec<String> {
    let mut links = Vec::new();
    for base in ["/etc", "/etc/rc.d"] {
        for level in 0..=6 {
            let directory = format!("{base}/rc{level}.d");
            for entry in fs::read_dir(system.path(&directory))
                .into_iter()
                .flatten()
                .flatten()
            {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.get(3..) == Some(service) {
                    links.push(format!("{directory}/{name}"));
                }
            }
        }
    }
    links
}

pub(super) fn default_routes(system: &System, action: &Action) -> Result<String, Refusal> {
    let family = action.route_argv("show").swap_remove(1);
    system.run(&argv(&["ip", &family, "route", "show", "default"]))
}
