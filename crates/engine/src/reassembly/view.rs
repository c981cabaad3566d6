//! A part of the table looked at, and made once more from that: for who explains a fragment.

use super::{
    datagram::{Fragment, Key},
    shard::{Datagram, Shard, Tag},
};
use types::Tick;
use wire::Frame;

/// Bytes of the longest packet, with the headers its first fragment keeps.
const BYTES: usize = (1 << 16) + 256;

/// What one part of the table holds: of all packets what is known of them, of one its fragments, too.
#[derive(Debug)]
pub(crate) struct View {
    pub(super) datagrams: Vec<Datagram>,
    pub(super) tags: Vec<Tag>,
    pub(super) senders: Vec<u16>,
    pub(super) held: usize,
    /// Where the one packet is.
    pub(super) own: Option<usize>,
    pub(super) pieces: Vec<PieceView>,
    pub(super) bytes: Vec<u8>,
}

/// A fragment that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceView {
    pub start: u32,
    pub end: u32,
    /// Its bytes: so many of [`View::bytes`], behind those of the one before.
    pub len: usize,
}

/// What is held of a fragment's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentFacts {
    /// Fragments.
    pub held: u16,
    /// Bytes in them.
    pub bytes: u32,
    /// Bytes the whole will have behind its IP header; `None`: the last fragment, which tells, has not come.
    pub total: Option<u32>,
    /// Whether the first has come, which tells ports and is what its sender is told by if time runs out.
    pub has_first: bool,
    /// Milliseconds until it is given up; `None`: nothing of it is held.
    pub expires_in_ms: Option<u64>,
    /// Fragments of all packets that share its part of the table.
    pub held_beside: usize,
}

impl View {
    /// Room for all there can be: nothing is allocated while a part of the table is looked at.
    pub(super) fn with_room(pieces: usize) -> Self {
        Self {
            datagrams: Vec::with_capacity(pieces),
            tags: Vec::with_capacity(pieces),
            senders: Vec::with_capacity(256),
            held: 0,
            own: None,
            pieces: Vec::with_capacity(pieces),
            bytes: Vec::with_capacity(BYTES),
        }
    }

    /// Fragments of all packets.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }
}

impl<F: Frame> Shard<F> {
    /// Looks, and takes a copy of the fragments of `key`'s packet.
    pub(super) fn look(&self, hash: u64, key: &Key, view: &mut View) {
        view.datagrams.extend_from_slice(&self.datagrams);
        view.tags.extend_from_slice(&self.tags);
        view.senders.extend_from_slice(&self.senders);
        view.held = self.held;
        view.own = self.find_key(hash, key);
        let own = view.own.and_then(|at| self.datagrams.get(at));
        self.each_piece(own, |piece, frame| {
            let before = view.bytes.len();
            frame.segments(&mut |segment| {
                let room = BYTES.saturating_sub(view.bytes.len());
                let part = segment.get(..room).unwrap_or(segment);
                view.bytes.extend_from_slice(part);
            });
            view.pieces.push(PieceView {
                start: piece.0,
                end: piece.1,
                len: view.bytes.len() - before,
            });
        });
    }

    /// Becomes what was looked at: packets of others without their fragments, which count all the same. False: there are no buffers.
    pub(super) fn become_like(
        &mut self,
        view: &View,
        alloc: &mut dyn FnMut() -> Option<F>,
    ) -> bool {
        let bare = view.datagrams.iter().map(Datagram::without_pieces);
        self.datagrams.extend(bare);
        self.tags.extend_from_slice(&view.tags);
        for (held, of) in self.senders.iter_mut().zip(&view.senders) {
            *held = *of;
        }
        self.held = view.held;
        let Some((at, own)) = view.own.and_then(|at| Some((at, *view.datagrams.get(at)?))) else {
            return true;
        };
        self.forget_pieces(at);
        let mut bytes = view.bytes.as_slice();
        for piece in &view.pieces {
            let Some((own_bytes, rest)) = bytes.split_at_checked(piece.len) else {
                return false;
            };
            bytes = rest;
            let Some(frame) = filled(alloc, own_bytes) else {
                return false;
            };
            let fragment = own.fragment(piece.start, piece.end);
            if self.insert(at, frame, fragment).is_err() {
                return false;
            }
        }
        self.know(at, &own);
        true
    }

    /// What is held of `key`'s packet.
    pub(super) fn facts(&self, hash: u64, key: &Key, now: Tick) -> FragmentFacts {
        let at = self.find_key(hash, key);
        let of = at.and_then(|at| Some((self.datagrams.get(at)?, self.tags.get(at)?)));
        let mut facts = FragmentFacts {
            held: 0,
            bytes: 0,
            total: None,
            has_first: false,
            expires_in_ms: None,
            held_beside: self.held,
        };
        if let Some((datagram, tag)) = of {
            datagram.tell(&mut facts);
            facts.expires_in_ms = Some(tag.until.since_ms(now));
            facts.held_beside = self.held - usize::from(facts.held);
        }
        facts
    }
}

fn filled<F: Frame>(alloc: &mut dyn FnMut() -> Option<F>, bytes: &[u8]) -> Option<F> {
    let mut frame = alloc()?;
    if !frame.append(bytes.len()) {
        return None;
    }
    frame
        .head_mut()
        .get_mut(..bytes.len())?
        .copy_from_slice(bytes);
    Some(frame)
}

impl Fragment {
    /// One that was read when it came: of `data` behind what is left of headers.
    pub(super) const fn again(data_at: usize, (start, end): (u32, u32), is_last: bool) -> Self {
        Self {
            data_at,
            start,
            end,
            is_last,
            len: 0,
            dont_fragment: false,
            ecn: 0,
            l3: 0,
            interface: types::InterfaceId(0),
        }
    }
}
