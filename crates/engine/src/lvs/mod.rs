//! Virtual services: finding a packet's connection, making one where a service wants it, and sending the packet on its
//! way to the real server or back to the client.
//!
//! The order of decisions is IPVS's: connection, ICMP about a connection, service, schedule; what is none of these goes on
//! to plain forwarding or the director's own stack.

mod age;
mod attempts;
mod busy;
mod call_out;
mod calls;
mod check;
mod connect;
mod cookies;
mod defence;
mod entry;
mod error;
mod estimate;
mod family;
mod flush;
mod ftp;
mod headers;
mod known;
mod limits;
mod lingering;
mod list;
mod lookup;
mod marks;
mod one_packet;
mod outer;
mod paths;
mod persist;
mod plan;
mod related;
mod reset;
mod rewrite;
mod roll;
mod roster;
mod schedule;
mod segment_out;
mod send;
mod services;
mod state;
mod straight;
mod sync;
mod traffic;
mod tunnel;
mod wrap;

pub(crate) use age::{Hands, age, go_on, go_on_idly};
pub(crate) use busy::Busy;
pub(crate) use check::{check, vips};
pub(crate) use connect::{class, marks_count, protocol_of, serves, stray};
pub(crate) use cookies::{Asked, Guards, Secret, Splice, Tallies, answer_at_once, ask_again};
pub(crate) use defence::{Defences, Defender, defend};
pub(crate) use entry::is_nat;
pub use error::{ServiceError, ServiceName};
pub(crate) use estimate::{Estimator, PERIOD_MS};
pub(crate) use family::{Ip, tuple};
pub(crate) use flush::Flush;
pub(crate) use limits::{Clients, Gates};
pub(crate) use lingering::Lingering;
pub(crate) use list::{call_of, list, view};
pub(crate) use lookup::{AHEAD, Kind, Lookup, guess, lookup, prefetch_ahead};
pub(crate) use marks::Marks;
pub(crate) use persist::template_of;
pub(crate) use related::{candidates, icmp, ipsec};
pub(crate) use reset::{Resets, reset};
pub(crate) use rewrite::undo_nat;
pub(crate) use roll::Roll;
pub(crate) use roster::Roster;
pub(crate) use services::{Service, Services, Target};
pub(crate) use state::{Chunk, Timeouts};
pub(crate) use straight::{Stop, stretch};
pub(crate) use sync::Notes;
pub use sync::{Synchronizer, Taken};
pub(crate) use traffic::TrafficCells;
