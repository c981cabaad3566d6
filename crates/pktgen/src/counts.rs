//! What a worker tells of itself while it runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Written by one worker, read by whoever shows progress. A cache line pair of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counts {
    /// Frames the port took.
    pub sent: Count,
    /// Their bytes, check sequence included.
    pub sent_bytes: Count,
    /// Times the port took less than it was given.
    pub refused: Count,
    /// Frames of ours that came back.
    pub received: Count,
    /// Of them, those that had come before.
    pub duplicates: Count,
    /// Nanoseconds they took, added.
    pub latency_sum_ns: Count,
    /// Everything else that came in.
    pub foreign: Count,
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds; for the one writer.
    #[inline]
    pub fn add(&self, n: u64) {
        // No other writes, so nothing is lost between the two; cheaper than a locked addition.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Replaces it; for the one writer.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Reads it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counts of all workers at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// As in [`Counts`].
    pub sent: u64,
    /// As in [`Counts`].
    pub sent_bytes: u64,
    /// As in [`Counts`].
    pub refused: u64,
    /// As in [`Counts`].
    pub received: u64,
    /// As in [`Counts`].
    pub duplicates: u64,
    /// As in [`Counts`].
    pub latency_sum_ns: u64,
    /// As in [`Counts`].
    pub foreign: u64,
}

impl Totals {
    /// Added up.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a Counts>) -> Self {
        let mut all = Self::default();
        for counts in workers {
            all.sent += counts.sent.get();
            all.sent_bytes += counts.sent_bytes.get();
            all.refused += counts.refused.get();
            all.received += counts.received.get();
            all.duplicates += counts.duplicates.get();
            all.latency_sum_ns += counts.latency_sum_ns.get();
            all.foreign += counts.foreign.get();
        }
        all
    }
}
