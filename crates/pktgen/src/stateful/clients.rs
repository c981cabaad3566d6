//! Clients: they open connections at a rate, ask, check what they are answered, and close. Without ports or a clock: what they hear
//! and the time are told, what they say is handed to an [`Outlet`].

use super::{
    http::{self, Content},
    segment::{Frame, Path, Said, Tuple},
    table::Table,
    tally::{ClientTally, Times},
    tcb::{self, Lapse, State, Tcb, Timing},
    tuples::Tuples,
};
use crate::rate::Pace;
use std::{collections::HashMap, sync::Arc};

/// Where frames go.
pub trait Outlet {
    /// A segment of `tuple`; `fill` writes its data.
    fn put(&mut self, path: &Path, tuple: &Tuple, said: &Said, fill: impl FnOnce(&mut [u8]));
}

/// Who ends a connection when all is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Close {
    /// The client ends it first.
    Client,
    /// The last request asks the server to.
    Server,
    /// The client resets it.
    Reset,
}

/// What every client does.
#[derive(Clone)]
pub struct Script {
    /// Requests of a connection; 0: none, it is closed when it is established.
    pub requests: u32,
    /// All but the last, and the last.
    pub request: Arc<[u8]>,
    /// As long as the others.
    pub last_request: Arc<[u8]>,
    /// Who closes.
    pub close: Close,
    /// Nanoseconds a connection is kept open when all is done.
    pub hold_ns: u64,
    /// The length responses are to have.
    pub expected_len: Option<u64>,
    /// The bytes they are to have, if they are not another pktgen's.
    pub expected: Option<Arc<[u8]>>,
    /// Times and sizes.
    pub timing: Timing,
    /// To the next hop.
    pub path: Path,
    /// Added to sequence numbers: those of another run shall differ.
    pub first_sequence: u32,
    /// Whether there is a bound to how many connections are opened.
    pub count: Option<u64>,
}

/// A connection of a client.
struct Client {
    tcb: Tcb,
    opened: u64,
    asked: u64,
    /// Requests sent and answered.
    sent: u32,
    answered: u32,
    reading: Reading,
    /// All is done; it is kept open until then.
    holds_until: Option<u64>,
    /// All is done; it is reset as soon as the server has been told of all that came.
    resets: bool,
}

/// Where in a response it is.
#[derive(Clone, Copy)]
enum Reading {
    /// In its head; what has come of it is kept elsewhere.
    Head,
    /// In its content.
    Content {
        at: u64,
        /// None: until the end.
        len: Option<u64>,
        check: Check,
        is_right: bool,
    },
}

/// What a content is compared with.
#[derive(Clone, Copy)]
enum Check {
    Nothing,
    Ours,
    File,
}

/// The clients of one worker.
pub struct Clients {
    script: Script,
    table: Table<Client>,
    tuples: Tuples,
    pace: Pace,
    /// Heads that came in pieces.
    heads: HashMap<u32, Vec<u8>>,
    content: Arc<Content>,
    /// What they have seen.
    pub tally: ClientTally,
    /// How long it took.
    pub times: Times,
}

/// What is to become of a connection.
enum Fate {
    Stays,
    /// It is over, and counted.
    Gone,
    /// It is counted, and is to be torn down.
    Reset,
}

impl Clients {
    /// `most` at a time, opened as `pace` says, from and to `tuples`.
    #[must_use]
    pub fn new(
        script: Script,
        most: u32,
        tuples: Tuples,
        pace: Pace,
        content: Arc<Content>,
    ) -> Self {
        Self {
            script,
            table: Table::new(most),
            tuples,
            pace,
            heads: HashMap::new(),
            content,
            tally: ClientTally::default(),
            times: Times::default(),
        }
    }

    /// Connections there are, those that wait for repetitions among them.
    #[must_use]
    pub fn open_now(&self) -> usize {
        self.table.len()
    }

    /// No more are to be opened.
    #[must_use]
    pub fn has_opened_all(&self) -> bool {
        self.script.count == Some(self.tally.opened)
    }

    /// Whether there is room for one more, and more are to be opened.
    #[must_use]
    pub fn can_open(&self) -> bool {
        self.table.has_room() && !self.has_opened_all()
    }

    /// Clocks in which the rate was not kept.
    #[must_use]
    pub const fn given_up_pace(&self) -> f64 {
        self.pace.given_up()
    }

    /// When the next connection is due.
    #[must_use]
    pub const fn next_opening(&self) -> f64 {
        self.pace.due()
    }

    /// No later than this [`Clients::advance`] has something to do, if ever.
    #[must_use]
    pub fn next_look(&self) -> Option<u64> {
        self.table.next_look()
    }

    /// Opens what is due, `most` at once.
    pub fn open(&mut self, now: u64, most: usize, out: &mut impl Outlet) {
        #[expect(clippy::cast_precision_loss, reason = "2^52 ns are weeks")]
        let clock = now as f64;
        self.pace.catch_up(clock);
        for _ in 0..most {
            if !self.pace.is_due(clock) || !self.table.has_room() || self.has_opened_all() {
                return;
            }
            let table = &self.table;
            let Some(tuple) = self.tuples.next_free(|tuple| table.find(tuple).is_none()) else {
                self.tally.no_free_port += 1;
                return;
            };
            self.pace.sent(0);
            self.tally.opened += 1;
            let script = &self.script;
            // RFC 6528: four microseconds each; another offset for each tuple is not needed by a generator.
            #[expect(clippy::cast_possible_truncation, reason = "a sequence number wraps")]
            let first = script.first_sequence.wrapping_add((now / 4000) as u32);
            let client = Client {
                tcb: Tcb::connect(now, first, &script.timing),
                opened: now,
                asked: now,
                sent: 0,
                answered: 0,
                reading: Reading::Head,
                holds_until: None,
                resets: false,
            };
            if let Some(entry) = self.table.insert(tuple, client) {
                if !self.heads.is_empty() {
                    self.heads.remove(&entry);
                }
                self.speak(entry, now, out);
            }
        }
    }

    /// Takes a frame that came in.
    #[inline]
    pub fn take(&mut self, now: u64, frame: &Frame<'_>, out: &mut impl Outlet) {
        let Some(entry) = self.table.find(&frame.tuple) else {
            self.tally.stray += 1;
            if let Some(said) = tcb::refusal(&frame.heard) {
                out.put(&frame.back, &frame.tuple, &said, |_| {});
            }
            return;
        };
        let Some((_, client)) = self.table.get_mut(entry) else {
            return;
        };
        let before = client.tcb.state();
        let took = client.tcb.take(now, &frame.heard, &self.script.timing);
        self.tally.early += u64::from(took.is_early);
        if took.is_established {
            self.tally.established += 1;
            self.times
                .handshake
                .saturating_record((now - client.opened).max(1));
            if self.script.requests > 0 {
                ask(client, &self.script, now, &mut self.tally);
            } else {
                finish(client, &self.script, now);
            }
        }
        if took.is_foreign {
            self.tally.stray += 1;
            if let Some(said) = tcb::refusal(&frame.heard) {
                out.put(&frame.back, &frame.tuple, &said, |_| {});
            }
            return;
        }
        let mut fate = Fate::Stays;
        if took.is_reset {
            match before {
                State::SynSent => self.tally.refused += 1,
                // The other end may reset what both have ended.
                State::TimeWait => {}
                _ => self.tally.reset += 1,
            }
            fate = Fate::Gone;
        } else if !took.data.is_empty() {
            fate = self.read(entry, now, took.data);
        }
        if matches!(fate, Fate::Stays) && took.is_end {
            fate = self.hear_end(entry, now);
        }
        if matches!(fate, Fate::Stays) && took.is_over {
            self.tally.closed += 1;
        }
        self.settle(entry, now, fate, out);
    }

    /// Looks at the connections whose time has come.
    pub fn advance(&mut self, now: u64, out: &mut impl Outlet) {
        while let Some(entry) = self.table.due(now) {
            let Some((_, client)) = self.table.get_mut(entry) else {
                continue;
            };
            let mut fate = Fate::Stays;
            if client.holds_until.is_some_and(|until| now >= until) {
                client.holds_until = None;
                client.tcb.touch(now, &self.script.timing);
                close(client, &self.script);
            }
            let before = client.tcb.state();
            match client.tcb.lapse(now, &self.script.timing) {
                Lapse::None => {}
                Lapse::Over => fate = Fate::Gone,
                Lapse::GivenUp => {
                    let done = client.answered == self.script.requests;
                    match before {
                        State::SynSent => self.tally.timeout_handshake += 1,
                        _ if done => self.tally.timeout_close += 1,
                        _ => self.tally.timeout_exchange += 1,
                    }
                    fate = Fate::Reset;
                }
            }
            self.settle(entry, now, fate, out);
        }
    }

    /// Tears down everything there is.
    pub fn end(&mut self, now: u64, out: &mut impl Outlet) {
        let all: Vec<u32> = self.table.entries().collect();
        for entry in all {
            if let Some((_, client)) = self.table.get_mut(entry)
                && client.tcb.state() != State::TimeWait
            {
                self.tally.unfinished += 1;
                self.settle(entry, now, Fate::Reset, out);
            }
        }
    }

    /// Reads what is new of the responses.
    fn read(&mut self, entry: u32, now: u64, mut data: &[u8]) -> Fate {
        self.tally.bytes_received += data.len() as u64;
        if self.script.requests == 0 {
            // A greeting.
            return Fate::Stays;
        }
        while !data.is_empty() {
            let Some((_, client)) = self.table.get_mut(entry) else {
                return Fate::Gone;
            };
            let Reading::Content {
                at,
                len,
                check,
                is_right,
            } = &mut client.reading
            else {
                if client.sent == client.answered {
                    // More than was asked for.
                    self.tally.malformed += 1;
                    return Fate::Reset;
                }
                let known = self.heads.remove(&entry).unwrap_or_default();
                let before = known.len();
                let kept = if before > 0 {
                    [&known, data].concat()
                } else {
                    Vec::new()
                };
                match http::response(if before > 0 { &kept } else { data }) {
                    Ok(Some(head)) => {
                        self.begin(entry, &head);
                        data = data
                            .get(head.head.saturating_sub(before)..)
                            .unwrap_or_default();
                    }
                    Ok(None) => {
                        let all = if before > 0 { kept } else { data.to_vec() };
                        self.heads.insert(entry, all);
                        return Fate::Stays;
                    }
                    Err(_) => {
                        self.tally.malformed += 1;
                        return Fate::Reset;
                    }
                }
                self.complete(entry, now);
                continue;
            };
            let left = len.map_or(u64::MAX, |len| len - *at);
            let of_it = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
            let (mine, rest) = data.split_at(of_it);
            *is_right &= match check {
                Check::Nothing => true,
                Check::Ours => self.content.is(*at, mine),
                Check::File => usize::try_from(*at).is_ok_and(|at| {
                    let file = self.script.expected.as_deref().unwrap_or_default();
                    file.get(at..).is_some_and(|file| file.starts_with(mine))
                }),
            };
            *at += of_it as u64;
            data = rest;
            self.complete(entry, now);
        }
        Fate::Stays
    }

    /// A response's head has come.
    fn begin(&mut self, entry: u32, head: &http::Response) {
        // An interim response (100, 103): the real one follows.
        if (100..200).contains(&head.status) {
            return;
        }
        let is_wrong = head.status != 200;
        let expected = self.script.expected.as_ref().map(|file| file.len() as u64);
        let expected = self.script.expected_len.or(expected);
        let is_other_len = !is_wrong
            && head
                .content
                .zip(expected)
                .is_some_and(|(len, expected)| len != expected);
        self.tally.wrong_status += u64::from(is_wrong);
        self.tally.wrong_length += u64::from(is_other_len);
        let check = match head {
            _ if is_wrong || is_other_len => Check::Nothing,
            _ if self.script.expected.is_some() => Check::File,
            head if head.is_ours => Check::Ours,
            _ => Check::Nothing,
        };
        if let Some((_, client)) = self.table.get_mut(entry) {
            client.reading = Reading::Content {
                at: 0,
                len: head.content,
                check,
                is_right: true,
            };
        }
    }

    /// Goes on to the next request if a response is whole.
    fn complete(&mut self, entry: u32, now: u64) {
        let Some((_, client)) = self.table.get_mut(entry) else {
            return;
        };
        let Reading::Content {
            at,
            len: Some(len),
            is_right,
            ..
        } = client.reading
        else {
            return;
        };
        if at < len {
            return;
        }
        self.tally.wrong_content += u64::from(!is_right);
        answered(client, now, &mut self.tally, &mut self.times);
        if client.sent < self.script.requests {
            ask(client, &self.script, now, &mut self.tally);
        } else {
            finish(client, &self.script, now);
        }
    }

    /// The server sends no more.
    fn hear_end(&mut self, entry: u32, now: u64) -> Fate {
        let expected = self.script.expected_len;
        let Some((_, client)) = self.table.get_mut(entry) else {
            return Fate::Gone;
        };
        if let Reading::Content {
            at,
            len: None,
            is_right,
            ..
        } = client.reading
        {
            // Its end is the response's.
            self.tally.wrong_content += u64::from(!is_right);
            self.tally.wrong_length += u64::from(expected.is_some_and(|len| len != at));
            answered(client, now, &mut self.tally, &mut self.times);
        }
        if client.answered < self.script.requests {
            self.tally.short += 1;
            return Fate::Reset;
        }
        client.holds_until = None;
        client.tcb.end_sending();
        Fate::Stays
    }

    /// Says what there is to say, and does as `fate` wants.
    #[inline]
    fn settle(&mut self, entry: u32, now: u64, fate: Fate, out: &mut impl Outlet) {
        match fate {
            Fate::Stays => self.speak(entry, now, out),
            Fate::Gone => self.forget(entry),
            Fate::Reset => {
                if let Some((tuple, client)) = self.table.get_mut(entry) {
                    let said = client.tcb.reset();
                    out.put(&self.script.path, tuple, &said, |_| {});
                }
                self.forget(entry);
            }
        }
    }

    fn forget(&mut self, entry: u32) {
        if !self.heads.is_empty() {
            self.heads.remove(&entry);
        }
        self.table.remove(entry);
    }

    #[inline]
    fn speak(&mut self, entry: u32, now: u64, out: &mut impl Outlet) {
        let script = &self.script;
        let Some((tuple, client)) = self.table.get_mut(entry) else {
            return;
        };
        while let Some(said) = client.tcb.poll(now, &script.timing) {
            if said.is_again {
                match said.options.mss {
                    Some(_) => self.tally.syn_again += 1,
                    None => self.tally.segments_again += 1,
                }
            }
            out.put(&script.path, tuple, &said, |data| {
                fill(script, said.at, data)
            });
        }
        let resets = client.resets && client.tcb.is_acknowledged();
        let is_over = match client.tcb.state() {
            State::Closed => true,
            State::TimeWait => script.timing.time_wait_ns == 0,
            _ => false,
        };
        if resets {
            self.tally.closed_by_reset += 1;
            let said = client.tcb.reset();
            out.put(&script.path, tuple, &said, |_| {});
        }
        if resets || is_over {
            self.forget(entry);
            return;
        }
        let lingers = client.tcb.state() == State::TimeWait;
        // Nothing else is to happen while it is held.
        let deadline = client.holds_until.unwrap_or(client.tcb.deadline());
        self.table.arm(entry, deadline);
        if lingers {
            self.table.linger(entry);
        }
    }
}

/// Sends the next request.
fn ask(client: &mut Client, script: &Script, now: u64, tally: &mut ClientTally) {
    client.sent += 1;
    client.asked = now;
    client.reading = Reading::Head;
    let len = u32::try_from(script.request.len()).unwrap_or(0);
    client.tcb.queue(len);
    tally.requests += 1;
    tally.bytes_sent += u64::from(len);
}

fn answered(client: &mut Client, now: u64, tally: &mut ClientTally, times: &mut Times) {
    client.answered += 1;
    client.reading = Reading::Head;
    tally.responses += 1;
    times
        .response
        .saturating_record((now - client.asked).max(1));
}

/// All is done: now, or later, it is closed.
fn finish(client: &mut Client, script: &Script, now: u64) {
    if script.hold_ns > 0 {
        client.holds_until = Some(now + script.hold_ns);
    } else {
        close(client, script);
    }
}

fn close(client: &mut Client, script: &Script) {
    match script.close {
        Close::Client => client.tcb.end_sending(),
        Close::Server => {}
        Close::Reset => client.resets = true,
    }
}

/// The bytes a client sends, from `at` on.
fn fill(script: &Script, at: u32, mut out: &mut [u8]) {
    let len = script.request.len().max(1);
    let mut at = at as usize;
    while !out.is_empty() {
        let is_last = at / len + 1 == script.requests as usize;
        let request = if is_last {
            &script.last_request
        } else {
            &script.request
        };
        let piece = request.get(at % len..).unwrap_or_default();
        let piece = &piece[..piece.len().min(out.len())];
        if piece.is_empty() {
            return;
        }
        let (now, later) = out.split_at_mut(piece.len());
        now.copy_from_slice(piece);
        at += piece.len();
        out = later;
    }
}
