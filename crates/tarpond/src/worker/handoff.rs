//! Frames on their way to the worker that owns the transmit queue they need.

use super::Gauge;
use crossbeam::queue::ArrayQueue;
use dpdk::Mbuf;
use std::sync::Arc;

/// Frames that may wait in one ring.
pub const DEPTH: usize = 1024;

/// A bounded ring into one worker, for one port.
pub struct Handoff {
    ring: ArrayQueue<Mbuf>,
    owner: Arc<Gauge>,
}

impl Handoff {
    /// An empty ring to the worker whose gauge is `owner`.
    #[must_use]
    pub fn new(owner: Arc<Gauge>) -> Arc<Self> {
        Arc::new(Self {
            ring: ArrayQueue::new(DEPTH),
            owner,
        })
    }

    /// Puts a frame in. False, and the frame is gone, when the ring is full. [`Handoff::wake`] after the last of a burst.
    #[inline]
    #[must_use]
    pub fn push(&self, frame: Mbuf) -> bool {
        self.ring.push(frame).is_ok()
    }

    /// Wakes the owner if it pauses.
    #[inline]
    pub fn wake(&self) {
        self.owner.wake();
    }

    /// The next frame, for the owner.
    #[inline]
    pub fn pop(&self) -> Option<Mbuf> {
        self.ring.pop()
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}
