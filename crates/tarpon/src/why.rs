//! `tarpon why`: where a connection could go at a moment, and what has ended or reset it, from the events the daemon keeps.
//!
//! What is known of a moment that has passed is what changed about it: a server's last event before it says how it stood, or, turned
//! round, its first event after it, or, if it has none, how it stands now: all of the daemon that ran then. Of one that has ended since
//! without an event a server was in.

use crate::{
    args::{Global, WhyArgs},
    failure::Failure,
    moment, output, query, units,
};
use api::{
    Client, Command, Connection, ConnectionFilter, ConnectionsEnd, Event, EventFilter, EventKind,
    EventsEnd, Explain, Explained, Service,
    packet::{self, PacketKind, PacketSpec},
};
use serde::Serialize;
use std::net::SocketAddr;
use types::{Family, IpNet, Mark, Protocol, ServiceKey};

/// Events this long before the moment may be why a connection ended: an established one's default timeout.
const WINDOW_MS: u64 = 900_000;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    at_ms: u64,
    service: String,
    scheduler: String,
    /// The connection, if the table has it now.
    connection: Option<Connection>,
    servers: Vec<Then>,
    /// The last that was won or lost before the moment.
    quorum: Option<Event>,
    /// What happened to the service in the quarter of an hour before, and at the moment.
    events: Vec<Event>,
    /// Nothing is known of before this, so that servers may have stood otherwise.
    known_since_ms: Option<u64>,
}

/// A server at that moment.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Then {
    server: SocketAddr,
    /// Whether it took new connections, as far as checks go.
    serves: bool,
    /// Its weight now; absent: it is not configured now.
    weight: Option<u32>,
    /// What made it so.
    since: Option<Event>,
}

pub fn why(global: &Global, args: &WhyArgs) -> Result<(), Failure> {
    let text = args.words.join(" ");
    let flow = packet::parse(&text).map_err(|error| Failure::failed(error.to_string()))?;
    let protocol = match flow.kind {
        PacketKind::Tcp(_) => Protocol::Tcp,
        PacketKind::Udp => Protocol::Udp,
        PacketKind::Sctp(_) => Protocol::Sctp,
        PacketKind::Echo | PacketKind::Error(..) => {
            let what = "only tcp, udp and sctp have connections; `tarpon explain` says what becomes of others";
            return Err(Failure::failed(what));
        }
    };
    let now = moment::now();
    let at = match &args.at {
        Some(text) => moment::parse("--at", text, now).map_err(Failure::failed)?,
        None => now,
    };
    let mut client = query::connect(global)?;
    let services: Vec<Service> = client.call(Command::Services)?;
    let mark = mark_of(&mut client, &services, text)?;
    let service = catching(&services, mark, protocol, flow.destination).ok_or_else(|| {
        Failure::failed(format!(
            "no service has {protocol} {} now, by its address or by a mark; `tarpon events` lists every change",
            flow.destination
        ))
    })?;
    let connection = connection(&mut client, protocol, &flow)?;
    let mut events: Vec<Event> = Vec::new();
    let end: EventsEnd = client.stream_items(Command::Events(EventFilter::default()), |event| {
        events.push(event);
        Ok(())
    })?;
    // The first of all is the daemon's start, or the oldest that is not forgotten.
    let first = events.first().map_or(now, |event| event.time_ms);
    let known_since = (end.forgotten > 0 || at < first).then_some(first);
    events.retain(|event| event.service.is_none_or(|key| key == service.key));
    let answer = answer(service, connection, &events, at, known_since);
    if global.json {
        let value = serde_json::to_string(&answer)
            .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        return output::text(&format!("{value}\n"));
    }
    output::text(&rendered(&flow, &answer))
}

/// The mark that the rules give the flow's packets now; 0 if it counts for nothing, or no service is by mark.
fn mark_of(client: &mut Client, services: &[Service], packet: String) -> Result<Mark, Failure> {
    let by_mark = |service: &Service| matches!(service.key, ServiceKey::Mark { .. });
    if !services.iter().any(by_mark) {
        return Ok(Mark(0));
    }
    let ask = Command::Explain(Explain {
        packet,
        connection: false,
    });
    let explained: Explained = client.call(ask)?;
    Ok(if explained.mark_counts {
        explained.mark
    } else {
        Mark(0)
    })
}

/// The service that catches packets to this address: by their mark, else of its port, or of every port.
fn catching(
    services: &[Service],
    mark: Mark,
    protocol: Protocol,
    to: SocketAddr,
) -> Option<&Service> {
    let of = |key| services.iter().find(|service| service.key == key);
    let on = |port| {
        let address = SocketAddr::new(to.ip(), port);
        of(ServiceKey::Address { protocol, address })
    };
    let family = match to {
        SocketAddr::V4(_) => Family::Ipv4,
        SocketAddr::V6(_) => Family::Ipv6,
    };
    of(ServiceKey::Mark { mark, family })
        .or_else(|| on(to.port()))
        .or_else(|| on(0))
}

fn connection(
    client: &mut Client,
    protocol: Protocol,
    flow: &PacketSpec,
) -> Result<Option<Connection>, Failure> {
    let host: Option<IpNet> = flow.source.ip().to_string().parse().ok();
    let filter = ConnectionFilter {
        protocol: Some(protocol),
        service: Some(flow.destination),
        client: host,
        ..ConnectionFilter::default()
    };
    let mut found = None;
    let _: ConnectionsEnd =
        client.stream_items(Command::Connections(filter), |one: Connection| {
            if one.client == flow.source {
                found = Some(one);
            }
            Ok(())
        })?;
    Ok(found)
}

/// `events` are those of the service and those of no service, oldest first.
fn answer(
    service: &Service,
    connection: Option<Connection>,
    events: &[Event],
    at: u64,
    known_since_ms: Option<u64>,
) -> Answer {
    let mut servers: Vec<SocketAddr> = service.servers.iter().map(|s| s.address).collect();
    for address in events.iter().filter_map(|event| event.server) {
        if !servers.contains(&address) {
            servers.push(address);
        }
    }
    let quorum = run(events, at).0.iter().rfind(|event| {
        event.time_ms <= at && matches!(event.kind, EventKind::QuorumWon | EventKind::QuorumLost)
    });
    let near = |event: &&Event| event.time_ms <= at && event.time_ms + WINDOW_MS >= at;
    Answer {
        at_ms: at,
        service: match &service.name {
            Some(name) => format!("{} ({name})", service.key),
            None => service.key.to_string(),
        },
        scheduler: service.scheduler.to_string(),
        connection,
        servers: servers
            .into_iter()
            .map(|server| then(service, events, server, at))
            .collect(),
        quorum: quorum.cloned(),
        events: events.iter().filter(near).cloned().collect(),
        known_since_ms,
    }
}

/// Those of the daemon that ran at that moment, and whether it runs still: what it knew of servers went with it.
fn run(events: &[Event], at: u64) -> (&[Event], bool) {
    let starts = |event: &Event| event.kind == EventKind::Started;
    let begin = events.iter().rposition(|e| starts(e) && e.time_ms <= at);
    let end = events.iter().position(|e| starts(e) && e.time_ms > at);
    let (begin, until) = (begin.unwrap_or(0), end.unwrap_or(events.len()));
    (events.get(begin..until).unwrap_or_default(), end.is_none())
}

/// How a server stood.
fn then(service: &Service, events: &[Event], server: SocketAddr, at: u64) -> Then {
    let configured = service.servers.iter().find(|s| s.address == server);
    let health = configured.and_then(|s| s.health.as_ref());
    let out_now = health.is_some_and(|health| !health.up);
    // Out by its checks, or by what clients' connections say: either is enough.
    let (events, runs_still) = run(events, at);
    let by_checks = (EventKind::ServerDown, EventKind::ServerUp);
    let by_clients = (EventKind::ServerEjected, EventKind::ServerReadmitted);
    let own = || events.iter().filter(|event| event.server == Some(server));
    let mut since: Option<&Event> = None;
    let mut out = false;
    for (leaves, returns) in [by_checks, by_clients] {
        let of = |event: &&Event| event.kind == leaves || event.kind == returns;
        let last = own().filter(of).rfind(|event| event.time_ms <= at);
        let next = own().filter(of).find(|event| event.time_ms > at);
        let was_out = match (last, next) {
            (Some(last), _) => last.kind == leaves,
            (None, Some(next)) => next.kind == returns,
            (None, None) => leaves == EventKind::ServerDown && out_now && runs_still,
        };
        if let Some(last) = last
            && (was_out || (!out && since.is_none_or(|other| other.time_ms < last.time_ms)))
        {
            since = Some(last);
        }
        out |= was_out;
    }
    Then {
        server,
        serves: !out,
        weight: configured.map(|s| s.weight.0),
        since: since.cloned(),
    }
}

fn rendered(flow: &PacketSpec, answer: &Answer) -> String {
    let mut lines = vec![
        format!(
            "{} > {} at {} UTC",
            flow.source,
            flow.destination,
            units::timestamp(answer.at_ms)
        ),
        format!("service {}, scheduler {}", answer.service, answer.scheduler),
        match &answer.connection {
            Some(c) => format!("now: {}, with {} ({})", c.state, c.server, c.method),
            None => "now: not in the table; which server it had is not kept".to_owned(),
        },
        "servers then:".to_owned(),
    ];
    for then in &answer.servers {
        let word = match (then.serves, then.weight) {
            (false, _) => "out".to_owned(),
            (true, Some(weight)) => format!("in, weight {weight} now"),
            (true, None) => "in, not configured now".to_owned(),
        };
        let since = then.since.as_ref().map(|event| {
            let time = units::timestamp(event.time_ms);
            format!(", since {time}: {} ({})", event.what, event.cause)
        });
        lines.push(format!(
            "  {}  {word}{}",
            then.server,
            since.unwrap_or_default()
        ));
    }
    if let Some(quorum) = &answer.quorum {
        let time = units::timestamp(quorum.time_ms);
        lines.push(format!(
            "quorum: since {time}: {} ({})",
            quorum.what, quorum.cause
        ));
    }
    let known = answer
        .known_since_ms
        .is_none_or(|since| since <= answer.at_ms);
    lines.push(match answer.events.is_empty() {
        true if !known => "of that time no events are kept".to_owned(),
        true => "nothing changed in the quarter of an hour before: the director had no cause to end or reset it".to_owned(),
        false => "what happened in the quarter of an hour before, the latest first:".to_owned(),
    });
    for event in answer.events.iter().rev() {
        let server = event.server.map(|s| format!("{s} ")).unwrap_or_default();
        let time = units::timestamp(event.time_ms);
        lines.push(format!(
            "  {time}  {server}{} ({})",
            event.what, event.cause
        ));
    }
    if let Some(since) = answer.known_since_ms {
        let time = units::timestamp(since);
        lines.push(format!(
            "events are kept since {time}: before that servers may have stood otherwise"
        ));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests;
