//! `tarpon events`

use crate::{
    args::{EventsArgs, Global},
    edit,
    failure::Failure,
    moment,
    query::connect,
    units,
};
use api::{ClientError, Command, Event, EventFilter, EventsEnd};
use serde_json::Value;
use std::io::{self, Write};

pub fn events(global: &Global, args: &EventsArgs) -> Result<(), Failure> {
    let mut client = connect(global)?;
    let service = match &args.service {
        Some(service) => Some(edit::service_ref(&mut client, service, args.protocol)?),
        None => None,
    };
    let since = args
        .since
        .as_deref()
        .map(|text| moment::parse("--since", text, moment::now()))
        .transpose()
        .map_err(Failure::failed)?;
    let command = Command::Events(EventFilter {
        after: args.after,
        since_ms: since,
        service,
        follow: args.follow,
    });
    if args.follow {
        // Nothing may happen for days.
        client.set_timeout(None)?;
    }
    let mut out = io::stdout().lock();
    if global.json {
        client.stream_json(command, |item: Value| {
            writeln!(out, "{item}").map_err(ClientError::Item)
        })?;
        return Ok(());
    }
    let end: EventsEnd = client.stream_items(command, |event: Event| {
        writeln!(out, "{}", line(&event)).map_err(ClientError::Item)
    })?;
    if end.forgotten > 0 {
        writeln!(
            out,
            "{} older events are forgotten",
            units::count(end.forgotten)
        )?;
    }
    Ok(())
}

/// `2026-11-21 11:22:33.456  service tcp 192.0.2.10:80  server 10.1.0.11:80  down (http check: status 503)`
fn line(event: &Event) -> String {
    let mut line = units::timestamp(event.time_ms);
    if let Some(service) = event.service {
        line += &format!("  {service}");
    }
    if let Some(server) = event.server {
        line += &format!("  {server}");
    }
    if let Some(router) = &event.vrrp {
        line += &format!("  vrrp {}", router.name);
    }
    line + &format!("  {} ({})", event.what, event.cause)
}
