//! Questions whose answer is shown as it comes.

use crate::{
    args::{ConnectionsArgs, Global},
    edit,
    failure::Failure,
    output, show,
    table::Table,
    units::count,
};
use api::{Client, ClientError, Command, Connection, ConnectionFilter, ConnectionsEnd, ServiceRef};
use serde_json::Value;
use std::{
    io::{self, BufWriter, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// How long the daemon may be silent: an apply of many services takes it a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rows of a long listing that are held back to align them.
const BLOCK: usize = 2000;

pub fn connect(global: &Global) -> Result<Client, Failure> {
    let mut client = Client::connect(&global.socket)?;
    client.set_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// Asks, and shows the answer: as it is with `--json`, else rendered.
pub fn show<T: serde::de::DeserializeOwned>(
    global: &Global,
    command: Command,
    render: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    show_with(global, &mut connect(global)?, command, render)
}

pub fn show_with<T: serde::de::DeserializeOwned>(
    global: &Global,
    client: &mut Client,
    command: Command,
    render: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    if global.json {
        let value = client.call_json(command)?;
        return output::text(&format!("{value}\n"));
    }
    output::text(&render(&client.call(command)?))
}

pub fn connections(global: &Global, args: &ConnectionsArgs) -> Result<(), Failure> {
    let mut client = connect(global)?;
    let mut filter = ConnectionFilter {
        protocol: args.protocol,
        service: None,
        client: args.client,
        server: args.server,
        state: args.state.as_ref().map(|s| s.to_uppercase()),
        limit: (args.limit > 0).then_some(args.limit),
        templates: args.templates,
    };
    if let Some(text) = &args.service {
        if let Ok(address) = text.parse::<SocketAddr>() {
            filter.service = Some(address);
        } else if let Ok(ip) = text.parse::<IpAddr>() {
            filter.service = Some(SocketAddr::new(ip, 0));
        } else {
            let service = edit::named(&mut client, text)?;
            let ServiceRef::Address { protocol, address } = service else {
                let why = "connections carry no mark: give the service's virtual address";
                return Err(Failure::failed(format!("{service}: {why}")));
            };
            filter.service = Some(address);
            filter.protocol = Some(protocol);
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let command = Command::Connections(filter);
    if global.json {
        client.stream_json(command, |item: Value| {
            writeln!(out, "{item}").map_err(ClientError::Item)
        })?;
        return Ok(out.flush()?);
    }
    // Connections come one by one and may be a million: the first block decides how wide the columns are.
    let mut table = Table::new(&show::CONNECTIONS);
    let end: ConnectionsEnd = client.stream_items(command, |c: Connection| {
        table.row(show::connection(&c));
        if table.len() < BLOCK {
            return Ok(());
        }
        table.write_block(&mut out).map_err(ClientError::Item)
    })?;
    table.write_block(&mut out)?;
    if end.limited {
        writeln!(
            out,
            "only the first {}; --limit 0 shows all",
            count(end.listed)
        )?;
    }
    Ok(out.flush()?)
}
