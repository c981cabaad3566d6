//! IPv4 and IPv6: how a connection's key is kept in atomics.

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod v4;
mod v6;

pub use v4::V4Cells;
pub use v6::V6Cells;

use std::{fmt::Debug, hash::Hash};
use types::ServerId;

/// An address family with its own entry layout.
pub trait Family: sealed::Sealed + Copy + Debug + Send + Sync + 'static {
    /// The address in host byte order.
    type Addr: Copy + Eq + Ord + Hash + Debug + Default + Send + Sync + 'static;
    #[doc(hidden)]
    type Cells: KeyCells<Addr = Self::Addr, Family = Self>;
    /// Source and destination as they stand in an IP header, read as little-endian numbers.
    type Pair: Copy + Debug + Send + Sync + 'static;
    #[doc(hidden)]
    const ONE_WORD: bool;
    /// An address as it stands in a header.
    #[doc(hidden)]
    fn words(address: Self::Addr) -> (u64, u64);
    /// Likewise, the client's of a pair.
    #[doc(hidden)]
    fn client_words(pair: &Self::Pair, side: Side) -> (u64, u64);
    #[doc(hidden)]
    fn addresses(pair: &Self::Pair) -> (Self::Addr, Self::Addr);
}

/// IPv4: 64-byte entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V4;
/// IPv6: 128-byte entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V6;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::V4 {}
    impl Sealed for super::V6 {}
}

impl Family for V4 {
    type Addr = u32;
    type Cells = V4Cells;
    /// The source in the low half.
    type Pair = u64;
    const ONE_WORD: bool = true;
    #[inline]
    fn words(address: u32) -> (u64, u64) {
        (u64::from(address.swap_bytes()), 0)
    }
    #[inline]
    fn client_words(pair: &u64, side: Side) -> (u64, u64) {
        match side {
            Side::Virtual => (pair & 0xffff_ffff, 0),
            Side::Server => (pair >> 32, 0),
        }
    }
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    fn addresses(pair: &u64) -> (u32, u32) {
        (
            (*pair as u32).swap_bytes(),
            ((pair >> 32) as u32).swap_bytes(),
        )
    }
}

impl Family for V6 {
    type Addr = u128;
    type Cells = V6Cells;
    /// The source's two words, then the destination's.
    type Pair = [[u64; 2]; 2];
    const ONE_WORD: bool = false;
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    fn words(address: u128) -> (u64, u64) {
        let address = address.swap_bytes();
        (address as u64, (address >> 64) as u64)
    }
    #[inline]
    fn client_words(pair: &[[u64; 2]; 2], side: Side) -> (u64, u64) {
        let [source, destination] = pair;
        let [low, high] = match side {
            Side::Virtual => *source,
            Side::Server => *destination,
        };
        (low, high)
    }
    #[inline]
    fn addresses(pair: &[[u64; 2]; 2]) -> (u128, u128) {
        let number =
            |[low, high]: [u64; 2]| (u128::from(low) | u128::from(high) << 64).swap_bytes();
        let [source, destination] = *pair;
        (number(source), number(destination))
    }
}

/// What a packet knows of its connection: the client's endpoint and the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple<A> {
    /// IANA protocol number; 0 in templates of firewall marks.
    pub protocol: u8,
    /// The client's address.
    pub client: A,
    /// The client's port, host byte order.
    pub client_port: u16,
    /// The other end: see [`Side`].
    pub other: A,
    /// The other end's port, host byte order.
    pub other_port: u16,
}

/// What a packet's headers say of its connection, byte for byte as it stands there: nothing is swapped on the way to a lookup.
#[derive(Clone, Copy, Debug)]
pub struct OnWire<F: Family> {
    /// Source and destination.
    pub addresses: F::Pair,
    /// The source's port in the low half, the destination's in the high one.
    pub ports: u32,
    /// IANA protocol number.
    pub protocol: u8,
}

impl<F: Family> OnWire<F> {
    /// The client's port, as it stands there.
    #[inline]
    pub(crate) const fn client_port(&self, side: Side) -> u32 {
        match side {
            Side::Virtual => self.ports & 0xffff,
            Side::Server => self.ports >> 16,
        }
    }

    /// The same in host byte order.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    pub fn tuple(&self, side: Side) -> Tuple<F::Addr> {
        let (source, destination) = F::addresses(&self.addresses);
        let ports = [self.ports as u16, (self.ports >> 16) as u16].map(u16::swap_bytes);
        let ((client, client_port), (other, other_port)) = match side {
            Side::Virtual => ((source, ports[0]), (destination, ports[1])),
            Side::Server => ((destination, ports[1]), (source, ports[0])),
        };
        Tuple {
            protocol: self.protocol,
            client,
            client_port,
            other,
            other_port,
        }
    }
}

/// Which end `other` is in a [`Tuple`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The virtual service: a packet from the client.
    Virtual,
    /// The real server: a reply of NAT.
    Server,
}

impl Side {
    /// The other end.
    #[inline]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Virtual => Self::Server,
            Self::Server => Self::Virtual,
        }
    }
}

/// Everything that identifies a connection; the names are the kernel's (`struct ip_vs_conn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key<A> {
    /// IANA protocol number; 0 in templates of firewall marks.
    pub protocol: u8,
    /// The caller's flags that never change (forwarding method and the like), 7 bits.
    pub flags: u8,
    /// A persistence template.
    pub template: bool,
    /// Client address (masked in templates).
    pub caddr: A,
    /// Client port, host byte order; 0 in templates.
    pub cport: u16,
    /// Virtual address, or the mark in templates of firewall marks.
    pub vaddr: A,
    /// Virtual port.
    pub vport: u16,
    /// Real server's address.
    pub daddr: A,
    /// Real server's port.
    pub dport: u16,
}

impl<A: Copy> Key<A> {
    /// What a packet from the client shows.
    #[must_use]
    pub fn client_tuple(&self) -> Tuple<A> {
        let Self {
            protocol,
            caddr,
            cport,
            vaddr,
            vport,
            ..
        } = *self;
        Tuple {
            protocol,
            client: caddr,
            client_port: cport,
            other: vaddr,
            other_port: vport,
        }
    }

    /// What a reply of the real server shows under NAT.
    #[must_use]
    pub fn server_tuple(&self) -> Tuple<A> {
        Tuple {
            other: self.daddr,
            other_port: self.dport,
            ..self.client_tuple()
        }
    }
}

/// What never changes of a connection, besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Static {
    /// The caller's flags.
    pub flags: u8,
    /// The real server.
    pub server: ServerId,
}

/// The flag bit that makes an entry a template.
const TEMPLATE: u8 = 0x80;

/// A key in atomics, addresses and ports as they stand in headers. Loads and stores are relaxed: the state word orders them.
pub trait KeyCells: Send + Sync {
    type Addr: Copy;
    type Family: Family<Addr = Self::Addr>;
    fn zeroed() -> Self;
    /// By a claimant: the part that claims are compared by.
    fn claim(&self, t: &Tuple<Self::Addr>, template: bool);
    /// By the winner: the rest.
    fn complete(&self, daddr: Self::Addr, dport: u16, server: u32, flags: u8);
    fn matches(&self, t: &Tuple<Self::Addr>, side: Side, template: bool) -> bool;
    /// [`KeyCells::matches`] of a packet; never a template. What the comparison has read besides, if it is its connection.
    fn met(&self, packet: &OnWire<Self::Family>, side: Side) -> Option<Static>;
    /// Not a template, and of the same client endpoint.
    fn same_client(&self, t: &Tuple<Self::Addr>) -> bool;
    fn load(&self) -> Key<Self::Addr>;
    /// Address and port that a packet gets under NAT, as they stand in headers: the server's on its way there, the virtual
    /// ones on the way back.
    fn replacement(&self, side: Side) -> ((u64, u64), u16);
    fn server(&self) -> u32;
    fn is_template(&self) -> bool;
}

/// A port as it stands in a header.
#[inline]
fn port(number: u16) -> u64 {
    u64::from(number.swap_bytes())
}
