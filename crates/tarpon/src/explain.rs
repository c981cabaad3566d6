//! `tarpon explain` and `tarpon trace`.

use crate::{
    args::{ExplainArgs, Global, TraceArgs},
    capture::{stop_in_time, time},
    failure::Failure,
    output, query, show, units,
};
use api::{
    Client, ClientError, Command, Explain, Explained, TraceEnd, Traced,
    packet::{self, PacketKind, PacketSpec},
};
use types::ForwardingMethod;

pub fn explain(global: &Global, args: &ExplainArgs) -> Result<(), Failure> {
    let text = args.words.join(" ");
    // Refused here already, so that the mistake is shown without a daemon too.
    let spec = packet::parse(&text).map_err(|error| Failure::failed(error.to_string()))?;
    let mut client = query::connect(global)?;
    if args.conn {
        return connection(global, &mut client, text, &spec);
    }
    let ask = Command::Explain(Explain {
        packet: text,
        connection: false,
    });
    query::show_with(global, &mut client, ask, show::explained)
}

/// The next packet of a connection's client, and of its server if that goes back through the director.
fn connection(
    global: &Global,
    client: &mut Client,
    mut text: String,
    spec: &PacketSpec,
) -> Result<(), Failure> {
    const ACK: &str = " flags ack";
    if matches!(spec.kind, PacketKind::Tcp(_)) && !text.contains("flags") {
        text += ACK;
    }
    let ask = |packet: String| {
        Command::Explain(Explain {
            packet,
            connection: true,
        })
    };
    let explained: Explained = client.call(ask(text))?;
    let nat = explained.connection.as_ref();
    let nat = nat.filter(|c| c.method == ForwardingMethod::Masq);
    let back = match nat.filter(|c| c.client == spec.source) {
        Some(connection) => {
            let kind = match spec.kind {
                PacketKind::Tcp(_) => PacketKind::Tcp(0x10),
                PacketKind::Sctp(_) => PacketKind::Sctp(0),
                ref kind => kind.clone(),
            };
            let reply = PacketSpec {
                kind,
                source: connection.server,
                destination: connection.client,
                interface: None,
                ..spec.clone()
            };
            Some(client.call::<Explained>(ask(reply.to_string()))?)
        }
        None => None,
    };
    let all: Vec<Explained> = [explained].into_iter().chain(back).collect();
    if global.json {
        let values = serde_json::to_string(&all)
            .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        return output::text(&format!("{values}\n"));
    }
    let texts: Vec<String> = all.iter().map(show::explained).collect();
    output::text(&texts.join("\n"))
}

pub fn trace(global: &Global, args: &TraceArgs) -> Result<(), Failure> {
    let filter = (!args.words.is_empty()).then(|| args.words.join(" "));
    if let Some(Err(error)) = filter.as_deref().map(api::filter::parse) {
        return Err(Failure::failed(error.to_string()));
    }
    let mut client = query::connect(global)?;
    client.set_timeout(None)?;
    stop_in_time(&client, args.seconds)?;
    let command = Command::Trace(api::Trace {
        filter,
        count: args.count,
    });
    if global.json {
        let end = client.stream_json(command, |item| {
            output::line(&item.to_string()).map_err(ClientError::Item)
        })?;
        return Ok(output::line(&end.to_string())?);
    }
    let end: TraceEnd = client.stream_items(command, |traced: Traced| {
        let head = format!("{} rx {}", time(traced.timestamp_ns), traced.received.port);
        let text = format!("{head}\n{}", show::explained(&traced.explained));
        output::line(&text).map_err(ClientError::Item)
    })?;
    eprintln!(
        "{} packets traced, {} more matched but came faster than they are traced",
        units::count(end.traced),
        units::count(end.missed)
    );
    Ok(())
}
