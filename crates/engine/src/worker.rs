//! One worker: everything a thread needs to forward.

use crate::{
    BURST, DropReason, Output, WorkerCounters, context::Context, fragment_in, local::Local,
    localstack, lvs, overload, pipeline, role, shared::Shared, snapshot::Snapshot,
};
use arrayvec::ArrayVec;
use rcu::Reader;
use std::sync::Arc;
use types::{PortId, ServerId, Tick};
use wire::Frame;

/// A worker. Made by [`crate::Director::worker`], moved to its thread, driven by whoever owns ports and clock.
#[derive(Debug)]
pub struct Worker<F: Frame> {
    shared: Arc<Shared>,
    reader: Reader,
    local: Local<F>,
}

impl<F: Frame> Worker<F> {
    /// Offline until its first call: a worker whose thread has not begun delays nobody.
    pub(crate) const fn new(shared: Arc<Shared>, reader: Reader, local: Local<F>) -> Self {
        Self {
            shared,
            reader,
            local,
        }
    }

    /// Handles a burst of frames received on `port`; `burst` is empty afterwards. `now` never goes back.
    pub fn step(
        &mut self,
        now: Tick,
        port: PortId,
        burst: &mut ArrayVec<F, BURST>,
        out: &mut impl Output<F>,
    ) {
        self.enter();
        self.count_received(port, burst);
        let mut cx = self.context(now, out);
        if !cx.local.busy.is_empty() {
            pipeline::retry(&mut cx);
        }
        role::only_ours(&mut cx, port, burst);
        overload::relieve(&mut cx, port, burst);
        pipeline::burst(&mut cx, port, burst);
        cx.local.lingering.settle(&cx.shared.roster);
        if cx.local.hands.are_behind() {
            lvs::go_on(&mut cx);
        }
    }

    /// [`Worker::step`] without the straight way.
    #[cfg(test)]
    pub(crate) fn step_the_long_way(
        &mut self,
        now: Tick,
        port: PortId,
        burst: &mut ArrayVec<F, BURST>,
        out: &mut impl Output<F>,
    ) {
        self.enter();
        self.count_received(port, burst);
        let mut cx = self.context(now, out);
        if !cx.local.busy.is_empty() {
            pipeline::retry(&mut cx);
        }
        role::only_ours(&mut cx, port, burst);
        overload::relieve(&mut cx, port, burst);
        pipeline::the_long_way(&mut cx, port, burst);
        cx.local.lingering.settle(&cx.shared.roster);
        if cx.local.hands.are_behind() {
            lvs::go_on(&mut cx);
        }
    }

    /// Sends frames of the host stack behind `port` as they are; `burst` is empty afterwards.
    pub fn from_host(
        &mut self,
        now: Tick,
        port: PortId,
        burst: &mut ArrayVec<F, BURST>,
        out: &mut impl Output<F>,
    ) {
        self.enter();
        self.local.counters.from_host.add(burst.len() as u64);
        let mut cx = self.context(now, out);
        for frame in burst.drain(..) {
            cx.transmit(port, frame);
        }
    }

    /// The clockwork: neighbours, ageing, packets held back. Bounded; call it at least every millisecond while frames
    /// come, and at least every 100 milliseconds otherwise. Of ageing it does a piece; more is done behind bursts and in
    /// [`Worker::spare_time`].
    pub fn housekeeping(&mut self, now: Tick, out: &mut impl Output<F>) {
        self.enter();
        let mut cx = self.context(now, out);
        if !cx.local.busy.is_empty() {
            pipeline::retry(&mut cx);
        }
        localstack::housekeeping(&mut cx);
        fragment_in::expire(&mut cx);
        lvs::age(&mut cx);
        lvs::reset(&mut cx);
        lvs::ask_again(&mut cx);
        lvs::defend(&mut cx);
        cx.local.lingering.settle(&cx.shared.roster);
    }

    /// A piece of that part of the clockwork which can wait, in a round without frames. False: there is nothing to do.
    #[inline]
    pub fn spare_time(&mut self, now: Tick, out: &mut impl Output<F>) -> bool {
        if !self.local.hands.could_go_on() {
            return false;
        }
        self.enter();
        lvs::go_on_idly(&mut self.context(now, out));
        true
    }

    /// `packets` frames of `bytes` in all, handed over for `port`, were not taken by it.
    pub fn refused(&mut self, port: PortId, bytes: u64, packets: u64) {
        let counters = &self.local.counters;
        counters.tx.sub(packets);
        if let Some(port) = counters.ports.get(port.index()) {
            port.tx_packets.sub(packets);
            port.tx_bytes.sub(bytes);
        }
        counters.drop_n(DropReason::TxRefused, packets);
    }

    /// `packets` frames given to the host stack did not fit its queue.
    pub fn host_refused(&mut self, packets: u64) {
        self.local.counters.punted.sub(packets);
        self.local
            .counters
            .drop_n(DropReason::HostQueueFull, packets);
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> &WorkerCounters {
        &self.local.counters
    }

    /// Before a pause: the worker holds nothing, and control need not wait for it. The next call ends it.
    pub fn offline(&mut self) {
        self.reader.offline();
    }

    /// After a pause. No effect without one.
    pub fn online(&mut self) {
        self.reader.online();
    }

    /// A call begins: nothing read before is held.
    #[inline]
    fn enter(&mut self) {
        if self.reader.is_online() {
            self.reader.quiesce();
        } else {
            self.reader.online();
        }
    }

    fn context<'a, O: Output<F>>(&'a mut self, now: Tick, out: &'a mut O) -> Context<'a, F, O> {
        Context {
            now,
            snapshot: self.shared.snapshot.read(&self.reader),
            shared: &self.shared,
            local: &mut self.local,
            out,
        }
    }

    /// What the next burst will go by.
    pub(crate) fn view(&mut self) -> (&Snapshot, &Shared) {
        self.enter();
        (self.shared.snapshot.read(&self.reader), &self.shared)
    }

    /// What of its own it goes by.
    pub(crate) const fn local(&self) -> &Local<F> {
        &self.local
    }

    /// Connections given to a server by this worker.
    pub(crate) fn connections_of(&self, server: ServerId) -> u64 {
        self.local.traffic.read(server).connections
    }

    fn count_received(&self, port: PortId, burst: &ArrayVec<F, BURST>) {
        let counters = &self.local.counters;
        counters.rx.add(burst.len() as u64);
        if let Some(port) = counters.ports.get(port.index()) {
            let bytes: usize = burst.iter().map(Frame::total_len).sum();
            port.rx_packets.add(burst.len() as u64);
            port.rx_bytes.add(bytes as u64);
        }
    }
}

impl<F: Frame> Drop for Worker<F> {
    /// Frames it still holds go with it, counted.
    fn drop(&mut self) {
        let held = self.local.counters.held.get();
        self.local.counters.held.sub(held);
        self.local.counters.drop_n(DropReason::Shutdown, held);
    }
}
