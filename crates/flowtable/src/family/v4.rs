//! The key of an IPv4 connection.

use super::{Family, Key, KeyCells, OnWire, Side, Static, TEMPLATE, Tuple, V4, port};
use rcu::sync::{AtomicU64, Ordering::Relaxed};
use types::ServerId;

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
