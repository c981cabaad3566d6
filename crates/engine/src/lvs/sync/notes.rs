//! What workers note of connections for the thread that tells the twin: a ring for each worker, one writer, one reader, nothing waited for.

use connsync::Cause;
use flowtable::{Generation, Slot};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Notes a ring has room for. Beyond that they are lost, and counted: the connection's next note, or all being told, makes up for it.
const ROOM: u64 = 1 << 14;

/// A connection that may have to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub slot: Slot,
    pub generation: u32,
    pub six: bool,
    pub cause: Cause,
}

impl Note {
    /// Whether both are of one slot.
    pub fn is_of_same(&self, other: &Self) -> bool {
        (self.six, self.slot) == (other.six, other.slot)
    }
}

/// One worker's ring.
#[derive(Debug)]
pub(crate) struct Notes {
    words: Box<[AtomicU64]>,
    /// The worker's: notes written, and those there was no room for.
    written: Line,
    lost: AtomicU64,
    /// The reader's.
    read: Line,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Default for Notes {
    fn default() -> Self {
        Self {
            words: (0..ROOM).map(|_| AtomicU64::new(0)).collect(),
            written: Line::default(),
            lost: AtomicU64::new(0),
            read: Line::default(),
        }
    }
}

/// Generation 28 bits, slot 32, IPv6 1, cause 1.
const GENERATION: u32 = 34;
const SLOT: u32 = 2;
const SIX: u64 = 2;
const STATE: u64 = 1;

impl Notes {
    /// The worker: notes a connection.
    pub fn push(&self, slot: Slot, generation: Generation, six: bool, cause: Cause) {
        let written = self.written.0.load(Relaxed);
        // Acquire: the reader is done with the word that is written over.
        if written.wrapping_sub(self.read.0.load(Acquire)) >= ROOM {
            self.lost.store(self.lost.load(Relaxed) + 1, Relaxed);
            return;
        }
        let word = u64::from(generation.number()) << GENERATION
            | u64::from(slot.index()) << SLOT
            | if six { SIX } else { 0 }
            | if cause == Cause::State { STATE } else { 0 };
        if let Some(place) = self.place(written) {
            place.store(word, Relaxed);
        }
        // Release: who sees the count sees the word.
        self.written.0.store(written.wrapping_add(1), Release);
    }

    /// The reader: the next note.
    #[expect(clippy::cast_possible_truncation, reason = "fields of one word")]
    pub(super) fn pop(&self) -> Option<Note> {
        let read = self.read.0.load(Relaxed);
        if read == self.written.0.load(Acquire) {
            return None;
        }
        let word = self.place(read)?.load(Relaxed);
        self.read.0.store(read.wrapping_add(1), Release);
        Some(Note {
            slot: Slot::numbered((word >> SLOT) as u32),
            generation: (word >> GENERATION) as u32,
            six: word & SIX != 0,
            cause: if word & STATE != 0 {
                Cause::State
            } else {
                Cause::Packet
            },
        })
    }

    /// Notes there was no room for.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    fn place(&self, at: u64) -> Option<&AtomicU64> {
        self.words.get(usize::try_from(at % ROOM).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_loses_the_new_and_goes_on() {
        let notes = Notes::default();
        let generation = Generation::default();
        for round in 0..3 {
            for n in 0..ROOM + 5 {
                let slot = Slot::numbered(u32::MAX - u32::try_from(n).unwrap());
                notes.push(slot, generation, n % 2 == 0, Cause::State);
            }
            assert_eq!(notes.lost(), 5 * (round + 1));
            for n in 0..ROOM {
                let note = notes.pop().unwrap();
                assert_eq!(note.slot.index(), u32::MAX - u32::try_from(n).unwrap());
                assert_eq!((note.six, note.cause), (n % 2 == 0, Cause::State));
            }
            assert_eq!(notes.pop(), None);
        }
    }
}
