//! The REDIRECT methods: the VIP exists only on the director, and a rule leads its packets to the service bound to INADDR_ANY.

use super::{Plan, boot};
use crate::{
    action::{Action, Rule, Tool},
    error::Refusal,
    facts::Facts,
    request::{Method, Request},
};
use std::net::IpAddr;
use types::Protocol;

/// firewalld's permanent direct rules.
const DIRECT_FILE: &str = "/etc/firewalld/direct.xml";

/// Where the nftables method keeps its table.
pub(super) const NFT_FILE: &str = "/etc/tarpon/realserver.nft";

pub(super) fn steps(
    method: Method,
    requests: &[&Request],
    facts: &Facts,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    let mut services: Vec<(IpAddr, u16, Protocol)> = Vec::new();
    for service in requests.iter().flat_map(|r| r.services()) {
        if !services.contains(&service) {
            services.push(service);
        }
    }
    bound_elsewhere(method, &services, facts)?;
    for (family, v4) in [("ip", true), ("ip6", false)] {
        if services.iter().any(|(vip, ..)| vip.is_ipv4() == v4) && method != Method::Nftables {
            plan.push(
                format!("(kept for undo: whether the table {family} nat was there)"),
                Action::Table {
                    family: family.into(),
                    table: "nat".into(),
                },
            );
        }
    }
    match method {
        Method::Iptables => iptables(&services, requests, facts, plan)?,
        Method::Firewalld => firewalld(&services, requests, facts, plan)?,
        _ => nftables(&services, requests, facts, plan)?,
    }
    plan.note(format!(
        "{}: services must listen on INADDR_ANY (or the interface's first address), on the VIP's own port; every packet passes connection tracking",
        method.name()
    ));
    Ok(())
}

fn iptables(
    services: &[(IpAddr, u16, Protocol)],
    requests: &[&Request],
    facts: &Facts,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    let tool = |vip: &IpAddr| {
        if vip.is_ipv4() {
            Tool::Iptables
        } else {
            Tool::Ip6tables
        }
    };
    let rules: Vec<Rule> = services
        .iter()
        .map(|(vip, port, protocol)| {
            Rule::new(
                tool(vip),
                "PREROUTING",
                &format!("-p {protocol} -d {vip} --dport {port} -j REDIRECT"),
            )
        })
        .collect();
    for rule in &rules {
        let name = rule.tool.name();
        for tool in [name.to_owned(), format!("{name}-save")] {
            facts.need(
                &tool,
                "iptables",
                "install the package iptables, or use --method nftables or sysctl",
            )?;
        }
        plan.push(
            "take the VIP's packets for this port, though the VIP is not on this machine",
            Action::Rule(rule.clone()),
        );
    }
    let carrier = boot::carrier(requests, facts, plan);
    if carrier.persists() {
        for tool in [Tool::Iptables, Tool::Ip6tables] {
            let mine: Vec<Rule> = rules.iter().filter(|r| r.tool == tool).cloned().collect();
            if !mine.is_empty() {
                boot::save_rules(tool, &mine, carrier, facts, plan);
            }
        }
    }
    Ok(())
}

fn firewalld(
    services: &[(IpAddr, u16, Protocol)],
    requests: &[&Request],
    facts: &Facts,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    facts.need(
        "firewall-cmd",
        "firewalld",
        "install the package firewalld, or use --method iptables, nftables or sysctl",
    )?;
    let rules = services
        .iter()
        .map(|(vip, port, protocol)| {
            let family = if vip.is_ipv4() { "ipv4" } else { "ipv6" };
            (family.to_owned(), format!("nat PREROUTING 0 -d {vip} -p {protocol} -m {protocol} --dport {port} -j REDIRECT"))
        })
        .collect::<Vec<_>>();
    if facts.runs() {
        plan.push(
            "firewalld must run",
            Action::Start {
                unit: "firewalld.service".into(),
            },
        );
    }
    if boot::carrier(requests, facts, plan).persists() {
        plan.push(
            "and start at boot",
            Action::Enable {
                unit: "firewalld.service".into(),
            },
        );
    }
    let why = "take the VIP's packets for these ports, though the VIP is not on this machine";
    if facts.runs() {
        plan.push(why, Action::Firewalld { rules });
    } else {
        plan.push(why, direct_xml(&rules, facts)?);
    }
    plan.note("firewalld's zone must let the ports in (firewall-cmd --permanent --add-port=PORT/PROTOCOL, or --add-service), as for any service");
    plan.note("firewall-cmd --reload drops rules that were added to the running firewalld only, without --permanent");
    Ok(())
}

/// firewalld's file of permanent direct rules, for an image: firewall-cmd speaks to a running firewalld only.
fn direct_xml(rules: &[(String, String)], facts: &Facts) -> Result<Action, Refusal> {
    let mine: Vec<String> = rules
        .iter()
        .map(|(f, rule)| format!("{f} {rule}"))
        .collect();
    if let Some(other) = facts.firewalld.iter().find(|r| !mine.contains(r)) {
        return Err(Refusal::Request(format!(
            "{DIRECT_FILE} has a direct rule of somebody's ({other}), and nothing here merges that file while firewalld does not run; \
             use --method iptables or nftables, or run apply on the server once it has booted"
        )));
    }
    let mut content = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<direct>\n");
    for (family, rule) in rules {
        let rule = rule
            .strip_prefix("nat PREROUTING 0 ")
            .unwrap_or(rule.as_str());
        content.push_str(&format!(
            "  <rule ipv=\"{family}\" table=\"nat\" chain=\"PREROUTING\" priority=\"0\">{rule}</rule>\n"
        ));
    }
    content.push_str("</direct>\n");
    Ok(Action::File {
        path: DIRECT_FILE.into(),
        content,
        mode: 0o600,
        append: false,
    })
}

fn nftables(
    services: &[(IpAddr, u16, Protocol)],
    requests: &[&Request],
    facts: &Facts,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    facts.need(
        "nft",
        "nftables",
        "install the package nftables, or use --method iptables or sysctl",
    )?;
    let mut tables = Vec::new();
    for (family, v4) in [("ip", true), ("ip6", false)] {
        let rules: Vec<String> = services
            .iter()
            .filter(|(vip, ..)| vip.is_ipv4() == v4)
            .map(|(vip, port, protocol)| {
                format!("{family} daddr {vip} {protocol} dport {port} redirect")
            })
            .collect();
        if !rules.is_empty() {
            tables.push((family, rules));
        }
    }
    let text: String = tables
        .iter()
        .map(|(family, rules)| crate::action::nft_text(family, rules))
        .collect();
    for (family, rules) in tables {
        plan.push(
            "take the VIP's packets for these ports, though the VIP is not on this machine",
            Action::Nft {
                family: family.to_owned(),
                rules,
            },
        );
    }
    let carrier = boot::carrier(requests, facts, plan);
    if carrier.persists() {
        let content = format!(
            "# The VIPs this real server takes packets for. Written by tarpon realserver.\n{text}"
        );
        plan.push(
            "the same at boot",
            Action::File {
                path: NFT_FILE.into(),
                content,
                mode: 0o644,
                append: false,
            },
        );
        boot::nft(NFT_FILE, carrier, facts, plan);
    }
    Ok(())
}

/// A service bound to the VIP cannot be reached by REDIRECT: the packets arrive at the interface's own address.
fn bound_elsewhere(
    method: Method,
    services: &[(IpAddr, u16, Protocol)],
    facts: &Facts,
) -> Result<(), Refusal> {
    for (vip, port, protocol) in services {
        let bound = facts.listeners.iter().find(|l| {
            l.protocol == *protocol && l.address.port() == *port && l.address.ip() == *vip
        });
        if bound.is_some() {
            return Err(Refusal::Request(format!(
                "a service is bound to {vip} port {port}/{protocol}; method {} leads the VIP's packets to INADDR_ANY and would never reach it. \
                 Bind the service to all addresses, or use --method sysctl or arptables",
                method.name()
            )));
        }
    }
    Ok(())
}
