//! One end of a TCP connection (RFC 9293), as much of it as a generator of traffic needs: in order; what comes early is dropped
//! and comes again, and selective acknowledgements, which it says it understands, change nothing in what it repeats. It knows how many bytes it has to send, not which.
//!
//! Time is its caller's, nanoseconds. What it wants to say is asked for with [`Tcb::poll`] until there is nothing more.

use super::segment::{Heard, Options, STAMPS_LEN, Said, WINDOW};
use wire::tcp::{ACK, FIN, PSH, RST, SYN};

/// Times and sizes all connections share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Until the first repetition, before a round trip was measured. Each doubles the time to the next.
    pub rto_ns: u64,
    /// Without any progress so long, a connection is given up.
    pub timeout_ns: u64,
    /// Whoever closes first waits so long for repetitions before its ports are free again.
    pub time_wait_ns: u64,
    /// The largest segment we take.
    pub mss: u16,
    /// Whether clients ask for timestamps, which then stand in every segment.
    pub stamps: bool,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// We have asked for it.
    SynSent,
    /// The far end has, and was answered.
    SynReceived,
    /// Data may go; one or both ends may have no more to send.
    Open,
    /// Over; a repetition of the far end's last segment would still be acknowledged.
    TimeWait,
    /// Over.
    Closed,
}

/// One end.
#[derive(Clone, Debug)]
pub struct Tcb {
    state: State,
    /// Our first sequence number, the first not acknowledged, the next to be sent, and the highest sent.
    first: u32,
    acknowledged: u32,
    next: u32,
    highest: u32,
    /// What we expect from the far end.
    expected: u32,
    /// Bytes the far end takes, and the largest of its segments.
    window: u32,
    mss: u16,
    /// What both ends have agreed on in their SYNs.
    agreed: Agreed,
    /// Segments we let be under way.
    congestion: u16,
    duplicates: u8,
    backoff: u8,
    /// Acknowledgements up to here do not tell of another loss.
    recovery: u32,
    /// Bytes we have to send in all, so far.
    queued: u32,
    has_ended: bool,
    far_has_ended: bool,
    /// We said so first.
    closes_first: bool,
    owes_ack: bool,
    is_probing: bool,
    rto_ns: u64,
    progress: u64,
    deadline: u64,
}

/// What the ends of a connection agree on in their SYNs: what both have said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Agreed {
    /// How far the far end's windows are shifted.
    scale: Option<u8>,
    sack: bool,
    /// The far end's last timestamp.
    stamp: Option<u32>,
}

impl Agreed {
    const fn of(options: &Options) -> Self {
        Self {
            scale: options.scale,
            sack: options.sack,
            stamp: match options.stamps {
                Some((sent, _)) => Some(sent),
                None => None,
            },
        }
    }
}

/// What a segment brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took<'a> {
    /// The handshake is done.
    pub is_established: bool,
    /// New data, in order.
    pub data: &'a [u8],
    /// The far end sends no more.
    pub is_end: bool,
    /// Both ends have ended, and know it.
    pub is_over: bool,
    /// The far end has torn it down.
    pub is_reset: bool,
    /// It came before one that is missing, and was dropped.
    pub is_early: bool,
    /// It is of another connection between the same ports, to be refused ([`refusal`]): the far end remembers one we do not.
    pub is_foreign: bool,
}

/// What came of looking at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Nothing, or something to be sent again.
    None,
    /// It has waited long enough for repetitions.
    Over,
    /// No progress for too long.
    GivenUp,
}

/// Segments under way to begin with (RFC 6928), and at most.
const CONGESTION_FIRST: u16 = 10;
const CONGESTION_MOST: u16 = 256;
/// How far our own windows are shifted: 256 kB are offered.
const SCALE: u8 = 2;
/// What a far end takes that does not say (RFC 9293 3.7.1).
const MSS_UNSAID: u16 = 536;
/// Shortest time to a repetition, once a round trip is known.
const RTO_LEAST_NS: u64 = 200_000_000;
const BACKOFF_MOST: u8 = 6;

impl Tcb {
    /// A connection we ask for.
    #[must_use]
    pub const fn connect(now: u64, first: u32, timing: &Timing) -> Self {
        Self {
            state: State::SynSent,
            first,
            acknowledged: first,
            next: first,
            highest: first,
            expected: 0,
            window: 0,
            mss: MSS_UNSAID,
            agreed: Agreed {
                scale: None,
                sack: false,
                stamp: None,
            },
            congestion: CONGESTION_FIRST,
            duplicates: 0,
            backoff: 0,
            recovery: first,
            queued: 0,
            has_ended: false,
            far_has_ended: false,
            closes_first: false,
            owes_ack: false,
            is_probing: false,
            rto_ns: timing.rto_ns,
            progress: now,
            deadline: now + timing.rto_ns,
        }
    }

    /// A connection asked for by `syn`.
    #[must_use]
    pub fn accept(now: u64, first: u32, syn: &Heard<'_>, timing: &Timing) -> Self {
        Self {
            state: State::SynReceived,
            expected: syn.sequence.wrapping_add(1),
            // In SYNs it is as it stands there.
            window: syn.window.into(),
            mss: segment_size(&syn.options, timing),
            agreed: Agreed::of(&syn.options),
            ..Self::connect(now, first, timing)
        }
    }

    /// How far it has come.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// When [`Tcb::lapse`] wants to be asked.
    #[must_use]
    pub const fn deadline(&self) -> u64 {
        self.deadline
    }

    /// What the far end's next byte is numbered.
    #[must_use]
    pub const fn expected(&self) -> u32 {
        self.expected
    }

    /// All that is to be sent so far has been acknowledged.
    #[must_use]
    pub const fn is_acknowledged(&self) -> bool {
        self.acknowledged == self.end()
    }

    /// `bytes` more are to be sent.
    #[inline]
    pub const fn queue(&mut self, bytes: u32) {
        debug_assert!(!self.has_ended);
        self.queued += bytes;
    }

    /// Bytes that were to be sent, from the first.
    #[must_use]
    pub const fn queued(&self) -> u32 {
        self.queued
    }

    /// Its patience begins anew.
    pub const fn touch(&mut self, now: u64, timing: &Timing) {
        self.progress = now;
        self.deadline = now + timing.timeout_ns;
    }

    /// Nothing more is to be sent.
    #[inline]
    pub const fn end_sending(&mut self) {
        self.has_ended = true;
    }

    /// The sequence number behind all data.
    const fn end(&self) -> u32 {
        self.first.wrapping_add(1).wrapping_add(self.queued)
    }

    /// Our end has been said.
    const fn has_said_end(&self) -> bool {
        self.has_ended && self.highest == self.end().wrapping_add(1)
    }

    /// Takes a segment of this connection.
    pub fn take<'a>(&mut self, now: u64, heard: &Heard<'a>, timing: &Timing) -> Took<'a> {
        let mut took = Took::default();
        match self.state {
            State::Closed => return took,
            State::SynSent => {
                self.take_answer(now, heard, timing, &mut took);
                return took;
            }
            _ => {}
        }
        // How far it begins behind, or ahead of, what is expected.
        let ahead = heard.sequence.wrapping_sub(self.expected);
        if heard.flags & RST != 0 {
            // RFC 5961 3.2: only the number that is expected resets.
            if ahead == 0 {
                (self.state, took.is_reset) = (State::Closed, true);
            } else if ahead < u32::from(WINDOW) << self.agreed.scale.map_or(0, |_| SCALE) {
                self.owes_ack = true;
            }
            return took;
        }
        if heard.flags & SYN != 0 {
            if self.state == State::SynReceived && ahead == u32::MAX {
                // Our answer was lost.
                self.next = self.first;
            } else {
                self.owes_ack = true;
            }
            return took;
        }
        // RFC 7323 4.3: of what is in order. Nothing is refused for an old one: that a number comes again takes longer than a test.
        if let (Some(stamp), Some((sent, _))) = (&mut self.agreed.stamp, heard.options.stamps)
            && (ahead == 0 || ahead > u32::MAX / 2)
            && !is_before(sent, *stamp)
        {
            *stamp = sent;
        }
        if heard.flags & ACK == 0 || !self.take_acknowledgement(now, heard, &mut took) {
            return took;
        }
        self.take_data(now, heard, ahead, &mut took);
        if self.acknowledged == self.highest {
            self.deadline = self.progress + timing.timeout_ns;
        }
        if self.far_has_ended && self.has_said_end() && self.acknowledged == self.highest {
            took.is_over = self.state == State::Open;
            if self.closes_first {
                self.state = State::TimeWait;
                self.deadline = now + timing.time_wait_ns;
            } else {
                self.state = State::Closed;
            }
        }
        took
    }

    /// The answer to our SYN.
    fn take_answer(&mut self, now: u64, heard: &Heard<'_>, timing: &Timing, took: &mut Took<'_>) {
        let is_ours = heard.flags & ACK != 0 && heard.acknowledgement == self.first.wrapping_add(1);
        if !is_ours || self.highest == self.first {
            took.is_foreign = heard.flags & ACK != 0;
            return;
        }
        if heard.flags & RST != 0 {
            (self.state, took.is_reset) = (State::Closed, true);
        } else if heard.flags & SYN != 0 {
            self.expected = heard.sequence.wrapping_add(1);
            let mut options = heard.options;
            options.stamps = options.stamps.filter(|_| timing.stamps);
            self.mss = segment_size(&options, timing);
            self.agreed = Agreed::of(&options);
            self.acknowledged = heard.acknowledgement;
            self.next = self.acknowledged;
            self.window = heard.window.into();
            self.owes_ack = true;
            self.establish(now, took);
            self.deadline = now + timing.timeout_ns;
        }
    }

    fn establish(&mut self, now: u64, took: &mut Took<'_>) {
        if self.backoff == 0 {
            // RFC 6298 2.2: a first round trip, and twice half of it as its variation.
            let round_trip = now - self.progress;
            let most = self.rto_ns.max(RTO_LEAST_NS);
            self.rto_ns = (3 * round_trip).clamp(RTO_LEAST_NS, most);
        }
        self.state = State::Open;
        self.backoff = 0;
        self.progress = now;
        took.is_established = true;
    }

    /// False if the segment is to be dropped.
    #[inline]
    fn take_acknowledgement(&mut self, now: u64, heard: &Heard<'_>, took: &mut Took<'_>) -> bool {
        let window = u32::from(heard.window) << self.agreed.scale.unwrap_or(0);
        let newly = heard.acknowledgement.wrapping_sub(self.acknowledged);
        let under_way = self.highest.wrapping_sub(self.acknowledged);
        if newly > under_way {
            // Of what was never sent, or late.
            let is_late = is_before(heard.acknowledgement, self.acknowledged);
            self.owes_ack |= !is_late;
            return is_late && self.state != State::SynReceived;
        }
        if newly > 0 {
            self.acknowledged = heard.acknowledgement;
            if is_before(self.next, self.acknowledged) {
                self.next = self.acknowledged;
            }
            if self.state == State::SynReceived {
                self.establish(now, took);
            }
            (self.backoff, self.duplicates, self.is_probing) = (0, 0, false);
            self.congestion = CONGESTION_MOST.min(self.congestion + 1);
            self.progress = now;
            self.deadline = now + self.rto_ns;
        } else if self.state == State::SynReceived {
            return false;
        } else if under_way > 0
            && heard.payload.is_empty()
            && heard.flags & FIN == 0
            && window == self.window
        {
            // RFC 5681 3.2: the third in a row tells of a loss.
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == 3 && !is_before(self.acknowledged, self.recovery) {
                self.go_back();
            }
        }
        self.window = window;
        true
    }

    /// Everything not acknowledged is sent again, more slowly.
    fn go_back(&mut self) {
        self.next = self.acknowledged;
        self.recovery = self.highest;
        self.congestion = (self.congestion / 2).max(2);
    }

    #[inline]
    fn take_data<'a>(&mut self, now: u64, heard: &Heard<'a>, ahead: u32, took: &mut Took<'a>) {
        let is_end = heard.flags & FIN != 0;
        if heard.payload.is_empty() && !is_end {
            return;
        }
        self.owes_ack = true;
        let mut data = heard.payload;
        if ahead != 0 {
            let known = self.expected.wrapping_sub(heard.sequence) as usize;
            if known > data.len() || ahead < u32::MAX / 2 {
                took.is_early = ahead < u32::MAX / 2;
                return;
            }
            data = data.get(known..).unwrap_or_default();
        }
        if self.far_has_ended {
            return;
        }
        // A frame's payload.
        let len = u32::try_from(data.len()).unwrap_or(0);
        self.expected = self.expected.wrapping_add(len + u32::from(is_end));
        if len > 0 || is_end {
            self.progress = now;
        }
        took.data = data;
        if is_end {
            self.far_has_ended = true;
            self.closes_first = self.has_said_end();
            took.is_end = true;
        }
    }

    /// What is to be sent next, if anything.
    #[inline]
    pub fn poll(&mut self, now: u64, timing: &Timing) -> Option<Said> {
        match self.state {
            State::Closed => None,
            State::SynSent | State::SynReceived => {
                if self.next != self.first {
                    return None;
                }
                let flags = match self.state {
                    State::SynSent => SYN,
                    _ => SYN | ACK,
                };
                self.deadline = self.repetition(now, timing);
                self.owes_ack = false;
                let mut said = self.say(now, flags, 0, 1);
                said.options.mss = Some(timing.mss);
                if self.state == State::SynSent {
                    // As a client asks that can all of it; what it does not ask for, the server does not say.
                    said.options.sack = true;
                    said.options.scale = Some(SCALE);
                    said.options.stamps = timing.stamps.then(|| (clock(now), 0));
                } else {
                    said.options.sack = self.agreed.sack;
                    said.options.scale = self.agreed.scale.map(|_| SCALE);
                }
                Some(said)
            }
            State::Open | State::TimeWait => self.poll_open(now, timing),
        }
    }

    fn poll_open(&mut self, now: u64, timing: &Timing) -> Option<Said> {
        let end = self.end();
        let under_way = self.next.wrapping_sub(self.acknowledged);
        let left = if is_before(self.next, end) {
            end.wrapping_sub(self.next)
        } else {
            0
        };
        let most = u32::from(self.mss) * u32::from(self.congestion);
        let window = self.window.max(self.is_probing.into()).min(most);
        let wanted = left.min(self.mss.into());
        let len = wanted.min(window.saturating_sub(under_way));
        // RFC 9293 3.8.6.2.1: no crumbs while something is under way.
        let is_crumb = len < wanted && under_way > 0;
        let says_end = self.has_ended && len == left && !is_before(end, self.next);
        if (len > 0 && !is_crumb) || (says_end && left == len) {
            if under_way == 0 {
                self.deadline = self.repetition(now, timing);
            }
            let push = if len > 0 && len == left { PSH } else { 0 };
            let fin = if says_end { FIN } else { 0 };
            self.owes_ack = false;
            let len = u16::try_from(len).unwrap_or(u16::MAX);
            return Some(self.say(now, ACK | push | fin, len, says_end.into()));
        }
        if left > 0 && under_way == 0 {
            // The far end takes nothing: it is asked again (RFC 9293 3.8.6.1).
            self.deadline = self.deadline.min(self.repetition(now, timing));
        }
        self.owes_ack.then(|| {
            self.owes_ack = false;
            self.say(now, ACK, 0, 0)
        })
    }

    /// When what is sent now would be sent again; or the connection is given up, if that is sooner.
    #[inline]
    fn repetition(&self, now: u64, timing: &Timing) -> u64 {
        (now + (self.rto_ns << self.backoff)).min(self.progress + timing.timeout_ns)
    }

    /// The next segment: `len` bytes, and `marks` that take a number, too.
    #[inline]
    fn say(&mut self, now: u64, flags: u8, len: u16, marks: u32) -> Said {
        let sequence = self.next;
        self.next = sequence.wrapping_add(u32::from(len) + marks);
        let is_again = is_before(sequence, self.highest) && self.next != sequence;
        if is_before(self.highest, self.next) {
            self.highest = self.next;
        }
        Said {
            flags,
            sequence,
            acknowledgement: if flags & ACK == 0 { 0 } else { self.expected },
            options: Options {
                stamps: self.agreed.stamp.map(|stamp| (clock(now), stamp)),
                ..Options::default()
            },
            at: sequence.wrapping_sub(self.first).wrapping_sub(1),
            len,
            is_again,
        }
    }

    /// Looks at the clock.
    pub fn lapse(&mut self, now: u64, timing: &Timing) -> Lapse {
        if now < self.deadline || self.state == State::Closed {
            return Lapse::None;
        }
        if self.state == State::TimeWait {
            self.state = State::Closed;
            return Lapse::Over;
        }
        if now >= self.progress + timing.timeout_ns {
            return Lapse::GivenUp;
        }
        self.deadline = self.progress + timing.timeout_ns;
        let is_unheard = self.acknowledged != self.highest;
        if is_unheard || !self.is_acknowledged() {
            self.backoff = BACKOFF_MOST.min(self.backoff + 1);
            self.deadline = self.repetition(now, timing);
            self.is_probing = self.window == 0;
        }
        if is_unheard {
            self.go_back();
        }
        Lapse::None
    }

    /// Tears it down; what to tell the far end.
    pub fn reset(&mut self) -> Said {
        self.state = State::Closed;
        self.next = self.highest;
        // RFC 7323 3.2: a reset may do without timestamps.
        self.agreed.stamp = None;
        self.say(0, RST | ACK, 0, 0)
    }
}

/// The answer to a segment of a connection there is none of (RFC 9293 3.10.7.1); none to a reset.
#[must_use]
pub fn refusal(heard: &Heard<'_>) -> Option<Said> {
    if heard.flags & RST != 0 {
        return None;
    }
    let said = Said {
        flags: RST,
        sequence: heard.acknowledgement,
        acknowledgement: 0,
        options: Options::default(),
        at: 0,
        len: 0,
        is_again: false,
    };
    if heard.flags & ACK != 0 {
        return Some(said);
    }
    let len = u32::try_from(heard.payload.len()).unwrap_or(0);
    let marks = u32::from(heard.flags & SYN != 0) + u32::from(heard.flags & FIN != 0);
    Some(Said {
        flags: RST | ACK,
        sequence: 0,
        acknowledgement: heard.sequence.wrapping_add(len + marks),
        ..said
    })
}

/// Bytes of data in a segment to who has said so: options are no part of the size it says (RFC 6691).
fn segment_size(options: &Options, timing: &Timing) -> u16 {
    let size = options.mss.unwrap_or(MSS_UNSAID).min(timing.mss);
    let stamps = if options.stamps.is_some() {
        STAMPS_LEN
    } else {
        0
    };
    size.saturating_sub(stamps).max(64)
}

/// The clock of timestamps: milliseconds, and never 0.
#[expect(clippy::cast_possible_truncation, reason = "it wraps")]
const fn clock(now: u64) -> u32 {
    (now / 1_000_000) as u32 | 1 << 31
}

/// Whether sequence number `a` comes before `b`.
#[inline]
const fn is_before(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) < 1 << 31
}

#[cfg(test)]
mod tests;
