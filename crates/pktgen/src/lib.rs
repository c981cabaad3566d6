//! A packet generator: what to send (`template`, `flows`, `prototype`, `source`), when (`rate`), and what comes back (`parse`,
//! `meter`), all without DPDK, sockets or a clock; and, in the modules behind `run`, the ports it is sent on.
#![forbid(unsafe_code)]

pub mod args;
pub mod axis;
pub mod counts;
pub mod flood;
pub mod flows;
pub mod gaps;
pub mod load;
pub mod meter;
pub mod parse;
pub mod pcap;
pub mod plot;
pub mod prototype;
pub mod random;
pub mod rate;
pub mod recorded;
pub mod report;
pub mod rfc2544;
pub mod rfc9693;
pub mod run;
pub mod search;
pub mod soak;
pub mod source;
pub mod spread;
pub mod stamp;
pub mod stateful;
pub mod station;
pub mod template;
pub mod tx;
pub mod wiring;
pub mod worker;
