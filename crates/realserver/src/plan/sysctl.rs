//! Method sysctl: the VIP as a host address on `lo`, and two settings that keep it out of ARP.
//!
//! On the interface itself the VIP would still be answered: `arp_ignore = 1` answers for addresses of the receiving interface.
//! IPv6 needs no setting: a neighbour solicitation is answered only for addresses of the interface it arrives on (RFC 4861 §7.2.3).

use super::{Plan, boot, interfaces};
use crate::{action::Action, error::Refusal, facts::Facts, request::Request};
use types::IpNet;

/// The documents' file.
pub(super) const SYSCTL_FILE: &str = "/etc/sysctl.d/arp.conf";

/// Never answer ARP on this interface for an address of another, never put the VIP into a request.
pub(super) fn arp_settings(interface: &str) -> [(String, String, &'static str); 2] {
    [
        (
            format!("net/ipv4/conf/{interface}/arp_ignore"),
            "1".into(),
            "answer ARP only for addresses of the receiving interface, so never for a VIP on another",
        ),
        (
            format!("net/ipv4/conf/{interface}/arp_announce"),
            "2".into(),
            "ask by ARP with the interface's own address, never with the VIP",
        ),
    ]
}

pub(super) fn steps(requests: &[&Request], facts: &Facts, plan: &mut Plan) -> Result<(), Refusal> {
    facts.need("ip", "sysctl", "install iproute2 (iproute)")?;
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut devices: Vec<String> = Vec::new();
    let mut addresses = Vec::new();
    for request in requests {
        if request.vips.iter().any(|v| v.is_ipv4()) {
            for interface in interfaces(request, facts)? {
                for (key, value, why) in arp_settings(&interface) {
                    plan.push(
                        why,
                        Action::Sysctl {
                            key: key.clone(),
                            value: value.clone(),
                        },
                    );
                    if !settings.iter().any(|(k, _)| *k == key) {
                        settings.push((key, value));
                    }
                }
                let other: Vec<&str> = facts
                    .interfaces
                    .iter()
                    .filter(|i| {
                        i.up && i.mac.is_some()
                            && !request.interfaces.contains(&i.name)
                            && i.name != interface
                    })
                    .map(|i| i.name.as_str())
                    .collect();
                if !other.is_empty() && interface != "all" {
                    plan.note(format!(
                        "ARP for the VIP is still answered on {}; name them with --interface too if a client or the director can ask there",
                        other.join(", ")
                    ));
                }
                if interface != "all" && !devices.contains(&interface) {
                    devices.push(interface);
                }
            }
        }
        for vip in &request.vips {
            addresses.push(Action::Address {
                net: IpNet::host(*vip),
                device: "lo".into(),
                scope_host: true,
            });
        }
    }
    let carrier = boot::carrier(requests, facts, plan);
    if carrier.persists() {
        if !settings.is_empty() {
            plan.push(
                "the settings at boot, before any network is started",
                Action::File {
                    path: SYSCTL_FILE.into(),
                    content: sysctl_conf(&settings),
                    mode: 0o644,
                    append: true,
                },
            );
        }
        let start = settings
            .iter()
            .map(|(key, value)| format!("@sysctl@ -w {key}={value}"))
            .chain(
                addresses
                    .iter()
                    .map(|a| boot::line(&a.address_argv("replace"))),
            )
            .collect();
        let unit = boot::Unit {
            name: "sysctl",
            what: "the VIPs on lo, after the settings that keep them out of ARP",
            early: true,
            devices,
            requires: vec![],
            guards: vec![],
            start,
            stop: addresses
                .iter()
                .rev()
                .map(|a| boot::line(&a.address_argv("del")))
                .collect(),
        };
        boot::install(&unit, carrier, plan);
    }
    for address in addresses {
        plan.push("accept the VIP's packets; scope host, so that no connection of the server's own starts from the VIP", address);
    }
    Ok(())
}

/// The documents' lines. An interface with dots in its name is written with slashes, as sysctl.d(5) has it.
pub(super) fn sysctl_conf(settings: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in settings {
        let name = if key.contains('.') {
            key.clone()
        } else {
            key.replace('/', ".")
        };
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}
