//! What has happened, and why.

use crate::ServiceRef;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Which events are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventFilter {
    /// Only those after this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only those from this moment on, in milliseconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Only this service's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// Go on with those to come, until the client shuts down its sending side.
    pub follow: bool,
}

/// A change of the director's state, with its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counted from 1, on over restarts of the daemon where it keeps its events on disk.
    pub number: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    /// What kind of change.
    pub kind: EventKind,
    /// The service it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// The server it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
    /// The virtual router it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrrp: Option<RouterRef>,
    /// What changed.
    pub what: String,
    /// What brought it about.
    pub cause: String,
}

/// Kinds of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The daemon began to forward.
    Started,
    /// The daemon came to its end.
    Stopped,
    /// The configuration in force changed, by a file or an edit.
    Configured,
    /// A server's checks pass again.
    ServerUp,
    /// A server's checks fail.
    ServerDown,
    /// Clients' attempts to connect to a server fail; its checks are made at once.
    ServerSuspect,
    /// A suspect server takes connections.
    ServerAnswers,
    /// A server is out for a while because attempts to connect to it failed.
    ServerEjected,
    /// That while is over.
    ServerReadmitted,
    /// A script asks for another weight.
    Weight,
    /// A service has its quorum again.
    QuorumWon,
    /// A service has lost its quorum.
    QuorumLost,
    /// More SYNs come for a service than its `syn_cookies` allows: nothing is kept of them.
    FloodBegun,
    /// That is over.
    FloodOver,
    /// A worker gets more than it can take: what is new is let go first.
    OverloadBegun,
    /// That is over.
    OverloadOver,
    /// A virtual router, or a group of them, has its addresses here.
    VrrpMaster,
    /// It leaves them to another director.
    VrrpBackup,
    /// Something it depends on is broken.
    VrrpFault,
    /// It has ended.
    VrrpStopped,
    /// Something that a virtual router tracks is found to be otherwise.
    VrrpTracked,
    /// Another director says that it is master, too, and is worse.
    VrrpConflict,
    /// Somebody else says that a virtual address of this director's is theirs.
    AddressClaimed,
    /// They do not any more.
    AddressUncontested,
    /// The other director's configuration is the same, another, or not known.
    Twin,
}

/// A virtual router, or a group that moves together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterRef {
    /// The instance's name, or the group's.
    pub name: String,
    /// The instance's priority; a group has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

/// After the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsEnd {
    /// The last number given out: to be asked for as `after`.
    pub last: u64,
    /// Events that had been forgotten already: there is only so much room for them.
    pub forgotten: u64,
}

/// Where the file, the configuration in force and the table in force differ, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differences {
    /// In the daemon's file, and not applied yet; or why it cannot be.
    pub file: Vec<String>,
    /// Edits since a file was last applied.
    pub edits: Vec<String>,
    /// Servers that are out of the table, or have another weight there than configured, each with the reason.
    pub health: Vec<String>,
}
