//! The rings of a packet socket (`net_af_packet`).

use crate::Device;

/// The shape of the rings a packet socket shares with the kernel. The driver's own default loses thousands of segments;
/// 4096 frames do not. A block is a whole number of pages and of frames.
pub(crate) struct PacketRing {
    pub block: u32,
    pub frame: u32,
    pub count: u32,
}

impl PacketRing {
    /// What `device` runs with: the user's figures with the driver's defaults, or ours.
    pub fn of(device: &Device, mtu: u16) -> Self {
        let given = |key| device.argument(key).and_then(|text| text.parse().ok());
        let (block, frame, count) = (given("blocksz"), given("framesz"), given("framecnt"));
        if block.or(frame).or(count).is_none() {
            return Self::for_mtu(mtu);
        }
        // DPDK's rte_eth_af_packet.c: DFLT_BLOCK_SIZE, DFLT_FRAME_SIZE, DFLT_FRAME_COUNT.
        Self {
            block: block.unwrap_or(4096),
            frame: frame.unwrap_or(2048),
            count: count.unwrap_or(512),
        }
    }

    pub fn for_mtu(mtu: u16) -> Self {
        /// Ethernet header, one VLAN tag, and the kernel's own header in each frame (TPACKET2_HDRLEN and alignment).
        const OVERHEAD: u32 = 14 + 4 + 80;
        match u32::from(mtu) + OVERHEAD {
            0..=2048 => Self {
                block: 65536,
                frame: 2048,
                count: 4096,
            },
            2049..=4096 => Self {
                block: 65536,
                frame: 4096,
                count: 4096,
            },
            4097..=9216 => Self {
                block: 1_179_648,
                frame: 9216,
                count: 4096,
            },
            large => {
                let frame = large.next_multiple_of(4096);
                Self {
                    block: frame * 16,
                    frame,
                    count: 512,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ring_is_whole_pages_and_whole_frames() {
        for mtu in [68, 1500, 1950, 1951, 3000, 4000, 9000, 9216, 16000, 65000] {
            let ring = PacketRing::for_mtu(mtu);
            assert!(ring.frame >= u32::from(mtu) + 98, "{mtu}");
            assert_eq!(ring.block % 4096, 0);
            assert_eq!(ring.block % ring.frame, 0);
            assert_eq!(ring.count % (ring.block / ring.frame), 0);
            assert_eq!(ring.frame % 16, 0, "TPACKET_ALIGNMENT");
        }
    }
}
