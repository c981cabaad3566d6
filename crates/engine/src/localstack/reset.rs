//! TCP resets as Linux builds them (`tcp_v4_send_reset`, `tcp_v6_send_reset`).

use crate::{
    DropReason, Output,
    context::Context,
    datagram::{self, Header},
    packet::{Addresses, Fragment, Packet},
    transmit,
};
use wire::{Frame, FromBytes, IntoBytes, Ipv4, Ipv6, Tcp, U16, U32, protocol, tcp};

/// The ECN bits of a TOS are not reflected.
const DSCP: u8 = 0xfc;

/// Answers a TCP packet with a reset, if one is due: never to a reset, a fragment, or what came to a group. `about`
/// stays the caller's, to be dropped. The reset comes from the address and port the packet was sent to.
pub(crate) fn reset<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    about: &F,
    packet: &Packet,
) {
    answer(cx, about, packet, Limit::Rate);
}

/// What keeps resets from being too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The limit on answers.
    Rate,
    /// The caller, who sends one for a connection.
    Caller,
}

/// [`reset`] within that limit.
#[cold]
pub(crate) fn answer<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    about: &F,
    packet: &Packet,
    limit: Limit,
) {
    if packet.protocol != protocol::TCP
        || packet.tcp_flags & tcp::RST != 0
        || packet.fragment != Fragment::No
        || packet.link_group
    {
        return;
    }
    let l4 = about.head().get(usize::from(packet.l4)..);
    let Some((tcp, _)) = l4.and_then(|l4| Tcp::ref_from_prefix(l4).ok()) else {
        return;
    };
    let answer = answer_to(tcp, packet);
    let destination = packet.addresses.source();
    let Some(next) = cx.snapshot.net.route_back(destination, packet.interface) else {
        return;
    };
    if limit == Limit::Rate && !cx.may_answer() {
        return;
    }
    let header = Header {
        source: packet.addresses.destination(),
        destination,
        protocol: protocol::TCP,
        tos: traffic_class(about, packet) & DSCP,
        ttl: cx.snapshot.settings.default_ttl,
        id: None,
    };
    let Some(mut frame) = cx.generated() else {
        return;
    };
    let Some(payload) = datagram::begin(&mut frame, &header, tcp::LEN) else {
        cx.drop(frame, DropReason::NoRoom);
        return;
    };
    let _ = answer.write_to_prefix(payload);
    datagram::seal(&header, payload, tcp::CHECKSUM_OFFSET);
    transmit::send(cx, frame, datagram::L3, next);
}

/// RFC 9293 3.10.7.1: with an ACK the reset has its number as sequence number; without, it acknowledges everything.
fn answer_to(tcp: &Tcp, packet: &Packet) -> Tcp {
    let acknowledged = tcp.flags & tcp::ACK != 0;
    let data = usize::from(packet.payload_len()).saturating_sub(tcp.header_len());
    let length = u32::try_from(data)
        .unwrap_or(0)
        .wrapping_add(u32::from(tcp.flags & tcp::SYN != 0))
        .wrapping_add(u32::from(tcp.flags & tcp::FIN != 0));
    let (sequence, acknowledgement, flags) = if acknowledged {
        (tcp.acknowledgement.get(), 0, tcp::RST)
    } else {
        (
            0,
            tcp.sequence.get().wrapping_add(length),
            tcp::RST | tcp::ACK,
        )
    };
    Tcp {
        source: tcp.destination,
        destination: tcp.source,
        sequence: U32::new(sequence),
        acknowledgement: U32::new(acknowledgement),
        data_offset: 5 << 4,
        flags,
        window: U16::new(0),
        checksum: U16::new(0),
        urgent: U16::new(0),
    }
}

fn traffic_class<F: Frame>(about: &F, packet: &Packet) -> u8 {
    let Some(ip) = about.head().get(usize::from(packet.l3)..) else {
        return 0;
    };
    match packet.addresses {
        Addresses::V4 { .. } => Ipv4::ref_from_prefix(ip).map_or(0, |(ip, _)| ip.tos),
        Addresses::V6 { .. } => Ipv6::ref_from_prefix(ip).map_or(0, |(ip, _)| ip.traffic_class()),
    }
}
