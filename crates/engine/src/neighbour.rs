//! Who is where on the links: the ARP and neighbour discovery cache, shared by all workers.
//!
//! Every field is an atomic. A sender that holds a [`NeighbourId`] loads one word, `link`, in which MAC and state
//! stand together, from the entry's one line. Entries are found by hash within a bounded window; insertion and
//! removal (rare, and never needed for packets to a resolved neighbour) take a flag that is tried a bounded number
//! of times, never waited for.

mod entry;
mod link;
mod questions;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use link::{Link, State};
pub(crate) use questions::Probe;
pub(crate) use table::{NeighbourTable, Resolved};

use std::net::IpAddr;
use types::{InterfaceId, MacAddr};

/// A slot of the table. Stable as long as the entry is pinned, permanent, or in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NeighbourId(pub u32);

impl NeighbourId {
    /// No slot of any table.
    pub const NOBODY: Self = Self(u32::MAX);
}

/// What is known of a neighbour, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Asked for, no answer yet.
    Incomplete,
    /// Known.
    Reachable,
    /// Known, but not heard of for a while: being asked again, used meanwhile.
    Probing,
    /// Did not answer.
    Failed,
    /// Set by hand: never asked, never forgotten.
    Permanent,
}

/// One line of the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourView {
    /// The link.
    pub interface: InterfaceId,
    /// The address.
    pub address: IpAddr,
    /// Its MAC, where one is known.
    pub mac: Option<MacAddr>,
    /// How sure that is.
    pub state: NeighbourState,
    /// Kept because a real server or a route needs it.
    pub pinned: bool,
    /// Milliseconds since it last answered or announced itself; `None`: never.
    pub confirmed_ms_ago: Option<u64>,
    /// Milliseconds since a packet was last sent to it; `None`: never.
    pub used_ms_ago: Option<u64>,
}
