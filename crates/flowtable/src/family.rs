//! IPv4 and IPv6: how a connection's key is kept in atomics.

use rcu::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};
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

/// 24 bytes: three words of key, of which a lookup reads all three in either direction.
#[repr(C)]
pub struct V4Cells {
    /// caddr | vaddr << 32
    addresses: AtomicU64,
    /// daddr | cport << 32 | vport << 48
    server_and_ports: AtomicU64,
    /// dport | protocol << 16 | flags << 24 | server << 32
    rest: AtomicU64,
}

/// Protocol and the flag of templates in [`V4Cells::rest`].
const V4_PROTOCOL_AND_TEMPLATE: u64 = 0x80ff << 16;

#[expect(
    clippy::cast_possible_truncation,
    reason = "fields are cut out of words"
)]
impl KeyCells for V4Cells {
    type Addr = u32;
    type Family = V4;

    fn zeroed() -> Self {
        let word = || AtomicU64::new(0);
        Self {
            addresses: word(),
            server_and_ports: word(),
            rest: word(),
        }
    }

    fn claim(&self, t: &Tuple<u32>, template: bool) {
        let (client, other) = (V4::words(t.client).0, V4::words(t.other).0);
        self.addresses.store(client | other << 32, Relaxed);
        self.server_and_ports.store(
            port(t.client_port) << 32 | port(t.other_port) << 48,
            Relaxed,
        );
        let flags = if template { TEMPLATE } else { 0 };
        self.rest.store(
            u64::from(t.protocol) << 16 | u64::from(flags) << 24,
            Relaxed,
        );
    }

    fn complete(&self, daddr: u32, dport: u16, server: u32, flags: u8) {
        let ports = self.server_and_ports.load(Relaxed) >> 32 << 32;
        self.server_and_ports
            .store(ports | V4::words(daddr).0, Relaxed);
        let claimed = self.rest.load(Relaxed);
        let flags = u64::from(flags & !TEMPLATE) << 24;
        self.rest.store(
            claimed | flags | port(dport) | u64::from(server) << 32,
            Relaxed,
        );
    }

    #[inline]
    fn matches(&self, t: &Tuple<u32>, side: Side, template: bool) -> bool {
        let (client, other) = (V4::words(t.client).0, V4::words(t.other).0);
        let (cport, oport) = (port(t.client_port) as u32, port(t.other_port) as u32);
        let packet = match side {
            Side::Virtual => OnWire {
                addresses: client | other << 32,
                ports: cport | oport << 16,
                protocol: t.protocol,
            },
            Side::Server => OnWire {
                addresses: other | client << 32,
                ports: oport | cport << 16,
                protocol: t.protocol,
            },
        };
        let flags = if template { TEMPLATE } else { 0 };
        self.differs(self.rest.load(Relaxed), &packet, side, flags) == 0
    }

    #[inline(always)]
    fn met(&self, packet: &OnWire<V4>, side: Side) -> Option<Static> {
        let rest = self.rest.load(Relaxed);
        (self.differs(rest, packet, side, 0) == 0).then_some(Static {
            // Not a template's.
            flags: (rest >> 24) as u8,
            server: ServerId((rest >> 32) as u32),
        })
    }

    fn same_client(&self, t: &Tuple<u32>) -> bool {
        let want = u64::from(t.protocol) << 16;
        u64::from(self.addresses.load(Relaxed) as u32) == V4::words(t.client).0
            && self.server_and_ports.load(Relaxed) >> 32 & 0xffff == port(t.client_port)
            && self.rest.load(Relaxed) & V4_PROTOCOL_AND_TEMPLATE == want
    }

    #[inline]
    fn load(&self) -> Key<u32> {
        let addresses = self.addresses.load(Relaxed);
        let server_and_ports = self.server_and_ports.load(Relaxed);
        let rest = self.rest.load(Relaxed);
        Key {
            protocol: (rest >> 16) as u8,
            flags: (rest >> 24) as u8 & !TEMPLATE,
            template: rest >> 31 & 1 == 1,
            caddr: (addresses as u32).swap_bytes(),
            cport: ((server_and_ports >> 32) as u16).swap_bytes(),
            vaddr: ((addresses >> 32) as u32).swap_bytes(),
            vport: ((server_and_ports >> 48) as u16).swap_bytes(),
            daddr: (server_and_ports as u32).swap_bytes(),
            dport: (rest as u16).swap_bytes(),
        }
    }

    #[inline]
    fn replacement(&self, side: Side) -> ((u64, u64), u16) {
        let server_and_ports = self.server_and_ports.load(Relaxed);
        match side {
            Side::Virtual => {
                let daddr = u64::from(server_and_ports as u32);
                ((daddr, 0), self.rest.load(Relaxed) as u16)
            }
            Side::Server => {
                let vaddr = self.addresses.load(Relaxed) >> 32;
                ((vaddr, 0), (server_and_ports >> 48) as u16)
            }
        }
    }

    #[inline]
    fn server(&self) -> u32 {
        (self.rest.load(Relaxed) >> 32) as u32
    }

    #[inline]
    fn is_template(&self) -> bool {
        self.rest.load(Relaxed) >> 31 & 1 == 1
    }
}

impl V4Cells {
    /// 0 if it is the packet's. One expression of differences: the compiler needs no branch per field.
    #[inline(always)]
    fn differs(&self, rest: u64, packet: &OnWire<V4>, side: Side, flags: u8) -> u64 {
        let addresses = self.addresses.load(Relaxed);
        let server_and_ports = self.server_and_ports.load(Relaxed);
        let ports = u64::from(packet.ports);
        let kind = u64::from(packet.protocol) << 16 | u64::from(flags) << 24;
        match side {
            Side::Virtual => {
                (addresses ^ packet.addresses)
                    | ((server_and_ports >> 32) ^ ports)
                    | (rest & V4_PROTOCOL_AND_TEMPLATE ^ kind)
            }
            Side::Server => {
                // The server's address and the client's port are neighbours here.
                let (server, client) = (packet.addresses & 0xffff_ffff, packet.addresses >> 32);
                ((addresses & 0xffff_ffff) ^ client)
                    | ((server_and_ports & 0xffff_ffff_ffff) ^ (server | ports >> 16 << 32))
                    | (rest & (V4_PROTOCOL_AND_TEMPLATE | 0xffff) ^ (kind | ports & 0xffff))
            }
        }
    }
}

/// A port as it stands in a header.
#[inline]
fn port(number: u16) -> u64 {
    u64::from(number.swap_bytes())
}

/// 64 bytes: one line of key, so that the second line is the only one written per packet.
#[repr(C)]
pub struct V6Cells {
    caddr: [AtomicU64; 2],
    vaddr: [AtomicU64; 2],
    daddr: [AtomicU64; 2],
    /// cport | vport << 16 | dport << 32 | protocol << 48 | flags << 56
    rest: AtomicU64,
    server: AtomicU32,
    spare: AtomicU32,
}

impl V6Cells {
    const PROTOCOL_AND_TEMPLATE: u64 = 0x80ff << 48;

    #[inline]
    fn differs(cells: &[AtomicU64; 2], (low, high): (u64, u64)) -> u64 {
        (cells[0].load(Relaxed) ^ low) | (cells[1].load(Relaxed) ^ high)
    }

    fn store(cells: &[AtomicU64; 2], address: u128) {
        let (low, high) = V6::words(address);
        cells[0].store(low, Relaxed);
        cells[1].store(high, Relaxed);
    }

    #[inline]
    fn address(cells: &[AtomicU64; 2]) -> u128 {
        let (low, high) = Self::words(cells);
        (u128::from(low) | u128::from(high) << 64).swap_bytes()
    }

    #[inline]
    fn words(cells: &[AtomicU64; 2]) -> (u64, u64) {
        (cells[0].load(Relaxed), cells[1].load(Relaxed))
    }
}

#[inline]
fn v6_rest(t: &Tuple<u128>, flags: u8, other_shift: u32) -> u64 {
    port(t.client_port)
        | port(t.other_port) << other_shift
        | u64::from(t.protocol) << 48
        | u64::from(flags) << 56
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "fields are cut out of words"
)]
impl KeyCells for V6Cells {
    type Addr = u128;
    type Family = V6;

    fn zeroed() -> Self {
        let word = || AtomicU64::new(0);
        let address = || [word(), word()];
        let (server, spare) = (AtomicU32::new(0), AtomicU32::new(0));
        Self {
            caddr: address(),
            vaddr: address(),
            daddr: address(),
            rest: word(),
            server,
            spare,
        }
    }

    fn claim(&self, t: &Tuple<u128>, template: bool) {
        Self::store(&self.caddr, t.client);
        Self::store(&self.vaddr, t.other);
        Self::store(&self.daddr, 0);
        self.rest
            .store(v6_rest(t, if template { TEMPLATE } else { 0 }, 16), Relaxed);
        self.spare.store(0, Relaxed);
    }

    fn complete(&self, daddr: u128, dport: u16, server: u32, flags: u8) {
        Self::store(&self.daddr, daddr);
        let rest = self.rest.load(Relaxed) | port(dport) << 32 | u64::from(flags & !TEMPLATE) << 56;
        self.rest.store(rest, Relaxed);
        self.server.store(server, Relaxed);
    }

    #[inline]
    fn matches(&self, t: &Tuple<u128>, side: Side, template: bool) -> bool {
        let rest = self.rest.load(Relaxed);
        let flags = if template { TEMPLATE } else { 0 };
        let (other, port_mask, shift) = match side {
            Side::Virtual => (&self.vaddr, 0xffff_ffff, 16),
            Side::Server => (&self.daddr, 0xffff_0000_ffff, 32),
        };
        (rest & (Self::PROTOCOL_AND_TEMPLATE | port_mask)) == v6_rest(t, flags, shift)
            && Self::differs(&self.caddr, V6::words(t.client)) == 0
            && Self::differs(other, V6::words(t.other)) == 0
    }

    #[inline(always)]
    fn met(&self, packet: &OnWire<V6>, side: Side) -> Option<Static> {
        let rest = self.rest.load(Relaxed);
        let (ports, protocol) = (u64::from(packet.ports), u64::from(packet.protocol) << 48);
        let [source, destination] = packet.addresses.map(|[low, high]| (low, high));
        let difference = match side {
            Side::Virtual => {
                (rest & (Self::PROTOCOL_AND_TEMPLATE | 0xffff_ffff) ^ (protocol | ports))
                    | Self::differs(&self.caddr, source)
                    | Self::differs(&self.vaddr, destination)
            }
            Side::Server => {
                let ports = ports >> 16 | (ports & 0xffff) << 32;
                (rest & (Self::PROTOCOL_AND_TEMPLATE | 0xffff_0000_ffff) ^ (protocol | ports))
                    | Self::differs(&self.caddr, destination)
                    | Self::differs(&self.daddr, source)
            }
        };
        (difference == 0).then(|| Static {
            // Not a template's.
            flags: (rest >> 56) as u8,
            server: ServerId(self.server.load(Relaxed)),
        })
    }

    fn same_client(&self, t: &Tuple<u128>) -> bool {
        let want = port(t.client_port) | u64::from(t.protocol) << 48;
        self.rest.load(Relaxed) & (Self::PROTOCOL_AND_TEMPLATE | 0xffff) == want
            && Self::differs(&self.caddr, V6::words(t.client)) == 0
    }

    #[inline]
    fn load(&self) -> Key<u128> {
        let rest = self.rest.load(Relaxed);
        Key {
            protocol: (rest >> 48) as u8,
            flags: (rest >> 56) as u8 & !TEMPLATE,
            template: rest >> 63 == 1,
            caddr: Self::address(&self.caddr),
            cport: (rest as u16).swap_bytes(),
            vaddr: Self::address(&self.vaddr),
            vport: ((rest >> 16) as u16).swap_bytes(),
            daddr: Self::address(&self.daddr),
            dport: ((rest >> 32) as u16).swap_bytes(),
        }
    }

    #[inline]
    fn replacement(&self, side: Side) -> ((u64, u64), u16) {
        let rest = self.rest.load(Relaxed);
        match side {
            Side::Virtual => (Self::words(&self.daddr), (rest >> 32) as u16),
            Side::Server => (Self::words(&self.vaddr), (rest >> 16) as u16),
        }
    }

    #[inline]
    fn server(&self) -> u32 {
        self.server.load(Relaxed)
    }

    #[inline]
    fn is_template(&self) -> bool {
        self.rest.load(Relaxed) >> 63 == 1
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every field survives, and a tuple matches on exactly its side and kind.
    fn check<F: Family>(
        key: Key<F::Addr>,
        on_wire: impl Fn(&Tuple<F::Addr>, Side) -> OnWire<F>,
        wrong: impl Fn(Tuple<F::Addr>) -> Vec<Tuple<F::Addr>>,
    ) {
        let cells = F::Cells::zeroed();
        cells.claim(&key.client_tuple(), key.template);
        assert!(cells.matches(&key.client_tuple(), Side::Virtual, key.template));
        cells.complete(key.daddr, key.dport, 0xfeed_face, key.flags);
        assert_eq!(cells.load(), key);
        assert_eq!(
            (cells.server(), cells.is_template()),
            (0xfeed_face, key.template)
        );
        assert_eq!(cells.same_client(&key.client_tuple()), !key.template);
        for (side, tuple) in [
            (Side::Virtual, key.client_tuple()),
            (Side::Server, key.server_tuple()),
        ] {
            assert!(cells.matches(&tuple, side, key.template));
            assert!(!cells.matches(&tuple, side, !key.template));
            let packet = on_wire(&tuple, side);
            assert_eq!(packet.tuple(side), tuple);
            let found = (!key.template).then_some(Static {
                flags: key.flags,
                server: ServerId(0xfeed_face),
            });
            assert_eq!(cells.met(&packet, side), found);
            for tuple in wrong(tuple) {
                assert!(
                    !cells.matches(&tuple, side, key.template),
                    "{tuple:?} is not {key:?} seen from {side:?}"
                );
                assert_eq!(cells.met(&on_wire(&tuple, side), side), None);
            }
        }
    }

    /// A packet's header bytes, by way of the network's byte order.
    fn ports(t: (u16, u16), side: Side) -> u32 {
        let (client, other) = (t.0.to_be_bytes(), t.1.to_be_bytes());
        let (source, destination) = match side {
            Side::Virtual => (client, other),
            Side::Server => (other, client),
        };
        u32::from_le_bytes([source[0], source[1], destination[0], destination[1]])
    }

    fn on_wire4(t: &Tuple<u32>, side: Side) -> OnWire<V4> {
        let (client, other) = (t.client.to_be_bytes(), t.other.to_be_bytes());
        let pair = match side {
            Side::Virtual => [client, other],
            Side::Server => [other, client],
        };
        OnWire {
            addresses: u64::from_le_bytes(pair.concat().try_into().expect("twice four bytes")),
            ports: ports((t.client_port, t.other_port), side),
            protocol: t.protocol,
        }
    }

    fn on_wire6(t: &Tuple<u128>, side: Side) -> OnWire<V6> {
        let words = |a: u128| {
            let bytes = a.to_be_bytes();
            let half =
                |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
            [half(0), half(8)]
        };
        let (client, other) = (words(t.client), words(t.other));
        OnWire {
            addresses: match side {
                Side::Virtual => [client, other],
                Side::Server => [other, client],
            },
            ports: ports((t.client_port, t.other_port), side),
            protocol: t.protocol,
        }
    }

    /// The tuple with one bit of one field flipped.
    fn neighbours<A: Copy>(t: Tuple<A>, flip: impl Fn(A) -> A, bit: u32) -> Vec<Tuple<A>> {
        vec![
            Tuple {
                protocol: t.protocol ^ 1 << (bit % 8),
                ..t
            },
            Tuple {
                client: flip(t.client),
                ..t
            },
            Tuple {
                client_port: t.client_port ^ 1 << (bit % 16),
                ..t
            },
            Tuple {
                other: flip(t.other),
                ..t
            },
            Tuple {
                other_port: t.other_port ^ 1 << (bit % 16),
                ..t
            },
        ]
    }

    proptest! {
        #[test]
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
        fn keys_survive(a: [u128; 3], p: [u16; 3], protocol: u8, flags in 0_u8..128, template: bool, bit in 0_u32..128) {
            let key = Key { protocol, flags, template, caddr: a[0], cport: p[0], vaddr: a[1], vport: p[1], daddr: a[2], dport: p[2] };
            check::<V6>(key, on_wire6, |t| neighbours(t, |x| x ^ 1 << bit, bit));
            let key = Key {
                protocol, flags, template, caddr: a[0] as u32, cport: p[0], vaddr: a[1] as u32, vport: p[1], daddr: a[2] as u32, dport: p[2],
            };
            check::<V4>(key, on_wire4, |t| neighbours(t, |x| x ^ 1 << (bit % 32), bit));
        }
    }
}
