//! New connections: the service a packet is for, its server, the entry. Everything here is off the fast path.

use super::{
    call_out,
    calls::{self, CallId},
    cookies::{self, Opening, Splice},
    entry, family,
    family::Ip,
    ftp, known, limits, one_packet, persist,
    schedule::{self, Asker},
    send,
    services::{FTP, FTP_DATA, Service, Standing, Target},
    state::{self, Chunk},
};
use crate::{
    DropReason, Output,
    context::Context,
    forward,
    icmp::{self, IcmpError},
    model::{ServiceKey, Settings},
    net::Local,
    overload,
    packet::{Addresses, Fragment, Packet, wrong_source},
    pipeline,
    shared::Shared,
    snapshot::Snapshot,
};
use flowtable::{Claim, Deltas, Embryo, Kind, New, Side, Slot, StateFlags, Tuple};
use types::{ForwardingMethod, Mark, PortId, Protocol, ServerId, Tick};
use wire::{Frame, protocol, tcp};

/// Tries of a packet that meets other workers' insertions before it is dropped: its sender will try again.
const TRIES: u8 = 16;

/// A packet of no known connection: makes one if it is for a service, else it goes on as a packet of nobody's.
pub(crate) fn packet<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    packet: &Packet,
    tries: u8,
) {
    let snapshot = cx.snapshot;
    let found = protocol_of(packet).and_then(|protocol| {
        let (ip, port) = (packet.addresses.destination(), packet.destination_port);
        let mark = mark_of(snapshot, &frame, packet);
        snapshot.services.find(mark, protocol, ip, port)
    });
    if (found.is_some() || snapshot.net.local(packet.addresses.destination()).is_some())
        && overload::refuses(cx, packet)
    {
        cx.drop(frame, DropReason::OverloadNew);
        return;
    }
    let Some(service) = found else {
        stray(cx, frame, packet);
        return;
    };
    // IPVS takes SCTP without a chunk for cut short; its local stack would call the protocol unreachable.
    if packet.protocol == protocol::SCTP && packet.chunk.is_none() {
        cx.drop(frame, DropReason::L4Malformed);
        return;
    }
    if let Some(reason) = wrong_source(&snapshot.net, packet) {
        cx.drop(frame, reason);
        return;
    }
    if packet.fragment != Fragment::No {
        cx.drop(frame, DropReason::Fragment);
        return;
    }
    let follows = packet.protocol == protocol::TCP && packet.tcp_flags & tcp::SYN == 0;
    let frame = if follows && snapshot.cookies.any() {
        match cookies::consider::<I, F, O>(cx, port, frame, packet, tries, service) {
            Ok(()) => return,
            Err(frame) => frame,
        }
    } else {
        frame
    };
    if !starts_a_connection(packet, &snapshot.settings) {
        pipeline::not_ours(cx, frame, packet);
        return;
    }
    if cx.shared.defences.drops_packet(&snapshot.settings) {
        cx.drop(frame, DropReason::Defence);
        return;
    }
    // Never from where FTP servers open data connections.
    if packet.source_port == FTP_DATA {
        pipeline::not_ours(cx, frame, packet);
        return;
    }
    let frame = if !follows && snapshot.cookies.any() {
        match cookies::consider::<I, F, O>(cx, port, frame, packet, tries, service) {
            Ok(()) => return,
            Err(frame) => frame,
        }
    } else {
        frame
    };
    // One that is held for another worker was let in when it came.
    if tries == 0
        && let Some((client, _)) = I::endpoints(&packet.addresses)
        && let Err(reason) = limits::admit::<I>(cx.shared, snapshot, service, client, cx.now)
    {
        cx.drop(frame, reason);
        return;
    }
    if calls::concern(service) {
        return of_call::<I, F, O>(cx, port, frame, packet, tries, service);
    }
    let sought = Sought {
        service,
        call: None,
        server: None,
        bypass: is_bypassed(snapshot, packet, service),
        opening: None,
        quoted: false,
    };
    for_service::<I, F, O>(cx, port, frame, packet, tries, &sought);
}

/// A packet for a service whose persistence goes by Call-ID.
#[cold]
#[inline(never)]
fn of_call<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    packet: &Packet,
    tries: u8,
    service: &Service,
) {
    match calls::asked(service, &frame, packet) {
        Ok(call) => {
            let sought = Sought {
                service,
                call: call.as_ref(),
                server: None,
                bypass: is_bypassed(cx.snapshot, packet, service),
                opening: None,
                quoted: false,
            };
            for_service::<I, F, O>(cx, port, frame, packet, tries, &sought);
        }
        Err(reason) => cx.drop(frame, reason),
    }
}

pub(super) fn for_service<I: Ip, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    packet: &Packet,
    tries: u8,
    sought: &Sought<'_>,
) {
    let service = sought.service;
    if service.one_packet && packet.protocol == protocol::UDP {
        return match one_packet::datagram::<I, F, O>(cx, frame, packet, sought) {
            Ok(()) => {}
            Err((frame, NotAssigned::NoServer)) => no_server(cx, frame, packet, service),
            Err((frame, NotAssigned::Busy)) => retry(cx, port, frame, packet, tries),
            Err((frame, NotAssigned::Refused(reason))) => cx.drop(frame, reason),
        };
    }
    let Some(tuple) = family::tuple::<I>(packet, Side::Virtual) else {
        cx.drop(frame, DropReason::IpMalformed);
        return;
    };
    let (shared, snapshot, traffic) = (cx.shared, cx.snapshot, &cx.local.traffic);
    match connect::<I>(shared, snapshot, traffic, &tuple, sought, cx.now) {
        Outcome::Found(slot) => {
            let entry = I::table(cx.shared).entry(slot);
            if let Err(frame) = known::packet::<I, F, O>(cx, frame, packet, &entry, Side::Virtual) {
                // It ended in the same instant: another worker met its end.
                retry(cx, port, frame, packet, tries);
            }
        }
        Outcome::NoServer => no_server(cx, frame, packet, service),
        Outcome::Busy => retry(cx, port, frame, packet, tries),
        Outcome::Refused(reason) => cx.drop(frame, reason),
    }
}

/// A packet for a service that has no server to take it.
fn no_server<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    service: &Service,
) {
    if is_bypassed(cx.snapshot, packet, service) {
        forward::route(cx, frame, packet);
        return;
    }
    // What an FTP service takes for its data connections is the director's own again.
    if matches!(service.key, ServiceKey::Address { address, .. } if address.port() == FTP)
        && packet.destination_port != FTP
    {
        pipeline::not_ours(cx, frame, packet);
        return;
    }
    // From the address that was asked for, though it may be the director's by a mark only.
    let asked = packet.addresses.destination();
    icmp::error(cx, &frame, packet, IcmpError::PortUnreachable, Some(asked));
    cx.drop(frame, DropReason::NoServer);
}

/// Whether the packet goes on to where it was going when there is no server for it (`cache_bypass`).
fn is_bypassed(snapshot: &Snapshot, packet: &Packet, service: &Service) -> bool {
    snapshot.settings.cache_bypass
        && matches!(service.key, ServiceKey::Mark { .. })
        && !packet.link_group
        && snapshot.net.local(packet.addresses.destination()).is_none()
}

/// The packet's firewall mark. As with Linux, in compat it only counts on packets that are for the director itself.
pub(super) fn mark_of<F: Frame>(snapshot: &Snapshot, frame: &F, packet: &Packet) -> Mark {
    if snapshot.marks.is_empty() {
        return Mark(0);
    }
    let mark = snapshot.marks.of(packet, || class(frame, packet));
    if mark == Mark(0) || marks_count(snapshot, packet) {
        mark
    } else {
        Mark(0)
    }
}

/// Whether a packet's mark counts.
pub(crate) fn marks_count(snapshot: &Snapshot, packet: &Packet) -> bool {
    let destination = packet.addresses.destination();
    !snapshot.settings.compat_ipvs
        || snapshot.net.local(destination).is_some()
        || snapshot.local.iter().any(|net| net.contains(destination))
}

/// A packet's TOS or traffic class.
pub(crate) fn class<F: Frame>(frame: &F, packet: &Packet) -> u8 {
    let ip = usize::from(packet.l3);
    match (packet.addresses, frame.head().get(ip..ip + 2)) {
        (Addresses::V4 { .. }, Some(&[_, tos])) => tos,
        (Addresses::V6 { .. }, Some(&[high, low])) => high << 4 | low >> 4,
        _ => 0,
    }
}

/// Holds the packet until the next step.
pub(super) fn retry<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: F,
    packet: &Packet,
    tries: u8,
) {
    if tries >= TRIES {
        cx.drop(frame, DropReason::ConnectionBusy);
        return;
    }
    match cx.local.busy.hold(frame, packet, port, tries + 1) {
        Ok(()) => cx.local.counters.held.add(1),
        Err(frame) => cx.drop(frame, DropReason::ConnectionBusy),
    }
}

/// A packet that is for no service: perhaps one from a real server whose connection is gone. Such a packet must not show
/// the server's address to the client.
pub(crate) fn stray<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
) {
    if packet.protocol == protocol::UDP && cx.snapshot.services.has_callers() {
        match call_out::request(cx, frame, packet) {
            Ok(()) => return,
            Err(back) => frame = back,
        }
    }
    let settings = &cx.snapshot.settings;
    let hides = settings.nat_icmp_send || !settings.compat_ipvs || packet.headless;
    let (source, port) = (packet.addresses.source(), packet.source_port);
    let services = &cx.snapshot.services;
    // To the director's own address it shows nothing to anybody: it answers a health check of the host's.
    let destination = packet.addresses.destination();
    let own = matches!(cx.snapshot.net.local(destination), Some(Local::Own(_)));
    let hides = hides && (settings.compat_ipvs || !own);
    if !hides || !services.is_server(source, cx.now) {
        pipeline::not_ours(cx, frame, packet);
    } else if packet.fragment != Fragment::No && !settings.compat_ipvs {
        // Of what connection, nobody can tell.
        cx.drop(frame, DropReason::Fragment);
    } else if packet.headless {
        // Its connection cannot be told, though it may have one: never on, with the server's address.
        cx.drop(frame, DropReason::L4Malformed);
    } else if !services.is_server_port(packet.protocol, source, port, cx.now) {
        pipeline::not_ours(cx, frame, packet);
    } else if is_reset(packet) {
        if settings.compat_ipvs {
            pipeline::not_ours(cx, frame, packet);
        } else {
            cx.drop(frame, DropReason::NoConnection);
        }
    } else {
        if settings.nat_icmp_send {
            // It has been forwarded so far as to lose a hop, if it had one, and a way, and fitted.
            if cx.snapshot.net.local(destination).is_none() {
                let Some((on_its_way, _)) = send::way_to_client(cx, frame, packet) else {
                    return;
                };
                frame = on_its_way;
            }
            icmp::error(cx, &frame, packet, IcmpError::PortUnreachable, None);
        }
        cx.drop(frame, DropReason::NoConnection);
    }
}

/// The protocol, if services can have it.
pub(crate) const fn protocol_of(packet: &Packet) -> Option<Protocol> {
    protocol_numbered(packet.protocol)
}

/// The protocol of that number, if services can have it.
pub(super) const fn protocol_numbered(number: u8) -> Option<Protocol> {
    match number {
        protocol::TCP => Some(Protocol::Tcp),
        protocol::UDP => Some(Protocol::Udp),
        protocol::SCTP => Some(Protocol::Sctp),
        _ => None,
    }
}

/// TCP: any packet with SYN and without RST (with `sloppy_tcp`, any without RST). SCTP: INIT (with `sloppy_sctp`, any but
/// ABORT).
fn starts_a_connection(packet: &Packet, settings: &Settings) -> bool {
    let flags = packet.tcp_flags;
    match (packet.protocol, packet.chunk) {
        (protocol::TCP, _) => {
            flags & tcp::RST == 0 && (settings.sloppy_tcp || flags & tcp::SYN != 0)
        }
        (protocol::SCTP, chunk) => chunk
            .is_some_and(|chunk| !chunk.is_abort() && (settings.sloppy_sctp || chunk.is_init())),
        _ => true,
    }
}

/// TCP's reset, or SCTP's.
fn is_reset(packet: &Packet) -> bool {
    match packet.protocol {
        protocol::TCP => packet.tcp_flags & tcp::RST != 0,
        protocol::SCTP => packet.chunk.is_some_and(Chunk::is_abort),
        _ => false,
    }
}

/// What a new connection is wanted for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought<'s> {
    pub service: &'s Service,
    /// What tells its template from others of the client.
    pub call: Option<&'s CallId>,
    /// The server it is of already: one that calls a client.
    pub server: Option<ServerId>,
    /// If there is no server, one without.
    pub bypass: bool,
    /// It began with a cookie, which this acknowledges.
    pub opening: Option<&'s Opening>,
    /// What shows it is a packet from its server, quoted in an ICMP error.
    pub quoted: bool,
}

pub(super) enum Outcome {
    /// The connection, made now or by another worker.
    Found(Slot),
    /// No usable server.
    NoServer,
    /// Another worker is at it.
    Busy,
    /// No room.
    Refused(DropReason),
}

/// The server of a new connection. It is already counted there as inactive.
pub(crate) struct Assigned {
    pub server: ServerId,
    pub port: u16,
    /// The template that controls the connection, already told so.
    pub template: Option<Slot>,
}

/// Why no server was assigned.
pub(crate) enum NotAssigned {
    NoServer,
    Busy,
    Refused(DropReason),
}

/// Makes the connection `tuple` to a service.
pub(super) fn connect<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    traffic: &super::TrafficCells,
    tuple: &Tuple<I::Addr>,
    sought: &Sought<'_>,
    now: Tick,
) -> Outcome {
    let table = I::table(shared);
    let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
    let mut settle = |e: flowtable::Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
    // Claimed before a server is chosen: a loser must not advance the schedulers.
    let embryo = match table.claim(hash, tuple, Kind::Connection, now, &mut settle) {
        Claim::Won(embryo) => embryo,
        Claim::Exists(slot) => return Outcome::Found(slot),
        Claim::Busy => return Outcome::Busy,
        Claim::Full => return Outcome::Refused(DropReason::TableFull),
        Claim::ClientFull => return Outcome::Refused(DropReason::EndpointLimit),
    };
    // Given back below unless the connection keeps it.
    let record = if ftp::concerns(snapshot, tuple) {
        match shared.roster.records.take() {
            Some(record) => Some(record),
            None => return Outcome::Refused(DropReason::TableFull),
        }
    } else {
        None
    };
    let assigned = match assign::<I>(shared, snapshot, tuple, sought, now) {
        Ok(assigned) => assigned,
        Err(NotAssigned::NoServer) if sought.bypass => {
            return Outcome::Found(embryo.publish(&without_server::<I>()));
        }
        Err(NotAssigned::NoServer) => return Outcome::NoServer,
        Err(NotAssigned::Busy) => return Outcome::Busy,
        Err(NotAssigned::Refused(reason)) => return Outcome::Refused(reason),
    };
    let Some(target) = snapshot.services.target(assigned.server) else {
        return Outcome::NoServer;
    };
    if target.method == ForwardingMethod::Masq {
        let address = I::address(target.address);
        if let Some(server) = address.map(|address| (address, assigned.port)) {
            supersede::<I>(shared, tuple, server, now);
        }
    }
    let mut flags = entry::flags(target.method);
    let mut note = 0;
    if let Some(record) = record.filter(|_| ftp::reads(target)) {
        (flags, note) = (entry::READ, record.keep().0);
    } else if let Some(opening) = sought.opening {
        let splice = Splice::at::<I>(shared, embryo.slot());
        let (Some(splice), true) = (splice, entry::is_nat(flags) && !target.local) else {
            give_back::<I>(shared, &assigned);
            return Outcome::NoServer;
        };
        splice.begin(opening);
        flags |= entry::SPLICED;
    }
    traffic.connection(assigned.server);
    let of = (sought.service.mark(), target);
    Outcome::Found(publish::<I>(embryo, tuple, &assigned, of, (flags, note)))
}

/// Takes back what was counted of a connection that does not come about.
fn give_back<I: Ip>(shared: &Shared, assigned: &Assigned) {
    if let Some(server) = shared.roster.server(assigned.server) {
        server.leave(false);
    }
    if let Some(template) = assigned.template {
        I::table(shared).entry(template).drop_control();
    }
}

/// A server for a new connection: the template's, or the scheduler's choice.
pub(super) fn assign<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    tuple: &Tuple<I::Addr>,
    sought: &Sought<'_>,
    now: Tick,
) -> Result<Assigned, NotAssigned> {
    let service = sought.service;
    if let Some(persistence) = service.persistence {
        let wanted = persist::Wanted {
            service,
            persistence,
            call: sought.call,
            server: sought.server,
            quoted: sought.quoted,
            tuple,
        };
        return persist::assign::<I>(shared, snapshot, &wanted, now);
    }
    if let Some(server) = sought.server {
        let target = snapshot.services.target(server);
        let (Some(target), Some(state)) = (target, shared.roster.server(server)) else {
            return Err(NotAssigned::NoServer);
        };
        state.admit_any();
        return Ok(Assigned {
            server,
            port: or(target.port, tuple.other_port),
            template: None,
        });
    }
    schedule::choose(
        service,
        &shared.roster,
        &asker::<I>(tuple, sought.quoted, &snapshot.settings, now),
    )
    .and_then(|chosen| {
        let target = snapshot.services.target(chosen.id)?;
        Some(Assigned {
            server: chosen.id,
            port: or(target.port, tuple.other_port),
            template: None,
        })
    })
    .ok_or(NotAssigned::NoServer)
}

/// What schedulers go by. Of a packet quoted in an error IPVS's go by the destination, too, where they go by that: it is the client.
pub(crate) fn asker<'s, I: Ip>(
    tuple: &Tuple<I::Addr>,
    quoted: bool,
    settings: &'s Settings,
    now: Tick,
) -> Asker<'s> {
    let destination = if quoted && settings.compat_ipvs {
        tuple.client
    } else {
        tuple.other
    };
    Asker {
        client: I::ip(tuple.client),
        client_port: tuple.client_port,
        destination: I::ip(destination),
        now,
        settings,
    }
}

/// Ends the connection whose replies look like those of the new one: the same client endpoint, through another virtual
/// service, to the same server and port. The client has used its port anew, and the server knows only the newer use; as
/// in IPVS, which finds the newest first, replies belong to that.
pub(super) fn supersede<I: Ip>(
    shared: &Shared,
    tuple: &Tuple<I::Addr>,
    server: (I::Addr, u16),
    now: Tick,
) {
    let table = I::table(shared);
    let reply = Tuple {
        other: server.0,
        other_port: server.1,
        ..*tuple
    };
    let hash = table.hash(reply.protocol, reply.client, reply.client_port);
    let Some(slot) = table.find(hash, &reply, Side::Server, now) else {
        return;
    };
    let old = table.entry(slot);
    if let Some(last) = table.remove(slot, old.state().generation()) {
        entry::ended(table, &shared.roster, &old, last);
    }
}

/// A port, or the client's if it is 0.
pub(crate) const fn or(port: u16, client_s: u16) -> u16 {
    if port == 0 { client_s } else { port }
}

pub(super) fn publish<I: Ip>(
    embryo: Embryo<'_, I>,
    tuple: &Tuple<I::Addr>,
    assigned: &Assigned,
    (mark, target): (Mark, &Target),
    (fixed, note): (u8, u32),
) -> Slot {
    // The other family's address has no place in the entry, and only a tunnel leads there: its address is the target's.
    let address = I::address(target.address).unwrap_or_else(|| I::number(0));
    let nat = target.method == ForwardingMethod::Masq;
    let mut flags = StateFlags::INACTIVE;
    if !nat {
        flags = flags.with(StateFlags::NOOUTPUT);
    }
    embryo.publish(&New {
        daddr: address,
        dport: assigned.port,
        server: assigned.server,
        flags: fixed,
        state: 0,
        state_flags: flags,
        timeout_ms: state::NEW_MS,
        template: assigned.template,
        mark,
        deltas: if nat {
            let virtual_ = (tuple.other, tuple.other_port);
            family::deltas::<I>(virtual_, (address, assigned.port))
        } else {
            Deltas::default()
        },
        note,
    })
}

/// A connection that only goes on to where it was going.
fn without_server<I: Ip>() -> New<I::Addr> {
    New {
        daddr: I::number(0),
        dport: 0,
        server: ServerId(u32::MAX),
        flags: entry::BYPASS,
        state: 0,
        state_flags: StateFlags::default(),
        timeout_ms: state::NEW_MS,
        template: None,
        mark: Mark(0),
        deltas: Deltas::default(),
        note: 0,
    }
}

/// Whether packets to this server are served at all: configured, not merely remembered.
pub(crate) fn serves(target: &Target) -> bool {
    target.standing == Standing::Serving
}
