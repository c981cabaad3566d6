//! ICMP about a connection.

use crate::{Output, context::Context, packet::Packet};
use wire::Frame;

/// An ICMP packet: given back unless it is an error about a connection.
pub(crate) fn icmp<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    let _ = (cx, packet);
    Err(frame)
}
