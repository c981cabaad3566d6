//! The word of an entry that senders load: MAC, state and count of unanswered probes.

use super::NeighbourState;
use types::MacAddr;

/// Unanswered questions of one kind before the next step: RFC 4861's MAX_UNICAST_SOLICIT and MAX_MULTICAST_SOLICIT.
pub(super) const PROBES: u8 = 3;
/// Set in the states in which the MAC is good for sending.
const USABLE: u8 = 0x80;

/// The state half of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Asked for, or about to be.
    Incomplete = 0,
    /// Did not answer.
    Failed = 1,
    /// Known.
    Reachable = USABLE,
    /// Known, being asked again: first itself, then everybody.
    Probing = USABLE | 1,
    /// Set by hand.
    Permanent = USABLE | 2,
}

impl From<State> for NeighbourState {
    fn from(state: State) -> Self {
        match state {
            State::Incomplete => Self::Incomplete,
            State::Failed => Self::Failed,
            State::Reachable => Self::Reachable,
            State::Probing => Self::Probing,
            State::Permanent => Self::Permanent,
        }
    }
}

/// MAC in the low 48 bits, first byte lowest as it is written to a frame; state in the next 8, probes sent in the top 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(pub u64);

impl Link {
    /// Nothing known, nothing asked.
    pub const NEW: Self = Self::new(State::Incomplete, MacAddr([0; 6]), 0);

    /// Puts the word together.
    pub const fn new(state: State, mac: MacAddr, probes: u8) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        Self(u64::from_le_bytes([a, b, c, d, e, f, state as u8, probes]))
    }

    /// The MAC to send to, if there is one.
    #[inline]
    pub const fn usable(self) -> Option<MacAddr> {
        let [a, b, c, d, e, f, state, _] = self.0.to_le_bytes();
        if state & USABLE == 0 {
            None
        } else {
            Some(MacAddr([a, b, c, d, e, f]))
        }
    }

    /// The state.
    pub const fn state(self) -> State {
        let [.., state, _] = self.0.to_le_bytes();
        match state {
            0 => State::Incomplete,
            0x80 => State::Reachable,
            0x81 => State::Probing,
            0x82 => State::Permanent,
            _ => State::Failed,
        }
    }

    /// Questions sent since the last answer.
    pub const fn probes(self) -> u8 {
        let [.., probes] = self.0.to_le_bytes();
        probes
    }

    /// The state after one more question was due, and the MAC to ask (`None`: everybody). `None` at all: no more
    /// questions, or none are asked in this state.
    pub const fn asked(self) -> Option<(Self, Option<MacAddr>)> {
        let probes = self.probes();
        match (self.state(), self.usable()) {
            (State::Incomplete, _) if probes < PROBES => Some((
                Self::new(State::Incomplete, MacAddr([0; 6]), probes + 1),
                None,
            )),
            (State::Reachable, Some(mac)) => Some((Self::new(State::Probing, mac, 1), Some(mac))),
            (State::Probing, Some(mac)) if probes < PROBES => {
                Some((Self::new(State::Probing, mac, probes + 1), Some(mac)))
            }
            (State::Probing, Some(mac)) if probes < 2 * PROBES => {
                Some((Self::new(State::Probing, mac, probes + 1), None))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_neighbour_is_asked_itself_then_everybody_then_given_up() {
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        let mut link = Link::new(State::Reachable, mac, 0);
        let mut asked = Vec::new();
        while let Some((next, whom)) = link.asked() {
            assert_eq!(next.usable(), Some(mac), "in use while asked");
            asked.push(whom);
            link = next;
        }
        assert_eq!(asked, [Some(mac), Some(mac), Some(mac), None, None, None]);
    }

    #[test]
    fn an_unknown_one_is_asked_three_times() {
        let mut link = Link::NEW;
        let mut asked = 0;
        while let Some((next, None)) = link.asked() {
            link = next;
            asked += 1;
        }
        assert_eq!(
            (asked, link.usable(), link.state()),
            (3, None, State::Incomplete)
        );
        assert_eq!(
            Link::new(State::Permanent, MacAddr([2; 6]), 0).asked(),
            None
        );
        assert_eq!(Link::new(State::Failed, MacAddr([2; 6]), 0).asked(), None);
    }
}
