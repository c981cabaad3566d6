//! The forwarding engine: what a director does with a burst of frames.
//!
//! Pure: no DPDK, no sockets, no clock (`now` is an argument), no threads, no allocation once a [`Worker`] runs.
//! Each received frame is transmitted, punted to the host, dropped with a [`DropReason`] or held; the identity
//! `rx + generated + from_host = tx + punted + dropped + held` holds at any moment between two calls.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod model;

mod capacity;
mod claims;
mod context;
mod counters;
mod datagram;
mod director;
mod explain;
mod fib;
mod forward;
mod fragment_in;
mod fragment_out;
mod icmp;
mod local;
mod localstack;
mod lvs;
mod model_error;
#[cfg(test)]
mod mutation;
mod neighbour;
mod net;
mod output;
mod overload;
mod packet;
mod pins;
mod pipeline;
mod ratelimit;
mod reassembly;
mod role;
mod shared;
mod snapshot;
#[cfg(test)]
mod testing;
mod transmit;
mod views;
mod virtual_mac;
mod waiting;
mod worker;

pub use capacity::{Capacity, CapacityError};
pub use claims::{AddressWatch, Claim};
pub use counters::{Conservation, DropReason, PortCounters, WorkerCounters};
pub use director::{Director, Neighbourhood};
pub use explain::{Caught, Explanation, Facts, Fate, Sender, SentFrame, ServerFacts};
pub use lvs::{ServiceError, ServiceName, Synchronizer, Taken};
pub use model_error::ModelError;
pub use neighbour::{NeighbourState, NeighbourView};
pub use output::{BURST, Output};
pub use overload::{Droppable, Load, Overload, Shares};
pub use reassembly::{FRAGMENT_BYTES, FRAGMENTS, FragmentFacts};
pub use role::{ROLES, Roles};
pub use views::{
    Applied, ConnectionCounts, ConnectionView, Flooded, RouteView, ServerView, ServiceView, Traffic,
};
pub use worker::Worker;
