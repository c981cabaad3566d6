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
use flowtable::{Hash, Side, Slot, V4, V6};
use types::PortId;
use wire::{Frame, protocol};

/// A guess at a packet's connection.
#[derive(Clone, Copy)]
pub(crate) struct Lookup {
    pub(super) hash: Hash,
    pub(super) side: Side,
    is4: bool,
    /// Where the entry may be; set by the second stage.
    pub(super) candidate: Slot,
}

/// The guess, its tags already on the way to the cache; `None` for packets that cannot be of a connection.
#[inline]
pub(crate) fn lookup<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    packet: &Packet,
) -> Option<Lookup> {
    if !matches!(packet.protocol, protocol::TCP | protocol::UDP)
        || packet.link_group
        || packet.headless
        || cx.snapshot.services.is_empty()
    {
        return None;
    }
    match packet.addresses {
        Addresses::V4 { .. } => Some(guess::<V4, F, O>(cx, &family::ends::<V4>(packet)?)),
        Addresses::V6 { .. } => Some(guess::<V6, F, O>(cx, &family::ends::<V6>(packet)?)),
    }
}

/// [`lookup`] of a packet that may be of a connection. To a VIP, the client is the source; else it may be a reply of NAT,
/// whose client is the destination.
#[inline]
pub(crate) fn guess<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    ends: &Ends<I::Addr>,
) -> Lookup {
    let side = if I::may_be_vip(&cx.snapshot.net, ends.destination) {
        Side::Virtual
    } else {
        Side::Server
    };
    let table = I::table(cx.shared);
    let hash = match side {
        Side::Virtual => table.hash(ends.protocol, ends.source, ends.source_port),
        Side::Server => table.hash(ends.protocol, ends.destination, ends.destination_port),
    };
    table.prefetch_tags(hash);
    Lookup {
        hash,
        side,
        is4: I::ONE_WORD,
        candidate: Slot::NOWHERE,
    }
}

impl Lookup {
    /// Whether it is an IPv4 packet's.
    #[inline]
    pub const fn is4(&self) -> bool {
        self.is4
    }

    /// Once the tags are there.
    #[inline]
    pub fn prefetch_entry(&mut self, shared: &Shared) {
        self.candidate = if self.is4 {
            shared.connections4.candidate(self.hash)
        } else {
            shared.connections6.candidate(self.hash)
        };
    }

    /// Handles the packet if its connection is where the guess says; else gives it back.
    #[inline]
    pub fn handle<F: Frame, O: Output<F>>(
        &self,
        cx: &mut Context<'_, F, O>,
        frame: F,
        packet: &Packet,
    ) -> Result<(), F> {
        if self.is4 {
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
        if self.is4 {
            known::missed::<V4, F, O>(cx, port, frame, packet, self.side, tries);
        } else {
            known::missed::<V6, F, O>(cx, port, frame, packet, self.side, tries);
        }
    }
}
