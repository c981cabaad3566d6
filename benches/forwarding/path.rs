//! What the engine is measured at: how a packet is forwarded, of which protocols, in which direction.

use anyhow::{Context, Result};
use std::{fmt, str::FromStr};
use types::{ForwardingMethod, Protocol};

/// A kind of packet: of an established connection, or a SYN that is answered with a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    pub method: ForwardingMethod,
    pub protocol: Protocol,
    pub is_ipv6: bool,
    /// From the server to the client; only NAT's come by.
    pub is_reply: bool,
    /// A client's SYN, of no connection, to a service with `syn_cookies`.
    pub syn: Syn,
}

/// Whether packets are SYNs, and what SYNs carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syn {
    /// None.
    No,
    /// No options, as most floods'.
    Bare,
    /// A real client's options: segment size, selective acknowledgements, timestamps, window scale, as Linux has them.
    WithOptions,
}

impl Syn {
    /// Whether they are.
    pub const fn is_one(self) -> bool {
        !matches!(self, Self::No)
    }
}

impl Path {
    /// Every path there is.
    pub fn all() -> impl Iterator<Item = Self> {
        use ForwardingMethod::{Masq, Route, Tunnel};
        let ways = [(Masq, false), (Masq, true), (Route, false), (Tunnel, false)];
        let protocols = [Protocol::Udp, Protocol::Tcp];
        let syns = [Syn::Bare, Syn::WithOptions].into_iter().flat_map(|syn| {
            [false, true].map(|is_ipv6| Self {
                method: Masq,
                protocol: Protocol::Tcp,
                is_ipv6,
                is_reply: false,
                syn,
            })
        });
        let established = ways.into_iter().flat_map(move |(method, is_reply)| {
            protocols.into_iter().flat_map(move |protocol| {
                [false, true].map(|is_ipv6| Self {
                    method,
                    protocol,
                    is_ipv6,
                    is_reply,
                    syn: Syn::No,
                })
            })
        });
        established.chain(syns)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.is_ipv6 { "ipv6" } else { "ipv4" };
        let direction = match (self.syn, self.is_reply) {
            (Syn::Bare, _) => "SYNs",
            (Syn::WithOptions, _) => "SYNs with options",
            (Syn::No, true) => "replies",
            (Syn::No, false) => "requests",
        };
        let protocol = self.protocol.name();
        f.pad(&format!("{} {protocol} {family} {direction}", self.method))
    }
}

impl FromStr for Path {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::all()
            .find(|path| path.to_string() == text)
            .with_context(|| format!("there is no path `{text}`"))
    }
}
