//! Frames of one TAP on their way to detours and back. Pure: frames in, frames out.

use super::{
    Detour, Table,
    packet::{Packet, Side},
    wrap::wrap,
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};
use types::{InterfaceId, MacAddr};
use wire::protocol;

/// Conversations that are remembered at most.
const FLOWS: usize = 65_536;
/// How long one is remembered after its last packet, and its port not given to another.
const IDLE: Duration = Duration::from_secs(120);

/// What is to be done with a frame from the host.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// Out, as it is.
    Out,
    /// Out, in this form.
    Instead(Vec<u8>),
    /// Nowhere: its server's MAC is not known (yet), or it is for nobody.
    Drop,
}

/// Where the host's end is.
type Own = (IpAddr, u16);

/// A conversation as the host has it: protocol, its own end, the detour's.
type Inside = (u8, Own, (IpAddr, u16));
/// The same as the server has it: its own end is the virtual address. Several servers have that, so the director's port differs where
/// the host used one twice.
type Outside = (u8, Own, (IpAddr, u16));

/// The translator of one TAP.
#[derive(Debug, Default)]
pub struct Translator {
    table: Table,
    /// To the director's port outside, and when it was used last.
    out: HashMap<Inside, (u16, Duration)>,
    back: HashMap<Outside, Inside>,
}

impl Translator {
    /// By these detours.
    pub fn new(table: Table) -> Self {
        Self {
            table,
            ..Self::default()
        }
    }

    /// A frame from the host, `now`; `mac` finds and asks for neighbours.
    pub fn outward(
        &mut self,
        frame: &[u8],
        now: Duration,
        mac: impl Fn(InterfaceId, IpAddr) -> Option<MacAddr>,
    ) -> Way {
        match Packet::read(frame).filter(|packet| is_detour(packet.destination)) {
            None => Way::Out,
            Some(packet) => self
                .translate(frame, &packet, now, mac)
                .map_or(Way::Drop, Way::Instead),
        }
    }

    fn translate(
        &mut self,
        frame: &[u8],
        packet: &Packet,
        now: Duration,
        mac: impl Fn(InterfaceId, IpAddr) -> Option<MacAddr>,
    ) -> Option<Vec<u8>> {
        let table = Arc::clone(&self.table.lock().unwrap_or_else(PoisonError::into_inner));
        let detour = table.get(&packet.destination)?;
        let mac = mac(detour.hop.0, detour.hop.1)?;
        let (from, to) = packet.ports?;
        let inside = (
            packet.protocol,
            (packet.source, from),
            (packet.destination, to),
        );
        let port = self.port(inside, detour, now)?;
        let mut out = frame.to_vec();
        packet.set_address(&mut out, Side::Destination, detour.vip)?;
        packet.set_port(&mut out, Side::Source, port)?;
        out.get_mut(..6)?.copy_from_slice(&mac.0);
        if let Some((tunnel, from, to)) = detour.tunnel {
            wrap(&mut out, tunnel, (from, to))?;
        }
        Some(out)
    }

    /// The director's port outside: the host's own, unless another conversation with that virtual address has it.
    fn port(&mut self, inside: Inside, detour: &Detour, now: Duration) -> Option<u16> {
        if let Some((port, used)) = self.out.get_mut(&inside) {
            *used = now;
            return Some(*port);
        }
        if self.out.len() >= FLOWS {
            self.forget(now);
        }
        let (protocol, (own, from), (_, to)) = inside;
        let is_free = |port: u16, translator: &Self| {
            let outside = (protocol, (own, port), (detour.vip, to));
            let other = translator.back.get(&outside);
            let used = other.and_then(|inside| translator.out.get(inside));
            used.is_none_or(|(_, used)| now.saturating_sub(*used) > IDLE)
        };
        let port = std::iter::once(from)
            .chain((1024..=u16::MAX).rev())
            .find(|port| is_free(*port, self))?;
        let outside = (protocol, (own, port), (detour.vip, to));
        if let Some(before) = self.back.insert(outside, inside) {
            self.out.remove(&before);
        }
        self.out.insert(inside, (port, now));
        Some(port)
    }

    /// Forgets what is idle; everything, if nothing is.
    fn forget(&mut self, now: Duration) {
        self.out
            .retain(|_, (_, used)| now.saturating_sub(*used) <= IDLE);
        if self.out.len() >= FLOWS {
            self.out.clear();
        }
        let out = &self.out;
        self.back.retain(|_, inside| out.contains_key(inside));
    }

    /// A frame for the host: `Some`, in another form.
    pub fn inward(&self, frame: &[u8]) -> Option<Vec<u8>> {
        if self.back.is_empty() {
            return None;
        }
        let packet = Packet::read(frame)?;
        if matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) {
            return self.error(frame, &packet);
        }
        let (from, to) = packet.ports?;
        let outside = (
            packet.protocol,
            (packet.destination, to),
            (packet.source, from),
        );
        let (_, (_, port), (detour, _)) = *self.back.get(&outside)?;
        let mut out = frame.to_vec();
        packet.set_address(&mut out, Side::Source, detour)?;
        packet.set_port(&mut out, Side::Destination, port)?;
        Some(out)
    }

    /// An ICMP error about a packet that went out in another form: quoted as the host sent it.
    fn error(&self, frame: &[u8], packet: &Packet) -> Option<Vec<u8>> {
        let kind = *frame.get(packet.upper)?;
        let is_error = match packet.protocol {
            protocol::ICMP => matches!(kind, 3 | 11 | 12),
            _ => (1..=4).contains(&kind),
        };
        let quoted = Packet::read_at(frame, packet.upper + 8).filter(|_| is_error)?;
        let (from, to) = quoted.ports?;
        let outside = (
            quoted.protocol,
            (quoted.source, from),
            (quoted.destination, to),
        );
        let (_, (_, port), (detour, _)) = *self.back.get(&outside)?;
        let mut out = frame.to_vec();
        let bytes = super::packet::octets(detour);
        let at = quoted.address_at(Side::Destination);
        out.get_mut(at..at + bytes.len())?.copy_from_slice(&bytes);
        let at = quoted.port_at(Side::Source);
        out.get_mut(at..at + 2)?
            .copy_from_slice(&port.to_be_bytes());
        let mut told = *packet;
        if packet.source == quoted.destination {
            packet.set_address(&mut out, Side::Source, detour)?;
            told.source = detour;
        }
        told.fill_icmp(&mut out)?;
        Some(out)
    }
}

/// Whether an address is of the ranges that only the host knows.
fn is_detour(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.octets().first() == Some(&240),
        IpAddr::V6(ip) => matches!(ip.segments(), [0x100, 0, 0, 0, 0, _, 0, _]),
    }
}

#[cfg(test)]
mod tests;
