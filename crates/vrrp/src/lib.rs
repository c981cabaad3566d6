//! VRRP: who of several directors holds the virtual addresses (RFC 3768, RFC 5798, RFC 9568).
//!
//! Pure: bytes and moments come in, frames and decisions go out. Nothing here reads a clock, opens a socket or panics on
//! what it is sent. A moment is a [`std::time::Duration`] since any start the caller likes.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod announce;
mod cause;
mod codec;
mod drill;
mod error;
mod frame;
mod readiness;
mod seal;
mod timers;
mod track;
mod unit;

pub use announce::{Announcer, Repetition};
pub use cause::Cause;
pub use codec::{Advertisement, Authentication, Checksum, Version};
pub use drill::{Drill, PROBE, Progress as DrillProgress, Seen as DrillSeen, Step as DrillStep};
pub use error::ParseError;
pub use frame::{Link, Received, advertisement, announcements, probe, question};
pub use readiness::{Readiness, Waits};
pub use seal::{Seal, sealed};
pub use timers::{Interval, master_down, skew};
pub use track::{
    Finding, Gateway, MOST_WEIGHT, Meaning, Standing, Tracked, Tracker, TrackerKind, Trackers,
    Trials, Weight, file_number, share_of_servers,
};
pub use unit::{Action, Counters, Member, MemberSettings, Preemption, State, Unit};

/// The IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// What hears IPv4 advertisements.
pub const GROUP4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(224, 0, 0, 18);
/// What hears IPv6 advertisements.
pub const GROUP6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Time to live of every advertisement: it has crossed no router.
pub const TTL: u8 = 255;
/// The priority of who owns the addresses.
pub const OWNER: u8 = 255;
/// The priority of who gives them up.
pub const RELEASE: u8 = 0;
