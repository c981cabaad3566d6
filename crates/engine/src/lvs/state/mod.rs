//! What state a connection is in, by protocol, and how long it may stay there without a packet.

mod sctp;
mod tcp;

pub(crate) use sctp::{Chunk, SctpState};
pub(crate) use tcp::{TcpEvent, TcpState, TcpView};

use crate::model::Settings;
use wire::protocol;

/// Milliseconds a new connection has before its first state is set.
pub(crate) const NEW_MS: u32 = 3_000;
/// Milliseconds a template, or an FTP control connection, gets when it runs out while connections still hold it, by Linux.
pub(crate) const HELD_MS: u32 = 60_000;

/// States of a persistence template.
pub(crate) const TEMPLATE_NONE: u8 = 0;
/// A connection it controls has been established.
pub(crate) const TEMPLATE_ASSURED: u8 = 1;

const _: () = assert!(matches!(TcpState::ALL[1], TcpState::Established));

/// Milliseconds without a packet until a connection is gone, worked out from the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    udp_ms: u32,
    /// By state. A number there is not counts as the first.
    tcp_ms: [u32; TcpState::ALL.len()],
}

impl Timeouts {
    /// By these settings.
    pub fn new(settings: &Settings) -> Self {
        let ms = |seconds: u32| seconds.saturating_mul(1000);
        let (established, fin) = (settings.timeout_tcp_s, settings.timeout_tcp_fin_s);
        Self {
            udp_ms: ms(settings.timeout_udp_s),
            tcp_ms: TcpState::ALL.map(|state| ms(state.timeout_s(established, fin))),
        }
    }

    /// Of a UDP connection.
    #[inline]
    pub const fn udp_ms(&self) -> u32 {
        self.udp_ms
    }

    /// Of an SCTP connection in that state.
    pub fn sctp_ms(&self, state: u8) -> u32 {
        SctpState::from_number(state).timeout_s() * 1000
    }

    /// Of an established TCP connection.
    #[inline]
    pub const fn established_ms(&self) -> u32 {
        let [_, established, ..] = self.tcp_ms;
        established
    }

    /// Of a TCP connection in that state.
    #[inline]
    pub fn tcp_ms(&self, state: u8) -> u32 {
        let [none, ..] = self.tcp_ms;
        self.tcp_ms.get(usize::from(state)).copied().unwrap_or(none)
    }
}

/// The state's name in listings.
pub(crate) fn name(protocol: u8, template: bool, state: u8) -> &'static str {
    match (template, protocol) {
        (true, _) if state == TEMPLATE_ASSURED => "ASSURED",
        (true, _) => "NONE",
        (false, protocol::TCP) => TcpState::from_number(state).name(),
        (false, protocol::SCTP) => SctpState::from_number(state).name(),
        (false, protocol::UDP) => "UDP",
        (false, _) => "NONE",
    }
}
