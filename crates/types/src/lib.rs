//! Newtypes every Tarpon crate shares.
//!
//! Plain values only: no I/O, no clock, no allocation. The names are LVS's own (see `docs/ARCHITECTURE.md`, "Words").
#![forbid(unsafe_code)]

mod address;
mod id;
mod lvs;
mod tick;
mod tunnel;

pub use address::{InterfaceName, IpNet, IpNetError, MacAddr, MacAddrError, VlanId};
pub use id::{InterfaceId, PortId, ServerId, ServiceId, WorkerId};
pub use lvs::{
    Family, ForwardingMethod, Mark, OnRemoval, PersistenceEngine, Protocol, RpFilter, Scheduler,
    SchedulerFlag, SchedulerFlags, ServiceKey, SynCookies, Weight,
};
pub use tick::Tick;
pub use tunnel::{GueChecksum, Tunnel};
