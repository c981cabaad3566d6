//! Queues: where bursts come in and go out. Each has one owner.

use crate::{Mbuf, port::Running};
use arrayvec::ArrayVec;
use std::sync::Arc;

/// A receive queue. Keeps its port open.
pub struct RxQueue {
    port: u16,
    queue: u16,
    _running: Arc<Running>,
}

/// A transmit queue. Keeps its port open.
pub struct TxQueue {
    port: u16,
    queue: u16,
    /// The driver takes no chains: they are copied together first.
    linearize: bool,
    _running: Arc<Running>,
}

impl RxQueue {
    pub(crate) fn new(running: Arc<Running>, queue: u16) -> Self {
        Self {
            port: running.attached.port,
            queue,
            _running: running,
        }
    }

    /// Receives up to as many frames as `out` has room for, behind those it holds; says how many.
    ///
    /// Have room for 32: some drivers fill only whole vectors of 4 to 32.
    #[inline]
    pub fn burst<const N: usize>(&mut self, out: &mut ArrayVec<Mbuf, N>) -> usize {
        let room = u16::try_from(out.remaining_capacity()).unwrap_or(u16::MAX);
        // SAFETY: `&mut self` makes this the queue's only user. `Mbuf` is a transparent pointer, there is room for
        // `room` of them past the end, and what the driver writes there are frames nobody else holds.
        unsafe {
            let end = out.as_mut_ptr().add(out.len()).cast();
            let count = usize::from(dpdk_sys::edge_rx_burst(self.port, self.queue, end, room));
            out.set_len(out.len() + count);
            count
        }
    }
}

impl TxQueue {
    pub(crate) fn new(running: Arc<Running>, queue: u16, linearize: bool) -> Self {
        Self {
            port: running.attached.port,
            queue,
            linearize,
            _running: running,
        }
    }

    /// Hands the frames of `burst` to the driver, from the first on; says how many it took. The others stay in `burst`,
    /// in order, and the caller's: to try again, or to drop.
    #[inline]
    pub fn burst<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let ready = if self.linearize {
            whole(burst)
        } else {
            burst.len()
        };
        let count = u16::try_from(ready).unwrap_or(u16::MAX);
        // SAFETY: `&mut self` makes this the queue's only user. `Mbuf` is a transparent pointer; the driver owns the
        // first `sent` frames from now on, and those left are moved over them.
        unsafe {
            let start = burst.as_mut_ptr();
            let sent = usize::from(dpdk_sys::edge_tx_burst(
                self.port,
                self.queue,
                start.cast(),
                count,
            ));
            let left = burst.len() - sent;
            start.copy_from(start.add(sent), left);
            burst.set_len(left);
            sent
        }
    }
}

/// Copies chains together for a driver that takes none. Frames for whose bytes no buffer is large enough go to the back;
/// says how many are in front.
fn whole(burst: &mut [Mbuf]) -> usize {
    let mut ready = burst.len();
    let mut at = 0;
    while at < ready {
        let Some(frame) = burst.get_mut(at) else {
            break;
        };
        if frame.segment_count() == 1 || frame.linearize() {
            at += 1;
        } else {
            ready -= 1;
            burst.swap(at, ready);
        }
    }
    ready
}
