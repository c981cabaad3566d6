//! Prepares real servers for an LVS director: direct routing (sysctl, arptables, iptables, firewalld, nftables), tunnelling, NAT.
//!
//! [`plan()`] is pure: requests and facts in, steps out. [`live`] carries steps out, remembers what was there, and takes them back to the byte.
//! [`script`] and [`ansible`] write the same steps for servers without this program. [`report`] holds what verifies by behaviour: the server's own check and
//! the probe over the wire. [`needs()`] says, from a director's services, what each server needs.
#![forbid(unsafe_code)]

pub mod action;
mod ansible;
mod cli;
mod error;
pub mod facts;
pub mod live;
mod needs;
mod others;
mod plan;
pub mod report;
mod request;
mod script;

pub use ansible::ansible;
pub use cli::{Args, print_needs, run};
pub use error::Refusal;
pub use needs::{Need, ServerView, ServiceView, needs};
pub use others::{Platform, instructions};
pub use plan::{Plan, UNIT_PREFIX, plan};
pub use request::{Boot, Method, Request};
pub use script::{Scripts, scripts};
