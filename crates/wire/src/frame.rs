//! What the engine needs of a frame buffer: DPDK's mbuf, or a vector in tests.

/// What the port found out about the checksums of a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Not checked: software must.
    #[default]
    Unknown,
    /// Checked, right.
    Good,
    /// Checked, wrong.
    Bad,
    /// Layer 4 only: the sender left it to be filled in (a virtio peer's partial checksum: the field holds the
    /// pseudo-header sum). The data is known to be whole; whoever transmits must complete it.
    Partial,
}

/// The layer-4 checksum a port is asked to fill in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TxL4 {
    /// Leave as it is.
    #[default]
    None,
    /// TCP; the field holds the pseudo-header sum.
    Tcp,
    /// UDP; the field holds the pseudo-header sum.
    Udp,
}

/// Checksums a port is asked to fill in on transmit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxChecksum {
    /// Bytes before the IP header (Ethernet and VLAN tags).
    pub l2_len: u8,
    /// Bytes of the IP header.
    pub l3_len: u16,
    /// Fill in the IPv4 header checksum.
    pub ipv4_header: bool,
    /// Fill in the layer-4 checksum.
    pub l4: TxL4,
}

/// An Ethernet frame in a buffer the holder owns; dropping it gives the buffer back.
///
/// A frame may be chained over several segments (jumbo): headers are read from the first, `total_len` counts all.
pub trait Frame: Sized {
    /// The first segment's bytes, from the Ethernet header on.
    fn head(&self) -> &[u8];
    /// The first segment's bytes, to rewrite.
    fn head_mut(&mut self) -> &mut [u8];
    /// Bytes in all segments.
    fn total_len(&self) -> usize;
    /// Calls `f` with each segment in turn; the first is [`Frame::head`].
    fn segments(&self, f: &mut dyn FnMut(&[u8]));
    /// Grows the frame at the front by `n` bytes (contents unspecified). False, and nothing changed, if there is no headroom.
    #[must_use]
    fn prepend(&mut self, n: usize) -> bool;
    /// Removes `n` bytes from the front. False, and nothing changed, if the first segment is shorter.
    #[must_use]
    fn strip(&mut self, n: usize) -> bool;
    /// Grows a single-segment frame at the back by `n` bytes (contents unspecified). False if there is no tailroom.
    #[must_use]
    fn append(&mut self, n: usize) -> bool;
    /// Chains `tail`'s segments behind this frame's. What the port said of this frame's layer 4 holds no more.
    ///
    /// # Errors
    /// `tail` back, when there would be too many segments.
    fn chain(&mut self, tail: Self) -> Result<(), Self>;
    /// Cuts the frame to `total` bytes (frees segments past it); no effect if it is shorter already.
    fn truncate(&mut self, total: usize);
    /// What the port says about the IPv4 header checksum. `Partial` never.
    fn rx_ip_checksum(&self) -> RxChecksum;
    /// What the port says about the TCP or UDP checksum.
    fn rx_l4_checksum(&self) -> RxChecksum;
    /// Asks the transmitting port to fill in checksums. Only call it for a port that can.
    fn request_tx_checksum(&mut self, request: TxChecksum);
    /// Whether the port has said nothing of the frame: no verdict on checksums, no tag stripped. A short cut for those
    /// who would ask for each; `false` is always right.
    fn is_unjudged(&self) -> bool {
        false
    }
    /// An 802.1Q tag the port has already stripped from the bytes, tag control information as on the wire.
    fn stripped_vlan(&self) -> Option<u16>;
}
