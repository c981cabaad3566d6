//! The facts: read from where the engine reads them, and nothing touched.

use super::{Caught, Facts, Sender, ServerFacts};
use crate::{
    ConnectionView, Worker,
    lvs::{self, Ip, Service, Target},
    model::ServiceKey,
    net::NextHop,
    packet::{self, Addresses, Packet, Parsed},
    shared::Shared,
    snapshot::Snapshot,
};
use flowtable::{Side, Slot, V4, V6};
use std::{net::SocketAddr, sync::Arc};
use types::{Mark, PortId, ServerId, Tick};
use wire::Frame;

impl<F: Frame> Worker<F> {
    /// What the engine will decide by about a frame received on `port`.
    pub(super) fn facts(&mut self, now: Tick, port: PortId, frame: &F) -> Option<Facts> {
        let reassembly = Arc::clone(&self.local().reassembly);
        let (snapshot, shared) = self.view();
        let Parsed::Ip(packet) = packet::parse(frame, port, &snapshot.net) else {
            return None;
        };
        Some(Facts {
            fragments: reassembly.facts(frame, &packet, now),
            ..match packet.addresses {
                Addresses::V4 { .. } => facts::<V4, F>(snapshot, shared, frame, &packet, now),
                Addresses::V6 { .. } => facts::<V6, F>(snapshot, shared, frame, &packet, now),
            }
        })
    }
}

fn facts<I: Ip, F: Frame>(
    snapshot: &Snapshot,
    shared: &Shared,
    frame: &F,
    packet: &Packet,
    now: Tick,
) -> Facts {
    let (source, destination) = (packet.addresses.source(), packet.addresses.destination());
    let (rules, mark) = snapshot.marks.explained(packet, lvs::class(frame, packet));
    let service = service(snapshot, packet, mark);
    let view = |slot| view::<I>(snapshot, shared, slot, now);
    let found = connection::<I, F>(shared, frame, packet, now);
    let connection = found.and_then(|(slot, sender)| Some((view(slot)?, sender)));
    let controlling = found.and_then(|(slot, _)| I::table(shared).entry(slot).template());
    let own = service.and_then(|service| template::<I, F>(shared, service, frame, packet, now));
    let mut servers: Vec<ServerFacts> = Vec::new();
    let ids = service.map(|service| service.servers.iter().map(|c| c.id));
    let of_connection = connection.iter().map(|(view, _)| view.id);
    for id in ids.into_iter().flatten().chain(of_connection) {
        if servers.iter().all(|server| server.id != id) {
            servers.extend(server(snapshot, shared, id));
        }
    }
    Facts {
        interface: packet.interface,
        protocol: packet.protocol,
        source: SocketAddr::new(source, packet.source_port),
        destination: SocketAddr::new(destination, packet.destination_port),
        rules,
        mark,
        mark_counts: lvs::marks_count(snapshot, packet),
        service: service.map(|service| (service.key, caught(service, packet))),
        fragments: None,
        connection,
        template: controlling.or(own).and_then(view),
        servers,
    }
}

/// The service that would have a new connection of this packet's, to which rules give `mark`.
pub(super) fn service<'s>(
    snapshot: &'s Snapshot,
    packet: &Packet,
    mark: Mark,
) -> Option<&'s Service> {
    let counts = lvs::marks_count(snapshot, packet);
    let mark = if counts { mark } else { Mark(0) };
    let (address, port) = (packet.addresses.destination(), packet.destination_port);
    let protocol = lvs::protocol_of(packet)?;
    let found = snapshot.services.find(mark, protocol, address, port)?;
    Some(found)
}

/// By what a service that was found caught the packet.
fn caught(service: &Service, packet: &Packet) -> Caught {
    match service.key {
        ServiceKey::Mark { .. } => Caught::Mark,
        ServiceKey::Address { address, .. } => match address.port() {
            port if port == packet.destination_port => Caught::Exact,
            0 => Caught::EveryPort,
            _ => Caught::Ftp,
        },
    }
}

/// The connection a packet is of or about, looked for as the engine does: the way its destination suggests first, then the
/// other.
pub(super) fn connection<I: Ip, F: Frame>(
    shared: &Shared,
    frame: &F,
    packet: &Packet,
    now: Tick,
) -> Option<(Slot, Sender)> {
    let table = I::table(shared);
    let found = lvs::candidates::<I, F>(frame, packet)
        .into_iter()
        .find_map(|(tuple, side)| {
            let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
            Some((table.find(hash, &tuple, side, now)?, side))
        });
    let (slot, side) = found?;
    let nat = lvs::is_nat(table.entry(slot).key().flags);
    match side {
        Side::Virtual => Some((slot, Sender::Client)),
        // Only NAT's replies come back through the director.
        Side::Server => nat.then_some((slot, Sender::Server)),
    }
}

/// The template of a packet's client for a service.
pub(super) fn template<I: Ip, F: Frame>(
    shared: &Shared,
    service: &Service,
    frame: &F,
    packet: &Packet,
    now: Tick,
) -> Option<Slot> {
    let table = I::table(shared);
    let (key, name) = lvs::template_of::<I, F>(shared, service, frame, packet)?;
    table.find_template(table.template_hash(&key, name), &key, name, now)
}

fn view<I: Ip>(
    snapshot: &Snapshot,
    shared: &Shared,
    slot: Slot,
    now: Tick,
) -> Option<ConnectionView> {
    let listed = I::table(shared).copy(slot, now)?;
    let server = |id| Some(address(snapshot.services.target(id)?));
    let call = lvs::call_of::<I>(shared, &listed);
    Some(lvs::view(&listed, call, I::ip, server))
}

fn address(target: &Target) -> SocketAddr {
    SocketAddr::new(target.address, target.port)
}

fn server(snapshot: &Snapshot, shared: &Shared, id: ServerId) -> Option<ServerFacts> {
    let target = snapshot.services.target(id)?;
    let state = shared.roster.server(id)?;
    let (upper_threshold, lower_threshold) = state.thresholds();
    let known = |next: NextHop| shared.neighbours.peek(next.interface, next.gateway);
    Some(ServerFacts {
        id,
        address: address(target),
        method: target.method,
        weight: target.weight,
        counts: state.view(),
        overhead: state.load().overhead(),
        upper_threshold,
        lower_threshold,
        overloaded: state.overloaded(),
        removed: !lvs::serves(target),
        local: target.local,
        interface: target.next.map(|next| next.interface),
        next_hop: target.next.map(|next| next.gateway),
        mac: target.next.and_then(known),
    })
}
