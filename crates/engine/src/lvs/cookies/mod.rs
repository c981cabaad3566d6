//! Holding the line under a flood of SYNs: `syn_cookies`.
//!
//! Where a service's servers are reached by NAT, the director answers SYNs itself, with a cookie as its sequence number, and keeps
//! nothing. Who acknowledges that number is there, and means it: only then is a server chosen, a connection made and the server asked
//! with a SYN like the client's own. What the client and the server have agreed on then differs in sequence numbers, timestamps
//! and perhaps window scale; [`Difference`] puts that right in every packet that follows.
//!
//! The client is told of no window until the server has answered, so it sends nothing that would have to be kept for the
//! server; then an acknowledgement opens the window.
//!
//! Where servers are reached directly, SYNs go to the server that a hash of their ends says ([`hashed`]).

mod ask;
mod at_once;
mod flood;
mod guard;
mod hashed;
mod options;
mod secret;
mod splice;
mod tally;

pub(crate) use ask::{Asked, ask_again};
pub(super) use ask::{from_client, from_server};
pub(crate) use at_once::answer_at_once;
pub(crate) use flood::Flood;
pub(crate) use guard::Guards;
pub(crate) use secret::Secret;
pub(super) use splice::is_over;
pub(crate) use splice::{Difference, Opening, Splice, difference};
pub(crate) use tally::Tallies;

use super::{
    connect::{self, Sought},
    family::{self, Ip},
    ftp, limits, schedule,
    segment_out::Segment,
    services::Service,
};
use crate::{DropReason, Output, context::Context, localstack, packet::Packet, transmit};
use flowtable::{Side, Tuple};
use guard::{Guard, How};
use options::Options;
use secret::{Refusal, SLOT_MS};
use std::net::SocketAddr;
use types::PortId;
use wire::{Frame, FromBytes, Tcp, protocol, tcp};

/// How long after a flood acknowledgements of its cookies are looked for.
const REMEMBERED_MS: u64 = 2 * SLOT_MS;

/// A TCP packet to a service, of no connection: given back unless it is a SYN to be answered without keeping anything of it, or a packet
/// that follows such a one.
#[cold]
#[inline(never)]
pub(super) fn consider<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    packet: &Packet,
    tries: u8,
    service: &Service,
) -> Result<(), F> {
    const LOOKED_AT: u8 = tcp::SYN | tcp::ACK | tcp::RST;
    let Some(guard) = cx.snapshot.cookies.of(service.id) else {
        return Err(frame);
    };
    let Some(tuple) = family::tuple::<I>(packet, Side::Virtual) else {
        return Err(frame);
    };
    if packet.protocol != protocol::TCP || ftp::concerns(cx.snapshot, &tuple) {
        return Err(frame);
    }
    let Some(state) = cx.shared.roster.service(service.id) else {
        return Err(frame);
    };
    match (packet.tcp_flags & LOOKED_AT, &guard.how) {
        (tcp::SYN, how) if packet.tcp_flags & tcp::FIN == 0 => {
            if !state.flood.meets(guard.when, cx.now)
                || !schedule::is_there_any(service, &cx.shared.roster)
            {
                return Err(frame);
            }
            if let Err(reason) =
                limits::may_come::<I>(cx.shared, cx.snapshot, service, tuple.client)
            {
                cx.drop(frame, reason);
                return Ok(());
            }
            match how {
                How::Cookie { mtu } => {
                    answer::<I, F, O>(cx, frame, packet, &tuple, (service, *mtu));
                }
                How::Hash(table) => {
                    return hashed::syn::<I, F, O>(cx, frame, packet, &tuple, service, table);
                }
            }
            Ok(())
        }
        (tcp::ACK, how) if state.flood.was_on(cx.now, REMEMBERED_MS) => match how {
            How::Cookie { .. } => {
                acknowledged::<I, F, O>(cx, port, frame, packet, tries, (service, &tuple))
            }
            How::Hash(table) => {
                let of = hashed::Of {
                    service,
                    guard,
                    table,
                    state,
                };
                hashed::follows::<I, F, O>(cx, port, frame, packet, tries, &tuple, &of)
            }
        },
        _ => Err(frame),
    }
}

/// The segment size that fits an MTU.
const fn segment_size<I: Ip>(mtu: u16) -> u16 {
    mtu.saturating_sub(if I::SIX { 60 } else { 40 })
}

/// The TCP header of a packet.
fn header<F: Frame>(frame: &F, packet: &Packet) -> Option<Tcp> {
    let bytes = frame.head().get(usize::from(packet.l4)..)?;
    Some(*Tcp::ref_from_prefix(bytes).ok()?.0)
}

/// Answers a SYN with a cookie.
fn answer<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    tuple: &Tuple<I::Addr>,
    (service, mtu): (&Service, u16),
) {
    if !localstack::l4_checksum_is_right(&frame, packet) {
        cx.drop(frame, DropReason::L4Checksum);
        return;
    }
    let Some(syn) = header(&frame, packet) else {
        cx.drop(frame, DropReason::L4Malformed);
        return;
    };
    let client = I::ip(tuple.client);
    let Some(next) = cx.snapshot.net.route_back(client, packet.interface) else {
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    let asked = Options::of(&frame, packet);
    let sequence = syn.sequence.get();
    let secret = &cx.shared.secret;
    let maker = secret.maker::<I>((tuple.other, tuple.other_port), cx.now);
    let ends = (tuple.client, tuple.client_port);
    let cookie = maker.cookie::<I>(ends, sequence, asked.size);
    let said = what_is_said::<I>(&asked, mtu, secret.clock(cx.now));
    let answer = Segment {
        source: SocketAddr::new(I::ip(tuple.other), tuple.other_port),
        destination: SocketAddr::new(client, tuple.client_port),
        sequence: cookie,
        acknowledgement: syn.sequence.get().wrapping_add(1),
        flags: tcp::SYN | tcp::ACK,
        window: 0,
    };
    let built = answer.replace(cx, frame, &said.bytes(), DropReason::CookieSent);
    cx.local.tallies.sent(service.id, 1);
    if let Some((frame, _)) = built {
        transmit::send(cx, frame, crate::datagram::L3, next);
    }
}

/// The options a SYN is answered with; the cookies' clock of timestamps.
#[inline(always)]
fn what_is_said<I: Ip>(asked: &Options, mtu: u16, clock: u32) -> Options {
    let size = Some(segment_size::<I>(mtu));
    // What the timestamp does not carry cannot be remembered, and is not agreed on.
    match asked.timestamps {
        None => Options {
            size,
            ..Options::default()
        },
        Some((value, _)) => Options {
            size,
            scale: asked.scale.map(|_| splice::SCALE),
            sack: asked.sack,
            timestamps: Some((options::stamp(clock, asked.scale, asked.sack), value)),
        },
    }
}

/// A packet that may acknowledge a cookie: if it does, a connection is made of it. Whatever data it carries the client sends again.
fn acknowledged<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    packet: &Packet,
    tries: u8,
    (service, tuple): (&Service, &Tuple<I::Addr>),
) -> Result<(), F> {
    let Some(segment) = header(&frame, packet) else {
        return Err(frame);
    };
    let cookie = segment.acknowledgement.get().wrapping_sub(1);
    let sequence = segment.sequence.get();
    // A client that waits for a window asks for it with the byte before its next (RFC 9293 3.8.6.1).
    let (plain, probe) = (sequence.wrapping_sub(1), sequence);
    let secret = &cx.shared.secret;
    let check = |isn| secret.check::<I>(tuple, isn, cookie, cx.now);
    let (isn, size) = match (check(plain), check(probe)) {
        (Ok(size), _) => (plain, size),
        (_, Ok(size)) => (probe, size),
        // Another way to make a connection of it.
        _ if cx.snapshot.settings.sloppy_tcp => return Err(frame),
        (Err(Refusal::Old), _) | (_, Err(Refusal::Old)) => {
            cx.local.tallies.refused(service.id);
            refuse(cx, frame, packet, DropReason::CookieOld);
            return Ok(());
        }
        (Err(Refusal::Wrong), Err(Refusal::Wrong)) => {
            cx.local.tallies.refused(service.id);
            refuse(cx, frame, packet, DropReason::CookieWrong);
            return Ok(());
        }
    };
    if !localstack::l4_checksum_is_right(&frame, packet) {
        cx.drop(frame, DropReason::L4Checksum);
        return Ok(());
    }
    if cx.local.asked.is_full() {
        cx.drop(frame, DropReason::HandshakesFull);
        return Ok(());
    }
    if tries == 0
        && let Err(reason) =
            limits::admit::<I>(cx.shared, cx.snapshot, service, tuple.client, cx.now)
    {
        cx.drop(frame, reason);
        return Ok(());
    }
    if tries == 0 {
        cx.local.tallies.accepted(service.id);
    }
    let opening = Opening {
        isn,
        cookie,
        window: segment.window.get(),
        options: splice::remembered(size, &Options::of(&frame, packet)),
    };
    let sought = Sought {
        service,
        call: None,
        server: None,
        bypass: false,
        opening: Some(&opening),
        quoted: false,
    };
    connect::for_service::<I, F, O>(cx, port, frame, packet, tries, &sought);
    Ok(())
}

/// As a host would that knows of no such connection.
fn refuse<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    reason: DropReason,
) {
    if localstack::l4_checksum_is_right(&frame, packet) {
        localstack::reset(cx, &frame, packet);
    }
    cx.drop(frame, reason);
}
