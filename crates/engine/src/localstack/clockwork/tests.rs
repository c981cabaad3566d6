//! Neighbours and the frames that wait for them, through the whole stack.

use crate::{
    DropReason,
    testing::{World, desired, hex, ip, mac, to_hex},
};
use sim::VecFrame;
use types::{InterfaceId, VlanId};

/// A UDP packet 172.16.0.1 > 10.1.0.11, as the oracle forwarded it.
const FORWARDED: &str =
    "0200000000010200000000fe08004500001d123440004011727fac1000010a01000b000100090009d1b478";
const SERVER: &str = "020000000111";

fn asks(target: &str) -> String {
    let target: std::net::Ipv4Addr = target.parse().unwrap();
    format!(
        "ffffffffffff0200000001010806000108000604000102000000010 10a010001000000000000{}",
        to_hex(&target.octets())
    )
    .replace(' ', "")
}

fn reply_from(server_mac: &str) -> Vec<u8> {
    hex(&format!(
        "020000000101{server_mac}08060001080006040002{server_mac}0a01000b0200000001010a010001"
    ))
}

/// The checksum over an ICMPv6 message and its pseudo-header; 0 over one that has it.
fn icmp6_sum(frame: &[u8]) -> u16 {
    let address = |at: usize| u128::from_be_bytes(frame[at..at + 16].try_into().unwrap());
    let len = u32::try_from(frame.len() - 54).unwrap();
    let mut sum = wire::Sum::pseudo6(address(22), address(38), 58, len);
    sum.add(&frame[54..]);
    sum.finish()
}

fn world() -> World {
    let world = World::of(&desired());
    // The way back to the client is known.
    world.shared.neighbours.set_permanent(
        InterfaceId(0),
        ip("10.0.0.254"),
        mac("02:00:00:00:00:fe"),
        world.now,
    );
    world
}

#[test]
fn a_frame_waits_for_the_answer_and_goes_out_behind_it() {
    let mut world = world();
    let sent = world.answer(0, &hex(FORWARDED));
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(to_hex(&sent[0].1), asks("10.1.0.11"));
    assert_eq!(world.answer(0, &hex(FORWARDED)), [], "asked once");
    assert_eq!(world.local.counters.held.get(), 2);
    world.pass(10);
    assert_eq!(world.answer(1, &reply_from(SERVER)), []);
    assert_eq!(world.dropped(DropReason::Learned), 1);
    world.pass(1);
    let sent = world.sent();
    assert_eq!(sent.len(), 2);
    let expected =
        format!("{SERVER}020000000101{}", &FORWARDED[24..]).replace("4011727f", "3f11737f");
    assert_eq!(to_hex(&sent[0].1), expected);
    assert_eq!(world.local.counters.held.get(), 0);
    // From now on nothing waits.
    assert_eq!(world.answer(0, &hex(FORWARDED)).len(), 1);
}

#[test]
fn silence_ends_in_host_unreachable_for_every_frame() {
    let mut world = world();
    world.answer(0, &hex(FORWARDED));
    world.answer(0, &hex(FORWARDED));
    world.pass(2500);
    let questions = world.sent();
    assert_eq!(questions.len(), 2, "one at once, two more");
    assert_eq!(world.dropped(DropReason::NeighbourUnreachable), 0);
    world.pass(1000);
    assert_eq!(world.dropped(DropReason::NeighbourUnreachable), 2);
    let errors = world.sent();
    assert_eq!(errors.len(), 2);
    for (port, error) in errors {
        assert_eq!(port, 0);
        // ICMP 3/1 from 10.0.0.1 to 172.16.0.1.
        assert_eq!(error[26..36], [10, 0, 0, 1, 172, 16, 0, 1, 3, 1]);
    }
    // Asked for again when wanted again.
    assert_eq!(world.answer(0, &hex(FORWARDED)).len(), 1);
}

#[test]
fn what_the_director_built_itself_is_not_complained_about() {
    let mut world = World::of(&desired());
    // A SYN for a closed port, and nobody knows the way back.
    let syn = "0200000000010200000000fe0800450000281234400040067227ac1000010a00006400050051000003e8000000005002fffff52f0000";
    assert_eq!(world.answer(0, &hex(syn)).len(), 1, "a question");
    world.pass(4000);
    assert_eq!(world.sent().len(), 2, "two more, and no error");
    assert_eq!(world.dropped(DropReason::NeighbourUnreachable), 1);
}

#[test]
fn a_flood_to_an_unknown_neighbour_is_bounded() {
    let mut world = world();
    for _ in 0..100 {
        world.answer(0, &hex(FORWARDED));
    }
    assert_eq!(world.local.counters.held.get(), 64);
    assert_eq!(world.dropped(DropReason::NeighbourQueueFull), 36);
    world.answer(1, &reply_from(SERVER));
    world.pass(1);
    assert_eq!(world.sent().len(), 64);
}

#[test]
fn ipv6_asks_the_solicited_node_group() {
    let mut world = world();
    // UDP 2001:db8::1 > fd01::11.
    let packet = "0200000000010200000000fe86dd600000000009114020010db8000000000000000000000001fd0100000000000000000000000000110001000900094a7278";
    let sent = world.answer(0, &hex(packet));
    let (port, question) = &sent[0];
    assert_eq!(*port, 1);
    assert_eq!(icmp6_sum(question), 0);
    let mut unsummed = question.clone();
    unsummed[56..58].fill(0);
    assert_eq!(
        to_hex(&unsummed),
        "3333ff000011020000000101\
         86dd6000000000203afffe80000000000000000000fffe000101ff0200000000000000000001ff000011\
         8700000000000000fd010000000000000000000000000011\
         0101020000000101"
    );
    // fd01::11 is at 02:00:00:00:01:11, solicited, override.
    let mut advertisement = hex("020000000101020000000111\
         86dd6000000000203afffd010000000000000000000000000011fd010000000000000000000000000001\
         8800000060000000fd010000000000000000000000000011\
         0201020000000111");
    assert_eq!(world.answer(1, &advertisement), []);
    assert_eq!(
        world.dropped(DropReason::NdMalformed),
        1,
        "without its checksum"
    );
    let sum = icmp6_sum(&advertisement).to_be_bytes();
    advertisement[56..58].copy_from_slice(&sum);
    assert_eq!(world.answer(1, &advertisement), []);
    world.pass(1);
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(to_hex(&sent[0].1)[..24], format!("{SERVER}020000000101"));
    assert_eq!(sent[0].1[21], 63, "hop limit");
}

#[test]
fn a_pinned_neighbour_is_asked_for_without_any_packet() {
    for pause in [1, 100] {
        let mut world = World::of(&desired());
        let wanted = world
            .shared
            .neighbours
            .ensure(InterfaceId(1), ip("10.1.0.11"), world.now);
        assert!(wanted.is_some());
        for _ in 0..2 {
            world.now = world.now + pause;
            world.run(super::housekeeping);
        }
        let sent = world.sent();
        assert_eq!(sent.len(), 1, "pause of {pause} ms");
        assert_eq!(to_hex(&sent[0].1), asks("10.1.0.11"));
    }
}

#[test]
fn without_buffers_nothing_is_asked_and_nothing_is_lost() {
    let mut world = world();
    world.out.buffers = Some(0);
    assert_eq!(world.answer(0, &hex(FORWARDED)), []);
    assert_eq!(world.local.counters.alloc_failed.get(), 1);
    assert_eq!(world.local.counters.held.get(), 1);
    world.out.buffers = None;
    world.pass(1001);
    assert_eq!(world.sent().len(), 1, "asked a second later");
}

#[test]
fn tagged_and_stripped_vlans_come_and_go() {
    let mut desired = desired();
    desired.interfaces[0].vlan = Some(VlanId::try_from(7).unwrap());
    let mut world = World::of(&desired);
    world.shared.neighbours.set_permanent(
        InterfaceId(1),
        ip("10.1.0.11"),
        mac("02:00:00:00:01:11"),
        world.now,
    );
    let untagged = hex(FORWARDED);
    assert_eq!(world.answer(0, &untagged), []);
    assert_eq!(world.dropped(DropReason::UnknownVlan), 1);
    let mut tagged = untagged.clone();
    tagged.splice(12..12, [0x81, 0, 0x20, 7]);
    let sent = world.answer(0, &tagged);
    let mut stripped = VecFrame::new(&untagged);
    stripped.vlan = Some(0x2007);
    world.receive(0, stripped);
    assert_eq!(world.sent(), sent);
    assert_eq!(sent[0].0, 1);
    assert_eq!(sent[0].1[12..14], [8, 0]);
    assert_eq!(sent[0].1.len(), untagged.len());
    // And back into the VLAN: the question who has the gateway is tagged.
    let back =
        "02000000010102000000011108004500001d1234400040110e810a01000b080808080001000900096db678";
    let sent = world.answer(1, &hex(back));
    assert_eq!(sent[0].1[12..18], [0x81, 0, 0, 7, 8, 6]);
}
