//! The master's side: connections into messages, at its pace.

use crate::{Batch, Connection, FLUSH_MS, Note};

/// When messages that are not full are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Milliseconds between two looks whether one is due.
    pub look_ms: u64,
    /// Milliseconds its first connection has waited then.
    pub wait_ms: u64,
}

impl Pace {
    /// IPVS's: a look a second since the daemon's start, for what is two seconds old.
    pub const IPVS: Self = Self {
        look_ms: 1000,
        wait_ms: FLUSH_MS,
    };
}

/// Who tells others of connections.
#[derive(Debug)]
pub struct Teller {
    batch: Batch,
    pace: Pace,
    next_look_ms: u64,
    /// A number drawn at the start.
    sender: u64,
    /// Messages so far.
    messages: u64,
    /// Connections so far.
    connections: u64,
    /// Messages carry their number: another Tarpon listens.
    pub numbered: bool,
}

impl Teller {
    /// Begins at `now_ms`; messages have at most `room` bytes.
    #[must_use]
    pub fn new(sender: u64, sync_id: u8, room: usize, pace: Pace, now_ms: u64) -> Self {
        Self {
            batch: Batch::new(sync_id, room),
            pace,
            next_look_ms: now_ms + pace.look_ms,
            sender,
            messages: 0,
            connections: 0,
            numbered: false,
        }
    }

    /// Tells a connection; gives back the message that was full before it.
    pub fn tell(&mut self, now_ms: u64, connection: &Connection) -> Option<Vec<u8>> {
        let full = self.batch.is_full_for(connection);
        let message = if full { self.message() } else { None };
        self.batch.push(now_ms, connection);
        self.connections += 1;
        message
    }

    /// The message that is due, if one is.
    pub fn poll(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if now_ms < self.next_look_ms {
            return None;
        }
        while self.next_look_ms <= now_ms {
            self.next_look_ms += self.pace.look_ms.max(1);
        }
        let waits = self.batch.waits_ms(now_ms)?;
        if waits >= self.pace.wait_ms {
            self.message()
        } else {
            None
        }
    }

    /// The message begun, however young.
    pub fn message(&mut self) -> Option<Vec<u8>> {
        let number = self.messages + 1;
        let sender = self.sender;
        let note = self.numbered.then_some(Note::Numbered { sender, number });
        let message = self.batch.take(note)?;
        self.messages = number;
        Some(message)
    }

    /// Messages with connections, and connections in them, so far.
    #[must_use]
    pub const fn told(&self) -> (u64, u64) {
        (self.messages, self.connections)
    }
}
