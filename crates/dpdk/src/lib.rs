//! The DPDK edge: safe, owning types over the installed DPDK, and the only user of `dpdk-sys`.
//!
//! [`Eal`] is started once a process; [`Mempool`]s hold packet buffers; a [`Port`] is opened from what the user wrote
//! ([`Device`]), says what it cannot do ([`Limitation`]) and hands out each of its queues once. An [`Mbuf`] frees
//! itself and is a [`wire::Frame`]. Nothing here decides anything about packets.
//!
//! What must outlive what is in the types: queues keep their port open, ports keep their pools, all keep the EAL.
//! Bursts never allocate, lock or call the kernel (what a driver does below is its own affair).
//!
//! The EAL initialises once per process, so tests that need it share one: see `tests/edge.rs`.

mod device;
mod eal;
mod error;
mod hugepages;
mod limitation;
mod link;
mod log;
mod mbuf;
mod mempool;
mod packet_ring;
mod packet_socket;
mod pci;
mod port;
mod probe;
mod queue;
mod setup;
mod start;
mod stats;
#[cfg(test)]
mod testing;
mod thread;
mod unsent;

pub use device::Device;
pub use eal::{Eal, EalConfig, MemoryMode};
pub use error::{DeviceError, EalError, MempoolError, PortError};
pub use hugepages::Hugepages;
pub use limitation::Limitation;
pub use link::{Link, LinkReader};
pub use log::{LogLevel, LogSink};
pub use mbuf::Mbuf;
pub use mempool::{Mempool, MempoolConfig};
pub use pci::PciAddress;
pub use port::{ActiveOffloads, Offloads, Port, PortConfig};
pub use probe::{Capabilities, ProbedPort};
pub use queue::{RxQueue, TxQueue};
pub use stats::PortStats;
pub use thread::ThreadGuard;
pub use unsent::Unsent;
