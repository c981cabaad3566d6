//! The queues between workers and the takeover thread, and of the same kind those of connection synchronisation: each thread has its own, so
//! that nobody waits for the other.

use crate::worker::Gauge;
use crossbeam::queue::ArrayQueue;
use dpdk::{Mbuf, Mempool};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
    time::Duration,
};
use types::PortId;

/// Advertisements that may wait for the thread: a flood of them costs no others anything.
pub const INCOMING: usize = 256;
/// Frames that may wait for one worker.
pub const OUTGOING: usize = 512;

/// Frames the queues may hold for that many workers.
#[must_use]
pub const fn frames_held(workers: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "two small constants")]
    let (incoming, outgoing) = (INCOMING as u32, OUTGOING as u32);
    incoming + workers * outgoing
}

/// Advertisements for the thread, and the bell that wakes it.
pub struct Mail {
    queue: ArrayQueue<(PortId, Mbuf)>,
    bell: OwnedFd,
    sleeping: AtomicBool,
}

impl Mail {
    /// An empty queue for so many frames.
    ///
    /// # Errors
    /// When the kernel has no event descriptor left.
    pub fn new(frames: usize) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            queue: ArrayQueue::new(frames),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            sleeping: AtomicBool::new(false),
        }))
    }

    /// Hands an advertisement to the thread, which wakes. False, and the frame is gone, when the queue is full.
    #[must_use]
    pub fn push(&self, port: PortId, frame: Mbuf) -> bool {
        let taken = self.queue.push((port, frame)).is_ok();
        self.ring();
        taken
    }

    /// Wakes the thread.
    pub fn ring(&self) {
        // Pairs with the fence in `wait`: either the thread sees what was done before it sleeps, or it is seen asleep.
        fence(Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::Relaxed) {
            // The only failure is a counter that is full, and then the thread is awake.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// The next advertisement.
    pub fn pop(&self) -> Option<(PortId, Mbuf)> {
        self.queue.pop()
    }

    /// Sleeps until the bell rings, for `time` at most, unless there is something already.
    pub fn wait(&self, time: Duration, nothing_else: impl FnOnce() -> bool) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() && nothing_else() {
            let timeout = Timespec {
                tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: time.subsec_nanos().into(),
            };
            let mut waited = [PollFd::new(&self.bell, PollFlags::IN)];
            if poll(&mut waited, Some(&timeout)).is_err() {
                // Interrupted, or never able to: no spinning either way.
                std::thread::sleep(Duration::from_micros(100));
            }
            let mut count = [0; 8];
            let _ = rustix::io::read(&self.bell, &mut count);
        }
        self.sleeping.store(false, Ordering::Relaxed);
    }
}

/// Frames of the thread for one worker to send, before everything else.
pub struct Urgent {
    queue: ArrayQueue<(PortId, Mbuf)>,
    gauge: Arc<Gauge>,
}

impl Urgent {
    /// An empty ring for so many frames, to the worker of that gauge.
    #[must_use]
    pub fn new(gauge: Arc<Gauge>, frames: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: ArrayQueue::new(frames),
            gauge,
        })
    }

    /// Puts a frame in. False, and the frame is gone, when the ring is full. [`Urgent::wake`] after the last.
    #[must_use]
    fn push(&self, port: PortId, frame: Mbuf) -> bool {
        self.queue.push((port, frame)).is_ok()
    }

    /// Hands a frame of these bytes to the worker that sends on `port`. False if there is no buffer or no room.
    #[must_use]
    pub fn send(rings: &[Arc<Self>], pool: &Mempool, port: PortId, bytes: &[u8]) -> bool {
        let ring = rings.get(port.index() % rings.len().max(1));
        let frame = || -> Option<Mbuf> {
            let mut frame = pool.alloc()?;
            frame.extend_from_slice(bytes).then_some(frame)
        };
        match (ring, frame()) {
            (Some(ring), Some(frame)) => ring.push(port, frame),
            _ => false,
        }
    }

    /// Wakes the worker if it pauses.
    pub fn wake(&self) {
        self.gauge.wake();
    }

    /// The next frame, for the worker.
    #[inline]
    pub fn pop(&self) -> Option<(PortId, Mbuf)> {
        self.queue.pop()
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
