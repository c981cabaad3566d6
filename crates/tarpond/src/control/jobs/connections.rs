//! Listing connections: in chunks, so that a table of millions holds nobody up.

use super::{super::Control, Progress};
use api::{Connection, ConnectionFilter, ConnectionsEnd, EngineData, Item, Reply};
use engine::ConnectionView;
use std::net::SocketAddr;
use types::Protocol;

/// Slots of the table looked at in one go.
const CHUNK: u32 = 4096;

/// A listing under way.
pub struct ConnectionsJob {
    filter: ConnectionFilter,
    cursor: Option<u64>,
    listed: u64,
}

impl ConnectionsJob {
    /// From the beginning of the table.
    pub const fn new(filter: ConnectionFilter) -> Self {
        Self {
            filter,
            cursor: Some(0),
            listed: 0,
        }
    }

    /// Lists the next chunk.
    pub fn advance(&mut self, control: &Control, send: &mut dyn FnMut(&Item)) -> Progress {
        let limit = self.filter.limit.unwrap_or(u64::MAX);
        let mut limited = self.listed >= limit;
        if let (Some(cursor), false) = (self.cursor, limited) {
            let now = control.clock.now();
            self.cursor = control.director.connections(now, cursor, CHUNK, |view| {
                if limited || !wanted(&self.filter, view) {
                    return;
                }
                if let Some(connection) = shown(view) {
                    send(&Item::Connection(connection));
                    self.listed += 1;
                    limited = self.listed >= limit;
                }
            });
            if self.cursor.is_some() && !limited {
                return Progress::GoesOn;
            }
        }
        Progress::Done(Reply::Connections(ConnectionsEnd {
            listed: self.listed,
            limited,
        }))
    }
}

fn wanted(filter: &ConnectionFilter, view: &ConnectionView) -> bool {
    let service = |wanted: SocketAddr| {
        wanted.ip() == view.destination.ip()
            && (wanted.port() == 0 || wanted.port() == view.destination.port())
    };
    (filter.templates || !view.template)
        && filter.protocol.is_none_or(|p| p.number() == view.protocol)
        && filter.service.is_none_or(service)
        && filter
            .client
            .is_none_or(|net| net.contains(view.client.ip()))
        && filter
            .server
            .is_none_or(|net| net.contains(view.server.ip()))
        && filter
            .state
            .as_deref()
            .is_none_or(|state| state.eq_ignore_ascii_case(view.state))
}

/// A connection in the protocol's words.
pub fn shown(view: &ConnectionView) -> Option<Connection> {
    let protocol = Protocol::ALL
        .iter()
        .copied()
        .find(|p| p.number() == view.protocol)?;
    Some(Connection {
        protocol,
        client: view.client,
        vip: view.destination,
        server: view.server,
        method: view.method,
        state: view.state.to_owned(),
        expires_ms: view.expires_ms,
        template: view.template,
        persistence: view.engine.as_ref().map(|(engine, data)| EngineData {
            engine: *engine,
            // Latin-1: a character for each byte.
            data: data.iter().copied().map(char::from).collect(),
        }),
    })
}
