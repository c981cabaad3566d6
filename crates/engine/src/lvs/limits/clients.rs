//! The rates of single clients: a table of fixed size, shared by all workers, of clients that have been seen within a second.
//!
//! A client's place is one of the eight words of a line, by a digest nobody can aim with. A word whose time has come is free
//! for anybody. Where a line is full of others the client is let in: the limit of the service is for that many clients.

use super::pace::{TRIES, next};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use types::Tick;

/// Lines: 65,536 clients within a second, 512 KiB.
const LINES: usize = 1 << 13;
const WAYS: usize = 8;

/// Microseconds in a second, and in a [`Tick`].
const SECOND_US: u64 = 1_000_000;
const TICK_US: u64 = SECOND_US / 1000;

/// Of a word the lower bits are when its client's next connection would come, in microseconds (8.9 years); the upper ones are
/// the client's tag. Of clients in one line one in 65,536 pairs has the same, and shares the rate.
const DUE: u32 = 48;
const DUE_MASK: u64 = (1 << DUE) - 1;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; WAYS]);

/// The table.
#[derive(Debug)]
pub(crate) struct Clients(Box<[Line]>);

impl Default for Clients {
    fn default() -> Self {
        Self((0..LINES).map(|_| Line::default()).collect())
    }
}

impl Clients {
    /// Takes one connection of the client with this digest at `rate` a second, 1 to 10,000; whether it was in time.
    pub fn take(&self, digest: u64, now: Tick, rate: u32) -> bool {
        let now = now.0.saturating_mul(TICK_US) & DUE_MASK;
        let lines = self.0.len();
        let at = usize::try_from(digest & 0xffff_ffff).unwrap_or(0);
        let Some(line) = at.checked_rem(lines).and_then(|at| self.0.get(at)) else {
            return true;
        };
        let tag = digest >> DUE;
        for _ in 0..TRIES {
            let Some((cell, word)) = place(line, tag, now) else {
                return true;
            };
            let due = if word >> DUE == tag {
                word & DUE_MASK
            } else {
                0
            };
            let Some(next) = next(due, now, rate, SECOND_US) else {
                return false;
            };
            let new = tag << DUE | next & DUE_MASK;
            let changed = cell.compare_exchange_weak(word, new, Relaxed, Relaxed);
            if changed.is_ok() {
                return true;
            }
        }
        true
    }

    /// How they stand now.
    pub fn copy(&self) -> Self {
        let copy = |line: &Line| Line(line.0.each_ref().map(|w| AtomicU64::new(w.load(Relaxed))));
        Self(self.0.iter().map(copy).collect())
    }
}

/// The client's word, or the first that is free.
fn place(line: &Line, tag: u64, now: u64) -> Option<(&AtomicU64, u64)> {
    let mut free = None;
    for cell in &line.0 {
        let word = cell.load(Relaxed);
        if word & DUE_MASK <= now {
            free = free.or(Some((cell, word)));
        } else if word >> DUE == tag {
            return Some((cell, word));
        }
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(clients: &Clients, digest: u64, now: u64, rate: u32) -> usize {
        (0..10_000)
            .take_while(|_| clients.take(digest, Tick(now), rate))
            .count()
    }

    #[test]
    fn each_client_has_a_rate_of_its_own() {
        let clients = Clients::default();
        // In one line.
        for client in 1..=8 {
            assert_eq!(taken(&clients, client << DUE, 10_000, 5), 5, "{client}");
        }
        assert_eq!(taken(&clients, 3 << DUE, 10_000, 5), 0);
        assert_eq!(taken(&clients, 3 << DUE, 10_399, 5), 1);
        assert_eq!(taken(&clients, 3 << DUE, 12_000, 5), 5);
        // In another, the same tag.
        assert_eq!(taken(&clients, 3 << DUE | 1, 12_000, 5), 5);
    }

    #[test]
    fn a_ninth_is_let_in_until_there_is_room() {
        let clients = Clients::default();
        for client in 1..=8 {
            assert_eq!(taken(&clients, client << DUE, 10_000, 2), 2);
        }
        assert_eq!(taken(&clients, 9 << DUE, 10_000, 2), 10_000);
        assert_eq!(taken(&clients, 9 << DUE, 11_001, 2), 2);
    }
}
