//! What time brings about: questions to neighbours, the release of frames that waited for an answer, or their end.

use super::{arp, nd};
use crate::{
    DropReason, Output,
    context::Context,
    datagram,
    icmp::{self, IcmpError},
    lvs,
    neighbour::{NeighbourId, Probe, State},
    net::NextHop,
    packet, transmit,
    waiting::{Group, Held},
};
use std::net::IpAddr;
use types::{MacAddr, Tick};
use wire::Frame;

/// Slots of the neighbour table looked at for each millisecond that went by.
const PER_MS: usize = 128;
/// The same in one call: a worker that pauses calls seldom.
const MOST: usize = 4096;

/// Where a worker's sweep over the neighbours stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sweep {
    slot: usize,
    /// When it last went on.
    at: Tick,
}

impl Sweep {
    /// Slots due by `now` in a table of `slots`.
    fn due(&mut self, now: Tick, slots: usize) -> usize {
        let ms = usize::try_from(now.since_ms(self.at)).unwrap_or(usize::MAX);
        self.at = now;
        ms.saturating_mul(PER_MS).min(MOST).min(slots)
    }

    /// The next slot.
    const fn next(&mut self, slots: usize) -> usize {
        let slot = self.slot;
        self.slot = if slot + 1 < slots { slot + 1 } else { 0 };
        slot
    }
}

/// The neighbours' clockwork: called at least every millisecond while frames come. Bounded.
pub(crate) fn housekeeping<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    if cx.local.waiting.groups() > 0 {
        settle_waiting(cx);
    }
    let slots = cx.shared.neighbours.slots();
    for _ in 0..cx.local.sweep.due(cx.now, slots) {
        let slot = cx.local.sweep.next(slots);
        if cx.shared.neighbours.is_settled(slot)
            && let Some(probe) = cx.shared.neighbours.tend(slot, cx.now)
        {
            send_probe(cx, probe);
        }
    }
}

/// Asks for a neighbour now, if a question is due.
#[cold]
pub(crate) fn ask<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, id: NeighbourId) {
    if let Some(probe) = cx.shared.neighbours.tend(id.0 as usize, cx.now) {
        send_probe(cx, probe);
    }
}

#[cold]
fn settle_waiting<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    // From the end: a group that goes leaves its place to the last, which was looked at already.
    for at in (0..cx.local.waiting.groups()).rev() {
        let Some(group) = cx.local.waiting.group(at) else {
            continue;
        };
        ask(cx, group.id);
        let link = cx
            .shared
            .neighbours
            .check(group.id, group.interface, group.address);
        match link.map(|link| (link.usable(), link.state())) {
            Some((Some(mac), _)) => release(cx, at, &group, mac),
            Some((None, State::Incomplete)) => {}
            _ => give_up(cx, at),
        }
    }
}

/// The neighbour answered: what waited for it goes out, in order.
fn release<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    at: usize,
    group: &Group,
    mac: MacAddr,
) {
    let port = cx.snapshot.net.interface(group.interface).map(|i| i.port);
    for _ in 0..group.count {
        let Some(Held { mut frame, .. }) = cx.local.waiting.take_from(at) else {
            return;
        };
        cx.local.counters.held.sub(1);
        let destination = frame.head_mut().first_chunk_mut::<6>();
        match (destination, port) {
            (Some(destination), Some(port)) => {
                *destination = mac.0;
                cx.transmit(port, frame);
            }
            _ => cx.drop(frame, DropReason::NoRoute),
        }
    }
}

/// The neighbour did not answer: the senders of what waited for it are told, and it ends.
fn give_up<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, at: usize) {
    let Some(group) = cx.local.waiting.group(at) else {
        return;
    };
    for _ in 0..group.count {
        let Some(Held { mut frame, tell }) = cx.local.waiting.take_from(at) else {
            return;
        };
        cx.local.counters.held.sub(1);
        if let Some(l3) = transmit::l3_offset(frame.head())
            && let Some(about) = packet::reparse(&frame, l3, group.interface)
            && (tell
                || cx
                    .snapshot
                    .net
                    .local(about.addresses.destination())
                    .is_some())
        {
            // What NAT did to it is undone first: the client is to see neither in source nor quote where the server is.
            let undone = lvs::undo_nat(cx, &mut frame, &about);
            let destination = about.addresses.destination();
            if undone.is_none()
                && !cx.snapshot.settings.compat_ipvs
                && cx.snapshot.services.is_server(destination, cx.now)
            {
                // Rewritten, but of no connection any more, or never of one (one-packet scheduling).
                cx.drop(frame, DropReason::NeighbourUnreachable);
                continue;
            }
            let net = &cx.snapshot.net;
            let client = about.addresses.source();
            let towards = net
                .route_back(client, about.interface)
                .and_then(|next| net.source_for(client, next));
            let source = towards.filter(|_| undone.is_none());
            let about = undone.unwrap_or(about);
            icmp::error(cx, &frame, &about, IcmpError::HostUnreachable, source);
        }
        cx.drop(frame, DropReason::NeighbourUnreachable);
    }
}

/// Sends a question to a neighbour.
#[cold]
fn send_probe<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, probe: Probe) {
    let net = &cx.snapshot.net;
    let Some(out) = net.interface(probe.interface) else {
        return;
    };
    let Some(mut frame) = cx.generated() else {
        return;
    };
    match probe.address {
        IpAddr::V4(target) => {
            let next = NextHop {
                interface: probe.interface,
                gateway: probe.address,
            };
            // Without an address of our own it is asked as a probe does (RFC 5227).
            let source = match net.source_for(probe.address, next) {
                Some(IpAddr::V4(ip)) => ip.to_bits(),
                _ => 0,
            };
            if arp::request(&mut frame, out, source, target.to_bits(), probe.to) {
                cx.transmit(out.port, frame);
            } else {
                cx.drop(frame, DropReason::NoRoom);
            }
        }
        IpAddr::V6(target) => match nd::solicit(&mut frame, out, target.to_bits(), probe.to) {
            Some(mac) => transmit::send_to_mac(cx, frame, datagram::L3, out, mac),
            None => cx.drop(frame, DropReason::NoRoom),
        },
    }
}

#[cfg(test)]
mod tests;
