//! Method sysctl: the VIP as a host address on `lo`, and two settings that keep it out of ARP.
//!
//! On the interface itself the VIP would still be answered: `arp_ignore = 1` answers for addresses of the receiving interface.
//! IPv6 needs no setting: a neighbour solicitation is answered only for addresses of the interface it arrives on (RFC 4861 §7.2.3).

use super::{Plan, boot, interfaces};
use crate::{action::Action, error::Refusal, facts::Facts, request::Request};
use types::IpNet;

/// The documents' file.
const SYSCTL_FILE: &str = "/etc/sysctl.d/arp.conf";

/// Sysctls in force now and at boot.
#[derive(Default)]
pub(super) struct Settings {
    values: Vec<(String, String)>,
    /// Interfaces that must exist for them.
    pub devices: Vec<String>,
}

impl Settings {
    pub(super) fn set(&mut self, plan: &mut Plan, key: String, value: &str, why: &str) {
        plan.push(
            why,
            Action::Sysctl {
                key: key.clone(),
                value: value.into(),
            },
        );
        if !self.values.iter().any(|(k, _)| *k == key) {
            self.values.push((key, value.into()));
        }
    }

    /// Never answer ARP on the request's interfaces for an address of another, never put the VIP into a request.
    pub(super) fn silence(
        &mut self,
        request: &Request,
        facts: &Facts,
        plan: &mut Plan,
    ) -> Result<(), Refusal> {
        for interface in interfaces(request, facts)? {
            self.set(
                plan,
                format!("net/ipv4/conf/{interface}/arp_ignore"),
                "1",
                "answer ARP only for addresses of the receiving interface, so never for a VIP on another",
            );
            self.set(
                plan,
                format!("net/ipv4/conf/{interface}/arp_announce"),
                "2",
                "ask by ARP with the interface's own address, never with the VIP",
            );
            if interface != "all" && !self.devices.contains(&interface) {
                self.devices.push(interface);
            }
        }
        Ok(())
    }

    /// The commands of a unit.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.values
            .iter()
            .map(|(key, value)| format!("@sysctl@ -w {key}={value}"))
    }
}

/// Interfaces of the server that are not among those silenced still answer.
fn others_answer(request: &Request, silenced: &[String], facts: &Facts, plan: &mut Plan) {
    let other: Vec<&str> = facts
        .interfaces
        .iter()
        .filter(|i| {
            i.up && i.mac.is_some()
                && !request.interfaces.contains(&i.name)
                && !silenced.contains(&i.name)
        })
        .map(|i| i.name.as_str())
        .collect();
    if !other.is_empty() && !request.interfaces.iter().any(|i| i == "all") {
        plan.note(format!(
            "ARP for the VIP is still answered on {}; name them with --interface too if a client or the director can ask there",
            other.join(", ")
        ));
    }
}

pub(super) fn steps(requests: &[&Request], facts: &Facts, plan: &mut Plan) -> Result<(), Refusal> {
    facts.need("ip", "sysctl", "install iproute2 (iproute)")?;
    let mut settings = Settings::default();
    let mut addresses = Vec::new();
    for request in requests {
        if request.vips.iter().any(|v| v.is_ipv4()) {
            settings.silence(request, facts, plan)?;
            others_answer(request, &settings.devices, facts, plan);
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
        if !settings.values.is_empty() {
            plan.push(
                "the settings at boot, before any network is started",
                Action::File {
                    path: SYSCTL_FILE.into(),
                    content: sysctl_conf(&settings.values),
                    mode: 0o644,
                    append: true,
                },
            );
        }
        let start = settings.lines().chain(boot::raise(&addresses)).collect();
        let unit = boot::Unit {
            name: "sysctl",
            what: "the VIPs on lo, after the settings that keep them out of ARP",
            early: true,
            devices: settings.devices,
            requires: vec![],
            guards: vec![],
            start,
            stop: boot::lower(&addresses),
        };
        boot::install(&unit, carrier, plan);
    }
    for address in addresses {
        plan.push("accept the VIP's packets; scope host, so that no connection of the server's own starts from the VIP", address);
    }
    Ok(())
}

/// The documents' lines. An interface with dots in its name is written with slashes, as sysctl.d(5) has it.
fn sysctl_conf(settings: &[(String, String)]) -> String {
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
