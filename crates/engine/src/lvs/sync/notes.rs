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

/// One worker's ring. What one side writes stands apart from what the other does, and how far the other side is each looks up only when what it
/// knows of that is used up: else every note would fetch a line from the other core.
#[derive(Debug)]
pub(crate) struct Notes {
    words: Box<[AtomicU64]>,
    /// Notes written, for the reader.
    written: Line<AtomicU64>,
    /// Notes read, for the worker.
    read: Line<AtomicU64>,
    worker: Line<Worker>,
    /// Notes the reader knows to be written.
    known: Line<AtomicU64>,
}

/// What is the worker's alone.
#[derive(Debug, Default)]
struct Worker {
    /// Notes it knows to be read.
    known: AtomicU64,
    /// Notes there was no room for.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

impl Default for Notes {
    fn default() -> Self {
        Self {
            words: (0..ROOM).map(|_| AtomicU64::new(0)).collect(),
            written: Line::default(),
            read: Line::default(),
            worker: Line::default(),
            known: Line::default(),
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
        if written.wrapping_sub(self.worker.0.known.load(Relaxed)) >= ROOM {
            // Acquire: the reader is done with the word that is written over.
            let read = self.read.0.load(Acquire);
            self.worker.0.known.store(read, Relaxed);
            if written.wrapping_sub(read) >= ROOM {
                let lost = &self.worker.0.lost;
                lost.store(lost.load(Relaxed) + 1, Relaxed);
                return;
            }
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
        if read == self.known.0.load(Relaxed) {
            let written = self.written.0.load(Acquire);
            self.known.0.store(written, Relaxed);
            if read == written {
                return None;
            }
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
        self.worker.0.lost.load(Relaxed)
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

    #[test]
    fn two_threads_at_once_lose_nothing_uncounted_and_keep_the_order() {
        const ALL: u32 = 400_000;
        let all = u64::from(ALL);
        let notes = Notes::default();
        let (mut last, mut read) = (None, 0_u64);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..ALL {
                    notes.push(
                        Slot::numbered(n),
                        Generation::default(),
                        true,
                        Cause::Packet,
                    );
                }
            });
            while last != Some(ALL - 1) && read + notes.lost() < all {
                let Some(note) = notes.pop() else { continue };
                assert!(last.is_none_or(|last| last < note.slot.index()));
                last = Some(note.slot.index());
                read += 1;
            }
        });
        assert_eq!(read + notes.lost(), all);
    }
}
