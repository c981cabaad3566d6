//! The thread itself: what was received, what is due, what follows from it.

mod conflict;
mod drill;
mod gateway;
mod handover;
mod peers;
mod track;

pub(super) use conflict::Conflict;
use drill::Running;
use gateway::Asked;
pub(super) use handover::Handover;

use super::{
    ALWAYS, NAP, News, Request, Tools, Transition, UnitPlan, Urgent,
    news::{ConflictNews, Item},
    report::{Live, report},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};
use types::{PortId, Tick};
use vrrp::{
    Action, Announcer, MemberSettings, Preemption, RELEASE, Readiness, Received, State, Trackers,
    Unit, Waits, announcements,
};
use wire::Frame as _;

/// How often what is shown is brought up to date while nothing happens.
const SHOW: Duration = Duration::from_millis(200);
/// Between two looks at a worker that has not come round in between: below this nothing is said of it.
const SHORTEST_STALL: Duration = Duration::from_millis(30);
/// For so long workers are left alone that have been asked to come round.
const ROUND: Duration = Duration::from_micros(100);

pub(super) struct Thread {
    units: Vec<Live>,
    tools: Tools,
    requests: Arc<Mutex<Vec<Request>>>,
    shown: Arc<Mutex<Vec<api::Vrrp>>>,
    news: Arc<News>,
    next_show: Duration,
    /// Advertisements that could not be read, by the mistake's name.
    wrong: BTreeMap<&'static str, u64>,
    /// Ports without carrier.
    down: Vec<PortId>,
    /// Rounds of each worker, and when they were last seen to differ.
    rounds: Vec<(u64, Duration)>,
    /// Whether a master that is well may be taken over from.
    readiness: Readiness,
    /// How often each worker came too late to send, as last seen.
    expired: Vec<u64>,
    /// When a backup's patience was over, and the rounds of each worker then.
    asked: Option<(Duration, Vec<u64>)>,
    /// The drill under way, or the last one.
    drill: Option<Running>,
    /// Where it is shown.
    drill_shown: Arc<Mutex<Option<api::DrillState>>>,
    /// Who is asked whether it is there.
    gateways: Vec<Asked>,
    /// It was told to stop.
    stopping: bool,
}

impl Thread {
    pub fn new(
        plans: Vec<UnitPlan>,
        tools: Tools,
        requests: Arc<Mutex<Vec<Request>>>,
        shown: Arc<Mutex<Vec<api::Vrrp>>>,
        news: Arc<News>,
        drill_shown: Arc<Mutex<Option<api::DrillState>>>,
    ) -> Self {
        let now = tools.clock.precise();
        let units = plans
            .into_iter()
            .map(|plan| {
                let mut trackers = Trackers::default();
                trackers.follow(now, &plan.tracked);
                (trackers, plan)
            })
            .map(|(trackers, plan)| Live {
                trackers,
                // Until it is known what connections there are.
                unit: Unit::new(settings(&plan), reserved(&plan, Some(Waits::Connections))),
                waits: Some(Waits::Connections),
                announcer: Announcer::new(plan.repetition, plan.announced.len()),
                handover: None,
                conflict: Conflict::default(),
                losses: Default::default(),
                sequences: vec![None; plan.members.len()],
                met: BTreeMap::new(),
                unanswered: BTreeMap::new(),
                plan,
            })
            .collect();
        let mut thread = Self {
            units,
            gateways: Vec::new(),
            expired: vec![0; tools.urgent.len()],
            rounds: tools
                .gauges
                .iter()
                .map(|g| (g.read().rounds, now))
                .collect(),
            tools,
            requests,
            shown,
            news,
            next_show: Duration::ZERO,
            wrong: BTreeMap::new(),
            down: Vec::new(),
            readiness: Readiness::new(now),
            asked: None,
            drill: None,
            drill_shown,
            stopping: false,
        };
        thread.follow_gateways(now);
        thread
    }

    pub fn run(mut self) {
        while !self.stopping {
            let mut changed = false;
            let heard_out = self.heard_out();
            // What came in goes first, so that nothing is claimed while it waits.
            self.receive(&mut changed);
            self.obey(&mut changed);
            let now = self.tools.clock.precise();
            self.become_ready(now, &mut changed);
            if !self.stopping {
                self.end_handovers(now);
                self.watch_workers(now, &mut changed);
                self.hear_of_expired(now, &mut changed);
                for number in 0..self.units.len() {
                    let live = self.units.get(number);
                    let waits = live.is_some_and(|l| l.trackers.waits_for().is_some());
                    let mut begins = false;
                    self.step(number, now, &mut changed, |unit, actions| {
                        if unit.state() == State::Init && !waits {
                            unit.start(now, actions);
                            begins = true;
                        }
                        let over = unit.due().is_some_and(|due| Some(due) <= heard_out);
                        if unit.state() != State::Backup || over {
                            unit.poll(now, actions);
                        }
                    });
                    if begins {
                        self.greet(number);
                    }
                    self.announce(number, now);
                }
                self.go_on_with_drill(now);
                self.ask_gateways(now, &mut changed);
            }
            self.lease();
            for ring in &self.tools.urgent {
                ring.wake();
            }
            if changed || now >= self.next_show {
                self.show(now);
            }
            if !self.stopping {
                self.sleep();
            }
        }
        self.drain();
    }

    /// When a backup's patience is over: until when workers have handed over what they received, once they have. A master whose words
    /// a worker still holds has not fallen silent. To be called before what they handed over is received.
    fn heard_out(&mut self) -> Option<Duration> {
        let now = self.tools.clock.precise();
        let waits = |live: &Live| {
            live.unit.state() == State::Backup && live.unit.due().is_some_and(|due| due <= now)
        };
        if !self.units.iter().any(waits) {
            self.asked = None;
            return None;
        }
        let gauges = self.tools.gauges.iter();
        let rounds: Vec<u64> = gauges.map(|gauge| gauge.read().rounds).collect();
        let (at, before) = self.asked.get_or_insert_with(|| (now, rounds.clone()));
        // The round under way may have looked before.
        let mut both = rounds.iter().zip(before.iter());
        if !both.all(|(round, before)| round.wrapping_sub(*before) >= 2) {
            return None;
        }
        let at = *at;
        self.asked = None;
        Some(at)
    }

    fn receive(&mut self, changed: &mut bool) {
        while let Some((port, frame)) = self.tools.mail.pop() {
            let now = self.tools.clock.precise();
            let mut bytes = Vec::new();
            frame.segments(&mut |segment| bytes.extend_from_slice(segment));
            drop(frame);
            match Received::parse(&bytes) {
                Ok(received) => {
                    self.meet(port, &received);
                    self.hear(now, port, &received, changed);
                }
                Err(error) => self.count_wrong(error.name(), port, &error),
            }
        }
    }

    fn count_wrong(&mut self, name: &'static str, port: PortId, what: &dyn std::fmt::Display) {
        let count = self.wrong.entry(name).or_default();
        *count += 1;
        if *count == 1 {
            let port = port.0;
            tracing::warn!("an advertisement came in on port {port} that is none: {what}");
        }
    }

    fn hear(&mut self, now: Duration, port: PortId, received: &Received, changed: &mut bool) {
        let Received {
            source,
            vlan,
            advertisement,
            ..
        } = received;
        let on = vlan.filter(|id| *id != 0);
        for number in 0..self.units.len() {
            let Some(live) = self.units.get(number) else {
                continue;
            };
            let member = live.plan.members.iter().position(|m| {
                m.port == port
                    && m.link.vlan.map(types::VlanId::get) == on
                    && m.settings.router_id == advertisement.router_id
                    && m.settings.source.is_ipv4() == source.is_ipv4()
                    && (m.peers.is_empty() || m.peers.contains(source))
            });
            if let Some(member) = member {
                if !self.is_of_the_link(number, member, received) {
                    self.count_wrong("ttl", port, &vrrp::ParseError::Ttl(received.ttl));
                    return;
                }
                let live = self.units.get_mut(number);
                if let Some(Err(wrong)) = live.map(|live| live.authenticate(member, received)) {
                    self.count_wrong(
                        wrong,
                        port,
                        &"its authentication header is not of this key, or is repeated",
                    );
                    return;
                }
                let before = self.conflicts(number, member);
                self.step(number, now, changed, |unit, actions| {
                    unit.receive(now, member, *source, advertisement, actions);
                });
                if self.conflicts(number, member) != before {
                    let other = (*source, advertisement.priority);
                    self.tell_of_conflict((number, member), now, other);
                }
                self.heard_of(number, now, received);
                return;
            }
        }
    }

    fn obey(&mut self, changed: &mut bool) {
        let requests =
            std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner));
        let now = self.tools.clock.precise();
        for request in requests {
            match request {
                Request::Plans(plans) => {
                    for (live, plan) in self.units.iter_mut().zip(plans) {
                        reconfigure(live, plan, now);
                    }
                    self.follow_gateways(now);
                    self.judge_faults(now, changed);
                    *changed = true;
                }
                Request::GiveUp(number) => {
                    self.give_up(number, now, changed);
                }
                Request::Drill(number) => self.begin_drill(number, now, changed),
                Request::Found(tracker, finding) => {
                    self.found(&tracker, &finding, now, changed);
                }
                Request::Carrier(port, up) => self.carrier(port, up, now, changed),
                Request::Stop => {
                    for number in 0..self.units.len() {
                        self.step(number, now, changed, |unit, actions| {
                            unit.stop(now, actions)
                        });
                    }
                    self.stopping = true;
                }
            }
        }
    }

    /// Whether a master that is well may be taken over from: not before its connections are here, and checks have come to verdicts.
    fn become_ready(&mut self, now: Duration, changed: &mut bool) {
        let connections = self.tools.ready.load(Ordering::Relaxed);
        self.readiness
            .learn(connections, self.tools.cold.load(Ordering::Relaxed));
        for live in &mut self.units {
            let waits = self.readiness.waits(now, live.plan.patience);
            let before = std::mem::replace(&mut live.waits, waits);
            if waits.is_some() == before.is_some() {
                continue;
            }
            *changed = true;
            live.unit
                .reconfigure(settings(&live.plan), reserved(&live.plan, waits));
            if let Some(before) = before
                && live.plan.preemption.allowed
            {
                tracing::debug!("vrrp {}: no more: {before}", live.plan.name);
            }
        }
    }

    fn carrier(&mut self, port: PortId, up: bool, now: Duration, changed: &mut bool) {
        if self.down.contains(&port) != up {
            return;
        }
        if up {
            self.down.retain(|p| *p != port);
        } else {
            self.down.push(port);
        }
        self.judge_faults(now, changed);
    }

    /// A worker that does not come round neither hears nor sends: nobody shall be master through it.
    fn watch_workers(&mut self, now: Duration, changed: &mut bool) {
        let mut news = false;
        for ((rounds, at), gauge) in self.rounds.iter_mut().zip(&self.tools.gauges) {
            let read = gauge.read().rounds;
            if read != *rounds {
                (*rounds, *at) = (read, now);
                news = true;
            }
        }
        let stalled = self.units.iter().any(|live| self.stalled(live, now));
        let faulty = self
            .units
            .iter()
            .any(|live| live.unit.state() == State::Fault);
        if stalled || (news && faulty) {
            self.judge_faults(now, changed);
        }
    }

    fn stalled(&self, live: &Live, now: Duration) -> bool {
        let patience = patience(live).max(SHORTEST_STALL);
        self.rounds
            .iter()
            .any(|(_, at)| now.saturating_sub(*at) > patience)
    }

    /// A worker was held up and has not sent what a master had to say: whoever waited for it may be master by now.
    fn hear_of_expired(&mut self, now: Duration, changed: &mut bool) {
        let expired: Vec<u64> = self.tools.urgent.iter().map(|r| r.expired()).collect();
        if expired != self.expired {
            for number in 0..self.units.len() {
                self.step(number, now, changed, |unit, actions| {
                    unit.overslept(now, actions);
                });
            }
        }
        for (ring, expired) in self.tools.urgent.iter().zip(&expired) {
            ring.hear(*expired);
        }
        self.expired = expired;
    }

    /// Lets `f` do something with a unit, and does what follows.
    fn step(
        &mut self,
        number: usize,
        now: Duration,
        changed: &mut bool,
        f: impl FnOnce(&mut Unit, &mut Vec<Action>),
    ) {
        let Some(live) = self.units.get_mut(number) else {
            return;
        };
        let before = (live.unit.state(), live.unit.since());
        // Peers wait for what it says next as long as this, counted from what it said last.
        let lease = live.unit.lease();
        let mut actions = Vec::new();
        f(&mut live.unit, &mut actions);
        let after = (live.unit.state(), live.unit.since());
        let role = u8::try_from(number).unwrap_or(u8::MAX);
        let until = tick(&self.tools, lease.or(live.unit.lease()));
        for action in actions {
            match action {
                Action::Take => {
                    // The lease first: whoever sees the role sees it too.
                    self.lease();
                    self.tools.roles.set(role, true);
                }
                Action::Leave => {
                    if let Some(live) = self.units.get_mut(number) {
                        live.announcer.stop();
                        if live.is_handing_over() {
                            self.tools.roles.leave(role);
                            continue;
                        }
                        live.handover = None;
                    }
                    self.tools.roles.set(role, false);
                }
                Action::Send { member, priority } => {
                    // That it gives up is true whenever it is heard.
                    let until = if priority == RELEASE { ALWAYS } else { until };
                    self.advertise(number, member, priority, until);
                }
                Action::Announce => {
                    if let Some(live) = self.units.get_mut(number) {
                        live.announcer.start(now);
                    }
                }
            }
        }
        if before != after
            && let Some(live) = self.units.get(number)
        {
            *changed = true;
            tracing::info!(
                "vrrp {}: {} -> {}: {}",
                live.plan.name,
                before.0.name(),
                after.0.name(),
                live.unit.cause()
            );
            if before.0 != after.0 {
                self.news.add(Item::Transition(transition(live)));
            }
        }
    }

    fn announce(&mut self, number: usize, now: Duration) {
        let Some(live) = self.units.get_mut(number) else {
            return;
        };
        let portion = live.announcer.poll(now);
        let until = tick(&self.tools, live.unit.lease());
        for (port, link, address) in live.plan.announced.get(portion).unwrap_or_default() {
            for frame in announcements(*link, *address) {
                let sent = self.tools.send(*port, &frame, until);
                live.losses.unsent += u64::from(!sent);
            }
        }
    }

    /// Until when roles are good: until the first master would have to have spoken again.
    fn lease(&self) {
        let leases = self.units.iter().filter_map(Live::lease);
        self.tools.roles.lease(tick(&self.tools, leases.min()));
    }

    fn show(&mut self, now: Duration) {
        self.next_show = now + SHOW;
        let report = report(now, &self.units, &self.wrong);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    fn sleep(&self) {
        let dues = self
            .units
            .iter()
            .flat_map(|l| [l.unit.due(), l.announcer.due()]);
        let dues = dues.chain([self.drill_due(), self.gateways_due(), self.handovers_due()]);
        let due = dues.flatten().min();
        let now = self.tools.clock.precise();
        let wait = due.map_or(NAP, |due| due.saturating_sub(now).min(NAP));
        let wait = match self.asked {
            Some(_) => wait.max(ROUND),
            None => wait,
        };
        let in_time = |(ring, expired): (&Arc<Urgent>, &u64)| ring.expired() == *expired;
        self.tools.mail.wait(wait, || {
            let requests = self.requests.lock();
            requests.unwrap_or_else(PoisonError::into_inner).is_empty()
                && self.tools.urgent.iter().zip(&self.expired).all(in_time)
        });
    }

    /// What the units said last shall leave before the workers do.
    fn drain(&self) {
        for _ in 0..100 {
            if self.tools.urgent.iter().all(|ring| ring.is_empty()) {
                // Taken out of the ring; sent at the end of that round.
                std::thread::sleep(Duration::from_millis(2));
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn transition(live: &Live) -> Transition {
    let members = live.plan.members.iter().zip(live.unit.members());
    Transition {
        group: live.plan.members.iter().find_map(|m| m.sync_group.clone()),
        members: members
            .map(|(plan, member)| (plan.name.clone(), member.priority()))
            .collect(),
        state: live.unit.state(),
        cause: live.unit.cause().to_string(),
    }
}

fn settings(plan: &UnitPlan) -> Vec<MemberSettings> {
    plan.members.iter().map(|m| m.settings.clone()).collect()
}

fn patience(live: &Live) -> Duration {
    let intervals = live
        .plan
        .members
        .iter()
        .map(|m| m.settings.interval.duration());
    intervals.min().unwrap_or(NAP) * 3
}

/// As planned, but for one who waits for something first.
fn reserved(plan: &UnitPlan, waits: Option<Waits>) -> Preemption {
    Preemption {
        allowed: plan.preemption.allowed && waits.is_none(),
        ..plan.preemption
    }
}

fn reconfigure(live: &mut Live, plan: UnitPlan, now: Duration) {
    let preemption = reserved(&plan, live.waits);
    live.unit.reconfigure(settings(&plan), preemption);
    let same = live.plan.announced == plan.announced && live.plan.repetition == plan.repetition;
    if !same {
        live.announcer = Announcer::new(plan.repetition, plan.announced.len());
        if live.unit.state() == State::Master {
            live.announcer.start(now);
        }
    }
    live.trackers.follow(now, &plan.tracked);
    live.plan = plan;
}

/// The workers' tick at which a lease is over: their clock is coarse, and may be late by its resolution.
fn tick(tools: &Tools, lease: Option<Duration>) -> Tick {
    let until = lease.unwrap_or_default();
    let until = until.saturating_sub(tools.clock.coarseness());
    Tick(u64::try_from(until.as_millis()).unwrap_or(u64::MAX))
}
