//! The state machine of a unit: one virtual router, or a sync group of them, which have one state between them. That members
//! move together or not at all is so by construction.
//!
//! A member that hears a better master makes the whole unit a backup; the unit becomes master only when no member hears
//! one any more. So where a link is broken in one direction, or one of two links, there may be no master for a while, but not two.

mod member;
#[cfg(test)]
mod tests;

use crate::{Advertisement, Cause, OWNER, RELEASE};
use member::Verdict;
pub use member::{Counters, Member, MemberSettings};
use std::{net::IpAddr, time::Duration};

/// Where a unit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not begun, or ended.
    Init,
    /// Somebody else has the addresses, or may have.
    Backup,
    /// It has the addresses.
    Master,
    /// Something it depends on is broken: it does not want the addresses.
    Fault,
}

impl State {
    /// As keepalived names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Master => "master",
            Self::Fault => "fault",
        }
    }
}

/// What a better director does to a master of lower priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// Whether it takes over at all.
    pub allowed: bool,
    /// For how long it lets the other be first.
    pub delay: Duration,
}

impl Default for Preemption {
    fn default() -> Self {
        Self {
            allowed: true,
            delay: Duration::ZERO,
        }
    }
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The addresses are this director's from now on.
    Take,
    /// They are not any more: answer for nothing, at once.
    Leave,
    /// Send this member's advertisement with that priority.
    Send {
        /// Which member.
        member: usize,
        /// Its priority now, or [`RELEASE`].
        priority: u8,
    },
    /// Tell the segments again where the addresses are.
    Announce,
}

/// A virtual router, or several that move together.
#[derive(Clone, Debug)]
pub struct Unit {
    members: Vec<Member>,
    preemption: Preemption,
    state: State,
    since: Duration,
    cause: Cause,
    /// Master: the next advertisements.
    advertise: Duration,
    /// Master: when it last advertised on every member.
    advertised: Duration,
    /// Master: when it last answered one who thinks it is master too.
    answered: Option<Duration>,
    /// Master: when it last answered one who has given that up, and whom.
    answered_release: Option<(Duration, IpAddr)>,
    /// It gave up on command: the other is not preempted before it fails.
    yielded: bool,
    /// Backup: until when a master of lower priority is let be.
    preempt_at: Option<Duration>,
    late: u64,
    takeovers: u64,
}

impl Unit {
    /// Not started.
    #[must_use]
    pub fn new(members: Vec<MemberSettings>, preemption: Preemption) -> Self {
        Self {
            members: members.into_iter().map(Member::new).collect(),
            preemption,
            state: State::Init,
            since: Duration::ZERO,
            cause: Cause::NotStarted,
            advertise: Duration::ZERO,
            advertised: Duration::ZERO,
            answered: None,
            answered_release: None,
            yielded: false,
            preempt_at: None,
            late: 0,
            takeovers: 0,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Duration {
        self.since
    }

    /// Why.
    #[must_use]
    pub const fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How often it woke too late.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// How often it became master.
    #[must_use]
    pub const fn takeovers(&self) -> u64 {
        self.takeovers
    }

    /// Until when a master may act as one without having been heard from again: its peers wait at least that long. `None` when
    /// it is not master.
    #[must_use]
    pub fn lease(&self) -> Option<Duration> {
        (self.state == State::Master).then(|| self.advertised + self.patience())
    }

    /// When [`Unit::poll`] has something to do next.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        match self.state {
            State::Master => Some(self.advertise),
            State::Backup => self.silent_at(),
            State::Init | State::Fault => None,
        }
    }

    /// Begins: an owner as master, anyone else listens first.
    pub fn start(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.state != State::Init {
            return;
        }
        if self.members.iter().all(|m| m.priority() == OWNER) {
            self.take(now, Cause::Owner, actions);
        } else {
            self.back_up(now, Cause::Started);
        }
    }

    /// Ends; a master says so.
    pub fn stop(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.step_down_if_late(now, actions);
        self.release(actions);
        self.enter(now, State::Init, Cause::Stopped);
    }

    /// Gives up on command. It comes back when the other fails, not before.
    pub fn give_up(&mut self, now: Duration, actions: &mut Vec<Action>) -> bool {
        self.step_down_if_late(now, actions);
        if self.state != State::Master {
            return false;
        }
        self.release(actions);
        self.back_up(now, Cause::Yielded);
        self.yielded = true;
        true
    }

    /// What was given up on command may be taken back from a worse master, as if it had not been.
    pub const fn take_back(&mut self) {
        self.yielded = false;
    }

    /// Tells members what to be from now on; state and timers stay. Members are matched by their order, of which there must be as
    /// many as before.
    pub fn reconfigure(&mut self, members: Vec<MemberSettings>, preemption: Preemption) {
        for (member, settings) in self.members.iter_mut().zip(members) {
            member.reconfigure(settings);
        }
        self.preemption = preemption;
    }

    /// Something it depends on is broken (`Some`), or nothing is any more.
    pub fn fault(&mut self, now: Duration, what: Option<String>, actions: &mut Vec<Action>) {
        self.step_down_if_late(now, actions);
        match (what, self.state) {
            (Some(what), State::Init | State::Backup | State::Master) => {
                self.release(actions);
                self.enter(now, State::Fault, Cause::Fault(what));
            }
            (Some(what), State::Fault) => self.cause = Cause::Fault(what),
            (None, State::Fault) => self.back_up(now, Cause::FaultOver),
            _ => {}
        }
    }

    /// What trackers add to the members' priority, or take from it. An owner's stays, and nobody becomes one.
    pub fn weigh(&mut self, weight: i32) {
        for member in &mut self.members {
            member.weigh(weight);
        }
    }

    /// A member has received an advertisement of its id, from another station.
    pub fn receive(
        &mut self,
        now: Duration,
        member: usize,
        from: IpAddr,
        heard: &Advertisement,
        actions: &mut Vec<Action>,
    ) {
        let Some(this) = self.members.get_mut(member) else {
            return;
        };
        let verdict = this.judge(from, heard);
        if verdict == Verdict::Foreign || !matches!(self.state, State::Backup | State::Master) {
            return;
        }
        // Before it contradicts anybody it must know that it still may.
        self.step_down_if_late(now, actions);
        match self.state {
            State::Master => self.heard_as_master(now, (member, from), verdict, heard, actions),
            _ => self.heard_as_backup(now, (member, from), verdict, heard),
        }
    }

    /// Does what is due. To be called when [`Unit::due`] says, after everything received was handed over.
    pub fn poll(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match self.state {
            State::Master if now >= self.advertise => {
                self.step_down_if_late(now, actions);
                if self.state != State::Master {
                    return;
                }
                let next = self.advertise + self.interval();
                self.advertise_all(now, actions);
                if next > now {
                    self.advertise = next;
                }
            }
            State::Backup => {
                let Some(silent_at) = self.silent_at().filter(|at| *at <= now) else {
                    return;
                };
                // It may have slept through advertisements that nobody kept for it.
                if now - silent_at > self.interval() {
                    self.late += 1;
                    self.cause = Cause::WokeLate;
                    self.listen_anew(now);
                    return;
                }
                let mut released = self.members.iter().map(Member::released_by);
                let cause = match released.next().flatten() {
                    Some(from) if released.all(|r| r.is_some()) => Cause::MasterReleased(from),
                    _ => {
                        let mut preempted = self.members.iter().filter_map(Member::preempts);
                        preempted.next().unwrap_or(Cause::MasterSilent)
                    }
                };
                self.take(now, cause, actions);
            }
            _ => {}
        }
    }

    /// A master that has slept this long may have been taken for dead.
    fn step_down_if_late(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if now >= self.advertised + self.patience() {
            self.overslept(now, actions);
        }
    }

    /// What a master last said has not left in time, and will not: it may have been taken for dead.
    pub fn overslept(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.state == State::Master {
            self.late += 1;
            // Who took over meanwhile announces again; who has not need not wait for silence.
            self.release(actions);
            self.back_up(now, Cause::WokeLate);
        }
    }

    fn heard_as_master(
        &mut self,
        now: Duration,
        (member, from): (usize, IpAddr),
        verdict: Verdict,
        heard: &Advertisement,
        actions: &mut Vec<Action>,
    ) {
        match verdict {
            // Who is better may not have heard of this one, whose announcements stations may have heard last: this tells it to announce
            // the addresses again.
            Verdict::Better => {
                self.release(actions);
                let own = self.members.get(member).map_or(0, Member::priority);
                let cause = Cause::Better {
                    from,
                    priority: heard.priority,
                    own,
                };
                let tie = own == heard.priority;
                self.back_up(now, cause);
                if let Some(member) = self.members.get_mut(member) {
                    member.heard_master(now, heard.interval);
                }
                if tie && self.members.len() > 1 {
                    self.hold_back();
                }
            }
            // It has told its segment where the addresses are, and so is contradicted: at once, but not more often than
            // once an interval. The same when it gives up.
            Verdict::Worse | Verdict::Released => {
                if let Some(member) = self.members.get_mut(member) {
                    member.count_conflict(verdict);
                }
                let interval = self.interval();
                let answers = if verdict == Verdict::Released {
                    let last = self.answered_release.replace((now, from));
                    last.is_none_or(|(at, whom)| whom != from || now >= at + interval)
                } else {
                    // It has begun again, and will end again.
                    self.answered_release = self.answered_release.filter(|(_, whom)| *whom != from);
                    let last = self.answered.filter(|at| now < *at + interval);
                    self.answered = last.or(Some(now));
                    last.is_none()
                };
                if answers {
                    self.advertise_all(now, actions);
                    actions.push(Action::Announce);
                }
            }
            Verdict::Foreign => {}
        }
    }

    fn heard_as_backup(
        &mut self,
        now: Duration,
        (member, from): (usize, IpAddr),
        verdict: Verdict,
        heard: &Advertisement,
    ) {
        let Some(member) = self.members.get_mut(member) else {
            return;
        };
        let lets_be = match verdict {
            // An equal is never preempted (RFC 9568 6.4.2), whoever would win as a master.
            Verdict::Worse
                if heard.priority < member.priority()
                    && self.preemption.allowed
                    && !self.yielded =>
            {
                let delay = self.preemption.delay;
                // The delay begins with the first it hears of that master.
                let at = self.preempt_at.get_or_insert(now + delay);
                !delay.is_zero() && now < *at
            }
            _ => true,
        };
        match verdict {
            Verdict::Released => member.heard_release(now, from),
            _ if lets_be => member.heard_master(now, heard.interval),
            _ => member.ignore(),
        }
        if verdict == Verdict::Better {
            self.preempt_at = None;
        }
    }

    /// Addresses may order the directors otherwise on one segment than on another: with equal priorities each would then give
    /// way to another, in step, for ever. So each waits for a while of its own, another one each time.
    fn hold_back(&mut self) {
        let mut hash = self.takeovers.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for member in &self.members {
            let bits = match member.settings().source {
                IpAddr::V4(ip) => u64::from(ip.to_bits()),
                IpAddr::V6(ip) => ip.segments().iter().fold(0, |h, s| h << 8 ^ u64::from(*s)),
            };
            hash = (hash ^ bits)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
                .rotate_left(29);
        }
        let share = u32::try_from(hash >> 56).unwrap_or(0);
        let wait = self.interval() * share / 64;
        for member in &mut self.members {
            member.hold_back(wait);
        }
    }

    /// When the last member has heard no master for too long.
    fn silent_at(&self) -> Option<Duration> {
        self.members.iter().map(Member::silent_at).max()
    }

    /// The shortest of the members' intervals: all advertise at once.
    fn interval(&self) -> Duration {
        let intervals = self
            .members
            .iter()
            .map(|m| m.settings().interval.duration());
        intervals.min().unwrap_or(Duration::from_secs(1))
    }

    /// What the most impatient peer waits for at least.
    fn patience(&self) -> Duration {
        self.interval() * 3
    }

    fn enter(&mut self, now: Duration, state: State, cause: Cause) {
        self.state = state;
        self.since = now;
        self.cause = cause;
        self.preempt_at = None;
    }

    fn take(&mut self, now: Duration, cause: Cause, actions: &mut Vec<Action>) {
        self.enter(now, State::Master, cause);
        self.yielded = false;
        self.answered = None;
        self.answered_release = None;
        self.takeovers += 1;
        actions.push(Action::Take);
        self.advertise_all(now, actions);
        actions.push(Action::Announce);
    }

    fn back_up(&mut self, now: Duration, cause: Cause) {
        self.enter(now, State::Backup, cause);
        self.listen_anew(now);
    }

    fn listen_anew(&mut self, now: Duration) {
        for member in &mut self.members {
            member.listen(now);
        }
    }

    /// A master lets go, and says so.
    fn release(&mut self, actions: &mut Vec<Action>) {
        if self.state != State::Master {
            return;
        }
        actions.push(Action::Leave);
        for (member, this) in self.members.iter_mut().enumerate() {
            this.count_sent(RELEASE);
            actions.push(Action::Send {
                member,
                priority: RELEASE,
            });
        }
    }

    fn advertise_all(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.advertised = now;
        self.advertise = now + self.interval();
        for (member, this) in self.members.iter_mut().enumerate() {
            let priority = this.priority();
            this.count_sent(priority);
            actions.push(Action::Send { member, priority });
        }
    }
}
