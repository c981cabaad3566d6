//! What is measured: each takes a burst in and leaves frames to send.

use crate::forward::BURST;
use arrayvec::ArrayVec;
use dpdk::{Mbuf, TxQueue};
use wire::Frame;

/// Something that forwards bursts.
pub trait Subject {
    fn name(&self) -> &str;

    /// A moment between bursts, every half a thousand of them: to read the clock, and to do what is due.
    fn tick(&mut self) {}

    /// Takes every frame of `burst`, and sends what is to be sent through `tx`.
    fn step(&mut self, burst: &mut ArrayVec<Mbuf, BURST>, tx: &mut TxQueue);
}

/// Forwards frames as they are.
pub struct Io;

impl Subject for Io {
    fn name(&self) -> &str {
        "io"
    }

    #[inline]
    fn step(&mut self, burst: &mut ArrayVec<Mbuf, BURST>, tx: &mut TxQueue) {
        tx.burst(burst);
    }
}

/// The base: swaps source and destination MAC.
pub struct Macswap;

impl Subject for Macswap {
    fn name(&self) -> &str {
        "macswap"
    }

    #[inline]
    fn step(&mut self, burst: &mut ArrayVec<Mbuf, BURST>, tx: &mut TxQueue) {
        for frame in burst.iter_mut() {
            if let Some(macs) = frame.head_mut().first_chunk_mut::<12>() {
                let [a, b, c, d, e, f, g, h, i, j, k, l] = *macs;
                *macs = [g, h, i, j, k, l, a, b, c, d, e, f];
            }
        }
        tx.burst(burst);
    }
}

/// Macswap as testpmd's: it writes every frame's offload fields as well, on the packet buffer's second cache line. Ours is
/// calibrated by this; subjects are compared with [`Macswap`], which leaves that line alone as they do.
pub struct TestpmdMacswap;

impl Subject for TestpmdMacswap {
    fn name(&self) -> &str {
        "macswap with offload fields"
    }

    #[inline]
    fn step(&mut self, burst: &mut ArrayVec<Mbuf, BURST>, tx: &mut TxQueue) {
        for frame in burst.iter_mut() {
            frame.clear_offloads();
        }
        Macswap.step(burst, tx);
    }
}
