//! What went through each server, as one worker counted it: single writer, folded by readers.

use crate::{counters::Counter, views::Traffic};
use types::ServerId;

/// One server's counters of one worker: one line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell {
    connections: Counter,
    packets_in: Counter,
    packets_out: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
}

impl Cell {
    fn traffic(&self) -> Traffic {
        Traffic {
            connections: self.connections.get(),
            packets_in: self.packets_in.get(),
            packets_out: self.packets_out.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }
}

/// One worker's counters, by server slot. A slot's counters never go back: who reuses a slot starts from what it holds.
#[derive(Debug)]
pub(crate) struct TrafficCells {
    servers: Box<[Cell]>,
    /// Connections in all.
    begun: Counter,
}

impl TrafficCells {
    /// All zero.
    pub fn new(servers: u32) -> Self {
        Self {
            servers: (0..servers).map(|_| Cell::default()).collect(),
            begun: Counter::default(),
        }
    }

    /// A new connection.
    pub fn connection(&self, server: ServerId) {
        if let Some(cell) = self.servers.get(server.index()) {
            cell.connections.add(1);
        }
        self.begun.add(1);
    }

    /// Connections there have been, of all servers.
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// A packet of `bytes` (IP length) from a client.
    #[inline]
    pub fn incoming(&self, server: ServerId, bytes: u64) {
        if let Some(cell) = self.servers.get(server.index()) {
            cell.packets_in.add(1);
            cell.bytes_in.add(bytes);
        }
    }

    /// A packet of `bytes` (IP length) to a client.
    #[inline]
    pub fn outgoing(&self, server: ServerId, bytes: u64) {
        if let Some(cell) = self.servers.get(server.index()) {
            cell.packets_out.add(1);
            cell.bytes_out.add(bytes);
        }
    }

    /// What all slots hold.
    pub fn sum(&self) -> Traffic {
        let mut sum = Traffic::default();
        for cell in &self.servers {
            sum += cell.traffic();
        }
        sum
    }

    /// What the slot holds.
    pub fn read(&self, server: ServerId) -> Traffic {
        self.servers
            .get(server.index())
            .map_or_else(Traffic::default, Cell::traffic)
    }
}
