//! Connections gathered into messages.

use crate::{Connection, HEADER, Note, message};

/// Milliseconds the first connection of a message waits for others (`IPVS_SYNC_FLUSH_TIME`).
pub const FLUSH_MS: u64 = 2_000;

/// A message that is filled.
#[derive(Debug)]
pub struct Batch {
    sync_id: u8,
    /// Bytes of a message at most.
    room: usize,
    bytes: Vec<u8>,
    connections: u8,
    since_ms: u64,
}

impl Batch {
    /// An empty one, for messages of at most `room` bytes. One IPv6 connection and a number always have room.
    #[must_use]
    pub fn new(sync_id: u8, room: usize) -> Self {
        Self {
            sync_id,
            room: room.max(HEADER + 72 + Note::NUMBERED_LEN),
            bytes: message::header(sync_id),
            connections: 0,
            since_ms: 0,
        }
    }

    /// Whether another has no room beside those in it, and a number.
    #[must_use]
    pub fn is_full_for(&self, connection: &Connection) -> bool {
        let len = self.bytes.len().next_multiple_of(4) + connection.len() + Note::NUMBERED_LEN;
        self.connections > 0 && (len > self.room || self.connections == u8::MAX)
    }

    /// Adds a connection. Ask [`Batch::is_full_for`] first.
    pub fn push(&mut self, now_ms: u64, connection: &Connection) {
        if self.connections == 0 {
            self.since_ms = now_ms;
        }
        message::append(connection, &mut self.bytes);
        self.connections = self.connections.saturating_add(1);
    }

    /// How long its first connection has waited; `None` while it is empty.
    #[must_use]
    pub fn waits_ms(&self, now_ms: u64) -> Option<u64> {
        (self.connections > 0).then(|| now_ms.saturating_sub(self.since_ms))
    }

    /// Connections in it.
    #[must_use]
    pub const fn connections(&self) -> u8 {
        self.connections
    }

    /// The message; the next one begins. `None` while it is empty.
    pub fn take(&mut self, note: Option<Note>) -> Option<Vec<u8>> {
        if self.connections == 0 {
            return None;
        }
        let mut bytes = std::mem::replace(&mut self.bytes, message::header(self.sync_id));
        if let Some(note) = note {
            note.write(&mut bytes);
        }
        message::finish(&mut bytes, std::mem::take(&mut self.connections).into());
        Some(bytes)
    }
}
