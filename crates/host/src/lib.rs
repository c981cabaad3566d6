//! The host a director runs on: TAP devices towards its network stack, rtnetlink, the lock file, peer credentials and
//! the service manager.
//!
//! Everything here is synchronous and off the hot path. `unsafe` stands in `tap`, for one ioctl the
//! field's safe wrappers lack, in `real_time`, for one system call, and in `cycles`, for one instruction.

mod cycles;
mod lock;
mod netlink;
mod peer;
mod real_time;
mod service;
mod sysctl;
mod tap;

pub use cycles::cycles;
pub use lock::{Lock, LockError};
pub use netlink::{Link, Netlink, NetlinkError};
pub use peer::{Peer, peer_of};
pub use real_time::real_time;
pub use service::ServiceManager;
pub use sysctl::{interface_sysctl, set_interface_sysctl};
pub use tap::{Tap, TapError};
