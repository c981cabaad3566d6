//! Tunnelling: what the director encapsulates comes out of a fallback tunnel device, which holds the VIP.
//!
//! Only IP in IP, and IPv6 in IPv6: the kernel's `tunl0` and `ip6tnl0` take a tunnel from any director without being told of it.

use super::{Plan, boot, sysctl::Settings};
use crate::{action::Action, error::Refusal, facts::Facts, request::Request};
use types::IpNet;

pub(super) fn steps(requests: &[&Request], facts: &Facts, plan: &mut Plan) -> Result<(), Refusal> {
    facts.need("ip", "tunnel", "install iproute2 (iproute)")?;
    let mut start: Vec<String> = Vec::new();
    let mut settings = Settings::default();
    let mut addresses = Vec::new();
    for (module, device, v4) in [("ipip", "tunl0", true), ("ip6_tunnel", "ip6tnl0", false)] {
        let mine: Vec<(&Request, IpNet)> = requests
            .iter()
            .flat_map(|r| {
                r.vips
                    .iter()
                    .filter(|v| v.is_ipv4() == v4)
                    .map(|v| (*r, IpNet::host(*v)))
            })
            .collect();
        if mine.is_empty() {
            continue;
        }
        facts.need("modprobe", "tunnel", "install kmod")?;
        if v4 {
            for (request, _) in &mine {
                settings.silence(request, facts, plan)?;
            }
        }
        plan.push(
            format!("the decapsulation interface {device}"),
            Action::Module {
                module: module.into(),
                device: device.into(),
            },
        );
        start.push(format!("@modprobe@ {module}"));
        if v4 {
            // The kernel takes the larger of `all` and the device's own; 2 (loose) undoes an `all` of 1 without touching other interfaces.
            let value = if facts.known && facts.rp_filter_all == 0 {
                "0"
            } else {
                "2"
            };
            settings.set(
                plan,
                format!("net/ipv4/conf/{device}/rp_filter"),
                value,
                "the inner source is a client, which is not routed through the tunnel: strict reverse-path filtering would drop it",
            );
        }
        plan.push(
            "decapsulate",
            Action::LinkUp {
                device: device.into(),
            },
        );
        addresses.extend(mine.into_iter().map(|(_, net)| Action::Address {
            net,
            device: device.into(),
            scope_host: true,
        }));
    }
    let carrier = boot::carrier(requests, facts, plan);
    if carrier.persists() {
        start.extend(settings.lines());
        let mut ups: Vec<String> = Vec::new();
        for address in &addresses {
            if let Action::Address { device, .. } = address {
                let up = format!("@ip@ link set {device} up");
                if !ups.contains(&up) {
                    ups.push(up);
                }
            }
        }
        start.extend(ups);
        start.extend(boot::raise(&addresses));
        let unit = boot::Unit {
            name: "tunnel",
            what: "the decapsulation interface and the VIPs on it",
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
        plan.push("accept the VIP's packets", address);
    }
    plan.note("the encapsulation takes 20 bytes (IPv6: 40) of the path's MTU: lower the services' MSS or raise the MTU between director and server");
    Ok(())
}
