//! Fragmentation of what is larger than the way out takes, and of what came in fragments (`ip_do_fragment`, `ip6_fragment`).

use crate::{
    DropReason, Output,
    context::Context,
    datagram,
    net::NextHop,
    packet::{Addresses, Packet},
    transmit,
};
use types::PortId;
use wire::{
    FragmentHeader, Frame, FromBytes, IntoBytes, Ipv4, RxChecksum, U16, U32, ethernet,
    ipv4::{self, DONT_FRAGMENT, MORE_FRAGMENTS, OFFSET_MASK},
    ipv6, protocol,
};

/// Bytes of data that a fragment fits into any buffer with: an ordinary Ethernet's.
const ORDINARY: usize = 1440;
/// Bytes in front of the data that are the same in all fragments: an IPv4 header, an IPv6 header with hop-by-hop options and a
/// routing header.
const LONGEST: usize = 256;

/// Where fragments go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    /// The next hop.
    Hop(NextHop),
    /// The host stack behind a port, as if they had just come.
    Host(PortId),
}

/// How a packet is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Evenly, as large as goes.
    Even,
    /// As it came, if no piece is too large; the packet's `reassembled.joined` pieces behind the first are of the first.
    AsItCame,
}

/// Sends the packet in fragments of at most `mtu` bytes, in order. They count as generated; the packet ends.
#[cold]
pub(crate) fn send<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
    mtu: u16,
    (to, cut): (To, Cut),
) {
    if frame.rx_l4_checksum() == RxChecksum::Partial {
        transmit::complete_checksum(&mut frame, packet.l3);
    }
    let reason = match in_fragments(cx, &frame, packet, mtu, (to, cut)) {
        Some(()) => DropReason::Fragmented,
        None => DropReason::NoBuffer,
    };
    cx.drop(frame, reason);
}

/// What stands in front of each fragment's data.
struct Header {
    bytes: [u8; LONGEST],
    len: usize,
    /// What the packet itself is of a larger one: offset, and whether more follows.
    offset: usize,
    more: bool,
    /// IPv4: "don't fragment" stays.
    dont_fragment: u16,
    v6: bool,
    /// IPv6: the last of it is a fragment header. A packet that fits goes without, copied together.
    is_fragment: bool,
}

/// `None` if a fragment could not be built; those before it are sent.
fn in_fragments<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &F,
    packet: &Packet,
    mtu: u16,
    (to, cut): (To, Cut),
) -> Option<()> {
    let l3 = usize::from(packet.l3);
    let (mut header, skipped) = match packet.addresses {
        Addresses::V4 { .. } => header4(frame, l3)?,
        Addresses::V6 { .. } => {
            let largest = packet.reassembled.largest;
            let whole = packet.ip_len <= mtu && (largest == 0 || packet.ip_len <= largest);
            let id = (!whole).then(|| cx.local.next_fragment_id());
            header6(frame, l3, id)?
        }
    };
    let data_at = l3 + skipped;
    let data = usize::from(packet.ip_len).checked_sub(skipped)?;
    let mut most = usize::from(mtu).checked_sub(header.len)?;
    if most < 8 {
        return None;
    }
    let joined = match cut {
        Cut::AsItCame
            if header.is_fragment
                && is_cut_well(frame, data_at, packet.reassembled.joined, most) =>
        {
            Some(packet.reassembled.joined)
        }
        _ => None,
    };
    if joined.is_some() {
        // Pieces as they came leave without the flag, as Linux's.
        header.dont_fragment = 0;
    }
    let mut at = 0;
    while at < data {
        let each = match joined {
            Some(joined) => piece_at(frame, data_at, joined, at),
            // Every fragment but the last carries a multiple of 8 bytes.
            None if data - at > most => most & !7,
            None => most,
        };
        let len = each.min(data - at);
        if len == 0 {
            return None;
        }
        let more = at + len < data || header.more;
        let mut out = cx.generated()?;
        if write(
            &mut out,
            &mut header,
            (frame, data_at + at),
            (at, len, more),
        )
        .is_none()
        {
            cx.drop(out, DropReason::NoRoom);
            // A jumbo link out, but buffers for ordinary frames: smaller fragments do as well.
            if joined.is_none() && most > ORDINARY {
                most = ORDINARY;
                continue;
            }
            return None;
        }
        hand_over(cx, out, frame, l3, to);
        if at == 0 && !header.v6 {
            keep_copied_options(header.bytes.get_mut(..header.len)?);
        }
        at += len;
    }
    Some(())
}

fn hand_over<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut out: F,
    frame: &F,
    l3: usize,
    to: To,
) {
    match to {
        To::Hop(next) => transmit::send(cx, out, datagram::L3, next),
        To::Host(port) => {
            // The host sees it as it came: with the link header of the first.
            let from = frame.head().get(..ethernet::LEN.min(l3));
            if let (Some(from), Some(link)) = (from, out.head_mut().get_mut(..ethernet::LEN)) {
                link.copy_from_slice(from);
            }
            cx.punt(port, out);
        }
    }
}

/// Where the data of each segment of a chained frame begins and ends, from `data_at` on; the first `joined` boundaries are none.
fn boundaries<F: Frame>(frame: &F, data_at: usize, joined: u16, f: &mut dyn FnMut(usize)) {
    let (mut end, mut count) = (0usize, 0u32);
    frame.segments(&mut |segment| {
        end += segment.len();
        count += 1;
        if count > u32::from(joined) {
            f(end.saturating_sub(data_at));
        }
    });
}

/// Whether the pieces it came in can leave as they are: multiples of 8 bytes, none too large.
fn is_cut_well<F: Frame>(frame: &F, data_at: usize, joined: u16, most: usize) -> bool {
    let total = frame.total_len().saturating_sub(data_at);
    let (mut start, mut well) = (0, true);
    boundaries(frame, data_at, joined, &mut |end| {
        let len = end.saturating_sub(start);
        well &= len > 0 && len <= most && (end >= total || len % 8 == 0);
        start = end;
    });
    well && start > 0
}

/// Bytes from `at` to the next boundary.
fn piece_at<F: Frame>(frame: &F, data_at: usize, joined: u16, at: usize) -> usize {
    let mut len = 0;
    boundaries(frame, data_at, joined, &mut |end| {
        if len == 0 && end > at {
            len = end - at;
        }
    });
    len
}

/// The IPv4 header, and bytes of it.
fn header4<F: Frame>(frame: &F, l3: usize) -> Option<(Header, usize)> {
    let (ip, _) = Ipv4::ref_from_prefix(frame.head().get(l3..)?).ok()?;
    let len = ip.header_len();
    let flags = ip.fragment.get();
    let mut header = Header {
        bytes: [0; LONGEST],
        len,
        offset: ip.fragment_offset(),
        more: flags & MORE_FRAGMENTS != 0,
        dont_fragment: flags & DONT_FRAGMENT,
        v6: false,
        is_fragment: true,
    };
    datagram::copy(frame, l3, header.bytes.get_mut(..len)?);
    Some((header, len))
}

/// The IPv6 header, what of extension headers every router looks at, and a fragment header; bytes of them in the packet.
fn header6<F: Frame>(frame: &F, l3: usize, id: Option<u32>) -> Option<(Header, usize)> {
    let packet = frame.head().get(l3..)?;
    let (len, named, next) = ipv6::unfragmentable(packet)?;
    let mut header = Header {
        bytes: [0; LONGEST],
        len,
        offset: 0,
        more: false,
        dont_fragment: 0,
        v6: true,
        is_fragment: false,
    };
    datagram::copy(frame, l3, header.bytes.get_mut(..len)?);
    let Some(id) = id else {
        return Some((header, len));
    };
    *header.bytes.get_mut(named)? = protocol::FRAGMENT;
    let fragment = FragmentHeader {
        next_header: next,
        reserved: 0,
        offset_more: U16::new(0),
        id: U32::new(id),
    };
    fragment
        .write_to_prefix(header.bytes.get_mut(len..)?)
        .ok()?;
    header.len += ipv6::FRAGMENT_LEN;
    header.is_fragment = true;
    Some((header, len))
}

/// One fragment: the header with lengths and flags of its own, then the data at `from.1` of the packet.
fn write<F: Frame>(
    out: &mut F,
    header: &mut Header,
    from: (&F, usize),
    (at, len, more): (usize, usize, bool),
) -> Option<()> {
    let total = header.len + len;
    if !out.append(ethernet::LEN + total) {
        return None;
    }
    let units = u16::try_from((header.offset + at) / 8).ok()?;
    let packet = out.head_mut().get_mut(ethernet::LEN..)?;
    let (ip, data) = packet.split_at_mut_checked(header.len)?;
    ip.copy_from_slice(header.bytes.get(..header.len)?);
    if datagram::copy(from.0, from.1, data) < data.len() {
        return None;
    }
    if header.v6 {
        let payload = u16::try_from(total - ipv6::LEN).ok()?;
        let (fixed, _) = wire::Ipv6::mut_from_prefix(ip).ok()?;
        fixed.payload_len = U16::new(payload);
        if !header.is_fragment {
            return Some(());
        }
        let at = header.len - ipv6::FRAGMENT_LEN;
        let (fragment, _) = FragmentHeader::mut_from_prefix(ip.get_mut(at..)?).ok()?;
        fragment.offset_more = U16::new(units << 3 | u16::from(more));
        return Some(());
    }
    let flags = header.dont_fragment | if more { MORE_FRAGMENTS } else { 0 };
    let (fixed, _) = Ipv4::mut_from_prefix(ip).ok()?;
    fixed.total_len = U16::new(u16::try_from(total).ok()?);
    fixed.fragment = U16::new(flags | units & OFFSET_MASK);
    ipv4::fill_checksum(ip).then_some(())
}
/// Options without the "copied" bit stand in the first fragment only (RFC 791 3.1); Linux puts no-operations there.
fn keep_copied_options(header: &mut [u8]) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let mut rest = header.get_mut(ipv4::LEN..).unwrap_or_default();
    while let Some(&kind) = rest.first() {
        let len = match kind {
            END => return,
            NO_OPERATION => 1,
            _ => rest.get(1).copied().map_or(0, usize::from),
        };
        if len == 0 || len > rest.len() || (len == 1 && kind != NO_OPERATION) {
            return;
        }
        let (option, behind) = rest.split_at_mut(len);
        if kind & COPIED == 0 {
            option.fill(NO_OPERATION);
        }
        rest = behind;
    }
}
