//! What becomes of a packet, and why.

use crate::{CapturedFrame, Connection};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use types::{ForwardingMethod, MacAddr, Mark, Scheduler, ServiceKey, Weight};

/// A packet to explain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// In words; see [`crate::packet::parse`].
    pub packet: String,
    /// Refused unless it is of a connection there is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connection: bool,
}

/// Which live packets to trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trace {
    /// Only frames this filter matches as they are received (see [`crate::filter`]); absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Stop after this many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// A packet's facts and its fate: of one that is only supposed, what they would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// The packet, in words.
    pub packet: String,
    /// The port or VLAN it came in on; absent: the frame was refused before that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Mark rules that have a say, in order; the last decides.
    pub mark_rules: Vec<DecidingRule>,
    /// The mark they give; 0 is none.
    pub mark: Mark,
    /// Whether it counts: with `compat = "ipvs"` only on packets for the director itself.
    pub mark_counts: bool,
    /// The service that has new connections of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<CatchingService>,
    /// What is held of the packet that it is a fragment of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragments: Option<Fragments>,
    /// The connection the packet is of, or about. There being one, neither mark nor service is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Who sent it, if it is of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender>,
    /// The persistence template of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// The service's servers in the order its scheduler walks them; of a connection, its own.
    pub servers: Vec<ExplainedServer>,
    /// The server a new connection is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<SocketAddr>,
    /// Frames that leave: the packet, or an answer to it, or a question for its next hop.
    pub sent: Vec<CapturedFrame>,
    /// It goes to the host's stack.
    pub punted: bool,
    /// It waits for its next hop's MAC, or for other fragments. With `neighbour_queue_full` in `dropped` the oldest that waits there
    /// must go for it.
    pub held: bool,
    /// `icmp_rate` keeps back an answer to it, or an error about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unanswered: bool,
    /// Why it ends here, if it does; also what was answered.
    pub dropped: Vec<DropNote>,
}

/// What is held of a fragment's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragments {
    /// Fragments; 0: none of it is held.
    pub held: u16,
    /// Bytes in them.
    pub bytes: u32,
    /// Bytes the whole has behind its IP header; absent: its last fragment, which tells, has not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
    /// Whether the first has come: it says whose the packet is.
    pub has_first: bool,
    /// Milliseconds until it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Fragments of other packets held where it belongs: in one of the four parts of the room there is.
    pub held_beside: u64,
}

/// A mark rule that has a say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidingRule {
    /// Its place, from 1.
    pub number: u32,
    /// What it says, in a line.
    pub rule: String,
}

/// A service that has a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchingService {
    /// What it catches.
    pub key: ServiceKey,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By what it has this packet.
    pub by: CaughtBy,
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// Seconds of persistence, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_s: Option<u32>,
}

/// By what a service has a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaughtBy {
    /// Its firewall mark.
    Mark,
    /// Protocol, address and port.
    Exact,
    /// A data connection of persistent FTP.
    FtpData,
    /// Protocol and address; it has every port (port 0).
    EveryPort,
}

/// Who sent a packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// The client, or somebody about what went to it.
    Client,
    /// The real server, or somebody about what went to it.
    Server,
}

/// A persistence template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The client's network.
    pub client: IpAddr,
    /// Where its connections go.
    pub server: IpAddr,
    /// Milliseconds left.
    pub expires_ms: u64,
}

/// A server as the scheduler meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedServer {
    /// Its address.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: ForwardingMethod,
    /// The weight in force.
    pub weight: Weight,
    /// Active connections.
    pub active: u64,
    /// Inactive ones.
    pub inactive: u64,
    /// What lc and wlc compare: 256 for each active connection, 1 for each inactive.
    pub overhead: u64,
    /// No new connections at this many; 0 is off.
    pub upper_threshold: u32,
    /// New ones again below this many; 0 is three quarters of the upper.
    pub lower_threshold: u32,
    /// The upper threshold was reached and the lower not yet passed again.
    pub overloaded: bool,
    /// Its checks find it down, or it is no longer configured; why it has no new connections beside weight and thresholds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// The port or VLAN towards it; absent: there is no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The next hop there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
    /// The next hop's MAC, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

/// Why a packet ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropNote {
    /// The counter's name.
    pub reason: String,
    /// What it means.
    pub meaning: String,
}

/// A live packet that was traced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// When, in nanoseconds since 1970-01-01 UTC.
    pub timestamp_ns: u64,
    /// The frame as it was received.
    pub received: CapturedFrame,
    /// What decided, and what became of it.
    #[serde(flatten)]
    pub explained: Explained,
}

/// After the last packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEnd {
    /// Packets traced.
    pub traced: u64,
    /// Packets that matched but came faster than they are traced.
    pub missed: u64,
}
