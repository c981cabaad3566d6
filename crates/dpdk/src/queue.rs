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

    /// Hands the frames of `burst` to the driver, from the first on; says how many it took. The others stay in `burst`
    /// and the caller's, to try again or to drop: in order, but chains that the driver does not take and no single buffer
    /// can hold come last.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mempool, MempoolConfig, testing::EAL};
    use wire::Frame;

    #[test]
    fn chains_become_one_segment_and_those_that_cannot_go_to_the_back() {
        let pool = Mempool::new(
            &EAL,
            MempoolConfig {
                count: 63,
                cache: 0,
                ..MempoolConfig::default()
            },
        )
        .unwrap();
        let frame = |first: u8, lengths: &[usize]| {
            let mut parts = lengths.iter().map(|&length| {
                let mut part = pool.alloc().unwrap();
                assert!(part.extend_from_slice(&vec![first; length]));
                part
            });
            let mut head = parts.next().unwrap();
            parts.for_each(|part| head.chain(part).unwrap());
            head
        };
        let mut burst: ArrayVec<Mbuf, 8> = ArrayVec::new();
        for (first, lengths) in [
            (0, &[60][..]),
            (1, &[2000, 2000]),
            (2, &[1000, 1000]),
            (3, &[100, 50, 7]),
            (4, &[2048, 1]),
        ] {
            burst.push(frame(first, lengths));
        }
        assert_eq!(whole(&mut burst), 3);
        let seen: Vec<_> = burst
            .iter()
            .map(|f| (f.head()[0], f.segment_count(), f.total_len()))
            .collect();
        assert_eq!(seen[..3].iter().map(|s| s.1).collect::<Vec<_>>(), [1, 1, 1]);
        let mut ready: Vec<_> = seen[..3].iter().map(|s| (s.0, s.2)).collect();
        ready.sort_unstable();
        assert_eq!(ready, [(0, 60), (2, 2000), (3, 157)]);
        let mut left: Vec<_> = seen[3..].iter().map(|s| (s.0, s.1, s.2)).collect();
        left.sort_unstable();
        assert_eq!(left, [(1, 2, 4000), (4, 2, 2049)]);
        drop(burst);
        assert_eq!(pool.in_use(), 0);
    }
}
