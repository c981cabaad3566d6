//! What every stage is handed: the moment, the state, the way out; and the only places where frames are counted away.

use crate::{DropReason, Output, local::Local, shared::Shared, snapshot::Snapshot, transmit};
use types::{PortId, Tick};
use wire::{Frame, RxChecksum};

/// One worker's view while it handles a burst.
pub(crate) struct Context<'a, F: Frame, O: Output<F>> {
    /// The moment, read once a burst.
    pub now: Tick,
    /// What control wants, immutable.
    pub snapshot: &'a Snapshot,
    /// What outlives snapshots, shared by all workers.
    pub shared: &'a Shared,
    /// This worker's own.
    pub local: &'a mut Local<F>,
    /// The way out.
    pub out: &'a mut O,
}

impl<F: Frame, O: Output<F>> Context<'_, F, O> {
    /// Drops `frame` and counts why.
    #[inline]
    pub fn drop(&mut self, frame: F, reason: DropReason) {
        self.local.counters.drop_n(reason, 1);
        drop(frame);
    }

    /// Gives `frame` to the host stack behind `port`; if there is none, it is dropped.
    pub fn punt(&mut self, port: PortId, mut frame: F) {
        if !self.snapshot.net.port_has_host(port) {
            self.drop(frame, DropReason::NoHost);
            return;
        }
        if frame.rx_l4_checksum() == RxChecksum::Partial
            && let Some(l3) = transmit::l3_offset(frame.head())
        {
            transmit::complete_checksum(&mut frame, l3);
        }
        // The host knows its VLANs by their tags.
        if let Some(control) = frame.stripped_vlan()
            && !transmit::insert_tag(&mut frame, control)
        {
            self.drop(frame, DropReason::NoRoom);
            return;
        }
        self.local.counters.punted.add(1);
        self.out.punt(port, frame);
    }

    /// Gives an advertisement to whoever speaks VRRP.
    #[cold]
    pub fn advertisement(&mut self, port: PortId, mut frame: F) {
        if let Some(control) = frame.stripped_vlan()
            && !transmit::insert_tag(&mut frame, control)
        {
            self.drop(frame, DropReason::NoRoom);
            return;
        }
        self.local.counters.punted.add(1);
        self.out.advertisement(port, frame);
    }

    /// Gives a message of connection synchronisation to whoever listens.
    #[cold]
    pub fn synchronisation(&mut self, port: PortId, mut frame: F) {
        if let Some(control) = frame.stripped_vlan()
            && !transmit::insert_tag(&mut frame, control)
        {
            self.drop(frame, DropReason::NoRoom);
            return;
        }
        self.local.counters.punted.add(1);
        self.out.synchronisation(port, frame);
    }

    /// Hands a complete Ethernet frame to `port`.
    #[inline]
    pub fn transmit(&mut self, port: PortId, frame: F) {
        self.count_sent(port, 1, frame.total_len() as u64);
        self.out.transmit(port, frame);
    }

    /// Counts frames handed to `port`.
    #[inline]
    pub fn count_sent(&self, port: PortId, packets: u64, bytes: u64) {
        let counters = &self.local.counters;
        counters.tx.add(packets);
        if let Some(port) = counters.ports.get(port.index()) {
            port.tx_packets.add(packets);
            port.tx_bytes.add(bytes);
        }
    }

    /// An empty frame to build a packet in, counted as generated: it must be sent or dropped. `None`, counted, when
    /// no buffer is free.
    pub fn generated(&mut self) -> Option<F> {
        let frame = self.out.alloc();
        match frame {
            Some(_) => self.local.counters.generated.add(1),
            None => self.local.counters.alloc_failed.add(1),
        }
        frame
    }

    /// Accounts for a request whose own buffer becomes its answer: the request ends as answered, the answer is generated.
    pub fn answered_in_place(&mut self) {
        self.local.counters.drop_n(DropReason::Answered, 1);
        self.local.counters.generated.add(1);
    }

    /// Whether the rate limit lets one more answer or error out; counted if not.
    pub fn may_answer(&mut self) -> bool {
        let allowed = self
            .local
            .limits
            .take(self.now, self.snapshot.settings.icmp_rate);
        if !allowed {
            self.local.counters.rate_limited.add(1);
        }
        allowed
    }
}
