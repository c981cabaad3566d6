//! What is shown of the units.

use super::{
    UnitPlan,
    thread::{Conflict, Handover},
};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};
use types::{MacAddr, Tick};
use vrrp::{Announcer, Finding, Meaning, Received, State, Tracked, Trackers, Unit, Waits};

/// Frames that could not be sent or read, by unit.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// A ring was full, or no buffer free.
    pub unsent: u64,
    /// A unicast peer's MAC is not known yet.
    pub unresolved: u64,
}

/// A unit with what belongs to it.
pub struct Live {
    /// As configured.
    pub plan: UnitPlan,
    /// Its state.
    pub unit: Unit,
    /// What it tracks.
    pub trackers: Trackers,
    /// Its announcements.
    pub announcer: Announcer,
    /// What it waits for before it preempts.
    pub waits: Option<Waits>,
    /// It has given up, and serves on what still comes.
    pub handover: Option<Handover>,
    /// Another master that is worse.
    pub conflict: Conflict,
    /// What went wrong.
    pub losses: Losses,
    /// By member, the sequence number last sent or heard in an authentication header.
    pub sequences: Vec<Option<u32>>,
    /// From which MACs peers that are told one by one spoke last.
    pub met: BTreeMap<IpAddr, MacAddr>,
    /// Since when peers that speak with another hop limit have been asked for their MAC in vain.
    pub unanswered: BTreeMap<IpAddr, Tick>,
}

impl Live {
    /// Whether a member may take what it received for authentic; else what is wrong with it.
    pub fn authenticate(&mut self, member: usize, received: &Received) -> Result<(), &'static str> {
        let key = self.plan.members.get(member).and_then(|m| m.key);
        // Where only one of the two is there, both ends are told different things: see `mismatched`.
        let (Some(key), Some(seal)) = (key, &received.seal) else {
            return Ok(());
        };
        if !seal.is_by(&key) {
            return Err("key");
        }
        let last = self.sequences.get_mut(member).ok_or("key")?;
        match *last {
            Some(last) if seal.sequence.wrapping_sub(last).cast_signed() <= 0 => Err("repeated"),
            _ => {
                *last = Some(seal.sequence);
                Ok(())
            }
        }
    }

    /// The sequence number of what a member says next.
    pub fn next_sequence(&mut self, member: usize) -> u32 {
        let Some(last) = self.sequences.get_mut(member) else {
            return 0;
        };
        *last.insert(last.unwrap_or(0).wrapping_add(1))
    }
}

/// How the instances are. `wrong`: advertisements that were none, by the mistake's name.
pub fn report(
    now: Duration,
    units: &[Live],
    wrong: &BTreeMap<&'static str, u64>,
) -> Vec<api::Vrrp> {
    let mut all = Vec::new();
    for (number, live) in units.iter().enumerate() {
        let unit = &live.unit;
        for (plan, member) in live.plan.members.iter().zip(unit.members()) {
            let counters = member.counters();
            let settings = member.settings();
            all.push(api::Vrrp {
                name: plan.name.clone(),
                sync_group: plan.sync_group.clone(),
                unit: number,
                interface: plan.interface.clone(),
                version: settings.version.number(),
                virtual_router_id: settings.router_id,
                state: unit.state().name().to_owned(),
                since_s: now.saturating_sub(unit.since()).as_secs_f64(),
                why: why(live),
                lets_be: lets_be(live),
                priority: settings.priority,
                priority_now: member.priority(),
                advert_int_ms: u64::try_from(settings.interval.duration().as_millis())
                    .unwrap_or(u64::MAX),
                source: settings.source,
                virtual_mac: plan.virtual_mac,
                addresses: plan.addresses.clone(),
                tracked: live.trackers.iter().map(|t| tracked(now, t)).collect(),
                heard: member
                    .master()
                    .map(|(from, priority)| api::Heard { from, priority }),
                takeovers: unit.takeovers(),
                woke_late: unit.late(),
                counters: [
                    ("sent", counters.sent),
                    ("sent_release", counters.sent_release),
                    ("received", counters.received),
                    ("received_release", counters.received_release),
                    ("conflicts", counters.conflicts),
                    ("ignored", counters.ignored),
                    ("mismatched", counters.mismatched),
                    ("own", counters.own),
                    ("other_addresses", counters.other_addresses),
                    ("unsent", live.losses.unsent),
                    ("unresolved", live.losses.unresolved),
                ]
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .chain(wrong.iter().map(|(name, n)| (format!("wrong_{name}"), *n)))
                .collect(),
            });
        }
    }
    all
}

fn why(live: &Live) -> String {
    match live.trackers.waits_for() {
        Some(tracker) if live.unit.state() == State::Init => format!("waits for {tracker}"),
        _ => live.unit.cause().to_string(),
    }
}

/// Why a worse master would be let be: for those who would take over from it otherwise.
fn lets_be(live: &Live) -> Option<String> {
    let would = live.plan.preemption.allowed && live.unit.state() != State::Master;
    live.waits.filter(|_| would).map(|waits| waits.to_string())
}

fn tracked(now: Duration, tracked: &Tracked) -> api::Tracked {
    let (adds, fault) = match tracked.meaning() {
        Meaning::Add(weight) => (weight, false),
        Meaning::Fault(_) => (0, true),
    };
    api::Tracked {
        kind: tracked.tracker.kind.word().to_owned(),
        name: tracked.tracker.name.clone(),
        weight: tracked.weight.by,
        reverse: tracked.weight.reverse,
        finding: tracked.finding.to_string(),
        why: match &tracked.finding {
            Finding::Down(why) => Some(why.clone()),
            _ => None,
        },
        since_s: now.saturating_sub(tracked.since).as_secs_f64(),
        adds,
        fault,
    }
}
