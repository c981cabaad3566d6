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
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
    time::Duration,
};
use types::{PortId, Tick};

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

/// Frames of the thread for one worker to send, before everything else, each until a tick of its own.
pub struct Urgent<F = Mbuf> {
    queue: ArrayQueue<(PortId, F, Tick)>,
    gauge: Arc<Gauge>,
    /// Wakes the thread.
    bell: Arc<Mail>,
    /// How often the worker came too late, and how often as far as the thread has heard.
    expired: AtomicU64,
    heard: AtomicU64,
}

/// A frame that is right whenever it leaves.
pub const ALWAYS: Tick = Tick(u64::MAX);

impl Urgent {
    /// Hands a frame of these bytes to the worker that sends on `port`, to leave by `until` or not at all. False if there is no buffer or no
    /// room. [`Urgent::wake`] after the last.
    #[must_use]
    pub fn send(
        rings: &[Arc<Self>],
        pool: &Mempool,
        port: PortId,
        bytes: &[u8],
        until: Tick,
    ) -> bool {
        let ring = rings.get(port.index() % rings.len().max(1));
        let frame = || -> Option<Mbuf> {
            let mut frame = pool.alloc()?;
            frame.extend_from_slice(bytes).then_some(frame)
        };
        match (ring, frame()) {
            (Some(ring), Some(frame)) => ring.push(port, frame, until),
            _ => false,
        }
    }
}

impl<F> Urgent<F> {
    /// An empty ring for so many frames, to the worker of that gauge, from the thread that `bell` wakes.
    #[must_use]
    pub fn new(gauge: Arc<Gauge>, frames: usize, bell: Arc<Mail>) -> Arc<Self> {
        Arc::new(Self {
            queue: ArrayQueue::new(frames),
            gauge,
            bell,
            expired: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        })
    }

    fn push(&self, port: PortId, frame: F, until: Tick) -> bool {
        self.queue.push((port, frame, until)).is_ok()
    }

    /// Wakes the worker if it pauses.
    pub fn wake(&self) {
        self.gauge.wake();
    }

    /// The next frame, for the worker. One that comes too late is left out, and so is all that follows until the thread has
    /// [heard](Urgent::hear) of it: what it was to say may not be true any more.
    #[inline]
    pub fn pop(&self, now: Tick) -> Option<(PortId, F)> {
        loop {
            // Before the frame is taken: see `hear`.
            let heard = self.heard.load(Ordering::Acquire) == self.expired.load(Ordering::Relaxed);
            let (port, frame, until) = self.queue.pop()?;
            if until == ALWAYS || (heard && now <= until) {
                return Some((port, frame));
            }
            if heard {
                self.expired.fetch_add(1, Ordering::Release);
                self.bell.ring();
            }
        }
    }

    /// How often the worker came too late.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Acquire)
    }

    /// The thread has drawn its conclusions from what it last saw of [`Urgent::expired`]: frames leave again, once none is left from before.
    pub fn hear(&self, expired: u64) {
        if self.heard.load(Ordering::Relaxed) != expired && self.queue.is_empty() {
            self.heard.store(expired, Ordering::Release);
        }
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_too_late_is_left_out_with_all_that_follows_until_that_was_heard() {
        let bell = Mail::new(1).unwrap();
        let ring: Arc<Urgent<u8>> = Urgent::new(Arc::default(), 8, bell);
        let push = |frame, until| assert!(ring.push(PortId(0), frame, until));
        let pop = |now| ring.pop(Tick(now)).map(|(_, frame)| frame);
        push(1, Tick(10));
        assert_eq!(pop(10), Some(1), "that tick included");
        push(2, Tick(10));
        // Said later, and so good for longer; but the worker does not know whether it still holds.
        push(3, Tick(20));
        push(4, ALWAYS);
        assert_eq!((pop(11), ring.expired()), (Some(4), 1));
        push(5, Tick(20));
        ring.hear(1);
        assert_eq!(pop(12), None, "that one was there before");
        ring.hear(1);
        push(6, Tick(20));
        assert_eq!((pop(13), ring.expired()), (Some(6), 1));
    }
}
