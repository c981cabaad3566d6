//! What is in the way: other requests, other people's rules, the VIP in the wrong place.

use super::Plan;
use crate::{
    action::Action,
    error::Refusal,
    facts::Facts,
    request::{Method, Request},
};
use std::net::IpAddr;

/// Requests that cannot be true at once.
pub(super) fn between(requests: &[Request]) -> Result<(), Refusal> {
    for (index, request) in requests.iter().enumerate() {
        for earlier in &requests[..index] {
            for vip in &request.vips {
                if earlier.vips.contains(vip) && earlier.method != request.method {
                    return Err(Refusal::OtherMethod {
                        vip: *vip,
                        method: earlier.method.name(),
                    });
                }
            }
        }
    }
    let redirected: Vec<_> = requests
        .iter()
        .filter(|r| r.method.redirects())
        .flat_map(|r| {
            r.services()
                .map(move |(vip, port, protocol)| (r, vip, port, protocol))
        })
        .collect();
    for (index, (request, vip, port, protocol)) in redirected.iter().enumerate() {
        for (earlier, other, its_port, its_protocol) in &redirected[..index] {
            // Two families are two wildcard sockets (or one that serves both): no reuse of a port.
            let clash = port == its_port
                && protocol == its_protocol
                && vip != other
                && vip.is_ipv4() == other.is_ipv4();
            if clash
                && !(request.one_service
                    && (earlier.one_service || std::ptr::eq(*earlier, *request)))
            {
                return Err(Refusal::PortReuse {
                    method: request.method.name(),
                    port: *port,
                    protocol: *protocol,
                    first: *other,
                    second: *vip,
                });
            }
        }
    }
    Ok(())
}

/// What the machine has that the plan did not put there.
pub(super) fn with_machine(
    plan: &Plan,
    requests: &[Request],
    facts: &Facts,
) -> Result<(), Refusal> {
    for request in requests {
        for &vip in &request.vips {
            vip_elsewhere(vip, request.method, plan, facts)?;
            foreign_rules(vip, request.method, plan, facts)?;
        }
    }
    Ok(())
}

fn vip_elsewhere(vip: IpAddr, method: Method, plan: &Plan, facts: &Facts) -> Result<(), Refusal> {
    let wanted = plan.steps.iter().find_map(|s| match &s.action {
        Action::Address { net, device, .. } if net.address() == vip => {
            Some((*net, device.as_str()))
        }
        _ => None,
    });
    for (interface, net) in facts.holders(vip) {
        if wanted == Some((net, interface.name.as_str())) {
            continue;
        }
        let remedy = match wanted {
            None if method == Method::Nat => format!(
                "with NAT the VIP is the director's alone: ip addr del {net} dev {}",
                interface.name
            ),
            None => format!(
                "with method {} the VIP must exist only on the director: take it off with `ip addr del {net} dev {}`",
                method.name(),
                interface.name
            ),
            Some((want, device)) => format!(
                "method {} has it on {device} as {want}: take it off with `ip addr del {net} dev {}` first, or it is answered by ARP",
                method.name(),
                interface.name
            ),
        };
        return Err(Refusal::VipElsewhere {
            vip,
            device: interface.name.clone(),
            prefix: net.prefix(),
            remedy,
        });
    }
    Ok(())
}

/// Addresses that mean something else on this server: its own, a segment's network and broadcast address.
pub(super) fn not_of_the_segment(vip: IpAddr, facts: &Facts) -> Result<(), Refusal> {
    for interface in &facts.interfaces {
        for net in &interface.addresses {
            let host = net.prefix() == if vip.is_ipv4() { 32 } else { 128 };
            // The address the segment's other machines know the server by: taking it off would cut the server off.
            let only = interface
                .addresses
                .iter()
                .filter(|n| n.address().is_ipv4() == vip.is_ipv4() && n.contains(vip))
                .count()
                == 1;
            if net.address() == vip && !host && only {
                return Err(Refusal::Request(format!(
                    "{vip} is this server's own address on {} ({net}), not a VIP; --vip is the virtual service's address, which the director answers for",
                    interface.name
                )));
            }
            if let (IpAddr::V4(own), IpAddr::V4(v4)) = (net.address(), vip)
                && net.prefix() < 31
            {
                let hosts = u32::MAX >> net.prefix();
                let (network, broadcast) = (own.to_bits() & !hosts, own.to_bits() | hosts);
                if v4.to_bits() == network || v4.to_bits() == broadcast {
                    return Err(Refusal::Request(format!(
                        "{vip} is the network or broadcast address of {} ({net}); a VIP is a host's address",
                        interface.name
                    )));
                }
            }
        }
    }
    Ok(())
}

fn foreign_rules(vip: IpAddr, method: Method, plan: &Plan, facts: &Facts) -> Result<(), Refusal> {
    let text = vip.to_string();
    let conflict = |rule: String| Err(Refusal::ConflictingRule { vip, rule });
    let firewalld: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|s| {
            if let Action::Firewalld { rules } = &s.action {
                Some(rules)
            } else {
                None
            }
        })
        .flatten()
        .map(|(family, spec)| format!("{family} {spec}"))
        .collect();
    for rule in facts
        .rules
        .iter()
        .filter(|r| r.normal().iter().any(|(_, value)| *value == text))
    {
        let planned = plan.steps.iter().any(|s| match &s.action {
            Action::Rule(ours) => {
                ours.tool == rule.tool
                    && ours.chain_name(facts.chains) == rule.chain_name(facts.chains)
                    && ours.normal() == rule.normal()
            }
            _ => false,
        });
        // firewalld's direct rules show up among iptables' own.
        let firewalld = method == Method::Firewalld
            && firewalld.iter().any(|f| {
                f.split_whitespace().nth(2) == Some(rule.chain.as_str())
                    && crate::action::normal(f.split_whitespace().skip(4)) == rule.normal()
            });
        if !planned && !firewalld {
            return conflict(crate::action::words(&rule.argv("-A", facts.chains)));
        }
    }
    // In an image firewalld's file is written whole, which only happens where nobody else's rule is in it.
    let direct = (method != Method::Firewalld || facts.runs()).then_some(&facts.firewalld);
    for rule in direct.into_iter().flatten() {
        if rule.split_whitespace().any(|w| w == text) && !firewalld.contains(rule) {
            return conflict(format!("firewalld direct rule: {rule}"));
        }
    }
    let verdicts = ["redirect", "dnat", "drop", "reject", "snat", "masquerade"];
    for line in facts.nft.lines() {
        let mut words = line.split(|c: char| c.is_whitespace() || c == ',');
        if words.any(|w| w == text) && verdicts.iter().any(|v| line.contains(v)) {
            return conflict(format!("nft: {}", line.trim()));
        }
    }
    Ok(())
}
