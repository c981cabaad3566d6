//! What became of SYNs and of what followed them, by service, as one worker counted it.

use crate::{counters::Counter, views::Flooded};
use types::ServiceId;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell {
    sent: Counter,
    accepted: Counter,
    refused: Counter,
    hashed: Counter,
}

/// One worker's counts, by service slot. As of servers' traffic, they never go back.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Box<[Cell]>);

impl Tallies {
    /// All zero.
    pub fn new(services: u32) -> Self {
        Self((0..services).map(|_| Cell::default()).collect())
    }

    fn add(&self, service: ServiceId, which: impl FnOnce(&Cell) -> &Counter) {
        self.add_n(service, 1, which);
    }

    fn add_n(&self, service: ServiceId, n: u64, which: impl FnOnce(&Cell) -> &Counter) {
        if let Some(cell) = self.0.get(service.index()) {
            which(cell).add(n);
        }
    }

    /// So many SYNs were answered with a cookie.
    pub fn sent(&self, service: ServiceId, n: u64) {
        self.add_n(service, n, |cell| &cell.sent);
    }

    /// Of a packet that followed such a SYN a connection was made.
    pub fn accepted(&self, service: ServiceId) {
        self.add(service, |cell| &cell.accepted);
    }

    /// A packet acknowledged no cookie, or one too old.
    pub fn refused(&self, service: ServiceId) {
        self.add(service, |cell| &cell.refused);
    }

    /// A SYN went to the server a hash says.
    pub fn hashed(&self, service: ServiceId) {
        self.add(service, |cell| &cell.hashed);
    }

    /// What the slot holds.
    pub fn read(&self, service: ServiceId) -> Flooded {
        let Some(cell) = self.0.get(service.index()) else {
            return Flooded::default();
        };
        Flooded {
            on: false,
            cookies_sent: cell.sent.get(),
            accepted: cell.accepted.get(),
            refused: cell.refused.get(),
            hashed: cell.hashed.get(),
        }
    }
}
