//! What Linux's own stack answers for a router's addresses, here for VIPs and for own addresses without a host stack
//! behind them: who-has, echo, resets, unreachables. Everything that is built is rate-limited but ARP and neighbour
//! advertisements.

mod arp;
mod clockwork;
mod echo;
mod nd;
mod reset;

#[cfg(test)]
mod recorded;

pub(crate) use arp::receive as arp;
pub(crate) use clockwork::{Sweep, ask, housekeeping};
pub(crate) use reset::{Limit, answer as answer_with_reset, reset};

use crate::{
    DropReason, Output,
    context::Context,
    datagram, fragment_out,
    icmp::{self, IcmpError},
    net::{Local, Net, is_link_local},
    packet::{Addresses, Fragment, Packet, is_martian},
    snapshot::Snapshot,
};
use types::{InterfaceId, PortId};
use wire::{Frame, FromBytes, Icmp, RxChecksum, Sum, Udp, icmp::v4, icmp::v6, protocol};

/// A packet to one of our addresses that is not LVS's: the host stack's, or answered here.
#[cold]
pub(crate) fn deliver<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) {
    let net = &cx.snapshot.net;
    let destination = packet.addresses.destination();
    if is_synchronisation(cx.snapshot, packet)
        && let Some(port) = net.interface(packet.interface).map(|i| i.port)
    {
        cx.synchronisation(port, frame);
        return;
    }
    if destination.is_multicast() {
        group(cx, frame, packet);
        return;
    }
    let local = net.local(destination);
    let Some(port) = net.interface(packet.interface).map(|i| i.port) else {
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    if is_martian(net, packet) {
        from_ourselves(cx, frame, packet, port);
        return;
    }
    // Neighbour discovery is the engine's, whoever else answers for the address.
    if nd::kind(&frame, packet).is_some() {
        nd::receive(cx, frame, packet, port);
        return;
    }
    if !net.takes_from(packet.addresses.source(), packet.interface) {
        cx.drop(frame, DropReason::ReversePath);
        return;
    }
    if !cx.snapshot.floating.accepts(destination) {
        cx.drop(frame, DropReason::NotAccepted);
        return;
    }
    match local {
        // A link-local address is ours on its own link only.
        Some(Local::Own(_)) if is_elsewhere(net, packet) => cx.drop(frame, DropReason::NoRoute),
        Some(Local::Own(owner)) if host_has(net, packet, owner) => to_host(cx, frame, packet, port),
        Some(Local::Broadcast) => group(cx, frame, packet),
        // An answer to a group's MAC would multiply what one sender says.
        Some(_) if packet.link_group => cx.drop(frame, DropReason::Multicast),
        Some(_) if packet.fragment != Fragment::No => cx.drop(frame, DropReason::Fragment),
        Some(_) => answer(cx, frame, packet),
        None => cx.drop(frame, DropReason::NoRoute),
    }
}

/// Whether another director tells of its connections here.
fn is_synchronisation(snapshot: &Snapshot, packet: &Packet) -> bool {
    let Some(group) = snapshot.settings.sync_group else {
        return false;
    };
    let destination = packet.addresses.destination();
    let here = || {
        destination == group.ip() || matches!(snapshot.net.local(destination), Some(Local::Own(_)))
    };
    packet.protocol == protocol::UDP
        && packet.destination_port == group.port()
        && packet.fragment == Fragment::No
        && !packet.headless
        && !is_martian(&snapshot.net, packet)
        && here()
}

/// To the host, which puts together itself what came in fragments.
fn to_host<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    port: PortId,
) {
    let largest = packet.reassembled.largest;
    if largest == 0 {
        cx.punt(port, frame);
    } else {
        let way = (fragment_out::To::Host(port), fragment_out::Cut::AsItCame);
        fragment_out::send(cx, frame, packet, largest, way);
    }
}

/// Whether the host stack is asked for packets to one of our addresses.
pub(crate) fn is_the_hosts<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    packet: &Packet,
    local: Local,
) -> bool {
    matches!(local, Local::Own(owner) if host_has(&cx.snapshot.net, packet, owner))
}

/// Whether the host has this own address of `owner`'s, and hears of it where the packet came in. It has no part in VLANs,
/// even of a port behind which it stands.
fn host_has(net: &Net, packet: &Packet, owner: InterfaceId) -> bool {
    let host = |id| net.interface(id).is_some_and(|i| i.host);
    // Interfaces of one port share their link-local address.
    let link_local =
        matches!(packet.addresses, Addresses::V6 { destination, .. } if is_link_local(destination));
    host(packet.interface) && (link_local || host(owner))
}

/// A packet whose source is one of our addresses. A real server under direct routing has the VIP too: what it answers to the host, and that it
/// claims the VIP, is shown to the host, which has no VIP itself (`tarpon realserver probe` listens there).
fn from_ourselves<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
    port: PortId,
) {
    let net = &cx.snapshot.net;
    let destination = packet.addresses.destination();
    let discovery = nd::kind(&frame, packet);
    if discovery.is_some() {
        nd::hear_claim(cx, &frame, packet);
    }
    let shown = match discovery {
        Some(nd::Kind::Advertisement) => true,
        Some(nd::Kind::Solicitation) => false,
        None => matches!(net.local(destination), Some(Local::Own(_))),
    };
    if shown
        && net.local(packet.addresses.source()) == Some(Local::Vip)
        && !is_elsewhere(net, packet)
    {
        pass_on(cx, frame, port, DropReason::IpSource);
    } else {
        cx.drop(frame, DropReason::IpSource);
    }
}

/// A packet to a multicast group or a broadcast address: neighbour discovery is the engine's, the rest the host's.
#[cold]
pub(crate) fn group<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, frame: F, packet: &Packet) {
    let net = &cx.snapshot.net;
    let Some(port) = net.interface(packet.interface).map(|i| i.port) else {
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    if is_martian(net, packet) {
        from_ourselves(cx, frame, packet, port);
    } else if is_synchronisation(cx.snapshot, packet) {
        cx.synchronisation(port, frame);
    } else if nd::kind(&frame, packet).is_some() {
        nd::receive(cx, frame, packet, port);
    } else if net.port_has_host(port) {
        cx.punt(port, frame);
    } else {
        cx.drop(frame, DropReason::Multicast);
    }
}

/// Whether the packet is for the link-local address of another of our interfaces.
fn is_elsewhere(net: &Net, packet: &Packet) -> bool {
    let Addresses::V6 { destination, .. } = packet.addresses else {
        return false;
    };
    is_link_local(destination)
        && net
            .interface(packet.interface)
            .is_none_or(|i| i.link_local != destination)
}

/// A whole packet to an address that only the engine answers for.
fn answer<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, frame: F, packet: &Packet) {
    let is4 = matches!(packet.addresses, Addresses::V4 { .. });
    match packet.protocol {
        protocol::TCP | protocol::UDP if !l4_checksum_is_right(&frame, packet) => {
            cx.drop(frame, DropReason::L4Checksum);
        }
        protocol::TCP => {
            reset(cx, &frame, packet);
            cx.drop(frame, DropReason::PortClosed);
        }
        protocol::UDP => {
            // What stands behind the UDP datagram is not quoted.
            let mut datagram = *packet;
            datagram.ip_len = packet.header_len() + udp_len(&frame, packet).unwrap_or(0);
            icmp::error(cx, &frame, &datagram, IcmpError::PortUnreachable, None);
            cx.drop(frame, DropReason::PortClosed);
        }
        protocol::ICMP if is4 => icmp4(cx, frame, packet),
        protocol::ICMPV6 if !is4 => icmp6(cx, frame, packet),
        // Group membership is heard, not refused.
        protocol::IGMP if is4 => cx.drop(frame, DropReason::IcmpIgnored),
        protocol::NO_NEXT if !is4 => cx.drop(frame, DropReason::PortClosed),
        _ => {
            icmp::error(cx, &frame, packet, IcmpError::ProtocolUnreachable, None);
            cx.drop(frame, DropReason::PortClosed);
        }
    }
}

fn icmp4<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, frame: F, packet: &Packet) {
    if !icmp_checksum_is_right(&frame, packet) {
        cx.drop(frame, DropReason::IcmpChecksum);
        return;
    }
    match icmp_kind(&frame, packet) {
        // Linux looks at the type alone.
        Some((v4::ECHO, _)) => echo::reply(cx, frame, packet),
        Some((v4::TIMESTAMP, _)) => echo::timestamp(cx, frame, packet),
        _ => cx.drop(frame, DropReason::IcmpIgnored),
    }
}

fn icmp6<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, frame: F, packet: &Packet) {
    if !icmp_checksum_is_right(&frame, packet) {
        cx.drop(frame, DropReason::IcmpChecksum);
        return;
    }
    match icmp_kind(&frame, packet) {
        Some((v6::ECHO, _)) => echo::reply(cx, frame, packet),
        _ => cx.drop(frame, DropReason::IcmpIgnored),
    }
}

/// Bytes of a UDP datagram by its own length field, no more than the packet has.
fn udp_len<F: Frame>(frame: &F, packet: &Packet) -> Option<u16> {
    let l4 = frame.head().get(usize::from(packet.l4)..)?;
    let (udp, _) = Udp::ref_from_prefix(l4).ok()?;
    Some(udp.len.get().min(packet.payload_len()))
}

/// Type and code.
fn icmp_kind<F: Frame>(frame: &F, packet: &Packet) -> Option<(u8, u8)> {
    let l4 = frame.head().get(usize::from(packet.l4)..)?;
    let (icmp, _) = Icmp::ref_from_prefix(l4).ok()?;
    Some((icmp.kind, icmp.code))
}

/// Whether the checksum of an ICMP or `ICMPv6` message is right.
pub(crate) fn icmp_checksum_is_right<F: Frame>(frame: &F, packet: &Packet) -> bool {
    let len = packet.payload_len();
    let pseudo = match packet.addresses {
        Addresses::V4 { .. } => Sum::new(),
        Addresses::V6 {
            source,
            destination,
        } => Sum::pseudo6(source, destination, packet.protocol, len.into()),
    };
    datagram::verify(frame, pseudo, packet.l4.into(), len.into())
}

/// Whether the checksum of a whole TCP or UDP packet is right, as far as it has one. What the port or a virtio peer
/// vouches for is believed.
pub(crate) fn l4_checksum_is_right<F: Frame>(frame: &F, packet: &Packet) -> bool {
    match frame.rx_l4_checksum() {
        RxChecksum::Good | RxChecksum::Partial => return true,
        RxChecksum::Bad => return false,
        RxChecksum::Unknown => {}
    }
    let mut len = packet.payload_len();
    if packet.protocol == protocol::UDP {
        let l4 = frame.head().get(usize::from(packet.l4)..);
        let Some((udp, _)) = l4.and_then(|l4| Udp::ref_from_prefix(l4).ok()) else {
            return false;
        };
        if udp.checksum.get() == 0 {
            // None was computed; over IPv6 there must be one (RFC 8200 8.1).
            return matches!(packet.addresses, Addresses::V4 { .. });
        }
        len = len.min(udp.len.get());
    }
    let pseudo = match packet.addresses {
        Addresses::V4 {
            source,
            destination,
        } => Sum::pseudo4(source, destination, packet.protocol, len),
        Addresses::V6 {
            source,
            destination,
        } => Sum::pseudo6(source, destination, packet.protocol, len.into()),
    };
    datagram::verify(frame, pseudo, packet.l4.into(), len.into())
}

/// Ends a frame whose news was taken in: the host behind the port may have asked for it too.
fn pass_on<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    port: PortId,
    otherwise: DropReason,
) {
    if cx.snapshot.net.port_has_host(port) {
        cx.punt(port, frame);
    } else {
        cx.drop(frame, otherwise);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, desired, hex, ip, mac};
    use sim::{VecFrame, packet::Packet};

    /// A segment (SYN-ACK) that arrives at the servers' interface.
    fn segment(from: &str, to: &str) -> VecFrame {
        let packet = Packet::tcp(from.parse().unwrap(), to.parse().unwrap(), 0x12);
        VecFrame::new(&packet.frame(mac("02:00:00:00:01:01")))
    }

    #[test]
    fn a_servers_answer_from_the_vip_reaches_the_host() {
        for (vip, own) in [
            ("10.0.0.100:80", "10.1.0.1:4000"),
            ("[fd00::100]:80", "[fd01::1]:4000"),
        ] {
            let mut desired = desired();
            desired.interfaces[1].host = true;
            let mut world = World::of(&desired);
            world.receive(1, segment(vip, own));
            assert_eq!(world.out.punted.len(), 1, "{vip}");
            // An own address as the source is nobody's but a forger's.
            world.receive(1, segment(own, own));
            assert_eq!(world.out.punted.len(), 1, "{own}");
            assert_eq!(world.dropped(DropReason::IpSource), 1);
        }
    }

    /// Real servers that are not silent about the VIP: an ARP reply to us, a question of all, an advertisement.
    const CLAIMS: [&str; 3] = [
        "02000000010102000000011108060001080006040002020000000111 0a000064 020000000101 0a010001",
        "ffffffffffff02000000011108060001080006040001020000000111 0a000064 000000000000 0a01000b",
        "02000000010102000000011186dd6000000000203afffd000000000000000000000000000100 fd010000000000000000000000000001\
         8800198e60000000fd000000000000000000000000000100 0201020000000111",
    ];

    #[test]
    fn who_claims_the_vip_is_shown_to_the_host() {
        for claim in CLAIMS {
            let frame = || VecFrame::new(&hex(&claim.replace(' ', "")));
            let mut desired = desired();
            let mut alone = World::of(&desired);
            alone.receive(1, frame());
            assert!(alone.out.punted.is_empty() && alone.sent().is_empty());
            desired.interfaces[1].host = true;
            let mut world = World::of(&desired);
            world.receive(1, frame());
            assert_eq!(world.out.punted.len(), 1, "{claim}");
            assert_eq!(world.sent(), [], "nothing is answered");
            let learned = world
                .shared
                .neighbours
                .peek(types::InterfaceId(1), "10.0.0.100".parse().unwrap());
            assert_eq!(learned, None);
        }
    }

    /// As [`CLAIMS`], and a question of another by IPv6, which is none of the host's business.
    fn claims() -> impl Iterator<Item = VecFrame> {
        let asks = "3333ff00000b02000000011186dd6000000000203afffd000000000000000000000000000100ff0200000000000000000001ff00000b\
                    87007b7500000000 fd01000000000000000000000000000b 0101020000000111";
        let all = CLAIMS.into_iter().chain([asks]);
        all.map(|claim| VecFrame::new(&hex(&claim.replace(' ', ""))))
    }

    #[test]
    fn who_claims_the_vip_is_noted_with_its_mac() {
        for (frame, vip) in claims().zip(["10.0.0.100", "10.0.0.100", "fd00::100", "fd00::100"]) {
            let mut world = World::of(&desired());
            world.receive(1, frame);
            let noted = world.shared.claims.all();
            let [claim] = noted.as_slice() else {
                panic!("{vip}: {noted:?}");
            };
            assert_eq!(claim.address, ip(vip));
            assert_eq!(claim.mac, mac("02:00:00:00:01:11"));
            assert_eq!((claim.interface.0, claim.times), (1, 1));
            assert_eq!(claim.last, world.now);
        }
    }

    #[test]
    fn neither_the_other_director_nor_this_one_claims_its_own_address() {
        for frame in claims() {
            let mut world = World::of(&desired());
            let floating = [(ip("10.0.0.100"), 3), (ip("fd00::100"), 3)];
            world.snapshot.floating = crate::role::Floating::new(&floating);
            world.receive(1, frame.clone());
            assert_eq!(world.shared.claims.all(), [], "that one is master");
            world.shared.roles.lease(world.now);
            world.shared.roles.set(3, true);
            world.receive(1, frame.clone());
            assert_eq!(world.shared.claims.all().len(), 1);
            let mut desired = desired();
            desired.interfaces[0].mac = mac("02:00:00:00:01:11");
            let mut world = World::of(&desired);
            world.receive(1, frame);
            assert_eq!(world.shared.claims.all(), [], "two ports on one link");
        }
    }

    /// An echo request as the port receives it, perhaps with a tag taken out.
    fn echo(to: &str, vlan: Option<u16>) -> VecFrame {
        let request = hex("0800f7f800070000");
        let (from, to) = (ip("10.0.0.7"), to.parse().unwrap());
        let bytes = sim::packet::ip_frame(mac("02:00:00:00:00:01"), from, to, 1, 64, &request);
        let mut frame = VecFrame::new(&bytes);
        frame.vlan = vlan;
        frame
    }

    #[test]
    fn the_host_behind_a_port_has_no_part_in_its_vlans() {
        let mut desired = desired();
        desired.interfaces[0].host = true;
        desired.interfaces.push(crate::model::Interface {
            name: "cl.7".to_owned(),
            vlan: types::VlanId::try_from(7).ok(),
            addresses: vec!["10.7.0.1/24".parse().unwrap()],
            host: false,
            ..desired.interfaces[0].clone()
        });
        let mut world = World::of(&desired);
        world.shared = World::new().shared;
        for (address, vlan, punted) in [
            ("10.0.0.1", None, 1),
            ("10.7.0.1", Some(7), 0),
            // Asked where it is not: answered all the same, as Linux does.
            ("10.7.0.1", None, 0),
            ("10.0.0.1", Some(7), 0),
        ] {
            let before = world.dropped(DropReason::Answered);
            world.out.punted.clear();
            world.receive(0, echo(address, vlan));
            assert_eq!(world.out.punted.len(), punted, "{address} on {vlan:?}");
            let answered = world.dropped(DropReason::Answered) - before;
            assert_eq!(answered, 1 - punted as u64, "{address} on {vlan:?}");
        }
    }

    #[test]
    fn without_a_host_nobody_asked() {
        let mut world = World::of(&desired());
        world.receive(1, segment("10.0.0.100:80", "10.1.0.1:4000"));
        assert_eq!(world.dropped(DropReason::IpSource), 1);
        assert_eq!(world.sent(), []);
    }
}
