//! Packets of the director's own: an IP header in an empty frame, and room behind it.

use std::net::IpAddr;
use wire::{Frame, FromBytes, Ipv4, Ipv6, Sum, U16, U32, ethernet, ipv4, ipv6};

/// What the IP header of a packet of our own says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// One of our addresses.
    pub source: IpAddr,
    /// Of the same family.
    pub destination: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// TTL, hop limit.
    pub ttl: u8,
    /// IPv4: the identification. `None`: "don't fragment" and 0, as Linux sends resets.
    pub id: Option<u16>,
}

impl Header {
    /// Bytes of the header.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.destination {
            IpAddr::V4(_) => ipv4::LEN,
            IpAddr::V6(_) => ipv6::LEN,
        }
    }

    /// The sum over the pseudo-header for `len` bytes of payload; nothing for ICMP over IPv4.
    #[must_use]
    pub fn pseudo(&self, len: usize) -> Sum {
        let short = u16::try_from(len).unwrap_or(u16::MAX);
        match (self.source, self.destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) if self.protocol == wire::protocol::ICMP => Sum::new(),
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                Sum::pseudo4(s.to_bits(), d.to_bits(), self.protocol, short)
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                Sum::pseudo6(s.to_bits(), d.to_bits(), self.protocol, short.into())
            }
            _ => Sum::new(),
        }
    }
}

/// Where the IP header stands in a frame begun by [`begin`].
pub(crate) const L3: u8 = 14;
const _: () = assert!(L3 as usize == ethernet::LEN);

/// Writes `header` into the empty `frame` behind room for the link header, and gives back the `payload` bytes behind
/// it, all zero. `None` if the frame has no room for them.
pub(crate) fn begin<'f, F: Frame>(
    frame: &'f mut F,
    header: &Header,
    payload: usize,
) -> Option<&'f mut [u8]> {
    if !frame.append(usize::from(L3) + header.len() + payload) {
        return None;
    }
    let packet = frame.head_mut().get_mut(usize::from(L3)..)?;
    packet.fill(0);
    let (ip, rest) = packet.split_at_mut_checked(header.len())?;
    match (header.source, header.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let ip = Ipv4::mut_from_bytes(ip).ok()?;
            ip.version_ihl = 0x45;
            ip.tos = header.tos;
            ip.total_len = U16::new(u16::try_from(ipv4::LEN + payload).ok()?);
            ip.id = U16::new(header.id.unwrap_or(0));
            ip.fragment = U16::new(if header.id.is_some() {
                0
            } else {
                ipv4::DONT_FRAGMENT
            });
            ip.ttl = header.ttl;
            ip.protocol = header.protocol;
            ip.source = U32::new(source.to_bits());
            ip.destination = U32::new(destination.to_bits());
            ip.fill_checksum();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = Ipv6::mut_from_bytes(ip).ok()?;
            ip.version_class_flow = Ipv6::class(header.tos);
            ip.payload_len = U16::new(u16::try_from(payload).ok()?);
            ip.next_header = header.protocol;
            ip.hop_limit = header.ttl;
            ip.source = source.octets();
            ip.destination = destination.octets();
        }
        _ => return None,
    }
    Some(rest)
}

/// Computes the checksum at `at` of a finished payload whose field still is zero.
pub(crate) fn seal(header: &Header, payload: &mut [u8], at: usize) {
    let mut sum = header.pseudo(payload.len());
    sum.add(payload);
    if let Some(field) = payload.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *field = sum.finish().to_be_bytes();
    }
}

/// Copies up to `to.len()` bytes of `frame` from `from` on, across segments. The bytes copied.
pub(crate) fn copy<F: Frame>(frame: &F, from: usize, to: &mut [u8]) -> usize {
    let (mut skip, mut done) = (from, 0);
    frame.segments(&mut |segment| {
        let start = skip.min(segment.len());
        skip -= start;
        let (Some(source), Some(target)) = (segment.get(start..), to.get_mut(done..)) else {
            return;
        };
        let n = source.len().min(target.len());
        for (to, from) in target.iter_mut().zip(source) {
            *to = *from;
        }
        done += n;
    });
    done
}

/// Whether the checksum of the upper layer is right: `len` bytes from `l4` on, over the pseudo-header of `header`.
pub(crate) fn verify<F: Frame>(frame: &F, pseudo: Sum, l4: usize, len: usize) -> bool {
    let mut sum = pseudo;
    sum.add16(crate::transmit::sum_of(frame, l4, len).folded());
    sum.finish() == 0
}
