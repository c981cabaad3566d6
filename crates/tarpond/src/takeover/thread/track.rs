//! What trackers find, and what follows from it and from everything else that can be broken.

use super::Thread;
use crate::takeover::{TrackedNews, news::Item};
use std::time::Duration;
use types::PortId;
use vrrp::{Finding, Member, Tracker, Unit};

impl Thread {
    /// A tracker's finding, as often as it is made.
    pub(super) fn found(
        &mut self,
        tracker: &Tracker,
        finding: &Finding,
        now: Duration,
        changed: &mut bool,
    ) {
        let mut news = false;
        for live in &mut self.units {
            let Some(before) = live.trackers.find(now, tracker, finding) else {
                continue;
            };
            news = true;
            let was = priority(&live.unit);
            live.unit.weigh(live.trackers.standing().weight);
            let is = priority(&live.unit);
            // That all is as it should be is no news at the start.
            let well = matches!(finding, Finding::Up | Finding::Number(0));
            if before == Finding::Unknown && well && was == is {
                continue;
            }
            let mut what = format!("{tracker} {finding}");
            if was != is {
                what += &format!(", priority {was} -> {is}");
            }
            let cause = match finding {
                Finding::Down(why) => why.clone(),
                Finding::Up => "it works again".into(),
                Finding::Number(_) | Finding::Unknown => format!("before: {before}"),
            };
            tracing::info!("vrrp {}: {what} ({cause})", live.plan.name);
            let router = live.plan.name.clone();
            self.news.add(Item::Tracked(TrackedNews {
                router,
                what,
                cause,
            }));
        }
        if news {
            *changed = true;
            self.judge_faults(now, changed);
        }
    }

    /// Carriers of the instances' own ports, workers, and trackers: what is broken, and what counts for how much.
    pub(super) fn judge_faults(&mut self, now: Duration, changed: &mut bool) {
        for number in 0..self.units.len() {
            let Some(live) = self.units.get(number) else {
                continue;
            };
            let carrier = live.plan.members.iter().find(|m| self.is_down(m.port));
            let carrier = carrier.map(|member| format!("no carrier on {}", member.interface));
            let stalled = || {
                let stalled = self.stalled(live, now);
                stalled.then(|| "a worker does not come round".to_owned())
            };
            let standing = live.trackers.standing();
            let fault = carrier.or_else(stalled).or(standing.fault);
            self.step(number, now, changed, |unit, actions| {
                unit.weigh(standing.weight);
                unit.fault(now, fault, actions);
            });
        }
    }

    fn is_down(&self, port: PortId) -> bool {
        self.down.contains(&port)
    }
}

fn priority(unit: &Unit) -> u8 {
    unit.members().first().map_or(0, Member::priority)
}
