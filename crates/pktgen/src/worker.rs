//! The loop that sends and receives. Once begun it allocates nothing but packet buffers, takes no lock and makes no call to the
//! kernel (what a driver does below is its own affair).

use crate::{
    counts::Counts,
    flows::Flow,
    meter::Meter,
    parse,
    prototype::HEAD,
    rate::Pace,
    recorded::Recorded,
    source::Source,
    template::FCS,
    wiring::{BURST, Lane},
};
use arrayvec::ArrayVec;
use dpdk::{Mbuf, Mempool};
use host::cycles;
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Acquire, Ordering::Release},
    },
    time::Duration,
};
use types::MacAddr;
use wire::{Ethernet, Frame, FromBytes};

/// What all workers do: they wait, then send and receive, then only receive, then end.
#[derive(Debug, Default)]
pub struct Phase(AtomicU8);

impl Phase {
    /// Workers wait.
    pub const WAIT: u8 = 0;
    /// Workers send and receive.
    pub const SEND: u8 = 1;
    /// Workers only receive.
    pub const DRAIN: u8 = 2;
    /// Workers end.
    pub const END: u8 = 3;

    /// Goes on to `phase`.
    pub fn set(&self, phase: u8) {
        self.0.store(phase, Release);
    }

    /// The phase now.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u8 {
        self.0.load(Acquire)
    }
}

/// Frames one direction may be ahead of the other: a call of the driver for every single one is slow.
const AHEAD: u64 = 8;

/// Where frames come from.
pub enum Frames {
    /// Templates. The pool's buffers are blank.
    Made(Source),
    /// A recording.
    Recorded(Recorded),
}

/// One worker.
pub struct Worker {
    /// Its ends of the ports; frames leave by the first.
    pub lanes: Vec<Lane>,
    /// What to send.
    pub frames: Frames,
    /// What to send by the second end, in turns with the first.
    pub back: Option<Frames>,
    /// Who wants to know of frames that come in.
    pub learner: Option<Learner>,
    /// When.
    pub pace: Pace,
    /// How many at most.
    pub count: u64,
    /// For how many clocks at most.
    pub clocks: u64,
    /// Buffers of what is sent.
    pub blank: Mempool,
    /// Buffers of answers.
    pub pool: Mempool,
    /// What comes back.
    pub meter: Meter,
    /// For whoever watches.
    pub counts: Arc<Counts>,
    /// Bytes of frames made and not sent yet, by each end; 0 to begin with.
    pub waiting_bytes: [u64; 2],
    /// Frames made by each end; 0 to begin with.
    pub made: [u64; 2],
    /// Set when there is nothing more to send.
    pub has_sent_all: Arc<AtomicBool>,
    /// When the pace turned to another rate, and how many frames had been made by then; `None` to begin with.
    pub turned: Option<(u64, u64)>,
}

/// Remembers the flows of frames that come in, and the way back.
#[derive(Clone, Debug)]
pub struct Learner {
    /// The way back of each flow, in the order they came; no more than there is room for.
    pub flows: Vec<Flow>,
    /// Who sent them on, and the family.
    pub from: Option<(MacAddr, bool)>,
}

impl Learner {
    /// With room for `flows`.
    #[must_use]
    pub fn new(flows: usize) -> Self {
        Self {
            flows: Vec::with_capacity(flows),
            from: None,
        }
    }

    #[inline]
    fn learn(&mut self, bytes: &[u8]) {
        if self.flows.len() < self.flows.capacity()
            && let Some((flow, is_ipv6)) = parse::flow(bytes)
            && let Ok((ether, _)) = Ethernet::ref_from_prefix(bytes)
        {
            self.flows.push(flow.reversed());
            self.from = Some((MacAddr(ether.source), is_ipv6));
        }
    }
}

/// What a worker leaves.
pub struct Done {
    /// What came back.
    pub meter: Meter,
    /// Clocks from the first frame to the last.
    pub clocks: u64,
    /// CPU time it took to send them, and to receive meanwhile.
    pub cpu: Duration,
    /// Clocks in which the rate was not kept.
    pub given_up: f64,
    /// What was learned.
    pub learner: Option<Learner>,
    /// When the first frame was due.
    pub start: u64,
    /// When the rate turned, and the frames made by then.
    pub turned: Option<(u64, u64)>,
    /// When it ended.
    pub end: u64,
}

impl Worker {
    /// Runs until `phase` says so; gives its ends of the ports back.
    #[must_use]
    pub fn run(mut self, phase: &Phase) -> (Done, Vec<Lane>) {
        while phase.get() == Phase::WAIT {
            std::hint::spin_loop();
        }
        let cpu_before = cpu_time();
        let mut cpu = Duration::ZERO;
        let start = cycles();
        let mut last_sent = start;
        let mut stock: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        let mut outboxes: [ArrayVec<Mbuf, BURST>; 2] = [const { ArrayVec::new_const() }; 2];
        let mut side = 0;
        let mut inbox: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        let mut sending = true;
        loop {
            let now = cycles();
            let phase = phase.get();
            if sending {
                let over = phase > Phase::SEND || now - start >= self.clocks;
                let [forward, back] = &mut outboxes;
                let (outbox, other) = match side {
                    0 => (forward, back),
                    _ => (back, forward),
                };
                if !over {
                    self.fill(side, now - start, now, &mut stock, outbox);
                }
                if !outbox.is_empty() && self.send(side, outbox) > 0 {
                    last_sent = now;
                    // The other direction's turn.
                    side ^= usize::from(self.back.is_some());
                }
                if over || (self.count == 0 && outbox.is_empty() && other.is_empty()) {
                    sending = false;
                    cpu = cpu_time().saturating_sub(cpu_before);
                    outbox.clear();
                    other.clear();
                    self.has_sent_all.store(true, Release);
                } else if self.count == 0 && outbox.is_empty() {
                    side ^= 1;
                }
            }
            self.receive(&mut inbox);
            if phase == Phase::END {
                break;
            }
        }
        let done = Done {
            meter: self.meter,
            clocks: last_sent - start,
            cpu,
            given_up: self.pace.given_up(),
            learner: self.learner,
            start,
            turned: self.turned,
            end: cycles(),
        };
        (done, self.lanes)
    }

    /// Makes the frames that are due.
    #[inline]
    fn fill(
        &mut self,
        side: usize,
        since: u64,
        now: u64,
        stock: &mut ArrayVec<Mbuf, BURST>,
        outbox: &mut ArrayVec<Mbuf, BURST>,
    ) {
        #[expect(clippy::cast_precision_loss, reason = "2^52 clocks are weeks")]
        let since = since as f64;
        let will_turn = self.pace.will_turn();
        self.pace.catch_up(since);
        if will_turn && !self.pace.will_turn() {
            self.note_turn(now);
        }
        let room = outbox.remaining_capacity() as u64;
        let mut most = room.min(self.count);
        // In turns: directions share a rate evenly.
        if self.back.is_some() {
            let [own, other] = match side {
                0 => self.made,
                _ => [self.made[1], self.made[0]],
            };
            most = most.min((other + AHEAD).saturating_sub(own));
        }
        let (mut made, mut bytes) = (0, 0);
        while made < most && self.pace.is_due(since) {
            if stock.is_empty() && !self.blank.take_burst(stock) {
                break;
            }
            let Some(mut frame) = stock.pop() else { break };
            let frames = match (side, &mut self.back) {
                (1, Some(back)) => back,
                _ => &mut self.frames,
            };
            let len = frames.write(now, &mut frame) + FCS;
            self.pace.sent(len);
            bytes += u64::from(len);
            made += 1;
            outbox.push(frame);
        }
        if let Some(waiting) = self.waiting_bytes.get_mut(side) {
            *waiting += bytes;
        }
        if let Some(of_side) = self.made.get_mut(side) {
            *of_side += made;
        }
        self.count -= made;
    }

    /// The rate is another from the next frame on.
    #[cold]
    fn note_turn(&mut self, now: u64) {
        let made = self.made[0];
        self.turned = Some((now, made));
        #[expect(clippy::cast_possible_truncation, reason = "numbers wrap")]
        self.meter.turn(made as u32);
    }

    /// Hands frames to the port; what it does not take stays, to be tried again.
    #[inline]
    fn send(&mut self, side: usize, outbox: &mut ArrayVec<Mbuf, BURST>) -> usize {
        let (Some(lane), Some(waiting)) =
            (self.lanes.get_mut(side), self.waiting_bytes.get_mut(side))
        else {
            return 0;
        };
        let sent = lane.tx.burst(outbox);
        let mut left = 0;
        if !outbox.is_empty() {
            self.counts.refused.add(1);
            left = outbox
                .iter()
                .map(|f| f.total_len() as u64 + u64::from(FCS))
                .sum();
        }
        self.counts.sent.add(sent as u64);
        self.counts.sent_bytes.add(*waiting - left);
        *waiting = left;
        sent
    }

    #[inline]
    fn receive(&mut self, inbox: &mut ArrayVec<Mbuf, BURST>) {
        for lane in &mut self.lanes {
            if lane.rx.burst(inbox) == 0 {
                continue;
            }
            let now = cycles();
            for frame in inbox.iter() {
                let twice = self.meter.seen().duplicates;
                let is_ours =
                    lane.is_metered && self.meter.take(now, frame.head(), frame.total_len());
                if let Some(learner) = &mut self.learner
                    && is_ours
                    && self.meter.seen().duplicates == twice
                {
                    learner.learn(frame.head());
                }
                if !is_ours && let Some(answer) = lane.station.answer(frame.head()) {
                    lane.answer(&self.pool, &answer);
                }
            }
            Mbuf::free_burst(inbox);
            let seen = self.meter.seen();
            self.counts.received.set(seen.stamped);
            self.counts.duplicates.set(seen.duplicates);
            self.counts.foreign.set(seen.foreign);
            self.counts.latency_sum_ns.set(seen.latency_sum_ns);
        }
    }
}

/// CPU time of the calling thread.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

impl Frames {
    /// Writes the next frame into a buffer, whatever it held; says how many bytes it has.
    #[inline(always)]
    fn write(&mut self, clock: u64, frame: &mut Mbuf) -> u16 {
        match self {
            Self::Made(source) => {
                if !frame.renew(HEAD) {
                    return 0;
                }
                let Some(head) = frame.head_mut().first_chunk_mut() else {
                    return 0;
                };
                let len = source.write_next(clock, head);
                // The rest of the buffer is zeros, which is what the frame has there.
                if frame.resize(len.into()) { len } else { 0 }
            }
            Self::Recorded(recorded) => {
                let bytes = recorded.next_frame().unwrap_or_default();
                if !frame.renew(bytes.len()) {
                    return 0;
                }
                frame.head_mut().copy_from_slice(bytes);
                u16::try_from(bytes.len()).unwrap_or(0)
            }
        }
    }
}
