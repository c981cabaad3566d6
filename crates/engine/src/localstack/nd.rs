//! IPv6 neighbour discovery (RFC 4861): solicitations for our addresses are answered, advertisements are learned.
//! Router discovery and redirects are not ours: they go to the host stack if there is one.

use super::{icmp_checksum_is_right, icmp_kind, pass_on};
use crate::{
    DropReason, Output, claims,
    context::Context,
    datagram::{self, Header},
    forward,
    net::{InterfaceNet, Local, is_link_local},
    packet::{Addresses, Fragment, Packet},
    transmit,
};
use std::net::Ipv6Addr;
use types::{MacAddr, PortId};
use wire::{
    Ethernet, Frame, FromBytes, IntoBytes, U16, U32,
    icmp::v6,
    nd::{self, LinkLayerOption, Neighbour},
    protocol,
};

/// Messages of neighbour discovery have crossed no router.
const HOP_LIMIT: u8 = 255;
const ALL_NODES: u128 = 0xff02_0000_0000_0000_0000_0000_0000_0001;

/// The messages of neighbour discovery that are ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Solicitation,
    Advertisement,
}

/// Which message of neighbour discovery the packet is; `None`: another packet.
pub(super) fn kind<F: Frame>(frame: &F, packet: &Packet) -> Option<Kind> {
    let is6 = matches!(packet.addresses, Addresses::V6 { .. });
    if packet.protocol != protocol::ICMPV6 || packet.fragment != Fragment::No || !is6 {
        return None;
    }
    match icmp_kind(frame, packet)?.0 {
        v6::NEIGHBOUR_SOLICITATION => Some(Kind::Solicitation),
        v6::NEIGHBOUR_ADVERTISEMENT => Some(Kind::Advertisement),
        _ => None,
    }
}

/// Takes in what has a [`kind`].
#[cold]
pub(super) fn receive<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    port: PortId,
) {
    let Addresses::V6 {
        source,
        destination,
    } = packet.addresses
    else {
        cx.drop(frame, DropReason::NdMalformed);
        return;
    };
    let Some(message) = read(&frame, packet) else {
        cx.drop(frame, DropReason::NdMalformed);
        return;
    };
    let told = Told {
        source,
        destination,
        message,
    };
    if message.kind == v6::NEIGHBOUR_SOLICITATION {
        solicitation(cx, frame, packet, &told);
    } else {
        advertisement(cx, frame, packet, port, &told);
    }
}

/// Notes who says that a VIP is theirs: who asks with it as the source, or advertises it.
pub(super) fn hear_claim<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    frame: &F,
    packet: &Packet,
) {
    let (Some(message), Addresses::V6 { source, .. }) = (read(frame, packet), packet.addresses)
    else {
        return;
    };
    let address = if message.kind == v6::NEIGHBOUR_SOLICITATION {
        source
    } else {
        message.target
    };
    if cx.snapshot.net.local6(address) == Some(Local::Vip)
        && let Some(mac) = message.mac.or_else(|| sender(frame))
    {
        let address = Ipv6Addr::from_bits(address).into();
        claims::hear(cx, (address, mac), packet.interface);
    }
}

/// A message that passed the checks common to both (RFC 4861 7.1).
#[derive(Clone, Copy)]
struct Message {
    kind: u8,
    flags: u32,
    target: u128,
    /// The link-layer address option: the source's of a solicitation, the target's of an advertisement.
    mac: Option<MacAddr>,
}

struct Told {
    source: u128,
    destination: u128,
    message: Message,
}

fn read<F: Frame>(frame: &F, packet: &Packet) -> Option<Message> {
    if forward::ttl(frame, packet) != Some(HOP_LIMIT) || !icmp_checksum_is_right(frame, packet) {
        return None;
    }
    let l4 = usize::from(packet.l4);
    let bytes = frame
        .head()
        .get(l4..l4 + usize::from(packet.payload_len()))?;
    let (message, options) = Neighbour::ref_from_prefix(bytes).ok()?;
    let option = if message.kind == v6::NEIGHBOUR_SOLICITATION {
        nd::SOURCE_LINK_LAYER
    } else {
        nd::TARGET_LINK_LAYER
    };
    let mac = nd::link_layer(options, option).ok()?.map(MacAddr);
    let target = u128::from_be_bytes(message.target);
    if message.code != 0 || is_multicast(target) || mac.is_some_and(|mac| mac.is_group()) {
        return None;
    }
    Some(Message {
        kind: message.kind,
        flags: message.flags.get(),
        target,
        mac,
    })
}

const fn is_multicast(ip: u128) -> bool {
    ip >> 120 == 0xff
}

fn solicitation<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    told: &Told,
) {
    let Message { target, mac, .. } = told.message;
    let detection = told.source == 0;
    // Duplicate address detection asks the group, and has no address to tell (RFC 4861 7.1.1).
    if detection && (told.destination != nd::solicited_node(target) || mac.is_some()) {
        cx.drop(frame, DropReason::NdMalformed);
        return;
    }
    // A group we would not have joined.
    if is_multicast(told.destination)
        && !matches!(told.destination, d if d == nd::solicited_node(target) || d == ALL_NODES)
    {
        cx.drop(frame, DropReason::Multicast);
        return;
    }
    let ours = match cx.snapshot.net.local6(target) {
        // VLANs of one port share a link-local address.
        Some(Local::Own(_)) if is_link_local(target) => cx
            .snapshot
            .net
            .interface(packet.interface)
            .is_some_and(|i| i.link_local == target),
        Some(Local::Own(owner)) => owner == packet.interface,
        Some(Local::Vip) => true,
        Some(Local::Broadcast) | None => false,
    };
    let Some(out) = cx.snapshot.net.interface(packet.interface).filter(|_| ours) else {
        cx.drop(frame, DropReason::IcmpIgnored);
        return;
    };
    let asker = Ipv6Addr::from_bits(told.source);
    if let Some(mac) = mac {
        let create = out.on_link(asker.into());
        cx.shared
            .neighbours
            .learn(packet.interface, asker.into(), mac, create, cx.now);
    }
    let (to, mac) = if detection {
        (ALL_NODES, Some(MacAddr(nd::multicast_mac(ALL_NODES))))
    } else {
        (told.source, mac.or_else(|| sender(&frame)))
    };
    let Some(mac) = mac else {
        cx.drop(frame, DropReason::NdMalformed);
        return;
    };
    // Who asked the group may hold another MAC or none: it is told to override. A unicast question has it already.
    let flags = match (detection, is_multicast(told.destination)) {
        (true, _) => nd::OVERRIDE,
        (false, true) => nd::SOLICITED | nd::OVERRIDE,
        (false, false) => nd::SOLICITED,
    };
    advertise(cx, out, (target, flags), to, mac);
    cx.drop(frame, DropReason::Answered);
}

fn sender<F: Frame>(frame: &F) -> Option<MacAddr> {
    let (ether, _) = Ethernet::ref_from_prefix(frame.head()).ok()?;
    Some(MacAddr(ether.source))
}

fn advertisement<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    port: PortId,
    told: &Told,
) {
    let Message {
        target, mac, flags, ..
    } = told.message;
    let solicited = flags & nd::SOLICITED != 0;
    if is_multicast(told.destination) && solicited {
        cx.drop(frame, DropReason::NdMalformed);
        return;
    }
    match cx.snapshot.net.local6(target) {
        None => {}
        // Somebody else claims an address of ours. Who claims a VIP is shown to the host, which has none.
        Some(Local::Vip) => {
            hear_claim(cx, &frame, packet);
            return pass_on(cx, frame, port, DropReason::IcmpIgnored);
        }
        Some(_) => return cx.drop(frame, DropReason::IcmpIgnored),
    }
    let address = Ipv6Addr::from_bits(target).into();
    let neighbours = &cx.shared.neighbours;
    let known = neighbours.peek(packet.interface, address);
    // RFC 4861 7.2.5: without the override flag a known MAC stays; without the option it is only confirmed.
    let mac = match (mac, known) {
        (Some(mac), None) => Some(mac),
        (Some(mac), Some(_)) if flags & nd::OVERRIDE != 0 => Some(mac),
        (Some(mac), Some(known)) if mac == known => Some(mac),
        (None, Some(known)) if solicited => Some(known),
        _ => None,
    };
    let learned =
        mac.is_some_and(|mac| neighbours.learn(packet.interface, address, mac, false, cx.now));
    let reason = if learned {
        DropReason::Learned
    } else {
        DropReason::IcmpIgnored
    };
    pass_on(cx, frame, port, reason);
}

/// Tells `to` at `mac` that `target` is here.
fn advertise<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    out: &InterfaceNet,
    (target, flags): (u128, u32),
    to: u128,
    mac: MacAddr,
) {
    let router = if cx.snapshot.settings.ip_forward {
        nd::ROUTER
    } else {
        0
    };
    let Some(mut frame) = cx.generated() else {
        return;
    };
    let address = Ipv6Addr::from_bits(target).into();
    let own = cx.snapshot.virtual_macs.answer(address, out.id);
    let own = own.unwrap_or(out.mac);
    let parts = Parts {
        kind: v6::NEIGHBOUR_ADVERTISEMENT,
        flags: router | flags,
        target,
        option: (flags & nd::OVERRIDE != 0).then_some((nd::TARGET_LINK_LAYER, own)),
    };
    if build(&mut frame, target, to, parts) {
        transmit::send_from(cx, frame, datagram::L3, out, (own, mac));
    } else {
        cx.drop(frame, DropReason::NoRoom);
    }
}

/// Builds the question who has `target`, an IP packet behind room for the link header, and says to which MAC it goes.
/// `to`: `None` asks its solicited-node group. It is asked from the link-local address, as Linux does for packets of
/// others.
pub(super) fn solicit<F: Frame>(
    frame: &mut F,
    out: &InterfaceNet,
    target: u128,
    to: Option<MacAddr>,
) -> Option<MacAddr> {
    let group = nd::solicited_node(target);
    let (destination, mac) = match to {
        Some(mac) => (target, mac),
        None => (group, MacAddr(nd::multicast_mac(group))),
    };
    let parts = Parts {
        kind: v6::NEIGHBOUR_SOLICITATION,
        flags: 0,
        target,
        option: Some((nd::SOURCE_LINK_LAYER, out.mac)),
    };
    build(frame, out.link_local, destination, parts).then_some(mac)
}

struct Parts {
    kind: u8,
    flags: u32,
    target: u128,
    /// Its kind, and the MAC it tells.
    option: Option<(u8, MacAddr)>,
}

fn build<F: Frame>(frame: &mut F, source: u128, destination: u128, parts: Parts) -> bool {
    let header = Header {
        source: Ipv6Addr::from_bits(source).into(),
        destination: Ipv6Addr::from_bits(destination).into(),
        protocol: protocol::ICMPV6,
        tos: 0,
        ttl: HOP_LIMIT,
        id: None,
    };
    let len = nd::LEN + parts.option.map_or(0, |_| nd::OPTION_LEN);
    let Some(payload) = datagram::begin(frame, &header, len) else {
        return false;
    };
    let message = Neighbour {
        kind: parts.kind,
        code: 0,
        checksum: U16::new(0),
        flags: U32::new(parts.flags),
        target: parts.target.to_be_bytes(),
    };
    let _ = message.write_to_prefix(payload);
    if let (Some((kind, mac)), Some(rest)) = (parts.option, payload.get_mut(nd::LEN..)) {
        let option = LinkLayerOption {
            kind,
            len: 1,
            mac: mac.0,
        };
        let _ = option.write_to_prefix(rest);
    }
    datagram::seal(&header, payload, 2);
    true
}
