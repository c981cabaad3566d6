//! What a service does with what its checks find.

use crate::{Check, Passive};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use types::{ForwardingMethod, OnRemoval};

/// What becomes of a server that is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It is taken out of the service; its connections end as `on_removal` says.
    #[default]
    Remove,
    /// Its weight becomes 0: its connections are kept (keepalived's `inhibit_on_failure`).
    Quiesce,
}

impl OnFailure {
    /// Every word, as written in the file.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("remove", Self::Remove), ("quiesce", Self::Quiesce)];

    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Quiesce => "quiesce",
        }
    }
}

/// Who serves when there is no quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SorryServer {
    /// Its address and port.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: ForwardingMethod,
    /// It stays in the table with weight 0 while it does not serve, and keeps its connections (keepalived's `sorry_server_inhibit`).
    pub inhibit: bool,
}

/// Checks of a service, and what follows from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Of every server that has none of its own; a server is up if all its checks are.
    pub checks: Vec<Check>,
    /// What single servers have of their own.
    pub servers: BTreeMap<SocketAddr, ServerPolicy>,
    /// What becomes of a server that is down.
    pub on_failure: OnFailure,
    /// What becomes of the connections of a server that is removed, by its checks or by hand; `None`: as `expire_nodest_conn` says.
    pub on_removal: Option<OnRemoval>,
    /// What is made of attempts to connect that a server refuses or leaves unanswered.
    pub passive: Passive,
    /// The sum of the weights of live servers the service needs.
    pub quorum: u32,
    /// How far the sum must be above to win the quorum, and below to lose it.
    pub hysteresis: u32,
    /// Who serves when there is no quorum.
    pub sorry_server: Option<SorryServer>,
    /// How long a server that came back takes to its full weight; zero: at once.
    pub slow_start: Duration,
    /// Run when the quorum is won.
    pub quorum_up: Vec<String>,
    /// Run when the quorum is lost.
    pub quorum_down: Vec<String>,
    /// Who runs these, and the servers' programs; empty: [`UNPRIVILEGED`].
    pub notify_user: String,
    /// Whether `notify_up` is also run at the start, of servers that are up then (keepalived's `rs_init_notifies`).
    pub init_notifies: bool,
    /// Whether `quorum_down` and `notify_down` are also run when the director stops.
    pub omega: bool,
}

/// Who runs programs unless the configuration says otherwise: never root.
pub const UNPRIVILEGED: &str = "nobody";

impl Policy {
    /// No checks: every server is up.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            checks: Vec::new(),
            servers: BTreeMap::new(),
            on_failure: OnFailure::Remove,
            on_removal: None,
            passive: Passive::new(),
            quorum: 1,
            hysteresis: 0,
            sorry_server: None,
            slow_start: Duration::ZERO,
            quorum_up: Vec::new(),
            quorum_down: Vec::new(),
            notify_user: String::new(),
            init_notifies: false,
            omega: false,
        }
    }

    /// The checks of one server.
    #[must_use]
    pub fn checks_of(&self, server: SocketAddr) -> &[Check] {
        let own = self.servers.get(&server).and_then(|s| s.checks.as_ref());
        own.unwrap_or(&self.checks)
    }

    /// Who runs its programs.
    #[must_use]
    pub fn user(&self) -> &str {
        match self.notify_user.as_str() {
            "" => UNPRIVILEGED,
            user => user,
        }
    }

    /// What becomes of that server when it is down.
    #[must_use]
    pub fn on_failure_of(&self, server: SocketAddr) -> OnFailure {
        let own = self.servers.get(&server).and_then(|s| s.on_failure);
        own.unwrap_or(self.on_failure)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

/// What a server has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerPolicy {
    /// Its checks, instead of the service's; empty: none.
    pub checks: Option<Vec<Check>>,
    /// What becomes of it when it is down.
    pub on_failure: Option<OnFailure>,
    /// Run when it comes up.
    pub notify_up: Vec<String>,
    /// Run when it goes down.
    pub notify_down: Vec<String>,
}
