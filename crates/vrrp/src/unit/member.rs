//! One virtual router of a unit: what it is told to be, what it has heard, and what it counts.

use crate::{
    Advertisement, Authentication, Cause, Interval, OWNER, RELEASE, Version, master_down, skew,
};
use std::{cmp::Ordering, net::IpAddr, time::Duration};

/// What a virtual router is told to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSettings {
    /// The version it speaks; the other is not heard.
    pub version: Version,
    /// 1 to 255.
    pub router_id: u8,
    /// 1 to 255; 255: it owns the addresses.
    pub priority: u8,
    /// How often it advertises as master.
    pub interval: Interval,
    /// Its own address, which breaks ties.
    pub source: IpAddr,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Version 2's.
    pub authentication: Authentication,
}

/// What a virtual router has sent and heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements sent, those of priority 0 included.
    pub sent: u64,
    /// Those of priority 0.
    pub sent_release: u64,
    /// Advertisements received that count.
    pub received: u64,
    /// Those of priority 0.
    pub received_release: u64,
    /// Received as master from another master that is worse, or as good with a lower address.
    pub conflicts: u64,
    /// Received as backup from a master that is to be preempted.
    pub ignored: u64,
    /// Of another interval (version 2), another authentication or another version: not taken.
    pub mismatched: u64,
    /// That came from the own address: looped back, or somebody else has it.
    pub own: u64,
    /// Taken, though their virtual addresses are others.
    pub other_addresses: u64,
}

/// What an advertisement is to the member that heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not for it.
    Foreign,
    /// From one who would win.
    Better,
    /// From one who would lose.
    Worse,
    /// From one who gives up.
    Released,
}

/// A virtual router.
#[derive(Clone, Debug)]
pub struct Member {
    settings: MemberSettings,
    weight: i32,
    /// Of the master, as last heard (version 3).
    master_interval: Interval,
    master: Option<(IpAddr, u8)>,
    silent_at: Duration,
    /// Added to what it waits, until a master lasts.
    held: Duration,
    /// Since when the same master is heard.
    lasts: Option<(IpAddr, Duration)>,
    released_by: Option<IpAddr>,
    /// What it heard last was of a master that it does not let be.
    ignores: bool,
    counters: Counters,
}

impl Member {
    pub(super) fn new(settings: MemberSettings) -> Self {
        Self {
            weight: 0,
            master_interval: settings.interval,
            master: None,
            silent_at: Duration::ZERO,
            held: Duration::ZERO,
            lasts: None,
            released_by: None,
            ignores: false,
            counters: Counters::default(),
            settings,
        }
    }

    /// What it was told to be.
    #[must_use]
    pub const fn settings(&self) -> &MemberSettings {
        &self.settings
    }

    /// What it counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Who advertised last, and with which priority.
    #[must_use]
    pub const fn master(&self) -> Option<(IpAddr, u8)> {
        self.master
    }

    /// Its priority now.
    #[must_use]
    pub fn priority(&self) -> u8 {
        if self.settings.priority == OWNER {
            return OWNER;
        }
        let weighed = i32::from(self.settings.priority) + self.weight;
        u8::try_from(weighed.clamp(1, 254)).unwrap_or(1)
    }

    /// The advertisement it sends.
    #[must_use]
    pub fn advertisement(&self, priority: u8) -> Advertisement {
        let settings = &self.settings;
        Advertisement {
            version: settings.version,
            router_id: settings.router_id,
            priority,
            interval: settings.interval,
            addresses: settings.addresses.clone(),
            authentication: settings.authentication,
        }
    }

    pub(super) fn reconfigure(&mut self, settings: MemberSettings) {
        self.settings = settings;
    }

    pub(super) const fn weigh(&mut self, weight: i32) {
        self.weight = weight;
    }

    pub(super) fn judge(&mut self, from: IpAddr, heard: &Advertisement) -> Verdict {
        let settings = &self.settings;
        if heard.router_id != settings.router_id {
            return Verdict::Foreign;
        }
        if from == settings.source {
            self.counters.own += 1;
            return Verdict::Foreign;
        }
        // RFC 3768 7.1: another interval is not taken in version 2; version 3's backups follow the master's.
        let fits = heard.version == settings.version
            && heard.authentication == settings.authentication
            && (heard.version == Version::V3 || heard.interval == settings.interval);
        if !fits {
            self.counters.mismatched += 1;
            return Verdict::Foreign;
        }
        self.counters.received += 1;
        let mut addresses = heard.addresses.iter();
        if heard.addresses.len() != settings.addresses.len()
            || !addresses.all(|a| settings.addresses.contains(a))
        {
            self.counters.other_addresses += 1;
        }
        if heard.priority == RELEASE {
            self.counters.received_release += 1;
            return Verdict::Released;
        }
        self.master = Some((from, heard.priority));
        let order = heard.priority.cmp(&self.priority());
        match order.then_with(|| from.cmp(&settings.source)) {
            Ordering::Greater => Verdict::Better,
            _ => Verdict::Worse,
        }
    }

    /// A master is there.
    pub(super) fn heard_master(&mut self, now: Duration, interval: Interval) {
        self.master_interval = interval;
        self.released_by = None;
        self.ignores = false;
        let from = self.master.map(|(from, _)| from);
        match self.lasts {
            Some((who, since)) if Some(who) == from => {
                if now.saturating_sub(since) >= interval.duration() {
                    self.held = Duration::ZERO;
                }
            }
            _ => self.lasts = from.map(|from| (from, now)),
        }
        self.wait(now);
    }

    /// The master goes: only the skew is waited for. Somebody else who gives up has lost to the master, which lasts.
    pub(super) fn heard_release(&mut self, now: Duration, from: IpAddr) {
        if self.master.is_some_and(|(master, _)| master != from) {
            return;
        }
        self.master = Some((from, RELEASE));
        self.released_by = Some(from);
        let skew = skew(self.settings.version, self.priority(), self.master_interval);
        self.silent_at = now + skew + self.held;
    }

    /// Listens for a master from now on.
    pub(super) fn listen(&mut self, now: Duration) {
        self.master_interval = self.settings.interval;
        self.released_by = None;
        self.master = None;
        self.ignores = false;
        self.held = Duration::ZERO;
        self.lasts = None;
        self.wait(now);
    }

    fn wait(&mut self, now: Duration) {
        let down = master_down(self.settings.version, self.priority(), self.master_interval);
        self.silent_at = now + down + self.held;
    }

    /// Waits for so much longer, also after whoever is master for a moment only: those who hear one all begin to wait then.
    pub(super) fn hold_back(&mut self, by: Duration) {
        self.silent_at += by.saturating_sub(self.held);
        self.held = by;
    }

    pub(super) const fn silent_at(&self) -> Duration {
        self.silent_at
    }

    pub(super) const fn released_by(&self) -> Option<IpAddr> {
        self.released_by
    }

    pub(super) fn count_conflict(&mut self, verdict: Verdict) {
        if verdict == Verdict::Worse {
            self.counters.conflicts += 1;
        }
    }

    /// A master that is not let be.
    pub(super) const fn ignore(&mut self) {
        self.counters.ignored += 1;
        self.ignores = true;
    }

    /// Whom it takes over from, if that one still advertises.
    pub(super) fn preempts(&self) -> Option<Cause> {
        let (from, priority) = self.master.filter(|_| self.ignores)?;
        let own = self.priority();
        Some(Cause::Preempts {
            from,
            priority,
            own,
        })
    }

    pub(super) fn count_sent(&mut self, priority: u8) {
        self.counters.sent += 1;
        self.counters.sent_release += u64::from(priority == RELEASE);
    }
}
