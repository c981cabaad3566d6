//! A worker past its capacity: what it lets go, in order. First a share of what would begin anew, by flows, then a share of what
//! stands; what keeps the director and its links going never.
//!
//! Who owns ports and clock judges a few times a second how each worker fares ([`Overload::judge`]); the worker looks at one
//! word a burst. The shares die with whoever judges: they are good for [`GOOD_FOR_MS`].

mod governor;
mod relief;

pub(crate) use relief::{refuses, relieve};

use governor::Governor;
use std::sync::{
    Arc,
    atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use types::Tick;

/// All there are: shares count in parts of so many.
const ALL: u32 = 1024;
/// How long a share is good for that nobody sets again.
const GOOD_FOR_MS: u64 = 2000;

/// What may be let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Droppable {
    /// Nothing.
    #[default]
    Nothing,
    /// What would begin anew.
    New,
    /// That first, then what stands.
    Established,
}

/// How a worker fared since it was last judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// It had hardly a moment without packets, and its ports lost what it did not take in time.
    pub past_capacity: bool,
    /// Most of what it took it let go at once, as new: what stands is not what keeps it busy.
    pub mostly_new: bool,
}

/// What of a worker's packets is let go now, in 1024ths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Of those that would begin anew.
    pub new: u32,
    /// Of those that stand, and of what is only passed on.
    pub established: u32,
}

impl Shares {
    /// Whether everything goes its way.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.new == 0 && self.established == 0
    }

    /// Percent of the first and the second, 1 at least of what is not nothing.
    #[must_use]
    pub fn percent(self) -> (u8, u8) {
        let percent = |share: u32| u8::try_from((share * 100).div_ceil(ALL)).unwrap_or(100);
        (percent(self.new), percent(self.established))
    }

    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            new: self.new.max(other.new),
            established: self.established.max(other.established),
        }
    }
}

/// One worker's shares: set by who judges, read by the worker.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    /// New, and behind its 16 bits established.
    shares: AtomicU32,
    /// Until when they are good.
    until: AtomicU64,
}

impl Relief {
    /// One that is good for ever.
    pub fn fixed(shares: Shares) -> Self {
        let relief = Self::default();
        relief.set(shares, Tick(u64::MAX));
        relief
    }

    fn set(&self, shares: Shares, until: Tick) {
        self.until.store(until.0, Relaxed);
        // Who sees the shares sees until when.
        let word = (shares.new << 16) | (shares.established & 0xffff);
        self.shares.store(word, Release);
    }

    /// Whether everything goes its way, as nearly always.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.shares.load(Relaxed) == 0
    }

    #[cold]
    fn shares(&self, now: Tick) -> Shares {
        let word = self.shares.load(Acquire);
        if now.0 > self.until.load(Relaxed) {
            return Shares::default();
        }
        Shares {
            new: word >> 16,
            established: word & 0xffff,
        }
    }
}

/// How all workers stand. One per director, used by who judges.
#[derive(Debug, Default)]
pub struct Overload(Vec<(Governor, Arc<Relief>)>);

impl Overload {
    /// Of so many workers, none of them past its capacity.
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Default::default()).collect())
    }

    /// What the worker of that number reads.
    pub(crate) fn relief(&self, worker: usize) -> Option<Arc<Relief>> {
        self.0.get(worker).map(|(_, relief)| Arc::clone(relief))
    }

    /// Takes the next step of every worker's shares; to be called ten times a second or so, and at least every other second.
    /// `loads` in the order of the workers; one that is missing was not past its capacity.
    pub fn judge(&mut self, now: Tick, droppable: Droppable, loads: &[Load]) {
        for (at, (governor, relief)) in self.0.iter_mut().enumerate() {
            let load = loads.get(at).copied().unwrap_or_default();
            let shares = governor.step(droppable, load);
            relief.set(shares, now + GOOD_FOR_MS);
        }
    }

    /// Every worker's shares.
    pub fn shares(&self) -> impl Iterator<Item = Shares> {
        self.0.iter().map(|(governor, _)| governor.shares())
    }

    /// The greatest of all workers'.
    #[must_use]
    pub fn worst(&self) -> Shares {
        self.shares().fold(Shares::default(), Shares::max)
    }
}
