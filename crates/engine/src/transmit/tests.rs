//! The way out of whole worlds: chained frames, fragments, checksums left undone.

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
