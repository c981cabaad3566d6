//! The second half of a handshake that began with a cookie: the server is asked as the client would have, and what it says is
//! told to the client.

use super::{
    super::{
        entry, family::Ip, known, lingering::Lingering, segment_out::Segment, services::Target,
    },
    header,
    options::Options,
    splice::{Opening, Phase, Splice},
};
use crate::{DropReason, Output, context::Context, datagram, packet::Packet, transmit};
use flowtable::{Entry, Generation, Key, Side, Slot, V4, V6};
use std::{collections::VecDeque, net::SocketAddr};
use types::Tick;
use wire::{Frame, protocol, tcp};

/// Handshakes one worker has begun with servers, and looks after, at most: a second's worth of them.
const MOST: usize = 1 << 15;
/// Milliseconds after which a server is asked again, and after the last given up.
const WAITS: [u32; 4] = [1000, 2000, 4000, 8000];
/// Handshakes looked at in one round of the clockwork.
const LOOKED_AT: usize = 64;

/// A handshake that may be under way.
#[derive(Clone, Copy, Debug)]
struct Pending {
    slot: Slot,
    generation: Generation,
    six: bool,
    /// Low half of the tick at which the server is asked again.
    due: u32,
}

/// The handshakes a worker has begun, each list by the time they are due: one for each wait. They are kept apart from everything else, so that
/// it is they who find no room if servers do not answer.
#[derive(Debug)]
pub(crate) struct Asked {
    lists: [VecDeque<Pending>; WAITS.len()],
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            lists: std::array::from_fn(|_| VecDeque::with_capacity(MOST)),
        }
    }
}

impl Asked {
    /// Whether no other can be begun.
    pub fn is_full(&self) -> bool {
        self.lists.iter().map(VecDeque::len).sum::<usize>() >= MOST
    }

    fn push(&mut self, tries: usize, pending: Pending) {
        if let Some(list) = self.lists.get_mut(tries).filter(|list| list.len() < MOST) {
            list.push_back(pending);
        }
    }

    /// The next of a list whose time has come.
    fn due(&mut self, tries: usize, now: Tick) -> Option<Pending> {
        let list = self.lists.get_mut(tries)?;
        let first = list.front()?;
        let is_due = now.low().wrapping_sub(first.due).cast_signed() >= 0;
        if is_due { list.pop_front() } else { None }
    }
}

/// Asks servers again that have not answered; gives up those that were asked often enough.
#[inline]
pub(crate) fn ask_again<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    for tries in 0..WAITS.len() {
        for _ in 0..LOOKED_AT {
            let Some(pending) = cx.local.asked.due(tries, cx.now) else {
                break;
            };
            if pending.six {
                again::<V6, F, O>(cx, pending, tries + 1);
            } else {
                again::<V4, F, O>(cx, pending, tries + 1);
            }
        }
    }
}

#[cold]
fn again<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    pending: Pending,
    tries: usize,
) {
    let shared = cx.shared;
    let table = I::table(shared);
    // Its key is its own only while it lives.
    let Some(entry) = table.entry_at(pending.slot) else {
        return;
    };
    if !entry.is_current(pending.generation) {
        return;
    }
    let Some(splice) = Splice::at::<I>(shared, pending.slot) else {
        return;
    };
    if splice.phase() != Phase::Asked {
        return;
    }
    let target = cx.snapshot.services.target(entry.server());
    if let (Some(target), Some(wait)) = (target, WAITS.get(tries)) {
        syn::<I, F, O>(cx, &entry.key(), &splice, target);
        let due = cx.now.low().wrapping_add(*wait);
        cx.local.asked.push(tries, Pending { due, ..pending });
        return;
    }
    if !splice.step(Phase::Asked, Phase::Over) {
        return;
    }
    if let Some(server) = shared.roster.server(entry.server()) {
        server.attempt_failed();
    }
    reset_client::<I, F, O>(cx, &entry.key(), &splice);
    if let Some(last) = table.remove(entry.slot(), pending.generation) {
        entry::ended(table, &shared.roster, &entry, last);
    }
}

/// A packet from the client of a connection that began with a cookie, before its address is changed. What does not go on is dropped for the
/// reason given.
#[cold]
pub(in super::super) fn from_client<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &mut F,
    packet: &Packet,
    entry: &Entry<'_, I>,
    target: &Target,
) -> Result<(), DropReason> {
    let Some(splice) = Splice::at::<I>(cx.shared, entry.slot()) else {
        return Err(DropReason::ConnectionBusy);
    };
    match splice.phase() {
        Phase::Open => {
            splice.difference().to_server(frame, packet);
            return Ok(());
        }
        Phase::Fresh if splice.step(Phase::Fresh, Phase::Asked) => {
            cx.local
                .traffic
                .incoming(entry.server(), packet.ip_len.into());
            known::advance::<I, F, O>(cx, protocol::TCP, tcp::SYN, entry, Side::Virtual);
            let [wait, ..] = WAITS;
            let pending = Pending {
                slot: entry.slot(),
                generation: entry.state().generation(),
                six: I::SIX,
                due: cx.now.low().wrapping_add(wait),
            };
            cx.local.asked.push(0, pending);
            syn::<I, F, O>(cx, &entry.key(), &splice, target);
            return Err(DropReason::CookieAccepted);
        }
        Phase::Asked if packet.tcp_flags & tcp::RST != 0 => {
            if splice.step(Phase::Asked, Phase::Over) {
                Lingering::end(cx, entry, entry.state());
            }
        }
        Phase::Fresh | Phase::Asked | Phase::Over => {}
    }
    Err(DropReason::Handshake)
}

/// A packet from the server of such a connection, likewise.
#[cold]
pub(in super::super) fn from_server<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &mut F,
    packet: &Packet,
    entry: &Entry<'_, I>,
) -> Result<(), DropReason> {
    let said = header(frame, packet);
    let (Some(splice), Some(said)) = (Splice::at::<I>(cx.shared, entry.slot()), said) else {
        return Err(DropReason::ConnectionBusy);
    };
    let opening = splice.opening();
    let answers = said.acknowledgement.get() == opening.isn.wrapping_add(1);
    let both = said.flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK;
    match splice.phase() {
        Phase::Open => {
            if both && !answers {
                splice.anew();
            }
            splice.difference().to_client(frame, packet);
            return Ok(());
        }
        // Of a connection it still has of that client: over, before it is asked again (RFC 9293 3.10.7.3).
        Phase::Asked if !answers => {
            if said.flags & (tcp::ACK | tcp::RST) == tcp::ACK {
                reset_server::<I, F, O>(cx, entry, said.acknowledgement.get());
            }
        }
        Phase::Asked if said.flags & tcp::RST != 0 => {
            if splice.step(Phase::Asked, Phase::Over) {
                server_said::<I, F, O>(cx, packet, entry, said.flags);
                reset_client::<I, F, O>(cx, &entry.key(), &splice);
            }
        }
        Phase::Asked if both => {
            let options = Options::of(frame, packet);
            if splice.open(said.sequence.get(), &options) {
                server_said::<I, F, O>(cx, packet, entry, said.flags);
                known::advance::<I, F, O>(cx, protocol::TCP, tcp::ACK, entry, Side::Virtual);
                open_both::<I, F, O>(
                    cx,
                    &entry.key(),
                    &splice,
                    (&said, &options),
                    (entry, &opening),
                );
            }
        }
        Phase::Fresh | Phase::Asked | Phase::Over => {}
    }
    Err(DropReason::Handshake)
}

/// Counts the server's packet, and what it does to the connection.
fn server_said<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    packet: &Packet,
    entry: &Entry<'_, I>,
    flags: u8,
) {
    cx.local
        .traffic
        .outgoing(entry.server(), packet.ip_len.into());
    known::advance::<I, F, O>(cx, protocol::TCP, flags, entry, Side::Server);
}

fn client<I: Ip>(key: &Key<I::Addr>) -> SocketAddr {
    SocketAddr::new(I::ip(key.caddr), key.cport)
}

fn virtual_<I: Ip>(key: &Key<I::Addr>) -> SocketAddr {
    SocketAddr::new(I::ip(key.vaddr), key.vport)
}

fn server<I: Ip>(key: &Key<I::Addr>) -> SocketAddr {
    SocketAddr::new(I::ip(key.daddr), key.dport)
}

/// Asks the server for the connection, as the client has asked the director.
fn syn<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    key: &Key<I::Addr>,
    splice: &Splice<'_>,
    target: &Target,
) {
    let opening = splice.opening();
    let options = Options {
        timestamps: opening.options.timestamps.map(|(value, _)| (value, 0)),
        ..opening.options
    };
    let segment = Segment {
        source: client::<I>(key),
        destination: server::<I>(key),
        sequence: opening.isn,
        acknowledgement: 0,
        flags: tcp::SYN,
        window: opening.bare_window(),
    };
    send_to::<F, O>(cx, &segment, &options, target);
}

fn send_to<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    segment: &Segment,
    options: &Options,
    target: &Target,
) {
    let Some(next) = target.next else {
        return;
    };
    if let Some((frame, _)) = segment.build(cx, &options.bytes()) {
        transmit::send(cx, frame, datagram::L3, next);
    }
}

/// The server has accepted: it is told that the client has, and the client that it may send.
fn open_both<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    key: &Key<I::Addr>,
    splice: &Splice<'_>,
    (said, agreed): (&wire::Tcp, &Options),
    (entry, opening): (&Entry<'_, I>, &Opening),
) {
    let difference = splice.difference();
    let times = |value, echo| Options {
        timestamps: agreed.timestamps.and(Some((value, echo))),
        ..Options::default()
    };
    let theirs = opening.options.timestamps.map_or(0, |(value, _)| value);
    let server_time = agreed.timestamps.map_or(0, |(value, _)| value);
    let next = opening.isn.wrapping_add(1);
    let to_server = Segment {
        source: client::<I>(key),
        destination: server::<I>(key),
        sequence: next,
        acknowledgement: said.sequence.get().wrapping_add(1),
        flags: tcp::ACK,
        window: difference.client_window(opening.window),
    };
    if let Some(target) = cx.snapshot.services.target(entry.server()) {
        send_to(cx, &to_server, &times(theirs, server_time), target);
    }
    let to_client = Segment {
        source: virtual_::<I>(key),
        destination: client::<I>(key),
        sequence: opening.cookie.wrapping_add(1),
        acknowledgement: next,
        flags: tcp::ACK,
        window: opening.first_window(said.window.get()),
    };
    let options = times(difference.for_client(server_time), theirs);
    to_the_client::<F, O>(cx, &to_client, &options);
}

fn to_the_client<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    segment: &Segment,
    options: &Options,
) {
    let Some(next) = cx.snapshot.net.route(segment.destination.ip()) else {
        return;
    };
    if let Some((frame, _)) = segment.build(cx, &options.bytes()) {
        transmit::send(cx, frame, datagram::L3, next);
    }
}

/// Tells the server that what it has is over.
fn reset_server<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    entry: &Entry<'_, I>,
    sequence: u32,
) {
    let key = entry.key();
    let segment = Segment {
        source: client::<I>(&key),
        destination: server::<I>(&key),
        sequence,
        acknowledgement: 0,
        flags: tcp::RST,
        window: 0,
    };
    if let Some(target) = cx.snapshot.services.target(entry.server()) {
        send_to(cx, &segment, &Options::default(), target);
    }
}

/// Tells the client that there is no connection after all.
fn reset_client<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    key: &Key<I::Addr>,
    splice: &Splice<'_>,
) {
    let opening = splice.opening();
    let segment = Segment {
        source: virtual_::<I>(key),
        destination: client::<I>(key),
        sequence: opening.cookie.wrapping_add(1),
        acknowledgement: opening.isn.wrapping_add(1),
        flags: tcp::RST | tcp::ACK,
        window: 0,
    };
    to_the_client::<F, O>(cx, &segment, &Options::default());
}
