//! All checks of a director: which are due, and what they have found. Kept through reloads.

use crate::{
    Change, Check, Machine, Outcome, Wish, Wished,
    bfd::{Finding, Peer},
    random::Random,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use types::ServiceKey;

mod share;

/// Which check: the how-many-th of which server of which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId {
    /// The service.
    pub service: ServiceKey,
    /// The server.
    pub server: SocketAddr,
    /// From 0, in the order of the file.
    pub number: usize,
}

/// A check to be made now.
#[derive(Clone, Debug)]
pub struct Due {
    /// Which.
    pub id: CheckId,
    /// To be given back with the outcome: one that comes after the check was changed is dropped.
    pub round: u64,
    /// What to do.
    pub check: Check,
}

/// What a run has changed of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: CheckId,
    /// The verdict; absent: only the weight it asks for is another.
    pub change: Option<Change>,
}

/// How a check is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Which.
    pub id: CheckId,
    /// Its kind's word.
    pub kind: &'static str,
    /// The endpoint it talks to.
    pub target: SocketAddr,
    /// Whether the server is up, as far as this check goes.
    pub up: bool,
    /// Whether it has been made at all.
    pub decided: bool,
    /// Failures in a row that have not made the server down yet.
    pub failures: u32,
    /// The last outcome, and when it was.
    pub last: Option<(Duration, Outcome)>,
    /// How long the last run took.
    pub took: Duration,
    /// When the verdict changed last; absent: never.
    pub since: Option<Duration>,
}

struct Entry {
    check: Check,
    machine: Machine,
    /// Of the run under way, or the next.
    round: u64,
    begun: Duration,
    last: Option<(Duration, Outcome)>,
    /// The weight it asked for when it passed last.
    wish: Option<Wish>,
    took: Duration,
    since: Option<Duration>,
    /// The check of another service that asks the same of the same server: its outcomes are this one's, which is never made itself.
    lead: Option<CheckId>,
}

impl Entry {
    fn view(&self, id: CheckId) -> View {
        View {
            id,
            kind: self.check.kind.word(),
            target: self.check.target(id.server),
            up: self.machine.is_up(),
            decided: self.machine.is_decided(),
            failures: self.machine.failures(),
            last: self.last.clone(),
            took: self.took,
            since: self.since,
        }
    }
}

/// All checks.
pub struct Checks {
    entries: BTreeMap<CheckId, Entry>,
    /// When which is due, with the round it was queued for; entries that are no longer true are skipped.
    queue: BinaryHeap<Reverse<(Duration, CheckId, u64)>>,
    rounds: u64,
    /// Those that go by another's outcomes.
    followers: BTreeMap<CheckId, Vec<CheckId>>,
    /// State of the generator of first moments.
    random: Random,
    /// Those that never came to a verdict.
    cold: usize,
}

impl Checks {
    /// None yet; `seed` spreads the first checks.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            queue: BinaryHeap::new(),
            rounds: 0,
            followers: BTreeMap::new(),
            random: Random(seed),
            cold: 0,
        }
    }

    /// Checks that have not come to a verdict yet, since they were first asked for.
    #[must_use]
    pub const fn cold(&self) -> usize {
        self.cold
    }

    /// Makes these the checks. One that was there before keeps its verdict: if it is the same, everything stays; if only its
    /// timing differs, that; if it does something else of the same kind, it is made at once. A verdict on a server is not given
    /// up because how it is found changes: a new check of a server that was down begins as down. What several services ask one
    /// server alike is asked once, for all of them.
    pub fn follow(&mut self, now: Duration, wanted: Vec<(CheckId, Check)>) {
        let mut before = std::mem::take(&mut self.entries);
        let mut fresh = BTreeSet::new();
        let down: BTreeSet<_> = before
            .iter()
            .filter(|(_, entry)| !entry.machine.is_up())
            .map(|(id, _)| (id.service, id.server))
            .collect();
        for (id, check) in wanted {
            let entry = match before.remove(&id) {
                Some(mut entry) if entry.check.kind.word() == check.kind.word() => {
                    if entry.check.timing != check.timing {
                        entry.machine.set_timing(now, check.timing);
                    }
                    let elsewhere = entry.check.kind != check.kind
                        || (entry.check.address, entry.check.port, &entry.check.bind)
                            != (check.address, check.port, &check.bind)
                        || entry.check.detour != check.detour;
                    entry.check = check;
                    if elsewhere {
                        // The answer to the old question is none to the new one.
                        entry.machine.restart(now);
                        entry.round = self.round();
                    }
                    entry
                }
                _ => {
                    let draw = self.draw();
                    let mut machine = Machine::new(check.timing, now, draw);
                    if down.contains(&(id.service, id.server)) {
                        machine.begin_down(now);
                    } else {
                        fresh.insert(id);
                    }
                    Entry {
                        machine,
                        round: self.round(),
                        check,
                        begun: now,
                        last: None,
                        wish: None,
                        took: Duration::ZERO,
                        since: None,
                        lead: None,
                    }
                }
            };
            self.entries.insert(id, entry);
        }
        for entry in self.entries.values_mut() {
            if entry.check.kind.is_session() {
                entry.machine.rest();
            }
        }
        self.share(now, &fresh);
        self.cold = self
            .entries
            .values()
            .filter(|entry| !entry.machine.is_judged())
            .count();
        self.queue = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.lead.is_none())
            .filter_map(|(id, entry)| Some(Reverse((entry.machine.next()?, *id, entry.round))))
            .collect();
    }

    /// The checks of a server that is suspect are made at once, but for those under way.
    pub fn hurry(&mut self, now: Duration, service: ServiceKey, server: SocketAddr) {
        let first = CheckId {
            service,
            server,
            number: 0,
        };
        let last = CheckId {
            number: usize::MAX,
            ..first
        };
        let own: Vec<CheckId> = self
            .entries
            .range(first..=last)
            .map(|(id, entry)| entry.lead.unwrap_or(*id))
            .collect();
        for id in own {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            let before = entry.machine.next();
            entry.machine.hurry(now);
            let after = entry.machine.next();
            if let Some(at) = after
                && after != before
            {
                self.rounds += 1;
                entry.round = self.rounds;
                self.queue.push(Reverse((at, id, entry.round)));
            }
        }
    }

    /// When the next check is due; absent: none waits.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.queue.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next of the checks that are due, which begins now.
    pub fn begin(&mut self, now: Duration) -> Option<Due> {
        while let Some(Reverse((at, id, round))) = self.queue.peek().copied() {
            if at > now {
                return None;
            }
            self.queue.pop();
            let Some(entry) = self.entries.get_mut(&id).filter(|e| e.round == round) else {
                continue;
            };
            if entry.machine.begin(now) {
                entry.begun = now;
                let check = entry.check.clone();
                return Some(Due { id, round, check });
            }
        }
        None
    }

    /// A check is over. What that changed, of it and of those that go by its outcomes; empty also if it was no longer wanted.
    pub fn finish(
        &mut self,
        now: Duration,
        id: CheckId,
        round: u64,
        outcome: &Outcome,
    ) -> Vec<Found> {
        let next_round = self.rounds + 1;
        let Some(entry) = self.entries.get_mut(&id).filter(|e| e.round == round) else {
            return Vec::new();
        };
        self.rounds = next_round;
        entry.round = next_round;
        let took = now.saturating_sub(entry.begun);
        let mut found = Vec::new();
        found.extend(self.take(now, id, outcome, took));
        for follower in self.followers.get(&id).cloned().unwrap_or_default() {
            found.extend(self.take(now, follower, outcome, took));
        }
        if let Some(entry) = self.entries.get(&id)
            && entry.lead.is_none()
            && let Some(at) = entry.machine.next()
        {
            self.queue.push(Reverse((at, id, next_round)));
        }
        found
    }

    /// A check has this outcome.
    fn take(
        &mut self,
        now: Duration,
        id: CheckId,
        outcome: &Outcome,
        took: Duration,
    ) -> Option<Found> {
        let before = self.wished(id.service, id.server);
        let entry = self.entries.get_mut(&id)?;
        let was_judged = entry.machine.is_judged();
        let change = entry.machine.finish(now, outcome);
        if !was_judged && entry.machine.is_judged() {
            self.cold -= 1;
        }
        entry.took = took;
        if let Outcome::Passed { weight } = outcome {
            entry.wish = *weight;
        }
        entry.last = Some((now, outcome.clone()));
        if change.is_some() {
            entry.since = Some(now);
        }
        let other_weight = before != self.wished(id.service, id.server);
        (change.is_some() || other_weight).then_some(Found { id, change })
    }

    /// The checks that have a session, and with whom.
    pub fn sessions(&self) -> impl Iterator<Item = (CheckId, Peer, &Check)> {
        self.entries.iter().filter_map(|(id, entry)| {
            let peer = entry.check.peer(id.server)?;
            Some((*id, peer, &entry.check))
        })
    }

    /// A check's session with `peer` finds this. The check's outcome, and its verdict if that changes; `None`: it has no such session.
    pub fn tell(
        &mut self,
        now: Duration,
        id: CheckId,
        peer: Peer,
        finding: &Finding,
    ) -> Option<(Option<Change>, Outcome)> {
        const HELD: &str = "the neighbour's operator holds the session down";
        let alone = self
            .of(id.service, id.server)
            .all(|entry| entry.check.kind.is_session());
        let entry = self.entries.get_mut(&id)?;
        if entry.check.peer(id.server) != Some(peer) {
            return None;
        }
        let (up, outcome) = match finding {
            Finding::Up => (Some(true), Outcome::PASSED),
            Finding::Waiting => (None, Outcome::Undecided("the session is not up yet".into())),
            Finding::Unable(why) => (None, Outcome::Undecided(why.clone())),
            Finding::Down(why) => (Some(false), Outcome::Failed(why.clone())),
            // RFC 5882 section 3.2: without other means to tell, it is as good as down; else it says nothing.
            Finding::Held if alone => (Some(false), Outcome::Failed(HELD.into())),
            Finding::Held => (
                Some(true),
                Outcome::Undecided(format!("{HELD}: other checks decide")),
            ),
        };
        let was_judged = entry.machine.is_judged();
        let change = up.and_then(|up| entry.machine.settle(up));
        if !was_judged && entry.machine.is_judged() {
            self.cold -= 1;
        }
        if change.is_some() {
            entry.since = Some(now);
        }
        if entry.last.as_ref().map(|(_, last)| last) != Some(&outcome) {
            entry.last = Some((now, outcome.clone()));
        }
        Some((change, outcome))
    }

    /// Whether every check of this server finds it up; one without checks is.
    #[must_use]
    pub fn is_up(&self, service: ServiceKey, server: SocketAddr) -> bool {
        self.of(service, server).all(|entry| entry.machine.is_up())
    }

    /// The weight that checks asked for when they passed last, the lowest of several, and what others add to it: a failure alone
    /// changes neither.
    #[must_use]
    pub fn wished(&self, service: ServiceKey, server: SocketAddr) -> Wished {
        let mut all = Wished::default();
        for wish in self.of(service, server).filter_map(|entry| entry.wish) {
            match wish {
                Wish::To(weight) => all.to = Some(all.to.map_or(weight, |to| to.min(weight))),
                Wish::By(more) => all.by = all.by.saturating_add(more),
            }
        }
        all
    }

    /// How each check is, by service, server and number.
    pub fn views(&self) -> impl Iterator<Item = View> + '_ {
        self.entries.iter().map(|(id, entry)| entry.view(*id))
    }

    /// How each check of a service is, by server and number.
    pub fn views_of(&self, service: ServiceKey) -> impl Iterator<Item = View> + '_ {
        // No address comes before this one.
        let first = CheckId {
            service,
            server: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            number: 0,
        };
        self.entries
            .range(first..)
            .take_while(move |(id, _)| id.service == service)
            .map(|(id, entry)| entry.view(*id))
    }

    fn of(&self, service: ServiceKey, server: SocketAddr) -> impl Iterator<Item = &Entry> {
        let from = |number| CheckId {
            service,
            server,
            number,
        };
        self.entries
            .range(from(0)..=from(usize::MAX))
            .map(|(_, entry)| entry)
    }

    fn round(&mut self) -> u64 {
        self.rounds += 1;
        self.rounds
    }

    fn draw(&mut self) -> u16 {
        let [high, low, ..] = self.random.draw().to_be_bytes();
        u16::from_be_bytes([high, low])
    }
}

#[cfg(test)]
mod tests;
