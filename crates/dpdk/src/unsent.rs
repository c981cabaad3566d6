//! Frames that the kernel holds unsent below `net_af_packet`: those handed to it since the carrier went. It would send them
//! when the carrier is back, and with them what is no longer so: an advertisement of a master that is none.

use crate::{packet_ring::PacketRing, packet_socket::PacketSockets};
use std::{
    fmt,
    os::fd::RawFd,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// What a port's sockets hold unsent. It may outlive the port: there is nothing to be held then.
#[derive(Clone, Default)]
pub struct Unsent(Arc<[Ring]>);

impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unsent({} rings)", self.0.len())
    }
}

impl Unsent {
    pub(crate) fn of(sockets: &PacketSockets, shape: &PacketRing) -> Self {
        Self(
            sockets
                .numbers()
                .filter_map(|fd| Ring::of(fd, shape))
                .collect(),
        )
    }

    /// Spoils every frame that has not been sent, for a port without a carrier: the kernel passes over it. Returns how many.
    pub fn discard(&self) -> usize {
        self.0.iter().map(Ring::discard).sum()
    }
}

/// The rings of one packet socket, mapped once more beside the driver's own mapping.
struct Ring {
    memory: NonNull<u8>,
    len: usize,
    /// Bytes from one frame to the next, in the half of the mapping that is for sending.
    frame: usize,
}

// SAFETY: plain memory, shared with the kernel and the driver anyway; words of it are touched as atomics.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

/// `TP_STATUS_SEND_REQUEST` of linux/if_packet.h: the kernel is to send the frame.
const SEND_REQUEST: u32 = 1;

impl Ring {
    /// `None`: the socket's rings have another shape. The kernel maps them whole or not at all.
    fn of(fd: RawFd, shape: &PacketRing) -> Option<Self> {
        let frames_a_block = shape.block.checked_div(shape.frame)?;
        let blocks = shape.count.checked_div(frames_a_block)?;
        let len = 2 * usize::try_from(u64::from(shape.block) * u64::from(blocks)).ok()?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice; the descriptor is checked by it.
        let memory = unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0) };
        if memory == libc::MAP_FAILED {
            return None;
        }
        Some(Self {
            memory: NonNull::new(memory.cast())?,
            len,
            frame: usize::try_from(shape.frame).ok()?,
        })
    }

    fn discard(&self) -> usize {
        let spoilt = |offset: &usize| {
            // `struct tpacket2_hdr` begins with tp_status and tp_len, of four bytes each.
            let (status, len) = (self.word(*offset), self.word(*offset + 4));
            let held = status.load(Ordering::Acquire) == SEND_REQUEST;
            if held {
                // Shorter than an Ethernet header: under PACKET_LOSS, which the driver sets, the kernel passes over it.
                len.store(0, Ordering::Relaxed);
            }
            held
        };
        (self.len / 2..self.len)
            .step_by(self.frame)
            .filter(spoilt)
            .count()
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset + 4 <= self.len, "outside the ring");
        // SAFETY: inside the mapping, which lives as long as this; frames are aligned to 16 bytes.
        unsafe { AtomicU32::from_ptr(self.memory.add(offset).cast().as_ptr()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and nothing of it is lent any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.len) };
    }
}
