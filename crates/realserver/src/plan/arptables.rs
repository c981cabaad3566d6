//! Method arptables: the VIP on the interface, ARP for it dropped, ARP from it rewritten.
//!
//! The documents' two rules leave one frame: with `arp_notify` set the kernel sends a gratuitous ARP for each address when a link comes up, and the
//! rewritten one still asks "who has VIP". A third rule, before the rewriting one, drops what is sent about the VIP itself.

use super::{Plan, boot, interfaces};
use crate::{
    action::{Action, Rule, Tool},
    error::Refusal,
    facts::Facts,
    request::Request,
};
use std::net::{IpAddr, Ipv4Addr};
use types::IpNet;

pub(super) fn steps(requests: &[&Request], facts: &Facts, plan: &mut Plan) -> Result<(), Refusal> {
    facts.need("ip", "arptables", "install iproute2 (iproute)")?;
    for tool in ["arptables", "arptables-save"] {
        facts.need(
            tool,
            "arptables",
            "install the package arptables (RHEL 8 and later: iptables-nft), or use --method sysctl",
        )?;
    }
    plan.push(
        "(kept for undo: whether arptables' table was there)",
        Action::Table {
            family: "arp".into(),
            table: "filter".into(),
        },
    );
    let mut rules = Vec::new();
    let mut addresses = Vec::new();
    let mut devices: Vec<String> = Vec::new();
    for request in requests {
        let names = interfaces(request, facts)?;
        let Some(device) = names.first().filter(|n| *n != "all").cloned() else {
            return Err(Refusal::WhichInterface {
                reason: "arptables puts the VIP on one real interface".into(),
            });
        };
        let real_ip = real_ip(request, &device, facts)?;
        for vip in &request.vips {
            rules.push((
                "ignore ARP requests for the VIP",
                Rule::new(Tool::Arptables, "IN", &format!("-d {vip} -j DROP")),
            ));
            rules.push((
                "send no ARP about the VIP itself (a gratuitous ARP would name it even after the next rule)",
                Rule::new(Tool::Arptables, "OUT", &format!("-d {vip} -j DROP")),
            ));
            rules.push((
                "put the server's own address in place of the VIP in any other ARP frame sent",
                Rule::new(
                    Tool::Arptables,
                    "OUT",
                    &format!("-s {vip} -j mangle --mangle-ip-s {real_ip}"),
                ),
            ));
            addresses.push(Action::Address {
                net: IpNet::host(*vip),
                device: device.clone(),
                scope_host: false,
            });
        }
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    for (why, rule) in &rules {
        plan.push(*why, Action::Rule(rule.clone()));
    }
    let carrier = boot::carrier(requests, facts, plan);
    if carrier.persists() {
        let rules: Vec<Rule> = rules.into_iter().map(|(_, rule)| rule).collect();
        let filter = boot::save_rules(Tool::Arptables, &rules, carrier, facts, plan);
        let unit = boot::Unit {
            name: "vip",
            what: "the VIPs on their interface, only after the ARP filter stands",
            early: false,
            devices,
            requires: vec![filter],
            guards: requests
                .iter()
                .flat_map(|r| &r.vips)
                .map(|vip| format!("@arptables@ -L @IN@ -n | grep -qwF {vip}"))
                .collect(),
            start: boot::raise(&addresses).collect(),
            stop: boot::lower(&addresses),
        };
        boot::install(&unit, carrier, plan);
        plan.note(
            "a service that binds the VIP must start after tarpon-realserver-vip.service (add `After=tarpon-realserver-vip.service` to its unit): \
             the distribution's tools cannot start this VIP",
        );
    }
    for address in addresses {
        plan.push(
            "accept the VIP's packets, now that no ARP frame can carry it",
            address,
        );
    }
    Ok(())
}

fn real_ip(request: &Request, device: &str, facts: &Facts) -> Result<Ipv4Addr, Refusal> {
    let on_device = facts
        .interface(device)
        .into_iter()
        .flat_map(|i| &i.addresses)
        .filter_map(|n| match n.address() {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => None,
        });
    let mut own = on_device.filter(|a| !request.vips.contains(&IpAddr::V4(*a)));
    match request.real_ip {
        Some(asked) if !facts.known || own.any(|a| a == asked) => Ok(asked),
        Some(asked) => Err(Refusal::Request(format!("--real-ip {asked} is not an address of {device}; it must be the one the director uses"))),
        None => own.next().ok_or_else(|| {
            Refusal::Request(format!("{device} has no IPv4 address to put in place of the VIP; name the server's own address with --real-ip"))
        }),
    }
}
