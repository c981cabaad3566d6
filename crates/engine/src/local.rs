//! What one worker owns.

use crate::{
    WorkerCounters,
    localstack::Sweep,
    lvs::{Busy, Hands, TrafficCells},
    ratelimit::RateLimits,
    shared::Shared,
    waiting::Waiting,
};
use std::sync::Arc;
use wire::Frame;

/// State of one worker.
#[derive(Debug)]
pub(crate) struct Local<F: Frame> {
    /// What it counts; readers hold the same `Arc`.
    pub counters: Arc<WorkerCounters>,
    /// What it counts of servers; readers hold the same `Arc`.
    pub traffic: Arc<TrafficCells>,
    /// Limits on answers and errors.
    pub limits: RateLimits,
    /// Frames held until their next hop's MAC is known.
    pub waiting: Waiting<F>,
    /// Frames held until another worker has inserted their connection.
    pub busy: Busy<F>,
    /// Where its sweeps over the connections stand.
    pub hands: Hands,
    /// Where its sweep over the neighbours stands.
    pub sweep: Sweep,
    /// IPv4 identification of the next packet it builds itself.
    pub ip_id: u16,
}

impl<F: Frame> Local<F> {
    /// What worker `share.0` of `share.1` owns at its start.
    pub fn new(
        counters: Arc<WorkerCounters>,
        traffic: Arc<TrafficCells>,
        shared: &Shared,
        share: (u32, u32),
    ) -> Self {
        Self {
            counters,
            traffic,
            limits: RateLimits::default(),
            waiting: Waiting::new(),
            busy: Busy::default(),
            hands: Hands::new(shared, share),
            sweep: Sweep::default(),
            ip_id: 0,
        }
    }

    /// The identification of a packet of our own that may be fragmented.
    pub fn next_ip_id(&mut self) -> Option<u16> {
        self.ip_id = self.ip_id.wrapping_add(1);
        Some(self.ip_id)
    }
}
