//! A service and its servers: who is in the table with which weight, given who is up.

use crate::{OnFailure, Policy};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// A server as it is configured, and as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub address: SocketAddr,
    /// Its configured weight; 0 is quiesced, whatever its checks say.
    pub weight: u32,
    /// Whether all its checks find it up.
    pub up: bool,
    /// What its checks ask for.
    pub wished: Wished,
}

/// What the checks of a server ask for, all in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wished {
    /// This weight instead of the configured one.
    pub to: Option<u32>,
    /// So much more than that; below 0: less.
    pub by: i64,
}

impl Wished {
    /// What becomes of a configured weight: at least 0, at most what IPVS has room for. One that is quiesced stays quiesced.
    #[must_use]
    pub fn of(self, weight: u32) -> u32 {
        if weight == 0 {
            return 0;
        }
        let whole = i64::from(self.to.unwrap_or(weight)).saturating_add(self.by);
        u32::try_from(whole.clamp(0, i64::from(i32::MAX))).unwrap_or(0)
    }

    /// Whether they ask for nothing.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Member {
    /// The weight it has when nothing is against it. One that is quiesced stays quiesced.
    #[must_use]
    pub fn full_weight(&self) -> u32 {
        self.wished.of(self.weight)
    }
}

/// A server's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In it, with this weight.
    In(u32),
    /// Not in it.
    Out,
}

/// What a service remembers between one judgement and the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Absent: never judged.
    quorum: Option<bool>,
    /// Servers known to be down, and those that came back and when.
    down: BTreeMap<SocketAddr, Option<Duration>>,
}

/// What a judgement came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Each member's place, in their order.
    pub places: Vec<Place>,
    /// Whether the sorry server serves.
    pub sorry: bool,
    /// The quorum was won (true) or lost. The first judgement tells of a quorum that there is, and of none if the sorry server serves for that.
    pub quorum_changed: Option<bool>,
    /// A server's weight still grows: judge again soon.
    pub grows: bool,
}

impl Pool {
    /// Whether the service has its quorum.
    #[must_use]
    pub fn has_quorum(&self) -> bool {
        self.quorum != Some(false)
    }

    /// Decides who serves, `now`.
    pub fn judge(&mut self, policy: &Policy, members: &[Member], now: Duration) -> Judgement {
        self.remember(members, now);
        let live: u64 = members
            .iter()
            .filter(|m| m.up)
            .map(|m| u64::from(m.full_weight()))
            .sum();
        let before = self.quorum;
        let has = reaches(policy, before, live);
        self.quorum = Some(has);
        let sorry = !has && policy.sorry_server.is_some();
        let mut grows = false;
        let places = members
            .iter()
            .map(|member| {
                if !member.up {
                    return match policy.on_failure_of(member.address) {
                        OnFailure::Remove => Place::Out,
                        OnFailure::Quiesce => Place::In(0),
                    };
                }
                // Those still up keep their connections, and get no new ones.
                if sorry {
                    return Place::In(0);
                }
                let back = self.down.get(&member.address).copied().flatten();
                let (weight, still) = ramp(policy.slow_start, back, member.full_weight(), now);
                grows |= still;
                Place::In(weight)
            })
            .collect();
        Judgement {
            places,
            sorry,
            quorum_changed: match before {
                Some(had) => (had != has).then_some(has),
                // As keepalived does.
                None => (has || sorry).then_some(has),
            },
            grows,
        }
    }

    fn remember(&mut self, members: &[Member], now: Duration) {
        self.down
            .retain(|address, _| members.iter().any(|m| m.address == *address));
        for member in members {
            if !member.up {
                self.down.insert(member.address, None);
            } else if let Some(back @ None) = self.down.get_mut(&member.address) {
                *back = Some(now);
            }
        }
    }
}

/// Whether a live weight makes a quorum: keepalived's rule, with its hysteresis below the quorum.
fn reaches(policy: &Policy, before: Option<bool>, live: u64) -> bool {
    let quorum = u64::from(policy.quorum.max(1));
    let hysteresis = u64::from(policy.hysteresis).min(quorum - 1);
    match before {
        None | Some(false) => live >= quorum + hysteresis,
        Some(true) => live > 0 && live >= quorum - hysteresis,
    }
}

/// The weight of a server that came back then, and whether it will grow.
fn ramp(slow_start: Duration, back: Option<Duration>, full: u32, now: Duration) -> (u32, bool) {
    let Some(age) = back.map(|back| now.saturating_sub(back)) else {
        return (full, false);
    };
    if age >= slow_start || full == 0 {
        return (full, false);
    }
    let part = u128::from(full) * age.as_millis() / slow_start.as_millis().max(1);
    let weight = u32::try_from(part).unwrap_or(full).clamp(1, full);
    (weight, weight < full)
}

#[cfg(test)]
mod tests;
