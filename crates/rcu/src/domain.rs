//! Epochs and the readers that pass them.

use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, fence};
use std::{cell::Cell, fmt, marker::PhantomData};

/// A point in the writers' order. Passed once every online reader has been quiescent since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The raw count: 1 at the start, grows by one with every [`Domain::advance`].
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The most recent epoch not after `self` whose low bits under `mask` are `low`: how an epoch is kept in a few bits.
    /// It is never earlier than the one `low` was taken from, so waiting for it is always safe.
    #[must_use]
    pub const fn latest_with_low_bits(self, low: u64, mask: u64) -> Self {
        Self(self.0.wrapping_sub(self.0.wrapping_sub(low) & mask))
    }
}

/// What one reader has last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderStatus {
    /// [`Reader::index`].
    pub index: usize,
    /// `None` while offline (it holds nothing and delays nobody), else the epoch of its last quiescent state.
    pub seen: Option<Epoch>,
}

/// Readers and epochs of one process. Shared by the workers, the control thread and the takeover thread.
pub struct Domain {
    /// Read by every worker once a burst, written only when a grace period starts.
    epoch: Line<AtomicU64>,
    readers: Box<[Line<ReaderState>]>,
}

/// One reader's line: written by its worker only, read by writers.
struct ReaderState {
    /// [`OFFLINE`], or the epoch of the last quiescent state.
    seen: AtomicU64,
    taken: AtomicBool,
}

/// Larger than any epoch, so that "has seen at least e" is one comparison.
const OFFLINE: u64 = u64::MAX;

/// A cache line of its own (two, for the adjacent-line prefetcher).
#[repr(align(128))]
struct Line<T>(T);

impl Domain {
    /// A domain for at most `max_readers` readers at a time.
    #[must_use]
    pub fn new(max_readers: usize) -> Arc<Self> {
        let reader = |_| {
            Line(ReaderState {
                seen: AtomicU64::new(OFFLINE),
                taken: AtomicBool::new(false),
            })
        };
        Arc::new(Self {
            epoch: Line(AtomicU64::new(1)),
            readers: (0..max_readers).map(reader).collect(),
        })
    }

    /// Registers a reader, offline at first. `None` when `max_readers` are registered. Its place is free again on drop.
    #[must_use]
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let free = |line: &Line<ReaderState>| {
            line.0
                .taken
                .compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        };
        let index = self.readers.iter().position(free)?;
        Some(Reader {
            domain: Arc::clone(self),
            index,
            seen: OFFLINE,
            not_sync: PhantomData,
        })
    }

    /// Starts a new grace period: the epoch returned is passed once nobody can hold what was unlinked before this call.
    pub fn advance(&self) -> Epoch {
        // AcqRel: what this thread unlinked before is seen by whoever sees the new epoch.
        Epoch(self.epoch.0.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The epoch now.
    #[must_use]
    pub fn current(&self) -> Epoch {
        Epoch(self.epoch.0.load(Ordering::Acquire))
    }

    /// The epoch to wait for before reusing what this thread has unlinked, without starting it. It never passes unless
    /// somebody calls [`Domain::advance`] later: the way to let many unlinkings share one grace period.
    #[must_use]
    pub fn next(&self) -> Epoch {
        // Pairs with the fence in `Reader::saw`: a reader that saw an epoch later than the one loaded here fences after
        // this fence, and therefore sees the unlinking.
        fence(Ordering::SeqCst);
        Epoch(self.epoch.0.load(Ordering::Relaxed) + 1)
    }

    /// Whether every online reader has been quiescent since `epoch` began. Once true, true for ever.
    #[must_use]
    pub fn passed(&self, epoch: Epoch) -> bool {
        if self.current() < epoch {
            return false;
        }
        // Pairs with the fence in `Reader::saw`: a reader found offline here that comes online later sees all that
        // this thread knew to be unlinked.
        fence(Ordering::SeqCst);
        // Acquire: the reader's last use comes before the reuse.
        self.readers
            .iter()
            .all(|line| line.0.seen.load(Ordering::Acquire) >= epoch.0)
    }

    /// Every registered reader and where it stands.
    pub fn readers(&self) -> impl Iterator<Item = ReaderStatus> + '_ {
        self.readers
            .iter()
            .enumerate()
            .filter(|(_, line)| line.0.taken.load(Ordering::Acquire))
            .map(|(index, line)| {
                let seen = line.0.seen.load(Ordering::Acquire);
                ReaderStatus {
                    index,
                    seen: (seen != OFFLINE).then_some(Epoch(seen)),
                }
            })
    }

    /// The online readers that have not been quiescent since `epoch` began. To watch over workers: advance, give them
    /// time, and whoever is still listed hangs.
    pub fn stalled(&self, epoch: Epoch) -> impl Iterator<Item = ReaderStatus> + '_ {
        self.readers()
            .filter(move |reader| reader.seen.is_some_and(|seen| seen < epoch))
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain")
            .field("epoch", &self.current())
            .field("readers", &self.readers.len())
            .finish()
    }
}

/// A worker's registration. Moves between threads, is never shared.
///
/// References from [`crate::Published::read`] borrow it, and going quiescent needs `&mut`: the borrow checker proves
/// that nothing read survives a quiescent state.
pub struct Reader {
    domain: Arc<Domain>,
    index: usize,
    /// Copy of what the shared line says.
    seen: u64,
    not_sync: PhantomData<Cell<()>>,
}

impl Reader {
    /// The worker holds no reference (once a burst). Cheap: one load of a line that seldom changes. No effect while
    /// offline.
    #[inline]
    pub fn quiesce(&mut self) {
        let epoch = self.domain.epoch.0.load(Ordering::Acquire);
        if self.seen != epoch && self.seen != OFFLINE {
            self.saw(epoch);
        }
    }

    /// The worker holds nothing and will read nothing until [`Reader::online`]: it may sleep without delaying anybody.
    pub fn offline(&mut self) {
        self.seen = OFFLINE;
        // Release: the last use comes before whoever sees this reuses.
        self.line().store(OFFLINE, Ordering::Release);
    }

    /// Reads may follow. No effect while online.
    pub fn online(&mut self) {
        if self.seen == OFFLINE {
            self.saw(self.domain.epoch.0.load(Ordering::Acquire));
        }
    }

    /// Whether reads are allowed.
    #[inline]
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.seen != OFFLINE
    }

    /// The reader's number in [`Domain::readers`].
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The domain it is registered with.
    #[must_use]
    pub const fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }

    fn saw(&mut self, epoch: u64) {
        self.seen = epoch;
        // Release: uses so far come before the reuse by whoever sees this.
        self.line().store(epoch, Ordering::Release);
        // What is read from here on is read after the store above: a writer that still saw the old value (or
        // "offline") had unlinked before, and its unlinking is visible.
        fence(Ordering::SeqCst);
    }

    fn line(&self) -> &AtomicU64 {
        &self.domain.readers[self.index].0.seen
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.offline();
        self.domain.readers[self.index]
            .0
            .taken
            .store(false, Ordering::Release);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("index", &self.index)
            .field("online", &self.is_online())
            .finish()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_passes_when_every_online_reader_was_quiescent() {
        let domain = Domain::new(3);
        let (mut a, mut b, c) = (
            domain.reader().unwrap(),
            domain.reader().unwrap(),
            domain.reader().unwrap(),
        );
        assert!(domain.reader().is_none(), "three at most");
        a.online();
        b.online();
        let epoch = domain.advance();
        assert_eq!(domain.current(), epoch);
        assert!(!domain.passed(epoch));
        a.quiesce();
        assert!(!domain.passed(epoch));
        assert_eq!(
            domain.stalled(epoch).map(|r| r.index).collect::<Vec<_>>(),
            [b.index()]
        );
        b.offline();
        assert!(domain.passed(epoch), "offline readers hold nothing");
        b.online();
        assert!(domain.passed(epoch), "once passed, passed for ever");
        drop(c);
        assert!(domain.reader().is_some(), "a place is free again");
        assert_eq!(domain.readers().count(), 2);
    }

    #[test]
    fn next_is_not_passed_before_somebody_advances() {
        let domain = Domain::new(1);
        let mut reader = domain.reader().unwrap();
        reader.online();
        let epoch = domain.next();
        reader.quiesce();
        assert!(!domain.passed(epoch));
        assert_eq!(domain.advance(), epoch);
        assert!(!domain.passed(epoch));
        reader.quiesce();
        assert!(domain.passed(epoch));
    }

    #[test]
    fn low_bits_never_name_an_earlier_epoch() {
        for current in 4096..9000 {
            for back in [0, 1, 5, 4095, 4096] {
                let stored = current - back;
                let found = Epoch(current).latest_with_low_bits(stored & 0xfff, 0xfff);
                assert!(found.0 >= stored && found.0 <= current);
                assert_eq!(found.0 & 0xfff, stored & 0xfff);
            }
        }
    }
}
