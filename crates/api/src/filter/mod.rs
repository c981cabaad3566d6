//! The filter language of captures, close to what tcpdump's users type.
//!
//! ```text
//! tcp port 80                          host 192.0.2.10 and not arp
//! src net 10.1.0.0/16                  udp and (dst port 53 or dst port 5353)
//! ip6 host 2001:db8::10                vlan 10 icmp
//! ```
//!
//! | primitive | matches |
//! |---|---|
//! | `[src\|dst] host ADDRESS` | IPv4, IPv6, or an ARP packet that names the address |
//! | `[src\|dst] net ADDRESS/PREFIX` | the same, by prefix |
//! | `[src\|dst] port N`, `[src\|dst] portrange N-M` | TCP, UDP, SCTP ports; never a later fragment, which has none |
//! | `ether [src\|dst] host MAC` | Ethernet addresses |
//! | `ip`, `ip6`, `arp`, `tcp`, `udp`, `sctp`, `icmp`, `icmp6`, `proto N` | protocols; behind VLAN tags and IPv6 extension headers too |
//! | `vlan`, `vlan N` | 802.1Q tags |
//! | `less N`, `greater N` | frames of at most, at least N bytes |
//!
//! Primitives side by side must both match (`tcp port 80`), and bind tightest but for `not` (`!`). `and` (`&&`) and `or`
//! (`||`) are equals, read from left to right, as tcpdump reads them.
//!
//! [`parse`] allocates; [`Filter::matches`] does not, takes bounded time and cannot panic.

mod headers;
mod line;
mod parse;

use std::net::IpAddr;
use types::{IpNet, MacAddr};

pub use headers::Headers;
pub use parse::{FilterError, MAX_FILTER_LENGTH, parse};

/// A filter, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Node);

impl Filter {
    /// The filter that matches every frame.
    #[must_use]
    pub const fn all() -> Self {
        Self(Node::And(Vec::new()))
    }

    /// Whether an Ethernet frame, from its destination MAC on, matches. The bytes may be the front part of a longer
    /// frame; what lies beyond them matches nothing, `original_len` is the whole frame's length.
    #[must_use]
    pub fn matches(&self, frame: &[u8], original_len: usize) -> bool {
        self.0.holds(&Headers::read(frame, original_len))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Test(Test),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

impl Node {
    fn holds(&self, headers: &Headers) -> bool {
        match self {
            Self::Test(test) => test.holds(headers),
            Self::Not(inner) => !inner.holds(headers),
            Self::And(all) => all.iter().all(|node| node.holds(headers)),
            Self::Or(any) => any.iter().any(|node| node.holds(headers)),
        }
    }
}

/// Which end of a packet a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
    Either,
}

impl End {
    fn any<T: Copy>(self, (source, destination): (T, T), test: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Source => test(source),
            Self::Destination => test(destination),
            Self::Either => test(source) || test(destination),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Net(End, IpNet),
    Ports(End, u16, u16),
    Ether(End, MacAddr),
    EtherType(u16),
    Protocol(u8),
    Vlan(Option<u16>),
    Less(usize),
    Greater(usize),
}

impl Test {
    fn holds(&self, headers: &Headers) -> bool {
        match *self {
            Self::Net(end, net) => headers
                .addresses
                .is_some_and(|pair| end.any(pair, |a: IpAddr| net.contains(a))),
            Self::Ports(end, low, high) => headers
                .ports
                .is_some_and(|pair| end.any(pair, |p| (low..=high).contains(&p))),
            Self::Ether(end, mac) => headers.macs.is_some_and(|pair| end.any(pair, |m| m == mac)),
            Self::EtherType(kind) => headers.ethertype == Some(kind),
            Self::Protocol(number) => headers.protocol == Some(number),
            Self::Vlan(None) => headers.vlans[0].is_some(),
            Self::Vlan(id) => headers.vlans.contains(&id),
            Self::Less(n) => headers.length <= n,
            Self::Greater(n) => headers.length >= n,
        }
    }
}
