//! The straight way: a plain packet of a connection that stands, to a server or back to a client that can be reached at
//! once. Everything is looked at before anything is touched, so that whatever is out of the ordinary can be left to
//! `known` and `send`, which decide the same and know the rest.

use super::{
    entry::{is_looked_into, is_mere_nat, method},
    headers::{Headers, Tcp, Udp, Upper},
    known::advance,
    lookup::{Kind, Lookup, prefetch_ahead},
    services::Standing,
    sync, tunnel,
};
use crate::{
    Output,
    context::Context,
    neighbour::NeighbourId,
    net::{Exit, NextHop},
};
use flowtable::{Entry, Side, Static};
use types::{ForwardingMethod, MacAddr};
use wire::{Delta, Ethernet, Frame, FromBytes, U16, ethernet, protocol, tcp};

/// Why a stretch of plain packets ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No more packets, or none of this family.
    End,
    /// No connection was found; nothing was touched.
    Unknown,
    /// Something about it is out of the ordinary; nothing was touched.
    Unusual,
}

/// Takes packets that [`crate::packet::Glance`] found as far as their ports ([`Lookup::out`]), accounted for but for the ports'
/// own counters, up to the first that cannot be. Says how many, and what is the matter with the next.
#[inline]
pub(crate) fn stretch<I: Headers, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frames: &mut [F],
    lookups: &mut [Lookup],
) -> (usize, Stop) {
    if cx.snapshot.milestones.is_none() {
        as_far_as_can_be::<I, F, O, false>(cx, frames, lookups)
    } else {
        as_far_as_can_be::<I, F, O, true>(cx, frames, lookups)
    }
}

/// `TOLD`: other directors are told of connections. Two functions of one, so that where nobody is told it costs nothing, and elsewhere a packet is
/// counted while its entry is at hand.
#[inline(never)]
fn as_far_as_can_be<I: Headers, F: Frame, O: Output<F>, const TOLD: bool>(
    cx: &mut Context<'_, F, O>,
    frames: &mut [F],
    lookups: &mut [Lookup],
) -> (usize, Stop) {
    let mut ready = 0;
    for frame in frames {
        if lookups.get(ready).map(|l| l.kind) != Some(Kind::of::<I>()) {
            break;
        }
        prefetch_ahead(cx.shared, lookups, ready);
        let Some(lookup) = lookups.get_mut(ready) else {
            break;
        };
        let done = match (lookup.side, is_tcp::<I>(frame.head())) {
            (Side::Virtual, false) => to_server::<I, Udp, F, O, TOLD>(cx, frame, lookup),
            (Side::Virtual, true) => to_server::<I, Tcp, F, O, TOLD>(cx, frame, lookup),
            (Side::Server, false) => to_client::<I, Udp, F, O>(cx, frame, lookup),
            (Side::Server, true) => to_client::<I, Tcp, F, O>(cx, frame, lookup),
        };
        if let Err(stop) = done {
            return (ready, stop);
        }
        ready += 1;
    }
    (ready, Stop::End)
}

/// A plain packet is TCP or UDP.
#[inline(always)]
fn is_tcp<I: Headers>(head: &[u8]) -> bool {
    I::Plain::ref_from_prefix(head).is_ok_and(|(plain, _)| I::protocol(plain) == protocol::TCP)
}

#[inline(always)]
fn to_server<I: Headers, U: Upper, F: Frame, O: Output<F>, const TOLD: bool>(
    cx: &mut Context<'_, F, O>,
    frame: &mut F,
    lookup: &mut Lookup,
) -> Result<(), Stop> {
    let Some((plain, rest)) = headers::<I, U>(frame.head_mut()) else {
        return Err(Stop::Unusual);
    };
    let Some((entry, fixed)) = find::<I, F, O>(cx, plain, lookup, Side::Virtual) else {
        return Err(Stop::Unknown);
    };
    let method = method(fixed.flags);
    let masq = method == ForwardingMethod::Masq;
    let flags = U::tcp_flags(rest);
    // A SYN may make the connection anew.
    if I::ttl(plain) <= 1
        || flags & tcp::SYN != 0
        || is_looked_into(fixed.flags)
        || (masq && U::has_no_checksum(I::upper(plain)))
    {
        return Err(Stop::Unusual);
    }
    let len = I::len(plain);
    let services = &cx.snapshot.services;
    let Some(exit) = services.exit(fixed.server).filter(|e| len <= e.mtu) else {
        return Err(Stop::Unusual);
    };
    let next = || services.target(fixed.server)?.next;
    let Some(mac) = mac_of(cx, exit, next) else {
        return Err(Stop::Unusual);
    };
    lookup.out = exit.port;
    if method == ForwardingMethod::Tunnel {
        let packet = Packet {
            protocol: U::PROTOCOL,
            flags,
            len,
        };
        into_tunnel::<I, F, O>(cx, frame, entry, packet, (*exit, mac))?;
        if TOLD {
            sync::count(cx, &entry);
        }
        return Ok(());
    }

    advance::<I, F, O>(cx, U::PROTOCOL, flags, &entry, Side::Virtual);
    if TOLD {
        sync::count(cx, &entry);
    }
    cx.local.traffic.incoming(fixed.server, len.into());
    if masq {
        let (l3, l4) = entry.deltas_on_wire(Side::Virtual);
        let (address, port) = entry.replacement(Side::Virtual);
        I::lower_ttl(plain, Delta(l3));
        I::put_destination(plain, address);
        I::upper_mut(plain).destination = U16::from_bytes(port.to_le_bytes());
        U::mend(I::upper_mut(plain), rest, Delta(l4));
    } else {
        I::lower_ttl(plain, Delta::NONE);
    }
    address(I::ether(plain), exit, mac);
    // What a port padded to the minimum does not go on.
    frame.truncate(ethernet::LEN + usize::from(len));
    Ok(())
}

/// What [`into_tunnel`] has to know of a packet.
struct Packet {
    protocol: u8,
    flags: u8,
    len: u16,
}

/// Puts a packet that has passed [`to_server`]'s checks into its server's tunnel.
#[inline(never)]
fn into_tunnel<I: Headers, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &mut F,
    entry: Entry<'_, I>,
    packet: Packet,
    (exit, mac): (Exit, MacAddr),
) -> Result<(), Stop> {
    let Packet {
        protocol,
        flags,
        len,
    } = packet;
    let server = entry.server();
    let Some(target) = cx.snapshot.services.target(server) else {
        return Err(Stop::Unusual);
    };
    let Some(source) = target.tunnel_source else {
        return Err(Stop::Unusual);
    };
    let overhead = tunnel::overhead(source);
    let narrow = source.is_ipv6() && exit.mtu < tunnel::LEAST_PATH6 + overhead;
    if narrow || cx.shared.roster.paths.is_known(server) {
        return Err(Stop::Unusual);
    }
    // What does not fit is refused or goes on in pieces; the first to be touched is the room in front.
    if len > exit.mtu.saturating_sub(overhead) || !frame.prepend(overhead.into()) {
        return Err(Stop::Unusual);
    }

    advance::<I, F, O>(cx, protocol, flags, &entry, Side::Virtual);
    cx.local.traffic.incoming(server, len.into());
    frame.truncate(ethernet::LEN + usize::from(overhead) + usize::from(len));
    // Where the headers were is room for the outer ones but for the inner IP header's own.
    let inner = frame.head_mut().get_mut(overhead.into()..);
    let Some((plain, _)) = inner.and_then(|bytes| I::Plain::mut_from_prefix(bytes).ok()) else {
        return Ok(());
    };
    I::lower_ttl(plain, Delta::NONE);
    let inner = I::inner(plain);
    let fragment = tunnel::fragment_fields(cx, &inner);
    if let Ok((ether, body)) = Ethernet::mut_from_prefix(frame.head_mut()) {
        address(ether, &exit, mac);
        ether.ethertype.set(if source.is_ipv4() {
            ethernet::IPV4
        } else {
            ethernet::IPV6
        });
        let ends = (source, target.address);
        tunnel::write_outer(body, &inner, len, ends, fragment);
    }
    Ok(())
}

#[inline(always)]
fn to_client<I: Headers, U: Upper, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    frame: &mut F,
    lookup: &mut Lookup,
) -> Result<(), Stop> {
    let Some((plain, rest)) = headers::<I, U>(frame.head_mut()) else {
        return Err(Stop::Unusual);
    };
    let Some((entry, fixed)) = find::<I, F, O>(cx, plain, lookup, Side::Server) else {
        return Err(Stop::Unknown);
    };
    if I::ttl(plain) <= 1 || !is_mere_nat(fixed.flags) || U::has_no_checksum(I::upper(plain)) {
        return Err(Stop::Unusual);
    }
    let net = &cx.snapshot.net;
    let destination = I::destination(plain);
    let len = I::len(plain);
    let Some(exit) = I::exit(net, destination).filter(|e| len <= e.mtu) else {
        return Err(Stop::Unusual);
    };
    let Some(mac) = mac_of(cx, exit, || net.route(I::ip(destination))) else {
        return Err(Stop::Unusual);
    };
    lookup.out = exit.port;

    advance::<I, F, O>(cx, U::PROTOCOL, U::tcp_flags(rest), &entry, Side::Server);
    let target = cx.snapshot.services.target(fixed.server);
    if target.is_some_and(|t| t.standing == Standing::Serving) {
        cx.local.traffic.outgoing(fixed.server, len.into());
    }
    let (l3, l4) = entry.deltas_on_wire(Side::Server);
    let (source, port) = entry.replacement(Side::Server);
    I::lower_ttl(plain, Delta(l3));
    I::put_source(plain, source);
    I::upper_mut(plain).source = U16::from_bytes(port.to_le_bytes());
    U::mend(I::upper_mut(plain), rest, Delta(l4));
    address(I::ether(plain), exit, mac);
    frame.truncate(ethernet::LEN + usize::from(len));
    Ok(())
}

/// The packet's headers.
#[inline(always)]
pub(super) fn headers<I: Headers, U: Upper>(
    bytes: &mut [u8],
) -> Option<(&mut I::Plain, &mut U::Rest)> {
    let (plain, rest) = I::Plain::mut_from_prefix(bytes).ok()?;
    Some((plain, U::Rest::mut_from_prefix(rest).ok()?.0))
}

#[inline(always)]
fn find<'a, I: Headers, F: Frame, O: Output<F>>(
    cx: &Context<'a, F, O>,
    plain: &I::Plain,
    lookup: &Lookup,
    side: Side,
) -> Option<(Entry<'a, I>, Static)> {
    let packet = I::on_wire(plain);
    I::table(cx.shared).find_from(lookup.candidate, lookup.hash, &packet, side, cx.now)
}

/// The MAC of the next hop, if it is known.
#[inline(always)]
pub(super) fn mac_of<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    exit: &Exit,
    next: impl FnOnce() -> Option<NextHop>,
) -> Option<MacAddr> {
    let neighbours = &cx.shared.neighbours;
    // Nobody's slot is beyond the end.
    let mac = neighbours.mac(exit.neighbour, cx.now);
    if mac.is_some() || exit.neighbour != NeighbourId::NOBODY {
        return mac;
    }
    let next = next()?;
    neighbours.known(next.interface, next.gateway, cx.now)
}

#[inline(always)]
pub(super) fn address(ether: &mut Ethernet, exit: &Exit, to: MacAddr) {
    ether.destination = to.0;
    ether.source = exit.mac.0;
}
