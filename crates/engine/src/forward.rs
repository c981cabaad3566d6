//! Plain forwarding: packets that are for nobody here go on to the next router or station.

use crate::{DropReason, Output, context::Context, packet::Packet};
use wire::Frame;

/// Forwards the packet, or tells its sender why not.
pub(crate) fn route<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, frame: F, packet: &Packet) {
    let _ = packet;
    cx.drop(frame, DropReason::NoRoute);
}
