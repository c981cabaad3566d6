//! A burst in stages: a glance at every frame, prefetching the tags of its connection; then each goes its way, one after the
//! other, while the connections of those a little behind it are fetched; what wants a new connection comes last, together. One
//! cache miss is waited for while the others are under way.
//!
//! Plain packets of connections that stand, nearly all there are, go the straight way. Every other frame is parsed in
//! full and takes the long one.

use crate::{
    BURST, Output,
    context::Context,
    forward, fragment_in, localstack,
    lvs::{self, AHEAD, Kind, Lookup, Stop},
    packet::{self, Glance, Packet, Parsed},
};
use arrayvec::ArrayVec;
use flowtable::{V4, V6};
use std::mem;
use types::PortId;
use wire::{Frame, plain, protocol};

/// Where the connections of a burst's packets would be.
type Lookups = [Lookup; BURST];

/// What may want new connections.
type Left<F> = ArrayVec<(F, Packet, Lookup), BURST>;

/// The frames of a burst that are not plain packets, in order. What may be of a connection all the same (tagged, with options, a
/// fragment) is parsed with the first stage, so that its connection is fetched with the others'.
#[derive(Default)]
struct Odd {
    parsed: ArrayVec<Option<(Packet, Lookup)>, BURST>,
    next: usize,
}

/// Frames in a row handed to one port, to be counted together.
#[derive(Default)]
struct Run {
    port: PortId,
    packets: u64,
    bytes: u64,
}

impl Run {
    /// One more; a run to another port is counted first.
    #[inline(always)]
    fn add<F: Frame, O: Output<F>>(&mut self, cx: &Context<'_, F, O>, port: PortId, bytes: usize) {
        if port != self.port {
            self.count(cx);
            self.port = port;
        }
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    #[inline]
    fn count<F: Frame, O: Output<F>>(&mut self, cx: &Context<'_, F, O>) {
        cx.count_sent(self.port, self.packets, self.bytes);
        (self.packets, self.bytes) = (0, 0);
    }
}

/// Handles all frames of `burst`, received on `port`.
#[inline]
pub(crate) fn burst<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    burst: &mut ArrayVec<F, BURST>,
) {
    let mut lookups: Lookups = [Lookup::ODD; BURST];
    let plain = glance(cx, port, burst, &mut lookups);
    let mut odd = Odd::default();
    if plain < burst.len() {
        look_closer(cx, port, burst, &lookups, &mut odd);
    }
    let mut lookups = lookups.get_mut(..burst.len()).unwrap_or_default();
    // Of so many of the packets that are left entries have been asked for. SYNs answered at once need none.
    let mut fetched = 0;
    let mut left: Left<F> = ArrayVec::new();
    let mut run = Run::default();
    let mut frames = mem::take(burst).into_iter();
    let at_once = cx.snapshot.cookies.any_at_once();
    while let Some(kind) = lookups.first().map(Lookup::kind) {
        let answered = if at_once {
            lvs::answer_at_once(cx, port, frames.as_mut_slice(), lookups)
        } else {
            0
        };
        if answered == 0 {
            for lookup in lookups.iter_mut().take(AHEAD).skip(fetched) {
                lookup.prefetch_entry(cx.shared);
            }
            // From here on each packet asks for one more.
            fetched = AHEAD;
        }
        fetched = fetched.saturating_sub(answered);
        let (ready, stop) = match kind {
            _ if answered > 0 => (answered, Stop::End),
            Kind::V4 => lvs::stretch::<V4, F, O>(cx, frames.as_mut_slice(), lookups),
            Kind::V6 => lvs::stretch::<V6, F, O>(cx, frames.as_mut_slice(), lookups),
            Kind::Odd => {
                lvs::prefetch_ahead(cx.shared, lookups, 0);
                (0, Stop::Unusual)
            }
        };
        let out = lookups.split_off_mut(..ready).unwrap_or_default();
        hand_over(cx, out, &mut frames, &mut run);
        if stop == Stop::End {
            continue;
        }
        let (Some(lookup), Some(frame)) = (lookups.split_off_first_mut(), frames.next()) else {
            break;
        };
        let back = match (lookup.kind(), stop) {
            (Kind::Odd, _) => odd_one(cx, port, frame, &mut odd),
            (_, Stop::Unknown) => Some(frame),
            _ => long_way(cx, port, frame),
        };
        if let Some(frame) = back {
            set_aside(cx, port, frame, &mut left);
        }
    }
    run.count(cx);
    // By reference: room for a whole burst of packets, with all that is known of each, is not to be copied for none.
    for (frame, packet, lookup) in left.drain(..) {
        missed(cx, port, frame, &packet, &lookup);
    }
}

/// Hands frames that are ready to their ports. By itself, so that the counts stay in registers.
#[inline(never)]
fn hand_over<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    lookups: &[Lookup],
    frames: &mut arrayvec::IntoIter<F, BURST>,
    run: &mut Run,
) {
    let mut now = mem::take(run);
    for (lookup, frame) in lookups.iter().zip(frames) {
        now.add(cx, lookup.out, frame.total_len());
        cx.out.transmit(lookup.out, frame);
    }
    *run = now;
}

/// The first stage; says how many frames are plain packets.
#[inline(never)]
fn glance<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    port: PortId,
    burst: &[F],
    lookups: &mut Lookups,
) -> usize {
    let net = &cx.snapshot.net;
    let [four, six] = cx.snapshot.services.looks_at();
    if !four && !six {
        return 0;
    }
    let Some(mac) = net.untagged_mac(port) else {
        return 0;
    };
    let (station, mut plain) = (plain::station(mac.0), 0);
    for (frame, lookup) in burst.iter().zip(lookups) {
        let Some(glance) = Glance::of(frame, station) else {
            continue;
        };
        if glance.is4() {
            if four && let Some(packet) = glance.plain4() {
                lvs::guess::<V4, F, O>(cx, &packet, lookup);
                plain += 1;
            }
        } else if six && glance.is6() && guess6(cx, glance, lookup) {
            plain += 1;
        }
    }
    plain
}

/// By itself, so that IPv4's registers are its own.
#[inline(never)]
fn guess6<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    glance: Glance<'_>,
    lookup: &mut Lookup,
) -> bool {
    let packet = glance.plain6();
    if let Some(packet) = &packet {
        lvs::guess::<V6, F, O>(cx, packet, lookup);
    }
    packet.is_some()
}

/// The first stage for what is not plain.
#[inline(never)]
fn look_closer<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    port: PortId,
    burst: &[F],
    lookups: &Lookups,
    odd: &mut Odd,
) {
    if cx.snapshot.services.looks_at() == [false; 2] {
        return;
    }
    for (frame, lookup) in burst.iter().zip(lookups) {
        if lookup.kind() != Kind::Odd {
            continue;
        }
        let found = match packet::parse(frame, port, &cx.snapshot.net) {
            Parsed::Ip(packet) => lvs::lookup(cx, &packet).map(|lookup| (packet, lookup)),
            _ => None,
        };
        // As many as a burst has frames: there is room.
        let _ = odd.parsed.try_push(found);
    }
    for (_, lookup) in odd.parsed.iter_mut().flatten() {
        lookup.prefetch_entry(cx.shared);
    }
}

/// The next frame that is not a plain packet. Gives back what may want a new connection.
#[inline(never)]
fn odd_one<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    odd: &mut Odd,
) -> Option<F> {
    let parsed = odd.parsed.get(odd.next).and_then(Option::as_ref);
    odd.next += 1;
    match parsed {
        Some((packet, lookup)) => lookup.handle(cx, frame, packet).err(),
        None => long_way(cx, port, frame),
    }
}

/// A frame that is not the plain packet of a connection, or about which something is out of the ordinary. Gives back what may
/// want a new connection.
#[inline(never)]
fn long_way<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
) -> Option<F> {
    let (frame, packet, lookup) = parsed(cx, port, frame)?;
    lookup.handle(cx, frame, &packet).err()
}

/// A packet that may want a new connection waits for the end of the burst, while what is looked at then is fetched.
#[inline(never)]
fn set_aside<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    left: &mut Left<F>,
) {
    let Some((frame, packet, lookup)) = parsed(cx, port, frame) else {
        return;
    };
    lookup.prefetch_other(cx.shared, &packet);
    // As many as a burst has frames: there is room.
    if let Err(full) = left.try_push((frame, packet, lookup)) {
        let (frame, packet, lookup) = full.element();
        missed(cx, port, frame, &packet, &lookup);
    }
}

/// A packet that may want a new connection.
#[inline(never)]
fn missed<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    packet: &Packet,
    lookup: &Lookup,
) {
    if let Err(frame) = fragment_in::receive(cx, frame, packet) {
        lookup.missed(cx, port, frame, packet, 0);
    }
}

/// The packet in a frame, if it can be of a connection; anything else is dealt with here.
#[inline]
fn parsed<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
) -> Option<(F, Packet, Lookup)> {
    match packet::parse(&frame, port, &cx.snapshot.net) {
        Parsed::Ip(packet) => match lvs::lookup(cx, &packet) {
            Some(lookup) => return Some((frame, packet, lookup)),
            None => other(cx, frame, &packet),
        },
        Parsed::Arp { interface, at } => localstack::arp(cx, frame, port, interface, at),
        Parsed::Punt => cx.punt(port, frame),
        Parsed::Drop(reason) => cx.drop(frame, reason),
    }
    None
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
pub(crate) fn other<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, frame: F, packet: &Packet) {
    if cx.snapshot.floating.any() && is_advertisement(&frame, packet) {
        if let Some(interface) = cx.snapshot.net.interface(packet.interface) {
            let port = interface.port;
            cx.advertisement(port, frame);
        } else {
            cx.drop(frame, crate::DropReason::NoRoute);
        }
        return;
    }
    let Err(frame) = fragment_in::receive(cx, frame, packet) else {
        return;
    };
    let is_icmp = matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6);
    let looked_at = cx.snapshot.services.looks_at_family_of(&packet.addresses);
    if matches!(packet.protocol, protocol::AH | protocol::ESP) && looked_at {
        if let Err(frame) = lvs::ipsec(cx, frame, packet) {
            not_ours(cx, frame, packet);
        }
    } else if is_icmp && !packet.headless && looked_at {
        if let Err(frame) = lvs::icmp(cx, frame, packet) {
            not_ours(cx, frame, packet);
        }
    } else if packet.headless && matches!(packet.protocol, protocol::TCP | protocol::UDP) {
        // Of no connection for want of a header, but perhaps a real server's.
        lvs::stray(cx, frame, packet);
    } else {
        not_ours(cx, frame, packet);
    }
}

/// Whether this is VRRP, with or without an authentication header around it.
fn is_advertisement<F: Frame>(frame: &F, packet: &Packet) -> bool {
    match packet.protocol {
        protocol::VRRP => true,
        // Its first byte is the protocol inside.
        protocol::AH => frame.head().get(usize::from(packet.l4)) == Some(&protocol::VRRP),
        _ => false,
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

/// [`burst`] without the straight way.
#[cfg(test)]
pub(crate) fn the_long_way<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    burst: &mut ArrayVec<F, BURST>,
) {
    let mut left: Left<F> = ArrayVec::new();
    for frame in burst.drain(..) {
        if let Some(frame) = long_way(cx, port, frame) {
            set_aside(cx, port, frame, &mut left);
        }
    }
    for (frame, packet, lookup) in left {
        missed(cx, port, frame, &packet, &lookup);
    }
}

#[cfg(test)]
mod tests;
