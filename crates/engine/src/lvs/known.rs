//! Packets of connections that stand: state, accounting, and off to the server or back to the client.

use super::{
    attempts::{self, ANSWERED},
    connect, cookies,
    entry::{self, assure, is_bypass, is_controlled, is_looked_into, is_spliced},
    family::Ip,
    ftp::{self, Claimed},
    lingering::Lingering,
    reset, send,
    services::{Standing, Target},
    state::{Chunk, SctpState, TcpEvent, TcpState, TcpView},
    sync,
};
use crate::{
    DropReason, Output,
    context::Context,
    forward,
    localstack::l4_checksum_is_right,
    packet::{Fragment, Packet},
};
use flowtable::{Entry, Hash, Side, StateFlags, StateWord, Tuple};
use types::{ForwardingMethod, OnRemoval, PortId};
use wire::{Frame, protocol, tcp};

/// A packet whose connection was found. Gives it back if the connection turns out to be none for it: it ended meanwhile,
/// or is to be made anew.
#[inline]
pub(crate) fn packet<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    entry: &Entry<'_, I>,
    side: Side,
) -> Result<(), F> {
    let word = entry.state();
    if !word.is_live() {
        return Err(frame);
    }
    match side {
        Side::Virtual => from_client::<I, F, O>(cx, frame, packet, entry, word),
        Side::Server => from_server::<I, F, O>(cx, frame, packet, entry),
    }
}

#[inline]
fn from_client<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
    entry: &Entry<'_, I>,
    word: StateWord,
) -> Result<(), F> {
    let server = entry.server();
    let snapshot = cx.snapshot;
    let Some(target) = snapshot.services.target(server) else {
        return bypass::<I, F, O>(cx, frame, packet, entry, word);
    };
    let reused = starts_anew(packet)
        && (is_to_be_made_anew(cx, entry, word, target.weight.0)
            || cookies::is_over(cx.shared, entry));
    if starts_anew(packet) && !reused {
        attempts::repeated(cx, entry, word);
    }
    if reused || target.standing != Standing::Serving {
        let removed = target.standing == Standing::Removed;
        let resets = target.on_removal == OnRemoval::Reset
            && packet.protocol == protocol::TCP
            && !starts_anew(packet);
        let expires = target.on_removal != OnRemoval::Keep && !resets;
        if reused || (removed && expires) {
            if reused || !outlives(cx, &frame, packet, entry) {
                Lingering::end(cx, entry, word);
            }
            return Err(frame);
        }
        if removed && resets {
            reset::both(cx, frame, packet, entry, target);
            return Ok(());
        }
        cx.drop(frame, DropReason::ServerRemoved);
        return Ok(());
    }
    if is_looked_into(entry.key().flags)
        && let Err(reason) = look_into(cx, &mut frame, packet, entry, target)
    {
        cx.drop(frame, reason);
        return Ok(());
    }
    cx.local.traffic.incoming(server, packet.ip_len.into());
    advance_by::<I, F, O>(cx, packet, entry, Side::Virtual);
    send::to_server::<I, F, O>(cx, frame, packet, &entry.key(), target, |frame, key| {
        super::rewrite::to_server::<I, F>(frame, packet, key, entry.deltas());
    });
    Ok(())
}

/// A packet of a connection without a server (`cache_bypass`): on to where it was going.
#[cold]
fn bypass<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    entry: &Entry<'_, I>,
    word: StateWord,
) -> Result<(), F> {
    if !is_bypass(entry.key().flags) {
        cx.drop(frame, DropReason::ServerRemoved);
        return Ok(());
    }
    if starts_anew(packet) && is_to_be_made_anew(cx, entry, word, 1) {
        Lingering::end(cx, entry, word);
        return Err(frame);
    }
    advance_by::<I, F, O>(cx, packet, entry, Side::Virtual);
    forward::route(cx, frame, packet);
    Ok(())
}

#[inline]
fn from_server<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    entry: &Entry<'_, I>,
) -> Result<(), F> {
    let key = entry.key();
    if entry::method(key.flags) != ForwardingMethod::Masq {
        return Err(frame);
    }
    // Linux has routed the packet, and told the server what is wrong with it, before IPVS sees it.
    let Some((mut frame, way)) = send::way_to_client(cx, frame, packet) else {
        return Ok(());
    };
    let mut rewritten = *packet;
    let packet = &mut rewritten;
    if is_looked_into(key.flags)
        && let Err(reason) = look_into_reply(cx, &mut frame, packet, entry, way.mtu())
    {
        cx.drop(frame, reason);
        return Ok(());
    }
    let server = entry.server();
    let target = cx.snapshot.services.target(server);
    if target.is_some_and(|t| t.standing == Standing::Serving) {
        cx.local.traffic.outgoing(server, packet.ip_len.into());
    }
    advance_by::<I, F, O>(cx, packet, entry, Side::Server);
    super::rewrite::to_client::<I, F>(&mut frame, packet, &key, entry.deltas());
    if packet.protocol == protocol::SCTP && !cx.snapshot.settings.compat_ipvs {
        super::rewrite::conceal_addresses(&mut frame, packet);
    }
    send::on_its_way(cx, frame, packet, way);
    Ok(())
}

/// A client's packet of which more than the address is to be changed.
#[cold]
fn look_into<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &mut F,
    packet: &Packet,
    entry: &Entry<'_, I>,
    target: &Target,
) -> Result<(), DropReason> {
    if is_spliced(entry.key().flags) {
        return cookies::from_client(cx, frame, packet, entry, target);
    }
    ftp::from_client(cx, frame, packet, entry)
}

/// A server's, likewise.
#[cold]
fn look_into_reply<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &mut F,
    packet: &mut Packet,
    entry: &Entry<'_, I>,
    mtu: u16,
) -> Result<(), DropReason> {
    if is_spliced(entry.key().flags) {
        return cookies::from_server(cx, frame, packet, entry);
    }
    ftp::from_server(cx, frame, packet, entry, mtu)
}

/// A SYN, or SCTP's INIT.
#[inline]
fn starts_anew(packet: &Packet) -> bool {
    match packet.protocol {
        protocol::TCP => packet.tcp_flags & tcp::SYN != 0,
        protocol::SCTP => packet.chunk.is_some_and(Chunk::is_init),
        _ => false,
    }
}

/// In compat, the connection to a removed server that lives on, as closed, by the very packet that was to end it: the director's
/// own stack answers with a reset, from the VIP, which Linux takes for one of the server's, but under NAT. What is broken it does not
/// answer. Source: observation of Linux 6.1 (`tests/golden/found_own_reset`, `found_no_reset`).
#[cold]
fn outlives<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    frame: &F,
    packet: &Packet,
    entry: &Entry<'_, I>,
) -> bool {
    let settings = &cx.snapshot.settings;
    let reset = packet.protocol == protocol::TCP
        && packet.tcp_flags & (tcp::SYN | tcp::RST) == 0
        && !settings.sloppy_tcp;
    let so = settings.compat_ipvs
        && reset
        && !entry::is_nat(entry.key().flags)
        && l4_checksum_is_right(frame, packet);
    if so {
        advance(cx, protocol::TCP, tcp::RST, entry, Side::Server);
    }
    so
}

/// Whether a SYN on this connection makes a new one of it (`conn_reuse_mode`, `expire_nodest_conn`).
#[cold]
fn is_to_be_made_anew<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    entry: &Entry<'_, I>,
    word: StateWord,
    weight: u32,
) -> bool {
    let settings = &cx.snapshot.settings;
    if settings.expire_nodest_conn && weight == 0 {
        // Not one made for this very packet, because its template leads to a server of weight 0.
        return word.state() != TcpState::None as u8;
    }
    // One that a template controls goes on to the server the template says; so do FTP's data connections.
    let controlled = entry.template().is_some() || is_controlled(entry.key().flags);
    if settings.conn_reuse_mode == 0 || controlled {
        return false;
    }
    if entry.key().protocol == protocol::SCTP {
        return SctpState::from_number(word.state()) == SctpState::Closed;
    }
    match TcpState::from_number(word.state()) {
        TcpState::TimeWait | TcpState::Close => true,
        TcpState::FinWait => {
            settings.conn_reuse_mode & 2 != 0 && word.flags().contains(StateFlags::NOOUTPUT)
        }
        _ => false,
    }
}

/// The state after this packet, and the timeout from now on. Who changes the word moves the server's counts. The packet is to be counted
/// by the caller ([`sync::count`]).
#[inline(always)]
pub(super) fn advance<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    protocol: u8,
    tcp_flags: u8,
    entry: &Entry<'_, I>,
    side: Side,
) {
    entry.touch(cx.now);
    if protocol == protocol::TCP {
        if is_steady(entry.state(), tcp_flags, side) {
            entry.set_timeout_ms(cx.snapshot.timeouts.established_ms());
            return;
        }
        advance_tcp::<I, F, O>(cx, tcp_flags, *entry, side);
        return;
    }
    entry.set_timeout_ms(cx.snapshot.timeouts.udp_ms());
    if side == Side::Server && entry.template().is_some() {
        assure(I::table(cx.shared), entry);
    }
}

/// Data or an acknowledgement on an established connection, which leaves the word as it is in all three views.
#[inline(always)]
fn is_steady(word: StateWord, tcp_flags: u8, side: Side) -> bool {
    tcp_flags & (tcp::ACK | tcp::SYN | tcp::FIN | tcp::RST) == tcp::ACK
        && word.state() == TcpState::Established as u8
        && (side == Side::Virtual || !word.flags().contains(StateFlags::NOOUTPUT))
}

#[inline(never)]
fn advance_tcp<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    tcp_flags: u8,
    entry: Entry<'_, I>,
    side: Side,
) {
    let event = TcpEvent::of(tcp_flags);
    let secure = cx.shared.defences.secures_tcp(&cx.snapshot.settings);
    let mut old = entry.state();
    while old.is_live() {
        let new = next_word(old, side, |state, view| {
            let before = TcpState::from_number(state);
            let after = before.next(view, event, secure);
            (after as u8, after.is_active())
        });
        let new = match side {
            Side::Server => new.with_flags(new.flags().with(ANSWERED)),
            Side::Virtual => new,
        };
        if new == old {
            break;
        }
        match entry.compare_exchange_state(old, new) {
            Ok(()) => {
                changed(cx, &entry, old, new);
                if side == Side::Server && !old.flags().contains(ANSWERED) {
                    attempts::answered(cx, &entry, old, tcp_flags);
                }
                old = new;
                break;
            }
            Err(now) => old = now,
        }
    }
    entry.set_timeout_ms(cx.snapshot.timeouts.tcp_ms(old.state()));
}

#[inline]
fn next_word(old: StateWord, side: Side, next: impl Fn(u8, TcpView) -> (u8, bool)) -> StateWord {
    let mut flags = old.flags();
    let view = match side {
        Side::Server => {
            flags = flags.without(StateFlags::NOOUTPUT);
            TcpView::Output
        }
        Side::Virtual if flags.contains(StateFlags::NOOUTPUT) => TcpView::InputOnly,
        Side::Virtual => TcpView::Input,
    };
    let (after, is_active) = next(old.state(), view);
    if after != old.state() {
        flags = if is_active {
            flags.without(StateFlags::INACTIVE)
        } else {
            flags.with(StateFlags::INACTIVE)
        };
    }
    old.with_state(after).with_flags(flags)
}

#[cold]
fn changed<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    entry: &Entry<'_, I>,
    old: StateWord,
    new: StateWord,
) {
    let was_active = !old.flags().contains(StateFlags::INACTIVE);
    let is_active = !new.flags().contains(StateFlags::INACTIVE);
    if let Some(server) = cx.shared.roster.server(entry.server()) {
        match (was_active, is_active) {
            (false, true) => server.activate(),
            (true, false) => server.deactivate(),
            _ => {}
        }
    }
    let established = match entry.key().protocol {
        protocol::SCTP => SctpState::Established as u8,
        _ => TcpState::Established as u8,
    };
    if old.state() != new.state() {
        sync::changed(cx, entry, new);
        if new.state() == established {
            assure(I::table(cx.shared), entry);
        }
    }
}

/// [`advance`] by a packet of any protocol.
fn advance_by<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    packet: &Packet,
    entry: &Entry<'_, I>,
    side: Side,
) {
    if side == Side::Virtual && !matches!(packet.protocol, protocol::AH | protocol::ESP) {
        sync::count(cx, entry);
    }
    match packet.protocol {
        protocol::SCTP => {
            entry.touch(cx.now);
            if let Some(chunk) = packet.chunk {
                advance_sctp::<I, F, O>(cx, chunk, *entry, side);
            }
        }
        // Of the connection of the key exchange, which is UDP's.
        protocol::AH | protocol::ESP => entry.touch(cx.now),
        _ => advance::<I, F, O>(cx, packet.protocol, packet.tcp_flags, entry, side),
    }
}

#[cold]
fn advance_sctp<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    chunk: Chunk,
    entry: Entry<'_, I>,
    side: Side,
) {
    let mut old = entry.state();
    while old.is_live() {
        let new = next_word(old, side, |state, view| {
            let after = SctpState::from_number(state).next(view, chunk);
            (after as u8, after.is_active())
        });
        if new == old {
            break;
        }
        match entry.compare_exchange_state(old, new) {
            Ok(()) => {
                changed(cx, &entry, old, new);
                old = new;
                break;
            }
            Err(now) => old = now,
        }
    }
    entry.set_timeout_ms(cx.snapshot.timeouts.sctp_ms(old.state()));
}

/// A packet for which no connection was found the way its destination suggested: the other way is tried, then it may
/// make one.
#[cold]
pub(crate) fn missed<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    mut frame: F,
    packet: &Packet,
    tried: Side,
    tries: u8,
) {
    // The first guess once more, too: a packet before this one in the burst may have made the connection.
    for side in [tried, tried.other()] {
        let Some(tuple) = super::family::tuple::<I>(packet, side) else {
            continue;
        };
        let table = I::table(cx.shared);
        let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
        let found = table
            .find_entry(hash, &tuple, side, cx.now)
            .or_else(|| kept::<I, F, O>(cx, hash, &tuple, side));
        if let Some(entry) = found {
            match self::packet::<I, F, O>(cx, frame, packet, &entry, side) {
                Ok(()) => return,
                Err(back) => frame = back,
            }
        }
    }
    if packet.protocol == protocol::TCP
        && packet.fragment == Fragment::No
        && cx.shared.roster.records.any()
    {
        match ftp::claim::<I>(cx.shared, cx.snapshot, packet, cx.now) {
            Claimed::No => {}
            Claimed::Is(slot) => {
                let entry = I::table(cx.shared).entry(slot);
                match self::packet::<I, F, O>(cx, frame, packet, &entry, Side::Virtual) {
                    Ok(()) => return,
                    Err(back) => frame = back,
                }
            }
            Claimed::Busy => {
                connect::retry(cx, port, frame, packet, tries);
                return;
            }
        }
    }
    connect::packet::<I, F, O>(cx, port, frame, packet, tries);
}

/// An FTP control connection past its time, if it has data connections.
fn kept<'c, I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'c, F, O>,
    hash: Hash,
    tuple: &Tuple<I::Addr>,
    side: Side,
) -> Option<Entry<'c, I>> {
    if !cx.shared.roster.records.any() {
        return None;
    }
    let table = I::table(cx.shared);
    let mut settle = |e: Entry<'_, I>| entry::expired(table, &cx.shared.roster, &e, cx.now);
    table.find_kept(hash, tuple, side, cx.now, &mut settle)
}

/// Whether it is a packet that opens a connection.
pub(super) const fn opens(packet: &Packet) -> bool {
    packet.tcp_flags & tcp::SYN != 0 && packet.tcp_flags & tcp::RST == 0
}
