//! One part of the table: packets being put together, their fragments in a fixed pool.
//!
//! As in Linux a packet's fragments form runs: what came in order, one behind the other. A fragment that lies inside one run is
//! a repetition and is left out; one that overlaps otherwise ends the packet.

use super::{
    Expired, FragmentFacts, Gone, Outcome, Whole,
    datagram::{self, Fragment, Key, Total},
};
use crate::DropReason;
use types::{InterfaceId, Tick};
use wire::{Frame, ethernet};

/// Fragments of one packet at most: the longest packet over the smallest MTU there is (RFC 791: 68 bytes) would be more, over
/// 576 bytes it is 119.
const EACH_PACKET: u16 = 128;
/// Senders told apart; networks that share a number share a fate.
const SENDERS: usize = 256;
const NONE: u16 = u16::MAX;

#[derive(Debug)]
struct Piece<F> {
    /// `None`: free.
    frame: Option<F>,
    start: u32,
    end: u32,
    /// The next of its run, or the next free one.
    next: u16,
    /// Of the first of a run: the first of the next run.
    next_run: u16,
    /// Of the first of a run: behind its last byte, and its last piece.
    run_end: u32,
    run_last: u16,
}

/// A packet that is not whole yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    key: Key,
    first_run: u16,
    last_run: u16,
    pieces: u16,
    /// Bytes there are.
    have: u32,
    /// Bytes it will have, as far as is known.
    end: u32,
    has_last: bool,
    largest: u16,
    largest_with_df: u16,
    ecn: u8,
    /// Of its first fragment, once it is there.
    l3: u8,
    interface: InterfaceId,
    data_at: usize,
}

/// What packets are looked for by, apart from them so that a search reads little.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    hash: u64,
    pub until: Tick,
    sender: u8,
}

/// Where a fragment belongs.
#[derive(Debug)]
pub(super) struct Place<'k> {
    pub key: &'k Key,
    pub hash: u64,
    pub sender: u8,
    pub until: Tick,
    pub joins: bool,
}

/// Part of the table.
#[derive(Debug)]
pub(crate) struct Shard<F> {
    pieces: Box<[Piece<F>]>,
    free: u16,
    pub(super) held: usize,
    pub(super) datagrams: Vec<Datagram>,
    /// As many, in the same order.
    pub(super) tags: Vec<Tag>,
    /// Fragments held, by sender.
    pub(super) senders: Box<[u16]>,
}

/// What a fragment is to those that are there.
enum Fit {
    /// The next of the last run.
    Append,
    /// A run of its own behind that run; `NONE`: in front of all.
    After(u16),
    /// It is there already.
    Repeated,
    Overlaps,
}

impl<F: Frame> Shard<F> {
    pub fn new(pieces: usize) -> Self {
        let count = u16::try_from(pieces).unwrap_or(NONE - 1);
        Self {
            pieces: (1..=count)
                .map(|next| Piece {
                    frame: None,
                    start: 0,
                    end: 0,
                    next: if next < count { next } else { NONE },
                    next_run: NONE,
                    run_end: 0,
                    run_last: NONE,
                })
                .collect(),
            free: if count > 0 { 0 } else { NONE },
            held: 0,
            datagrams: Vec::with_capacity(pieces),
            tags: Vec::with_capacity(pieces),
            senders: vec![0; SENDERS].into(),
        }
    }

    /// Takes a fragment in; at most `limit` are held.
    pub fn add(
        &mut self,
        place: &Place<'_>,
        limit: usize,
        frame: F,
        fragment: Fragment,
        gone: &mut Gone,
    ) -> Outcome<F> {
        let mut known = self.find(place);
        if self.held >= limit || self.free == NONE {
            let Some(victim) = self.heaviest() else {
                return Outcome::Refused(frame, DropReason::FragmentNoRoom);
            };
            let ends_itself = known == Some(victim);
            self.end(victim, DropReason::FragmentNoRoom, gone);
            if ends_itself {
                return Outcome::Refused(frame, DropReason::FragmentNoRoom);
            }
            known = self.find(place);
        }
        let at = match known {
            Some(at) => at,
            None => {
                self.datagrams.push(Datagram::new(*place.key));
                self.tags.push(Tag {
                    hash: place.hash,
                    until: place.until,
                    sender: place.sender,
                });
                self.datagrams.len() - 1
            }
        };
        match self.insert(at, frame, fragment) {
            Ok(()) => {}
            // The packet stays; one without fragments is none.
            Err((frame, DropReason::FragmentDuplicate)) => {
                return Outcome::Refused(frame, DropReason::FragmentDuplicate);
            }
            Err((frame, reason)) => {
                self.end(at, reason, gone);
                return Outcome::Refused(frame, reason);
            }
        }
        let Some(datagram) = self.datagrams.get(at).copied() else {
            return Outcome::Held;
        };
        if datagram.has_last && datagram.have == datagram.end {
            return self.join(at, place.joins, gone);
        }
        Outcome::Held
    }

    fn find(&self, place: &Place<'_>) -> Option<usize> {
        self.find_key(place.hash, place.key)
    }

    pub(super) fn find_key(&self, hash: u64, key: &Key) -> Option<usize> {
        let mut all = self.tags.iter().zip(&self.datagrams);
        all.position(|(tag, d)| tag.hash == hash && d.key == *key)
    }

    /// Calls `f` with each fragment of a packet, in order: where it begins and ends, and its frame.
    pub(super) fn each_piece(
        &self,
        datagram: Option<&Datagram>,
        mut f: impl FnMut((u32, u32), &F),
    ) {
        let mut run = datagram.map_or(NONE, |datagram| datagram.first_run);
        while let Some(head) = self.piece(run) {
            let mut at = run;
            while let Some(piece) = self.piece(at) {
                if let Some(frame) = &piece.frame {
                    f((piece.start, piece.end), frame);
                }
                at = piece.next;
            }
            run = head.next_run;
        }
    }

    /// A packet's fragments are not counted any more: they are put in anew.
    pub(super) fn forget_pieces(&mut self, at: usize) {
        let (Some(datagram), Some(tag)) = (self.datagrams.get_mut(at), self.tags.get(at)) else {
            return;
        };
        self.held -= usize::from(datagram.pieces);
        if let Some(held) = self.senders.get_mut(usize::from(tag.sender)) {
            *held -= datagram.pieces;
        }
        *datagram = Datagram::new(datagram.key);
    }

    /// What was known of a packet is known of it again.
    pub(super) fn know(&mut self, at: usize, known: &Datagram) {
        if let Some(datagram) = self.datagrams.get_mut(at) {
            let (first_run, last_run) = (datagram.first_run, datagram.last_run);
            *datagram = Datagram {
                first_run,
                last_run,
                ..*known
            };
        }
    }

    /// Of the sender that holds most, the oldest.
    fn heaviest(&self) -> Option<usize> {
        let held = |tag: &Tag| self.senders.get(usize::from(tag.sender)).copied();
        let all = self.tags.iter().enumerate();
        let heaviest = all.max_by_key(|(_, tag)| (held(tag), std::cmp::Reverse(tag.until)));
        heaviest.map(|(at, _)| at)
    }

    /// Puts the fragment in its place among the packet's.
    pub(super) fn insert(
        &mut self,
        at: usize,
        frame: F,
        new: Fragment,
    ) -> Result<(), (F, DropReason)> {
        let Some(datagram) = self.datagrams.get(at).copied() else {
            return Err((frame, DropReason::FragmentNoRoom));
        };
        let contradicts = if new.is_last {
            new.end < datagram.end || (datagram.has_last && new.end != datagram.end)
        } else {
            new.end > datagram.end && datagram.has_last
        };
        if contradicts {
            return Err((frame, DropReason::FragmentOverlap));
        }
        if new.end == new.start || datagram.pieces >= EACH_PACKET {
            return Err((frame, DropReason::FragmentMalformed));
        }
        let fit = self.fit(&datagram, &new);
        let run = match fit {
            Fit::Repeated => return Err((frame, DropReason::FragmentDuplicate)),
            Fit::Overlaps => return Err((frame, DropReason::FragmentOverlap)),
            Fit::Append => datagram.last_run,
            Fit::After(run) => run,
        };
        let piece = match self.take(frame, &new) {
            Ok(piece) => piece,
            Err(frame) => return Err((frame, DropReason::FragmentNoRoom)),
        };
        let appended = matches!(fit, Fit::Append);
        self.link(at, piece, run, appended, new.end);
        if let Some(datagram) = self.datagrams.get_mut(at) {
            datagram.note(&new);
        }
        if let Some(tag) = self.tags.get(at)
            && let Some(held) = self.senders.get_mut(usize::from(tag.sender))
        {
            *held += 1;
        }
        self.held += 1;
        Ok(())
    }

    fn fit(&self, datagram: &Datagram, new: &Fragment) -> Fit {
        if let Some(last) = self.piece(datagram.last_run)
            && last.run_end < new.end
        {
            return if new.start < last.run_end {
                Fit::Overlaps
            } else if new.start == last.run_end {
                Fit::Append
            } else {
                Fit::After(datagram.last_run)
            };
        }
        let (mut before, mut at) = (NONE, datagram.first_run);
        while let Some(run) = self.piece(at) {
            if new.end <= run.start {
                break;
            }
            if new.start < run.run_end {
                let inside = new.start >= run.start && new.end <= run.run_end;
                return if inside { Fit::Repeated } else { Fit::Overlaps };
            }
            (before, at) = (at, run.next_run);
        }
        Fit::After(before)
    }

    fn piece(&self, at: u16) -> Option<&Piece<F>> {
        self.pieces.get(usize::from(at))
    }

    fn piece_mut(&mut self, at: u16) -> Option<&mut Piece<F>> {
        self.pieces.get_mut(usize::from(at))
    }

    /// A free piece for the frame, cut to its data (the first fragment keeps its headers).
    fn take(&mut self, mut frame: F, new: &Fragment) -> Result<u16, F> {
        let at = self.free;
        let len = usize::try_from(new.end - new.start).unwrap_or(0);
        let Some(piece) = self.pieces.get_mut(usize::from(at)) else {
            return Err(frame);
        };
        frame.truncate(new.data_at + len);
        if new.start > 0 && !frame.strip(new.data_at) {
            return Err(frame);
        }
        self.free = piece.next;
        *piece = Piece {
            frame: Some(frame),
            start: new.start,
            end: new.end,
            next: NONE,
            next_run: NONE,
            run_end: new.end,
            run_last: at,
        };
        Ok(at)
    }

    /// Links a piece to the run it continues, or as a run of its own behind `run`.
    fn link(&mut self, at: usize, piece: u16, run: u16, appended: bool, end: u32) {
        if appended {
            let last = self.piece(run).map_or(NONE, |head| head.run_last);
            if let Some(last) = self.piece_mut(last) {
                last.next = piece;
            }
            if let Some(head) = self.piece_mut(run) {
                (head.run_end, head.run_last) = (end, piece);
            }
            return;
        }
        let Some(datagram) = self.datagrams.get_mut(at) else {
            return;
        };
        let behind = if run == NONE {
            std::mem::replace(&mut datagram.first_run, piece)
        } else {
            let head = self.pieces.get_mut(usize::from(run));
            head.map_or(NONE, |head| std::mem::replace(&mut head.next_run, piece))
        };
        if behind == NONE {
            datagram.last_run = piece;
        }
        if let Some(piece) = self.piece_mut(piece) {
            piece.next_run = behind;
        }
    }

    /// Takes a packet out; its frames in order.
    fn remove(&mut self, at: usize, mut each: impl FnMut(F, u32)) -> Datagram {
        let datagram = self.datagrams.swap_remove(at);
        let tag = self.tags.swap_remove(at);
        let mut run = datagram.first_run;
        while let Some(head) = self.piece(run) {
            let next_run = head.next_run;
            let mut piece = run;
            while let Some(this) = self.pieces.get_mut(usize::from(piece)) {
                let next = this.next;
                this.next = self.free;
                self.free = piece;
                if let Some(frame) = this.frame.take() {
                    each(frame, this.end - this.start);
                }
                piece = next;
            }
            run = next_run;
        }
        self.held -= usize::from(datagram.pieces);
        if let Some(held) = self.senders.get_mut(usize::from(tag.sender)) {
            *held -= datagram.pieces;
        }
        datagram
    }

    fn end(&mut self, at: usize, reason: DropReason, gone: &mut Gone) {
        let datagram = self.remove(at, |frame, _| drop(frame));
        if datagram.pieces > 0 {
            // One packet for room, one for its own mistake at most.
            let _ = gone.try_push((reason, datagram.pieces.into()));
        }
    }

    /// Chains a complete packet's frames.
    fn join(&mut self, at: usize, joins: bool, gone: &mut Gone) -> Outcome<F> {
        let (mut whole, mut lost) = (None::<F>, 0);
        // Linux keeps small fragments in the first one's buffer, while they fit.
        let (mut room, mut joined) = (0, 0);
        let mut joining = joins;
        let datagram = self.remove(at, |frame, len| match &mut whole {
            None => {
                room = slack(frame.total_len());
                whole = Some(frame);
            }
            Some(first) => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                joining &= len <= room;
                if joining {
                    room -= len;
                    joined += 1;
                }
                lost += u64::from(first.chain(frame).is_err());
            }
        });
        let Some(whole) = whole else {
            return Outcome::Held;
        };
        let total = Total {
            l3: datagram.l3,
            interface: datagram.interface,
            len: datagram.end,
            ecn: datagram.ecn,
            largest: datagram.largest,
            dont_fragment: datagram.largest_with_df == datagram.largest,
            joined,
        };
        let others = u64::from(datagram.pieces).saturating_sub(1);
        let finished = if lost == 0 {
            datagram::finish(whole, &total)
        } else {
            Err((whole, DropReason::FragmentMalformed))
        };
        match finished {
            Ok((frame, packet)) => Outcome::Whole(Whole {
                frame,
                packet,
                joined: others,
            }),
            Err((frame, reason)) => {
                if others > 0 {
                    let _ = gone.try_push((reason, others));
                }
                Outcome::Refused(frame, reason)
            }
        }
    }

    /// A packet whose time is up.
    pub fn expire(&mut self, now: Tick) -> Option<Expired<F>> {
        let at = self.tags.iter().position(|tag| tag.until <= now)?;
        let mut frames = 0;
        let mut first = None;
        let datagram = self.remove(at, |frame, _| {
            if frames == 0 {
                first = Some(frame);
            }
            frames += 1;
        });
        // Headers are kept in front of the first fragment only.
        let has_first = datagram.data_at > 0;
        let others = frames - u64::from(has_first && first.is_some());
        let first = first.filter(|_| has_first);
        Some(Expired {
            first: first.map(|frame| (frame, datagram.l3, datagram.interface)),
            others,
        })
    }
}

impl Datagram {
    const fn new(key: Key) -> Self {
        Self {
            key,
            first_run: NONE,
            last_run: NONE,
            pieces: 0,
            have: 0,
            end: 0,
            has_last: false,
            largest: 0,
            largest_with_df: 0,
            ecn: 0,
            l3: 0,
            interface: InterfaceId(0),
            data_at: 0,
        }
    }

    /// The same, its fragments elsewhere.
    pub(super) const fn without_pieces(&self) -> Self {
        Self {
            first_run: NONE,
            last_run: NONE,
            ..*self
        }
    }

    /// One of its fragments that was put in before.
    pub(super) fn fragment(&self, start: u32, end: u32) -> Fragment {
        let data_at = if start == 0 { self.data_at } else { 0 };
        Fragment::again(data_at, (start, end), self.has_last && end == self.end)
    }

    pub(super) fn tell(&self, facts: &mut FragmentFacts) {
        (facts.held, facts.bytes) = (self.pieces, self.have);
        facts.total = self.has_last.then_some(self.end);
        facts.has_first = self.data_at > 0;
    }

    /// Takes note of a fragment that was put in.
    fn note(&mut self, new: &Fragment) {
        self.pieces += 1;
        self.have += new.end - new.start;
        self.end = self.end.max(new.end);
        self.has_last |= new.is_last;
        self.largest = self.largest.max(new.len);
        if new.dont_fragment {
            self.largest_with_df = self.largest_with_df.max(new.len);
        }
        self.ecn |= new.ecn;
        if new.start == 0 {
            (self.l3, self.interface, self.data_at) = (new.l3, new.interface, new.data_at);
        }
    }
}

/// Bytes free behind a frame of `len` bytes in a buffer of Linux's: a power of two from 512 on, asked for with 16 bytes of room in
/// front, of which 2 are used, and 320 of bookkeeping behind, rounded to 64 (measured: first fragments of 8 to 696 bytes of data, how
/// long the next may be). It copies a fragment there rather than keep another buffer.
fn slack(len: usize) -> usize {
    const ASKED_IN_FRONT: usize = 16;
    const FRONT: usize = 2;
    const BOOKKEEPING: usize = 320;
    let len = len.max(ethernet::LEN);
    let size = ((ASKED_IN_FRONT + len).next_multiple_of(64) + BOOKKEEPING).next_power_of_two();
    size.max(512) - BOOKKEEPING - FRONT - len
}
