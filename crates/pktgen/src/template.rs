//! What to send, in words: `udp 10.0.0.1-10.0.0.250:1024-65535 > 10.0.1.1:80 size imix`.
//!
//! [`Template::from_str`](std::str::FromStr) reads it; docs/pktgen.md has the grammar.

mod read;
mod size;
#[cfg(test)]
mod tests;

use crate::axis::Axis;
use thiserror::Error;
use types::VlanId;
use wire::protocol;

pub use read::{address_range, port_range};
pub use size::Sizes;

/// Bytes of an Ethernet frame check sequence: counted in sizes, as RFC 2544 does, written by the port.
pub const FCS: u16 = 4;
/// Smallest and largest sizes of a frame, check sequence included, VLAN tag not.
pub const SIZES: std::ops::RangeInclusive<u16> = 64..=9018;

/// One kind of packet, and the flows it is sent in.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Upper protocol.
    pub kind: Kind,
    /// Both addresses are IPv6's.
    pub is_ipv6: bool,
    /// Source address, source port, destination address, destination port. Ports of what has none take the value 0.
    pub axes: [Axis; 4],
    /// In what order flows are taken.
    pub order: Order,
    /// Only so many flows: the first, as [`Order::Sequential`] counts them.
    pub limit: Option<u64>,
    /// Sizes of frames.
    pub sizes: Sizes,
    /// How many packets beside those of other templates.
    pub weight: u16,
    /// The VLAN and priority of the frames.
    pub vlan: Option<(VlanId, u8)>,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Don't fragment (IPv4).
    pub dont_fragment: bool,
    /// Said to be a first fragment of which no more will come (IPv4).
    pub first_fragment: bool,
    /// What the upper checksum is to be.
    pub checksum: Checksum,
}

/// The upper protocol of a [`Template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UDP.
    Udp,
    /// TCP segments with these flags, of no connection.
    Tcp {
        /// As on the wire.
        flags: u8,
    },
    /// Echo requests; the source "port" is the identifier.
    Echo,
    /// ARP requests, to all: the source asks for the destination.
    Arp,
}

/// In what order flows are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// One after the other: source port first, then source address, destination port, destination address.
    Sequential,
    /// Each as often as any other, at random.
    Uniform,
    /// Flow k with a probability of about 1/k^s, at random.
    Zipf {
        /// The exponent.
        s: f64,
    },
}

/// What a frame's upper checksum is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// As it should.
    Right,
    /// None: UDP over IPv4 may.
    None,
    /// Off by one.
    Wrong,
}

/// A mistake in a template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "template, character {at}: {what}\n  {text}\n  {caret:>at$}",
    caret = "^"
)]
pub struct TemplateError {
    /// The whole template.
    pub text: String,
    /// Where the mistake is, from 1.
    pub at: usize,
    /// What is wrong and what to write instead.
    pub what: String,
}

impl Kind {
    /// The protocol's number.
    #[must_use]
    pub const fn number(self, is_ipv6: bool) -> u8 {
        match (self, is_ipv6) {
            (Self::Udp, _) => protocol::UDP,
            (Self::Tcp { .. }, _) => protocol::TCP,
            (Self::Echo, false) => protocol::ICMP,
            (Self::Echo, true) => protocol::ICMPV6,
            // Not IP at all.
            (Self::Arp, _) => 0,
        }
    }

    /// Bytes of its header.
    #[must_use]
    pub const fn header_len(self) -> u16 {
        match self {
            Self::Udp | Self::Echo => 8,
            Self::Tcp { .. } => 20,
            Self::Arp => 28,
        }
    }
}

impl Template {
    /// Flows there are; saturating.
    #[must_use]
    pub fn flows(&self) -> u64 {
        let all = self
            .axes
            .iter()
            .fold(1_u64, |n, axis| n.saturating_mul(axis.total()));
        self.limit.map_or(all, |limit| limit.min(all))
    }

    /// Bytes before the payload, Ethernet header first.
    #[must_use]
    pub fn headers_len(&self) -> u16 {
        let vlan = if self.vlan.is_some() { 4 } else { 0 };
        let ip = match (self.kind, self.is_ipv6) {
            (Kind::Arp, _) => 0,
            (_, false) => 20,
            (_, true) => 40,
        };
        14 + vlan + ip + self.kind.header_len()
    }

    /// Bytes of a frame in a buffer, for a size: without check sequence, with the VLAN tag.
    #[must_use]
    pub fn frame_len(&self, size: u16) -> u16 {
        size - FCS + if self.vlan.is_some() { 4 } else { 0 }
    }
}
