//! NAT: the replies must go back through the director, so its floating private address is the default gateway.

use super::{Plan, boot, interfaces};
use crate::{action::Action, error::Refusal, facts::Facts, request::Request};

pub(super) fn steps(requests: &[&Request], facts: &Facts, plan: &mut Plan) -> Result<(), Refusal> {
    facts.need("ip", "nat", "install iproute2 (iproute)")?;
    let mut start = Vec::new();
    for request in requests {
        let Some(gateway) = request.gateway else {
            continue;
        };
        let reaching = facts
            .interfaces
            .iter()
            .find(|i| i.addresses.iter().any(|n| n.contains(gateway)));
        let device = match (request.interfaces.first(), reaching) {
            (Some(name), _) => name.clone(),
            (None, Some(interface)) => interface.name.clone(),
            (None, None) if facts.known => {
                return Err(Refusal::Request(format!(
                    "--gateway {gateway} is in no network of this server; the director's floating private address must be on the servers' own segment"
                )));
            }
            (None, None) => interfaces(request, facts)?.remove(0),
        };
        if facts.holders(gateway).next().is_some() {
            return Err(Refusal::Request(format!(
                "--gateway {gateway} is this server's own address; it must be the director's"
            )));
        }
        let route = Action::DefaultRoute { gateway, device };
        start.push(boot::line(&route.route_argv("replace")));
        plan.push("send replies back through the director, which puts the VIP back in place of this server's address", route);
    }
    let carrier = boot::carrier(requests, facts, plan);
    if carrier.persists() {
        let unit = boot::Unit {
            name: "gateway",
            what: "the director's floating private address as default gateway",
            early: false,
            devices: vec![],
            requires: vec![],
            guards: vec![],
            start,
            stop: vec![],
        };
        boot::install(&unit, carrier, plan);
        plan.note("if the distribution's network files or DHCP name another default gateway, name the director there too: two writers race at every renewal");
    }
    plan.note("clients on the servers' own segment get replies directly and do not recognise them; they must reach the VIP through the director's public side");
    Ok(())
}
