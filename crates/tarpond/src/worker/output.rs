//! A worker's way out: what the engine sends and punts, gathered into bursts.

use super::Handoff;
use crate::{capture::Tap as CaptureTap, exception::Rings, takeover::Mail};
use api::Direction;
use arrayvec::ArrayVec;
use dpdk::{Mbuf, Mempool, TxQueue};
use engine::{BURST, Output};
use std::sync::Arc;
use types::PortId;
use wire::Frame as _;

/// Times a burst the port did not take whole is offered again before the rest is dropped.
const RETRIES: u32 = 4;

/// How this worker sends on one port.
pub enum Exit {
    /// By a transmit queue of its own.
    Queue(TxQueue),
    /// Through the worker that owns one.
    Handoff(Arc<Handoff>),
}

/// Frames a port or the host did not take; the engine's books are put right with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

struct PortOut {
    exit: Exit,
    buffer: ArrayVec<Mbuf, BURST>,
    refused: Refused,
}

/// A worker's far side.
pub struct WorkerOutput {
    pool: Mempool,
    ports: Vec<PortOut>,
    rings: Arc<Rings>,
    mail: Arc<Mail>,
    sync: Arc<Mail>,
    punted: bool,
    host_refused: u64,
    /// Copies of what is sent, while somebody captures.
    pub capture: CaptureTap,
}

impl WorkerOutput {
    /// With an exit per port, in the order of [`PortId`]; and what takes advertisements, and messages of connection synchronisation.
    #[must_use]
    pub fn new(
        pool: Mempool,
        exits: Vec<Exit>,
        rings: Arc<Rings>,
        (mail, sync): (Arc<Mail>, Arc<Mail>),
        capture: CaptureTap,
    ) -> Self {
        let ports = exits
            .into_iter()
            .map(|exit| PortOut {
                exit,
                buffer: ArrayVec::new(),
                refused: Refused::default(),
            })
            .collect();
        Self {
            pool,
            ports,
            rings,
            mail,
            sync,
            punted: false,
            host_refused: 0,
            capture,
        }
    }

    /// Sends a frame another worker handed over. It counted and captured it already.
    #[inline]
    pub fn forward(&mut self, port: PortId, frame: Mbuf) {
        if let Some(out) = self.ports.get_mut(port.index()) {
            out.push(frame);
        }
    }

    /// Sends everything gathered, and wakes whoever has something to do now.
    #[inline]
    pub fn flush(&mut self) {
        for port in &mut self.ports {
            port.flush();
        }
        if self.punted {
            self.punted = false;
            self.rings.ring();
        }
    }

    /// The ports there are.
    #[inline]
    pub fn ports(&self) -> impl Iterator<Item = PortId> + use<> {
        // As many as the configuration has, whose ids are 16 bits.
        (0..u16::try_from(self.ports.len()).unwrap_or(u16::MAX)).map(PortId)
    }

    /// What `port` refused since it was last asked.
    #[inline]
    pub fn take_refused(&mut self, port: PortId) -> Option<Refused> {
        let refused = &mut self.ports.get_mut(port.index())?.refused;
        (refused.frames > 0).then(|| std::mem::take(refused))
    }

    /// How many frames the host's rings refused since it was last asked.
    #[inline]
    pub fn take_host_refused(&mut self) -> u64 {
        std::mem::take(&mut self.host_refused)
    }
}

impl PortOut {
    #[inline]
    fn push(&mut self, frame: Mbuf) {
        // Never full here: a full buffer is flushed at once.
        self.buffer.push(frame);
        if self.buffer.is_full() {
            self.flush();
        }
    }

    #[inline]
    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match &mut self.exit {
            Exit::Queue(queue) => {
                queue.burst(&mut self.buffer);
                let mut tries = 0;
                while !self.buffer.is_empty() && tries < RETRIES {
                    std::hint::spin_loop();
                    queue.burst(&mut self.buffer);
                    tries += 1;
                }
                if !self.buffer.is_empty() {
                    self.refuse();
                }
            }
            Exit::Handoff(handoff) => {
                for frame in self.buffer.drain(..) {
                    let bytes = frame.total_len() as u64;
                    if !handoff.push(frame) {
                        self.refused.frames += 1;
                        self.refused.bytes += bytes;
                    }
                }
                handoff.wake();
            }
        }
    }

    #[cold]
    fn refuse(&mut self) {
        self.refused.frames += self.buffer.len() as u64;
        self.refused.bytes += self
            .buffer
            .iter()
            .map(|f| f.total_len() as u64)
            .sum::<u64>();
        Mbuf::free_burst(&mut self.buffer);
    }
}

impl Output<Mbuf> for WorkerOutput {
    #[inline]
    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    #[inline]
    fn transmit(&mut self, port: PortId, frame: Mbuf) {
        if self.capture.is_on() {
            self.capture.take(port, Direction::Tx, &frame);
        }
        if let Some(out) = self.ports.get_mut(port.index()) {
            out.push(frame);
        }
    }

    fn punt(&mut self, port: PortId, frame: Mbuf) {
        if self.rings.punt(port, frame) {
            self.punted = true;
        } else {
            self.host_refused += 1;
        }
    }

    fn advertisement(&mut self, port: PortId, frame: Mbuf) {
        if !self.mail.push(port, frame) {
            self.host_refused += 1;
        }
    }

    fn synchronisation(&mut self, port: PortId, frame: Mbuf) {
        if !self.sync.push(port, frame) {
            self.host_refused += 1;
        }
    }
}
