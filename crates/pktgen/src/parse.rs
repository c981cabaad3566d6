//! Reading a received frame: is it whole, what flow is it of, where is its payload.

use crate::flows::Flow;
use wire::{
    Ethernet, FromBytes, Ipv4, Ipv6, Sum, Tcp, Udp, VlanTag, checksum, ethernet, ipv4, ipv6,
    protocol,
};

/// What a frame is.
#[derive(Clone, Copy, Debug)]
pub struct Parsed<'a> {
    /// Told from other flows by this, nearly always.
    pub flow: u64,
    /// The IP header's checksum is right; IPv6 has none.
    pub ip_checksum_right: bool,
    /// TCP's, UDP's or ICMP's is. `None` if the frame is not in one piece.
    pub upper_checksum_right: Option<bool>,
    /// Behind the upper header.
    pub payload: &'a [u8],
}

/// The network header of a frame: where it begins, and its type.
#[must_use]
#[inline]
pub fn network(frame: &[u8]) -> Option<(usize, u16)> {
    let (ether, rest) = Ethernet::ref_from_prefix(frame).ok()?;
    match ether.ethertype.get() {
        ethernet::VLAN => {
            let (tag, _) = VlanTag::ref_from_prefix(rest).ok()?;
            Some((ethernet::LEN + ethernet::VLAN_LEN, tag.ethertype.get()))
        }
        other => Some((ethernet::LEN, other)),
    }
}

/// Reads a TCP, UDP or echo packet that is no fragment. `bytes` may be the first part of a frame of `total` bytes.
#[must_use]
pub fn parse(bytes: &[u8], total: usize) -> Option<Parsed<'_>> {
    let (ip_at, ethertype) = network(bytes)?;
    let packet = bytes.get(ip_at..)?;
    let room = total.checked_sub(ip_at)?;
    match ethertype {
        ethernet::IPV4 => {
            let (header, _) = Ipv4::ref_from_prefix(packet).ok()?;
            let (header_len, len) = (header.header_len(), usize::from(header.total_len.get()));
            if header.version() != 4
                || header_len < ipv4::LEN
                || len < header_len
                || len > room
                || header.is_fragment()
            {
                return None;
            }
            let (from, to) = (header.source.get(), header.destination.get());
            let upper_len = u16::try_from(len - header_len).ok()?;
            let pseudo = match header.protocol {
                protocol::ICMP => Sum::new(),
                number => Sum::pseudo4(from, to, number, upper_len),
            };
            let upper = Upper {
                protocol: header.protocol,
                pseudo,
                len: upper_len.into(),
                addresses: u64::from(from) << 32 | u64::from(to),
            };
            let right = packet
                .get(..header_len)
                .is_some_and(|header| checksum::of(header) == 0);
            upper.read(packet.get(header_len..)?, right)
        }
        ethernet::IPV6 => {
            let (header, rest) = Ipv6::ref_from_prefix(packet).ok()?;
            let len = usize::from(header.payload_len.get());
            if header.version() != 6 || ipv6::LEN + len > room {
                return None;
            }
            let (from, to) = (header.source(), header.destination());
            let upper = Upper {
                protocol: header.next_header,
                pseudo: Sum::pseudo6(from, to, header.next_header, u32::try_from(len).ok()?),
                len,
                addresses: mix(mix(halves(from)) ^ halves(to)),
            };
            upper.read(rest, true)
        }
        _ => None,
    }
}

/// Addresses and ports of a TCP or UDP packet that is no fragment, as [`crate::flows::Flow`] has them; true if they are IPv6's.
#[must_use]
pub fn flow(bytes: &[u8]) -> Option<(Flow, bool)> {
    let (at, ethertype) = network(bytes)?;
    let packet = bytes.get(at..)?;
    let (addresses, number, upper, is_ipv6) = match ethertype {
        ethernet::IPV4 => {
            let (header, _) = Ipv4::ref_from_prefix(packet).ok()?;
            let addresses = [header.source.get(), header.destination.get()].map(u128::from);
            let upper = packet.get(header.header_len()..)?;
            if header.is_fragment() {
                return None;
            }
            (addresses, header.protocol, upper, false)
        }
        ethernet::IPV6 => {
            let (header, rest) = Ipv6::ref_from_prefix(packet).ok()?;
            let addresses = [header.source(), header.destination()];
            (addresses, header.next_header, rest, true)
        }
        _ => return None,
    };
    let &[a, b, c, d, ..] = upper else {
        return None;
    };
    let ports = [[a, b], [c, d]].map(u16::from_be_bytes);
    matches!(number, protocol::TCP | protocol::UDP).then_some((Flow { addresses, ports }, is_ipv6))
}

struct Upper {
    protocol: u8,
    pseudo: Sum,
    len: usize,
    addresses: u64,
}

impl Upper {
    fn read(self, bytes: &[u8], ip_checksum_right: bool) -> Option<Parsed<'_>> {
        let whole = bytes.get(..self.len);
        let bytes = whole.unwrap_or(bytes);
        let (ports, header_len, checksum) = match self.protocol {
            protocol::UDP => {
                let (header, _) = Udp::ref_from_prefix(bytes).ok()?;
                let ports = (header.source.get(), header.destination.get());
                (ports, wire::udp::LEN, Some(header.checksum.get()))
            }
            protocol::TCP => {
                let (header, _) = Tcp::ref_from_prefix(bytes).ok()?;
                let ports = (header.source.get(), header.destination.get());
                (ports, header.header_len().max(wire::tcp::LEN), None)
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let (header, _) = wire::Icmp::ref_from_prefix(bytes).ok()?;
                // Both directions of an echo: the identifier tells flows apart.
                (
                    (u16::try_from(header.rest.get() >> 16).ok()?, 0),
                    wire::icmp::LEN,
                    None,
                )
            }
            _ => return None,
        };
        let upper_checksum_right = whole.map(|whole| {
            let none = self.protocol == protocol::UDP && checksum == Some(0);
            let mut sum = self.pseudo;
            sum.add(whole);
            none || sum.finish() == 0
        });
        Some(Parsed {
            flow: mix(mix(self.addresses) ^ u64::from(ports.0) << 16 ^ u64::from(ports.1)),
            ip_checksum_right,
            upper_checksum_right,
            payload: bytes.get(header_len..)?,
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
const fn halves(address: u128) -> u64 {
    (address >> 64) as u64 ^ (address as u64).rotate_left(29)
}

/// Spreads a number's bits over all of it (the finaliser of splitmix64, whose parts are Stafford's).
#[inline]
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0..4) {
            if let Some(place) = bytes.get_mut(12..15) {
                place.copy_from_slice(match kind { 0 => &[8, 0, 0x45], 1 => &[0x86, 0xdd, 0x60], 2 => &[0x81, 0, 0], _ => &[8, 0, 0x46] });
            }
            let _ = parse(&bytes, bytes.len());
            let _ = parse(&bytes, 2000);
            let _ = flow(&bytes);
        }
    }
}
