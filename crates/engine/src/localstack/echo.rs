//! Echo and timestamp replies. The request's own buffer becomes the reply, of whatever size, chained or not.

use crate::{
    DropReason, Output,
    context::Context,
    fragment_out,
    packet::{Addresses, Packet},
    transmit,
};
use wire::{
    Frame, FromBytes, Icmp, Ipv4, Ipv6, U16, U32, checksum,
    icmp::{LEN, v4, v6},
    ipv4, ipv6, protocol,
};

/// Answers an echo request.
pub(super) fn reply<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>, frame: F, packet: &Packet) {
    turn_round(cx, frame, packet, |icmp, _| {
        let kind = if icmp.kind == v4::ECHO {
            v4::ECHO_REPLY
        } else {
            v6::ECHO_REPLY
        };
        let from = u16::from_be_bytes([icmp.kind, icmp.code]);
        let to = u16::from_be_bytes([kind, icmp.code]);
        let sum = checksum::update16(icmp.checksum.get(), from, to);
        icmp.checksum.set(sum);
        icmp.kind = kind;
    });
}

/// Answers a timestamp request. The engine knows no wall clock: the times are milliseconds since the director started,
/// marked as non-standard by the high bit (RFC 792, RFC 1122 3.2.2.8).
pub(super) fn timestamp<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    packet: &Packet,
) {
    /// Behind the common header: originate, receive, transmit.
    const TIMES: usize = 12;
    if usize::from(packet.payload_len()) < LEN + TIMES {
        cx.drop(frame, DropReason::L4Malformed);
        return;
    }
    let time = (cx.now.low() | 0x8000_0000).to_be_bytes();
    turn_round(cx, frame, packet, |icmp, behind| {
        let [_, receive, transmit] = match behind.as_chunks_mut::<4>().0 {
            [a, b, c, ..] => [a, b, c],
            _ => return,
        };
        let mut sum = icmp.checksum.get();
        for field in [receive, transmit] {
            sum = checksum::update32(sum, u32::from_be_bytes(*field), u32::from_be_bytes(time));
            *field = time;
        }
        let from = u16::from_be_bytes([v4::TIMESTAMP, 0]);
        let to = u16::from_be_bytes([v4::TIMESTAMP_REPLY, 0]);
        icmp.checksum.set(checksum::update16(sum, from, to));
        icmp.kind = v4::TIMESTAMP_REPLY;
    });
}

/// Sends the packet back where it came from, after `change` has made its ICMP message an answer.
fn turn_round<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
    change: impl FnOnce(&mut Icmp, &mut [u8]),
) {
    let source = packet.addresses.source();
    let Some(next) = cx.snapshot.net.route_back(source, packet.interface) else {
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    if !cx.may_answer() {
        cx.drop(frame, DropReason::IcmpIgnored);
        return;
    }
    let ttl = cx.snapshot.settings.default_ttl;
    let id = cx.local.next_ip_id().unwrap_or(0);
    frame.truncate(usize::from(packet.l3) + usize::from(packet.ip_len));
    let changed = frame
        .head_mut()
        .get_mut(usize::from(packet.l4)..)
        .and_then(|l4| Icmp::mut_from_prefix(l4).ok())
        .map(|(icmp, behind)| change(icmp, behind));
    if changed.is_none() || mirror(&mut frame, packet, ttl, id).is_none() {
        cx.drop(frame, DropReason::NoRoom);
        return;
    }
    cx.answered_in_place();
    let mtu = cx
        .snapshot
        .net
        .interface(next.interface)
        .map_or(u16::MAX, |i| i.mtu);
    let len = frame.total_len().saturating_sub(usize::from(packet.l3));
    if len <= usize::from(mtu) && packet.reassembled.largest == 0 {
        transmit::send(cx, frame, packet.l3, next);
    } else if let Some(packet) = crate::packet::reparse(&frame, packet.l3, packet.interface) {
        let way = (fragment_out::To::Hop(next), fragment_out::Cut::Even);
        fragment_out::send(cx, frame, &packet, mtu, way);
    } else {
        cx.drop(frame, DropReason::NoRoom);
    }
}

/// The IP header of the answer, without options or extension headers: they were the request's. They are cut out by
/// moving what stands before them.
fn mirror<F: Frame>(frame: &mut F, packet: &Packet, ttl: u8, id: u16) -> Option<()> {
    let fixed = match packet.addresses {
        Addresses::V4 { .. } => ipv4::LEN,
        Addresses::V6 { .. } => ipv6::LEN,
    };
    let l3 = usize::from(packet.l3);
    let extra = usize::from(packet.header_len()).checked_sub(fixed)?;
    if extra > 0 {
        let head = frame.head_mut();
        if head.len() < l3 + fixed + extra {
            return None;
        }
        head.copy_within(..l3 + fixed, extra);
        if !frame.strip(extra) {
            return None;
        }
    }
    let ip = frame.head_mut().get_mut(l3..)?;
    match packet.addresses {
        Addresses::V4 {
            source,
            destination,
        } => {
            let (ip, _) = Ipv4::mut_from_prefix(ip).ok()?;
            ip.version_ihl = 0x45;
            ip.total_len = U16::new(packet.ip_len - u16::try_from(extra).ok()?);
            ip.id = U16::new(id);
            ip.fragment = U16::new(0);
            ip.ttl = ttl;
            ip.source = U32::new(destination);
            ip.destination = U32::new(source);
            ip.fill_checksum();
        }
        Addresses::V6 {
            source,
            destination,
        } => {
            let (ip, _) = Ipv6::mut_from_prefix(ip).ok()?;
            ip.version_class_flow = Ipv6::class(ip.traffic_class());
            ip.payload_len = U16::new(packet.payload_len());
            ip.next_header = protocol::ICMPV6;
            ip.hop_limit = ttl;
            ip.source = destination.to_be_bytes();
            ip.destination = source.to_be_bytes();
        }
    }
    Some(())
}
