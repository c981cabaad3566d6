//! Who else claims a virtual address that is this director's: told once, shown while it lasts.
//!
//! A real server that answers for the address of its loopback says so only to who asks. So this director asks, as a host does before it
//! takes an address: when one has become its own, and every minute.

use super::Control;
use crate::{
    desired::interface_names,
    takeover::{ALWAYS, Urgent},
};
use api::EventKind;
use dpdk::Mempool;
use engine::Director;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};
use types::{MacAddr, Tick};
use vrrp::{Link, probe};

/// When an address has just moved, who had it may not have heard yet: what is said in the meantime counts for nothing.
const SETTLE_MS: u64 = 2000;
/// Between two questions for an address.
const AGAIN_MS: u64 = 60_000;
/// A claim not heard for so long is over: it has been asked for twice.
const OVER_MS: u64 = 150_000;
/// Asked for at once, every second.
const PORTION: usize = 64;

/// What is known, and how it is asked for.
pub struct Claims {
    rings: Vec<Arc<Urgent>>,
    pool: Mempool,
    ours: HashMap<IpAddr, Ours>,
    told: Vec<api::Claim>,
}

#[derive(Clone, Copy)]
struct Ours {
    since: Tick,
    asked: Option<Tick>,
}

impl Ours {
    /// Since when it may be asked for again.
    fn due(&self) -> Tick {
        self.asked
            .map_or(self.since + SETTLE_MS, |at| at + AGAIN_MS)
    }
}

impl Claims {
    /// Questions leave through `rings`, in buffers of `pool`.
    pub fn new(rings: Vec<Arc<Urgent>>, pool: Mempool) -> Self {
        Self {
            rings,
            pool,
            ours: HashMap::new(),
            told: Vec::new(),
        }
    }

    /// Those that last.
    pub fn shown(&self) -> Vec<api::Claim> {
        self.told.clone()
    }

    fn ask(&mut self, director: &Director, now: Tick) {
        let here = director.claimed_here(now);
        let still: HashSet<IpAddr> = here.iter().map(|(address, _)| *address).collect();
        self.ours.retain(|address, _| still.contains(address));
        let mut due = Vec::new();
        for (address, interface) in here {
            let new = Ours {
                since: now,
                asked: None,
            };
            let ours = self.ours.entry(address).or_insert(new);
            if ours.due() <= now {
                due.push((ours.due(), address, interface));
            }
        }
        due.sort_by_key(|(since, address, _)| (*since, *address));
        for (_, address, interface) in due.into_iter().take(PORTION) {
            let link = Link {
                mac: interface.mac,
                vlan: interface.vlan,
            };
            let question = probe(link, address);
            // One that finds no room is asked for a second later.
            if Urgent::send(&self.rings, &self.pool, interface.port, &question, ALWAYS)
                && let Some(ours) = self.ours.get_mut(&address)
            {
                ours.asked = Some(now);
            }
        }
        for ring in &self.rings {
            ring.wake();
        }
    }

    fn counts(&self, claim: &engine::Claim, now: Tick) -> bool {
        self.ours
            .get(&claim.address)
            .is_some_and(|ours| claim.last >= ours.since + SETTLE_MS)
            && now.since_ms(claim.last) < OVER_MS
    }
}

/// Asks, and tells what has changed. Once a second.
pub fn look(control: &mut Control) {
    let now = control.clock.now();
    control.claims.ask(&control.director, now);
    let claims = &control.claims;
    control
        .director
        .forget_claims(|claim| !claims.counts(claim, now));
    let found = found(control, now);
    let before = std::mem::replace(&mut control.claims.told, found.clone());
    let who = |claim: &api::Claim| (claim.address, claim.mac, claim.interface.clone());
    let missing_in = |others: &[api::Claim], claim: &&api::Claim| {
        others.iter().all(|other| who(other) != who(claim))
    };
    let over = before.iter().filter(|claim| missing_in(&found, claim));
    let new = found.iter().filter(|claim| missing_in(&before, claim));
    let news = new
        .map(|claim| (claim, true))
        .chain(over.map(|claim| (claim, false)));
    for (claim, claimed) in news {
        let (address, mac, interface) = who(claim);
        let (kind, what, cause) = if claimed {
            (
                EventKind::AddressClaimed,
                format!("{address} is claimed by {mac}, too, on {interface}"),
                cause(claim),
            )
        } else {
            (
                EventKind::AddressUncontested,
                format!("{address} is no longer claimed by {mac} on {interface}"),
                "not heard any more, or the address is not this director's now".to_owned(),
            )
        };
        control.journal.add(kind, (None, None), what, cause);
    }
}

fn cause(claim: &api::Claim) -> String {
    let heard = if claim.address.is_ipv4() {
        "ARP"
    } else {
        "neighbour discovery"
    };
    let servers: Vec<String> = claim.servers.iter().map(ToString::to_string).collect();
    match servers.as_slice() {
        [] => format!("heard in {heard}; it is no real server's MAC"),
        all => format!(
            "heard in {heard}; that is real server {}: `tarpon realserver` says how it is kept silent",
            all.join(", ")
        ),
    }
}

fn found(control: &Control, now: Tick) -> Vec<api::Claim> {
    let claims = control.director.claims();
    if claims.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = interface_names(&control.config).collect();
    let services = control.config.services.iter();
    let servers: HashSet<IpAddr> = services
        .flat_map(|service| &service.servers)
        .map(|server| server.address.ip())
        .collect();
    let neighbours = control.director.neighbours(now);
    let with = |mac: MacAddr| {
        let at = neighbours.iter().filter(|n| n.mac == Some(mac));
        let mut at: Vec<IpAddr> = at.map(|n| n.address).collect();
        at.retain(|address| servers.contains(address));
        at.sort_unstable();
        at.dedup();
        at
    };
    let mut found: Vec<api::Claim> = claims
        .into_iter()
        .map(|claim| api::Claim {
            address: claim.address,
            mac: claim.mac,
            interface: names
                .get(claim.interface.index())
                .map_or_else(String::new, |name| (*name).to_owned()),
            servers: with(claim.mac),
            times: claim.times,
            age_ms: now.since_ms(claim.last),
        })
        .collect();
    found.sort_by_key(|claim| (claim.address, claim.mac.0));
    found
}
