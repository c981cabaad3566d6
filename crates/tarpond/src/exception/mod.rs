//! The exception path: what is not the engine's goes to the host's own stack through a TAP per port, and back.
//!
//! Each port has two bounded rings towards the host: a small one for what keeps the network together (ARP, neighbour
//! discovery, routing protocols), a larger one for the rest. They are emptied in that order, so a flood of the rest
//! cannot starve the first. One more ring per port carries the host's frames to one worker.

mod classify;
mod thread;

use crate::worker::Gauge;
use crossbeam::queue::ArrayQueue;
use dpdk::Mbuf;
use rustix::event::{EventfdFlags, eventfd};
use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
};
use types::PortId;

pub use thread::{Detouring, HostThread};

/// Frames of control traffic that may wait for the host, per port.
const CONTROL: usize = 256;
/// Frames of other traffic that may wait for the host, per port.
const BULK: usize = 1024;
/// Frames of the host that may wait for a worker, per port.
const FROM_HOST: usize = 1024;

/// Frames all rings together may hold for `ports` ports.
#[must_use]
pub const fn frames_held(ports: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "three small constants")]
    let each = (CONTROL + BULK + FROM_HOST) as u32;
    ports * each
}

/// The rings of one port.
pub struct PortRings {
    control: ArrayQueue<Mbuf>,
    bulk: ArrayQueue<Mbuf>,
    /// From the host to the worker `gauge` belongs to.
    from_host: ArrayQueue<Mbuf>,
    gauge: Arc<Gauge>,
}

impl PortRings {
    /// The next frame of the host.
    #[inline]
    pub fn next_from_host(&self) -> Option<Mbuf> {
        self.from_host.pop()
    }

    /// Whether the host has sent nothing.
    #[inline]
    pub fn nothing_from_host(&self) -> bool {
        self.from_host.is_empty()
    }
}

/// All ports' rings, shared by the workers and the host thread.
pub struct Rings {
    ports: Box<[Option<Arc<PortRings>>]>,
    bell: OwnedFd,
    sleeping: AtomicBool,
}

impl Rings {
    /// Empty rings; per port the gauge of the worker that takes the host's frames, `None` for a port without TAP.
    ///
    /// # Errors
    /// When the kernel has no event descriptor left.
    pub fn new(workers: Vec<Option<Arc<Gauge>>>) -> std::io::Result<Arc<Self>> {
        let ports = workers
            .into_iter()
            .map(|gauge| {
                gauge.map(|gauge| {
                    Arc::new(PortRings {
                        control: ArrayQueue::new(CONTROL),
                        bulk: ArrayQueue::new(BULK),
                        from_host: ArrayQueue::new(FROM_HOST),
                        gauge,
                    })
                })
            })
            .collect();
        Ok(Arc::new(Self {
            ports,
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            sleeping: AtomicBool::new(false),
        }))
    }

    /// The rings of `port`, if it has a TAP.
    #[must_use]
    pub fn port(&self, port: PortId) -> Option<&Arc<PortRings>> {
        self.ports.get(port.index())?.as_ref()
    }

    /// Gives `frame` to the host through `port`'s TAP. False, and the frame is gone, when its ring is full or missing.
    /// Ring the bell ([`Rings::ring`]) after the last of a burst.
    #[inline]
    #[must_use]
    pub fn punt(&self, port: PortId, frame: Mbuf) -> bool {
        let Some(rings) = self.port(port) else {
            return false;
        };
        if classify::keeps_the_network_together(&frame) {
            rings.control.push(frame).is_ok()
        } else {
            rings.bulk.push(frame).is_ok()
        }
    }

    /// Wakes the host thread if it sleeps. One system call then, none while it is at work.
    pub fn ring(&self) {
        // Pairs with the fence in `HostThread`: either it sees the frame before it sleeps, or we see it asleep.
        fence(Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::Relaxed) {
            // The only failure is a counter that is full, and then the thread is awake.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    fn nothing_for_host(&self) -> bool {
        self.ports
            .iter()
            .flatten()
            .all(|rings| rings.control.is_empty() && rings.bulk.is_empty())
    }
}
