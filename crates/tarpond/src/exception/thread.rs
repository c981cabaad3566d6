//! The thread between the rings and the TAPs.

use super::{PortRings, Rings};
use crate::{
    clock::Clock,
    detour::{self, Translator, Way},
};
use anyhow::{Context as _, Result};
use dpdk::{Eal, Mbuf, Mempool};
use engine::Neighbourhood;
use host::Tap;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
    thread::JoinHandle,
    time::Duration,
};
use wire::Frame as _;

/// Frames moved for one ring before the next has its turn.
const TURN: usize = 64;
/// The largest frame a TAP can hand over.
const LARGEST: usize = 65_536 + 64;
/// How long the thread sleeps at most, so that it sees when it is to stop.
const NAP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// What frames to and from detours are translated by.
#[derive(Clone)]
pub struct Detouring {
    /// The detours.
    pub table: detour::Table,
    /// Who has which MAC.
    pub neighbourhood: Neighbourhood,
    /// The time.
    pub clock: Clock,
}

/// The running thread; stopped and joined when dropped. The TAPs vanish with it.
pub struct HostThread {
    stop: Arc<AtomicBool>,
    rings: Arc<Rings>,
    thread: Option<JoinHandle<()>>,
}

impl HostThread {
    /// Starts the thread over `taps` (port index and device); frames of the host are built from `pool`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        eal: Eal,
        rings: Arc<Rings>,
        taps: Vec<(usize, Tap)>,
        pool: Mempool,
        detouring: &Detouring,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let lanes = taps
            .into_iter()
            .filter_map(|(port, tap)| {
                let rings = rings.ports.get(port)?.clone()?;
                Some(Lane {
                    tap,
                    rings,
                    translator: Translator::new(Arc::clone(&detouring.table)),
                    detouring: detouring.clone(),
                    broken: false,
                })
            })
            .collect();
        let mover = Mover {
            lanes,
            rings: Arc::clone(&rings),
            stop: Arc::clone(&stop),
            pool,
            buffer: vec![0; LARGEST],
        };
        let thread = std::thread::Builder::new()
            .name("host".into())
            .spawn(move || {
                // A thread the EAL does not know works too, only without a buffer cache of its own.
                let _registered = eal.register_thread().ok();
                mover.run();
            })
            .context("cannot start the host thread")?;
        Ok(Self {
            stop,
            rings,
            thread: Some(thread),
        })
    }
}

impl Drop for HostThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.rings.sleeping.store(true, Ordering::Relaxed);
        self.rings.ring();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process already.
            let _ = thread.join();
        }
    }
}

/// A TAP with the rings of its port.
struct Lane {
    tap: Tap,
    rings: Arc<PortRings>,
    translator: Translator,
    detouring: Detouring,
    /// The device is gone or down: said once.
    broken: bool,
}

struct Mover {
    lanes: Vec<Lane>,
    rings: Arc<Rings>,
    stop: Arc<AtomicBool>,
    pool: Mempool,
    buffer: Vec<u8>,
}

impl Mover {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut moved = 0;
            for lane in &mut self.lanes {
                while let Some(frame) = lane.rings.control.pop() {
                    lane.give(&frame, &mut self.buffer);
                    moved += 1;
                }
            }
            for lane in &mut self.lanes {
                for _ in 0..TURN {
                    let Some(frame) = lane.rings.bulk.pop() else {
                        break;
                    };
                    lane.give(&frame, &mut self.buffer);
                    moved += 1;
                }
                moved += lane.take(&self.pool, &mut self.buffer);
            }
            if moved == 0 {
                self.sleep();
            }
        }
    }

    /// Sleeps until the host or a worker has something.
    fn sleep(&self) {
        self.rings.sleeping.store(true, Ordering::Relaxed);
        // Pairs with the fence in `Rings::ring`.
        fence(Ordering::SeqCst);
        if self.rings.nothing_for_host() && !self.stop.load(Ordering::Relaxed) {
            let usable = self
                .lanes
                .iter()
                .filter(|lane| !lane.broken && !lane.rings.from_host.is_full());
            let mut waited: Vec<PollFd<'_>> = usable
                .map(|lane| PollFd::from_borrowed_fd(lane.tap.as_fd(), PollFlags::IN))
                .chain([PollFd::new(&self.rings.bell, PollFlags::IN)])
                .collect();
            match poll(&mut waited, Some(&NAP)) {
                Ok(_) | Err(Errno::INTR) => {}
                // Never spin on a poll that cannot work.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            let mut count = [0; 8];
            let _ = rustix::io::read(&self.rings.bell, &mut count);
            if self.lanes.iter().any(|lane| lane.rings.from_host.is_full()) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.rings.sleeping.store(false, Ordering::Relaxed);
    }
}

impl Lane {
    fn give(&mut self, frame: &Mbuf, buffer: &mut Vec<u8>) {
        let written = if frame.segment_count() == 1 {
            self.write(frame.head())
        } else {
            buffer.clear();
            frame.segments(&mut |segment| buffer.extend_from_slice(segment));
            let written = self.write(buffer);
            buffer.resize(LARGEST, 0);
            written
        };
        if let Err(error) = written {
            self.complain(error);
        }
    }

    /// Takes frames from the host while there is room for them; says how many.
    fn take(&mut self, pool: &Mempool, buffer: &mut [u8]) -> usize {
        let mut moved = 0;
        while moved < TURN && !self.rings.from_host.is_full() {
            match self.tap.read(buffer) {
                Ok(Some(length)) => {
                    self.broken = false;
                    moved += 1;
                    let bytes = buffer.get(..length).unwrap_or_default();
                    let frame = match self.detoured(bytes) {
                        Way::Out => frame_of(pool, bytes),
                        Way::Instead(other) => frame_of(pool, &other),
                        Way::Drop => None,
                    };
                    if let Some(frame) = frame {
                        // Only this thread pushes, and the ring was not full.
                        let _ = self.rings.from_host.push(frame);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.complain(error);
                    break;
                }
            }
        }
        if moved > 0 {
            self.rings.gauge.wake();
        }
        moved
    }

    fn write(&self, bytes: &[u8]) -> Result<bool, Errno> {
        match self.translator.inward(bytes) {
            Some(other) => self.tap.write(&other),
            None => self.tap.write(bytes),
        }
    }

    fn detoured(&mut self, bytes: &[u8]) -> Way {
        let Detouring {
            neighbourhood,
            clock,
            ..
        } = &self.detouring;
        let now = clock.now();
        self.translator
            .outward(bytes, Duration::from_millis(now.0), |interface, address| {
                neighbourhood.resolve(interface, address, now)
            })
    }

    fn complain(&mut self, error: Errno) {
        // A frame the kernel finds too short or odd says nothing about the device.
        if error != Errno::INVAL && !self.broken {
            self.broken = true;
            tracing::warn!(
                tap = self.tap.name(),
                "the host does not take frames from the TAP ({error}); is it down? `ip link set {} up` brings it back",
                self.tap.name()
            );
        }
    }
}

/// A frame of `bytes`, chained where one buffer is too small; `None` when the pool is used up.
fn frame_of(pool: &Mempool, bytes: &[u8]) -> Option<Mbuf> {
    let size = usize::try_from(pool.data_size()).unwrap_or(usize::MAX);
    let mut pieces = bytes.chunks(size.max(1));
    let mut frame = pool.alloc()?;
    if !frame.extend_from_slice(pieces.next()?) {
        return None;
    }
    for piece in pieces {
        let mut tail = pool.alloc()?;
        if !tail.extend_from_slice(piece) {
            return None;
        }
        frame.chain(tail).ok()?;
    }
    Some(frame)
}
