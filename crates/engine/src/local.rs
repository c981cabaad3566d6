//! What one worker owns.

use crate::{WorkerCounters, ratelimit::RateLimits, waiting::Waiting};
use std::sync::Arc;
use wire::Frame;

/// State of one worker.
#[derive(Debug)]
pub(crate) struct Local<F: Frame> {
    /// What it counts; readers hold the same `Arc`.
    pub counters: Arc<WorkerCounters>,
    /// Limits on answers and errors.
    pub limits: RateLimits,
    /// Frames held until their next hop's MAC is known.
    pub waiting: Waiting<F>,
    /// The slot of the neighbour table its sweep has come to.
    pub sweep: usize,
    /// IPv4 identification of the next packet it builds itself.
    pub ip_id: u16,
}

impl<F: Frame> Local<F> {
    /// The identification of a packet of our own that may be fragmented.
    pub fn next_ip_id(&mut self) -> Option<u16> {
        self.ip_id = self.ip_id.wrapping_add(1);
        Some(self.ip_id)
    }
}
