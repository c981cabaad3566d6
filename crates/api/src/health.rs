//! What the daemon tells of health.

use crate::ServiceRef;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use types::Weight;

/// A service and its checks; in the answer to `health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// Its name, if the configuration gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it catches.
    #[serde(flatten)]
    pub key: ServiceRef,
    /// Whether the living servers' weights make its quorum.
    pub quorum: bool,
    /// The sum of the weights of live servers it needs.
    pub needed: u32,
    /// The sum there is.
    pub live: u64,
    /// Who serves when there is no quorum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorry_server: Option<SocketAddr>,
    /// Its servers, in the order of the configuration.
    pub servers: Vec<CheckedServer>,
}

/// A server and its checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedServer {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether all its checks find it up; one without any is.
    pub up: bool,
    /// Clients' attempts to connect failed (`eject_after`), whatever its checks find.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ejected: bool,
    /// The weight the configuration and edits give it.
    pub weight: Weight,
    /// The weight it has; absent: it is not in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_in_force: Option<Weight>,
    /// Its checks.
    pub checks: Vec<CheckState>,
}

/// How a check is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckState {
    /// Its type, as in the configuration.
    pub kind: String,
    /// The endpoint it asks.
    pub target: SocketAddr,
    /// Whether the server is up, as far as it goes.
    pub up: bool,
    /// Failures in a row that have not made the server down yet.
    pub failures: u32,
    /// Milliseconds since that changed last; absent: never since the daemon started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// The last run; absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<CheckRun>,
}

/// One run of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRun {
    /// Milliseconds since it ended.
    pub ago_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What it found.
    pub outcome: CheckOutcome,
    /// Why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a run found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// The server answers as it should.
    Passed,
    /// It does not.
    Failed,
    /// The director could not ask; says nothing about the server.
    Undecided,
}

/// What its checks make of a server; in the answer to `services`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHealth {
    /// Whether all its checks find it up.
    pub up: bool,
    /// It is not in the table: what is shown of it is its configuration.
    #[serde(default)]
    pub removed: bool,
    /// It is the sorry server, and serves.
    #[serde(default)]
    pub sorry: bool,
    /// Why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
