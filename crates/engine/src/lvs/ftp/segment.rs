//! A TCP segment in its frame: read, and written anew, lengths and checksums with it. A wrong checksum stays wrong.

use crate::{
    packet::{Addresses, Packet},
    transmit,
};
use wire::{Delta, Frame, FromBytes, Ipv4, Ipv6, RxChecksum, Tcp, checksum, tcp};

/// Where things are in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Flags.
    pub flags: u8,
    /// Where the payload starts in the frame.
    pub payload: usize,
    /// Bytes of payload.
    pub len: usize,
}

impl Segment {
    /// Of a TCP packet; `None` if its header says nonsense.
    pub fn of<F: Frame>(frame: &F, packet: &Packet) -> Option<Self> {
        let l4 = usize::from(packet.l4);
        let (header, _) = Tcp::ref_from_prefix(frame.head().get(l4..)?).ok()?;
        let header_len = header.header_len();
        let len = usize::from(packet.payload_len()).checked_sub(header_len)?;
        (header_len >= tcp::LEN && frame.head().len() >= l4 + header_len).then_some(Self {
            sequence: header.sequence.get(),
            acknowledgement: header.acknowledgement.get(),
            flags: header.flags,
            payload: l4 + header_len,
            len,
        })
    }

    /// The payload, if all of it is in the frame's first buffer.
    pub fn bytes<'f, F: Frame>(&self, frame: &'f F) -> Option<&'f [u8]> {
        frame.head().get(self.payload..self.payload + self.len)
    }
}

/// A change of a segment, from before its first byte is touched until the checksum is mended.
pub(super) struct Edit {
    sum: u16,
    len: u16,
}

impl Edit {
    /// Before any change.
    pub fn begin<F: Frame>(frame: &F, packet: &Packet) -> Self {
        Self {
            sum: sum(frame, packet),
            len: packet.payload_len(),
        }
    }

    /// After the last one; `packet` has the length as it is now.
    pub fn end<F: Frame>(self, frame: &mut F, packet: &Packet) {
        let length = Delta::between16(self.len, packet.payload_len());
        let content = Delta::between16(self.sum, sum(frame, packet));
        let partial = frame.rx_l4_checksum() == RxChecksum::Partial;
        if let Some(header) = header(frame, packet) {
            let before = header.checksum.get();
            header.checksum.set(if partial {
                // It covers the pseudo-header alone.
                length.apply_partial(before)
            } else {
                length.and(content).apply(before)
            });
        }
    }
}

fn sum<F: Frame>(frame: &F, packet: &Packet) -> u16 {
    transmit::sum_of(frame, packet.l4.into(), packet.payload_len().into()).folded()
}

/// The TCP header, to rewrite.
pub(super) fn header<'f, F: Frame>(frame: &'f mut F, packet: &Packet) -> Option<&'f mut Tcp> {
    let l4 = frame.head_mut().get_mut(usize::from(packet.l4)..)?;
    Some(Tcp::mut_from_prefix(l4).ok()?.0)
}

/// Puts `payload` in the place of the segment's. False: the frame has no room.
pub(super) fn replace<F: Frame>(
    frame: &mut F,
    packet: &mut Packet,
    segment: &Segment,
    payload: &[u8],
) -> bool {
    let l3 = usize::from(packet.l3);
    // What a port padded to the minimum does not go on.
    frame.truncate(l3 + usize::from(packet.ip_len));
    let grown = payload.len().saturating_sub(segment.len);
    if grown > 0 && !frame.append(grown) {
        return false;
    }
    let end = segment.payload + payload.len();
    let Some(place) = frame.head_mut().get_mut(segment.payload..end) else {
        return false;
    };
    place.copy_from_slice(payload);
    frame.truncate(end);
    let Ok(ip_len) = u16::try_from(end - l3) else {
        return false;
    };
    let before = std::mem::replace(&mut packet.ip_len, ip_len);
    let Some(ip) = frame.head_mut().get_mut(l3..) else {
        return false;
    };
    match packet.addresses {
        Addresses::V4 { .. } => {
            if let Ok((ip, _)) = Ipv4::mut_from_prefix(ip) {
                ip.total_len.set(ip_len);
                let sum = checksum::update16(ip.checksum.get(), before, ip_len);
                ip.checksum.set(sum);
            }
        }
        Addresses::V6 { .. } => {
            if let Ok((ip, _)) = Ipv6::mut_from_prefix(ip) {
                let len = ip.payload_len.get();
                ip.payload_len
                    .set(len.wrapping_add(ip_len).wrapping_sub(before));
            }
        }
    }
    true
}

/// Rewrites the blocks of a selective acknowledgement (RFC 2018) in TCP options.
pub(super) fn selective(options: &mut [u8], image: impl Fn(u32, u32) -> (u32, u32)) {
    tcp::each_option(options, |kind, contents| {
        if kind == tcp::kind::SACK {
            let (blocks, _) = contents.as_chunks_mut::<8>();
            for block in blocks {
                let both = u64::from_be_bytes(*block);
                let edges = image(high(both), low(both));
                *block = (u64::from(edges.0) << 32 | u64::from(edges.1)).to_be_bytes();
            }
        }
    });
}

const fn high(both: u64) -> u32 {
    (both >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn low(both: u64) -> u32 {
    both as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_a_selective_acknowledgement_are_touched() {
        let mut options = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 5, 18];
        for edge in [100u32, 200, 300, 400] {
            options.extend(edge.to_be_bytes());
        }
        let mut expected = options.clone();
        expected.truncate(15);
        for edge in [101u32, 199, 301, 399] {
            expected.extend(edge.to_be_bytes());
        }
        selective(&mut options, |left, right| (left + 1, right - 1));
        assert_eq!(options, expected);
        // Cut off, ended, nonsense: left alone.
        for options in [
            vec![5, 10, 0, 0, 0, 1],
            vec![0, 5, 10],
            vec![5],
            vec![5, 0, 9],
            vec![],
        ] {
            let mut same = options.clone();
            selective(&mut same, |_, _| (7, 7));
            assert_eq!(same, options);
        }
    }
}
