//! IPv4 fragmentation of what is larger than the way out takes, and of what is a fragment already (`ip_do_fragment`).

use crate::{
    DropReason, Output, context::Context, datagram, net::NextHop, packet::Packet, transmit,
};
use wire::{
    Frame, FromBytes, Ipv4, RxChecksum, U16, ethernet,
    ipv4::{self, DONT_FRAGMENT, MORE_FRAGMENTS, OFFSET_MASK},
};

/// Bytes of data that a fragment fits into any buffer with: an ordinary Ethernet's.
const ORDINARY: usize = 1440;
/// Bytes of an IPv4 header at most.
const LONGEST: usize = 60;

/// Sends the packet in fragments of at most `mtu` bytes, in order. They count as generated; the packet ends.
#[cold]
pub(crate) fn send<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    mut frame: F,
    packet: &Packet,
    mtu: u16,
    next: NextHop,
) {
    if frame.rx_l4_checksum() == RxChecksum::Partial {
        transmit::complete_checksum(&mut frame, packet.l3);
    }
    let reason = match in_fragments(cx, &frame, packet, mtu, next) {
        Some(()) => DropReason::Fragmented,
        None => DropReason::NoBuffer,
    };
    cx.drop(frame, reason);
}

/// `None` if a fragment could not be built; those before it are sent.
fn in_fragments<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    frame: &F,
    packet: &Packet,
    mtu: u16,
    next: NextHop,
) -> Option<()> {
    let l3 = usize::from(packet.l3);
    let (ip, _) = Ipv4::ref_from_prefix(frame.head().get(l3..)?).ok()?;
    let header_len = ip.header_len();
    let flags = ip.fragment.get();
    let offset = ip.fragment_offset();
    let data = usize::from(packet.ip_len).checked_sub(header_len)?;
    // Every fragment but the last carries a multiple of 8 bytes.
    let mut each = usize::from(mtu).checked_sub(header_len)? & !7;
    if each == 0 {
        return None;
    }
    let mut header = [0u8; LONGEST];
    let header = header.get_mut(..header_len)?;
    datagram::copy(frame, l3, header);
    let mut at = 0;
    while at < data {
        let len = each.min(data - at);
        let more = at + len < data || flags & MORE_FRAGMENTS != 0;
        let mut out = cx.generated()?;
        let fragment = flags & DONT_FRAGMENT
            | if more { MORE_FRAGMENTS } else { 0 }
            | u16::try_from((offset + at) / 8).ok()? & OFFSET_MASK;
        let total = u16::try_from(header_len + len).ok()?;
        if write(
            &mut out,
            header,
            (frame, l3 + header_len + at),
            total,
            fragment,
        )
        .is_none()
        {
            cx.drop(out, DropReason::NoRoom);
            // A jumbo link out, but buffers for ordinary frames: smaller fragments do as well.
            if each > ORDINARY {
                each = ORDINARY;
                continue;
            }
            return None;
        }
        transmit::send(cx, out, datagram::L3, next);
        if at == 0 {
            keep_copied_options(header);
        }
        at += len;
    }
    Some(())
}

/// One fragment: `header` with lengths and flags of its own, then the data at `from.1` of the packet.
fn write<F: Frame>(
    out: &mut F,
    header: &[u8],
    from: (&F, usize),
    total: u16,
    fragment: u16,
) -> Option<()> {
    if !out.append(ethernet::LEN + usize::from(total)) {
        return None;
    }
    let packet = out.head_mut().get_mut(ethernet::LEN..)?;
    let (ip, data) = packet.split_at_mut_checked(header.len())?;
    ip.copy_from_slice(header);
    if datagram::copy(from.0, from.1, data) < data.len() {
        return None;
    }
    let (fixed, _) = Ipv4::mut_from_prefix(ip).ok()?;
    fixed.total_len = U16::new(total);
    fixed.fragment = U16::new(fragment);
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
