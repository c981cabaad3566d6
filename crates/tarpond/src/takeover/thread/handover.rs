//! A planned takeover: who has given up goes on serving what still comes until another is heard as master. Until then clients know of nobody
//! else, and the other may not begin before its skew time is over.

use super::{Live, Thread};
use std::time::Duration;
use vrrp::{Cause, RELEASE, Received, State};

/// Once another is heard: for what was on the way, and until stations have heard its announcement.
const GRACE: Duration = Duration::from_millis(2);

/// Addresses on their way to another director.
#[derive(Clone, Copy, Debug)]
pub struct Handover {
    /// They are let go then, whether or not anybody was heard: whoever takes them over has waited for no longer than an interval.
    until: Duration,
    /// What peers were promised when it was master.
    lease: Duration,
}

impl Live {
    /// Until when it may answer for its addresses.
    pub fn lease(&self) -> Option<Duration> {
        let handover = self.handover.map(|handover| handover.lease);
        self.unit.lease().or(handover)
    }

    /// It has given up, and goes on for a while.
    pub fn is_handing_over(&self) -> bool {
        self.handover.is_some() && matches!(self.unit.cause(), Cause::Yielded)
    }
}

impl Thread {
    /// Gives a unit up, and says so at once.
    pub(super) fn give_up(&mut self, number: usize, now: Duration, changed: &mut bool) -> bool {
        if let Some(live) = self.units.get_mut(number) {
            live.handover = live.unit.lease().map(|lease| Handover {
                until: lease.min(now + super::patience(live) / 3),
                lease,
            });
        }
        let mut given_up = false;
        self.step(number, now, changed, |unit, actions| {
            given_up = unit.give_up(now, actions);
        });
        if !given_up && let Some(live) = self.units.get_mut(number) {
            live.handover = None;
        }
        given_up
    }

    /// Another director has spoken to a unit.
    pub(super) fn heard_of(&mut self, number: usize, now: Duration, received: &Received) {
        let is_master = received.advertisement.priority != RELEASE;
        if let Some(live) = self.units.get_mut(number)
            && let Some(handover) = live.handover.as_mut().filter(|_| is_master)
        {
            handover.until = handover.until.min(now + GRACE);
        }
    }

    /// Lets go what was on its way long enough, or is not any more.
    pub(super) fn end_handovers(&mut self, now: Duration) {
        for (live, role) in self.units.iter_mut().zip(0..) {
            let state = live.unit.state();
            let over = |handover: Handover| handover.until <= now || state != State::Backup;
            if live.handover.is_some_and(over) {
                live.handover = None;
                self.tools.roles.set(role, state == State::Master);
            }
        }
    }

    /// When the next is over.
    pub(super) fn handovers_due(&self) -> Option<Duration> {
        let handovers = self.units.iter().filter_map(|live| live.handover);
        handovers.map(|handover| handover.until).min()
    }
}
