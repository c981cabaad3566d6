//! TCP as a balancer sees it: states named from the server's side, three views of the same handshake.
//!
//! Source of the table: observation of Linux 6.1 (`tests/golden/tcp_states`), every state by every event and direction.

/// A TCP state, in IPVS's numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TcpState {
    None,
    Established,
    SynSent,
    SynRecv,
    FinWait,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    SynAck,
}

use TcpState::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    None as NO, SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

const STATES: usize = 11;

/// What of the flags decides: a reset before a SYN before a FIN before an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpEvent {
    Syn,
    Fin,
    Ack,
    Rst,
    /// None of the four.
    Other,
}

/// Which of a connection's packets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpView {
    /// From the client, and the server's are seen too.
    Input,
    /// From the server.
    Output,
    /// From the client, and the server's are never seen (direct routing, tunnel).
    InputOnly,
}

/// One row an event, one column a state: NO ES SS SR FW TW CL CW LA LI SA.
type Table = [[TcpState; STATES]; 4];

const INPUT: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
];

const OUTPUT: Table = [
    [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

const INPUT_ONLY: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

/// What `secure_tcp` goes by: the server's SYN makes SYNACK, from which only the server's acknowledgement leads on.
const SECURE_INPUT: Table = [
    [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
    [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
    [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

const SECURE_OUTPUT: Table = [
    [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
    [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

const SECURE_INPUT_ONLY: Table = [
    [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
    [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

impl TcpState {
    /// Every state, by its number.
    pub const ALL: [Self; STATES] = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];

    /// The state of that number; `None` (the state) for a number there is not.
    #[inline]
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(NO)
    }

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            ES => "ESTABLISHED",
            SS => "SYN_SENT",
            SR => "SYN_RECV",
            FW => "FIN_WAIT",
            TW => "TIME_WAIT",
            CL => "CLOSE",
            CW => "CLOSE_WAIT",
            LA => "LAST_ACK",
            LI => "LISTEN",
            SA => "SYNACK",
        }
    }

    /// Whether such a connection counts as active.
    #[inline]
    pub const fn is_active(self) -> bool {
        matches!(self, ES | SS | SR | SA)
    }

    /// Seconds without a packet until the connection is gone. `established` and `fin` can be set, the others never.
    #[inline]
    pub const fn timeout_s(self, established: u32, fin: u32) -> u32 {
        match self {
            NO => 2,
            ES => established,
            FW => fin,
            SS | TW | LI | SA => 120,
            SR | CW => 60,
            CL => 10,
            LA => 30,
        }
    }

    /// The state after `event`, with or without `secure_tcp`.
    #[inline]
    pub fn next(self, view: TcpView, event: TcpEvent, secure: bool) -> Self {
        let table = match (view, secure) {
            (TcpView::Input, false) => &INPUT,
            (TcpView::Output, false) => &OUTPUT,
            (TcpView::InputOnly, false) => &INPUT_ONLY,
            (TcpView::Input, true) => &SECURE_INPUT,
            (TcpView::Output, true) => &SECURE_OUTPUT,
            (TcpView::InputOnly, true) => &SECURE_INPUT_ONLY,
        };
        let row = match event {
            TcpEvent::Syn => &table[0],
            TcpEvent::Fin => &table[1],
            TcpEvent::Ack => &table[2],
            TcpEvent::Rst => &table[3],
            TcpEvent::Other => return CL,
        };
        row.get(self as usize).copied().unwrap_or(CL)
    }
}

impl TcpEvent {
    /// What the flags byte of a header means.
    #[inline]
    pub const fn of(flags: u8) -> Self {
        use wire::tcp::{ACK, FIN, RST, SYN};
        if flags & RST != 0 {
            Self::Rst
        } else if flags & SYN != 0 {
            Self::Syn
        } else if flags & FIN != 0 {
            Self::Fin
        } else if flags & ACK != 0 {
            Self::Ack
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_states_agree() {
        for (number, state) in TcpState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
        }
        assert_eq!(TcpState::from_number(200), NO);
    }

    #[test]
    fn a_nat_connection_s_life() {
        let life = [
            (TcpView::Input, TcpEvent::Syn, SR),
            (TcpView::Output, TcpEvent::Syn, SR),
            (TcpView::Input, TcpEvent::Ack, ES),
            (TcpView::Input, TcpEvent::Fin, CW),
            (TcpView::Output, TcpEvent::Ack, CW),
            (TcpView::Output, TcpEvent::Fin, TW),
            (TcpView::Input, TcpEvent::Ack, TW),
        ];
        let mut state = NO;
        for (view, event, expected) in life {
            state = state.next(view, event, false);
            assert_eq!(state, expected);
        }
    }

    /// What `known` takes for granted.
    #[test]
    fn an_acknowledgement_leaves_established_as_it_is() {
        for view in [TcpView::Input, TcpView::Output, TcpView::InputOnly] {
            assert_eq!(ES.next(view, TcpEvent::Ack, false), ES);
            assert_eq!(ES.next(view, TcpEvent::Ack, true), ES);
        }
    }

    #[test]
    fn flags_have_their_order() {
        assert_eq!(TcpEvent::of(0x02 | 0x10), TcpEvent::Syn);
        assert_eq!(TcpEvent::of(0x04 | 0x02), TcpEvent::Rst);
        assert_eq!(TcpEvent::of(0x01 | 0x10), TcpEvent::Fin);
        assert_eq!(TcpEvent::of(0x08), TcpEvent::Other);
    }
}
