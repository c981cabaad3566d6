//! A worker: a pinned thread that takes bursts from its queues, has the engine decide, and sends what comes out.

mod gauge;
mod handoff;
mod idle;
mod output;

use crate::{
    clock::{Clock, wall_ns},
    exception::PortRings,
    takeover::Urgent,
    trace::{self, Live, Trace},
};
use anyhow::{Context as _, Result};
use api::Direction;
use arrayvec::ArrayVec;
use config::Idle;
use dpdk::{Eal, Mbuf, RxQueue};
use engine::{BURST, Worker};
use host::cycles;
use idle::{Patience, Rest};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use types::{PortId, Tick, WorkerId};
use wire::Frame as _;

pub use gauge::{Gauge, Reading};
pub use handoff::{DEPTH as HANDOFF_DEPTH, Handoff};
pub use output::{Exit, WorkerOutput};

/// Everything a worker thread takes with it.
pub struct Duties {
    /// Which worker it is.
    pub id: WorkerId,
    /// The CPU to run on.
    pub cpu: usize,
    /// The engine's half.
    pub engine: Worker<Mbuf>,
    /// Receive queues to poll.
    pub rx: Vec<(PortId, RxQueue)>,
    /// The way out.
    pub out: WorkerOutput,
    /// Advertisements and announcements to send, before everything else.
    pub urgent: Arc<Urgent>,
    /// Messages of connection synchronisation to send.
    pub sync: Arc<Urgent>,
    /// Ports whose frames from the host this worker takes.
    pub from_host: Vec<(PortId, Arc<PortRings>)>,
    /// Rings by which other workers send through this one's queues.
    pub handoffs: Vec<(PortId, Arc<Handoff>)>,
    /// What it shows.
    pub gauge: Arc<Gauge>,
    /// Ticks.
    pub clock: Clock,
    /// What to do without packets.
    pub idle: Idle,
}

/// The worker threads; stopped and joined when dropped.
pub struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<(Arc<Gauge>, JoinHandle<()>)>,
}

impl Workers {
    /// Starts a thread for each.
    ///
    /// # Errors
    /// When a thread cannot be started; those already running stop again.
    pub fn start(eal: &Eal, duties: Vec<Duties>) -> Result<Self> {
        let mut workers = Self {
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        for duty in duties {
            let (eal, stop, gauge) = (
                eal.clone(),
                Arc::clone(&workers.stop),
                Arc::clone(&duty.gauge),
            );
            let id = duty.id;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{}", id.0))
                .spawn(move || duty.run(&eal, &stop))
                .with_context(|| format!("cannot start worker {}", id.0))?;
            workers.threads.push((gauge, thread));
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for (gauge, _) in &self.threads {
            gauge.wake();
        }
        for (_, thread) in self.threads.drain(..) {
            // A panic in a worker has ended the process already.
            let _ = thread.join();
        }
    }
}

/// A burst while a trace runs: what is to be traced goes by itself, in its turn.
#[cold]
fn traced(
    engine: &mut Worker<Mbuf>,
    out: &mut WorkerOutput,
    trace: &Trace,
    (now, port): (Tick, PortId),
    burst: &mut ArrayVec<Mbuf, BURST>,
) {
    let mut others: ArrayVec<Mbuf, BURST> = ArrayVec::new();
    for frame in burst.drain(..) {
        if !trace.wants(now, &frame) {
            others.push(frame);
            continue;
        }
        engine.step(now, port, &mut others, out);
        let (bytes, original_len) = (trace::head(&frame), frame.total_len());
        let timestamp_ns = wall_ns();
        trace.push(Live {
            port,
            timestamp_ns,
            original_len: u32::try_from(original_len).unwrap_or(u32::MAX),
            bytes,
            explanation: engine.step_explained(now, port, frame, out),
        });
    }
    engine.step(now, port, &mut others, out);
}

impl Duties {
    fn run(mut self, eal: &Eal, stop: &AtomicBool) {
        self.settle_down();
        let _registered = eal
            .register_thread()
            .inspect_err(|error| {
                tracing::warn!(
                    worker = self.id.0,
                    "works without a buffer cache of its own: {error}"
                )
            })
            .ok();
        let mut patience = Patience::new(self.idle);
        let mut last_chores = Tick::default();
        while !stop.load(Ordering::Relaxed) {
            let begin = cycles();
            let now = self.clock.now();
            self.out.capture.refresh();
            let moved = self.round(now);
            if now != last_chores {
                last_chores = now;
                self.engine.housekeeping(now, &mut self.out);
            }
            self.out.flush();
            self.settle_refusals();
            self.gauge.round();
            if moved > 0 {
                self.gauge.busy_round(moved, cycles().wrapping_sub(begin));
                patience.worked();
            } else if !self.engine.spare_time(now, &mut self.out) {
                match patience.found_nothing() {
                    Rest::Spin => std::hint::spin_loop(),
                    Rest::Sleep(time) => self.pause(time, stop),
                }
            }
        }
        self.engine.offline();
    }

    fn settle_down(&self) {
        self.gauge.belongs_to_this_thread();
        if !crate::cores::pin(self.cpu) {
            tracing::warn!(
                worker = self.id.0,
                "cannot be pinned to CPU {}; it runs where the kernel puts it",
                self.cpu
            );
        }
        // Pauses of microseconds shall be microseconds: the default slack is 50 of them.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1000));
    }

    /// Once over all sources; says how many packets there were.
    #[inline]
    fn round(&mut self, now: Tick) -> u64 {
        let mut moved = 0;
        let mut burst: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        // A look costs less than taking from an empty ring, and nearly always suffices.
        while !self.urgent.is_empty()
            && let Some((port, frame)) = self.urgent.pop(now)
        {
            burst.push(frame);
            moved += 1;
            self.engine.from_host(now, port, &mut burst, &mut self.out);
        }
        for (port, queue) in &mut self.rx {
            if queue.burst(&mut burst) == 0 {
                continue;
            }
            moved += burst.len() as u64;
            if self.out.capture.is_on() {
                for frame in &burst {
                    self.out.capture.take(*port, Direction::Rx, frame);
                }
            }
            match self.out.capture.trace() {
                None => self.engine.step(now, *port, &mut burst, &mut self.out),
                Some(trace) => {
                    let trace = Arc::clone(trace);
                    traced(
                        &mut self.engine,
                        &mut self.out,
                        &trace,
                        (now, *port),
                        &mut burst,
                    );
                }
            }
        }
        for _ in 0..BURST {
            if self.sync.is_empty() {
                break;
            }
            let Some((port, frame)) = self.sync.pop(now) else {
                break;
            };
            burst.push(frame);
            moved += 1;
            self.engine.from_host(now, port, &mut burst, &mut self.out);
        }
        for (port, rings) in &self.from_host {
            while !burst.is_full()
                && let Some(frame) = rings.next_from_host()
            {
                burst.push(frame);
            }
            if !burst.is_empty() {
                moved += burst.len() as u64;
                self.engine.from_host(now, *port, &mut burst, &mut self.out);
            }
        }
        for (port, handoff) in &self.handoffs {
            for _ in 0..BURST {
                let Some(frame) = handoff.pop() else {
                    break;
                };
                self.out.forward(*port, frame);
                moved += 1;
            }
        }
        moved
    }

    /// Tells the engine what ports and host did not take, so that its books are right.
    #[inline]
    fn settle_refusals(&mut self) {
        for port in self.out.ports() {
            if let Some(refused) = self.out.take_refused(port) {
                self.engine.refused(port, refused.bytes, refused.frames);
            }
        }
        let host = self.out.take_host_refused();
        if host > 0 {
            self.engine.host_refused(host);
        }
    }

    /// Sleeps for `time` unless woken, holding nothing of the engine's.
    #[cold]
    fn pause(&mut self, time: Duration, stop: &AtomicBool) {
        self.gauge.pausing();
        let nothing = self.urgent.is_empty()
            && self.sync.is_empty()
            && self
                .from_host
                .iter()
                .all(|(_, rings)| rings.nothing_from_host())
            && self.handoffs.iter().all(|(_, handoff)| handoff.is_empty());
        if nothing && !stop.load(Ordering::Relaxed) {
            self.engine.offline();
            std::thread::park_timeout(time);
            self.engine.online();
        }
        self.gauge.resumed();
    }
}
