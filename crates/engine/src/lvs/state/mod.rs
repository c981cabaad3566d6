//! What state a connection is in, by protocol, and how long it may stay there without a packet.

mod tcp;

pub(crate) use tcp::{TcpEvent, TcpState, TcpView};

use crate::model::Settings;
use wire::protocol;

/// Milliseconds a new connection has before its first state is set.
pub(crate) const NEW_MS: u32 = 3_000;
/// Milliseconds a template gets when it runs out while connections still hold it, by Linux.
pub(crate) const HELD_TEMPLATE_MS: u32 = 60_000;

/// States of a persistence template.
pub(crate) const TEMPLATE_NONE: u8 = 0;
/// A connection it controls has been established.
pub(crate) const TEMPLATE_ASSURED: u8 = 1;

/// Milliseconds without a packet until a connection of `protocol` in `state` is gone.
#[inline]
pub(crate) fn timeout_ms(protocol: u8, state: u8, settings: &Settings) -> u32 {
    let seconds = if protocol == protocol::TCP {
        TcpState::from_number(state).timeout_s(settings.timeout_tcp_s, settings.timeout_tcp_fin_s)
    } else {
        settings.timeout_udp_s
    };
    seconds.saturating_mul(1000)
}

/// The state's name in listings.
pub(crate) fn name(protocol: u8, template: bool, state: u8) -> &'static str {
    match (template, protocol) {
        (true, _) if state == TEMPLATE_ASSURED => "ASSURED",
        (true, _) => "NONE",
        (false, protocol::TCP) => TcpState::from_number(state).name(),
        (false, protocol::UDP) => "UDP",
        (false, _) => "NONE",
    }
}
