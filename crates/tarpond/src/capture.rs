//! Copies of frames for `tarpon capture`, and the switch by which workers learn of that and of `tarpon trace`.
//!
//! Off, it costs a worker one relaxed load a burst. On, a worker copies matching frames into buffers that were made when
//! the capture began, through two bounded rings; when none is free the frame is counted as missed and goes its way.

use crate::trace::Trace;
use api::{Direction, filter::Filter};
use crossbeam::queue::ArrayQueue;
use dpdk::Mbuf;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use types::PortId;
use wire::Frame as _;

/// Copies that may wait for the control thread.
const SLOTS: usize = 4096;

/// A copy of a frame.
pub struct Copy {
    /// The port.
    pub port: PortId,
    /// Which way.
    pub direction: Direction,
    /// Nanoseconds since 1970-01-01 UTC.
    pub timestamp_ns: u64,
    /// Bytes of the whole frame.
    pub original_len: u32,
    /// Its first bytes; the allocation is kept from frame to frame.
    pub bytes: Vec<u8>,
}

/// A running capture.
pub struct Session {
    filter: Filter,
    /// By port; empty: all.
    ports: Vec<bool>,
    snaplen: usize,
    free: ArrayQueue<Box<Copy>>,
    full: ArrayQueue<Box<Copy>>,
    missed: AtomicU64,
}

impl Session {
    /// Makes the buffers: frames of up to `snaplen` bytes.
    #[must_use]
    pub fn new(filter: Filter, ports: Vec<bool>, snaplen: usize) -> Arc<Self> {
        let free = ArrayQueue::new(SLOTS);
        for _ in 0..SLOTS {
            // There is room for exactly these.
            let _ = free.push(Box::new(Copy {
                port: PortId(0),
                direction: Direction::Rx,
                timestamp_ns: 0,
                original_len: 0,
                bytes: Vec::with_capacity(snaplen),
            }));
        }
        Arc::new(Self {
            filter,
            ports,
            snaplen,
            free,
            full: ArrayQueue::new(SLOTS),
            missed: AtomicU64::new(0),
        })
    }

    /// The next copy; give it back with [`Session::give_back`].
    pub fn next(&self) -> Option<Box<Copy>> {
        self.full.pop()
    }

    /// Makes a copy's buffer free again.
    pub fn give_back(&self, copy: Box<Copy>) {
        // There are only as many as fit.
        let _ = self.free.push(copy);
    }

    /// Frames that matched but found no free buffer.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    fn take(&self, port: PortId, direction: Direction, frame: &Mbuf) {
        let total = frame.total_len();
        let wanted = self.ports.is_empty() || self.ports.get(port.index()).is_some_and(|&on| on);
        if !wanted || !self.filter.matches(frame.head(), total) {
            return;
        }
        let Some(mut copy) = self.free.pop() else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        copy.port = port;
        copy.direction = direction;
        copy.timestamp_ns = crate::clock::wall_ns();
        copy.original_len = u32::try_from(total).unwrap_or(u32::MAX);
        copy.bytes.clear();
        frame.segments(&mut |segment| {
            let room = self.snaplen - copy.bytes.len();
            copy.bytes
                .extend_from_slice(segment.get(..room).unwrap_or(segment));
        });
        // There are only as many as fit.
        let _ = self.full.push(copy);
    }
}

/// Where the control thread starts and ends captures and the workers learn of it.
#[derive(Default)]
pub struct Switch {
    /// Rises with every change; even the first session is not 0.
    generation: AtomicU64,
    watched: Mutex<Watched>,
}

/// What runs.
#[derive(Clone, Default)]
struct Watched {
    session: Option<Arc<Session>>,
    trace: Option<Arc<Trace>>,
}

impl Switch {
    /// Starts capturing into `session`, or ends it with `None`.
    pub fn set(&self, session: Option<Arc<Session>>) {
        self.change(|watched| watched.session = session);
    }

    /// Starts tracing into `trace`, or ends it with `None`.
    pub fn set_trace(&self, trace: Option<Arc<Trace>>) {
        self.change(|watched| watched.trace = trace);
    }

    fn change(&self, change: impl FnOnce(&mut Watched)) {
        change(&mut self.watched.lock().unwrap_or_else(PoisonError::into_inner));
        // Released after the session is in its place; workers take the lock, which orders the rest.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// A worker's end.
    #[must_use]
    pub fn tap(self: &Arc<Self>) -> Tap {
        Tap {
            switch: Arc::clone(self),
            seen: 0,
            watched: Watched::default(),
        }
    }
}

/// A worker's view of the switch.
pub struct Tap {
    switch: Arc<Switch>,
    seen: u64,
    watched: Watched,
}

impl Tap {
    /// Looks whether a capture began or ended: once a burst.
    #[inline]
    pub fn refresh(&mut self) {
        let generation = self.switch.generation.load(Ordering::Relaxed);
        if generation != self.seen {
            self.change(generation);
        }
    }

    /// Whether somebody captures.
    #[inline]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.watched.session.is_some()
    }

    /// The trace that runs.
    #[inline]
    #[must_use]
    pub const fn trace(&self) -> Option<&Arc<Trace>> {
        self.watched.trace.as_ref()
    }

    /// Copies `frame` if it is wanted.
    #[cold]
    pub fn take(&self, port: PortId, direction: Direction, frame: &Mbuf) {
        if let Some(session) = &self.watched.session {
            session.take(port, direction, frame);
        }
    }

    #[cold]
    fn change(&mut self, generation: u64) {
        self.seen = generation;
        let watched = self.switch.watched.lock();
        self.watched
            .clone_from(&watched.unwrap_or_else(PoisonError::into_inner));
    }
}
