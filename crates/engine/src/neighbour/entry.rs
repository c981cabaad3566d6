//! One neighbour in one line: the fields, and how a reader makes sure they belong together.

use super::{Link, State};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};
use types::{InterfaceId, Tick};

/// How coarse `used` is: senders write the line at most so often.
pub(super) const USED_GRAIN_MS: u64 = 1000;
/// "Never" in a stamp.
pub(super) const NEVER: u64 = u64::MAX;

/// State of a slot in `meta`: bit 0 present, bit 1 IPv6; bits 16..32 the interface; the rest counts its uses.
pub(super) const PRESENT: u64 = 1;
pub(super) const V6: u64 = 2;
pub(super) const GENERATION: u64 = 1 << 32;

/// One neighbour, one line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    /// Address, IPv4 in the low 32 bits of `low`.
    pub high: AtomicU64,
    pub low: AtomicU64,
    /// See [`PRESENT`].
    pub meta: AtomicU64,
    /// A [`Link`].
    pub link: AtomicU64,
    /// When a packet was last sent to it, ms.
    pub used: AtomicU64,
    /// When it last answered, ms.
    pub confirmed: AtomicU64,
    /// When the next question may be sent, or the state last changed, ms.
    pub next: AtomicU64,
    /// How many needs pin it.
    pub pinned: AtomicU32,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    pub const fn free() -> Self {
        Self {
            high: AtomicU64::new(0),
            low: AtomicU64::new(0),
            meta: AtomicU64::new(0),
            link: AtomicU64::new(0),
            used: AtomicU64::new(NEVER),
            confirmed: AtomicU64::new(NEVER),
            next: AtomicU64::new(0),
            pinned: AtomicU32::new(0),
        }
    }

    /// As it is now, by itself.
    pub fn copy(&self) -> Self {
        let word = |cell: &AtomicU64| AtomicU64::new(cell.load(Acquire));
        Self {
            high: word(&self.high),
            low: word(&self.low),
            meta: word(&self.meta),
            link: word(&self.link),
            used: word(&self.used),
            confirmed: word(&self.confirmed),
            next: word(&self.next),
            pinned: AtomicU32::new(self.pinned.load(Relaxed)),
        }
    }

    pub fn link(&self) -> Link {
        Link(self.link.load(Acquire))
    }
}

#[inline]
pub(super) fn stamp_used(entry: &Entry, now: Tick) {
    let used = entry.used.load(Relaxed);
    // One comparison, on the way of every packet: "never" looks like a moment before the clock's beginning.
    if now.0.wrapping_sub(used) >= USED_GRAIN_MS {
        entry.used.store(now.0, Relaxed);
    }
}

/// A failed neighbour somebody sends to is asked for anew, at once: `next` is the moment it failed.
pub(super) fn revive(entry: &Entry, link: Link) {
    if link.state() == State::Failed {
        // Another worker may have done it, or learned the MAC: both are as good.
        let _ = entry
            .link
            .compare_exchange(link.0, Link::NEW.0, Release, Relaxed);
    }
}

pub(super) const fn since(now: Tick, stamp: u64) -> u64 {
    if stamp == NEVER {
        u64::MAX
    } else {
        now.0.saturating_sub(stamp)
    }
}

/// (high, low, the constant part of `meta`).
#[inline]
pub(super) fn key_of(interface: InterfaceId, address: IpAddr) -> (u64, u64, u64) {
    let place = PRESENT | (u64::from(interface.0) << 16);
    match address {
        IpAddr::V4(ip) => (0, ip.to_bits().into(), place),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, rest @ ..] = ip.octets();
            (
                u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                u64::from_be_bytes(rest),
                place | V6,
            )
        }
    }
}

/// The entry's link, if it is the key's and was while the link was read.
#[inline]
pub(super) fn matching(entry: &Entry, key: (u64, u64, u64)) -> Option<Link> {
    let meta = entry.meta.load(Acquire);
    if meta & (GENERATION - 1) != key.2
        || entry.low.load(Relaxed) != key.1
        || entry.high.load(Relaxed) != key.0
    {
        return None;
    }
    let link = Link(entry.link.load(Relaxed));
    // The slot may have gone to another neighbour between the loads; the count of uses tells.
    fence(Acquire);
    (entry.meta.load(Relaxed) == meta).then_some(link)
}

pub(super) fn key_in(entry: &Entry) -> Option<(InterfaceId, IpAddr)> {
    let meta = entry.meta.load(Acquire);
    let address = address_of(meta, entry);
    fence(Acquire);
    (meta & PRESENT != 0 && entry.meta.load(Relaxed) == meta).then(|| (interface_of(meta), address))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "16 bits of it are the interface"
)]
pub(super) const fn interface_of(meta: u64) -> InterfaceId {
    InterfaceId((meta >> 16) as u16)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an IPv4 address is the low 32 bits"
)]
pub(super) fn address_of(meta: u64, entry: &Entry) -> IpAddr {
    let (high, low) = (entry.high.load(Relaxed), entry.low.load(Relaxed));
    if meta & V6 == 0 {
        Ipv4Addr::from_bits(low as u32).into()
    } else {
        Ipv6Addr::from_bits((u128::from(high) << 64) | u128::from(low)).into()
    }
}
