//! Virtual addresses that depend on a role: answered for, and served, only while the director has it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::{
    DropReason,
    model::{Desired, VirtualMac},
};
use sim::{
    Packet, World,
    world::{MACS, network, service},
};
use types::{
    ForwardingMethod::Masq, InterfaceId, MacAddr, PortId, Protocol::Tcp, Scheduler::Rr, Tick,
    WorkerId,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len() / 2)
        .map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap())
        .collect()
}

/// A service on 10.0.0.100 and [fd00::100], role 5.
fn desired() -> Desired {
    let mut desired = network();
    for (vip, server) in [
        ("10.0.0.100", "10.1.0.11:80"),
        ("fd00::100", "[fd01::11]:80"),
    ] {
        let address = if vip.contains(':') {
            format!("[{vip}]:80")
        } else {
            format!("{vip}:80")
        };
        desired
            .services
            .push(service(Tcp, &address, Rr, Masq, &[server]));
        desired.floating.push((vip.parse().unwrap(), 5));
    }
    desired
}

/// Frames for the virtual addresses: who has them, what they are asked, and new connections.
fn for_the_vips() -> Vec<Vec<u8>> {
    let arp = "ffffffffffff 02000000000a 0806 0001 0800 06 04 0001 02000000000a 0a000007 000000000000 0a000064";
    let mut solicitation = hex(
        "3333ff000100 02000000000a 86dd 60000000 0020 3a ff fd000000000000000000000000000007
         ff0200000000000000000001ff000100 8700 0000 00000000 fd000000000000000000000000000100 0101 02000000000a",
    );
    let at = |from: usize| u128::from_be_bytes(solicitation[from..from + 16].try_into().unwrap());
    let mut sum = wire::Sum::pseudo6(at(22), at(38), 58, 32);
    sum.add(&solicitation[54..]);
    let sum = sum.finish().to_be_bytes();
    solicitation[56..58].copy_from_slice(&sum);
    let syn = |from: &str, to: &str| {
        Packet::tcp(from.parse().unwrap(), to.parse().unwrap(), 2).frame(MACS[0])
    };
    vec![
        hex(arp),
        solicitation,
        syn("10.0.0.7:1000", "10.0.0.100:80"),
        syn("[fd00::7]:1000", "[fd00::100]:80"),
        syn("10.0.0.7:1000", "10.0.0.100:81"),
    ]
}

#[test]
fn a_router_that_accepts_nothing_serves_its_services_and_answers_who_has_its_addresses() {
    let mut desired = desired();
    desired.unaccepted = vec!["10.0.0.100".parse().unwrap(), "fd00::100".parse().unwrap()];
    let mut world = World::new(&desired, 1);
    let roles = world.director.roles();
    roles.lease(Tick(u64::MAX));
    roles.set(5, true);
    for client in ["10.0.0.7", "fd00::7"] {
        world.neighbour(0, client);
    }
    let [arp, solicitation, http, http6, closed] = for_the_vips().try_into().unwrap();
    for frame in [&arp, &solicitation, &http, &http6] {
        assert_eq!(world.give(0, 0, frame).len(), 1, "{frame:02x?}");
    }
    let echo = |from: &str, to: &str, kind| {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        sim::packet::icmp_error(MACS[0], from, to, kind, 0, b"ping")
    };
    for (refused, frame) in (1..).zip([
        closed,
        echo("10.0.0.7", "10.0.0.100", 8),
        echo("fd00::7", "fd00::100", 128),
    ]) {
        assert!(world.give(0, 0, &frame).is_empty(), "{frame:02x?}");
        let counters = world.director.counters(WorkerId(0)).unwrap();
        assert_eq!(counters.dropped(DropReason::NotAccepted), refused);
    }
}

fn not_master(world: &World) -> u64 {
    let counters = world.director.counters(WorkerId(0)).unwrap();
    counters.dropped(DropReason::NotMaster)
}

#[test]
fn a_vip_is_served_only_while_role_and_lease_last() {
    for frame in for_the_vips() {
        let mut world = World::new(&desired(), 1);
        world.neighbour(0, "10.0.0.7");
        world.neighbour(0, "fd00::7");
        let roles = world.director.roles();
        let now = world.now.0;
        // Nothing said yet; role given, and until when; whether it is answered or forwarded.
        assert!(world.give(0, 0, &frame).is_empty());
        assert_eq!(not_master(&world), 1);
        let mut refused = 1;
        for (master, lease, served) in [
            (false, u64::MAX, false),
            (true, u64::MAX, true),
            (true, now, true),
            (true, now - 1, false),
            (false, u64::MAX, false),
        ] {
            roles.lease(Tick(lease));
            roles.set(5, master);
            let sent = world.give(0, 0, &frame);
            assert_eq!(!sent.is_empty(), served, "{master} {lease}: {frame:02x?}");
            refused += u64::from(!served);
            assert_eq!(not_master(&world), refused);
        }
    }
}

#[test]
fn the_rest_is_none_of_the_roles_business() {
    let mut world = World::new(&desired(), 1);
    let roles = world.director.roles();
    roles.lease(Tick(u64::MAX));
    roles.set(4, true);
    roles.set(64, true);
    roles.set(255, true);
    let frames = for_the_vips();
    assert!(
        world.give(0, 0, &frames[0]).is_empty(),
        "another role's bit"
    );
    let mut own = frames[0].clone();
    own[41] = 1;
    assert_eq!(world.give(0, 0, &own).len(), 1, "an own address");
    for length in 0..frames[0].len() {
        world.give(0, 0, &frames[0][..length]);
    }
    // Without roles everything is the director's.
    let mut without = desired();
    without.floating.clear();
    let mut world = World::new(&without, 1);
    assert_eq!(world.give(0, 0, &frames[0]).len(), 1);
}

#[test]
fn advertisements_go_to_whoever_speaks_vrrp() {
    let frame = hex(
        "01005e000012 02000000000a 0800 45c0001c00000000ff70cf2e 0a000007 e0000012 3107640000640000",
    );
    let checked = {
        let mut frame = frame;
        frame[24..26].fill(0);
        let sum = wire::checksum::of(&frame[14..34]).to_be_bytes();
        frame[24..26].copy_from_slice(&sum);
        frame
    };
    let mut world = World::new(&desired(), 1);
    assert!(world.give(0, 0, &checked).is_empty());
    assert_eq!(world.out.advertisements.len(), 1);
    assert_eq!(world.out.advertisements[0].bytes, checked);
    let mut without = desired();
    without.floating.clear();
    let mut world = World::new(&without, 1);
    world.give(0, 0, &checked);
    assert!(world.out.advertisements.is_empty());
}

const VIRTUAL: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 10]);

/// [`desired`], with a MAC of the virtual router's own on the first interface.
fn with_a_mac() -> Desired {
    let mut desired = desired();
    desired.virtual_macs.push(VirtualMac {
        interface: InterfaceId(0),
        mac: VIRTUAL,
        role: 5,
        addresses: vec!["10.0.0.100".parse().unwrap(), "fd00::100".parse().unwrap()],
    });
    desired
}

/// The source of a frame.
fn source(frame: &[u8]) -> [u8; 6] {
    frame[6..12].try_into().unwrap()
}

#[test]
fn a_virtual_mac_is_told_to_who_asks_for_its_addresses() {
    let mut world = World::new(&with_a_mac(), 1);
    world.director.roles().lease(Tick(u64::MAX));
    world.director.roles().set(5, true);
    let frames = for_the_vips();
    let arp = world.give(0, 0, &frames[0]);
    assert_eq!(source(&arp[0].bytes), VIRTUAL.0);
    assert_eq!(arp[0].bytes[22..28], VIRTUAL.0, "the sender in ARP");
    let advertisement = world.give(0, 0, &frames[1]);
    assert_eq!(source(&advertisement[0].bytes), VIRTUAL.0);
    assert_eq!(
        advertisement[0].bytes[78..],
        [&[2, 1][..], &VIRTUAL.0].concat(),
        "the target's link-layer address"
    );
    // An own address is the port's.
    let mut own = frames[0].clone();
    own[41] = 1;
    let arp = world.give(0, 0, &own);
    assert_eq!(source(&arp[0].bytes), MACS[0].0);
    assert_eq!(arp[0].bytes[22..28], MACS[0].0);
}

#[test]
fn frames_for_a_virtual_mac_are_taken_while_the_role_lasts() {
    let to = |mac: MacAddr, address: &str| {
        let from = "10.0.0.7:1000".parse().unwrap();
        Packet::tcp(from, address.parse().unwrap(), 2).frame(mac)
    };
    // To a service, and to be forwarded: the servers' default gateway may be a virtual router.
    let frames = ["10.0.0.100:80", "10.1.0.77:9"].map(|address| to(VIRTUAL, address));
    let mut world = World::new(&with_a_mac(), 1);
    for address in ["10.1.0.11", "10.1.0.77"] {
        world.neighbour(1, address);
    }
    let roles = world.director.roles();
    roles.lease(Tick(u64::MAX));
    for frame in &frames {
        assert!(world.give(0, 0, frame).is_empty(), "another director's");
    }
    assert_eq!(not_master(&world), 2);
    roles.set(5, true);
    for frame in &frames {
        let sent = world.give(0, 0, frame);
        assert_eq!(sent.len(), 1);
        assert_eq!(
            (sent[0].port, source(&sent[0].bytes)),
            (PortId(1), MACS[1].0)
        );
    }
    // Not on another port, and no other virtual router's.
    let counters = |world: &World| {
        let counters = world.director.counters(WorkerId(0)).unwrap();
        counters.dropped(DropReason::NotOurMac)
    };
    assert_eq!(counters(&world), 0);
    assert!(world.give(0, 1, &frames[0]).is_empty());
    let other = to(MacAddr([0, 0, 0x5e, 0, 1, 11]), "10.0.0.100:80");
    assert!(world.give(0, 0, &other).is_empty());
    assert_eq!(counters(&world), 2);
}
