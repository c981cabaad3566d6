//! What the director's own stack answers for its addresses and VIPs.

use crate::{DropReason, Output, context::Context, neighbour::NeighbourId, packet::Packet};
use types::{InterfaceId, PortId};
use wire::Frame;

/// An ARP packet, well-formed, at `at`.
pub(crate) fn arp<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    port: PortId,
    interface: InterfaceId,
    at: u8,
) {
    let _ = (port, interface, at);
    cx.drop(frame, DropReason::ArpNotForUs);
}

/// A packet to one of our addresses (or to a group) that is not LVS's.
pub(crate) fn deliver<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) {
    let _ = packet;
    cx.drop(frame, DropReason::PortClosed);
}

/// Answers a TCP packet with a reset as Linux builds it, if one is due.
pub(crate) fn reset<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    about: &F,
    packet: &Packet,
) {
    let _ = (cx, about, packet);
}

/// Asks for a neighbour if a question is due.
pub(crate) fn ask<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, id: NeighbourId) {
    let _ = (cx, id);
}

/// The neighbours' clockwork: called at least every millisecond.
pub(crate) fn housekeeping<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    let _ = cx;
}
