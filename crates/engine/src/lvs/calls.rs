//! The persistence engine `sip`: a client's templates are told apart by the Call-ID of SIP over UDP.
//!
//! A Call-ID has up to 255 bytes and no place in an entry. The template's key holds its keyed hash ([`flowtable::Name`]), by which
//! templates are found and made exactly once; the text stands here, in a slab made at start, and the template's note says where. A
//! template that is found is believed only when the text is the packet's, so not even one who knew two Call-IDs of one hash could make
//! calls share a server.

use super::services::Service;
use crate::{DropReason, packet::Packet};
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use types::PersistenceEngine;
use wire::{Frame, protocol, sip, udp};

/// Bytes of a Call-ID and of its length before it.
const BYTES: usize = 1 + sip::MAX_CALL_ID;
const WORDS: usize = BYTES / 8;
const _: () = assert!(BYTES.is_multiple_of(8));

/// A Call-ID: the length, the text, zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId([u64; WORDS]);

impl CallId {
    /// `None` of an empty text, and of one too long.
    pub fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; BYTES];
        let (len, room) = bytes.split_first_mut()?;
        *len = u8::try_from(text.len()).ok().filter(|len| *len > 0)?;
        room.get_mut(..text.len())?.copy_from_slice(text);
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Some(Self(words))
    }

    /// The words that say something.
    pub fn words(&self) -> &[u64] {
        let len = usize::from(self.0[0].to_le_bytes()[0]);
        self.0.get(..(1 + len).div_ceil(8)).unwrap_or(&self.0)
    }

    /// The text.
    pub fn text(&self) -> Vec<u8> {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        let len = usize::from(self.0[0].to_le_bytes()[0]);
        bytes.skip(1).take(len).collect()
    }

    /// That of the SIP message in a packet.
    #[cold]
    pub fn of<F: Frame>(frame: &F, packet: &Packet) -> Option<Self> {
        if packet.protocol != protocol::UDP {
            return None;
        }
        let start = usize::from(packet.l4) + udp::LEN;
        let end = usize::from(packet.l3) + usize::from(packet.ip_len);
        let message = start..end;
        match frame.head().get(message.clone()) {
            Some(message) => Self::new(sip::call_id(message)?),
            None => Self::of_segments(frame, start, message.len()),
        }
    }

    /// Of a message in more than one buffer: put together from fragments, or a jumbo frame.
    #[cold]
    #[inline(never)]
    fn of_segments<F: Frame>(frame: &F, start: usize, len: usize) -> Option<Self> {
        let mut whole = [0; 1 << 16];
        let whole = whole.get_mut(..len)?;
        let copied = crate::datagram::copy(frame, start, whole);
        Self::new(sip::call_id(whole.get(..copied)?)?)
    }
}

/// Whether templates of a service are told apart by the call.
pub(super) fn concern(service: &Service) -> bool {
    engine(service).is_some()
}

/// What a service's templates go by: nothing where there are none.
pub(super) fn engine(service: &Service) -> Option<PersistenceEngine> {
    service.persistence.and(service.persistence_engine)
}

/// What tells the packet's template from others of its client. IPVS drops what has no Call-ID, and so TCP: a template of the client
/// alone there is not.
pub(super) fn asked<F: Frame>(
    service: &Service,
    frame: &F,
    packet: &Packet,
) -> Result<Option<CallId>, DropReason> {
    match engine(service) {
        None => Ok(None),
        Some(PersistenceEngine::Sip) => match CallId::of(frame, packet) {
            Some(call) => Ok(Some(call)),
            None => Err(DropReason::NoCallId),
        },
    }
}

/// Where a template's Call-ID is: its note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallNumber(pub u32);

/// A Call-ID's place: free while the first word is 0.
#[derive(Debug)]
struct Cell([AtomicU64; WORDS]);

impl Cell {
    fn new(words: &[u64; WORDS]) -> Self {
        Self(words.map(AtomicU64::new))
    }

    fn load(&self) -> CallId {
        CallId(std::array::from_fn(|n| {
            self.0.get(n).map_or(0, |word| word.load(Relaxed))
        }))
    }
}

/// The slab.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    all: Box<[Cell]>,
    /// Where the search for a free place begins.
    hand: AtomicU32,
}

/// Places looked at for a free one. If so many in a row are in use, nearly all are.
const SEARCHED: usize = 512;

impl Calls {
    /// A slab of so many places.
    pub fn new(calls: usize) -> Self {
        Self {
            all: (0..calls).map(|_| Cell::new(&[0; WORDS])).collect(),
            ..Self::default()
        }
    }

    /// What is kept now, by itself.
    pub fn copy(&self) -> Self {
        Self {
            all: self.all.iter().map(|c| Cell::new(&c.load().0)).collect(),
            hand: AtomicU32::new(self.hand.load(Relaxed)),
        }
    }

    /// A place with `call` in it; `None`: there is none free.
    pub fn keep(&self, call: &CallId) -> Option<Held<'_>> {
        let places = u32::try_from(self.all.len()).ok()?;
        let start = self.hand.fetch_add(1, Relaxed).checked_rem(places)?;
        let (first, rest) = call.0.split_first()?;
        for at in (start..places).chain(0..start).take(SEARCHED) {
            let (head, tail) = self.all.get(at as usize)?.0.split_first()?;
            let free = head.load(Relaxed) == 0
                && head.compare_exchange(0, *first, AcqRel, Relaxed).is_ok();
            if free {
                for (place, word) in tail.iter().zip(rest) {
                    place.store(*word, Relaxed);
                }
                let number = CallNumber(at);
                // Whoever meets the template sees the text: it is published with release.
                return Some(Held {
                    calls: self,
                    number,
                });
            }
        }
        None
    }

    /// Whether that is the call. The answer is of worth if the template still stands afterwards: a place is not written to before its
    /// template has ended.
    pub fn is(&self, number: CallNumber, call: &CallId) -> bool {
        self.all.get(number.0 as usize).is_some_and(|cell| {
            cell.0
                .iter()
                .zip(&call.0)
                .all(|(a, b)| a.load(Relaxed) == *b)
        })
    }

    /// What stands there, perhaps of two calls one after the other: compare its name with the template's.
    pub fn read(&self, number: CallNumber) -> Option<CallId> {
        Some(self.all.get(number.0 as usize)?.load())
    }

    /// The template whose call it was has ended.
    pub fn release(&self, number: CallNumber) {
        if let Some(head) = self.all.get(number.0 as usize).and_then(|c| c.0.first()) {
            debug_assert!(head.load(Acquire) != 0, "a Call-ID was released twice");
            head.store(0, Release);
        }
    }
}

/// A place, given back unless a template keeps it.
#[derive(Debug)]
pub(crate) struct Held<'c> {
    calls: &'c Calls,
    number: CallNumber,
}

impl Held<'_> {
    /// A template has it from now on.
    pub fn keep(self) -> CallNumber {
        let number = self.number;
        std::mem::forget(self);
        number
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.calls.release(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_comes_out_as_it_went_in() {
        for len in [1, 6, 7, 8, 254, 255] {
            let text: Vec<u8> = (0..len).map(|n| b'a' + n % 26).collect();
            let call = CallId::new(&text).unwrap();
            assert_eq!(call.text(), text);
            assert_eq!(call.words().len(), (1 + text.len()).div_ceil(8));
        }
        assert_eq!(CallId::new(b""), None);
        assert_eq!(CallId::new(&[b'x'; 256]), None);
    }

    #[test]
    fn places_are_free_again_when_their_templates_end() {
        let calls = Calls::new(3);
        let of = |n: u8| CallId::new(&[b'c', n]).unwrap();
        let kept = [0, 1, 2].map(|n| calls.keep(&of(n)).unwrap().keep());
        assert!(calls.keep(&of(3)).is_none());
        assert!(calls.is(kept[1], &of(1)) && !calls.is(kept[1], &of(2)));
        calls.release(kept[1]);
        assert!(!calls.is(kept[1], &of(1)));
        // One that is not kept is free at once.
        assert_eq!(calls.keep(&of(3)).unwrap().number, kept[1]);
        let again = calls.keep(&of(4)).unwrap().keep();
        assert_eq!(again, kept[1]);
        assert_eq!(calls.read(again), Some(of(4)));
        let copy = calls.copy();
        calls.release(again);
        assert!(copy.is(again, &of(4)) && copy.is(kept[0], &of(0)));
        assert!(Calls::new(0).keep(&of(0)).is_none());
    }
}
