//! Connection synchronisation: what a director tells its twin of its connections, in the protocol of IPVS.
//!
//! Pure: bytes, connections and moments come in, messages and decisions go out. Nothing here reads a clock, opens a socket or
//! panics on what it is sent. Versions 0 and 1 are read, version 1 is written; what two Tarpons say beside it ([`Note`]) stands
//! in messages that IPVS reads as ones without connections.
//!
//! Sources: the messages of Linux 6.1 as recorded (one stands in `tests/messages.rs`), `linux/ip_vs.h` for the flags' numbers.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod batch;
mod bytes;
mod connection;
mod datagram;
mod error;
mod heard;
mod message;
mod note;
mod rules;
mod teller;
mod whole;

pub use batch::{Batch, FLUSH_MS};
pub use connection::{Addresses, Connection, Flags, SequenceDelta, SequenceDeltas, Splice};
pub use datagram::{Datagram, Route, datagram, frame, group_mac};
pub use error::ParseError;
pub use heard::Heard;
pub use message::{HEADER, Message, Version};
pub use note::{Note, Report};
pub use rules::{Cause, Milestones, Rules, is_told};
pub use teller::{Pace, Teller};
pub use whole::Whole;

use std::net::Ipv4Addr;

/// The group messages go to unless another is set.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 81);
/// The UDP port likewise.
pub const PORT: u16 = 8848;
/// Bytes of an IPv4 and a UDP header, which a message shares the MTU with.
pub const OVERHEAD: u16 = 28;
