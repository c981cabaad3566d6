//! The forwarding engine: what a director does with a burst of frames.
//!
//! Pure: no DPDK, no sockets, no clock (`now` is an argument), no threads, no allocation once a [`Worker`] runs.
//! Each received frame is transmitted, punted to the host, dropped with a [`DropReason`] or held; the identity
//! `rx + generated + from_host = tx + punted + dropped + held` holds at any moment between two calls.
#![forbid(unsafe_code)]

pub mod model;

mod counters;
mod output;
mod packet;

pub use counters::{Conservation, DropReason, PortCounters, WorkerCounters};
pub use output::{BURST, Output};
