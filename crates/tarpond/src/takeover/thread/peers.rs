//! Advertisements on their way out, and what it takes to reach peers that are told one by one: a master whose words a peer cannot get
//! is not heard, and there would be two.

use super::Thread;
use crate::takeover::ALWAYS;
use types::{PortId, Tick};
use vrrp::{Received, TTL, advertisement, announcements, sealed};

/// What MACs of virtual routers begin with (RFC 9568 7.3), but for the family.
const VIRTUAL: [u8; 4] = [0, 0, 0x5e, 0];

/// A peer that is there has answered by then: it is asked once a second.
const ANSWER_MS: u64 = 2500;

impl Thread {
    /// Sends a member's advertisement: to the group, or to each peer whose MAC is known.
    pub(super) fn advertise(&mut self, number: usize, member: usize, priority: u8, until: Tick) {
        let Some(live) = self.units.get_mut(number) else {
            return;
        };
        let sequence = live.next_sequence(member);
        let (Some(plan), Some(state)) = (
            live.plan.members.get(member),
            live.unit.members().get(member),
        ) else {
            return;
        };
        let message = state.advertisement(priority);
        let source = state.settings().source;
        let seal = plan.key.map(|key| (key, sequence));
        let send = |to| {
            let frame = advertisement(plan.link, source, to, &message, plan.checksum);
            match seal {
                Some((key, sequence)) => sealed(&frame, &key, sequence),
                None => frame,
            }
        };
        if plan.peers.is_empty() {
            let sent = self.tools.send(plan.port, &send(None), until);
            live.losses.unsent += u64::from(!sent);
            return;
        }
        let now = self.tools.clock.now();
        for peer in &plan.peers {
            // One that did not answer once is asked again as long as there is something to tell it.
            let resolved = self.tools.neighbours.resolve(plan.id, *peer, now);
            match resolved.or_else(|| live.met.get(peer).copied()) {
                Some(mac) => {
                    let sent = self.tools.send(plan.port, &send(Some((*peer, mac))), until);
                    live.losses.unsent += u64::from(!sent);
                }
                None => live.losses.unresolved += 1,
            }
        }
    }

    /// Tells the segments of members that have peers of their own where this director is: a peer that has asked for it in vain need not
    /// ask again, and is heard before patience with it is over.
    pub(super) fn greet(&mut self, number: usize) {
        let Some(live) = self.units.get_mut(number) else {
            return;
        };
        for plan in live.plan.members.iter().filter(|m| !m.peers.is_empty()) {
            for frame in announcements(plan.own, plan.settings.source) {
                let sent = self.tools.send(plan.port, &frame, ALWAYS);
                live.losses.unsent += u64::from(!sent);
            }
        }
    }

    /// Keeps in mind from which MAC a peer speaks.
    pub(super) fn meet(&mut self, port: PortId, received: &Received) {
        if received.ttl != TTL || received.mac.0.starts_with(&VIRTUAL) {
            return;
        }
        for live in &mut self.units {
            let mut members = live.plan.members.iter();
            if members.any(|m| m.port == port && m.peers.contains(&received.source)) {
                live.met.insert(received.source, received.mac);
            }
        }
    }

    /// Whether a member may believe that it was sent on its link: no router has passed it on, or it comes from the MAC that the peer itself
    /// has answered with. A peer that has not answered yet is asked, and believed for a moment: else there would be two masters at a
    /// director's start.
    pub(super) fn is_of_the_link(
        &mut self,
        number: usize,
        member: usize,
        received: &Received,
    ) -> bool {
        if received.ttl == TTL {
            return true;
        }
        let peer = received.source;
        let Some(live) = self.units.get_mut(number) else {
            return false;
        };
        let plan = live.plan.members.get(member);
        let Some(plan) = plan.filter(|m| m.peers.contains(&peer)) else {
            return false;
        };
        let now = self.tools.clock.now();
        if let Some(mac) = self.tools.neighbours.resolve(plan.id, peer, now) {
            live.unanswered.remove(&peer);
            return mac == received.mac;
        }
        let asked = *live.unanswered.entry(peer).or_insert(now);
        now.since_ms(asked) < ANSWER_MS
    }
}
