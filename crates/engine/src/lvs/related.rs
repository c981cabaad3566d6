//! ICMP errors about a connection: translated like the connection's packets, outside and in the quoted packet.
//!
//! The layer-4 checksum in the quote is left as it is, as Linux leaves it: a quote is not verified, and mostly cut off.

use super::{
    connect::{self, Outcome, Sought},
    cookies::{self, Difference},
    entry::{is_spliced, method},
    family::{self, Ip, Quoted},
    known, limits, outer, send,
    services::{FTP_DATA, Standing},
};
use crate::{
    DropReason, Output,
    context::Context,
    localstack,
    packet::{Addresses, Ends, Fragment, Packet},
    transmit,
};
use arrayvec::ArrayVec;
use flowtable::{Entry, Key, Side, Tuple, V4, V6};
use types::ForwardingMethod;
use wire::{Frame, FromBytes, Icmp, Sum, Tcp, icmp, protocol};

/// The port of the key exchange for AH and ESP, whose packets go where its connection goes.
const ISAKMP: u16 = 500;

/// The protocol of the connection a packet belongs to.
const fn connection_s(protocol: u8) -> u8 {
    match protocol {
        protocol::AH | protocol::ESP => protocol::UDP,
        other => other,
    }
}

/// An AH or ESP packet: given back unless its key exchange has a connection.
#[cold]
pub(crate) fn ipsec<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    if packet.fragment != Fragment::No || packet.link_group {
        return Err(frame);
    }
    match packet.addresses {
        Addresses::V4 { .. } => of_key_exchange::<V4, F, O>(cx, frame, packet),
        Addresses::V6 { .. } => of_key_exchange::<V6, F, O>(cx, frame, packet),
    }
}

fn of_key_exchange<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    for side in [Side::Virtual, Side::Server] {
        let Some(ends) = family::ends::<I>(packet) else {
            break;
        };
        let tuple = Ends {
            protocol: protocol::UDP,
            source_port: ISAKMP,
            destination_port: ISAKMP,
            ..ends
        }
        .tuple(side);
        if let Some(entry) = find::<I, F, O>(cx, &tuple, side) {
            return known::packet::<I, F, O>(cx, frame, packet, &entry, side);
        }
    }
    Err(frame)
}

/// Bytes of ports in a quoted header: all of it that is needed.
pub(super) const PORTS: usize = 4;

/// An ICMP packet: given back unless it is an error about a connection.
#[cold]
pub(crate) fn icmp<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    if packet.fragment != Fragment::No || packet.link_group {
        return Err(frame);
    }
    let Err(frame) = outer::icmp(cx, frame, packet) else {
        return Ok(());
    };
    match packet.addresses {
        Addresses::V4 { .. } => about::<V4, F, O>(cx, frame, packet),
        Addresses::V6 { .. } => about::<V6, F, O>(cx, frame, packet),
    }
}

/// What kind of message it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An error that is passed on to whom the connection says.
    Translated,
    /// Something else that may quote a packet.
    Quoting,
    /// Echo and the like.
    Informational,
}

const fn kind(protocol: u8, number: u8, compat_ipvs: bool) -> Kind {
    match (protocol, number) {
        (protocol::ICMPV6, 128..) => Kind::Informational,
        (protocol::ICMPV6, _) => Kind::Translated,
        // Unreachable, source quench, time exceeded.
        (_, 3 | 4 | 11) => Kind::Translated,
        // Linux does not pass parameter problems on.
        (_, 12) if !compat_ipvs => Kind::Translated,
        (_, 0 | 8..=10 | 13..=18) => Kind::Informational,
        _ => Kind::Quoting,
    }
}

fn about<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) -> Result<(), F> {
    let Some((number, quoted, ports)) = quote::<I, F>(&frame, packet) else {
        return Err(frame);
    };
    let settings = &cx.snapshot.settings;
    let kind = kind(packet.protocol, number, settings.compat_ipvs);
    let Some(ports) = ports else {
        // Linux tells what no service has from what no service can be found for.
        if kind == Kind::Translated && settings.schedule_icmp {
            cx.drop(frame, DropReason::NoConnection);
            return Ok(());
        }
        return Err(frame);
    };
    let to_us = cx
        .snapshot
        .net
        .local(packet.addresses.destination())
        .is_some();
    match kind {
        Kind::Translated if to_us => to_server::<I, F, O>(cx, frame, packet, &quoted, ports),
        Kind::Translated => to_client::<I, F, O>(cx, frame, packet, &quoted, ports),
        Kind::Quoting if !to_us => hide::<I, F, O>(cx, frame, &quoted, ports),
        Kind::Quoting | Kind::Informational => Err(frame),
    }
}

/// A message nobody translates: outside compat it does not go on if it would show a client where a server is.
fn hide<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    quoted: &Quoted<I::Addr>,
    (_, destination_port): Ports,
) -> Result<(), F> {
    let server = I::ip(quoted.destination);
    let services = &cx.snapshot.services;
    if cx.snapshot.settings.compat_ipvs
        || !services.is_server_port(quoted.protocol, server, destination_port, cx.now)
    {
        return Err(frame);
    }
    cx.drop(frame, DropReason::NoConnection);
    Ok(())
}

/// A quoted packet's source and destination port.
type Ports = (u16, u16);

/// The message's type, the packet it quotes if that can be of a connection, and that one's ports if it quotes as much.
fn quote<I: Ip, F: Frame>(
    frame: &F,
    packet: &Packet,
) -> Option<(u8, Quoted<I::Addr>, Option<Ports>)> {
    let bytes = frame.head().get(usize::from(packet.l4)..)?;
    let (header, _) = Icmp::ref_from_prefix(bytes).ok()?;
    let inner = bytes.get(icmp::LEN..usize::from(packet.payload_len()).min(bytes.len()))?;
    let quoted = I::quoted(inner)?;
    let ports = match quoted.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            let ports = inner
                .get(quoted.l4..)
                .and_then(<[u8]>::first_chunk::<PORTS>);
            ports.map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
        }
        protocol::AH | protocol::ESP => Some((ISAKMP, ISAKMP)),
        _ => return None,
    };
    Some((header.kind, quoted, ports))
}

/// What the connection a packet is of, or about, would show, and from which side; several, as they are looked for.
pub(crate) fn candidates<I: Ip, F: Frame>(
    frame: &F,
    packet: &Packet,
) -> ArrayVec<(Tuple<I::Addr>, Side), 2> {
    let mut found = ArrayVec::new();
    let ends = match packet.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => family::ends::<I>(packet),
        protocol::AH | protocol::ESP => family::ends::<I>(packet).map(|ends| Ends {
            protocol: protocol::UDP,
            source_port: ISAKMP,
            destination_port: ISAKMP,
            ..ends
        }),
        // A packet that is quoted went the other way than the error goes.
        protocol::ICMP | protocol::ICMPV6 => {
            quote::<I, F>(frame, packet).and_then(|(_, quoted, ports)| {
                let (source_port, destination_port) = ports?;
                Some(Ends {
                    protocol: connection_s(quoted.protocol),
                    source: quoted.destination,
                    source_port: destination_port,
                    destination: quoted.source,
                    destination_port: source_port,
                })
            })
        }
        _ => None,
    };
    if let Some(ends) = ends {
        found.push((ends.tuple(Side::Virtual), Side::Virtual));
        found.push((ends.tuple(Side::Server), Side::Server));
    }
    found
}

/// From the clients' side, about a reply: on to the server.
fn to_server<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    quoted: &Quoted<I::Addr>,
    (source_port, destination_port): Ports,
) -> Result<(), F> {
    let tuple = Tuple {
        protocol: connection_s(quoted.protocol),
        client: quoted.destination,
        client_port: destination_port,
        other: quoted.source,
        other_port: source_port,
    };
    let found = find::<I, F, O>(cx, &tuple, Side::Virtual);
    let entry = match found {
        Some(entry) => entry,
        None => match schedule::<I, F, O>(cx, &frame, packet, &tuple) {
            Ok(entry) => entry,
            Err(None) => return Err(frame),
            Err(Some(reason)) => {
                cx.drop(frame, reason);
                return Ok(());
            }
        },
    };
    if !localstack::icmp_checksum_is_right(&frame, packet) {
        cx.drop(frame, DropReason::IcmpChecksum);
        return Ok(());
    }
    let snapshot = cx.snapshot;
    let server = entry.server();
    let there = |t: &&super::services::Target| t.standing != Standing::Vacant;
    let Some(target) = snapshot.services.target(server).filter(there) else {
        cx.drop(frame, DropReason::ServerRemoved);
        return Ok(());
    };
    // A removed server still hears what became of its packets; it only does not count any more.
    if target.standing == Standing::Serving {
        cx.local.traffic.incoming(server, packet.ip_len.into());
    }
    let difference = is_spliced(entry.key().flags)
        .then(|| cookies::difference(cx.shared, &entry))
        .flatten();
    send::to_server::<I, F, O>(cx, frame, packet, &entry.key(), target, |frame, key| {
        if let Some(difference) = difference {
            quote_as_sent::<I, F>(frame, packet, &difference);
        }
        translate::<I, F>(frame, packet, key, Side::Virtual);
    });
    Ok(())
}

/// With `schedule_icmp`, an error about a connection nobody knows of makes one if a service has such: perhaps another
/// director had it before. It has three seconds to show itself. `Err(None)`: there is no service for it.
fn schedule<'c, I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'c, F, O>,
    frame: &F,
    packet: &Packet,
    tuple: &Tuple<I::Addr>,
) -> Result<Entry<'c, I>, Option<DropReason>> {
    let snapshot = cx.snapshot;
    if !snapshot.settings.schedule_icmp || tuple.client_port == FTP_DATA {
        return Err(None);
    }
    let protocol = connect::protocol_numbered(tuple.protocol).ok_or(None)?;
    let mark = connect::mark_of(snapshot, frame, packet);
    let (ip, port) = (I::ip(tuple.other), tuple.other_port);
    let service = snapshot
        .services
        .find(mark, protocol, ip, port)
        .ok_or(None)?;
    limits::admit::<I>(cx.shared, snapshot, service, tuple.client, cx.now).map_err(Some)?;
    let traffic = &cx.local.traffic;
    // What an error quotes has no Call-ID: a service that goes by it has no connection for it.
    let sought = Sought {
        service,
        call: None,
        server: None,
        bypass: false,
        opening: None,
        quoted: true,
    };
    match connect::connect::<I>(cx.shared, snapshot, traffic, tuple, &sought, cx.now) {
        Outcome::Found(slot) => Ok(I::table(cx.shared).entry(slot)),
        Outcome::NoServer => Err(Some(DropReason::NoServer)),
        Outcome::Busy => Err(Some(DropReason::ConnectionBusy)),
        Outcome::Refused(reason) => Err(Some(reason)),
    }
}

/// From the servers' side, about a packet NAT has sent there: on to the client, with the virtual service as its source,
/// whoever sent it.
fn to_client<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    quoted: &Quoted<I::Addr>,
    (source_port, destination_port): Ports,
) -> Result<(), F> {
    let tuple = Tuple {
        protocol: connection_s(quoted.protocol),
        client: quoted.source,
        client_port: source_port,
        other: quoted.destination,
        other_port: destination_port,
    };
    let nat = |e: &Entry<'_, I>| method(e.key().flags) == ForwardingMethod::Masq;
    let Some(entry) = find::<I, F, O>(cx, &tuple, Side::Server).filter(nat) else {
        // About a connection that is gone.
        return hide::<I, F, O>(cx, frame, quoted, (source_port, destination_port));
    };
    if !localstack::icmp_checksum_is_right(&frame, packet) {
        cx.drop(frame, DropReason::IcmpChecksum);
        return Ok(());
    }
    let Some((mut frame, way)) = send::way_to_client(cx, frame, packet) else {
        return Ok(());
    };
    let server = entry.server();
    let target = cx.snapshot.services.target(server);
    if target.is_some_and(|t| t.standing == Standing::Serving) {
        cx.local.traffic.outgoing(server, packet.ip_len.into());
    }
    translate::<I, F>(&mut frame, packet, &entry.key(), Side::Server);
    send::on_its_way(cx, frame, packet, way);
    Ok(())
}

pub(super) fn find<'c, I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'c, F, O>,
    tuple: &Tuple<I::Addr>,
    side: Side,
) -> Option<Entry<'c, I>> {
    let table = I::table(cx.shared);
    let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
    let entry = table.entry(table.find(hash, tuple, side, cx.now)?);
    entry.state().is_live().then_some(entry)
}

/// Gives a reply quoted in an error the sequence number the server knows it by: of another the server would not believe it.
fn quote_as_sent<I: Ip, F: Frame>(frame: &mut F, packet: &Packet, difference: &Difference) {
    let Some(inner) = frame
        .head_mut()
        .get_mut(usize::from(packet.l4) + icmp::LEN..)
    else {
        return;
    };
    let at = I::quoted(inner).map(|quoted| quoted.l4 + std::mem::offset_of!(Tcp, sequence));
    if let Some(bytes) = at
        .and_then(|at| inner.get_mut(at..))
        .and_then(<[u8]>::first_chunk_mut::<4>)
    {
        *bytes = difference
            .server_s(u32::from_be_bytes(*bytes))
            .to_be_bytes();
    }
}

/// Replaces the address outside, address and port in the quote, and the ICMP checksum.
fn translate<I: Ip, F: Frame>(frame: &mut F, packet: &Packet, key: &Key<I::Addr>, side: Side) {
    let deltas = family::deltas::<I>((key.vaddr, key.vport), (key.daddr, key.dport));
    let Some((source, destination)) = I::endpoints(&packet.addresses) else {
        return;
    };
    let ends = match side {
        Side::Virtual => (source, key.daddr),
        Side::Server => (key.vaddr, destination),
    };
    let head = frame.head_mut();
    let Some(ip) = head.get_mut(usize::from(packet.l3)..) else {
        return;
    };
    match side {
        Side::Virtual => I::set_destination(ip, key.daddr, wire::Delta(deltas.l3_in)),
        // Not by the delta: a router on the way to the server may have sent it.
        Side::Server => I::set_source(ip, key.vaddr, I::delta(source, key.vaddr)),
    }
    if let Some(inner) = head.get_mut(usize::from(packet.l4) + icmp::LEN..)
        && let Some(quoted) = I::quoted(inner)
    {
        // TCP and UDP begin alike; ports are all that is sure to be there.
        let port = match side {
            Side::Virtual => {
                I::set_source(inner, key.daddr, wire::Delta(0));
                (std::mem::offset_of!(Tcp, source), key.dport)
            }
            Side::Server => {
                I::set_destination(inner, key.vaddr, wire::Delta(0));
                (std::mem::offset_of!(Tcp, destination), key.vport)
            }
        };
        I::fill_header_checksum(inner);
        let at = quoted.l4 + port.0;
        if !matches!(quoted.protocol, protocol::AH | protocol::ESP)
            && let Some(bytes) = inner.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>)
        {
            *bytes = port.1.to_be_bytes();
        }
    }
    fill_checksum::<I, F>(frame, packet, ends);
}

fn fill_checksum<I: Ip, F: Frame>(frame: &mut F, packet: &Packet, ends: (I::Addr, I::Addr)) {
    let len = packet.payload_len();
    let set = |frame: &mut F, value: u16| {
        if let Some(bytes) = frame.head_mut().get_mut(usize::from(packet.l4)..)
            && let Ok((header, _)) = Icmp::mut_from_prefix(bytes)
        {
            header.checksum.set(value);
        }
    };
    set(frame, 0);
    let pseudo = I::icmp_pseudo_header(ends.0, ends.1, len);
    let mut sum: Sum = transmit::sum_of(frame, packet.l4.into(), len.into());
    sum.add16(pseudo.folded());
    set(frame, sum.finish());
}
