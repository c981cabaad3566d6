//! Clients and servers on virtual wires and virtual time: what a dry run writes, and what tests run on.

use super::{
    clients::{Clients, Outlet},
    segment::{self, HEADERS, Path, Said, Tuple},
    servers::Servers,
};
use std::{cmp::Reverse, collections::BinaryHeap};

/// How long a frame is under way.
pub const WIRE_NS: u64 = 50_000;

/// A frame under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnderWay {
    /// When it arrives.
    pub arrives: u64,
    /// Of two that arrive at once, the one sent first.
    number: u64,
    /// To the servers, or to the clients.
    pub to_servers: bool,
    /// All of it, without check sequence.
    pub bytes: Vec<u8>,
}

/// Both sides and the wires between.
pub struct Rehearsal {
    /// One side.
    pub clients: Clients,
    /// The other; none answers without.
    pub servers: Option<Servers>,
    /// Nanoseconds since the start.
    pub now: u64,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    sent: u64,
}

/// Writes frames, and gives them to whoever sends them on.
struct Desk<'a, F: FnMut(Vec<u8>)> {
    take: &'a mut F,
}

impl<F: FnMut(Vec<u8>)> Outlet for Desk<'_, F> {
    fn put(&mut self, path: &Path, tuple: &Tuple, said: &Said, fill: impl FnOnce(&mut [u8])) {
        let headers = segment::headers_len(path, tuple.is_ipv6, said);
        debug_assert!(headers <= HEADERS);
        let mut frame = vec![0; headers + usize::from(said.len)];
        if let Some(data) = frame.get_mut(headers..) {
            fill(data);
        }
        segment::write(path, tuple, said, &mut frame);
        (self.take)(frame);
    }
}

impl Rehearsal {
    /// Nothing has happened yet.
    #[must_use]
    pub const fn new(clients: Clients, servers: Option<Servers>) -> Self {
        Self {
            clients,
            servers,
            now: 0,
            under_way: BinaryHeap::new(),
            sent: 0,
        }
    }

    /// Goes on to the next event no later than `until`, with new connections as long as `is_opening`. `carry` is given every frame sent
    /// and whether it is for the servers, and says when it arrives: none, or several times. False if there is no event.
    pub fn step(
        &mut self,
        until: u64,
        is_opening: bool,
        mut carry: impl FnMut(u64, bool, &[u8]) -> Vec<u64>,
    ) -> bool {
        let Some(next) = self.next_event(is_opening).filter(|next| *next <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        let now = self.now;
        let (under_way, sent) = (&mut self.under_way, &mut self.sent);
        let mut send = |to_servers: bool, bytes: Vec<u8>| {
            for arrives in carry(now, to_servers, &bytes) {
                *sent += 1;
                under_way.push(Reverse(UnderWay {
                    arrives: arrives.max(now),
                    number: *sent,
                    to_servers,
                    bytes: bytes.clone(),
                }));
            }
        };
        let mut arrived = Vec::new();
        let mut from_clients = Vec::new();
        let mut from_servers = Vec::new();
        {
            let mut keep = |frame| from_clients.push(frame);
            let mut desk = Desk { take: &mut keep };
            self.clients.advance(now, &mut desk);
            if is_opening {
                self.clients.open(now, 32, &mut desk);
            }
            if let Some(servers) = &mut self.servers {
                let mut keep = |frame| from_servers.push(frame);
                servers.advance(now, &mut Desk { take: &mut keep });
            }
        }
        from_clients.drain(..).for_each(|frame| send(true, frame));
        from_servers.drain(..).for_each(|frame| send(false, frame));
        while self
            .under_way
            .peek()
            .is_some_and(|Reverse(frame)| frame.arrives <= now)
        {
            arrived.extend(self.under_way.pop().map(|Reverse(frame)| frame));
        }
        for frame in arrived {
            self.deliver(&frame, &mut carry);
        }
        true
    }

    fn deliver(&mut self, frame: &UnderWay, carry: &mut impl FnMut(u64, bool, &[u8]) -> Vec<u64>) {
        let read = segment::read(&frame.bytes);
        let mut answers = Vec::new();
        let mut keep = |frame| answers.push(frame);
        let mut desk = Desk { take: &mut keep };
        match (read, frame.to_servers, &mut self.servers) {
            (Ok(read), true, Some(servers)) => servers.take(self.now, &read, &mut desk),
            (Ok(read), false, _) => self.clients.take(self.now, &read, &mut desk),
            (Err(_), true, Some(servers)) => servers.tally.damaged += 1,
            (Err(_), false, _) => self.clients.tally.damaged += 1,
            (_, true, None) => {}
        }
        for bytes in answers {
            for arrives in carry(self.now, !frame.to_servers, &bytes) {
                self.sent += 1;
                self.under_way.push(Reverse(UnderWay {
                    arrives: arrives.max(self.now),
                    number: self.sent,
                    to_servers: !frame.to_servers,
                    bytes: bytes.clone(),
                }));
            }
        }
    }

    /// When something happens next.
    fn next_event(&self, is_opening: bool) -> Option<u64> {
        let arrival = self.under_way.peek().map(|Reverse(frame)| frame.arrives);
        let looks = [
            self.clients.next_look(),
            self.servers.as_ref().and_then(Servers::next_look),
        ];
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time of the run"
        )]
        let opening = is_opening
            .then(|| self.clients.next_opening().ceil() as u64)
            .filter(|_| self.clients.can_open())
            .map(|due| due.max(self.now + 1));
        // What wants to be looked at by now is looked at a little later: the wheel's lists are of ticks.
        let looks = looks
            .into_iter()
            .flatten()
            .map(|at| at.max(self.now + 1000));
        arrival.into_iter().chain(opening).chain(looks).min()
    }

    /// Frames under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

#[cfg(test)]
mod tests;
