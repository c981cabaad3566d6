//! Live packets explained for `tarpon trace`.
//!
//! Off, it costs a worker nothing beside what capturing costs it. On, a worker hands packets that match to the engine one by one and
//! has each explained, at most so many a second; the others of a burst go their way as ever.

use api::filter::Filter;
use crossbeam::queue::ArrayQueue;
use dpdk::Mbuf;
use engine::Explanation;
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};
use types::{PortId, Tick};
use wire::Frame as _;

/// Packets that may wait for the control thread.
const SLOTS: usize = 256;
/// Packets a second, of all workers.
const PER_SECOND: u32 = 200;
/// What is kept of a frame.
const KEPT: usize = 256;

/// A packet that was traced.
pub struct Live {
    /// Where it was received.
    pub port: PortId,
    /// Nanoseconds since 1970-01-01 UTC.
    pub timestamp_ns: u64,
    /// Bytes of the frame.
    pub original_len: u32,
    /// The first of them.
    pub bytes: Vec<u8>,
    /// What decided, and what became of it.
    pub explanation: Explanation,
}

/// A trace under way.
pub struct Trace {
    filter: Filter,
    full: ArrayQueue<Live>,
    missed: AtomicU64,
    /// The second that runs, and packets traced in it.
    second: AtomicU64,
    spent: AtomicU32,
}

impl Trace {
    /// Of frames that match as they are received.
    #[must_use]
    pub fn new(filter: Filter) -> Arc<Self> {
        Arc::new(Self {
            filter,
            full: ArrayQueue::new(SLOTS),
            missed: AtomicU64::new(0),
            second: AtomicU64::new(0),
            spent: AtomicU32::new(0),
        })
    }

    /// The next packet.
    pub fn next(&self) -> Option<Live> {
        self.full.pop()
    }

    /// Packets that matched but came too fast.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }

    /// Whether a frame is to be traced now.
    pub fn wants(&self, now: Tick, frame: &Mbuf) -> bool {
        if !self.filter.matches(frame.head(), frame.total_len()) {
            return false;
        }
        let second = now.0 / 1000;
        if self.second.swap(second, Relaxed) != second {
            self.spent.store(0, Relaxed);
        }
        let granted = self.spent.fetch_add(1, Relaxed) < PER_SECOND && !self.full.is_full();
        if !granted {
            self.missed.fetch_add(1, Relaxed);
        }
        granted
    }

    /// Hands a packet over; a frame's first bytes were kept by [`head`].
    pub fn push(&self, live: Live) {
        if self.full.push(live).is_err() {
            self.missed.fetch_add(1, Relaxed);
        }
    }
}

/// The first bytes of a frame.
#[must_use]
pub fn head(frame: &Mbuf) -> Vec<u8> {
    let head = frame.head();
    head.get(..KEPT).unwrap_or(head).to_vec()
}
