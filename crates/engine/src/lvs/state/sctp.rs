//! SCTP as a balancer sees it, three views of the same association.
//!
//! Source of the table: observation of Linux 6.1 (`tests/golden/sctp_table`), every state that can be had by every event
//! and direction.

/// An SCTP state, in IPVS's numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum SctpState {
    None,
    Init1,
    Init,
    CookieSent,
    CookieReplied,
    CookieWait,
    Cookie,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    Rejected,
    Closed,
}

use super::TcpView;
use SctpState::{
    Closed as CL, Cookie as CO, CookieEchoed as CE, CookieReplied as CR, CookieSent as CS,
    CookieWait as CW, Established as ES, Init as IN, Init1 as I1, None as NO, Rejected as RJ,
    ShutdownAckSent as SA, ShutdownReceived as SR, ShutdownSent as SS,
};

const STATES: usize = 14;
const EVENTS: usize = 10;

/// One row an event, one column a state: NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL. Rows: data and all else, INIT,
/// INIT ACK, COOKIE ECHO, COOKIE ACK, SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE, ERROR, ABORT.
type Table = [[SctpState; STATES]; EVENTS];

const INPUT: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
    [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
    [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
];

const OUTPUT: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
    [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
    [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
    [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
    [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
];

const INPUT_ONLY: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
    [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, ES, ES, ES, ES, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, I1, IN, ES, ES, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
];

impl SctpState {
    /// Every state, by its number.
    pub const ALL: [Self; STATES] = [NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL];

    /// The state of that number; `None` (the state) for a number there is not.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(NO)
    }

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            I1 => "INIT1",
            IN => "INIT",
            CS => "C-SENT",
            CR => "C-REPLIED",
            CW => "C-WAIT",
            CO => "COOKIE",
            CE => "C-ECHOED",
            ES => "ESTABLISHED",
            SS => "S-SENT",
            SR => "S-RECEIVED",
            SA => "S-ACK-SENT",
            RJ => "REJECTED",
            CL => "CLOSED",
        }
    }

    /// Whether such a connection counts as active.
    pub const fn is_active(self) -> bool {
        matches!(self, ES)
    }

    /// Seconds without a packet until the connection is gone.
    pub const fn timeout_s(self) -> u32 {
        match self {
            NO => 2,
            I1 | RJ => 4,
            ES => 900,
            _ => 61,
        }
    }

    /// The state after a packet.
    pub fn next(self, view: TcpView, chunk: Chunk) -> Self {
        let table = match view {
            TcpView::Input => &INPUT,
            TcpView::Output => &OUTPUT,
            TcpView::InputOnly => &INPUT_ONLY,
        };
        let row = table.get(chunk.event());
        row.and_then(|row| row.get(self as usize))
            .copied()
            .unwrap_or(self)
    }
}

/// The type of a packet's first chunk: all that Linux looks at, but that for a connection's state an ABORT behind a cookie decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    first: u8,
    /// A cookie with an ABORT behind it.
    aborted_cookie: bool,
}

impl Chunk {
    const ABORT: u8 = 6;
    const COOKIE_ECHO: u8 = 10;
    const COOKIE_ACK: u8 = 11;
    /// Bytes of a chunk's header.
    const LEN: usize = 4;

    /// Of a packet whose chunks (behind the common header) are `bytes`; `None`: there is none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first_chunk::<{ Self::LEN }>()?;
        let [kind, _, high, low] = first;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let next = bytes.get(len.next_multiple_of(4)..);
        let next = next.and_then(<[u8]>::first_chunk::<{ Self::LEN }>);
        Some(Self {
            first: kind,
            aborted_cookie: matches!(kind, Self::COOKIE_ECHO | Self::COOKIE_ACK)
                && len >= Self::LEN
                && matches!(next, Some([Self::ABORT, ..])),
        })
    }

    /// INIT.
    pub const fn is_init(self) -> bool {
        self.first == 1
    }

    /// ABORT.
    pub const fn is_abort(self) -> bool {
        self.first == Self::ABORT
    }

    const fn event(self) -> usize {
        match self.first {
            _ if self.aborted_cookie => 9,
            1 => 1,
            2 => 2,
            10 => 3,
            11 => 4,
            7 => 5,
            8 => 6,
            14 => 7,
            9 => 8,
            6 => 9,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_states_agree() {
        for (number, state) in SctpState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
        }
        assert_eq!(SctpState::from_number(200), NO);
    }

    #[test]
    fn an_abort_behind_a_cookie_decides() {
        let event = |bytes: &[u8]| Chunk::of(bytes).map(Chunk::event);
        let (abort, cookie_echo, data) = (Some(9), Some(3), Some(0));
        assert_eq!(event(&[10, 0, 0, 6, 1, 2, 0, 0, 6, 0, 0, 4]), abort);
        assert_eq!(event(&[10, 0, 0, 6, 1, 2, 0, 0, 0, 0, 0, 4]), cookie_echo);
        assert_eq!(event(&[0, 0, 0, 4, 6, 0, 0, 4]), data);
        assert_eq!(event(&[10, 0, 0, 1]), cookie_echo);
        assert_eq!(event(&[10, 0, 0]), None);
        // But it is scheduled as what comes first.
        let first = Chunk::of(&[10, 0, 0, 6, 1, 2, 0, 0, 6, 0, 0, 4]);
        assert!(!first.unwrap().is_abort());
    }
}
