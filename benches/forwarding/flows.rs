//! Frames with real headers: UDP over IPv4 from clients drawn uniformly at random.

use crate::forward::BURST;
use arrayvec::ArrayVec;
use dpdk::Mbuf;
use std::net::Ipv4Addr;
use wire::Frame;

/// Writes what a generator would have sent into frames just received.
pub trait Stamper {
    fn stamp(&mut self, burst: &mut ArrayVec<Mbuf, BURST>);
}

/// Leaves frames as the null port made them.
pub struct Unstamped;

impl Stamper for Unstamped {
    #[inline]
    fn stamp(&mut self, _: &mut ArrayVec<Mbuf, BURST>) {}
}

/// The virtual service frames are sent to.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Its port.
pub const VPORT: u16 = 80;
/// The director's MAC address frames are sent to.
pub const DIRECTOR: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The MAC address frames come from.
pub const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Bytes of a frame of 64 with its checksum.
pub const FRAME: usize = 60;
/// Ports each client address uses.
const PORTS: u32 = 16384;
const FIRST_PORT: u16 = 1024;
const FIRST_CLIENT: u32 = u32::from_be_bytes([10, 0, 0, 0]);

/// Stamps each frame with one of `flows` clients.
pub struct Stamp {
    template: [u8; FRAME],
    /// Sums of the headers' 16-bit words without the client's.
    ip_sum: u32,
    udp_sum: u32,
    flows: u32,
    random: u64,
}

impl Stamp {
    pub fn new(flows: u32) -> Self {
        let mut template = [0; FRAME];
        template[..6].copy_from_slice(&DIRECTOR);
        template[6..12].copy_from_slice(&CLIENT);
        template[12..14].copy_from_slice(&[8, 0]);
        // Version and header length, type of service, total length, id, no fragments, TTL 64, UDP.
        template[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 1, 0x40, 0, 64, 17]);
        template[30..34].copy_from_slice(&VIP.octets());
        template[36..38].copy_from_slice(&VPORT.to_be_bytes());
        template[38..40].copy_from_slice(&26_u16.to_be_bytes());
        template[42..].copy_from_slice(b"eighteen bytes in.");
        let ip_sum = sum(&template[14..34]);
        let udp_sum = sum(&template[30..]) + 17 + 26;
        Self {
            template,
            ip_sum,
            udp_sum,
            flows,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Source address and port of flow `index`.
    pub fn client(index: u32) -> (u32, u16) {
        let port = FIRST_PORT + u16::try_from(index % PORTS).unwrap_or(0);
        (FIRST_CLIENT + 1 + index / PORTS, port)
    }

    /// Writes a packet of flow `index` over a frame of [`FRAME`] bytes.
    #[inline]
    pub fn write(&self, index: u32, frame: &mut Mbuf) {
        let (client, port) = Self::client(index);
        let words = (client >> 16) + (client & 0xffff);
        let ip = fold(self.ip_sum + words);
        let udp = fold(self.udp_sum + words + u32::from(port));
        let Some(bytes) = frame.head_mut().first_chunk_mut::<FRAME>() else {
            return;
        };
        *bytes = self.template;
        bytes[24..26].copy_from_slice(&ip.to_be_bytes());
        bytes[26..30].copy_from_slice(&client.to_be_bytes());
        bytes[34..36].copy_from_slice(&port.to_be_bytes());
        bytes[40..42].copy_from_slice(&udp.to_be_bytes());
    }

    #[inline]
    fn next(&mut self) -> u32 {
        // xorshift64, Marsaglia 2003.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from((u64::from(self.flows) * (self.random >> 32)) >> 32).unwrap_or(0)
    }
}

impl Stamper for Stamp {
    #[inline]
    fn stamp(&mut self, burst: &mut ArrayVec<Mbuf, BURST>) {
        for frame in burst {
            let flow = self.next();
            frame.truncate(FRAME);
            self.write(flow, frame);
        }
    }
}

/// Sum of big-endian 16-bit words (RFC 1071), not folded.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum()
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    !((once & 0xffff) + (once >> 16)) as u16
}
