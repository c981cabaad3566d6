//! What a worker shows of itself: written by the worker alone, read by the control thread.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
use std::thread::Thread;

/// A worker's gauge, and the bell that wakes it from a pause. On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Gauge {
    busy: AtomicU64,
    rounds: AtomicU64,
    packets: AtomicU64,
    paused: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Values of a gauge at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Cycles spent in rounds that moved packets.
    pub busy: u64,
    /// Rounds over all queues.
    pub rounds: u64,
    /// Packets taken from ports and the host.
    pub packets: u64,
    /// Pausing now.
    pub paused: bool,
}

impl Gauge {
    /// Called by the worker's thread when it starts, so that it can be woken.
    pub fn belongs_to_this_thread(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Counts a round that moved `packets` in `cycles`. Single writer, so no locked instruction is needed.
    #[inline]
    pub fn busy_round(&self, packets: u64, cycles: u64) {
        let add = |counter: &AtomicU64, n| {
            counter.store(
                counter.load(Ordering::Relaxed).wrapping_add(n),
                Ordering::Relaxed,
            );
        };
        add(&self.busy, cycles);
        add(&self.packets, packets);
    }

    /// Counts a round.
    #[inline]
    pub fn round(&self) {
        let rounds = self.rounds.load(Ordering::Relaxed);
        // Who sees the round sees what was handed over in it.
        self.rounds.store(rounds.wrapping_add(1), Ordering::Release);
    }

    /// Says that a pause begins. The worker must look at its rings once more after this and before it sleeps: either it
    /// sees what was pushed, or whoever pushed sees the pause (both fences are sequentially consistent).
    pub fn pausing(&self) {
        self.paused.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the pause is over.
    pub fn resumed(&self) {
        self.paused.store(false, Ordering::Relaxed);
    }

    /// Wakes the worker if it pauses. Call it after pushing to one of its rings.
    #[inline]
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.paused.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// The values now.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading {
            busy: self.busy.load(Ordering::Relaxed),
            rounds: self.rounds.load(Ordering::Acquire),
            packets: self.packets.load(Ordering::Relaxed),
            paused: self.paused.load(Ordering::Relaxed),
        }
    }
}
