//! NAT: one address and port of a packet replaced, checksums mended by RFC 1624 deltas worked out when the connection
//! was made. A wrong checksum stays wrong; a UDP checksum of 0 becomes a real one (both as Linux does).

use super::{entry::method, family::Ip};
use crate::{
    Output,
    context::Context,
    packet::{Addresses, Packet, reparse},
    transmit,
};
use flowtable::{Deltas, Key, Side, Tuple, V4, V6};
use types::ForwardingMethod;
use wire::{Delta, Frame, FromBytes, RxChecksum, Sctp, Sum, Tcp, Udp, protocol, sctp::Crc32c};

/// Client to server: destination becomes the real server's.
#[inline]
pub(crate) fn to_server<I: Ip, F: Frame>(
    frame: &mut F,
    packet: &Packet,
    key: &Key<I::Addr>,
    deltas: Deltas,
) {
    let partial = frame.rx_l4_checksum() == RxChecksum::Partial;
    let head = frame.head_mut();
    if let Some(ip) = head.get_mut(usize::from(packet.l3)..) {
        I::set_destination(ip, key.daddr, Delta(deltas.l3_in));
    }
    let change = Change {
        port: key.dport,
        of_source: false,
        all: Delta(deltas.l4_in),
        addresses: Delta(deltas.l3_in),
        partial,
    };
    if !upper(head, packet, &change) {
        fill_udp::<I, F>(frame, packet, |(source, _)| (source, key.daddr));
    }
    if packet.protocol == protocol::SCTP {
        sctp(frame, packet, &change);
    }
}

/// Server to client: source becomes the virtual service's.
#[inline]
pub(crate) fn to_client<I: Ip, F: Frame>(
    frame: &mut F,
    packet: &Packet,
    key: &Key<I::Addr>,
    deltas: Deltas,
) {
    let partial = frame.rx_l4_checksum() == RxChecksum::Partial;
    let head = frame.head_mut();
    if let Some(ip) = head.get_mut(usize::from(packet.l3)..) {
        I::set_source(ip, key.vaddr, Delta(deltas.l3_out));
    }
    let change = Change {
        port: key.vport,
        of_source: true,
        all: Delta(deltas.l4_out),
        addresses: Delta(deltas.l3_out),
        partial,
    };
    if !upper(head, packet, &change) {
        fill_udp::<I, F>(frame, packet, |(_, destination)| (key.vaddr, destination));
    }
    if packet.protocol == protocol::SCTP {
        sctp(frame, packet, &change);
    }
}

/// Makes a packet already rewritten for its server what the client sent, for an error about it. `None`: NAT has not
/// touched it.
#[cold]
pub(crate) fn undo_nat<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    frame: &mut F,
    packet: &Packet,
) -> Option<Packet> {
    match packet.addresses {
        Addresses::V4 { .. } => undo::<V4, F, O>(cx, frame, packet),
        Addresses::V6 { .. } => undo::<V6, F, O>(cx, frame, packet),
    }
}

fn undo<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    frame: &mut F,
    packet: &Packet,
) -> Option<Packet> {
    let (client, server) = I::endpoints(&packet.addresses)?;
    let tuple = Tuple {
        protocol: packet.protocol,
        client,
        client_port: packet.source_port,
        other: server,
        other_port: packet.destination_port,
    };
    let table = I::table(cx.shared);
    let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
    let entry = table.entry(table.find(hash, &tuple, Side::Server, cx.now)?);
    let key = entry.key();
    if method(key.flags) != ForwardingMethod::Masq {
        return None;
    }
    let back = Key {
        daddr: key.vaddr,
        dport: key.vport,
        ..key
    };
    let deltas = entry.deltas();
    let reversed = Deltas {
        l3_in: deltas.l3_out,
        l4_in: deltas.l4_out,
        ..deltas
    };
    to_server::<I, F>(frame, packet, &back, reversed);
    reparse(frame, packet.l3, packet.interface)
}

struct Change {
    port: u16,
    of_source: bool,
    /// Addresses and port.
    all: Delta,
    /// Addresses alone: all that a partial checksum covers. (For IPv6 the entry's "l3" delta is just that.)
    addresses: Delta,
    partial: bool,
}

/// Rewrites port and checksum. False: a UDP packet without a checksum, which needs one.
#[inline]
fn upper(head: &mut [u8], packet: &Packet, change: &Change) -> bool {
    let Some(l4) = head.get_mut(usize::from(packet.l4)..) else {
        return true;
    };
    if packet.protocol == protocol::SCTP {
        // The checksum is of the whole, and covers no address: see `sctp`.
    } else if packet.protocol == protocol::TCP {
        if let Ok((tcp, _)) = Tcp::mut_from_prefix(l4) {
            if change.of_source {
                tcp.source.set(change.port);
            } else {
                tcp.destination.set(change.port);
            }
            let sum = tcp.checksum.get();
            tcp.checksum.set(if change.partial {
                change.addresses.apply_partial(sum)
            } else {
                change.all.apply(sum)
            });
        }
    } else if packet.protocol == protocol::UDP
        && let Ok((udp, _)) = Udp::mut_from_prefix(l4)
    {
        if change.of_source {
            udp.source.set(change.port);
        } else {
            udp.destination.set(change.port);
        }
        let sum = udp.checksum.get();
        if change.partial {
            udp.checksum.set(change.addresses.apply_partial(sum));
        } else if sum == 0 {
            return false;
        } else {
            udp.checksum.set(change.all.apply_udp(sum));
        }
    }
    true
}

/// SCTP's port, and its CRC32c if that changes: a wrong one becomes right then, as with Linux.
#[cold]
fn sctp<F: Frame>(frame: &mut F, packet: &Packet, change: &Change) {
    let l4 = frame.head_mut().get_mut(usize::from(packet.l4)..);
    let Ok((sctp, _)) = Sctp::mut_from_prefix(l4.unwrap_or_default()) else {
        return;
    };
    let port = if change.of_source {
        &mut sctp.source
    } else {
        &mut sctp.destination
    };
    let changed = port.get() != change.port;
    port.set(change.port);
    if changed {
        sign(frame, packet);
    }
}

/// What a server tells a client of its other addresses is made unreadable: by them the client would pass by the director, or
/// learn where the servers are.
#[cold]
pub(crate) fn conceal_addresses<F: Frame>(frame: &mut F, packet: &Packet) {
    let chunks = usize::from(packet.l4) + wire::sctp::LEN;
    let chunks = frame.head_mut().get_mut(chunks..).unwrap_or_default();
    if wire::sctp::blank_addresses(chunks) {
        sign(frame, packet);
    }
}

/// SCTP's CRC32c made right.
fn sign<F: Frame>(frame: &mut F, packet: &Packet) {
    let at = usize::from(packet.l4);
    let header = |frame: &mut F, checksum| {
        let l4 = frame.head_mut().get_mut(at..).unwrap_or_default();
        if let Ok((sctp, _)) = Sctp::mut_from_prefix(l4) {
            sctp.checksum = checksum;
        }
    };
    header(frame, [0; 4]);
    let mut crc = Crc32c::default();
    transmit::over(frame, at, packet.payload_len().into(), |part| crc.add(part));
    header(frame, crc.finish());
}

/// Gives a UDP packet without a checksum one. `rewritten`: the packet's addresses as they are now.
#[cold]
fn fill_udp<I: Ip, F: Frame>(
    frame: &mut F,
    packet: &Packet,
    rewritten: impl Fn((I::Addr, I::Addr)) -> (I::Addr, I::Addr),
) {
    let Some(addresses) = I::endpoints(&packet.addresses) else {
        return;
    };
    let (source, destination) = rewritten(addresses);
    let len = packet.payload_len();
    let pseudo = pseudo_header(I::ip(source), I::ip(destination), len);
    if let Some(l4) = frame.head_mut().get_mut(usize::from(packet.l4)..)
        && let Ok((udp, _)) = Udp::mut_from_prefix(l4)
    {
        udp.checksum.set(pseudo.folded());
    }
    transmit::complete_checksum(frame, packet.l3);
}

fn pseudo_header(source: std::net::IpAddr, destination: std::net::IpAddr, len: u16) -> Sum {
    use std::net::IpAddr::{V4, V6};
    match (source, destination) {
        (V4(s), V4(d)) => Sum::pseudo4(s.to_bits(), d.to_bits(), protocol::UDP, len),
        (V6(s), V6(d)) => Sum::pseudo6(s.to_bits(), d.to_bits(), protocol::UDP, len.into()),
        _ => Sum::new(),
    }
}
