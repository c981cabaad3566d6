//! Frames nobody would send: whatever comes in, nothing panics and every frame is accounted for.

use crate::testing::{World, desired, hex};
use proptest::prelude::*;
use sim::VecFrame;
use types::VlanId;
use wire::{Frame, RxChecksum};

/// The frames of the recording: a seed for every branch of the stack.
fn seeds() -> Vec<Vec<u8>> {
    include_str!("localstack/linux-6.1.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("> ")?.split_once(' '))
        .map(|(_, bytes)| hex(bytes))
        .collect()
}

fn frame(bytes: &[u8], cuts: &[usize], odd: (bool, u8, Option<u16>)) -> VecFrame {
    let (chained, checksum, vlan) = odd;
    let mut frame = if chained {
        VecFrame::chained(bytes, cuts)
    } else {
        VecFrame::new(bytes)
    };
    frame.ip_checksum = match checksum & 3 {
        0 => RxChecksum::Good,
        1 => RxChecksum::Bad,
        _ => RxChecksum::Unknown,
    };
    frame.l4_checksum = match checksum >> 2 & 3 {
        0 => RxChecksum::Good,
        1 => RxChecksum::Bad,
        2 => RxChecksum::Partial,
        _ => RxChecksum::Unknown,
    };
    frame.vlan = vlan;
    frame
}

/// A director with every kind of interface: plain, VLAN, with a host behind it, with a small MTU and offloads.
fn world(kind: u8) -> World {
    let mut desired = desired();
    if let [cl, rs] = desired.interfaces.as_mut_slice() {
        cl.host = kind & 1 != 0;
        rs.offloads.tx_l4 = kind & 2 != 0;
        if kind & 4 != 0 {
            rs.mtu = 600;
            rs.addresses.truncate(1);
        }
        if kind & 8 != 0 {
            rs.vlan = Some(VlanId::try_from(5).unwrap());
        }
    }
    if kind & 16 != 0 {
        desired.settings.icmp_rate = Some(3);
    }
    let mut world = World::of(&desired);
    if kind & 32 == 0 {
        world.shared = World::new().shared;
    }
    world.out.buffers = (kind & 64 != 0).then_some(5);
    world
}

fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    proptest::collection::vec((0usize..120, any::<u8>()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn mutated_frames(
        kind in any::<u8>(),
        picks in proptest::collection::vec(
            (any::<prop::sample::Index>(), edits(), any::<bool>(), 0usize..2000, proptest::collection::vec(1usize..200, 0..3),
             (any::<bool>(), any::<u8>(), proptest::option::of(any::<u16>()))),
            1..12,
        ),
    ) {
        let seeds = seeds();
        let mut world = world(kind);
        for (pick, edits, fix, cut, cuts, odd) in picks {
            let mut bytes = seeds[pick.index(seeds.len())].clone();
            for (at, value) in edits {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(cut.max(10));
            // A right header checksum lets mutations through to what lies behind it.
            if fix && bytes.len() > 34 && bytes[12..14] == [8, 0] {
                let _ = wire::ipv4::fill_checksum(&mut bytes[14..]);
            }
            for port in 0..3 {
                world.receive(port, frame(&bytes, &cuts, odd));
            }
            world.pass(1);
        }
        world.pass(3500);
        world.out.sent.iter().for_each(|(_, frame)| assert!(frame.total_len() >= 14));
    }

    #[test]
    fn random_bytes(
        kind in any::<u8>(),
        ethertype in prop_oneof![Just([8u8, 0]), Just([8, 6]), Just([0x86, 0xdd]), Just([0x81, 0]), any::<[u8; 2]>()],
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        odd in (any::<bool>(), any::<u8>(), proptest::option::of(any::<u16>())),
    ) {
        let mut world = world(kind);
        let mut whole = hex("0200000000010200000000fe");
        whole.extend(ethertype);
        whole.extend(&bytes);
        world.receive(0, frame(&whole, &[20, 40], odd));
        world.receive(0, frame(&bytes, &[1], odd));
        world.pass(5);
    }
}

#[test]
fn the_seeds_reach_what_they_should() {
    assert!(seeds().len() > 130);
}
