//! A glance at a frame: whether it is what nearly every packet is, a whole TCP or UDP packet behind a header without
//! options, untagged, for the port's MAC. It says yes only where [`super::parse`] finds the same facts; of everything
//! else, also of what is to be dropped, it knows nothing.

use super::{
    Ends,
    parse::{forbidden_source4, forbidden_source6},
};
use types::MacAddr;
use wire::{
    Ethernet, Frame, FromBytes, Plain4, Plain6, RxChecksum, TcpRest, Upper, checksum, ethernet,
    ipv4, ipv6, protocol, tcp, udp,
};

/// A frame for a port's MAC, untagged, about which the port has found nothing wrong.
pub(crate) struct Glance<'f> {
    /// What is in it.
    pub ethertype: u16,
    head: &'f [u8],
    /// Bytes from the IP header to the end of the frame, over all segments.
    behind: usize,
    /// The port has checked the IP header's checksum.
    is_checked: bool,
}

impl<'f> Glance<'f> {
    /// A glance at a frame received on a port of this MAC that has an untagged interface.
    #[inline(always)]
    pub fn of<F: Frame>(frame: &'f F, mac: MacAddr) -> Option<Self> {
        let is_checked = if frame.is_unjudged() {
            false
        } else {
            judged(frame)?
        };
        let head = frame.head();
        let behind = frame.total_len().checked_sub(ethernet::LEN)?;
        let (ether, _) = Ethernet::ref_from_prefix(head).ok()?;
        (ether.destination == mac.0).then(|| Self {
            ethertype: ether.ethertype.get(),
            head,
            behind,
            is_checked,
        })
    }

    /// The ends of a plain IPv4 packet.
    #[inline(always)]
    pub fn plain4(&self) -> Option<Ends<u32>> {
        let (plain, rest) = Plain4::ref_from_prefix(self.head).ok()?;
        let ip = &plain.ip;
        let total = usize::from(ip.total_len.get());
        if ip.version_ihl != 0x45 || ip.is_fragment() || total > self.behind {
            return None;
        }
        let (source, destination) = (ip.source.get(), ip.destination.get());
        if !(self.is_checked || checksum::is_right_plain_header(ip.as_array()))
            || forbidden_source4(source, destination)
        {
            return None;
        }
        let len = total.checked_sub(ipv4::LEN)?;
        has_header(ip.protocol, &plain.upper, rest, len)
            .then(|| ends(ip.protocol, source, destination, &plain.upper))
    }

    /// The ends of a plain IPv6 packet.
    #[inline(always)]
    pub fn plain6(&self) -> Option<Ends<u128>> {
        let (plain, rest) = Plain6::ref_from_prefix(self.head).ok()?;
        let ip = &plain.ip;
        let len = usize::from(ip.payload_len.get());
        let total = len + ipv6::LEN;
        let source = ip.source();
        if ip.version() != 6
            || total > self.behind
            || total > usize::from(u16::MAX)
            || forbidden_source6(source)
        {
            return None;
        }
        has_header(ip.next_header, &plain.upper, rest, len)
            .then(|| ends(ip.next_header, source, ip.destination(), &plain.upper))
    }
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

#[inline(always)]
fn ends<A>(protocol: u8, source: A, destination: A, upper: &Upper) -> Ends<A> {
    Ends {
        protocol,
        source,
        source_port: upper.source.get(),
        destination,
        destination_port: upper.destination.get(),
    }
}

/// Whether a packet of `len` bytes behind the IP header has a whole and sound TCP or UDP header, of which `rest` is what
/// the first segment has behind [`Upper`].
#[inline(always)]
fn has_header(protocol: u8, upper: &Upper, rest: &[u8], len: usize) -> bool {
    match protocol {
        protocol::UDP => {
            let said = usize::from(upper.udp_len.get());
            said >= udp::LEN && said <= len
        }
        protocol::TCP => TcpRest::ref_from_prefix(rest).is_ok_and(|(tcp, _)| {
            let header = usize::from(tcp.data_offset >> 4) * 4;
            let there = len.min(rest.len() + size_of::<Upper>());
            header >= tcp::LEN && header <= there
        }),
        _ => false,
    }
}
