//! The loop that puts clients and servers on ports. What is allocated while it runs are packet buffers, and room for heads that come
//! in pieces.

use super::{
    clients::{Clients, Outlet},
    segment::{self, Path, Said, Tuple, Unread},
    servers::Servers,
    tally::{ClientTally, Live, ServerTally, Times},
    tuples::Owners,
};
use crate::{
    wiring::{BURST, Lane},
    worker::{Phase, cpu_time},
};
use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use dpdk::{Mbuf, Mempool, TxQueue};
use host::cycles;
use std::{sync::Arc, time::Duration};
use wire::Frame;

/// Frames that wait for a port.
const WAITING: usize = 256;
/// Connections opened at once.
const OPENED: usize = 32;
/// Rounds between two looks at what is told while it runs.
const ROUNDS: u32 = 64;

/// Frames for another worker: those of its connections that came in by this one's queue.
pub type Ring = ArrayQueue<Mbuf>;

/// Who lives at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Clients.
    Clients,
    /// Servers.
    Servers,
}

/// An end of a port, and who lives there.
pub struct End {
    /// Queues, and who we are on the link.
    pub lane: Lane,
    /// Who speaks TCP there.
    pub role: Role,
}

/// One worker.
pub struct Worker {
    /// Its ends of the ports.
    pub ends: Vec<End>,
    /// Clients, if there are any.
    pub clients: Option<Clients>,
    /// Servers, if there are any.
    pub servers: Option<Servers>,
    /// Buffers of what is sent.
    pub pool: Mempool,
    /// Cycles a second.
    pub hz: u64,
    /// For whoever watches.
    pub live: Arc<Live>,
    /// Which worker a connection of the clients is of, this worker's number, and everybody's rings.
    pub owners: Option<Owners>,
    /// This worker's number.
    pub number: u16,
    /// A ring for each worker.
    pub rings: Arc<[Ring]>,
}

/// What a worker leaves.
pub struct Done {
    /// Its ends of the ports.
    pub lanes: Vec<Lane>,
    /// What its clients saw, and how long it took.
    pub clients: Option<(ClientTally, Times)>,
    /// What its servers saw.
    pub servers: Option<ServerTally>,
    /// CPU time while connections were opened.
    pub cpu: Duration,
    /// Part of that time in nanoseconds in which the rate was not kept.
    pub behind_ns: f64,
    /// Frames no port took.
    pub unsent: u64,
}

/// Writes frames into buffers, and hands them to a port.
struct Desk<'a> {
    tx: &'a mut TxQueue,
    waiting: &'a mut ArrayVec<Mbuf, WAITING>,
    pool: &'a Mempool,
    unsent: &'a mut u64,
}

impl Desk<'_> {
    #[inline]
    fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.tx.burst(self.waiting);
        }
    }
}

impl Outlet for Desk<'_> {
    #[inline]
    fn put(&mut self, path: &Path, tuple: &Tuple, said: &Said, fill: impl FnOnce(&mut [u8])) {
        if self.waiting.is_full() {
            self.flush();
        }
        let headers = segment::headers_len(path, tuple.is_ipv6, said);
        let len = headers + usize::from(said.len);
        let frame = self
            .pool
            .alloc()
            .and_then(|mut frame| frame.append(len).then_some(frame));
        let Some(mut frame) = frame.filter(|_| !self.waiting.is_full()) else {
            // As if it was lost: it comes again.
            *self.unsent += 1;
            return;
        };
        let bytes = frame.head_mut();
        if let Some(data) = bytes.get_mut(headers..) {
            fill(data);
        }
        segment::write(path, tuple, said, bytes);
        self.waiting.push(frame);
    }
}

impl Worker {
    /// Runs until `phase` says so.
    #[must_use]
    pub fn run(mut self, phase: &Phase) -> Done {
        let mut waiting: Vec<ArrayVec<Mbuf, WAITING>> =
            self.ends.iter().map(|_| ArrayVec::new()).collect();
        let mut inbox: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        while phase.get() == Phase::WAIT {
            std::hint::spin_loop();
        }
        let cpu_before = cpu_time();
        let mut cpu = None;
        let clock = Clock::start(self.hz);
        let (mut unsent, mut rounds) = (0, 0);
        loop {
            let now = clock.now();
            let stage = phase.get();
            if stage > Phase::SEND && cpu.is_none() {
                cpu = Some(cpu_time().saturating_sub(cpu_before));
            }
            for number in 0..self.ends.len() {
                self.receive(number, now, &mut inbox, &mut waiting, &mut unsent);
            }
            for (end, waiting) in self.ends.iter_mut().zip(&mut waiting) {
                let mut desk = Desk {
                    tx: &mut end.lane.tx,
                    waiting,
                    pool: &self.pool,
                    unsent: &mut unsent,
                };
                match (end.role, &mut self.clients, &mut self.servers) {
                    (Role::Clients, Some(clients), _) => {
                        clients.advance(now, &mut desk);
                        // A port that is full first gets rid of what it has.
                        if stage == Phase::SEND && desk.waiting.len() < WAITING / 2 {
                            clients.open(now, OPENED, &mut desk);
                        }
                        if stage == Phase::END {
                            clients.end(now, &mut desk);
                        }
                    }
                    (Role::Servers, _, Some(servers)) => {
                        servers.advance(now, &mut desk);
                        if stage == Phase::END {
                            servers.end(&mut desk);
                        }
                    }
                    _ => {}
                }
                desk.flush();
            }
            rounds += 1;
            if rounds == ROUNDS || stage == Phase::END {
                rounds = 0;
                self.tell();
            }
            if stage == Phase::END {
                break;
            }
        }
        Done {
            behind_ns: self.clients.as_ref().map_or(0.0, Clients::given_up_pace),
            lanes: self.ends.into_iter().map(|end| end.lane).collect(),
            clients: self.clients.map(|clients| (clients.tally, clients.times)),
            servers: self.servers.map(|servers| servers.tally),
            cpu: cpu.unwrap_or_default(),
            unsent: unsent + waiting.iter().map(|w| w.len() as u64).sum::<u64>(),
        }
    }

    /// Takes a burst of a port's queue, and what other workers found there for this one's clients.
    #[inline]
    fn receive(
        &mut self,
        number: usize,
        now: u64,
        inbox: &mut ArrayVec<Mbuf, BURST>,
        waiting: &mut [ArrayVec<Mbuf, WAITING>],
        unsent: &mut u64,
    ) {
        let (Some(end), Some(waiting)) = (self.ends.get_mut(number), waiting.get_mut(number))
        else {
            return;
        };
        end.lane.rx.burst(inbox);
        let own = inbox.len();
        if end.role == Role::Clients
            && let Some(ring) = self.rings.get(usize::from(self.number))
        {
            while !inbox.is_full()
                && let Some(frame) = ring.pop()
            {
                inbox.push(frame);
            }
        }
        if inbox.is_empty() {
            return;
        }
        let mut desk = Desk {
            tx: &mut end.lane.tx,
            waiting,
            pool: &self.pool,
            unsent,
        };
        let mut others: ArrayVec<(u16, usize), BURST> = ArrayVec::new();
        for (at, frame) in inbox.iter_mut().enumerate() {
            if frame.segment_count() > 1 && !frame.linearize() {
                continue;
            }
            match (segment::read(frame.head()), end.role) {
                (Ok(read), Role::Clients) => {
                    let owner = self
                        .owners
                        .as_ref()
                        .and_then(|owners| owners.of(&read.tuple));
                    if let Some(owner) = owner.filter(|owner| *owner != self.number && at < own) {
                        others.push((owner, at));
                    } else if let Some(clients) = &mut self.clients {
                        clients.take(now, &read, &mut desk);
                    }
                }
                (Ok(read), Role::Servers) => {
                    if let Some(servers) = &mut self.servers {
                        servers.take(now, &read, &mut desk);
                    }
                }
                (Err(Unread::Damaged), role) => {
                    match (role, &mut self.clients, &mut self.servers) {
                        (Role::Clients, Some(clients), _) => clients.tally.damaged += 1,
                        (Role::Servers, _, Some(servers)) => servers.tally.damaged += 1,
                        _ => {}
                    }
                }
                (Err(Unread::Other), _) => {
                    if let Some(answer) = end.lane.station.answer(frame.head())
                        && let Some(mut frame) = self.pool.alloc()
                        && frame.extend_from_slice(&answer)
                        && !desk.waiting.is_full()
                    {
                        desk.waiting.push(frame);
                    }
                }
            }
        }
        // Taken out from the back, so that the places of those before stay; handed over in the order they came.
        let mut handed: ArrayVec<(u16, Mbuf), BURST> = ArrayVec::new();
        for (owner, at) in others.into_iter().rev() {
            handed.push((owner, inbox.swap_remove(at)));
        }
        while let Some((owner, frame)) = handed.pop() {
            if let Some(ring) = self.rings.get(usize::from(owner)) {
                // A ring that is full loses it: it comes again.
                *unsent += u64::from(ring.push(frame).is_err());
            }
        }
        Mbuf::free_burst(inbox);
    }

    /// Tells whoever watches.
    fn tell(&self) {
        let live = &self.live;
        if let Some(clients) = &self.clients {
            let tally = &clients.tally;
            live.opened.set(tally.opened);
            live.established.set(tally.established);
            live.closed.set(tally.closed + tally.closed_by_reset);
            live.exchanges.set(tally.responses);
            live.failed.set(tally.failed() + tally.wrong());
            live.bytes.set(tally.bytes_received);
            live.open.set(tally.open_now());
            live.has_opened_all.set(clients.has_opened_all().into());
        } else if let Some(servers) = &self.servers {
            let tally = &servers.tally;
            live.opened.set(tally.accepted);
            live.established.set(tally.established);
            live.closed.set(tally.closed);
            live.exchanges.set(tally.requests);
            live.failed.set(tally.timeout + tally.malformed);
            live.bytes.set(tally.bytes_sent);
            live.open.set(servers.open_now() as u64);
        }
    }
}

/// Nanoseconds since it was started.
struct Clock {
    start: u64,
    /// Nanoseconds of a cycle, in 2^-32.
    ns_of_cycle: u64,
}

impl Clock {
    fn start(hz: u64) -> Self {
        let ns_of_cycle = u64::try_from((1_000_000_000_u128 << 32) / u128::from(hz.max(1)));
        Self {
            start: cycles(),
            ns_of_cycle: ns_of_cycle.unwrap_or(u64::MAX),
        }
    }

    #[inline]
    fn now(&self) -> u64 {
        let since = u128::from(cycles() - self.start);
        u64::try_from((since * u128::from(self.ns_of_cycle)) >> 32).unwrap_or(u64::MAX)
    }
}
