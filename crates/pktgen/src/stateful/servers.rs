//! Servers: they accept connections, answer requests with a content of a given size, and close when they are asked to or the client
//! has. Without ports or a clock, as the clients.

use super::{
    clients::Outlet,
    http::{self, Content},
    segment::{Frame, Path, Tuple},
    table::Table,
    tally::ServerTally,
    tcb::{self, Lapse, State, Tcb, Timing},
};
use crate::axis::Axis;
use std::{collections::HashMap, sync::Arc};
use wire::tcp::{ACK, RST, SYN};

/// What every server does.
#[derive(Clone)]
pub struct Service {
    /// Bytes of the content of each response.
    pub content: u32,
    /// The ports that are open; all if it does not say.
    pub ports: Option<Axis>,
    /// Our addresses, IPv4 and IPv6: segments to others are nobody's.
    pub addresses: [Vec<Axis>; 2],
    /// Times and sizes.
    pub timing: Timing,
    /// Added to sequence numbers.
    pub first_sequence: u32,
}

/// A connection of a server.
struct Server {
    tcb: Tcb,
    /// The way back to the client.
    path: Path,
    answered: u32,
    /// The last answer says so.
    closes: bool,
}

/// The servers of one worker.
pub struct Servers {
    service: Service,
    table: Table<Server>,
    /// Heads of responses that stay and that close, of the same length.
    heads: [Vec<u8>; 2],
    content: Arc<Content>,
    /// Requests that came in pieces.
    pieces: HashMap<u32, Vec<u8>>,
    /// What they have seen.
    pub tally: ServerTally,
}

impl Servers {
    /// `most` connections at a time.
    #[must_use]
    pub fn new(service: Service, most: u32, content: Arc<Content>) -> Self {
        let heads = [false, true].map(|closes| http::ok(service.content.into(), closes));
        Self {
            service,
            table: Table::new(most),
            heads,
            content,
            pieces: HashMap::new(),
            tally: ServerTally::default(),
        }
    }

    /// Connections there are.
    #[must_use]
    pub fn open_now(&self) -> usize {
        self.table.len()
    }

    /// No later than this [`Servers::advance`] has something to do, if ever.
    #[must_use]
    pub fn next_look(&self) -> Option<u64> {
        self.table.next_look()
    }

    fn is_ours(&self, address: u128, is_ipv6: bool) -> bool {
        let ours = &self.service.addresses[usize::from(is_ipv6)];
        ours.iter().any(|axis| axis.contains(address))
    }

    /// Takes a frame that came in.
    #[inline]
    pub fn take(&mut self, now: u64, frame: &Frame<'_>, out: &mut impl Outlet) {
        let is_syn = frame.heard.flags & (SYN | ACK | RST) == SYN;
        let mut entry = self.table.find(&frame.tuple);
        if is_syn
            && let Some(old) = entry
            && let Some((_, server)) = self.table.get_mut(old)
            && server.tcb.state() == State::TimeWait
        {
            // RFC 9293 3.6.1: the client uses its port anew.
            self.forget(old);
            entry = None;
        }
        let Some(entry) = entry else {
            self.welcome(now, frame, is_syn, out);
            return;
        };
        let Some((_, server)) = self.table.get_mut(entry) else {
            return;
        };
        let took = server.tcb.take(now, &frame.heard, &self.service.timing);
        self.tally.early += u64::from(took.is_early);
        self.tally.established += u64::from(took.is_established);
        if took.is_reset {
            self.tally.reset += 1;
            self.forget(entry);
            return;
        }
        if !took.data.is_empty() && !self.read(entry, took.data) {
            self.tally.malformed += 1;
            self.tear_down(entry, out);
            return;
        }
        if let Some((_, server)) = self.table.get_mut(entry)
            && took.is_end
        {
            server.tcb.end_sending();
        }
        self.tally.closed += u64::from(took.is_over);
        self.speak(entry, now, out);
    }

    /// A segment of no connection: one begins, or it is refused.
    fn welcome(&mut self, now: u64, frame: &Frame<'_>, is_syn: bool, out: &mut impl Outlet) {
        let port = frame.tuple.ports[0];
        let ports = self.service.ports.as_ref();
        let is_open = ports.is_none_or(|ports| ports.contains(port.into()));
        let is_ours = self.is_ours(frame.tuple.ours, frame.tuple.is_ipv6);
        if !is_syn || !is_open || !is_ours {
            self.tally.stray += 1;
            if is_ours && let Some(said) = tcb::refusal(&frame.heard) {
                out.put(&frame.back, &frame.tuple, &said, |_| {});
            }
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a sequence number wraps")]
        let first = self
            .service
            .first_sequence
            .wrapping_add((now / 4000) as u32);
        let server = Server {
            tcb: Tcb::accept(now, first, &frame.heard, &self.service.timing),
            path: frame.back,
            answered: 0,
            closes: false,
        };
        match self.table.insert(frame.tuple, server) {
            Some(entry) => {
                self.tally.accepted += 1;
                if !self.pieces.is_empty() {
                    self.pieces.remove(&entry);
                }
                self.speak(entry, now, out);
            }
            None => self.tally.no_room += 1,
        }
    }

    /// Looks at the connections whose time has come.
    pub fn advance(&mut self, now: u64, out: &mut impl Outlet) {
        while let Some(entry) = self.table.due(now) {
            let Some((_, server)) = self.table.get_mut(entry) else {
                continue;
            };
            match server.tcb.lapse(now, &self.service.timing) {
                Lapse::None => self.speak(entry, now, out),
                Lapse::Over => self.forget(entry),
                Lapse::GivenUp => {
                    self.tally.timeout += 1;
                    self.tear_down(entry, out);
                }
            }
        }
    }

    /// Tears down everything there is.
    pub fn end(&mut self, out: &mut impl Outlet) {
        let all: Vec<u32> = self.table.entries().collect();
        for entry in all {
            if let Some((_, server)) = self.table.get_mut(entry)
                && server.tcb.state() != State::TimeWait
            {
                self.tally.unfinished += 1;
                self.tear_down(entry, out);
            }
        }
    }

    /// Answers every request that is whole now; false if there is something else.
    fn read(&mut self, entry: u32, data: &[u8]) -> bool {
        self.tally.bytes_received += data.len() as u64;
        let known = self.pieces.remove(&entry);
        let all = known.map(|mut known| {
            known.extend_from_slice(data);
            known
        });
        let mut data = all.as_deref().unwrap_or(data);
        while !data.is_empty() {
            let Some((_, server)) = self.table.get_mut(entry) else {
                return true;
            };
            if server.closes {
                // What comes behind the last request is not read.
                return true;
            }
            let request = match http::request(data) {
                Ok(Some(request)) => request,
                Ok(None) => {
                    self.pieces.insert(entry, data.to_vec());
                    return true;
                }
                Err(_) => return false,
            };
            data = data.get(request.len..).unwrap_or_default();
            self.tally.requests += 1;
            server.answered += 1;
            server.closes = request.closes || request.is_head;
            let head = u32::try_from(self.heads[0].len()).unwrap_or(0);
            let content = if request.is_head {
                0
            } else {
                self.service.content
            };
            let Some(all) = server
                .tcb
                .queued()
                .checked_add(head + content)
                .filter(|all| *all < 1 << 31)
            else {
                return false;
            };
            debug_assert!(all > 0);
            server.tcb.queue(head + content);
            self.tally.bytes_sent += u64::from(head + content);
            if server.closes {
                server.tcb.end_sending();
            }
        }
        true
    }

    #[inline]
    fn speak(&mut self, entry: u32, now: u64, out: &mut impl Outlet) {
        let Some((tuple, server)) = self.table.get_mut(entry) else {
            return;
        };
        let (content, heads, len) = (&self.content, &self.heads, self.service.content);
        while let Some(said) = server.tcb.poll(now, &self.service.timing) {
            self.tally.segments_again += u64::from(said.is_again);
            let last = server.closes.then_some(server.answered);
            out.put(&server.path, tuple, &said, |data| {
                fill(heads, content, len, last, said.at, data);
            });
        }
        let is_over = match server.tcb.state() {
            State::Closed => true,
            State::TimeWait => self.service.timing.time_wait_ns == 0,
            _ => false,
        };
        if is_over {
            self.forget(entry);
        } else {
            let lingers = server.tcb.state() == State::TimeWait;
            let deadline = server.tcb.deadline();
            self.table.arm(entry, deadline);
            if lingers {
                self.table.linger(entry);
            }
        }
    }

    fn tear_down(&mut self, entry: u32, out: &mut impl Outlet) {
        if let Some((tuple, server)) = self.table.get_mut(entry) {
            let said = server.tcb.reset();
            let (path, tuple): (Path, Tuple) = (server.path, *tuple);
            out.put(&path, &tuple, &said, |_| {});
        }
        self.forget(entry);
    }

    fn forget(&mut self, entry: u32) {
        if !self.pieces.is_empty() {
            self.pieces.remove(&entry);
        }
        self.table.remove(entry);
    }
}

/// The bytes a server sends, from `at` on; `last`: which response, from 1, says that it is the last.
fn fill(
    heads: &[Vec<u8>; 2],
    content: &Content,
    len: u32,
    last: Option<u32>,
    at: u32,
    mut out: &mut [u8],
) {
    let head_len = heads[0].len();
    let each = head_len as u64 + u64::from(len);
    let mut at = u64::from(at);
    while !out.is_empty() {
        let (number, within) = (at / each, at % each);
        let head = &heads[usize::from(last.is_some_and(|last| u64::from(last) == number + 1))];
        let from = usize::try_from(within).unwrap_or(usize::MAX);
        let piece = if from < head_len {
            (head_len - from).min(out.len())
        } else {
            usize::try_from(each - within)
                .unwrap_or(usize::MAX)
                .min(out.len())
        };
        let (now, later) = out.split_at_mut(piece);
        if from < head_len {
            now.copy_from_slice(&head[from..from + piece]);
        } else {
            content.fill(within - head_len as u64, now);
        }
        at += piece as u64;
        out = later;
    }
}
