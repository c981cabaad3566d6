//! Where a packet's connection would be: the direction guessed from the destination, the hash over the client's endpoint.

use super::{
    family::{self, Ip},
    known,
};
use crate::{
    Output,
    context::Context,
    packet::{Addresses, Fragment, Packet},
    shared::Shared,
};
use flowtable::{Hash, Side, V4, V6};
use types::PortId;
use wire::{Frame, protocol};

/// A guess at a packet's connection.
#[derive(Clone, Copy)]
pub(crate) struct Lookup {
    hash: Hash,
    side: Side,
    is4: bool,
}

/// The guess, its tags already on the way to the cache; `None` for packets that cannot be of a connection.
///
/// To a VIP, the client is the source; else it may be a reply of NAT, whose client is the destination.
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
    let net = &cx.snapshot.net;
    let (is4, to_vip) = match packet.addresses {
        Addresses::V4 { destination, .. } => (true, net.may_be_vip4(destination)),
        Addresses::V6 { destination, .. } => (false, net.may_be_vip6(destination)),
    };
    let side = if to_vip { Side::Virtual } else { Side::Server };
    let hash = if is4 {
        hash::<V4>(cx.shared, packet, side)?
    } else {
        hash::<V6>(cx.shared, packet, side)?
    };
    Some(Lookup { hash, side, is4 })
}

#[inline]
fn hash<I: Ip>(shared: &Shared, packet: &Packet, side: Side) -> Option<Hash> {
    let (source, destination) = I::endpoints(&packet.addresses)?;
    let table = I::table(shared);
    let hash = match side {
        Side::Virtual => table.hash(packet.protocol, source, packet.source_port),
        Side::Server => table.hash(packet.protocol, destination, packet.destination_port),
    };
    table.prefetch_tags(hash);
    Some(hash)
}

impl Lookup {
    /// Once the tags are there.
    #[inline]
    pub fn prefetch_entry(&self, shared: &Shared) {
        if self.is4 {
            shared.connections4.prefetch_entry(self.hash);
        } else {
            shared.connections6.prefetch_entry(self.hash);
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
        match I::table(cx.shared).find(self.hash, &tuple, self.side, cx.now) {
            Some(slot) => known::packet::<I, F, O>(cx, frame, packet, slot, self.side),
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
