//! A fragment read, a whole packet written.

use crate::{
    DropReason,
    packet::{Addresses, Fragment as Kind, Packet, Reassembled, reparse},
};
use types::InterfaceId;
use wire::{Frame, FromBytes, Ipv4, Ipv6, U16, U32, ipv4, ipv6};

/// What fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    addresses: Addresses,
    protocol: u8,
    id: u32,
}

impl Key {
    pub(super) const fn is6(&self) -> bool {
        matches!(self.addresses, Addresses::V6 { .. })
    }

    pub(super) fn hash(&self, key: [u64; 2]) -> u64 {
        let [a, b] = match self.addresses {
            Addresses::V4 {
                source,
                destination,
            } => [u64::from(source), u64::from(destination)],
            Addresses::V6 {
                source,
                destination,
            } => [mix(source, key), mix(destination, key)],
        };
        let rest = u64::from(self.id) << 8 | u64::from(self.protocol);
        fold(
            fold(a ^ key[0], b ^ key[1] ^ SPREAD) ^ rest,
            key[1] ^ SPREAD,
        )
    }

    /// A number for the sender's network: its /24, or its /64.
    pub(super) fn sender(&self, key: [u64; 2]) -> u8 {
        let network = match self.addresses {
            Addresses::V4 { source, .. } => u64::from(source >> 8),
            Addresses::V6 { source, .. } => u64::try_from(source >> 64).unwrap_or(0),
        };
        let [low, ..] = fold(network ^ key[1], key[0] ^ SPREAD).to_le_bytes();
        low
    }
}

/// 2^64 divided by the golden ratio: small keys do as well.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn mix(address: u128, key: [u64; 2]) -> u64 {
    fold((address >> 64) as u64 ^ key[0], address as u64 ^ key[1])
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// A fragment, before it is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    /// Bytes of the frame before its data.
    pub data_at: usize,
    /// Its data's place in the packet.
    pub start: u32,
    /// Behind its last byte.
    pub end: u32,
    /// It is the packet's last.
    pub is_last: bool,
    /// Bytes of the IP packet it is.
    pub len: u16,
    /// "Don't fragment" is set.
    pub dont_fragment: bool,
    /// Its ECN field, as one bit of four.
    pub ecn: u8,
    /// Where its IP header starts.
    pub l3: u8,
    pub interface: InterfaceId,
}

impl Fragment {
    /// `None` if it is malformed.
    pub fn read<F: Frame>(frame: &F, packet: &Packet) -> Option<(Key, Self)> {
        if packet.fragment == Kind::No {
            return None;
        }
        let l3 = usize::from(packet.l3);
        let bytes = frame.head().get(l3..)?;
        let (id, protocol, data_at, units, is_last, dont_fragment, tos) = match packet.addresses {
            Addresses::V4 { .. } => {
                let (ip, _) = Ipv4::ref_from_prefix(bytes).ok()?;
                let field = ip.fragment.get();
                (
                    u32::from(ip.id.get()),
                    ip.protocol,
                    ip.header_len(),
                    field & ipv4::OFFSET_MASK,
                    field & ipv4::MORE_FRAGMENTS == 0,
                    ip.dont_fragment(),
                    ip.tos,
                )
            }
            Addresses::V6 { .. } => {
                let (ip, _) = Ipv6::ref_from_prefix(bytes).ok()?;
                let (at, header) = ipv6::fragment_header(bytes)?;
                (
                    header.id.get(),
                    header.next_header,
                    at.header + ipv6::FRAGMENT_LEN,
                    header.offset_more.get() >> 3,
                    !header.more(),
                    false,
                    ip.traffic_class(),
                )
            }
        };
        let len = u32::from(packet.ip_len).checked_sub(u32::try_from(data_at).ok()?)?;
        let start = u32::from(units) * 8;
        let mut end = start + len;
        if !is_last && end & 7 != 0 {
            // Linux cuts what is not a multiple of 8 under IPv4.
            if matches!(packet.addresses, Addresses::V6 { .. }) {
                return None;
            }
            end &= !7;
        }
        let key = Key {
            addresses: packet.addresses,
            protocol,
            id,
        };
        let fragment = Self {
            data_at: l3 + data_at,
            start,
            end,
            is_last,
            len: packet.ip_len,
            dont_fragment,
            ecn: 1 << (tos & 3),
            l3: packet.l3,
            interface: packet.interface,
        };
        Some((key, fragment))
    }
}

/// A packet put together: one frame, chained of the fragments' buffers.
#[derive(Debug)]
pub(crate) struct Whole<F> {
    /// The frame.
    pub frame: F,
    /// What the parser says of it.
    pub packet: Packet,
    /// Frames that are a part of it now, beside the first.
    pub joined: u64,
}

/// What is known of a packet when its last fragment has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    pub l3: u8,
    pub interface: InterfaceId,
    /// Bytes of data.
    pub len: u32,
    /// Bits of the ECN fields that were seen.
    pub ecn: u8,
    /// The largest fragment.
    pub largest: u16,
    /// "Don't fragment" was set on the largest.
    pub dont_fragment: bool,
    /// Leading fragments that leave as one.
    pub joined: u16,
}

/// The ECN field of the whole (RFC 3168 5.3): `None` if the fragments' contradict each other.
fn ecn(seen: u8) -> Option<u8> {
    const NOT_ECT: u8 = 1;
    const CE: u8 = 1 << 3;
    match seen {
        NOT_ECT => Some(0),
        _ if seen & NOT_ECT != 0 => None,
        _ if seen & CE != 0 => Some(3),
        _ => Some(0),
    }
}

/// Makes the first fragment, behind which the others are chained, the whole packet. `Err`: it cannot be.
pub(super) fn finish<F: Frame>(
    mut frame: F,
    total: &Total,
) -> Result<(F, Packet), (F, DropReason)> {
    match headers(&mut frame, total) {
        Some(packet) => Ok((frame, packet)),
        None => Err((frame, DropReason::FragmentMalformed)),
    }
}

fn headers<F: Frame>(frame: &mut F, total: &Total) -> Option<Packet> {
    let ecn = ecn(total.ecn)?;
    let l3 = usize::from(total.l3);
    let bytes = frame.head_mut().get_mut(l3..)?;
    if bytes.first()? >> 4 == 4 {
        let (ip, _) = Ipv4::mut_from_prefix(bytes).ok()?;
        let len = total.len + u32::try_from(ip.header_len()).ok()?;
        ip.total_len = U16::new(u16::try_from(len).ok()?);
        ip.fragment = U16::new(if total.dont_fragment {
            ipv4::DONT_FRAGMENT
        } else {
            0
        });
        ip.tos |= ecn;
        if !ipv4::fill_checksum(bytes) {
            return None;
        }
    } else {
        let (at, header) = ipv6::fragment_header(bytes)?;
        let len = u32::try_from(at.header - ipv6::LEN).ok()? + total.len;
        let len = u16::try_from(len).ok()?;
        let next = header.next_header;
        let (ip, _) = Ipv6::mut_from_prefix(bytes).ok()?;
        ip.payload_len = U16::new(len);
        let class = u32::from(ecn) << 20;
        ip.version_class_flow = U32::new(ip.version_class_flow.get() | class);
        *bytes.get_mut(at.named)? = next;
        // The fragment header goes: what is in front of it moves up.
        let head = frame.head_mut();
        head.copy_within(..l3 + at.header, ipv6::FRAGMENT_LEN);
        if !frame.strip(ipv6::FRAGMENT_LEN) {
            return None;
        }
    }
    let mut packet = reparse(frame, total.l3, total.interface)?;
    packet.reassembled = Reassembled {
        largest: total.largest,
        joined: total.joined,
    };
    Some(packet)
}
