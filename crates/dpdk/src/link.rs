//! Link state, from the driver or, where the driver does not know, from the kernel's interface below.

use crate::Eal;
use std::{
    ffi::CString,
    fmt,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// The state of a port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Carrier.
    pub up: bool,
    /// Megabits per second, where there is such a thing.
    pub speed_mbps: Option<u32>,
    /// Both directions at once.
    pub full_duplex: bool,
}

impl Link {
    /// What the driver says.
    pub(crate) fn of_port(port: u16) -> Option<Self> {
        let (mut speed, mut up, mut full) = (0, 0, 0);
        // SAFETY: three places to write to; an unknown port is an error.
        let result = unsafe {
            dpdk_sys::edge_link_get_nowait(port, &raw mut speed, &raw mut up, &raw mut full)
        };
        // u32::MAX is DPDK's "unknown", 0 its "none".
        let speed_mbps = Some(speed).filter(|&speed| speed != 0 && speed != u32::MAX);
        (result == 0).then_some(Self {
            up: up != 0,
            speed_mbps,
            full_duplex: full != 0,
        })
    }
}

/// Reads a port's link. It may outlive the port, whose link is down then.
#[derive(Clone)]
pub struct LinkReader {
    eal: Eal,
    port: u16,
    /// The kernel's interface below.
    interface: Option<String>,
}

impl fmt::Debug for LinkReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkReader({})", self.port)
    }
}

impl LinkReader {
    pub(crate) const fn new(eal: Eal, port: u16, interface: Option<String>) -> Self {
        Self {
            eal,
            port,
            interface,
        }
    }

    /// The link now. Where the driver does not know, the kernel's interface below is asked, if there is one.
    #[must_use]
    pub fn link(&self) -> Link {
        let link = self.eal.control(|| Link::of_port(self.port));
        let link = link.unwrap_or(Link {
            up: true,
            speed_mbps: None,
            full_duplex: true,
        });
        match self.interface.as_deref().and_then(carrier) {
            Some(up) => Link {
                up: link.up && up,
                ..link
            },
            None => link,
        }
    }
}

/// Whether the kernel's interface `name`, in this network namespace, is up and has a carrier. `None` if that cannot be told.
pub(crate) fn carrier(name: &str) -> Option<bool> {
    let request = interface_call(name, libc::SIOCGIFFLAGS, |_| ())?;
    // SAFETY: SIOCGIFFLAGS has filled in the flags.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    // IFF_RUNNING follows a lost carrier only after up to a second (the kernel's link watch), ethtool's answer at once.
    let running = || flags & libc::IFF_RUNNING != 0;
    Some(flags & libc::IFF_UP != 0 && ethtool_link(name).unwrap_or_else(running))
}

/// What ethtool calls "Link detected"; `None` where the driver does not tell.
fn ethtool_link(name: &str) -> Option<bool> {
    /// `struct ethtool_value` of linux/ethtool.h.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    /// ETHTOOL_GLINK of linux/ethtool.h.
    const GET_LINK: u32 = 0x0a;
    let mut value = Value {
        command: GET_LINK,
        data: 0,
    };
    let data = (&raw mut value).cast();
    interface_call(name, libc::SIOCETHTOOL, |request| {
        request.ifr_ifru.ifru_data = data;
    })?;
    Some(value.data != 0)
}

/// The number of the kernel's interface `name`; `None` if there is none.
pub(crate) fn index(name: &str) -> Option<i32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a text that ends with a zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    i32::try_from(index).ok().filter(|index| *index > 0)
}

/// Sets the kernel's interface up if it is down, as starting a NIC does. False if that is refused.
pub(crate) fn set_up(name: &str) -> bool {
    let Some(request) = interface_call(name, libc::SIOCGIFFLAGS, |_| ()) else {
        return false;
    };
    // SAFETY: SIOCGIFFLAGS has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = flags | IFF_UP;
    flags == up
        || interface_call(name, libc::SIOCSIFFLAGS, |request| {
            request.ifr_ifru.ifru_flags = up
        })
        .is_some()
}

/// `libc::IFF_UP` as it stands in an ifreq.
const IFF_UP: i16 = 1;

/// Queues of the kernel's interface, as AF_XDP sees them.
pub(crate) struct Channels {
    /// Those a port can have.
    pub usable: u16,
    /// Those frames arrive on.
    pub receiving: u32,
}

/// Asks the kernel's interface for its queues; one, if it cannot tell.
pub(crate) fn channels(name: &str) -> Channels {
    /// `struct ethtool_channels` of linux/ethtool.h.
    #[repr(C)]
    #[derive(Default)]
    struct Answer {
        command: u32,
        /// Largest: receive, transmit, other, combined.
        max: [u32; 4],
        /// Now: receive, transmit, other, combined.
        now: [u32; 4],
    }
    /// ETHTOOL_GCHANNELS of linux/ethtool.h.
    const GET_CHANNELS: u32 = 0x3c;
    let mut answer = Answer {
        command: GET_CHANNELS,
        ..Answer::default()
    };
    let data = (&raw mut answer).cast();
    if interface_call(name, libc::SIOCETHTOOL, |request| {
        request.ifr_ifru.ifru_data = data
    })
    .is_none()
    {
        return Channels {
            usable: 1,
            receiving: 1,
        };
    }
    // The driver counts combined channels only; a veth has none, whatever its queues.
    let [rx, _, _, combined] = answer.now;
    Channels {
        usable: u16::try_from(combined).unwrap_or(u16::MAX).max(1),
        receiving: rx + combined,
    }
}

/// Raises the MTU of the kernel's interface to at least `mtu`. False if it is lower and stays so.
pub(crate) fn raise_mtu(name: &str, mtu: u16) -> bool {
    let Some(request) = interface_call(name, libc::SIOCGIFMTU, |_| ()) else {
        return false;
    };
    // SAFETY: SIOCGIFMTU has filled in the MTU.
    let now = unsafe { request.ifr_ifru.ifru_mtu };
    now >= mtu.into()
        || interface_call(name, libc::SIOCSIFMTU, |request| {
            request.ifr_ifru.ifru_mtu = mtu.into()
        })
        .is_some()
}

/// One of the kernel's calls about an interface: name in, answer out.
fn interface_call(
    name: &str,
    call: libc::Ioctl,
    fill: impl FnOnce(&mut libc::ifreq),
) -> Option<libc::ifreq> {
    let bytes = CString::new(name).ok()?.into_bytes_with_nul();
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if bytes.len() > request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    fill(&mut request);
    // SAFETY: an ordinary socket.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return None;
    }
    // SAFETY: a new descriptor, nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the calls made here read and write an ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), call, &raw mut request) };
    (result == 0).then_some(request)
}

#[cfg(test)]
mod tests {
    use super::carrier;

    #[test]
    fn the_kernel_knows_its_interfaces() {
        assert!(carrier("lo").is_some());
        assert_eq!(carrier("no-such-if0"), None);
        assert_eq!(carrier("a-name-that-is-far-too-long"), None);
    }
}
