//! ARP: answers for own addresses and VIPs as Linux does with `arp_ignore=0`, on whichever interface it is asked; for
//! nobody else. Learns from answers and announcements, and from those who ask for us. Notes who claims a VIP.

use super::pass_on;
use crate::{DropReason, Output, claims, context::Context, net::Local, transmit};
use std::net::Ipv4Addr;
use types::{InterfaceId, MacAddr, PortId};
use wire::{Arp, Frame, FromBytes, IntoBytes, arp, ethernet};

/// Takes in a well-formed ARP packet that starts at `at`.
#[cold]
pub(crate) fn receive<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: F,
    port: PortId,
    interface: InterfaceId,
    at: u8,
) {
    let Some(arp) = read(&frame, at) else {
        cx.drop(frame, DropReason::ArpMalformed);
        return;
    };
    let sender_mac = MacAddr(arp.sender_mac);
    let (sender, target) = (
        Ipv4Addr::from_bits(arp.sender()),
        Ipv4Addr::from_bits(arp.target()),
    );
    let operation = arp.operation.get();
    let net = &cx.snapshot.net;
    if sender_mac.is_group()
        || sender.is_multicast()
        || target.is_multicast()
        || target.is_loopback()
    {
        cx.drop(frame, DropReason::ArpMalformed);
        return;
    }
    let target_is_ours = matches!(net.local4(arp.target()), Some(Local::Own(_) | Local::Vip));
    // Somebody else claims an address of ours: nothing to learn, nothing to answer. Who claims a VIP is shown to the host, which has none.
    match net.local4(arp.sender()) {
        None => {}
        Some(Local::Vip) => {
            claims::hear(cx, (sender.into(), sender_mac), interface);
            return pass_on(cx, frame, port, DropReason::ArpNotForUs);
        }
        Some(_) => return cx.drop(frame, DropReason::ArpNotForUs),
    }
    let probe = sender.is_unspecified();
    let asks_us = operation == arp::REQUEST && target_is_ours;
    let on_link = net
        .interface(interface)
        .is_some_and(|i| i.on_link(sender.into()));
    // Who asks for us will be answered to next: known before it is needed. Others only update what is known.
    let learned = !probe
        && cx.shared.neighbours.learn(
            interface,
            sender.into(),
            sender_mac,
            asks_us && on_link,
            cx.now,
        );
    match operation {
        _ if asks_us => answer(cx, frame, interface, at, &arp),
        arp::REPLY => {
            let reason = if learned {
                DropReason::Learned
            } else {
                DropReason::ArpNotForUs
            };
            pass_on(cx, frame, port, reason);
        }
        arp::REQUEST if learned && sender == target => {
            pass_on(cx, frame, port, DropReason::Learned);
        }
        arp::REQUEST => cx.drop(frame, DropReason::ArpNotForUs),
        _ => cx.drop(frame, DropReason::ArpMalformed),
    }
}

fn read<F: Frame>(frame: &F, at: u8) -> Option<Arp> {
    let bytes = frame.head().get(usize::from(at)..)?;
    Arp::read_from_prefix(bytes).ok().map(|(arp, _)| arp)
}

/// The request's buffer becomes the answer.
fn answer<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    interface: InterfaceId,
    at: u8,
    asked: &Arp,
) {
    let Some(out) = cx.snapshot.net.interface(interface) else {
        cx.drop(frame, DropReason::NoRoute);
        return;
    };
    let target = Ipv4Addr::from_bits(asked.target()).into();
    let own = cx.snapshot.virtual_macs.answer(target, interface);
    let reply = Arp::new(
        arp::REPLY,
        (own.unwrap_or(out.mac).0, asked.target()),
        (asked.sender_mac, asked.sender()),
    );
    if !rewrite(&mut frame, at, out, &reply) {
        cx.drop(frame, DropReason::NoRoom);
        return;
    }
    cx.answered_in_place();
    cx.transmit(out.port, frame);
}

fn rewrite<F: Frame>(frame: &mut F, at: u8, out: &crate::net::InterfaceNet, reply: &Arp) -> bool {
    let l2 = usize::from(out.l2_len());
    frame.truncate(usize::from(at) + arp::LEN);
    let room = match l2.checked_sub(at.into()) {
        Some(more) => frame.prepend(more),
        None => frame.strip(usize::from(at) - l2),
    };
    let written = room
        && frame
            .head_mut()
            .get_mut(l2..)
            .is_some_and(|body| reply.write_to_prefix(body).is_ok())
        && transmit::write_link_header(
            frame.head_mut(),
            out,
            MacAddr(reply.target_mac),
            ethernet::ARP,
        );
    transmit::write_source(frame.head_mut(), MacAddr(reply.sender_mac));
    written
}

/// Builds the question who has `target`. `to`: `None` asks everybody. False if the frame has no room.
pub(super) fn request<F: Frame>(
    frame: &mut F,
    out: &crate::net::InterfaceNet,
    source: u32,
    target: u32,
    to: Option<MacAddr>,
) -> bool {
    let l2 = usize::from(out.l2_len());
    let question = Arp::new(arp::REQUEST, (out.mac.0, source), ([0; 6], target));
    frame.append(l2 + arp::LEN)
        && frame
            .head_mut()
            .get_mut(l2..)
            .is_some_and(|body| question.write_to_prefix(body).is_ok())
        && transmit::write_link_header(
            frame.head_mut(),
            out,
            to.unwrap_or(MacAddr::BROADCAST),
            ethernet::ARP,
        )
}
