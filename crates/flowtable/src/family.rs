//! IPv4 and IPv6: how a connection's key is kept in atomics.

use rcu::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::{fmt::Debug, hash::Hash};

/// An address family with its own entry layout.
pub trait Family: sealed::Sealed + Copy + Debug + Send + Sync + 'static {
    /// The address in host byte order.
    type Addr: Copy + Eq + Ord + Hash + Debug + Default + Send + Sync + 'static;
    #[doc(hidden)]
    type Cells: KeyCells<Addr = Self::Addr>;
    #[doc(hidden)]
    const ONE_WORD: bool;
    #[doc(hidden)]
    fn words(address: Self::Addr) -> (u64, u64);
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
    const ONE_WORD: bool = true;
    #[inline]
    fn words(address: u32) -> (u64, u64) {
        (u64::from(address), 0)
    }
}

impl Family for V6 {
    type Addr = u128;
    type Cells = V6Cells;
    const ONE_WORD: bool = false;
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    fn words(address: u128) -> (u64, u64) {
        (address as u64, (address >> 64) as u64)
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

/// The flag bit that makes an entry a template.
const TEMPLATE: u8 = 0x80;

/// A key in atomics. Loads and stores are relaxed: the state word orders them.
pub trait KeyCells: Send + Sync {
    type Addr: Copy;
    fn zeroed() -> Self;
    /// By a claimant: the part that claims are compared by.
    fn claim(&self, t: &Tuple<Self::Addr>, template: bool);
    /// By the winner: the rest.
    fn complete(&self, daddr: Self::Addr, dport: u16, server: u32, flags: u8);
    fn matches(&self, t: &Tuple<Self::Addr>, side: Side, template: bool) -> bool;
    /// Not a template, and of the same client endpoint.
    fn same_client(&self, t: &Tuple<Self::Addr>) -> bool;
    fn load(&self) -> Key<Self::Addr>;
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
    /// dport | protocol << 16 | flags << 24
    rest: AtomicU32,
    server: AtomicU32,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "fields are cut out of words"
)]
impl KeyCells for V4Cells {
    type Addr = u32;

    fn zeroed() -> Self {
        let word = || AtomicU64::new(0);
        Self {
            addresses: word(),
            server_and_ports: word(),
            rest: AtomicU32::new(0),
            server: AtomicU32::new(0),
        }
    }

    fn claim(&self, t: &Tuple<u32>, template: bool) {
        self.addresses
            .store(u64::from(t.client) | u64::from(t.other) << 32, Relaxed);
        self.server_and_ports.store(
            u64::from(t.client_port) << 32 | u64::from(t.other_port) << 48,
            Relaxed,
        );
        let flags = if template { TEMPLATE } else { 0 };
        self.rest.store(
            u32::from(t.protocol) << 16 | u32::from(flags) << 24,
            Relaxed,
        );
    }

    fn complete(&self, daddr: u32, dport: u16, server: u32, flags: u8) {
        let ports = self.server_and_ports.load(Relaxed) >> 32 << 32;
        self.server_and_ports
            .store(ports | u64::from(daddr), Relaxed);
        let claimed = self.rest.load(Relaxed);
        self.rest.store(
            claimed | u32::from(flags & !TEMPLATE) << 24 | u32::from(dport),
            Relaxed,
        );
        self.server.store(server, Relaxed);
    }

    #[inline]
    fn matches(&self, t: &Tuple<u32>, side: Side, template: bool) -> bool {
        let addresses = self.addresses.load(Relaxed);
        let server_and_ports = self.server_and_ports.load(Relaxed);
        let rest = self.rest.load(Relaxed);
        let (cport, port) = (u64::from(t.client_port), u64::from(t.other_port));
        // One expression of differences: the compiler needs no branch per field.
        let difference = match side {
            Side::Virtual => {
                (addresses ^ (u64::from(t.client) | u64::from(t.other) << 32))
                    | ((server_and_ports >> 32) ^ (cport | port << 16))
                    | u64::from((rest >> 16 & 0xff) ^ u32::from(t.protocol))
            }
            Side::Server => {
                u64::from(addresses as u32 ^ t.client)
                    | ((server_and_ports & 0xffff_ffff_ffff) ^ (u64::from(t.other) | cport << 32))
                    | u64::from(
                        (rest & 0xff_ffff)
                            ^ (u32::from(t.other_port) | u32::from(t.protocol) << 16),
                    )
            }
        };
        difference | u64::from(rest >> 31 ^ u32::from(template)) == 0
    }

    fn same_client(&self, t: &Tuple<u32>) -> bool {
        let rest = self.rest.load(Relaxed);
        self.addresses.load(Relaxed) as u32 == t.client
            && (self.server_and_ports.load(Relaxed) >> 32) as u16 == t.client_port
            && (rest >> 16) as u8 == t.protocol
            && rest >> 31 == 0
    }

    #[inline]
    fn load(&self) -> Key<u32> {
        let addresses = self.addresses.load(Relaxed);
        let server_and_ports = self.server_and_ports.load(Relaxed);
        let rest = self.rest.load(Relaxed);
        Key {
            protocol: (rest >> 16) as u8,
            flags: (rest >> 24) as u8 & !TEMPLATE,
            template: rest >> 31 == 1,
            caddr: addresses as u32,
            cport: (server_and_ports >> 32) as u16,
            vaddr: (addresses >> 32) as u32,
            vport: (server_and_ports >> 48) as u16,
            daddr: server_and_ports as u32,
            dport: rest as u16,
        }
    }

    #[inline]
    fn server(&self) -> u32 {
        self.server.load(Relaxed)
    }

    #[inline]
    fn is_template(&self) -> bool {
        self.rest.load(Relaxed) >> 31 == 1
    }
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
    fn same(cells: &[AtomicU64; 2], address: u128) -> bool {
        let (low, high) = V6::words(address);
        (cells[0].load(Relaxed) ^ low) | (cells[1].load(Relaxed) ^ high) == 0
    }

    fn store(cells: &[AtomicU64; 2], address: u128) {
        let (low, high) = V6::words(address);
        cells[0].store(low, Relaxed);
        cells[1].store(high, Relaxed);
    }

    #[inline]
    fn address(cells: &[AtomicU64; 2]) -> u128 {
        u128::from(cells[0].load(Relaxed)) | u128::from(cells[1].load(Relaxed)) << 64
    }
}

#[inline]
fn v6_rest(t: &Tuple<u128>, flags: u8, other_shift: u32) -> u64 {
    u64::from(t.client_port)
        | u64::from(t.other_port) << other_shift
        | u64::from(t.protocol) << 48
        | u64::from(flags) << 56
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "fields are cut out of words"
)]
impl KeyCells for V6Cells {
    type Addr = u128;

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
        let rest =
            self.rest.load(Relaxed) | u64::from(dport) << 32 | u64::from(flags & !TEMPLATE) << 56;
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
            && Self::same(&self.caddr, t.client)
            && Self::same(other, t.other)
    }

    fn same_client(&self, t: &Tuple<u128>) -> bool {
        let want = u64::from(t.client_port) | u64::from(t.protocol) << 48;
        self.rest.load(Relaxed) & (Self::PROTOCOL_AND_TEMPLATE | 0xffff) == want
            && Self::same(&self.caddr, t.client)
    }

    #[inline]
    fn load(&self) -> Key<u128> {
        let rest = self.rest.load(Relaxed);
        Key {
            protocol: (rest >> 48) as u8,
            flags: (rest >> 56) as u8 & !TEMPLATE,
            template: rest >> 63 == 1,
            caddr: Self::address(&self.caddr),
            cport: rest as u16,
            vaddr: Self::address(&self.vaddr),
            vport: (rest >> 16) as u16,
            daddr: Self::address(&self.daddr),
            dport: (rest >> 32) as u16,
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
    fn check<F: Family>(key: Key<F::Addr>, wrong: impl Fn(Tuple<F::Addr>) -> Vec<Tuple<F::Addr>>) {
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
            for tuple in wrong(tuple) {
                assert!(
                    !cells.matches(&tuple, side, key.template),
                    "{tuple:?} is not {key:?} seen from {side:?}"
                );
            }
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
            check::<V6>(key, |t| neighbours(t, |x| x ^ 1 << bit, bit));
            let key = Key {
                protocol, flags, template, caddr: a[0] as u32, cport: p[0], vaddr: a[1] as u32, vport: p[1], daddr: a[2] as u32, dport: p[2],
            };
            check::<V4>(key, |t| neighbours(t, |x| x ^ 1 << (bit % 32), bit));
        }
    }
}
