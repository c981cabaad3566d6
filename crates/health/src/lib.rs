//! Health checks without a clock, a socket or a thread: what is due when, what an answer means, and what follows for a service.
//!
//! [`Machine`] is one check: when it is made next, and when its server counts as up or down, to the millisecond. [`Checks`] is
//! all of them, kept through reloads. [`Pool`] is a service: quorum, sorry server, slow start. [`bfd`] has sessions with neighbours. The modules [`http`], [`smtp`],
//! [`dns`] and [`reply`] hold the conversations, byte by byte. Time is a [`Duration`](std::time::Duration) since any one moment,
//! always an argument. Words and defaults of timing follow keepalived.conf(5), where nothing else is said.
#![forbid(unsafe_code)]

pub mod bfd;
mod check;
mod checks;
pub mod dns;
pub mod http;
mod machine;
mod passive;
mod policy;
mod pool;
mod random;
pub mod reply;
pub mod smtp;

pub use check::{Aim, Bfd, Bind, Check, Http, Kind, NumberFile, Pattern, Script, Tls, Udp};
pub use checks::{CheckId, Checks, Due, Found, View};
pub use machine::{Change, Machine, Outcome, Timing, Wish};
pub use passive::{Attempts, Passive, Sign, Watch};
pub use policy::{OnFailure, Policy, ServerPolicy, SorryServer, UNPRIVILEGED};
pub use pool::{Judgement, Member, Place, Pool, Wished};
