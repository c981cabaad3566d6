//! What can be asked of the daemon.

use crate::EventFilter;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, str::FromStr};
use types::{
    ForwardingMethod, IpNet, PersistenceEngine, Protocol, Scheduler, SchedulerFlag, Tunnel, Weight,
};

macro_rules! commands {
    ($($(#[doc = $doc:literal])+ $variant:ident $(($args:ty))? = $name:literal),+ $(,)?) => {
        /// A command with its arguments.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "command")]
        pub enum Command {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant $(($args))?),+
        }

        impl Command {
            /// Every command's name, as in `"command": "..."`.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// This command's name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name),+ }
            }
        }
    };
}

commands! {
    /// How the director is: answered with [`crate::Status`].
    Status = "status",
    /// Services, servers and their traffic: `Vec<`[`crate::Service`]`>`.
    Services = "services",
    /// Connections: a stream of [`crate::Connection`], then [`crate::ConnectionsEnd`].
    Connections(ConnectionFilter) = "connections",
    /// Ports: `Vec<`[`crate::Port`]`>`.
    Ports = "ports",
    /// Neighbours (ARP and neighbour discovery): `Vec<`[`crate::Neighbour`]`>`.
    Neighbours = "neighbours",
    /// Routes in use: `Vec<`[`crate::Route`]`>`.
    Routes = "routes",
    /// Mark rules with the packets they matched: `Vec<`[`crate::MarkRule`]`>`.
    Marks = "marks",
    /// Health checks and what they found: `Vec<`[`crate::ServiceHealth`]`>`, of the services that have any.
    Health = "health",
    /// Virtual routers: `Vec<`[`crate::Vrrp`]`>`.
    Vrrp = "vrrp",
    /// Gives the addresses of a virtual router, and of those that move with it, to another director: [`crate::Edited`].
    Failover(crate::Failover) = "failover",
    /// The same as a rehearsal, which measures and takes them back: [`crate::Edited`] when it has begun.
    Drill(crate::Drill) = "drill",
    /// The drill under way, or the last one: [`crate::DrillState`], or null.
    DrillState = "drill_state",
    /// The other director and its configuration: [`crate::Twin`], or null without `[twin]`.
    Twin = "twin",
    /// Compares the two configurations, or makes one of them that of both: [`crate::Edited`] when it has begun; what comes of it is in
    /// [`crate::Twin`].
    TwinAsk(crate::TwinAsk) = "twin_ask",
    /// Connection synchronisation: [`crate::Sync`], or null when nothing is synchronised.
    Sync = "sync",
    /// Starts a daemon of connection synchronisation (`ipvsadm --start-daemon`): [`crate::Edited`].
    SyncStart(crate::SyncStart) = "sync_start",
    /// Stops one (`ipvsadm --stop-daemon`): [`crate::Edited`].
    SyncStop(crate::SyncStop) = "sync_stop",
    /// Changes of state with their causes: a stream of [`crate::Event`], then [`crate::EventsEnd`].
    Events(EventFilter) = "events",
    /// Where file, configuration and table differ, and why: [`crate::Differences`].
    Diff = "diff",
    /// Packet accounting: [`crate::Counters`].
    Counters = "counters",
    /// What applying a configuration would do; changes nothing: [`crate::Applied`].
    Check(Document) = "check",
    /// Makes a configuration the desired state: [`crate::Applied`]. Refused whole if anything in it needs a restart.
    Apply(Document) = "apply",
    /// Applies the daemon's own configuration file again: [`crate::Applied`].
    Reload = "reload",
    /// Adds a service without servers: [`crate::Edited`].
    ServiceAdd(ServiceAdd) = "service_add",
    /// Changes a service; what is not named stays: [`crate::Edited`].
    ServiceEdit(ServiceEdit) = "service_edit",
    /// Removes a service with its servers: [`crate::Edited`].
    ServiceDelete(ServiceDelete) = "service_delete",
    /// Adds a server to a service: [`crate::Edited`].
    ServerAdd(ServerAdd) = "server_add",
    /// Changes a server; what is not named stays: [`crate::Edited`].
    ServerEdit(ServerEdit) = "server_edit",
    /// Removes a server: [`crate::Edited`].
    ServerDelete(ServerDelete) = "server_delete",
    /// Quiesces a server and waits for its connections to end: a stream of [`crate::DrainProgress`], then [`crate::DrainEnd`].
    ServerDrain(Drain) = "server_drain",
    /// Copies of the frames received and sent: a stream of [`crate::CapturedFrame`], then [`crate::CaptureEnd`].
    /// Ends after `count` frames, or when the client shuts down its sending side, or closes.
    Capture(Capture) = "capture",
    /// What would become of a packet, and why; changes nothing: [`crate::Explained`].
    Explain(crate::Explain) = "explain",
    /// Live packets explained, a bounded number a second: a stream of [`crate::Traced`], then [`crate::TraceEnd`]. Ends as
    /// `capture` does.
    Trace(crate::Trace) = "trace",
    /// Removes every service: [`crate::Edited`].
    Clear = "clear",
    /// Sets the traffic statistics of services and servers to zero: [`crate::Edited`].
    Zero(Zero) = "zero",
    /// Settings in force: `Vec<`[`crate::Setting`]`>`.
    Settings = "settings",
    /// Changes settings, all that are named or none: [`crate::Edited`].
    SettingsEdit(SettingsEdit) = "settings_edit",
    /// Changes the timeouts named, and answers with all three: [`crate::Timeouts`].
    Timeouts(TimeoutsEdit) = "timeouts",
    /// Stops the daemon cleanly: [`crate::Edited`], then the connection closes.
    Shutdown = "shutdown",
}

impl Command {
    /// Whether lines with `item` come before the last line of the answer.
    #[must_use]
    pub const fn streams(&self) -> bool {
        matches!(
            self,
            Self::Connections(_)
                | Self::ServerDrain(_)
                | Self::Capture(_)
                | Self::Events(_)
                | Self::Trace(_)
        )
    }
}

/// Whose statistics to set to zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zero {
    /// Only this service's and its servers'; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
}

/// Settings to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsEdit {
    /// Names, as in `[settings]` or as the kernel's (`net.ipv4.vs.drop_entry`), with values as they would be written in a file.
    pub set: Vec<(String, String)>,
}

/// Timeouts to change, in seconds; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsEdit {
    /// The setting `tcp_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u32>,
    /// The setting `tcp_fin_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_fin: Option<u32>,
    /// The setting `udp_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<u32>,
}

/// Which connections to list. Every condition given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionFilter {
    /// Only this protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Only connections to this virtual address; port 0: to any of its ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<SocketAddr>,
    /// Only clients in this prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpNet>,
    /// Only servers in this prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<IpNet>,
    /// Only this state, by its name in listings (`ESTABLISHED`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Stop after this many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Also persistence templates.
    #[serde(skip_serializing_if = "is_false")]
    pub templates: bool,
}

/// A configuration file's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The name to show in messages.
    pub file: String,
    /// The text itself.
    pub toml: String,
}

/// Which service: `{"protocol": "tcp", "address": "192.0.2.10:80"}`, or by mark, `{"mark": 80}` (for IPv6 with `"family":
/// "ipv6"`).
pub type ServiceRef = types::ServiceKey;

/// A service to add. What is absent takes the configuration file's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAdd {
    /// What it catches.
    pub service: ServiceRef,
    /// A name for listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Default wlc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// What it may do besides; an empty list is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_flags: Option<Vec<SchedulerFlag>>,
    /// Seconds of persistence by client address; absent or 0 is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<u32>,
    /// Clients of one network count as one: an IPv4 mask (`255.255.255.0`) or an IPv6 prefix length (`64`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<String>,
    /// What tells connections of one client apart besides its address; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_engine: Option<EngineChoice>,
    /// Each datagram is scheduled by itself (UDP, or by mark); default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_packet: Option<bool>,
    /// Forwarding method of servers added without one; default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<ForwardingMethod>,
}

/// A persistence engine (`"sip"`), or that there is to be none (`"none"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// None.
    None,
    /// That.
    #[serde(untagged)]
    Engine(PersistenceEngine),
}

impl EngineChoice {
    /// The engine, if it is one.
    #[must_use]
    pub const fn engine(self) -> Option<PersistenceEngine> {
        match self {
            Self::None => None,
            Self::Engine(engine) => Some(engine),
        }
    }
}

impl FromStr for EngineChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            name => name
                .parse()
                .map(Self::Engine)
                .map_err(|why| format!("{why}, none")),
        }
    }
}

/// Changes to a service: [`ServiceAdd`]'s fields, where absent is "as it is" (and 0 seconds of persistence is off).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEdit {
    /// Which service.
    pub service: ServiceRef,
    /// A name for listings; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The scheduling algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// What it may do besides; an empty list is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_flags: Option<Vec<SchedulerFlag>>,
    /// Seconds of persistence; 0 is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<u32>,
    /// As in [`ServiceAdd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<String>,
    /// As in [`ServiceAdd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_engine: Option<EngineChoice>,
    /// As in [`ServiceAdd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_packet: Option<bool>,
    /// Forwarding method of servers added without one from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<ForwardingMethod>,
}

/// A service to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDelete {
    /// Which service.
    pub service: ServiceRef,
}

/// A server to add to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerAdd {
    /// To which service.
    pub service: ServiceRef,
    /// The real server's address and port.
    pub server: SocketAddr,
    /// Absent: the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<ForwardingMethod>,
    /// What packets are wrapped in, with the method `tunnel`; absent: ipip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Default 1; 0 quiesces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// No new connections at this many; default 0, off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_threshold: Option<u32>,
    /// New connections again below this many; default 0, three quarters of the upper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_threshold: Option<u32>,
}

/// Changes to a server, where absent is "as it is".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerEdit {
    /// Of which service.
    pub service: ServiceRef,
    /// Which server.
    pub server: SocketAddr,
    /// The forwarding method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<ForwardingMethod>,
    /// What packets are wrapped in, with the method `tunnel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// 0 quiesces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// As in [`ServerAdd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_threshold: Option<u32>,
    /// As in [`ServerAdd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_threshold: Option<u32>,
}

/// A server to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerDelete {
    /// Of which service.
    pub service: ServiceRef,
    /// Which server.
    pub server: SocketAddr,
}

/// A server to drain: its weight becomes 0, its connections go on until they end. Drained is a server without any, the
/// closing ones among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Of which service.
    pub service: ServiceRef,
    /// Which server.
    pub server: SocketAddr,
    /// Give up waiting after this many seconds; the server stays quiesced. Absent: wait for as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u32>,
    /// Remove the server once it has no connections left.
    #[serde(default, skip_serializing_if = "is_false")]
    pub delete: bool,
}

/// What to capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// Only frames this filter matches (see [`crate::filter`]); absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only these ports, by name; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Stop after this many frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Bytes to keep of each frame; absent: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snaplen: Option<u32>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes skip_serializing_if a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}
