//! Another master that is worse: when that is told. It is contradicted and counted in any case.

use super::{ConflictNews, Item, Thread};
use std::{net::IpAddr, time::Duration};

/// While it goes on it is told this often.
const AGAIN: Duration = Duration::from_secs(10);
/// Not more often than this, however often it begins anew.
const LEAST: Duration = Duration::from_secs(1);

/// The last conflict of a unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conflict {
    heard: Option<Duration>,
    told: Option<Duration>,
}

impl Conflict {
    /// Another master was heard: whether that is to be told. `patience`: after such a silence it is another conflict.
    fn hear(&mut self, now: Duration, patience: Duration) -> bool {
        let since = |moment: Option<Duration>| moment.map(|at| now.saturating_sub(at));
        let is_new = since(self.heard).is_none_or(|silence| silence > patience);
        self.heard = Some(now);
        let tells = since(self.told).is_none_or(|past| past >= AGAIN || (is_new && past >= LEAST));
        if tells {
            self.told = Some(now);
        }
        tells
    }
}

impl Thread {
    /// How often a member of a unit has heard another master that is worse.
    pub(super) fn conflicts(&self, number: usize, member: usize) -> u64 {
        let live = self.units.get(number);
        let member = live.and_then(|live| live.unit.members().get(member));
        member.map_or(0, |member| member.counters().conflicts)
    }

    /// A member has heard one, with this priority.
    pub(super) fn tell_of_conflict(
        &mut self,
        (number, member): (usize, usize),
        now: Duration,
        (from, priority): (IpAddr, u8),
    ) {
        let Some(live) = self.units.get_mut(number) else {
            return;
        };
        let patience = super::patience(live);
        // Who was preempted just now may have spoken at the same moment.
        let crossed = now.saturating_sub(live.unit.since()) < patience / 3;
        if crossed || !live.conflict.hear(now, patience) {
            return;
        }
        let (Some(plan), Some(state)) = (
            live.plan.members.get(member),
            live.unit.members().get(member),
        ) else {
            return;
        };
        let own = state.priority();
        tracing::warn!(
            "vrrp {}: {from} says that it is master, too, with priority {priority}: contradicted with {own}",
            plan.name
        );
        let (name, group) = (plan.name.clone(), plan.sync_group.clone());
        self.news.add(Item::Conflict(ConflictNews {
            name,
            group,
            own,
            from,
            priority,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_conflict_is_told_at_once_and_then_every_ten_seconds() {
        let mut conflict = Conflict::default();
        let told: Vec<u64> = (0..250)
            .map(|n| 5000 + n * 100)
            .filter(|at| conflict.hear(ms(*at), ms(300)))
            .collect();
        assert_eq!(told, [5000, 15_000, 25_000]);
    }

    #[test]
    fn another_one_is_news_but_not_more_than_one_a_second() {
        let mut conflict = Conflict::default();
        let mut heard = |at| conflict.hear(ms(at), ms(30));
        assert!(heard(0));
        assert!(!heard(10), "the same");
        assert!(!heard(500), "another, too soon");
        assert!(heard(1500));
        assert!(!heard(2000));
    }
}
