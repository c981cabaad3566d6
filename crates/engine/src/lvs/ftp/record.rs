//! What is kept of FTP control connections beyond their entries: a slab of records, made at start.
//!
//! A record is held by its control connection and by every data connection (expected ones too) that came of it, and is
//! free again when the last of them has ended. Its contents are looked at by one worker at a time; only packets of control
//! connections ever wait for that.

use std::{
    hint,
    sync::{
        Mutex, MutexGuard, TryLockError,
        atomic::{
            AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
};
use wire::ftp::{Commands, Moved, Stream};

/// A record's number: an entry's note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordId(pub u32);

/// What the server has been asked to announce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Awaited {
    #[default]
    Nothing,
    /// The reply to `PASV`.
    Passive,
    /// The reply to `EPSV`.
    Extended,
}

/// What was said on a control connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    pub commands: Commands,
    /// The client's byte to come.
    pub next: Option<u32>,
    pub awaited: Awaited,
    pub stream: Stream,
}

#[derive(Debug, Default)]
struct Record {
    /// Connections that hold it; 0 is free.
    holders: AtomicU32,
    conversation: Mutex<Conversation>,
}

/// The slab.
#[derive(Debug, Default)]
pub(crate) struct Records {
    all: Box<[Record]>,
    /// Where the search for a free one begins.
    hand: AtomicU32,
    used: AtomicU32,
}

/// Records looked at for a free one. If so many in a row are in use, nearly all are.
const SEARCHED: usize = 512;
/// Looks at a record another worker has. It has it for no longer than it reads a segment.
const LOOKS: usize = 10_000;

impl Records {
    /// A slab of so many.
    pub fn new(records: usize) -> Self {
        Self {
            all: (0..records).map(|_| Record::default()).collect(),
            ..Self::default()
        }
    }

    /// What is kept now, by itself. What a worker is reading in this moment is not copied.
    pub fn copy(&self) -> Self {
        let copy = |record: &Record| {
            let holders = record.holders.load(Acquire);
            let said = (holders != 0).then(|| record.conversation.try_lock().ok());
            Record {
                holders: AtomicU32::new(holders),
                conversation: Mutex::new(said.flatten().map(|c| c.clone()).unwrap_or_default()),
            }
        };
        Self {
            all: self.all.iter().map(copy).collect(),
            hand: AtomicU32::new(self.hand.load(Relaxed)),
            used: AtomicU32::new(self.used.load(Acquire)),
        }
    }

    /// Whether any is in use: else no data connection is expected.
    pub fn any(&self) -> bool {
        self.used.load(Acquire) != 0
    }

    /// A free one, now held once; `None`: there is none.
    pub fn take(&self) -> Option<Held<'_>> {
        let records = u32::try_from(self.all.len()).ok()?;
        let start = self.hand.fetch_add(1, Relaxed).checked_rem(records)?;
        for id in (start..records).chain(0..start).take(SEARCHED) {
            let record = self.get(RecordId(id))?;
            let free = record.holders.load(Relaxed) == 0
                && record
                    .holders
                    .compare_exchange(0, 1, AcqRel, Relaxed)
                    .is_ok();
            if !free {
                continue;
            }
            self.used.fetch_add(1, AcqRel);
            let held = Held {
                records: self,
                id: RecordId(id),
            };
            let begun = self.with(held.id, |conversation| {
                *conversation = Conversation::default();
            });
            // Else a worker still has it that met the last connection's end.
            if begun.is_some() {
                return Some(held);
            }
        }
        None
    }

    /// One more connection holds it.
    pub fn hold(&self, id: RecordId) -> Held<'_> {
        if let Some(record) = self.get(id) {
            record.holders.fetch_add(1, AcqRel);
        }
        Held { records: self, id }
    }

    /// A connection that held it has ended.
    pub fn release(&self, id: RecordId) {
        if let Some(record) = self.get(id) {
            let before = record.holders.fetch_sub(1, AcqRel);
            debug_assert!(before > 0, "a record was released more often than held");
            if before == 1 {
                self.used.fetch_sub(1, AcqRel);
            }
        }
    }

    /// Whether its control connection has data connections.
    pub fn controls(&self, id: RecordId) -> bool {
        self.get(id)
            .is_some_and(|record| record.holders.load(Acquire) > 1)
    }

    /// Looks at what was said; `None`: another worker does, without end.
    pub(super) fn with<R>(
        &self,
        id: RecordId,
        look: impl FnOnce(&mut Conversation) -> R,
    ) -> Option<R> {
        let record = self.get(id)?;
        let mut conversation = lock(&record.conversation)?;
        Some(look(&mut conversation))
    }

    /// How far the server's stream has been moved, if at all.
    pub fn movement(&self, id: RecordId) -> Option<Moved> {
        self.with(id, |conversation| conversation.stream.movement())
            .flatten()
    }

    /// Another director says how far it has moved the server's stream.
    pub fn told(&self, id: RecordId, moved: Moved) {
        // Where a worker has it at this moment, packets come here already, and what they made of it is newer.
        self.with(id, |conversation| {
            if conversation.stream.movement() != Some(moved) {
                conversation.stream = Stream::moved(moved);
            }
        });
    }

    fn get(&self, id: RecordId) -> Option<&Record> {
        self.all.get(id.0 as usize)
    }
}

fn lock(conversation: &Mutex<Conversation>) -> Option<MutexGuard<'_, Conversation>> {
    for _ in 0..LOOKS {
        match conversation.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(guard)) => return Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => hint::spin_loop(),
        }
    }
    None
}

/// A hold on a record, given back unless a connection keeps it.
#[derive(Debug)]
pub(crate) struct Held<'r> {
    records: &'r Records,
    id: RecordId,
}

impl Held<'_> {
    /// A connection has it from now on.
    pub fn keep(self) -> RecordId {
        let id = self.id;
        std::mem::forget(self);
        id
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.records.release(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_free_again_when_nobody_holds_them() {
        let records = Records::new(3);
        let held: Vec<_> = (0..3).map(|_| records.take().unwrap()).collect();
        assert!(records.take().is_none());
        drop(held);
        assert!(!records.any());
        let control = records.take().unwrap().keep();
        assert!(!records.controls(control));
        let data = records.hold(control).keep();
        assert!(records.controls(control));
        records.release(control);
        assert!(records.any());
        records.release(data);
        assert!(!records.any());
        assert!(Records::new(0).take().is_none());
    }

    #[test]
    fn a_record_begins_empty() {
        let records = Records::new(1);
        let id = records.take().unwrap().keep();
        records.with(id, |c| c.awaited = Awaited::Passive);
        records.release(id);
        let id = records.take().unwrap().keep();
        assert_eq!(records.with(id, |c| c.awaited), Some(Awaited::Nothing));
    }
}
