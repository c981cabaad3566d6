//! Where a packet's connection would be: the direction guessed from the destination, the hash over the client's endpoint.

use super::{
    family::{self, Ip},
    known,
};
use crate::{
    Output,
    context::Context,
    packet::{Addresses, Ends, Fragment, Packet},
    shared::Shared,
};
use flowtable::{Hash, OnWire, Side, Slot, V4, V6};
use types::PortId;
use wire::{Frame, protocol};

/// A guess at a packet's connection.
#[derive(Clone, Copy)]
pub(crate) struct Lookup {
    pub(super) hash: Hash,
    pub(super) side: Side,
    pub(super) kind: Kind,
    /// Where the entry may be; set by the second stage.
    pub(super) candidate: Slot,
    /// Where the packet leaves; set by the third.
    pub out: PortId,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody's known: no plain packet.
    Odd,
    /// IPv4's.
    V4,
    /// IPv6's.
    V6,
}

impl Kind {
    /// The family's.
    pub(super) const fn of<I: Ip>() -> Self {
        if I::ONE_WORD { Self::V4 } else { Self::V6 }
    }
}

/// How far in front of the frame at hand entries are fetched. A core has room for a few misses only, and drops or delays what is asked
/// for beyond: all 32 of a burst at once cost half as much again at a million connections. Fewer than 16 are too few at ten million (`benches/README.md`).
pub(crate) const AHEAD: usize = 18;

/// The guess, its tags already on the way to the cache; `None` for packets that cannot be of a connection.
#[inline]
pub(crate) fn lookup<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    packet: &Packet,
) -> Option<Lookup> {
    if !matches!(
        packet.protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP
    ) || packet.link_group
        || packet.headless
        || !cx.snapshot.services.looks_at_family_of(&packet.addresses)
    {
        return None;
    }
    match packet.addresses {
        Addresses::V4 { .. } => Some(parsed::<V4, F, O>(cx, &family::ends::<V4>(packet)?)),
        Addresses::V6 { .. } => Some(parsed::<V6, F, O>(cx, &family::ends::<V6>(packet)?)),
    }
}

/// [`lookup`] of a packet that may be of a connection.
#[inline]
fn parsed<I: Ip, F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, ends: &Ends<I::Addr>) -> Lookup {
    let side = side::<I, F, O>(cx, I::words(ends.destination));
    let table = I::table(cx.shared);
    let hash = match side {
        Side::Virtual => table.hash(ends.protocol, ends.source, ends.source_port),
        Side::Server => table.hash(ends.protocol, ends.destination, ends.destination_port),
    };
    table.prefetch_tags(hash);
    Lookup {
        hash,
        side,
        kind: Kind::of::<I>(),
        ..Lookup::ODD
    }
}

/// [`lookup`] of a plain packet, of which nothing is known yet.
#[inline(always)]
pub(crate) fn guess<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    packet: &OnWire<I>,
    lookup: &mut Lookup,
) {
    // The client's words of a reply are the destination.
    let destination = I::client_words(&packet.addresses, Side::Server);
    let side = side::<I, F, O>(cx, destination);
    let table = I::table(cx.shared);
    let hash = table.hash_packet(packet, side);
    table.prefetch_tags(hash);
    (lookup.hash, lookup.side, lookup.kind) = (hash, side, Kind::of::<I>());
}

/// To a VIP, the client is the source; else it may be a reply of NAT, whose client is the destination.
#[inline(always)]
fn side<I: Ip, F: Frame, O: Output<F>>(cx: &Context<'_, F, O>, destination: (u64, u64)) -> Side {
    if I::may_be_vip(&cx.snapshot.net, destination) {
        Side::Virtual
    } else {
        Side::Server
    }
}

/// At the frame at `at`: fetches the entry of the one [`AHEAD`] of it.
#[inline(always)]
pub(crate) fn prefetch_ahead(shared: &Shared, lookups: &mut [Lookup], at: usize) {
    if let Some(lookup) = lookups.get_mut(at + AHEAD) {
        lookup.prefetch_entry(shared);
    }
}

impl Lookup {
    /// Nothing is known.
    pub const ODD: Self = Self {
        hash: Hash::NONE,
        side: Side::Virtual,
        kind: Kind::Odd,
        candidate: Slot::NOWHERE,
        out: PortId(0),
    };

    /// Whose.
    #[inline]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Once the tags are there.
    #[inline(always)]
    pub fn prefetch_entry(&mut self, shared: &Shared) {
        self.candidate = match self.kind {
            Kind::V4 => shared.connections4.candidate(self.hash),
            Kind::V6 => shared.connections6.candidate(self.hash),
            Kind::Odd => return,
        };
    }

    /// The guess was wrong, or there is no connection yet: fetches the tags that are looked at next, of the other direction.
    pub fn prefetch_other(&self, shared: &Shared, packet: &Packet) {
        let other = self.side.other();
        if self.kind == Kind::V4
            && let Some(t) = family::tuple::<V4>(packet, other)
        {
            let table = &shared.connections4;
            table.prefetch_tags(table.hash(t.protocol, t.client, t.client_port));
        } else if let Some(t) = family::tuple::<V6>(packet, other) {
            let table = &shared.connections6;
            table.prefetch_tags(table.hash(t.protocol, t.client, t.client_port));
        }
    }

    /// Handles the packet if its connection is where the guess says; else gives it back.
    #[inline]
    pub fn handle<F: Frame, O: Output<F>>(
        &self,
        cx: &mut Context<'_, F, O>,
        frame: F,
        packet: &Packet,
    ) -> Result<(), F> {
        if self.kind == Kind::V4 {
            self.find::<V4, F, O>(cx, frame, packet)
        } else {
            self.find::<V6, F, O>(cx, frame, packet)
        }
    }

    #[inline]
    fn find<I: Ip, F: Frame, O: Output<F>>(
        &self,
        cx: &mut Context<'_, F, O>,
        frame: F,
        packet: &Packet,
    ) -> Result<(), F> {
        if packet.fragment != Fragment::No {
            return Err(frame);
        }
        let Some(tuple) = family::tuple::<I>(packet, self.side) else {
            return Err(frame);
        };
        match I::table(cx.shared).find_entry(self.hash, &tuple, self.side, cx.now) {
            Some(entry) => known::packet::<I, F, O>(cx, frame, packet, &entry, self.side),
            None => Err(frame),
        }
    }

    /// The packet was given back: looks the other way, then for a service that wants it.
    #[cold]
    pub fn missed<F: Frame, O: Output<F>>(
        &self,
        cx: &mut Context<'_, F, O>,
        port: PortId,
        frame: F,
        packet: &Packet,
        tries: u8,
    ) {
        if self.kind == Kind::V4 {
            known::missed::<V4, F, O>(cx, port, frame, packet, self.side, tries);
        } else {
            known::missed::<V6, F, O>(cx, port, frame, packet, self.side, tries);
        }
    }
}
