//! Frames with real headers: of clients drawn uniformly at random, or of servers that answer them.

use crate::{
    forward::BURST,
    path::{Path, Syn},
};
use arrayvec::ArrayVec;
use dpdk::Mbuf;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use types::Protocol;
use wire::{Frame, Sum, ipv4, tcp};

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

/// Real servers of the service.
pub const SERVERS: u8 = 8;
/// The port of the virtual service, and of the servers that are not behind NAT.
pub const VPORT: u16 = 80;
/// The servers' port behind NAT.
pub const SERVER_PORT: u16 = 8080;
/// The director's MAC addresses, on the clients' and on the servers' side.
pub const DIRECTOR: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 3]];
/// The MAC address frames come from.
pub const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Bytes of the largest frame: IPv6, TCP and six of data.
const ROOM: usize = 96;
/// Ports each client address uses.
const PORTS: u32 = 16384;
const FIRST_PORT: u16 = 1024;

/// The virtual service's address.
pub fn vip(is_ipv6: bool) -> IpAddr {
    if is_ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10).into()
    } else {
        Ipv4Addr::new(192, 0, 2, 10).into()
    }
}

/// A server's address.
pub fn server(number: u8, is_ipv6: bool) -> IpAddr {
    if is_ipv6 {
        Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 11 + u16::from(number)).into()
    } else {
        Ipv4Addr::new(10, 200, 0, 11 + number).into()
    }
}

/// The first client's address; the others' differ from it in the last 32 bits.
fn first_client(is_ipv6: bool) -> IpAddr {
    if is_ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0).into()
    } else {
        Ipv4Addr::new(10, 0, 0, 0).into()
    }
}

/// Stamps each frame with one of a number of flows.
pub struct Stamp {
    /// A packet of the flow of client 0 and server 0, its checksums of everything but client and server.
    template: [u8; ROOM],
    /// Bytes of a frame.
    pub len: usize,
    path: Path,
    ip_sum: u32,
    upper_sum: u32,
    /// Which server answers each flow; for replies.
    servers: Vec<u8>,
    flows: u32,
    random: u64,
    /// Flows to draw in turn; empty: uniformly at random.
    drawn: Vec<u32>,
}

/// How flows are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// Flow k with a probability of about 1/k.
    Zipf,
}

/// Draws of a Zipf distribution that are made before the clock starts, and then repeated.
const DRAWN: usize = 1 << 18;

impl Stamp {
    /// Draws as `distribution` says from now on.
    #[must_use]
    pub fn drawing(mut self, distribution: Distribution) -> Self {
        self.drawn.clear();
        if distribution == Distribution::Zipf {
            let flows = f64::from(self.flows);
            for _ in 0..DRAWN {
                let uniform = f64::from(self.next_below(u32::MAX)) / f64::from(u32::MAX);
                // The inverse of the continuous 1/k distribution. Popular flows shall not be neighbours in the table, which they
                // are not: it is hashed.
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "below `flows`"
                )]
                let flow = flows.powf(uniform) as u32;
                self.drawn.push(flow.saturating_sub(1).min(self.flows - 1));
            }
        }
        self
    }

    /// The same packets in another order.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.random ^= seed;
        self
    }

    /// Frames of `path`; for replies, `servers` says which server each flow has.
    pub fn new(path: Path, flows: u32, servers: Vec<u8>) -> Self {
        let client = first_client(path.is_ipv6);
        let (from, to, ports) = if path.is_reply {
            let zero = server(0, path.is_ipv6);
            (zero, client, (SERVER_PORT, FIRST_PORT))
        } else {
            (client, vip(path.is_ipv6), (FIRST_PORT, VPORT))
        };
        let mut bytes = Vec::with_capacity(ROOM);
        bytes.extend(DIRECTOR[usize::from(path.is_reply)]);
        bytes.extend(NEIGHBOUR);
        let upper = upper(path, ports);
        let len = u16::try_from(upper.len()).unwrap_or(0);
        let number = path.protocol.number();
        let pseudo = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                bytes.extend([8, 0, 0x45, 0]);
                bytes.extend((20 + len).to_be_bytes());
                bytes.extend([0, 1, 0x40, 0, 64, number, 0, 0]);
                bytes.extend(from.octets());
                bytes.extend(to.octets());
                Sum::pseudo4(blank4(from), blank4(to), number, len)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                bytes.extend(len.to_be_bytes());
                bytes.extend([number, 64]);
                bytes.extend(from.octets());
                bytes.extend(to.octets());
                Sum::pseudo6(blank6(from), blank6(to), number, len.into())
            }
            _ => Sum::new(),
        };
        let mut upper_sum = pseudo;
        upper_sum.add(&upper);
        bytes.extend(upper);
        let len = bytes.len();
        bytes.resize(ROOM, 0);
        let mut stamp = Self {
            template: bytes.try_into().unwrap_or([0; ROOM]),
            len,
            path,
            ip_sum: 0,
            upper_sum: 0,
            servers,
            flows,
            random: 0x9e37_79b9_7f4a_7c15,
            drawn: Vec::new(),
        };
        // What varies is added to the sums anew for each frame.
        let [source, destination] = stamp.varying();
        let mut blank = stamp.template;
        blank[source..source + 4].fill(0);
        blank[destination..destination + 4].fill(0);
        let mut ip_sum = Sum::new();
        ip_sum.add(&blank[14..14 + ipv4::LEN]);
        (stamp.ip_sum, stamp.upper_sum) = (ip_sum.folded().into(), upper_sum.folded().into());
        stamp
    }

    /// Which servers the flows from `first` on have.
    pub fn set_servers(&mut self, first: u32, servers: &[u8]) {
        let first = first as usize;
        if self.servers.len() < first + servers.len() {
            self.servers.resize(first + servers.len(), 0);
        }
        self.servers[first..first + servers.len()].copy_from_slice(servers);
    }

    /// TCP flags of the frames to come.
    pub fn set_tcp_flags(&mut self, flags: u8) {
        if self.path.protocol == Protocol::Tcp {
            let at = self.upper_at() + 13;
            let was = std::mem::replace(&mut self.template[at], flags);
            self.upper_sum += 0xffff + u32::from(flags) - u32::from(was);
        }
    }

    /// Where the last 32 bits of source and destination stand.
    fn varying(&self) -> [usize; 2] {
        if self.path.is_ipv6 {
            [34, 50]
        } else {
            [26, 30]
        }
    }

    fn upper_at(&self) -> usize {
        if self.path.is_ipv6 { 54 } else { 34 }
    }

    /// Writes a packet of flow `index` into a frame of any length.
    #[inline]
    pub fn write(&self, index: u32, frame: &mut Mbuf) {
        frame.truncate(self.len);
        let short = self.len - frame.total_len();
        if short > 0 && !frame.append(short) {
            return;
        }
        let Some(bytes) = frame.head_mut().get_mut(..self.len) else {
            return;
        };
        bytes.copy_from_slice(&self.template[..self.len]);
        let [source, destination] = self.varying();
        let upper = self.upper_at();
        let read =
            |at| u32::from_be_bytes(self.template[at..at + 4].try_into().unwrap_or_default());
        let client_port = FIRST_PORT + u16::try_from(index % PORTS).unwrap_or(0);
        let turned = self.path.is_reply;
        let client = read(if turned { destination } else { source }) + 1 + index / PORTS;
        let other = match self.servers.get(index as usize) {
            Some(number) if turned => read(source) + u32::from(*number),
            _ => read(if turned { source } else { destination }),
        };
        let (from, to, port_at) = if turned {
            (other, client, upper + 2)
        } else {
            (client, other, upper)
        };
        bytes[source..source + 4].copy_from_slice(&from.to_be_bytes());
        bytes[destination..destination + 4].copy_from_slice(&to.to_be_bytes());
        bytes[port_at..port_at + 2].copy_from_slice(&client_port.to_be_bytes());
        let words = (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff);
        if !self.path.is_ipv6 {
            bytes[24..26].copy_from_slice(&fold(self.ip_sum + words).to_be_bytes());
        }
        let sum = fold(self.upper_sum + words + u32::from(client_port - FIRST_PORT));
        let at = upper
            + if self.path.protocol == Protocol::Tcp {
                16
            } else {
                6
            };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }

    #[inline]
    fn next(&mut self) -> u32 {
        if self.drawn.is_empty() {
            return self.next_below(self.flows);
        }
        // The place in the list is kept where the generator's state is.
        self.random = self.random.wrapping_add(1);
        let at = usize::try_from(self.random).unwrap_or(0) % DRAWN;
        self.drawn.get(at).copied().unwrap_or(0)
    }

    #[inline]
    fn next_below(&mut self, end: u32) -> u32 {
        // xorshift64, Marsaglia 2003.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from((u64::from(end) * (self.random >> 32)) >> 32).unwrap_or(0)
    }
}

/// What Linux says in a SYN: segment size 1460, selective acknowledgements, a timestamp, a window scale of 7.
const OPTIONS: [u8; 20] = [
    2, 4, 5, 0xb4, 4, 2, 8, 10, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 1, 3, 3, 7,
];

/// An upper-layer header without checksum, and data.
fn upper(path: Path, (from, to): (u16, u16)) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    if path.syn == Syn::WithOptions {
        // Likewise, with ten words of header.
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0xa0, tcp::SYN, 0xff, 0, 0, 0, 0, 0]);
        bytes.extend(OPTIONS);
    } else if path.protocol == Protocol::Tcp {
        // Sequence and acknowledgement, header length, flags, window, checksum, urgent.
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, tcp::ACK, 0xff, 0, 0, 0, 0, 0]);
        bytes.extend(b"bytes.");
    } else {
        bytes.extend(26_u16.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(b"eighteen bytes in.");
    }
    bytes
}

/// An address without its last 32 bits: those are added for each frame.
fn blank4(_: Ipv4Addr) -> u32 {
    0
}

fn blank6(address: Ipv6Addr) -> u128 {
    address.to_bits() >> 32 << 32
}

impl Stamper for Stamp {
    #[inline]
    fn stamp(&mut self, burst: &mut ArrayVec<Mbuf, BURST>) {
        for frame in burst {
            let flow = self.next();
            self.write(flow, frame);
        }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    !((once & 0xffff) + (once >> 16)) as u16
}
