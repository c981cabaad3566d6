//! What one worker owns.

use crate::{
    WorkerCounters,
    localstack::Sweep,
    lvs::{Asked, Busy, Defender, Hands, Lingering, Notes, Tallies, TrafficCells},
    overload::Relief,
    ratelimit::RateLimits,
    reassembly::Reassembly,
    shared::Shared,
    waiting::{Queues, Waiting},
};
use std::sync::Arc;
use wire::Frame;

/// How a worker's own bounds stand: who explains packets reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Limits on answers and errors.
    pub limits: Arc<RateLimits>,
    /// Frames that wait for neighbours.
    pub queues: Arc<Queues>,
}

/// State of one worker.
#[derive(Debug)]
pub(crate) struct Local<F: Frame> {
    /// What it counts; readers hold the same `Arc`.
    pub counters: Arc<WorkerCounters>,
    /// What it counts of servers; readers hold the same `Arc`.
    pub traffic: Arc<TrafficCells>,
    /// What it counts of services' SYNs; readers hold the same `Arc`.
    pub tallies: Arc<Tallies>,
    /// What it notes for the twin; the reader holds the same `Arc`.
    pub notes: Arc<Notes>,
    /// What it lets go while it is past its capacity; who judges holds the same `Arc`.
    pub relief: Arc<Relief>,
    /// So much of a whole packet of what stands is to be let go.
    pub relief_spread: u32,
    /// Limits on answers and errors; readers hold the same `Arc`.
    pub limits: Arc<RateLimits>,
    /// Frames held until their next hop's MAC is known.
    pub waiting: Waiting<F>,
    /// Frames held until another worker has inserted their connection.
    pub busy: Busy<F>,
    /// Handshakes with servers that it has begun.
    pub asked: Asked,
    /// Connections replaced by new ones, still counted.
    pub lingering: Lingering,
    /// Fragments held, by all workers.
    pub reassembly: Arc<Reassembly<F>>,
    /// Those it ever held.
    pub fragments_held: u64,
    /// Where its sweep over them stands.
    pub reassembly_hand: usize,
    /// Where its sweeps over the connections stand.
    pub hands: Hands,
    /// Its part in the defences against floods.
    pub defender: Defender,
    /// Where its sweep over the neighbours stands.
    pub sweep: Sweep,
    /// IPv4 identification of the last packet it built itself.
    ip_id: u16,
    /// Workers: each has identifications of its own, so that fragments of two never meet under one.
    ip_id_step: u16,
    /// IPv6 identification of the last packet it cut.
    fragment_id: u32,
}

impl<F: Frame> Local<F> {
    /// What worker `share.0` of `share.1` owns at its start.
    pub fn new(
        counters: Arc<WorkerCounters>,
        (traffic, tallies): (Arc<TrafficCells>, Arc<Tallies>),
        (notes, relief): (Arc<Notes>, Arc<Relief>),
        standing: Standing,
        reassembly: Arc<Reassembly<F>>,
        shared: &Shared,
        share: (u32, u32),
    ) -> Self {
        Self {
            counters,
            traffic,
            tallies,
            notes,
            relief,
            relief_spread: 0,
            limits: standing.limits,
            waiting: Waiting::new(standing.queues),
            busy: Busy::default(),
            asked: Asked::default(),
            lingering: Lingering::default(),
            reassembly,
            fragments_held: 0,
            reassembly_hand: 0,
            hands: Hands::new(shared, share),
            defender: Defender::new(share),
            sweep: Sweep::default(),
            ip_id: u16::try_from(share.0).unwrap_or(0),
            ip_id_step: u16::try_from(share.1).unwrap_or(1).max(1),
            fragment_id: share.0,
        }
    }

    /// The identification of an IPv6 packet that is cut here.
    pub fn next_fragment_id(&mut self) -> u32 {
        self.fragment_id = self.fragment_id.wrapping_add(self.ip_id_step.into());
        self.fragment_id
    }

    /// The identification of a packet of our own that may be fragmented.
    pub fn next_ip_id(&mut self) -> Option<u16> {
        self.ip_id = self.ip_id.wrapping_add(self.ip_id_step);
        Some(self.ip_id)
    }
}
