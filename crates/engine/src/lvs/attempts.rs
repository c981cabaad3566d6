//! Attempts to connect that a server refuses or leaves unanswered: what clients' own traffic tells of a server before its next check.
//!
//! Under NAT, where answers are seen. Nothing is looked at but first answers and repeated SYNs; what follows is control's affair.

use super::{entry::is_nat, family::Ip, state::TcpState};
use crate::{Output, context::Context};
use flowtable::{Entry, StateFlags, StateWord};
use wire::{Frame, protocol, tcp};

/// The server has sent something on this connection of TCP. Set with the first packet that is not plainly one of an established one.
pub(super) const ANSWERED: StateFlags = StateFlags::user(0);

/// A SYN sooner after the last is no repetition: the server may yet answer that one (RFC 6298: a second at first).
const PATIENCE_MS: u32 = 500;

/// A client asks again for a connection that it has.
#[cold]
pub(super) fn repeated<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    entry: &Entry<'_, I>,
    word: StateWord,
) {
    let key = entry.key();
    let unanswered = key.protocol == protocol::TCP
        && is_nat(key.flags)
        && TcpState::from_number(word.state()) == TcpState::SynRecv
        && !word.flags().contains(ANSWERED);
    let waited = cx.now.low().wrapping_sub(entry.last_ms());
    if unanswered
        && waited >= PATIENCE_MS
        && let Some(server) = cx.shared.roster.server(entry.server())
    {
        server.attempt_failed();
    }
}

/// The server's first packet on a connection.
#[cold]
pub(super) fn answered<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    entry: &Entry<'_, I>,
    before: StateWord,
    tcp_flags: u8,
) {
    let Some(server) = cx.shared.roster.server(entry.server()) else {
        return;
    };
    if tcp_flags & tcp::RST == 0 {
        server.attempt_succeeded();
    } else if TcpState::from_number(before.state()) == TcpState::SynRecv {
        server.attempt_failed();
    }
}
