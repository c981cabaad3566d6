//! The way out: link header, next hop's MAC, checksums left undone. The IP packet itself is final here.

use crate::{
    DropReason, Output,
    context::Context,
    fragment_out, icmp, localstack,
    neighbour::{NeighbourId, Resolved},
    net::{InterfaceNet, NextHop},
    packet::{Addresses, Fragment, Packet, reparse},
    waiting::{Held, Hold},
};
use std::net::IpAddr;
use types::{InterfaceId, MacAddr};
use wire::{
    Ethernet, Frame, FromBytes, IntoBytes, Ipv4, RxChecksum, Sum, TxChecksum, TxL4, U16, VlanTag,
    ethernet, protocol, tcp, udp,
};

/// Sends the IP packet at `l3` of `frame` (bytes of the link header it has now) to `next`, or holds it until the next
/// hop's MAC is known.
pub(crate) fn send<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    l3: u8,
    next: NextHop,
) {
    let Some(out) = cx.snapshot.net.interface(next.interface) else {
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    match cx
        .shared
        .neighbours
        .resolve(next.interface, next.gateway, cx.now)
    {
        Resolved::Mac(mac) => send_to_mac(cx, frame, l3, out, mac),
        Resolved::Unknown(id) => hold(cx, (frame, true), l3, out, id, next.gateway),
        Resolved::Full => cx.drop(frame, DropReason::NeighbourTableFull),
    }
}

/// [`send`] to a neighbour whose slot the snapshot knows.
#[inline]
pub(crate) fn send_to_known<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    l3: u8,
    interface: InterfaceId,
    neighbour: NeighbourId,
    gateway: IpAddr,
) {
    let Some(out) = cx.snapshot.net.interface(interface) else {
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    match cx.shared.neighbours.mac(neighbour, cx.now) {
        Some(mac) => send_to_mac(cx, frame, l3, out, mac),
        None => {
            cx.shared.neighbours.wanted(neighbour, cx.now);
            // A server's address, which NAT has put into the packet, is not told to the client.
            hold(cx, (frame, false), l3, out, neighbour, gateway);
        }
    }
}

/// Sends the IP packet at `l3` of `frame` to a MAC on the link of `out`.
#[inline]
pub(crate) fn send_to_mac<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    l3: u8,
    out: &InterfaceNet,
    mac: MacAddr,
) {
    if !finish(&mut frame, l3, out, mac) {
        cx.drop(frame, DropReason::NoRoom);
        return;
    }
    cx.transmit(out.port, frame);
}

/// [`send_to_mac`] from another MAC than the interface's.
#[cold]
pub(crate) fn send_from<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    l3: u8,
    out: &InterfaceNet,
    (from, to): (MacAddr, MacAddr),
) {
    if !finish(&mut frame, l3, out, to) {
        cx.drop(frame, DropReason::NoRoom);
        return;
    }
    write_source(frame.head_mut(), from);
    cx.transmit(out.port, frame);
}

/// Sends a packet that is larger than the way out takes: in pieces, or not at all and its sender is told.
#[cold]
pub(crate) fn oversize<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    mtu: u16,
    next: NextHop,
) {
    if packet.reassembled.largest != 0 {
        let way = (fragment_out::To::Hop(next), fragment_out::Cut::AsItCame);
        fragment_out::send(cx, frame, packet, packet.cut_to(mtu), way);
        return;
    }
    let may_fragment = match packet.addresses {
        Addresses::V4 { .. } => frame
            .head()
            .get(usize::from(packet.l3)..)
            .and_then(|ip| Ipv4::ref_from_prefix(ip).ok())
            .is_some_and(|(ip, _)| !ip.dont_fragment()),
        Addresses::V6 { .. } => false,
    };
    if may_fragment {
        let way = (fragment_out::To::Hop(next), fragment_out::Cut::Even);
        fragment_out::send(cx, frame, packet, mtu, way);
    } else {
        icmp::error(cx, &frame, packet, icmp::IcmpError::TooBig { mtu }, None);
        cx.drop(frame, DropReason::TooBig);
    }
}

/// Writes the link header in front of the packet at `l3` and completes its checksum. False if there is no headroom.
#[inline]
fn finish<F: Frame>(frame: &mut F, l3: u8, out: &InterfaceNet, mac: MacAddr) -> bool {
    let want = out.l2_len();
    let room = match want.cmp(&l3) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Greater => frame.prepend(usize::from(want - l3)),
        std::cmp::Ordering::Less => frame.strip(usize::from(l3 - want)),
    };
    if !room {
        return false;
    }
    if frame.rx_l4_checksum() == RxChecksum::Partial {
        finish_partial(frame, want, out);
    }
    let head = frame.head_mut();
    let Some(version) = head.get(usize::from(want)).map(|b| b >> 4) else {
        return false;
    };
    let ip = if version == 4 {
        ethernet::IPV4
    } else {
        ethernet::IPV6
    };
    write_link_header(head, out, mac, ip)
}

/// Another source for the link header at the start of `head` than the interface's MAC.
#[cold]
pub(crate) fn write_source(head: &mut [u8], mac: MacAddr) {
    if let Some(source) = head.get_mut(6..12) {
        source.copy_from_slice(&mac.0);
    }
}

/// Writes Ethernet header and tag at the start of `head`.
#[inline]
pub(crate) fn write_link_header(
    head: &mut [u8],
    out: &InterfaceNet,
    to: MacAddr,
    ethertype: u16,
) -> bool {
    let mut header = Ethernet {
        destination: to.0,
        source: out.mac.0,
        ethertype: U16::new(ethertype),
    };
    match out.vlan {
        None => header.write_to_prefix(head).is_ok(),
        Some(vlan) => {
            header.ethertype = U16::new(ethernet::VLAN);
            let tag = VlanTag {
                control: U16::new(vlan.get()),
                ethertype: U16::new(ethertype),
            };
            header.write_to_prefix(head).is_ok()
                && head
                    .get_mut(ethernet::LEN..)
                    .is_some_and(|rest| tag.write_to_prefix(rest).is_ok())
        }
    }
}

/// Puts an 802.1Q tag that the port has stripped back behind the MACs. False if there is no headroom.
pub(crate) fn insert_tag<F: Frame>(frame: &mut F, control: u16) -> bool {
    const MACS: usize = 12;
    if frame.head().len() < ethernet::LEN || !frame.prepend(ethernet::VLAN_LEN) {
        return false;
    }
    let head = frame.head_mut();
    head.copy_within(ethernet::VLAN_LEN..ethernet::VLAN_LEN + MACS, 0);
    let [a, b] = ethernet::VLAN.to_be_bytes();
    let [c, d] = control.to_be_bytes();
    head.get_mut(MACS..)
        .and_then(<[u8]>::first_chunk_mut::<4>)
        .map(|tag| *tag = [a, b, c, d])
        .is_some()
}

/// A virtio peer left the layer-4 checksum to whoever sends on: the port if it can, else here.
#[cold]
fn finish_partial<F: Frame>(frame: &mut F, l3: u8, out: &InterfaceNet) {
    let Some(packet) = reparse(frame, l3, out.id) else {
        return;
    };
    let l4 = match packet.protocol {
        protocol::TCP => TxL4::Tcp,
        protocol::UDP => TxL4::Udp,
        _ => return,
    };
    if out.offloads.tx_l4 && packet.fragment == Fragment::No {
        frame.request_tx_checksum(TxChecksum {
            l2_len: l3,
            l3_len: packet.header_len(),
            ipv4_header: false,
            l4,
        });
    } else {
        complete_checksum(frame, l3);
    }
}

/// Computes a partial TCP or UDP checksum in software: of a frame whose `rx_l4_checksum` is `Partial`, before it goes
/// where nobody else will (the host stack, into a tunnel, in fragments). The field holds the pseudo-header's sum.
#[cold]
pub(crate) fn complete_checksum<F: Frame>(frame: &mut F, l3: u8) {
    let Some(packet) = reparse(frame, l3, InterfaceId(0)) else {
        return;
    };
    let field = match packet.protocol {
        protocol::TCP => tcp::CHECKSUM_OFFSET,
        protocol::UDP => udp::CHECKSUM_OFFSET,
        _ => return,
    };
    if packet.fragment != Fragment::No {
        return;
    }
    let mut checksum = sum_of(frame, packet.l4.into(), packet.payload_len().into()).finish();
    if packet.protocol == protocol::UDP && checksum == 0 {
        checksum = 0xffff;
    }
    let at = usize::from(packet.l4) + field;
    if let Some(bytes) = frame
        .head_mut()
        .get_mut(at..)
        .and_then(<[u8]>::first_chunk_mut::<2>)
    {
        *bytes = checksum.to_be_bytes();
    }
}

/// The sum over `len` bytes from `from` on, across segments.
pub(crate) fn sum_of<F: Frame>(frame: &F, from: usize, len: usize) -> Sum {
    let mut sum = Sum::new();
    over(frame, from, len, |part| sum.add(part));
    sum
}

/// Calls `f` with `len` bytes from the byte `from` on, part by part.
pub(crate) fn over<F: Frame>(frame: &F, from: usize, len: usize, mut f: impl FnMut(&[u8])) {
    let (mut skip, mut left) = (from, len);
    frame.segments(&mut |segment| {
        let start = skip.min(segment.len());
        skip -= start;
        let rest = segment.get(start..).unwrap_or_default();
        let part = rest.get(..left.min(rest.len())).unwrap_or_default();
        left -= part.len();
        f(part);
    });
}

/// Where the IP header of a frame stands, by its `EtherType`.
pub(crate) fn l3_offset(head: &[u8]) -> Option<u8> {
    let (ether, rest) = Ethernet::ref_from_prefix(head).ok()?;
    let (ethertype, l3) = match ether.ethertype.get() {
        ethernet::VLAN => (VlanTag::ref_from_prefix(rest).ok()?.0.ethertype.get(), 18),
        other => (other, 14),
    };
    matches!(ethertype, ethernet::IPV4 | ethernet::IPV6).then_some(l3)
}

/// Keeps the frame, complete but for the MAC, until the neighbour answers or is given up.
#[cold]
fn hold<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    (mut frame, tell): (F, bool),
    l3: u8,
    out: &InterfaceNet,
    id: NeighbourId,
    gateway: IpAddr,
) {
    if !finish(&mut frame, l3, out, MacAddr([0; 6])) {
        cx.drop(frame, DropReason::NoRoom);
        return;
    }
    let held = Held { frame, tell };
    match cx.local.waiting.hold(held, id, out.id, gateway) {
        Hold::Held => {
            cx.local.counters.held.add(1);
            localstack::ask(cx, id);
        }
        Hold::Replaced(old) => cx.drop(old.frame, DropReason::NeighbourQueueFull),
        Hold::Full(held) => cx.drop(held.frame, DropReason::NeighbourQueueFull),
    }
}

#[cfg(test)]
mod tests;
