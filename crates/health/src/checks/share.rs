//! What several services ask one server alike is asked once: a `virtual_server_group` of a hundred addresses is no hundred checks of
//! each server, and all its services see the server go at the same moment, as with keepalived, where a group is one virtual server.

use super::{CheckId, Checks, Entry};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

impl Checks {
    /// Finds checks that are the same, and lets one of each set lead the others: one that led before if there is any, so that a run under
    /// way goes on. A `fresh` one, about which nothing is known yet, takes what the leader knows.
    pub(super) fn share(&mut self, now: Duration, fresh: &BTreeSet<CheckId>) {
        let rank = |id: &CheckId, entry: &Entry| match (fresh.contains(id), entry.lead) {
            (false, None) => 0,
            (false, Some(_)) => 1,
            (true, _) => 2,
        };
        let mut order: Vec<(u8, CheckId)> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.check.kind.is_session())
            .map(|(id, entry)| (rank(id, entry), *id))
            .collect();
        order.sort_unstable();
        let mut leaders: BTreeMap<SocketAddr, Vec<CheckId>> = BTreeMap::new();
        self.followers.clear();
        for (_, id) in order {
            let Some(check) = self.entries.get(&id).map(|entry| &entry.check) else {
                continue;
            };
            let of_server = leaders.entry(id.server).or_default();
            let same = |lead: &&CheckId| {
                let its = self.entries.get(*lead);
                lead.service != id.service && its.is_some_and(|lead| lead.check == *check)
            };
            let Some(lead) = of_server.iter().find(same).copied() else {
                of_server.push(id);
                self.lead(now, id);
                continue;
            };
            self.followers.entry(lead).or_default().push(id);
            self.go_by(id, lead, fresh.contains(&id));
        }
    }

    /// It is made itself.
    fn lead(&mut self, now: Duration, id: CheckId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.lead.take().is_some()
            && entry.machine.next().is_none()
        {
            // The run its leader had under way is nobody's now.
            entry.machine.restart(now);
        }
    }

    /// It goes by another's outcomes.
    fn go_by(&mut self, id: CheckId, lead: CheckId, fresh: bool) {
        let Some(known) = self.entries.get(&lead) else {
            return;
        };
        let known = (
            known.machine.clone(),
            known.last.clone(),
            known.wish,
            known.took,
            known.since,
        );
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.lead = Some(lead);
        if fresh {
            (
                entry.machine,
                entry.last,
                entry.wish,
                entry.took,
                entry.since,
            ) = known;
        }
    }
}
