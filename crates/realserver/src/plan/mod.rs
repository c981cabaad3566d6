//! From requests and facts to steps. Pure: the same input gives the same plan, and nothing is touched.
//!
//! Order is the argument of safety: the filter stands before the VIP is up, on apply and at boot; undo goes backwards, so the VIP is gone
//! before the filter is.

mod arptables;
mod boot;
mod conflicts;
mod gateway;
mod redirect;
mod sysctl;
mod tunnel;

pub use boot::UNIT_PREFIX;

use crate::{
    action::{Action, Step},
    error::Refusal,
    facts::Facts,
    request::{Method, Request},
};
use serde::Serialize;
use std::net::IpAddr;

/// What would be done, in order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// The changes.
    pub steps: Vec<Step>,
    /// What the operator must know that no command does.
    pub notes: Vec<String>,
}

impl Plan {
    /// Add a step unless the same change is there already (two requests may share an interface's sysctl).
    fn push(&mut self, why: impl Into<String>, action: Action) {
        if !self.steps.iter().any(|s| s.action.key() == action.key()) {
            self.steps.push(Step::new(why, action));
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }
}

/// The plan that makes all `requests` true on the machine `facts` describes.
///
/// # Errors
/// What contradicts itself, is missing on the machine, or is in the way.
pub fn plan(requests: &[Request], facts: &Facts) -> Result<Plan, Refusal> {
    for request in requests {
        request.validate()?;
    }
    conflicts::between(requests)?;
    for vip in requests.iter().flat_map(|r| &r.vips) {
        conflicts::not_of_the_segment(*vip, facts)?;
    }
    let mut plan = Plan::default();
    for &method in Method::ALL {
        let mine: Vec<&Request> = requests.iter().filter(|r| r.method == method).collect();
        if mine.is_empty() {
            continue;
        }
        for request in &mine {
            for name in &request.interfaces {
                if facts.known && name != "all" && facts.interface(name).is_none() {
                    let known = facts
                        .interfaces
                        .iter()
                        .map(|i| i.name.clone())
                        .collect::<Vec<_>>()
                        .join(", ");
                    return Err(Refusal::UnknownInterface {
                        name: name.clone(),
                        known,
                    });
                }
            }
        }
        match method {
            Method::Sysctl => sysctl::steps(&mine, facts, &mut plan)?,
            Method::Arptables => arptables::steps(&mine, facts, &mut plan)?,
            Method::Iptables | Method::Firewalld | Method::Nftables => {
                redirect::steps(method, &mine, facts, &mut plan)?
            }
            Method::Tunnel => tunnel::steps(&mine, facts, &mut plan)?,
            Method::Nat => gateway::steps(&mine, facts, &mut plan)?,
        }
    }
    conflicts::with_machine(&plan, requests, facts)?;
    Ok(plan)
}

/// The interfaces the director's frames arrive on: those named, or the only one that can be meant.
fn interfaces(request: &Request, facts: &Facts) -> Result<Vec<String>, Refusal> {
    if !request.interfaces.is_empty() {
        return Ok(request.interfaces.clone());
    }
    if !facts.known {
        return Err(Refusal::WhichInterface {
            reason: "the plan is for an image or another machine".into(),
        });
    }
    let held = |address: IpAddr| facts.holders(address).map(|(i, _)| i.name.clone()).next();
    if let Some(real_ip) = request.real_ip {
        return held(real_ip.into()).map(|name| vec![name]).ok_or_else(|| {
            Refusal::WhichInterface {
                reason: format!("no interface has the real IP {real_ip}"),
            }
        });
    }
    let candidates: Vec<String> = facts
        .interfaces
        .iter()
        .filter(|i| {
            i.up && i.mac.is_some()
                && i.addresses
                    .iter()
                    .any(|a| !request.vips.contains(&a.address()))
        })
        .map(|i| i.name.clone())
        .collect();
    match candidates.as_slice() {
        [only] => Ok(vec![only.clone()]),
        [] => Err(Refusal::WhichInterface {
            reason: "no Ethernet interface is up with an address".into(),
        }),
        several => Err(Refusal::WhichInterface {
            reason: format!("{} could be meant", several.join(", ")),
        }),
    }
}
