//! Drills: when a unit gives up and takes back, and the probes meanwhile.

use super::Thread;
use std::time::Duration;
use vrrp::{Drill, DrillProgress, DrillSeen, DrillStep, PROBE, Preemption, probe};

/// A drill with what it is of.
pub(super) struct Running {
    /// The unit's number.
    pub unit: usize,
    /// How it stands.
    pub drill: Drill,
    next_probe: Duration,
    probes: u64,
}

impl Thread {
    /// Gives the unit up and begins to measure.
    pub(super) fn begin_drill(&mut self, number: usize, now: Duration, changed: &mut bool) {
        if self
            .drill
            .as_ref()
            .is_some_and(|running| !running.drill.is_over())
        {
            return;
        }
        let Some(live) = self.units.get(number) else {
            return;
        };
        let Preemption { allowed, delay } = live.plan.preemption;
        let Some((_, _, address)) = live.plan.probe else {
            return;
        };
        self.tools.watch.begin(address);
        let given_up = self.give_up(number, now, changed);
        let drill = match given_up {
            true => Drill::new(now, allowed.then_some(delay)),
            false => Drill::not_begun(now, "this director is not master any more"),
        };
        self.drill = Some(Running {
            unit: number,
            drill,
            next_probe: now,
            probes: 0,
        });
        self.show_drill();
    }

    /// What the drill wants next; when.
    pub(super) fn go_on_with_drill(&mut self, now: Duration) {
        let Some(running) = &mut self.drill else {
            return;
        };
        let (number, before) = (running.unit, running.drill.progress().clone());
        let Some(live) = self
            .units
            .get_mut(number)
            .filter(|_| !running.drill.is_over())
        else {
            return;
        };
        let members = live.unit.members();
        let master = members.iter().find_map(vrrp::Member::master);
        let seen = DrillSeen {
            state: live.unit.state(),
            heard: self.tools.watch.heard(),
            master,
            priority: members.first().map_or(0, vrrp::Member::priority),
            ready: live.waits.is_none(),
        };
        match running.drill.step(now, seen) {
            DrillStep::TakeBack => live.unit.take_back(),
            DrillStep::End => self.tools.watch.end(),
            DrillStep::Probe => {}
        }
        if now >= running.next_probe && !running.drill.is_over() {
            running.next_probe = now + PROBE;
            if let Some((port, link, address)) = live.plan.probe {
                let sent = self.tools.send(port, &probe(link, address), super::ALWAYS);
                running.probes += u64::from(sent);
            }
        }
        if *running.drill.progress() != before {
            if let DrillProgress::Failed(why) = running.drill.progress() {
                tracing::warn!("drill of {}: {why}", live.plan.name);
            }
            self.show_drill();
        }
    }

    fn show_drill(&self) {
        let shown = self.drill.as_ref().and_then(|running| {
            let live = self.units.get(running.unit)?;
            Some(shown(running, &live.plan.name))
        });
        let mut slot = self.drill_shown.lock();
        *slot.as_deref_mut().unwrap_or(&mut None) = shown;
    }

    /// When the next probe is due.
    pub(super) fn drill_due(&self) -> Option<Duration> {
        let running = self.drill.as_ref()?;
        (!running.drill.is_over()).then_some(running.next_probe)
    }
}

/// As it is shown.
fn shown(running: &Running, name: &str) -> api::DrillState {
    let drill = &running.drill;
    let ms = |duration: Option<Duration>| duration.map(|d| d.as_secs_f64() * 1000.0);
    let (progress, why) = match drill.progress() {
        DrillProgress::Going => ("going", None),
        DrillProgress::There => ("there", None),
        DrillProgress::Returning => ("returning", None),
        DrillProgress::Settling => ("settling", None),
        DrillProgress::Passed => ("passed", None),
        DrillProgress::Failed(why) => ("failed", Some(why.clone())),
    };
    api::DrillState {
        instance: name.to_owned(),
        progress: progress.to_owned(),
        over: drill.is_over(),
        why,
        peer: drill
            .peer()
            .map(|(from, priority)| api::Heard { from, priority }),
        gap_there_ms: ms(drill.gap_there()),
        gap_back_ms: ms(drill.gap_back()),
        overlap_ms: ms(drill.overlap()),
        probes: running.probes,
    }
}
