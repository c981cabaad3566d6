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
use wire::Frame;

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
pub struct PortRings<F = Mbuf> {
    control: ArrayQueue<F>,
    bulk: ArrayQueue<F>,
    /// From the host to the worker `gauge` belongs to.
    from_host: ArrayQueue<F>,
    gauge: Arc<Gauge>,
}

impl<F> PortRings<F> {
    /// The next frame of the host.
    #[inline]
    pub fn next_from_host(&self) -> Option<F> {
        self.from_host.pop()
    }

    /// Whether the host has sent nothing.
    #[inline]
    pub fn nothing_from_host(&self) -> bool {
        self.from_host.is_empty()
    }
}

/// All ports' rings, shared by the workers and the host thread.
pub struct Rings<F = Mbuf> {
    ports: Box<[Option<Arc<PortRings<F>>>]>,
    bell: OwnedFd,
    sleeping: AtomicBool,
}

impl<F: Frame> Rings<F> {
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
    pub fn port(&self, port: PortId) -> Option<&Arc<PortRings<F>>> {
        self.ports.get(port.index())?.as_ref()
    }

    /// Gives `frame` to the host through `port`'s TAP. False, and the frame is gone, when its ring is full or missing.
    /// Ring the bell ([`Rings::ring`]) after the last of a burst.
    #[inline]
    #[must_use]
    pub fn punt(&self, port: PortId, frame: F) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use sim::VecFrame;

    /// An ARP request, which keeps the network together, or something else.
    fn frame(is_arp: bool) -> VecFrame {
        let mut bytes = vec![0; 64];
        bytes[12..14].copy_from_slice(if is_arp { &[8, 6] } else { &[8, 0] });
        VecFrame::new(&bytes)
    }

    /// `host_queue_full`: each ring takes as many as it has room for, one beyond is refused, and the other ring's are not concerned.
    #[test]
    fn rings_are_bounded_each_by_itself() {
        let rings = Rings::new(vec![Some(Arc::default()), None]).unwrap();
        let port = PortId(0);
        assert!((0..BULK).all(|_| rings.punt(port, frame(false))));
        assert!(!rings.punt(port, frame(false)));
        assert!((0..CONTROL).all(|_| rings.punt(port, frame(true))));
        assert!(!rings.punt(port, frame(true)));
        // The host has taken one.
        let taken = rings.port(port).and_then(|rings| rings.bulk.pop());
        assert!(
            taken.is_some() && rings.punt(port, frame(false)) && !rings.punt(port, frame(false))
        );
        // A port without a TAP has no host.
        assert!(!rings.punt(PortId(1), frame(true)));
    }
}
