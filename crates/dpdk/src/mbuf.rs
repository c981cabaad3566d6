//! A packet buffer that frees itself: one pointer, and a [`Frame`].

use arrayvec::ArrayVec;
use std::{fmt, mem::ManuallyDrop, ptr::NonNull, slice};
use wire::{Frame, RxChecksum, TxChecksum, TxL4};

/// A frame in a DPDK packet buffer, or in a chain of them. Owns all of it.
///
/// The pointer of its size is what drivers take and give, so a slice of frames is what a burst call wants.
#[repr(transparent)]
pub struct Mbuf(NonNull<dpdk_sys::rte_mbuf>);

const _: () = assert!(size_of::<Option<Mbuf>>() == size_of::<*mut dpdk_sys::rte_mbuf>());

// SAFETY: a frame has one owner, and its pool takes it back from any thread.
unsafe impl Send for Mbuf {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Mbuf {}

/// A member of `struct rte_mbuf`, by its place and type.
macro_rules! member {
    ($get:ident, $set:ident, $type:ty, $offset:ident) => {
        #[inline]
        fn $get(self) -> $type {
            // SAFETY: `offset` is the member's, of this type, in a live mbuf.
            unsafe {
                self.0
                    .as_ptr()
                    .cast::<u8>()
                    .add(dpdk_sys::$offset as usize)
                    .cast::<$type>()
                    .read()
            }
        }
        #[inline]
        fn $set(self, value: $type) {
            // SAFETY: as above; the caller has the frame to itself.
            unsafe {
                self.0
                    .as_ptr()
                    .cast::<u8>()
                    .add(dpdk_sys::$offset as usize)
                    .cast::<$type>()
                    .write(value)
            }
        }
    };
}

/// One segment of a frame some [`Mbuf`] owns.
#[derive(Clone, Copy)]
struct Segment(NonNull<dpdk_sys::rte_mbuf>);

#[expect(dead_code, reason = "some members are only read, some only written")]
impl Segment {
    member!(buffer, set_buffer, *mut u8, EDGE_MBUF_BUF_ADDR);
    member!(data_offset, set_data_offset, u16, EDGE_MBUF_DATA_OFF);
    member!(count, set_count, u16, EDGE_MBUF_NB_SEGS);
    member!(flags, set_flags, u64, EDGE_MBUF_OL_FLAGS);
    member!(frame_len, set_frame_len, u32, EDGE_MBUF_PKT_LEN);
    member!(len, set_len, u16, EDGE_MBUF_DATA_LEN);
    member!(vlan, set_vlan, u16, EDGE_MBUF_VLAN_TCI);
    member!(room, set_room, u16, EDGE_MBUF_BUF_LEN);
    member!(next, set_next, *mut dpdk_sys::rte_mbuf, EDGE_MBUF_NEXT);
    member!(tx_offload, set_tx_offload, u64, EDGE_MBUF_TX_OFFLOAD);

    #[inline]
    fn data(self) -> *mut u8 {
        self.buffer().wrapping_add(usize::from(self.data_offset()))
    }

    fn following(self) -> Option<Self> {
        NonNull::new(self.next()).map(Self)
    }
}

impl Mbuf {
    /// # Safety
    /// `raw` must be the head of a frame nobody else holds.
    #[inline]
    pub(crate) const unsafe fn from_raw(raw: NonNull<dpdk_sys::rte_mbuf>) -> Self {
        Self(raw)
    }

    #[inline]
    const fn segment(&self) -> Segment {
        Segment(self.0)
    }

    /// Bytes free before the data.
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.segment().data_offset().into()
    }

    /// Bytes free after the data of a frame that is one segment; 0 for a chain.
    #[must_use]
    pub fn tailroom(&self) -> usize {
        let segment = self.segment();
        if segment.count() > 1 {
            return 0;
        }
        usize::from(segment.room())
            .saturating_sub(usize::from(segment.data_offset()) + usize::from(segment.len()))
    }

    /// Segments the frame is chained of; 1 mostly.
    #[must_use]
    pub fn segment_count(&self) -> u16 {
        self.segment().count()
    }

    /// Appends bytes to a single-segment frame. False, and nothing changed, if there is no room.
    #[must_use]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> bool {
        let start = self.head().len();
        if !self.append(bytes.len()) {
            return false;
        }
        self.head_mut()[start..].copy_from_slice(bytes);
        true
    }

    /// [`Mbuf::resize`] of a frame of [`crate::Mempool::take_burst`], whatever became of it before: its bytes begin behind the usual
    /// headroom again, and it carries no marks. Drivers may have moved the one and set the other.
    #[inline]
    #[must_use]
    pub fn renew(&mut self, n: usize) -> bool {
        let segment = self.segment();
        let headroom = u16::try_from(dpdk_sys::RTE_PKTMBUF_HEADROOM).unwrap_or(0);
        segment.set_len(0);
        segment.set_data_offset(headroom.min(segment.room()));
        segment.set_flags(0);
        self.resize(n)
    }

    /// Gives a single-segment frame `n` bytes, whatever it had; those that come new are as the buffer holds them. False, and nothing
    /// changed, if there is no room.
    #[inline]
    #[must_use]
    pub fn resize(&mut self, n: usize) -> bool {
        let segment = self.segment();
        let room = usize::from(segment.room()).saturating_sub(segment.data_offset().into());
        let Some(len) = u16::try_from(n)
            .ok()
            .filter(|_| segment.count() == 1 && n <= room)
        else {
            return false;
        };
        segment.set_len(len);
        segment.set_frame_len(len.into());
        true
    }

    /// Chains `tail` behind.
    ///
    /// # Errors
    /// `tail` back, when there would be more than 65535 segments.
    pub fn chain(&mut self, tail: Self) -> Result<(), Self> {
        let tail = ManuallyDrop::new(tail);
        // SAFETY: two frames held alone; on success the first owns the second.
        if unsafe { dpdk_sys::edge_pktmbuf_chain(self.0.as_ptr(), tail.0.as_ptr()) } == 0 {
            return Ok(());
        }
        Err(ManuallyDrop::into_inner(tail))
    }

    /// Copies a chain together into its first buffer. False, and nothing changed, if it does not fit.
    #[must_use]
    pub fn linearize(&mut self) -> bool {
        // SAFETY: the frame is held alone.
        unsafe { dpdk_sys::edge_pktmbuf_linearize(self.0.as_ptr()) == 0 }
    }

    /// Cuts a frame of which there is more than `total` bytes.
    #[cold]
    fn truncate_chain(&mut self, total: usize) {
        let head = self.segment();
        // The last segment kept is the one in which byte `total` falls (the head, for 0).
        let (mut last, mut before, mut kept) = (head, 0, 1);
        while total > before + usize::from(last.len()) {
            let Some(next) = last.following() else { break };
            before += usize::from(last.len());
            last = next;
            kept += 1;
        }
        if let Some(rest) = last.following() {
            last.set_next(std::ptr::null_mut());
            // The rest becomes a frame of its own, and is freed as one.
            rest.set_count(head.count() - kept);
            // SAFETY: cut off the chain above, so nobody else holds it.
            drop(unsafe { Self::from_raw(rest.0) });
        }
        head.set_count(kept);
        last.set_len(
            u16::try_from(total - before)
                .unwrap_or(u16::MAX)
                .min(last.len()),
        );
        head.set_frame_len(u32::try_from(total).unwrap_or(u32::MAX));
    }

    /// Takes back what the port has found out and what was asked of the transmitting one.
    #[inline]
    pub fn clear_offloads(&mut self) {
        let segment = self.segment();
        segment.set_flags(0);
        segment.set_tx_offload(0);
    }

    /// Frees a burst at once: cheaper than one by one.
    pub fn free_burst<const N: usize>(burst: &mut ArrayVec<Self, N>) {
        let count = u32::try_from(burst.len()).unwrap_or(u32::MAX);
        // SAFETY: `Mbuf` is a transparent pointer, and after `set_len(0)` nobody holds the frames any more.
        unsafe {
            burst.set_len(0);
            dpdk_sys::rte_pktmbuf_free_bulk(burst.as_mut_ptr().cast(), count);
        }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the frame is held alone, and its pool is alive: a pool with frames outside is never freed.
        unsafe { dpdk_sys::edge_pktmbuf_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("total_len", &self.total_len())
            .field("segments", &self.segment_count())
            .finish()
    }
}

impl Frame for Mbuf {
    #[inline]
    fn head(&self) -> &[u8] {
        let segment = self.segment();
        // SAFETY: drivers and the methods here keep data offset and length inside the buffer.
        unsafe { slice::from_raw_parts(segment.data(), segment.len().into()) }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut [u8] {
        let segment = self.segment();
        // SAFETY: as in `head`, and the frame is held alone.
        unsafe { slice::from_raw_parts_mut(segment.data(), segment.len().into()) }
    }

    #[inline]
    fn total_len(&self) -> usize {
        self.segment().frame_len() as usize
    }

    fn segments(&self, f: &mut dyn FnMut(&[u8])) {
        let mut at = Some(self.segment());
        while let Some(segment) = at {
            // SAFETY: as in `head`; the chain is the frame's own.
            f(unsafe { slice::from_raw_parts(segment.data(), segment.len().into()) });
            at = segment.following();
        }
    }

    #[inline]
    fn prepend(&mut self, n: usize) -> bool {
        let segment = self.segment();
        let Some(n16) = u16::try_from(n)
            .ok()
            .filter(|&n| n <= segment.data_offset())
        else {
            return false;
        };
        let Some(len) = segment.len().checked_add(n16) else {
            return false;
        };
        segment.set_data_offset(segment.data_offset() - n16);
        segment.set_len(len);
        segment.set_frame_len(segment.frame_len() + u32::from(n16));
        true
    }

    #[inline]
    fn strip(&mut self, n: usize) -> bool {
        let segment = self.segment();
        let Some(n16) = u16::try_from(n).ok().filter(|&n| n <= segment.len()) else {
            return false;
        };
        segment.set_data_offset(segment.data_offset() + n16);
        segment.set_len(segment.len() - n16);
        segment.set_frame_len(segment.frame_len() - u32::from(n16));
        true
    }

    #[inline]
    fn append(&mut self, n: usize) -> bool {
        let segment = self.segment();
        let Some(n16) = u16::try_from(n)
            .ok()
            .filter(|_| segment.count() == 1 && n <= self.tailroom())
        else {
            return false;
        };
        segment.set_len(segment.len() + n16);
        segment.set_frame_len(segment.frame_len() + u32::from(n16));
        true
    }

    fn chain(&mut self, tail: Self) -> Result<(), Self> {
        let head = self.segment();
        head.set_flags(head.flags() & !dpdk_sys::EDGE_RX_L4_CKSUM_MASK);
        Self::chain(self, tail)
    }

    // On the straight way, which calls nothing that is not a part of it (`scripts/inspect-hot-path`).
    #[inline(always)]
    fn truncate(&mut self, total: usize) {
        let head = self.segment();
        if total >= self.total_len() {
            return;
        }
        match u16::try_from(total) {
            Ok(len) if head.count() == 1 => {
                head.set_len(len);
                head.set_frame_len(len.into());
            }
            _ => self.truncate_chain(total),
        }
    }

    #[inline]
    fn rx_ip_checksum(&self) -> RxChecksum {
        match self.segment().flags() & dpdk_sys::EDGE_RX_IP_CKSUM_MASK {
            dpdk_sys::EDGE_RX_IP_CKSUM_GOOD => RxChecksum::Good,
            dpdk_sys::EDGE_RX_IP_CKSUM_BAD => RxChecksum::Bad,
            _ => RxChecksum::Unknown,
        }
    }

    #[inline]
    fn rx_l4_checksum(&self) -> RxChecksum {
        match self.segment().flags() & dpdk_sys::EDGE_RX_L4_CKSUM_MASK {
            dpdk_sys::EDGE_RX_L4_CKSUM_GOOD => RxChecksum::Good,
            dpdk_sys::EDGE_RX_L4_CKSUM_BAD => RxChecksum::Bad,
            dpdk_sys::EDGE_RX_L4_CKSUM_NONE => RxChecksum::Partial,
            _ => RxChecksum::Unknown,
        }
    }

    fn request_tx_checksum(&mut self, request: TxChecksum) {
        let TxChecksum {
            l2_len,
            l3_len,
            ipv4_header,
            l4,
        } = request;
        let l4_flag = match l4 {
            TxL4::None => 0,
            TxL4::Tcp => dpdk_sys::EDGE_TX_TCP_CKSUM,
            TxL4::Udp => dpdk_sys::EDGE_TX_UDP_CKSUM,
        };
        let l3 = usize::from(l2_len);
        let version_flag = match self.head().get(l3).map(|byte| byte >> 4) {
            Some(4) => dpdk_sys::EDGE_TX_IPV4,
            Some(6) => dpdk_sys::EDGE_TX_IPV6,
            _ => return,
        };
        let mut flags = version_flag | l4_flag;
        if ipv4_header {
            flags |= dpdk_sys::EDGE_TX_IP_CKSUM;
            // NICs add up the header as it stands, the old checksum with it.
            if let Some(field) = self.head_mut().get_mut(l3 + 10..l3 + 12) {
                field.fill(0);
            }
        }
        let segment = self.segment();
        segment.set_flags(segment.flags() & !dpdk_sys::EDGE_TX_OFFLOAD_MASK | flags);
        segment.set_tx_offload(
            u64::from(l2_len) << dpdk_sys::EDGE_TX_L2_LEN_SHIFT
                | u64::from(l3_len) << dpdk_sys::EDGE_TX_L3_LEN_SHIFT,
        );
    }

    #[inline]
    fn is_unjudged(&self) -> bool {
        let verdicts = dpdk_sys::EDGE_RX_IP_CKSUM_MASK | dpdk_sys::EDGE_RX_L4_CKSUM_MASK;
        self.segment().flags() & (verdicts | dpdk_sys::EDGE_RX_VLAN_STRIPPED) == 0
    }

    #[inline]
    fn stripped_vlan(&self) -> Option<u16> {
        let segment = self.segment();
        (segment.flags() & dpdk_sys::EDGE_RX_VLAN_STRIPPED != 0).then(|| segment.vlan())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mempool, MempoolConfig, testing::EAL};

    fn frame() -> Mbuf {
        let pool = Mempool::new(
            &EAL,
            MempoolConfig {
                count: 7,
                cache: 0,
                ..MempoolConfig::default()
            },
        )
        .unwrap();
        let mut frame = pool.alloc().unwrap();
        assert!(frame.extend_from_slice(&[0x45; 60]));
        frame
    }

    #[test]
    fn what_the_driver_says_of_checksums_is_told() {
        use dpdk_sys::{
            EDGE_RX_IP_CKSUM_BAD as IP_BAD, EDGE_RX_IP_CKSUM_GOOD as IP_GOOD,
            EDGE_RX_L4_CKSUM_BAD as L4_BAD, EDGE_RX_L4_CKSUM_GOOD as L4_GOOD,
            EDGE_RX_L4_CKSUM_NONE as L4_NONE,
        };
        let frame = frame();
        for (flags, ip, l4) in [
            (0, RxChecksum::Unknown, RxChecksum::Unknown),
            (IP_GOOD | L4_GOOD, RxChecksum::Good, RxChecksum::Good),
            (IP_BAD | L4_GOOD, RxChecksum::Bad, RxChecksum::Good),
            (IP_GOOD | L4_BAD, RxChecksum::Good, RxChecksum::Bad),
            (L4_NONE, RxChecksum::Unknown, RxChecksum::Partial),
            (IP_GOOD | IP_BAD, RxChecksum::Unknown, RxChecksum::Unknown),
        ] {
            frame.segment().set_flags(flags);
            assert_eq!(
                (frame.rx_ip_checksum(), frame.rx_l4_checksum()),
                (ip, l4),
                "{flags:#x}"
            );
        }
    }

    #[test]
    fn a_frame_taken_again_is_as_it_was_left_until_it_is_resized() {
        let config = MempoolConfig {
            count: 7,
            cache: 0,
            ..MempoolConfig::default()
        };
        let pool = Mempool::new(&EAL, config).unwrap();
        let mut burst: ArrayVec<Mbuf, 7> = ArrayVec::new();
        assert!(pool.alloc_burst(&mut burst));
        for frame in &mut burst {
            assert!(frame.extend_from_slice(&[7; 100]));
        }
        Mbuf::free_burst(&mut burst);
        assert!(pool.take_burst(&mut burst));
        assert!(!pool.take_burst(&mut ArrayVec::<Mbuf, 1>::new()));
        for frame in &mut burst {
            assert_eq!(frame.head(), [7; 100]);
            assert!(frame.resize(60) && frame.total_len() == 60);
            assert!(
                frame.resize(2048) && frame.head().len() == 2048 && frame.head()[..100] == [7; 100]
            );
            assert!(!frame.resize(2049) && frame.total_len() == 2048);
            assert!(frame.prepend(14));
            frame.segment().set_flags(dpdk_sys::EDGE_TX_IPV4);
            assert!(frame.renew(90) && frame.head() == [7; 90] && frame.is_unjudged());
            assert_eq!(frame.segment().flags(), 0);
        }
    }

    #[test]
    fn a_stripped_tag_is_told_with_its_priority() {
        let frame = frame();
        frame.segment().set_vlan(0xa00a);
        assert_eq!(frame.stripped_vlan(), None);
        frame.segment().set_flags(dpdk_sys::EDGE_RX_VLAN_STRIPPED);
        assert_eq!(frame.stripped_vlan(), Some(0xa00a));
    }

    #[test]
    fn a_second_request_replaces_the_first_and_leaves_received_flags() {
        let mut frame = frame();
        frame.segment().set_flags(dpdk_sys::EDGE_RX_L4_CKSUM_GOOD);
        frame.request_tx_checksum(TxChecksum {
            l2_len: 14,
            l3_len: 20,
            ipv4_header: true,
            l4: TxL4::Udp,
        });
        let ipv4 =
            dpdk_sys::EDGE_TX_IPV4 | dpdk_sys::EDGE_TX_IP_CKSUM | dpdk_sys::EDGE_TX_UDP_CKSUM;
        assert_eq!(
            frame.segment().flags(),
            dpdk_sys::EDGE_RX_L4_CKSUM_GOOD | ipv4
        );
        assert_eq!(frame.segment().tx_offload(), 14 | 20 << 7);
        frame.head_mut()[18] = 0x60;
        frame.request_tx_checksum(TxChecksum {
            l2_len: 18,
            l3_len: 40,
            ipv4_header: false,
            l4: TxL4::Tcp,
        });
        let ipv6 = dpdk_sys::EDGE_TX_IPV6 | dpdk_sys::EDGE_TX_TCP_CKSUM;
        assert_eq!(
            frame.segment().flags(),
            dpdk_sys::EDGE_RX_L4_CKSUM_GOOD | ipv6
        );
        assert_eq!(frame.segment().tx_offload(), 18 | 40 << 7);
        // A place where no IP header stands asks for nothing.
        let before = frame.segment().flags();
        frame.request_tx_checksum(TxChecksum {
            l2_len: 200,
            l3_len: 20,
            ipv4_header: true,
            l4: TxL4::Tcp,
        });
        assert_eq!(frame.segment().flags(), before);
    }
}
