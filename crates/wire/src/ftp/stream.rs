//! The server's stream with addresses replaced, and the sequence numbers of both sides of it.
//!
//! A replaced range is sent, whole, in place of its last byte; the bytes before it in the range leave nothing. So it
//! does not matter how the server cuts its stream into segments, nor how it cuts it anew when it sends a part again: each
//! byte's image is a function of its position alone. Acknowledgements inside a range fall back to what the server can
//! send again from.

use super::reply::{Announced, Byte, HELD, Replies};
use arrayvec::ArrayVec;
use std::{fmt::Write, net::SocketAddr};

/// Bytes of a segment that can be read at most.
pub const MAX_SEGMENT: usize = 2048;

/// Ranges remembered. Each belongs to a command whose reply the client waits for, so there is seldom more than one that it has
/// not acknowledged. A segment that would need one more is for the server to send again.
const RANGES: usize = 3;

/// Bytes that stand for a range at most.
const TEXT: usize = HELD + 1;

/// A replaced range of the server's stream.
#[derive(Clone, Debug)]
struct Range {
    /// First byte.
    start: u32,
    /// Behind the last byte.
    end: u32,
    /// Where a segment was seen to end inside it, the furthest; else its start. The client cannot acknowledge its parts.
    seen: u32,
    text: ArrayVec<u8, TEXT>,
}

impl Range {
    /// Bytes it is longer than what it replaces, modulo 2^32.
    fn growth(&self) -> u32 {
        len32(self.text.len()).wrapping_sub(self.end.wrapping_sub(self.start))
    }
}

/// How far a server's stream has been moved for the client, in the words of IPVS's `struct ip_vs_seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The server's number up to which `before` holds, that number included.
    pub from: u32,
    /// Added to numbers behind it, modulo 2^32.
    pub by: u32,
    /// Added to those before.
    pub before: u32,
}

/// A server's stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The number of its SYN, once seen.
    initial: Option<u32>,
    /// The byte to come, once any was seen.
    next: Option<u32>,
    replies: Replies,
    /// Where the bytes held begin, if any are.
    open: Option<u32>,
    /// How far all older ranges have moved what is behind them.
    base: u32,
    /// Another director read what came before: what it said of it. `base` is by how much that moved what is behind.
    told: Option<Moved>,
    ranges: ArrayVec<Range, RANGES>,
    /// The server's byte up to which the client has acknowledged.
    acknowledged: u32,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Its sequence number for the client.
    pub sequence: u32,
    /// Bytes of it taken: fewer than it has when the rest did not fit. The server will send it again.
    pub taken: usize,
}

/// Why a segment cannot go on now; the server will send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// There is a hole before it, in which there may be something to replace.
    Hole,
    /// The connection announced could not be expected.
    Refused,
    /// Too much that was replaced is not acknowledged yet.
    Full,
}

impl Stream {
    /// The server's SYN: the stream begins anew, unless it is the same SYN again.
    pub fn begin(&mut self, sequence: u32) {
        if self.initial != Some(sequence) {
            *self = Self {
                initial: Some(sequence),
                next: Some(sequence.wrapping_add(1)),
                acknowledged: sequence,
                ..Self::default()
            };
        }
    }

    /// The segment of these bytes, at most [`MAX_SEGMENT`], for the client: into `out`, at most `room` bytes (never fewer than
    /// 64). `answer` is told what the server announces and says what to put in its place; `None` leaves it. With `awaited`
    /// such an announcement may come any moment.
    ///
    /// # Errors
    /// When it must not go on. `self` may have changed: work on a copy.
    pub fn segment(
        &mut self,
        sequence: u32,
        bytes: &[u8],
        awaited: bool,
        room: usize,
        out: &mut ArrayVec<u8, MAX_SEGMENT>,
        answer: &mut dyn FnMut(Announced) -> Result<Option<SocketAddr>, ()>,
    ) -> Result<Rewritten, Stop> {
        out.clear();
        let room = room.min(MAX_SEGMENT);
        if let Some(told) = self.told
            && !before(told.from, sequence)
        {
            // The last that was replaced comes again: read as the other director did, with the same result.
            self.base = told.before;
            self.told = None;
        }
        let mut next = self.next.unwrap_or_else(|| {
            self.acknowledged = sequence;
            sequence
        });
        if !bytes.is_empty() && before(next, sequence) {
            if awaited || self.open.is_some() {
                return Err(Stop::Hole);
            }
            self.replies = Replies::default();
            next = sequence;
        }
        let done = |taken, this: &Self| {
            Ok(Rewritten {
                sequence: this.sequence(sequence),
                taken,
            })
        };
        let mut at = sequence;
        // As it was where the bytes held begin, if they do in this segment.
        let mut before_held = None;
        for (taken, &byte) in bytes.iter().enumerate() {
            let end = at.wrapping_add(1);
            if before(at, next) {
                if !self.again(at, byte, room, out) {
                    return done(taken, self);
                }
                at = end;
                continue;
            }
            if out.len() >= room {
                return done(taken, self);
            }
            let was = self.open.is_none().then(|| self.replies.clone());
            match self.replies.read(byte) {
                Byte::Passes => out.push(byte),
                Byte::Held if self.open.is_none() => {
                    self.open = Some(at);
                    before_held = was.map(|was| (taken, was));
                }
                Byte::Held => {}
                Byte::Ends(announced) => {
                    let start = self.open.take().unwrap_or(at);
                    let text = self.text(announced, byte, answer)?;
                    if out.len() + text.len() > room
                        && let Some((taken, was)) = before_held
                    {
                        self.replies = was;
                        self.next = Some(start);
                        return done(taken, self);
                    }
                    self.replies.let_go();
                    out.extend(text.iter().copied());
                    let split = before(start, sequence);
                    let first = taken.checked_sub(end.wrapping_sub(start) as usize - 1);
                    let original = first.and_then(|first| bytes.get(first..=taken));
                    if split || original != Some(text.as_slice()) {
                        self.remember(Range {
                            start,
                            end,
                            seen: if split { sequence } else { start },
                            text,
                        })?;
                    }
                }
            }
            at = end;
            next = end;
            self.next = Some(next);
        }
        for range in &mut self.ranges {
            if before(range.seen, at) && before(at, range.end) && before(range.start, at) {
                range.seen = at;
            }
        }
        self.next = Some(next);
        done(bytes.len(), self)
    }

    /// Bytes that are not read, and go on as they are: what follows them is read from the start of a line.
    pub fn skip(&mut self, sequence: u32, len: usize) {
        let end = sequence.wrapping_add(len32(len));
        if self.next.is_none_or(|next| before(next, end)) {
            self.next = Some(end);
            self.replies = Replies::default();
            self.open = None;
        }
    }

    /// A byte the server sends again. False: there is no room.
    fn again(&self, at: u32, byte: u8, room: usize, out: &mut ArrayVec<u8, MAX_SEGMENT>) -> bool {
        if self.open.is_some_and(|open| !before(at, open)) {
            return true;
        }
        let inside = |r: &&Range| !before(at, r.start) && before(at, r.end);
        let Some(range) = self.ranges.iter().find(inside) else {
            return out.len() < room && out.try_push(byte).is_ok();
        };
        if at.wrapping_add(1) != range.end {
            return true;
        }
        let fits = out.len() + range.text.len() <= room;
        if fits {
            out.extend(range.text.iter().copied());
        }
        fits
    }

    /// What is to stand for the bytes held and the one that ends them.
    fn text(
        &self,
        announced: Option<Announced>,
        last: u8,
        answer: &mut dyn FnMut(Announced) -> Result<Option<SocketAddr>, ()>,
    ) -> Result<ArrayVec<u8, TEXT>, Stop> {
        let held = self.replies.held();
        let mut text = ArrayVec::<u8, TEXT>::new();
        let instead = match announced {
            Some(announced) => answer(announced).map_err(|()| Stop::Refused)?,
            None => None,
        };
        match (announced, instead) {
            (Some(Announced::Passive(..)), Some(SocketAddr::V4(to))) => {
                let [a, b, c, d] = to.ip().octets();
                let [high, low] = to.port().to_be_bytes();
                put(&mut text, format_args!("{a},{b},{c},{d},{high},{low}"));
            }
            (Some(Announced::Extended { .. }), Some(to)) => {
                let bar = char::from(last);
                put(&mut text, format_args!("{bar}{bar}{}", to.port()));
            }
            _ => text.extend(held.iter().copied().take(HELD)),
        }
        // There is room: either text is shorter than the longest that can be held.
        let _ = text.try_push(last);
        Ok(text)
    }

    fn remember(&mut self, range: Range) -> Result<(), Stop> {
        if let (true, Some(oldest)) = (self.ranges.is_full(), self.ranges.first()) {
            if before(self.acknowledged, oldest.end) {
                return Err(Stop::Full);
            }
            self.base = self.base.wrapping_add(oldest.growth());
            self.ranges.remove(0);
        }
        self.ranges.push(range);
        Ok(())
    }

    /// Nothing was replaced yet: the numbers of both sides are the same.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.ranges.is_empty() && self.open.is_none() && self.base == 0
    }

    /// A stream that another director has read so far, and moved.
    #[must_use]
    pub fn moved(told: Moved) -> Self {
        Self {
            base: told.by,
            told: Some(told),
            ..Self::default()
        }
    }

    /// How far it is moved, for another director to go on with; `None`: not at all.
    #[must_use]
    pub fn movement(&self) -> Option<Moved> {
        let Some(last) = self.ranges.last() else {
            let by = self.base;
            let from = self.next.unwrap_or_default();
            let steady = Moved {
                from,
                by,
                before: by,
            };
            return self.told.or((by != 0).then_some(steady));
        };
        let growth = |range: &Range| range.growth();
        let all = self.ranges.iter().map(growth);
        let by = all.fold(self.base, u32::wrapping_add);
        let moved = Moved {
            from: last.start,
            by,
            before: by.wrapping_sub(last.growth()),
        };
        (moved.by != 0 || moved.before != 0).then_some(moved)
    }

    /// By how much what is before all ranges is moved, at a number of the server's or of the client's.
    fn base_at(&self, of: u32, is_clients: bool) -> u32 {
        match self.told {
            Some(told) => {
                let last = match is_clients {
                    true => told.from.wrapping_add(told.before),
                    false => told.from,
                };
                if before(last, of) {
                    self.base
                } else {
                    told.before
                }
            }
            None => self.base,
        }
    }

    /// The client's number of a byte of the server's.
    #[must_use]
    pub fn sequence(&self, of: u32) -> u32 {
        let mut shift = self.base_at(of, false);
        for range in &self.ranges {
            if !before(range.start, of) {
                break;
            }
            if before(of, range.end) {
                return range.start.wrapping_add(shift);
            }
            shift = shift.wrapping_add(range.growth());
        }
        let of = match self.open {
            Some(open) if before(open, of) => open,
            _ => of,
        };
        of.wrapping_add(shift)
    }

    /// What the client's acknowledgement is to the server.
    pub fn acknowledgement(&mut self, of: u32) -> u32 {
        let (shift, range) = self.locate(of);
        let of = match (range, self.open, self.next) {
            // Whatever the client has of it: the last byte brings all of it again. Linear as far as that goes, as Linux has it.
            (Some(range), ..) if of != range.start.wrapping_add(shift) => {
                let linear = of.wrapping_sub(shift).wrapping_sub(range.growth());
                let last = range.end.wrapping_sub(1);
                let upto = if before(linear, last) { linear } else { last };
                if before(upto, range.seen) {
                    range.seen
                } else {
                    upto
                }
            }
            (Some(range), ..) => range.seen,
            // The bytes held are ours to deliver, and the server may wait for this before it sends their end.
            (None, Some(open), Some(next)) if !before(of.wrapping_sub(shift), open) => next,
            _ => of.wrapping_sub(shift),
        };
        if before(self.acknowledged, of) {
            self.acknowledged = of;
        }
        of
    }

    /// What a block of a selective acknowledgement (RFC 2018) is to the server: never more than the client has.
    #[must_use]
    pub fn selective(&self, left: u32, right: u32) -> (u32, u32) {
        let image = |of, end: bool| match self.locate(of) {
            (_, Some(range)) if end => range.start,
            (shift, Some(range)) if of == range.start.wrapping_add(shift) => range.start,
            (_, Some(range)) => range.end,
            (shift, None) => of.wrapping_sub(shift),
        };
        (image(left, false), image(right, true))
    }

    /// The range whose text has that number of the client's in it or before its first byte, and how far it has moved.
    fn locate(&self, of: u32) -> (u32, Option<&Range>) {
        let mut shift = self.base_at(of, true);
        for range in &self.ranges {
            let start = range.start.wrapping_add(shift);
            let end = start.wrapping_add(len32(range.text.len()));
            if before(of, start) {
                break;
            }
            if before(of, end) {
                return (shift, Some(range));
            }
            shift = shift.wrapping_add(range.growth());
        }
        (shift, None)
    }
}

/// Whether `a` comes before `b` in sequence space.
const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// A length of bytes in a segment or a text.
fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn put(text: &mut ArrayVec<u8, TEXT>, what: std::fmt::Arguments<'_>) {
    struct To<'t>(&'t mut ArrayVec<u8, TEXT>);
    impl Write for To<'_> {
        fn write_str(&mut self, s: &str) -> std::fmt::Result {
            self.0
                .try_extend_from_slice(s.as_bytes())
                .map_err(|_| std::fmt::Error)
        }
    }
    // Numbers with commas: 23 bytes at most.
    let _ = To(text).write_fmt(what);
}
