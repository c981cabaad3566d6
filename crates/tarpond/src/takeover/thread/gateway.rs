//! Neighbours that are asked whether they are there. What they answer reaches the table of neighbours as any answer does.

use super::{ALWAYS, Thread};
use crate::takeover::plan::GatewayPlan;
use std::time::Duration;
use vrrp::{Finding, Gateway, question};

/// A neighbour with what is known of it.
pub(super) struct Asked {
    plan: GatewayPlan,
    gateway: Gateway,
}

impl Thread {
    /// Asks those that the units track now; what is known of one that is the same stays known.
    pub(super) fn follow_gateways(&mut self, now: Duration) {
        let mut before = std::mem::take(&mut self.gateways);
        for plan in self.units.iter().flat_map(|live| &live.plan.gateways) {
            if self.gateways.iter().any(|asked| asked.plan == *plan) {
                continue;
            }
            let known = before.iter().position(|asked| asked.plan == *plan);
            let asked = known.map(|at| before.swap_remove(at));
            self.gateways.push(asked.unwrap_or_else(|| {
                let (rise, fall) = plan.rise_fall;
                Asked {
                    gateway: Gateway::new(now, plan.interval, rise, fall),
                    plan: plan.clone(),
                }
            }));
        }
    }

    /// Asks those it is time to ask; tells each time what is known, to whoever tracks it since then.
    pub(super) fn ask_gateways(&mut self, now: Duration, changed: &mut bool) {
        // Answers are stamped by the workers' clock: against the precise one they would seem to come before the question.
        let stamp = Duration::from_millis(self.tools.clock.now().0);
        let slack = self.tools.clock.coarseness();
        let mut found = Vec::new();
        for Asked { plan, gateway } in &mut self.gateways {
            let heard = self.tools.neighbours.heard(plan.id, plan.address);
            let heard = heard.map(|tick| Duration::from_millis(tick.0));
            if !gateway.poll(now, stamp, heard, slack) {
                continue;
            }
            let frame = question(plan.link, plan.source, plan.address);
            // One that cannot be sent is not answered: that is the finding.
            self.tools.send(plan.port, &frame, ALWAYS);
            let finding = match gateway.up() {
                None => continue,
                Some(true) => Finding::Up,
                Some(false) => Finding::Down(format!("no answer from {}", plan.address)),
            };
            found.push((plan.tracker.clone(), finding));
        }
        for (tracker, finding) in found {
            self.found(&tracker, &finding, now, changed);
        }
    }

    /// When the next is asked.
    pub(super) fn gateways_due(&self) -> Option<Duration> {
        self.gateways.iter().map(|asked| asked.gateway.due()).min()
    }
}
