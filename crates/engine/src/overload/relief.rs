//! What a worker past its capacity lets go, before anything has been done about it.
//!
//! SYNs are new whatever is known of their connection, and are told from the header alone; what else would begin anew is known only when no
//! connection has been found ([`refuses`]). Whole flows are refused, by a keyed hash of the client's endpoint, so that a share of the clients is
//! served, rather than all of them badly; as the share falls, a client's next try is let in. Of what stands every so-manieth
//! packet goes, over all flows: TCP slows down by it.

use super::ALL;
use crate::{
    BURST, DropReason, Output,
    context::Context,
    net::Local,
    packet::{self, Addresses, Packet, Parsed},
};
use arrayvec::ArrayVec;
use types::PortId;
use wire::{Frame, protocol, tcp};

/// Takes out of a burst what is let go.
#[inline(always)]
pub(crate) fn relieve<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    burst: &mut ArrayVec<F, BURST>,
) {
    if !cx.local.relief.is_none() {
        take_out(cx, port, burst);
    }
}

#[cold]
#[inline(never)]
fn take_out<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    burst: &mut ArrayVec<F, BURST>,
) {
    let shares = cx.local.relief.shares(cx.now);
    if shares.is_none() {
        return;
    }
    for frame in std::mem::take(burst) {
        let reason = match packet::parse(&frame, port, &cx.snapshot.net) {
            Parsed::Ip(packet) if !is_control(cx, &packet) => {
                if is_syn(&packet) {
                    (hash(cx, &packet) < shares.new).then_some(DropReason::OverloadNew)
                } else {
                    let spread = &mut cx.local.relief_spread;
                    *spread += shares.established;
                    let hit = *spread >= ALL;
                    *spread %= ALL;
                    hit.then_some(DropReason::OverloadEstablished)
                }
            }
            _ => None,
        };
        match reason {
            Some(reason) => cx.drop(frame, reason),
            None => {
                if let Err(full) = burst.try_push(frame) {
                    // There were as many before.
                    cx.drop(full.element(), DropReason::NoBuffer);
                }
            }
        }
    }
}

/// Whether a packet of no connection is refused that would begin one, or have an answer made of the director's own, at a
/// virtual address or a service.
#[inline]
pub(crate) fn refuses<F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, packet: &Packet) -> bool {
    !cx.local.relief.is_none() && is_hit(cx, packet)
}

#[cold]
fn is_hit<F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, packet: &Packet) -> bool {
    // SYNs have been asked already.
    let share = cx.local.relief.shares(cx.now).new;
    share > 0 && !is_control(cx, packet) && !is_syn(packet) && hash(cx, packet) < share
}

fn is_syn(packet: &Packet) -> bool {
    packet.protocol == protocol::TCP && packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// What keeps director and links going, and whatever is for the host: neighbour discovery and all ICMP, VRRP, groups (routing
/// protocols, connection synchronisation), the director's own addresses (BFD, answers to health checks, ssh). ARP is no IP.
fn is_control<F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, packet: &Packet) -> bool {
    let net = &cx.snapshot.net;
    let destination = packet.addresses.destination();
    matches!(
        packet.protocol,
        protocol::ICMP | protocol::ICMPV6 | protocol::VRRP
    ) || packet.link_group
        || destination.is_multicast()
        || matches!(
            net.local(destination),
            Some(Local::Own(_) | Local::Broadcast)
        )
}

/// Of a flow, below [`ALL`].
fn hash<F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, packet: &Packet) -> u32 {
    let digest = match packet.addresses {
        Addresses::V4 { source, .. } => cx.shared.connections4.digest(source, packet.source_port),
        Addresses::V6 { source, .. } => cx.shared.connections6.digest(source, packet.source_port),
    };
    u32::try_from(digest % u64::from(ALL)).unwrap_or(0)
}
