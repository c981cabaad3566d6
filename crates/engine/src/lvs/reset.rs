//! `on_removal = "reset"`: both ends of a removed server's TCP connections are told that these are over.
//!
//! A reset must carry the sequence number its receiver expects next (RFC 5961), which no director keeps. So the client is asked: an
//! empty acknowledgement out of its window, which it must answer with one that names the number (RFC 9293 3.10.7.4). That answer, like
//! anything else the client sends of its own, is answered with a reset, and goes on to the server as another. Control finds the
//! connections ([`super::Flush`]), workers ask a few at each round of their clockwork. A client that says nothing is forgotten.

use super::{
    family::Ip, lingering::Lingering, rewrite, segment_out::Segment, send, services::Target,
    state::TcpState,
};
use crate::{
    DropReason, Output,
    context::Context,
    datagram,
    localstack::{Limit, answer_with_reset, l4_checksum_is_right},
    packet::{Packet, Reassembled},
    transmit,
};
use crossbeam::queue::ArrayQueue;
use flowtable::{Entry, Generation, Listed, Slot, V4, V6};
use std::net::SocketAddr;
use wire::{Frame, FromBytes, Tcp, protocol, tcp};

/// Connections that wait to be asked about, at most.
const WAITING: usize = 4096;
/// Clients one worker asks in a round: at most 16,000 a second.
const ASKED: usize = 16;
/// How long a client has to answer.
const PATIENCE_MS: u32 = 5000;

/// Bytes of a segment without data.
const BARE: u16 = 20;
const _: () = assert!(BARE as usize == tcp::LEN);

/// Connections of one family that wait.
#[derive(Debug)]
pub(crate) struct Queue(ArrayQueue<(Slot, Generation)>);

impl Queue {
    /// How many more it takes.
    pub fn room(&self) -> u32 {
        u32::try_from(self.0.capacity() - self.0.len()).unwrap_or(0)
    }

    /// Adds one. What finds no room is told when it next sends something.
    pub fn push(&self, slot: Slot, generation: Generation) {
        let _ = self.0.push((slot, generation));
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self(ArrayQueue::new(WAITING))
    }
}

/// Connections that wait.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    pub v4: Queue,
    pub v6: Queue,
}

/// Whether somebody is to be told of a connection's end. One that is half open is left to the client, whose next SYN goes elsewhere.
pub(crate) fn is_told<A>(listed: &Listed<A>) -> bool {
    !listed.key.template
        && listed.key.protocol == protocol::TCP
        && matches!(
            TcpState::from_number(listed.state.state()),
            TcpState::Established | TcpState::FinWait | TcpState::CloseWait
        )
}

/// Asks the next clients.
#[inline]
pub(crate) fn reset<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    let resets = &cx.shared.resets;
    if !resets.v4.0.is_empty() {
        some::<V4, F, O>(cx, &resets.v4);
    }
    if !resets.v6.0.is_empty() {
        some::<V6, F, O>(cx, &resets.v6);
    }
}

#[cold]
fn some<I: Ip, F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, queue: &Queue) {
    let table = I::table(cx.shared);
    for _ in 0..ASKED {
        let Some((slot, generation)) = queue.0.pop() else {
            return;
        };
        let Some(listed) = table.copy(slot, cx.now) else {
            continue;
        };
        if listed.state.generation() == generation {
            let entry = table.entry(slot);
            entry.touch(cx.now);
            entry.set_timeout_ms(PATIENCE_MS);
            ask::<I, F, O>(cx, &listed);
        }
    }
}

fn ask<I: Ip, F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, listed: &Listed<I::Addr>) {
    let key = &listed.key;
    let (vip, client) = (I::ip(key.vaddr), I::ip(key.caddr));
    let floating = &cx.snapshot.floating;
    if floating.is_elsewhere(vip, &cx.shared.roles, cx.now) {
        return;
    }
    let Some(next) = cx.snapshot.net.route(client) else {
        return;
    };
    // Any number will do: one in 600 or so may be within the window, and then the client says nothing.
    let number = mixed(cx.now.low() ^ u32::from(key.cport) << 16);
    let question = Segment {
        source: SocketAddr::new(vip, key.vport),
        destination: SocketAddr::new(client, key.cport),
        sequence: number,
        acknowledgement: mixed(number),
        flags: tcp::ACK,
        window: 0,
    };
    if let Some((frame, _)) = question.build(cx, &[]) {
        transmit::send(cx, frame, datagram::L3, next);
    }
}

/// Spreads a number over all there are.
const fn mixed(number: u32) -> u32 {
    let number = (number ^ number >> 16).wrapping_mul(0x7feb_352d);
    number ^ number >> 15
}

/// A client's packet of a connection whose server was removed: resets to both, and the connection ends.
#[cold]
pub(crate) fn both<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    entry: &Entry<'_, I>,
    target: &Target,
) {
    if !l4_checksum_is_right(&frame, packet) {
        cx.drop(frame, DropReason::L4Checksum);
        return;
    }
    answer_with_reset(cx, &frame, packet, Limit::Caller);
    to_server::<I, F, O>(cx, &frame, packet, entry, target);
    Lingering::end(cx, entry, entry.state());
    cx.drop(frame, DropReason::ServerRemoved);
}

fn to_server<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    about: &F,
    packet: &Packet,
    entry: &Entry<'_, I>,
    target: &Target,
) {
    let l4 = about.head().get(usize::from(packet.l4)..);
    let Some((sent, _)) = l4.and_then(|l4| Tcp::ref_from_prefix(l4).ok()) else {
        return;
    };
    let ends = &packet.addresses;
    let reset = Segment {
        source: SocketAddr::new(ends.source(), packet.source_port),
        destination: SocketAddr::new(ends.destination(), packet.destination_port),
        sequence: sent.sequence.get(),
        acknowledgement: 0,
        flags: tcp::RST,
        window: 0,
    };
    let Some((frame, header)) = reset.build(cx, &[]) else {
        return;
    };
    let packet = Packet {
        l3: datagram::L3,
        l4: u16::from(datagram::L3) + header,
        ip_len: header + BARE,
        tcp_flags: tcp::RST,
        reassembled: Reassembled::default(),
        ..*packet
    };
    send::to_server::<I, F, O>(cx, frame, &packet, &entry.key(), target, |frame, key| {
        rewrite::to_server::<I, F>(frame, &packet, key, entry.deltas());
    });
}
