//! A frame in vectors: one segment, or several to stand for a chained (jumbo) mbuf.

use wire::{Frame, RxChecksum, TxChecksum};

/// Bytes kept free in front of a frame's contents, as DPDK's default headroom.
const HEADROOM: usize = 128;

/// Bytes a single-segment frame can hold, as DPDK's default data room less headroom.
const ROOM: usize = 2048;

/// A frame for tests. The first segment has head- and tailroom; further segments are plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VecFrame {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    rest: Vec<Vec<u8>>,
    /// What the "port" says about the IPv4 header checksum.
    pub ip_checksum: RxChecksum,
    /// What the "port" says about the layer-4 checksum.
    pub l4_checksum: RxChecksum,
    /// What the engine asked the sending port to fill in.
    pub requested: Option<TxChecksum>,
    /// A VLAN tag the "port" has stripped.
    pub vlan: Option<u16>,
}

impl VecFrame {
    /// One segment with these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = vec![0; HEADROOM + bytes.len().max(ROOM)];
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        Self {
            buffer,
            start: HEADROOM,
            end: HEADROOM + bytes.len(),
            rest: Vec::new(),
            ip_checksum: RxChecksum::Unknown,
            l4_checksum: RxChecksum::Unknown,
            requested: None,
            vlan: None,
        }
    }

    /// The same bytes cut into segments of these lengths (the last takes what is left).
    #[must_use]
    pub fn chained(bytes: &[u8], lengths: &[usize]) -> Self {
        let mut left = bytes;
        let mut parts = Vec::new();
        for &length in lengths {
            let (part, rest) = left.split_at(length.min(left.len()));
            parts.push(part.to_vec());
            left = rest;
        }
        parts.push(left.to_vec());
        parts.retain(|part| !part.is_empty());
        let mut frame = Self::new(parts.first().map_or(&[], Vec::as_slice));
        frame.rest = parts.into_iter().skip(1).collect();
        frame
    }

    /// All bytes, over every segment.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = self.head().to_vec();
        self.rest
            .iter()
            .for_each(|part| all.extend_from_slice(part));
        all
    }
}

impl Frame for VecFrame {
    fn head(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    fn total_len(&self) -> usize {
        self.end - self.start + self.rest.iter().map(Vec::len).sum::<usize>()
    }

    fn segments(&self, f: &mut dyn FnMut(&[u8])) {
        f(self.head());
        self.rest.iter().for_each(|part| f(part));
    }

    fn prepend(&mut self, n: usize) -> bool {
        if n > self.start {
            return false;
        }
        self.start -= n;
        true
    }

    fn strip(&mut self, n: usize) -> bool {
        if n > self.end - self.start {
            return false;
        }
        self.start += n;
        true
    }

    fn append(&mut self, n: usize) -> bool {
        if !self.rest.is_empty() || self.end + n > self.buffer.len() {
            return false;
        }
        self.end += n;
        true
    }

    fn chain(&mut self, tail: Self) -> Result<(), Self> {
        self.l4_checksum = RxChecksum::Unknown;
        self.rest.push(tail.head().to_vec());
        self.rest.extend(tail.rest);
        Ok(())
    }

    fn truncate(&mut self, total: usize) {
        let head = self.end - self.start;
        if total <= head {
            self.end = self.start + total;
            self.rest.clear();
            return;
        }
        let mut left = total - head;
        self.rest.retain_mut(|part| {
            part.truncate(left);
            left -= part.len();
            !part.is_empty()
        });
    }

    fn rx_ip_checksum(&self) -> RxChecksum {
        self.ip_checksum
    }

    fn rx_l4_checksum(&self) -> RxChecksum {
        self.l4_checksum
    }

    fn request_tx_checksum(&mut self, request: TxChecksum) {
        self.requested = Some(request);
    }

    fn stripped_vlan(&self) -> Option<u16> {
        self.vlan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_cut_and_counted() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut frame = VecFrame::chained(&bytes, &[40, 30]);
        assert_eq!(frame.head().len(), 40);
        assert_eq!(frame.total_len(), 100);
        assert_eq!(frame.bytes(), bytes);
        assert!(!frame.append(1), "a chained frame has no tailroom");
        frame.truncate(45);
        assert_eq!(frame.bytes(), &bytes[..45]);
        frame.truncate(10);
        assert_eq!(frame.total_len(), 10);
        assert!(
            frame.prepend(4) && frame.strip(4) && !frame.strip(11) && !frame.prepend(HEADROOM + 1)
        );
    }
}
