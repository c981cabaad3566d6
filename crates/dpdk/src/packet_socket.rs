//! What `net_af_packet` does not count: frames for which the kernel found no room in a queue's ring. (DPDK 22.11 leaves a port's
//! missed frames at 0 there.) The kernel knows, by the packet socket below each queue.

use crate::link;
use std::{
    fs,
    os::fd::RawFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The sockets of a port's queues, which live as long as the port.
#[derive(Debug, Default)]
pub(crate) struct PacketSockets {
    sockets: Vec<RawFd>,
    /// Lost so far: the kernel forgets at every look.
    lost: AtomicU64,
}

impl PacketSockets {
    /// This process's, on the kernel's interface `name`.
    pub fn of(name: &str) -> Self {
        let Some(index) = link::index(name) else {
            return Self::default();
        };
        let all = fs::read_dir("/proc/self/fd").into_iter().flatten();
        let numbers = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Self {
            sockets: numbers.filter(|fd| bound_to(*fd) == Some(index)).collect(),
            lost: AtomicU64::new(0),
        }
    }

    /// Their descriptors.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.sockets.iter().copied()
    }

    /// Frames lost since the port was opened.
    pub fn lost(&self) -> u64 {
        let now: u64 = self.sockets.iter().map(|fd| lost_since(*fd)).sum();
        self.lost.fetch_add(now, Relaxed) + now
    }
}

/// The interface a packet socket is bound to; `None`: it is something else.
fn bound_to(fd: RawFd) -> Option<i32> {
    // SAFETY: all zeroes is a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).ok()?;
    // SAFETY: room for `len` bytes; another kind of descriptor or address is an error or cut off.
    let result = unsafe { libc::getsockname(fd, (&raw mut address).cast(), &raw mut len) };
    let is_packet = i32::from(address.sll_family) == libc::AF_PACKET;
    (result == 0 && is_packet).then_some(address.sll_ifindex)
}

/// Frames a packet socket's ring had no room for since this was last asked.
fn lost_since(fd: RawFd) -> u64 {
    /// PACKET_STATISTICS of linux/if_packet.h.
    const STATISTICS: libc::c_int = 6;
    /// `struct tpacket_stats` there: all frames, and those of them that were dropped.
    type Stats = [u32; 2];
    let mut stats: Stats = [0; 2];
    let Ok(mut len) = libc::socklen_t::try_from(size_of::<Stats>()) else {
        return 0;
    };
    // SAFETY: room for `len` bytes. The port that is asked has the socket open.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_PACKET,
            STATISTICS,
            (&raw mut stats).cast(),
            &raw mut len,
        )
    };
    let [_, dropped] = stats;
    if result == 0 { dropped.into() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{PacketSockets, bound_to};

    #[test]
    fn what_is_no_packet_socket_is_bound_to_nothing() {
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        assert_eq!(bound_to(std::os::fd::AsRawFd::as_raw_fd(&file)), None);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(bound_to(std::os::fd::AsRawFd::as_raw_fd(&socket)), None);
        assert_eq!(PacketSockets::of("no-such-if0").lost(), 0);
    }
}
