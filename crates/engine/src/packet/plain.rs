//! A glance at a frame: whether it is what nearly every packet is, a whole TCP or UDP packet behind a header without
//! options, untagged, for the port's MAC. It says yes only where [`super::parse`] finds the same facts; of everything
//! else, also of what is to be dropped, it knows nothing.

use super::parse::{forbidden_source4, forbidden_source6};
use flowtable::{OnWire, V4, V6};
use wire::{
    Frame, FromBytes, Plain4, Plain6, RxChecksum, TcpRest, Upper, checksum, ethernet, ipv4, ipv6,
    plain, protocol, tcp, udp,
};

/// A frame for a port's MAC, untagged, about which the port has found nothing wrong.
#[derive(Clone, Copy)]
pub(crate) struct Glance<'f> {
    head: &'f [u8],
    /// Bytes from the IP header to the end of the frame, over all segments.
    behind: usize,
    /// The port has checked the IP header's checksum.
    is_checked: bool,
    kind: u32,
}

impl<'f> Glance<'f> {
    /// A glance at a frame received on a port of this MAC ([`plain::station`]) that has an untagged interface.
    #[inline(always)]
    pub fn of<F: Frame>(frame: &'f F, station: u64) -> Option<Self> {
        let is_checked = if frame.is_unjudged() {
            false
        } else {
            judged(frame)?
        };
        let head = frame.head();
        let behind = frame.total_len().checked_sub(ethernet::LEN)?;
        // No plain packet is shorter than IPv4's.
        let (plain, _) = Plain4::ref_from_prefix(head).ok()?;
        (plain.station() == station).then(|| Self {
            head,
            behind,
            is_checked,
            kind: plain.kind(),
        })
    }

    /// An IPv4 packet without options, at first sight.
    #[inline(always)]
    pub const fn is4(&self) -> bool {
        self.kind & plain::KIND4_BITS == plain::KIND4
    }

    /// An IPv6 packet, at first sight.
    #[inline(always)]
    pub const fn is6(&self) -> bool {
        self.kind & plain::KIND6_BITS == plain::KIND6
    }

    /// The ends of a plain IPv4 packet, for one that [`Glance::is4`].
    #[inline(always)]
    pub fn plain4(&self) -> Option<OnWire<V4>> {
        let (plain, rest) = Plain4::ref_from_prefix(self.head).ok()?;
        let ip = &plain.ip;
        let total = ip.total_len.get();
        if ip.is_fragment() || usize::from(total) > self.behind {
            return None;
        }
        let words = ip.words();
        if !(self.is_checked || checksum::is_right_plain_header(words)) {
            return None;
        }
        // Read anew: put together of the words, they are a double shift, which costs more than a load.
        let addresses = ip.addresses();
        if !is_ordinary_source4(addresses)
            && forbidden_source4(ip.source.get(), ip.destination.get())
        {
            return None;
        }
        let len = i32::from(total) - HEADER4;
        has_header(ip.protocol, &plain.upper, rest, len).then(|| OnWire {
            addresses,
            ports: plain.upper.ports(),
            protocol: ip.protocol,
        })
    }

    /// The ends of a plain IPv6 packet, for one that [`Glance::is6`].
    #[inline(always)]
    pub fn plain6(&self) -> Option<OnWire<V6>> {
        let (plain, rest) = Plain6::ref_from_prefix(self.head).ok()?;
        let ip = &plain.ip;
        let len = ip.payload_len.get();
        let total = usize::from(len) + ipv6::LEN;
        if total > self.behind || total > usize::from(u16::MAX) {
            return None;
        }
        let addresses = ip.addresses();
        if !is_ordinary_source6(addresses) && forbidden_source6(ip.source()) {
            return None;
        }
        has_header(ip.next_header, &plain.upper, rest, i32::from(len)).then(|| OnWire {
            addresses,
            ports: plain.upper.ports(),
            protocol: ip.next_header,
        })
    }
}

/// Whether a source is one nearly everybody has, by its first octet: 1 to 126 or 128 to 223.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the first octet stands lowest"
)]
const fn is_ordinary_source4(addresses: u64) -> bool {
    let first = addresses as u8;
    first.wrapping_sub(1) < 223 && first != 127
}

/// Likewise: neither multicast nor anything that begins with 0.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the first octet stands lowest"
)]
const fn is_ordinary_source6([[first, _], _]: [[u64; 2]; 2]) -> bool {
    (first as u8).wrapping_sub(1) < 0xfe
}

/// Whether the port has found the IP header's checksum right; `None`: it has stripped a tag, or found something wrong or
/// left to do.
#[inline]
fn judged<F: Frame>(frame: &F) -> Option<bool> {
    if frame.stripped_vlan().is_some() || frame.rx_l4_checksum() == RxChecksum::Partial {
        return None;
    }
    match frame.rx_ip_checksum() {
        RxChecksum::Good => Some(true),
        RxChecksum::Unknown => Some(false),
        RxChecksum::Bad | RxChecksum::Partial => None,
    }
}

/// Bytes of an IPv4 header.
const HEADER4: i32 = 20;
const _: () = assert!(HEADER4 as usize == ipv4::LEN);

/// Whether a packet of `len` bytes behind the IP header (fewer than none, where the total is too small for one) has a whole and
/// sound TCP or UDP header, of which `rest` is what the first segment has behind [`Upper`].
#[inline(always)]
fn has_header(protocol: u8, upper: &Upper, rest: &[u8], len: i32) -> bool {
    match protocol {
        protocol::UDP => {
            let said = upper.udp_len.get();
            usize::from(said) >= udp::LEN && i32::from(said) <= len
        }
        protocol::TCP => TcpRest::ref_from_prefix(rest).is_ok_and(|(tcp, _)| {
            let header = usize::from(tcp.data_offset >> 2 & 0x3c);
            header >= tcp::LEN
                && i32::try_from(header).is_ok_and(|header| header <= len)
                && header <= rest.len() + size_of::<Upper>()
        }),
        _ => false,
    }
}
