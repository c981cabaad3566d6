//! `explain`, and how an explanation is told.

mod frame;

use super::{Control, health};
use crate::{clock::wall_ns, desired::interface_names};
use api::{
    Bytes, CapturedFrame, CatchingService, CaughtBy, DecidingRule, Direction, DropNote, Error,
    ErrorCode, Explain, Explained, ExplainedServer, Fragments, Sender, Template,
    packet::{self, PacketSpec},
};
use engine::{Caught, Explanation, Facts, ServerFacts, model::Interface};
use sim::{Recorder, VecFrame};
use std::net::SocketAddr;
use types::{InterfaceId, PortId};

/// What would become of a packet.
///
/// # Errors
/// It is not described, nobody knows where it comes in, or there is no such connection.
pub fn explain(control: &Control, ask: &Explain) -> Result<Explained, Error> {
    let spec = packet::parse(&ask.packet)
        .map_err(|error| Error::new(ErrorCode::Invalid, error.to_string()))?;
    let interface = interface(control, &spec)?;
    let bytes = frame::frame(&spec, interface);
    let now = control.clock.now();
    let mut out = Recorder::default();
    let explained = control
        .director
        .explain(now, interface.port, VecFrame::new(&bytes), &mut out)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
    let explained = shown(control, explained, spec.to_string());
    if ask.connection && explained.connection.is_none() {
        let message = format!("there is no connection that `{spec}` is of");
        return Err(Error::new(ErrorCode::NotFound, message));
    }
    Ok(explained)
}

/// Where a packet comes in.
fn interface<'c>(control: &'c Control, spec: &PacketSpec) -> Result<&'c Interface, Error> {
    let all = &control.director.desired().interfaces;
    if let Some(name) = &spec.interface {
        return all.iter().find(|i| i.name == *name).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|i| i.name.as_str()).collect();
            let message = format!(
                "there is no port or VLAN `{name}`; the names are {}",
                names.join(", ")
            );
            Error::new(ErrorCode::NotFound, message)
        });
    }
    let source = spec.source.ip();
    let towards = control.director.interface_towards(source);
    towards.and_then(|id| all.get(id.index())).ok_or_else(|| {
        let message = format!(
            "there is no route back to {source}, so where the packet comes in is not known: add `on PORT`"
        );
        Error::new(ErrorCode::Invalid, message)
    })
}

/// An explanation in the protocol's words.
pub fn shown(control: &Control, explanation: Explanation, packet: String) -> Explained {
    let Explanation { facts, fate } = explanation;
    let servers = facts.iter().flat_map(|facts| &facts.servers);
    let chosen = servers.clone().find(|s| Some(s.id) == fate.chosen);
    let chosen = chosen.map(|server| server.address);
    let facts = facts.as_ref();
    Explained {
        packet,
        interface: facts.map(|facts| name(control, facts.interface)),
        mark_rules: facts.map(|facts| rules(control, facts)).unwrap_or_default(),
        mark: facts.map(|facts| facts.mark).unwrap_or_default(),
        mark_counts: facts.is_none_or(|facts| facts.mark_counts),
        service: facts.and_then(|facts| service(control, facts)),
        fragments: facts.and_then(|facts| facts.fragments).map(|of| Fragments {
            held: of.held,
            bytes: of.bytes,
            total: of.total,
            has_first: of.has_first,
            expires_ms: of.expires_in_ms,
            held_beside: of.held_beside as u64,
        }),
        connection: facts
            .and_then(|facts| facts.connection.as_ref())
            .and_then(|(view, _)| super::jobs::connection_shown(view)),
        sender: facts
            .and_then(|facts| facts.connection.as_ref())
            .map(|(_, sender)| match sender {
                engine::Sender::Client => Sender::Client,
                engine::Sender::Server => Sender::Server,
            }),
        template: facts
            .and_then(|facts| facts.template.as_ref())
            .map(|view| Template {
                client: view.client.ip(),
                server: view.server.ip(),
                expires_ms: view.expires_ms,
            }),
        servers: servers_of(control, facts),
        chosen,
        sent: fate
            .sent
            .into_iter()
            .map(|sent| captured(control, sent.port, Direction::Tx, sent.len, sent.bytes))
            .collect(),
        punted: fate.punted,
        held: fate.held,
        unanswered: fate.unanswered,
        dropped: fate
            .dropped
            .iter()
            .map(|reason| DropNote {
                reason: reason.name().to_owned(),
                meaning: reason.meaning().trim().to_owned(),
            })
            .collect(),
    }
}

/// A frame of an explanation, of this moment.
pub fn captured(
    control: &Control,
    port: PortId,
    direction: Direction,
    original_len: u32,
    bytes: Vec<u8>,
) -> CapturedFrame {
    let port = control.ports.get(port.index());
    CapturedFrame {
        port: port.map(|p| p.name.clone()).unwrap_or_default(),
        direction,
        timestamp_ns: wall_ns(),
        original_len,
        data: Bytes(bytes),
    }
}

fn name(control: &Control, id: InterfaceId) -> String {
    let mut names = interface_names(&control.config);
    names.nth(id.index()).unwrap_or_default().to_owned()
}

fn rules(control: &Control, facts: &Facts) -> Vec<DecidingRule> {
    let numbers = facts.rules.iter();
    numbers
        .map(|&number| DecidingRule {
            number: number + 1,
            rule: control
                .config
                .marks
                .get(number as usize)
                .map(ToString::to_string)
                .unwrap_or_default(),
        })
        .collect()
}

fn service(control: &Control, facts: &Facts) -> Option<CatchingService> {
    let (key, caught) = facts.service?;
    let configured = control.config.services.iter().find(|s| s.key == key)?;
    Some(CatchingService {
        key,
        name: configured.name.clone(),
        by: match caught {
            Caught::Mark => CaughtBy::Mark,
            Caught::Exact => CaughtBy::Exact,
            Caught::Ftp => CaughtBy::FtpData,
            Caught::EveryPort => CaughtBy::EveryPort,
        },
        scheduler: configured.scheduler,
        persistence_s: configured.persistence.map(|p| p.timeout_s),
    })
}

/// Those the engine knows, and those of the service that their checks keep out of it.
fn servers_of(control: &Control, facts: Option<&Facts>) -> Vec<ExplainedServer> {
    let Some(facts) = facts else {
        return Vec::new();
    };
    let key = facts.service.map(|(key, _)| key);
    let configured = control.config.services.iter().find(|s| Some(s.key) == key);
    let notes = configured
        .map(|service| health::notes(control, service))
        .unwrap_or_default();
    let down = |address: SocketAddr| {
        let note = notes.iter().find(|(a, note)| *a == address && !note.up);
        note.map(|(_, note)| match &note.reason {
            Some(reason) => format!("down: {reason}"),
            None => "down".to_owned(),
        })
    };
    let mut shown: Vec<ExplainedServer> = facts
        .servers
        .iter()
        .map(|server| server_shown(control, server, down(server.address)))
        .collect();
    for server in configured.map(|s| &s.servers[..]).unwrap_or_default() {
        if shown.iter().all(|s| s.address != server.address) {
            let out = down(server.address).unwrap_or_else(|| "not in the table".into());
            shown.push(ExplainedServer {
                address: server.address,
                method: server.method,
                weight: server.weight,
                active: 0,
                inactive: 0,
                overhead: 0,
                upper_threshold: server.upper_threshold,
                lower_threshold: server.lower_threshold,
                overloaded: false,
                out: Some(out),
                interface: None,
                next_hop: None,
                mac: None,
            });
        }
    }
    shown
}

fn server_shown(control: &Control, server: &ServerFacts, down: Option<String>) -> ExplainedServer {
    let removed = server.removed.then(|| "removed".to_owned());
    ExplainedServer {
        address: server.address,
        method: server.method,
        weight: server.weight,
        active: server.counts.active.into(),
        inactive: server.counts.inactive.into(),
        overhead: server.overhead,
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
        overloaded: server.overloaded,
        out: down.or(removed),
        interface: server.interface.map(|id| name(control, id)),
        next_hop: server.next_hop,
        mac: server.mac,
    }
}
