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

/// Sends a packet that is larger than the way out takes: in pieces, or not at all and its sender is told.
#[cold]
pub(crate) fn oversize<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    mtu: u16,
    next: NextHop,
) {
    let may_fragment = match packet.addresses {
        Addresses::V4 { .. } => frame
            .head()
            .get(usize::from(packet.l3)..)
            .and_then(|ip| Ipv4::ref_from_prefix(ip).ok())
            .is_some_and(|(ip, _)| !ip.dont_fragment()),
        Addresses::V6 { .. } => false,
    };
    if may_fragment {
        fragment_out::send(cx, frame, packet, mtu, next);
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
    let (mut skip, mut left) = (from, len);
    frame.segments(&mut |segment| {
        let start = skip.min(segment.len());
        skip -= start;
        let rest = segment.get(start..).unwrap_or_default();
        let part = rest.get(..left.min(rest.len())).unwrap_or_default();
        left -= part.len();
        sum.add(part);
    });
    sum
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
mod tests {
    use crate::{
        DropReason,
        datagram::{self, Header},
        testing::{World, desired, ip},
    };
    use sim::VecFrame;
    use types::{InterfaceId, VlanId};
    use wire::{Frame, RxChecksum, TxChecksum, TxL4, checksum, protocol};

    /// Frames of up to 64 KiB that came in on `cl`.
    fn udp(to: &str, data: &[u8], dont_fragment: bool) -> Vec<u8> {
        let header = Header {
            source: ip("172.16.0.1"),
            destination: ip(to),
            protocol: protocol::UDP,
            tos: 0,
            ttl: 64,
            id: (!dont_fragment).then_some(77),
        };
        let mut payload = [&[0, 9, 0, 10][..], &[0; 4], data].concat();
        let len = u16::try_from(payload.len()).unwrap();
        payload[4..6].copy_from_slice(&len.to_be_bytes());
        datagram::seal(&header, &mut payload, 6);
        whole(&header, &payload)
    }

    fn whole(header: &Header, payload: &[u8]) -> Vec<u8> {
        let mut frame = VecFrame::new(&vec![0; 70_000]);
        frame.truncate(0);
        datagram::begin(&mut frame, header, payload.len())
            .unwrap()
            .copy_from_slice(payload);
        frame.head_mut()[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xfe, 8, 0]);
        frame.bytes()
    }

    fn data(len: usize) -> Vec<u8> {
        (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    fn jumbo() -> World {
        let mut desired = desired();
        desired.interfaces[0].mtu = 9000;
        let mut world = World::of(&desired);
        world.shared = World::new().shared;
        world
    }

    #[test]
    fn a_chained_echo_request_is_answered_whole() {
        let header = Header {
            source: ip("172.16.0.1"),
            destination: ip("10.0.0.100"),
            protocol: protocol::ICMP,
            tos: 0,
            ttl: 64,
            id: None,
        };
        let mut message = [&[8, 0, 0, 0, 1, 2, 3, 4][..], &data(8963)].concat();
        datagram::seal(&header, &mut message, 2);
        let mut world = jumbo();
        world.receive(
            0,
            VecFrame::chained(&whole(&header, &message), &[99, 2001, 2048]),
        );
        let sent = world.sent();
        assert_eq!(sent.len(), 1);
        let bytes = &sent[0].1;
        assert_eq!(bytes.len(), 14 + 20 + 8 + 8963);
        assert_eq!(bytes[26..35], [10, 0, 0, 100, 172, 16, 0, 1, 0]);
        assert_eq!(checksum::of(&bytes[34..]), 0);
        assert_eq!(bytes[42..], message[8..]);
    }

    #[test]
    fn a_chained_packet_goes_through_and_in_fragments() {
        let packet = udp("10.1.0.11", &data(8000), false);
        let mut world = jumbo();
        world.receive(0, VecFrame::chained(&packet, &[1000, 3001]));
        assert_eq!(world.dropped(DropReason::Fragmented), 1);
        let mut whole = vec![0; 8008];
        let sent = world.sent();
        assert_eq!(sent.len(), 6);
        for (n, (port, fragment)) in sent.iter().enumerate() {
            assert_eq!(*port, 1);
            assert!(fragment.len() <= 1514);
            assert_eq!(checksum::of(&fragment[14..34]), 0);
            let word = u16::from_be_bytes([fragment[20], fragment[21]]);
            assert_eq!(word & 0x2000 != 0, n < 5, "more fragments");
            let at = usize::from(word & 0x1fff) * 8;
            whole[at..at + fragment.len() - 34].copy_from_slice(&fragment[34..]);
        }
        assert_eq!(whole, packet[34..]);
        // Without permission to fragment, its sender is told instead.
        world.receive(
            0,
            VecFrame::chained(&udp("10.1.0.11", &data(8000), true), &[1000, 3001]),
        );
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].0), (1, 0));
        assert_eq!(
            sent[0].1[34..42],
            [3, 4, sent[0].1[36], sent[0].1[37], 0, 0, 5, 220]
        );
        assert_eq!(sent[0].1.len(), 14 + 576);
    }

    #[test]
    fn fragments_shrink_to_what_a_buffer_holds() {
        let mut desired = desired();
        desired.interfaces[0].mtu = 9000;
        desired.interfaces[1].mtu = 4000;
        let mut world = World::of(&desired);
        world.shared = World::new().shared;
        // A buffer of the world holds 2048 bytes.
        world.receive(
            0,
            VecFrame::chained(&udp("10.1.0.11", &data(8000), false), &[1000]),
        );
        assert_eq!(world.dropped(DropReason::NoRoom), 1);
        assert_eq!(world.sent().len(), 6);
    }

    /// As a virtio peer sends it: the field holds the sum over the pseudo-header.
    fn partial(bytes: &[u8]) -> VecFrame {
        let mut bytes = bytes.to_vec();
        let len = u16::try_from(bytes.len() - 34).unwrap();
        let address = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let sum = wire::Sum::pseudo4(address(26), address(30), bytes[23], len).folded();
        bytes[40..42].copy_from_slice(&sum.to_be_bytes());
        let mut frame = VecFrame::new(&bytes);
        frame.l4_checksum = RxChecksum::Partial;
        frame
    }

    #[test]
    fn a_partial_checksum_is_completed_by_software_or_port() {
        let complete = udp("10.1.0.11", &data(100), true);
        let mut world = World::new();
        world.receive(0, partial(&complete));
        let sent = world.sent();
        assert_eq!(sent[0].1[34..], complete[34..], "in software");

        let mut desired = desired();
        desired.interfaces[1].offloads.tx_l4 = true;
        desired.interfaces[1].vlan = Some(VlanId::try_from(3).unwrap());
        let mut world = World::of(&desired);
        world.shared = World::new().shared;
        world.receive(0, partial(&complete));
        let (_, frame) = world.out.sent.remove(0);
        let wanted = TxChecksum {
            l2_len: 18,
            l3_len: 20,
            ipv4_header: false,
            l4: TxL4::Udp,
        };
        assert_eq!(frame.requested, Some(wanted), "by the port");
        assert_eq!(frame.bytes()[38..], partial(&complete).bytes()[34..]);
    }

    #[test]
    fn a_partial_checksum_is_complete_in_fragments_and_for_the_host() {
        let complete = udp("10.1.0.11", &data(1400), false);
        let mut desired = desired();
        desired.interfaces[0].host = true;
        desired.interfaces[1].mtu = 700;
        desired.interfaces[1].addresses.truncate(1);
        let mut world = World::of(&desired);
        world.shared = World::new().shared;
        world.receive(0, partial(&complete));
        let sent = world.sent();
        assert_eq!(sent.len(), 3);
        assert_eq!(sent[0].1[34..], complete[34..714]);

        let to_host = udp("10.0.0.1", &data(100), true);
        let mut frame = partial(&to_host);
        frame.vlan = Some(0);
        world.receive(0, frame);
        let (_, punted) = world.out.punted.remove(0);
        let bytes = punted.bytes();
        assert_eq!(bytes[12..18], [0x81, 0, 0, 0, 8, 0], "its tag is back");
        assert_eq!(bytes[18..], to_host[14..]);
    }

    #[test]
    fn an_interface_that_is_gone_drops() {
        let mut world = World::new();
        let next = crate::net::NextHop {
            interface: InterfaceId(9),
            gateway: ip("10.0.0.9"),
        };
        world.local.counters.rx.add(1);
        let frame = VecFrame::new(&udp("10.0.0.9", b"x", true));
        world.run(|cx| super::send(cx, frame, 14, next));
        assert_eq!(world.dropped(DropReason::NoRoute), 1);
    }
}
