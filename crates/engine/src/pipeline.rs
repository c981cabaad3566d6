//! A burst in stages: parse all, prefetch where each packet's connection would be, then find and handle them; what has no
//! connection comes last, together. One cache miss is waited for while the others are under way.

use crate::{
    BURST, Output,
    context::Context,
    forward, localstack,
    lvs::{self, Lookup},
    packet::{self, Packet, Parsed},
};
use arrayvec::ArrayVec;
use types::PortId;
use wire::{Frame, protocol};

/// A TCP or UDP packet on its way through the stages.
struct Item<F> {
    /// `None` once it is handled. Items stay where they are: only the frame moves.
    frame: Option<F>,
    packet: Packet,
    lookup: Lookup,
}

/// Handles all frames of `burst`, received on `port`.
#[inline]
pub(crate) fn burst<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    burst: &mut ArrayVec<F, BURST>,
) {
    let mut items: ArrayVec<Item<F>, BURST> = ArrayVec::new();
    for frame in burst.drain(..) {
        match packet::parse(&frame, port, &cx.snapshot.net) {
            Parsed::Ip(packet) => match lvs::lookup(cx, &packet) {
                Some(lookup) => items.push(Item {
                    frame: Some(frame),
                    packet,
                    lookup,
                }),
                None => other(cx, frame, &packet),
            },
            Parsed::Arp { interface, at } => localstack::arp(cx, frame, port, interface, at),
            Parsed::Punt => cx.punt(port, frame),
            Parsed::Drop(reason) => cx.drop(frame, reason),
        }
    }
    if items.is_empty() {
        return;
    }
    for item in &items {
        item.lookup.prefetch_entry(cx.shared);
    }
    let mut missed = false;
    for item in &mut items {
        if let Some(frame) = item.frame.take()
            && let Err(frame) = item.lookup.handle(cx, frame, &item.packet)
        {
            item.frame = Some(frame);
            missed = true;
        }
    }
    if !missed {
        return;
    }
    for item in &mut items {
        if let Some(frame) = item.frame.take() {
            item.lookup.missed(cx, port, frame, &item.packet, 0);
        }
    }
}

/// Packets held back because another worker was inserting their connection.
#[cold]
pub(crate) fn retry<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    for _ in 0..cx.local.busy.len() {
        let Some(held) = cx.local.busy.take() else {
            return;
        };
        cx.local.counters.held.sub(1);
        match lvs::lookup(cx, &held.packet) {
            Some(lookup) => lookup.missed(cx, held.port, held.frame, &held.packet, held.tries),
            None => not_ours(cx, held.frame, &held.packet),
        }
    }
}

/// An IP packet that cannot be of a connection.
#[cold]
fn other<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, frame: F, packet: &Packet) {
    let is_icmp = matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6);
    if is_icmp && !packet.headless && !cx.snapshot.services.is_empty() {
        if let Err(frame) = lvs::icmp(cx, frame, packet) {
            not_ours(cx, frame, packet);
        }
    } else {
        not_ours(cx, frame, packet);
    }
}

/// A packet that is not of a virtual service: the director's own, or one to pass on.
pub(crate) fn not_ours<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) {
    if cx
        .snapshot
        .net
        .local(packet.addresses.destination())
        .is_some()
    {
        localstack::deliver(cx, frame, packet);
    } else {
        forward::route(cx, frame, packet);
    }
}
