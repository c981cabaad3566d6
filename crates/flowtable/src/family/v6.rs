//! The key of an IPv6 connection.

use super::{Family, Key, KeyCells, OnWire, Side, Static, TEMPLATE, Tuple, V6, port};
use rcu::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};
use types::ServerId;

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
