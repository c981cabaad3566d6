//! The straight way: a plain packet of a connection that stands, to a server or back to a client that can be reached at
//! once. Everything is looked at before anything is touched, so that whatever is out of the ordinary can be left to
//! `known` and `send`, which decide the same and know the rest.

use super::{
    entry::{is_mere_nat, is_read, method},
    headers::{Headers, Upper},
    known::advance,
    lookup::Lookup,
    services::Standing,
    tunnel,
};
use crate::{
    Output,
    context::Context,
    neighbour::NeighbourId,
    net::{Exit, NextHop},
};
use flowtable::{Entry, Side};
use types::{ForwardingMethod, MacAddr, PortId};
use wire::{Delta, Ethernet, Frame, FromBytes, ethernet, tcp};

/// What became of a plain packet.
pub(crate) enum Straight {
    /// It is ready to leave by this port, accounted for but for the port's own counters.
    Ready(PortId),
    /// No connection was found; nothing was touched.
    Unknown,
    /// Something about it is out of the ordinary; nothing was touched.
    Unusual,
    /// It is no plain packet at all.
    Odd,
}

/// Takes a packet that [`crate::packet::Glance`] found as far as its port.
#[inline(always)]
pub(crate) fn forward<I: Headers, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &mut F,
    lookup: &Lookup,
) -> Straight {
    match lookup.side {
        Side::Virtual => to_server::<I, F, O>(cx, frame, lookup),
        Side::Server => to_client::<I, F, O>(cx, frame, lookup),
    }
}

#[inline(never)]
fn to_server<I: Headers, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &mut F,
    lookup: &Lookup,
) -> Straight {
    let Some((plain, mut upper)) = headers::<I>(frame.head_mut()) else {
        return Straight::Unusual;
    };
    let Some(entry) = find::<I, F, O>(cx, plain, lookup, Side::Virtual) else {
        return Straight::Unknown;
    };
    let key = entry.key();
    let method = method(key.flags);
    let masq = method == ForwardingMethod::Masq;
    let flags = upper.tcp_flags();
    // A SYN may make the connection anew.
    if I::ttl(plain) <= 1
        || flags & tcp::SYN != 0
        || is_read(key.flags)
        || (masq && upper.has_no_checksum(I::upper(plain)))
    {
        return Straight::Unusual;
    }
    let server = entry.server();
    let len = I::len(plain);
    let Some(exit) = cx.snapshot.services.exit(server).filter(|e| len <= e.mtu) else {
        return Straight::Unusual;
    };
    let next = || cx.snapshot.services.target(server)?.next;
    let Some(mac) = mac_of(cx, exit, next) else {
        return Straight::Unusual;
    };
    if method == ForwardingMethod::Tunnel {
        let protocol = I::protocol(plain);
        let packet = Packet {
            protocol,
            flags,
            len,
        };
        return into_tunnel::<I, F, O>(cx, frame, entry, packet, (*exit, mac));
    }

    advance::<I, F, O>(cx, I::protocol(plain), flags, &entry, Side::Virtual);
    cx.local.traffic.incoming(server, len.into());
    if masq {
        let deltas = entry.deltas();
        I::lower_ttl(plain, Delta(deltas.l3_in));
        I::put_destination(plain, key.daddr);
        I::upper_mut(plain).destination.set(key.dport);
        upper.mend(I::upper_mut(plain), Delta(deltas.l4_in));
    } else {
        I::lower_ttl(plain, Delta::NONE);
    }
    address(I::ether(plain), exit, mac);
    // What a port padded to the minimum does not go on.
    frame.truncate(ethernet::LEN + usize::from(len));
    Straight::Ready(exit.port)
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
) -> Straight {
    let Packet {
        protocol,
        flags,
        len,
    } = packet;
    let server = entry.server();
    let Some(target) = cx.snapshot.services.target(server) else {
        return Straight::Unusual;
    };
    let Some(source) = target.tunnel_source else {
        return Straight::Unusual;
    };
    let overhead = tunnel::overhead(source);
    if cx.shared.roster.paths.is_known(server) {
        return Straight::Unusual;
    }
    // What does not fit is refused or goes on in pieces; the first to be touched is the room in front.
    if len > exit.mtu.saturating_sub(overhead) || !frame.prepend(overhead.into()) {
        return Straight::Unusual;
    }

    advance::<I, F, O>(cx, protocol, flags, &entry, Side::Virtual);
    cx.local.traffic.incoming(server, len.into());
    frame.truncate(ethernet::LEN + usize::from(overhead) + usize::from(len));
    // Where the headers were is room for the outer ones but for the inner IP header's own.
    let inner = frame.head_mut().get_mut(overhead.into()..);
    let Some((plain, _)) = inner.and_then(|bytes| I::Plain::mut_from_prefix(bytes).ok()) else {
        return Straight::Ready(exit.port);
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
    Straight::Ready(exit.port)
}

#[inline(never)]
fn to_client<I: Headers, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    frame: &mut F,
    lookup: &Lookup,
) -> Straight {
    let Some((plain, mut upper)) = headers::<I>(frame.head_mut()) else {
        return Straight::Unusual;
    };
    let Some(entry) = find::<I, F, O>(cx, plain, lookup, Side::Server) else {
        return Straight::Unknown;
    };
    let key = entry.key();
    if I::ttl(plain) <= 1 || !is_mere_nat(key.flags) || upper.has_no_checksum(I::upper(plain)) {
        return Straight::Unusual;
    }
    let net = &cx.snapshot.net;
    let (_, destination) = I::addresses(plain);
    let len = I::len(plain);
    let Some(exit) = I::exit(net, destination).filter(|e| len <= e.mtu) else {
        return Straight::Unusual;
    };
    let Some(mac) = mac_of(cx, exit, || net.route(I::ip(destination))) else {
        return Straight::Unusual;
    };

    advance::<I, F, O>(
        cx,
        I::protocol(plain),
        upper.tcp_flags(),
        &entry,
        Side::Server,
    );
    let server = entry.server();
    let target = cx.snapshot.services.target(server);
    if target.is_some_and(|t| t.standing == Standing::Serving) {
        cx.local.traffic.outgoing(server, len.into());
    }
    let deltas = entry.deltas();
    I::lower_ttl(plain, Delta(deltas.l3_out));
    I::put_source(plain, key.vaddr);
    I::upper_mut(plain).source.set(key.vport);
    upper.mend(I::upper_mut(plain), Delta(deltas.l4_out));
    address(I::ether(plain), exit, mac);
    frame.truncate(ethernet::LEN + usize::from(len));
    Straight::Ready(exit.port)
}

/// The packet's headers.
#[inline(always)]
fn headers<I: Headers>(bytes: &mut [u8]) -> Option<(&mut I::Plain, Upper<'_>)> {
    let (plain, rest) = I::Plain::mut_from_prefix(bytes).ok()?;
    let upper = Upper::of(I::protocol(plain), rest)?;
    Some((plain, upper))
}

#[inline(always)]
fn find<'a, I: Headers, F: Frame, O: Output<F>>(
    cx: &Context<'a, F, O>,
    plain: &I::Plain,
    lookup: &Lookup,
    side: Side,
) -> Option<Entry<'a, I>> {
    let tuple = I::ends(plain).tuple(side);
    I::table(cx.shared).find_from(lookup.candidate, lookup.hash, &tuple, side, cx.now)
}

/// The MAC of the next hop, if it is known.
#[inline(always)]
fn mac_of<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    exit: &Exit,
    next: impl FnOnce() -> Option<NextHop>,
) -> Option<MacAddr> {
    let neighbours = &cx.shared.neighbours;
    if exit.neighbour == NeighbourId::NOBODY {
        let next = next()?;
        neighbours.known(next.interface, next.gateway, cx.now)
    } else {
        neighbours.mac(exit.neighbour, cx.now)
    }
}

#[inline(always)]
fn address(ether: &mut Ethernet, exit: &Exit, to: MacAddr) {
    ether.destination = to.0;
    ether.source = exit.mac.0;
}
