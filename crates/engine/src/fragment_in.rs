//! Fragments that come in: which are put together, and what becomes of the packet once it is whole.

use crate::{
    DropReason, Output,
    context::Context,
    forward,
    icmp::{self, IcmpError},
    localstack, lvs,
    net::Local,
    packet::{Addresses, Fragment, Packet, reparse},
    pipeline,
    reassembly::{Limits, Outcome, Whole},
};
use types::InterfaceId;
use wire::{Frame, protocol};

/// Packets given up in one call at most.
const EXPIRED_AT_ONCE: usize = 16;

/// A fragment: given back if it goes on as it is.
#[cold]
pub(crate) fn receive<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    if packet.fragment == Fragment::No || packet.link_group {
        return Err(frame);
    }
    let local = cx.snapshot.net.local(packet.addresses.destination());
    let due = match local {
        Some(Local::Broadcast) => false,
        // The host puts its own together.
        Some(local) => !localstack::is_the_hosts(cx, packet, local) || is_for_a_service(cx, packet),
        None => passes(cx, &frame, packet),
    };
    if !due || packet.addresses.destination().is_multicast() {
        return Err(frame);
    }
    let limits = Limits::new(&cx.snapshot.settings, cx.now);
    let table = &cx.local.reassembly;
    let (outcome, gone) = table.add(&limits, frame, packet, local.is_some());
    for (reason, count) in gone {
        cx.local.counters.held.sub(count);
        cx.local.counters.drop_n(reason, count);
    }
    match outcome {
        Outcome::Held => {
            cx.local.counters.held.add(1);
            cx.local.fragments_held += 1;
        }
        Outcome::Refused(frame, reason) => cx.drop(frame, reason),
        Outcome::Whole(whole) => self::whole(cx, whole),
    }
    Ok(())
}

/// Whether a fragment to an address of the host's may be a service's all the same.
fn is_for_a_service<F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, packet: &Packet) -> bool {
    let snapshot = cx.snapshot;
    !snapshot.marks.is_empty()
        || snapshot
            .services
            .has_address(packet.addresses.destination())
}

/// Whether a fragment that is only passing through has to be looked into: it may be a real server's answer, or carry a mark. With
/// `compat_ipvs`, all that IPVS might know are.
fn passes<F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, frame: &F, packet: &Packet) -> bool {
    let snapshot = cx.snapshot;
    let known = match packet.addresses {
        Addresses::V4 { .. } => matches!(
            packet.protocol,
            protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP
        ),
        Addresses::V6 { .. } => true,
    };
    // Its sender is told of the first fragment, as of any packet.
    let goes_on = forward::ttl(frame, packet).is_some_and(|ttl| ttl > 1)
        || matches!(packet.addresses, Addresses::V6 { .. });
    let services = &snapshot.services;
    known
        && goes_on
        && services.looks_at_family_of(&packet.addresses)
        && (snapshot.settings.compat_ipvs
            || !snapshot.marks.is_empty()
            || services.is_server(packet.addresses.source(), cx.now))
}

/// A packet whose last fragment has come takes the way it would have taken as one.
fn whole<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, whole: Whole<F>) {
    let Whole {
        frame,
        packet,
        joined,
    } = whole;
    cx.local.counters.held.sub(joined);
    cx.local.counters.drop_n(DropReason::Reassembled, joined);
    let net = &cx.snapshot.net;
    let is_local = net.local(packet.addresses.destination()).is_some();
    if packet.headless && is_local {
        cx.drop(frame, DropReason::L4Malformed);
        return;
    }
    let Some(port) = net.interface(packet.interface).map(|i| i.port) else {
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    match lvs::lookup(cx, &packet) {
        Some(lookup) => lookup.missed(cx, port, frame, &packet, 0),
        None => pipeline::other(cx, frame, &packet),
    }
}

/// Gives up packets that were not complete in time: who sent the first fragment is told (RFC 792, RFC 4443 3.3).
pub(crate) fn expire<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    for _ in 0..EXPIRED_AT_ONCE {
        let table = &cx.local.reassembly;
        let Some(expired) = table.expire(cx.local.reassembly_hand, cx.now) else {
            cx.local.reassembly_hand = cx.local.reassembly_hand.wrapping_add(1);
            return;
        };
        let reason = DropReason::FragmentTimeout;
        cx.local.counters.held.sub(expired.others);
        cx.local.counters.drop_n(reason, expired.others);
        if let Some((frame, l3, interface)) = expired.first {
            cx.local.counters.held.sub(1);
            tell(cx, &frame, l3, interface);
            cx.drop(frame, reason);
        }
    }
}

fn tell<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &F,
    l3: u8,
    interface: InterfaceId,
) {
    let Some(packet) = reparse(frame, l3, interface) else {
        return;
    };
    icmp::error(cx, frame, &packet, IcmpError::ReassemblyTime, None);
}
