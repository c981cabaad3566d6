//! Reassembly: fragments of packets the director has to look into are held until they are whole (RFC 791 3.2, RFC 8200 4.5),
//! with Linux's rules (`ip_fragment.c`, `inet_fragment.c`): what overlaps ends the packet (RFC 5722), an exact repetition
//! does not matter, what is not complete in time goes.
//!
//! Fragments of one packet may meet different workers, so all share one table ([ADR 5]). It holds the frames themselves, a
//! fixed number of them. When there is no room, the network (a /24, a /64) that holds most loses its oldest packet: a flood
//! from one place does not starve others.
//!
//! [ADR 5]: ../../../docs/adr/0005-fragments.md

mod datagram;
mod shard;
mod view;

pub(crate) use datagram::Whole;
pub use view::FragmentFacts;
pub(crate) use view::View;

use crate::{DropReason, packet::Packet};
use datagram::{Fragment, Key};
use shard::Shard;
use std::sync::{Mutex, MutexGuard, TryLockError};
use types::Tick;
use wire::Frame;

/// Parts of the table, each behind a lock of its own. Few, so that each has room for the longest packets.
const SHARDS: usize = 4;
/// Fragments held at most, and in one part.
pub const FRAGMENTS: u32 = 2048;
const EACH: usize = FRAGMENTS as usize / SHARDS;
/// Bytes one held fragment counts for `ipfrag_high_thresh`: a buffer for ordinary frames with what belongs to it.
pub const FRAGMENT_BYTES: u32 = 2304;
/// How often a lock that another worker has is tried: many times what it is ever held for.
const TRIES: u32 = 20_000;

/// What became of a fragment.
#[derive(Debug)]
pub(crate) enum Outcome<F> {
    /// It waits for the others.
    Held,
    /// It was the last one missing.
    Whole(Whole<F>),
    /// It is no use.
    Refused(F, DropReason),
}

/// Frames that are held no more because of this, by reason; already freed.
pub(crate) type Gone = arrayvec::ArrayVec<(DropReason, u64), 2>;

/// A packet whose time is up.
#[derive(Debug)]
pub(crate) struct Expired<F> {
    /// Its first fragment, if that had come, and where its IP header starts.
    pub first: Option<(F, u8, types::InterfaceId)>,
    /// Its other fragments, already freed.
    pub others: u64,
}

/// Limits, from the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Fragments one part of the table may hold.
    each: usize,
    /// When a packet that begins now is given up: IPv4, IPv6.
    until: (Tick, Tick),
    /// Whether Linux's way of joining small fragments is copied.
    joins: bool,
}

impl Limits {
    /// What `settings` say, at `now`.
    pub fn new(settings: &crate::model::Settings, now: Tick) -> Self {
        let frames = (settings.ipfrag_high_thresh / FRAGMENT_BYTES) as usize;
        Self {
            each: (frames / SHARDS).min(EACH),
            until: (
                now + u64::from(settings.ipfrag_time_s) * 1000,
                now + u64::from(settings.ip6frag_time_s) * 1000,
            ),
            joins: settings.compat_ipvs,
        }
    }
}

/// All fragments held.
#[derive(Debug)]
pub(crate) struct Reassembly<F> {
    shards: Box<[Mutex<Shard<F>>]>,
    hash_key: [u64; 2],
}

impl<F: Frame> Reassembly<F> {
    /// An empty table. `hash_key`: as the director's.
    pub fn new(hash_key: [u64; 2]) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new(EACH))).collect(),
            hash_key,
        }
    }

    /// Takes a fragment in. `local`: it is for one of the director's own or virtual addresses.
    pub fn add(
        &self,
        limits: &Limits,
        frame: F,
        packet: &Packet,
        local: bool,
    ) -> (Outcome<F>, Gone) {
        let mut gone = Gone::new();
        let Some((key, fragment)) = Fragment::read(&frame, packet) else {
            let outcome = Outcome::Refused(frame, DropReason::FragmentMalformed);
            return (outcome, gone);
        };
        let hash = key.hash(self.hash_key);
        let sender = key.sender(self.hash_key);
        let Some(mut shard) = self.lock(hash) else {
            return (Outcome::Refused(frame, DropReason::FragmentBusy), gone);
        };
        let joins = limits.joins && local && !key.is6();
        let place = shard::Place {
            key: &key,
            hash,
            sender,
            until: if key.is6() {
                limits.until.1
            } else {
                limits.until.0
            },
            joins,
        };
        let outcome = shard.add(&place, limits.each, frame, fragment, &mut gone);
        (outcome, gone)
    }

    /// A packet whose time is up, from part `at` of the table (any number; it wraps). `None`: there is none, or another worker is
    /// busy there.
    pub fn expire(&self, at: usize, now: Tick) -> Option<Expired<F>> {
        match self.shards.get(at % SHARDS)?.try_lock() {
            Ok(mut shard) => shard.expire(now),
            Err(TryLockError::Poisoned(shard)) => shard.into_inner().expire(now),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What is held of a fragment's packet; `None`: it is none, or another worker is busy there.
    pub fn facts(&self, frame: &F, packet: &Packet, now: Tick) -> Option<FragmentFacts> {
        let (key, _) = Fragment::read(frame, packet)?;
        let hash = key.hash(self.hash_key);
        Some(self.lock(hash)?.facts(hash, &key, now))
    }

    /// Makes the part of this table, which is empty, like that which was looked at for the same packet in one of the same key. False: there
    /// are no buffers.
    pub fn become_like(
        &self,
        view: &View,
        frame: &F,
        packet: &Packet,
        alloc: &mut dyn FnMut() -> Option<F>,
    ) -> bool {
        let Some((key, _)) = Fragment::read(frame, packet) else {
            return true;
        };
        let shard = self.lock(key.hash(self.hash_key));
        shard.is_some_and(|mut shard| shard.become_like(view, alloc))
    }

    /// No system call, and no waiting without end: the lock is held for some hundred nanoseconds.
    fn lock(&self, hash: u64) -> Option<MutexGuard<'_, Shard<F>>> {
        let at = usize::try_from(hash >> 32).unwrap_or(0) % SHARDS;
        let shard = self.shards.get(at)?;
        for _ in 0..TRIES {
            match shard.try_lock() {
                Ok(shard) => return Some(shard),
                Err(TryLockError::Poisoned(shard)) => return Some(shard.into_inner()),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
    }
}

/// A table looked at by who explains a fragment, whatever the frames in it are.
pub(crate) trait Look: Send + Sync {
    /// What the part of the table holds where the packet of `frame` belongs; `None`: it is no fragment, or a worker is busy there.
    fn look(&self, key: &FragmentKey) -> Option<View>;
}

/// What fragments of one packet have in common.
#[derive(Debug)]
pub(crate) struct FragmentKey(Key);

impl FragmentKey {
    /// Of a fragment.
    pub fn of<F: Frame>(frame: &F, packet: &Packet) -> Option<Self> {
        Fragment::read(frame, packet).map(|(key, _)| Self(key))
    }
}

impl std::fmt::Debug for dyn Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("fragments")
    }
}

impl<F: Frame + Send> Look for Reassembly<F> {
    fn look(&self, key: &FragmentKey) -> Option<View> {
        let hash = key.0.hash(self.hash_key);
        let mut view = View::with_room(EACH);
        self.lock(hash)?.look(hash, &key.0, &mut view);
        Some(view)
    }
}

#[cfg(test)]
mod tests;
