//! ICMP and ICMPv6 errors, as Linux builds them.

use crate::{Output, context::Context, packet::Packet};
use std::net::IpAddr;
use wire::Frame;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IcmpError {
    /// Nobody listens on the port.
    PortUnreachable,
    /// The next hop does not answer.
    HostUnreachable,
    /// No route.
    NetUnreachable,
    /// Nobody speaks the protocol.
    ProtocolUnreachable,
    /// Time to live or hop limit used up.
    TimeExceeded,
    /// Fragmentation needed, packet too big.
    TooBig {
        /// What the way out takes.
        mtu: u16,
    },
}

/// Tells the sender of `about` what is wrong, if that is allowed. `source`: `None` for Linux's choice.
pub(crate) fn error<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    about: &F,
    packet: &Packet,
    what: IcmpError,
    source: Option<IpAddr>,
) {
    let _ = (cx, about, packet, what, source);
}
