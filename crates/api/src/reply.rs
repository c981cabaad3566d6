//! What the daemon answers.

use crate::{Bytes, Differences, Event, EventsEnd, ServerHealth, ServiceHealth};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use types::{
    ForwardingMethod, IpNet, MacAddr, Mark, PersistenceEngine, Protocol, Scheduler, SchedulerFlag,
    ServiceKey, Tunnel, VlanId, Weight,
};

/// What `ok` holds: which one follows from the command.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To `status`.
    Status(Box<Status>),
    /// To `services`.
    Services(Vec<Service>),
    /// To `ports`.
    Ports(Vec<Port>),
    /// To `neighbours`.
    Neighbours(Vec<Neighbour>),
    /// To `routes`.
    Routes(Vec<Route>),
    /// To `marks`.
    Marks(Vec<MarkRule>),
    /// To `health`.
    Health(Vec<ServiceHealth>),
    /// To `vrrp`.
    Vrrp(Vec<crate::Vrrp>),
    /// To `sync`.
    Sync(Box<Option<crate::Sync>>),
    /// To [`crate::Command::DrillState`].
    DrillState(Option<crate::DrillState>),
    /// To [`crate::Command::Twin`].
    Twin(Box<Option<crate::Twin>>),
    /// After the items of `events`.
    Events(EventsEnd),
    /// To `diff`.
    Differences(Differences),
    /// To `counters`.
    Counters(Counters),
    /// To `check`, `apply` and `reload`.
    Applied(Applied),
    /// To `service_*`, `server_*` (but drain), `failover`, `sync_*`, `clear`, `zero` and `shutdown`.
    Edited(Edited),
    /// To `settings`.
    Settings(Vec<Setting>),
    /// To `timeouts`.
    Timeouts(Timeouts),
    /// After the items of `connections`.
    Connections(ConnectionsEnd),
    /// After the items of `server_drain`.
    Drain(DrainEnd),
    /// After the items of `capture`.
    Capture(CaptureEnd),
    /// To `explain`.
    Explained(Box<crate::Explained>),
    /// After the items of `trace`.
    Trace(crate::TraceEnd),
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key in `[settings]`.
    pub name: String,
    /// In force: a number, a text, true or false, or a list.
    pub value: serde_json::Value,
    /// Where nobody sets it.
    pub default: serde_json::Value,
}

/// Timeouts in use, in seconds (`ipvsadm -L --timeout`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Of an established TCP connection.
    pub tcp: u32,
    /// Of a TCP connection in FIN_WAIT.
    pub tcp_fin: u32,
    /// Of a UDP connection.
    pub udp: u32,
}

/// What `item` holds: which one follows from the command.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Item {
    /// Of `connections`.
    Connection(Connection),
    /// Of `server_drain`.
    Drain(DrainProgress),
    /// Of `capture`.
    Frame(CapturedFrame),
    /// Of `events`.
    Event(Event),
    /// Of `trace`.
    Traced(Box<crate::Traced>),
}

/// How the director is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The director's name in the configuration.
    pub name: String,
    /// The daemon's version.
    pub version: String,
    /// DPDK's version, as it says it.
    pub dpdk: String,
    /// The daemon's process.
    pub pid: u32,
    /// Seconds since it started forwarding.
    pub uptime_s: u64,
    /// The configuration file it was started with.
    pub config_file: String,
    /// Whether it behaves as Linux's IPVS in every default (`compat = "ipvs"`).
    pub compat_ipvs: bool,
    /// Where packet memory comes from.
    pub memory: Memory,
    /// The workers, in order.
    pub workers: Vec<Worker>,
    /// IPv4 connection table.
    pub connections: Fill,
    /// IPv6 connection table.
    pub connections6: Fill,
    /// Virtual services.
    pub services: u64,
    /// Real servers over all services.
    pub servers: u64,
    /// Those of them that their checks find down.
    #[serde(default)]
    pub servers_down: u64,
    /// Through all services since the start, or since all figures were zeroed.
    #[serde(default)]
    pub traffic: Traffic,
    /// Through all services per second, averaged as IPVS does.
    #[serde(default)]
    pub rate: Traffic,
    /// Ports with link.
    pub ports_up: u64,
    /// All ports.
    pub ports: u64,
    /// Virtual routers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vrrp: Vec<crate::Vrrp>,
    /// Virtual addresses that are this director's, and that somebody else claims, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// What became of mail, if any is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailStatus>,
    /// Workers past their capacity, and what is let go for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overload: Option<crate::Overload>,
    /// What was lost because something was full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
    /// Runtime edits since the last apply, one line each; the next apply replaces them.
    pub edits: Vec<String>,
    /// What this machine or its ports cannot do, in plain words, with the remedy.
    pub limitations: Vec<String>,
}

/// Somebody else has said, by ARP or neighbour discovery, that a virtual address is theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The virtual address.
    pub address: IpAddr,
    /// Who says so.
    pub mac: MacAddr,
    /// Where that was heard.
    pub interface: String,
    /// The real servers with that MAC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// How often it was heard.
    pub times: u64,
    /// Milliseconds since it was heard last.
    pub age_ms: u64,
}

/// What became of mail about changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailStatus {
    /// Mails a server took.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Changes that nobody was told of.
    pub given_up: u64,
    /// Changes that wait.
    pub waiting: u64,
}

/// Packet memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Hugepages or not.
    pub mode: MemoryMode,
    /// In plain words ("2 MiB hugepages, 512 MiB reserved").
    pub text: String,
    /// Packet buffers in all pools.
    #[serde(default)]
    pub buffers: u64,
    /// Of those, in use now: received frames on their way, held ones, and what drivers keep in their rings.
    #[serde(default)]
    pub buffers_in_use: u64,
}

/// Where packet memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryMode {
    /// Hugepages.
    Hugepages,
    /// Ordinary pages: works, slower.
    Ordinary,
}

/// A worker thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// From 0.
    pub id: u16,
    /// The CPU core it is pinned to.
    pub core: u16,
    /// Share of the last second spent on bursts that had packets, 0 to 100: polling empty queues does not count.
    pub busy_percent: f64,
    /// Packets received, over the last second.
    pub packets_per_s: u64,
    /// Paused because there was nothing to do (`idle = "pause"`).
    pub paused: bool,
}

/// Packets lost because something was full, since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Where: a port's name, or nothing for the director as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The counter: a reason of `counters`, or a figure of the port's.
    pub reason: String,
    /// What it means.
    pub meaning: String,
    /// How many.
    pub packets: u64,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Entries in use.
    pub used: u64,
    /// Entries there are.
    pub capacity: u64,
}

/// Connections, packets and bytes (of IP packets): since the start or the last `zero`, or per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients (none pass the director with route and tunnel).
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, if the configuration gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it catches.
    #[serde(flatten)]
    pub key: ServiceKey,
    /// The scheduling algorithm.
    pub scheduler: Scheduler,
    /// What it may do besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduler_flags: Vec<SchedulerFlag>,
    /// Persistence by client address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// What tells a client's connections apart besides its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_engine: Option<PersistenceEngine>,
    /// Each datagram is scheduled by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_packet: bool,
    /// How it stands under floods of SYNs, if it has `syn_cookies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flood: Option<crate::Flood>,
    /// Its traffic.
    pub traffic: Traffic,
    /// Per second, averaged as IPVS does (`ipvsadm -L --rate`).
    #[serde(default)]
    pub rate: Traffic,
    /// Its servers, oldest first.
    pub servers: Vec<Server>,
}

/// A mark rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRule {
    /// Its place, from 1; the first that matches decides.
    pub number: u32,
    /// The mark.
    pub mark: Mark,
    /// What it says, in a line.
    pub rule: String,
    /// Packets that matched it; only those no connection was known for are looked at.
    pub packets: u64,
    /// Why it does nothing, if it does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Persistence of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// Seconds a client stays with its server after its last new connection.
    pub timeout_s: u32,
    /// IPv4 mask (`255.255.255.255`) or IPv6 prefix length (`128`).
    pub netmask: String,
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Address and port.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: ForwardingMethod,
    /// What they are wrapped in, with the method `tunnel`.
    #[serde(default)]
    pub tunnel: Tunnel,
    /// Its weight; 0 takes no new connections.
    pub weight: Weight,
    /// No new connections at this many; 0 is off.
    pub upper_threshold: u32,
    /// New connections again below this many; 0 is three quarters of the upper.
    pub lower_threshold: u32,
    /// Over the upper threshold now: no new connections.
    pub overloaded: bool,
    /// Being drained now.
    pub draining: bool,
    /// What its checks make of it; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<ServerHealth>,
    /// Connections IPVS counts as active.
    pub active: u64,
    /// All its other connections.
    pub inactive: u64,
    /// Persistence templates that name it.
    pub templates: u64,
    /// Its traffic.
    pub traffic: Traffic,
    /// Per second, averaged as IPVS does.
    #[serde(default)]
    pub rate: Traffic,
}

/// A connection, or with `template` a persistence template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The client; of a template, its masked network and port 0.
    pub client: SocketAddr,
    /// VIP and port.
    #[serde(rename = "virtual")]
    pub vip: SocketAddr,
    /// The real server.
    pub server: SocketAddr,
    /// How packets get there.
    pub method: ForwardingMethod,
    /// IPVS's name of the state ("ESTABLISHED", "FIN_WAIT", "UDP", "NONE").
    pub state: String,
    /// Milliseconds until it expires, if nothing more comes.
    pub expires_ms: u64,
    /// A persistence template.
    #[serde(default)]
    pub template: bool,
    /// What tells a template apart from others of its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<EngineData>,
}

/// What a persistence engine goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineData {
    /// Which engine.
    pub engine: PersistenceEngine,
    /// For `sip` a Call-ID; each character is a byte (Latin-1).
    pub data: String,
}

/// After the last connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsEnd {
    /// Lines sent.
    pub listed: u64,
    /// Stopped at the limit: there may be more.
    pub limited: bool,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the configuration.
    pub name: String,
    /// PCI address or vdev string, as configured.
    pub device: String,
    /// DPDK's driver.
    pub driver: String,
    /// The MAC in use.
    pub mac: MacAddr,
    /// Link state.
    pub link: Link,
    /// Bytes of an IP packet at most.
    pub mtu: u16,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// NUMA node, if the device has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u16>,
    /// Own addresses (of VLANs too, see `vlan`).
    pub addresses: Vec<PortAddress>,
    /// The TAP towards the host stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap: Option<String>,
    /// What the hardware does itself, in DPDK's words.
    pub offloads: Vec<String>,
    /// What the port cannot do and who does it instead, in plain words.
    pub limitations: Vec<String>,
    /// What went through it.
    pub stats: PortStats,
}

/// An address of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAddress {
    /// Address and prefix.
    pub address: IpNet,
    /// The VLAN it is on; absent: untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
}

/// Link state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whether there is link (drivers that cannot tell say yes).
    pub up: bool,
    /// Megabits a second, where the driver knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mbps: Option<u32>,
    /// Both directions at once.
    pub full_duplex: bool,
}

/// What went through a port, by the driver's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames the port dropped because the receive queue was full.
    pub rx_missed: u64,
    /// Frames received with errors.
    pub rx_errors: u64,
    /// Frames that failed to be sent.
    pub tx_errors: u64,
    /// Receptions that found no free buffer.
    pub rx_no_buffer: u64,
}

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// On which interface (port or VLAN).
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// What is known about it.
    pub state: NeighbourState,
    /// Milliseconds since it was last heard of; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// State of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourState {
    /// Asked for, no answer yet; packets wait.
    Incomplete,
    /// Answered.
    Reachable,
    /// Answered long ago; in use while it is asked again.
    Stale,
    /// Did not answer.
    Failed,
}

/// A route in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination prefix.
    pub to: IpNet,
    /// The gateway; absent: on link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The interface (port or VLAN).
    pub interface: String,
    /// Where it comes from.
    pub kind: RouteKind,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// An address of an interface.
    Connected,
    /// A `[[route]]`, or the `gateway` of an interface.
    Static,
}

/// Packet accounting: every frame that entered left somewhere.
/// `rx + generated + from_host = tx + punted + dropped + held`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Sums over all workers.
    pub total: Totals,
    /// Whether the identity held when the sums were taken between two bursts; a reader of a busy router may catch frames midway.
    pub balanced: bool,
    /// Every drop reason there is, those that never occurred included.
    pub drops: Vec<DropCount>,
    /// The sums of each worker.
    pub workers: Vec<WorkerCounters>,
}

/// Frames by where they came from and went to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Received on ports.
    pub rx: u64,
    /// Built by the engine itself.
    pub generated: u64,
    /// Taken from the host stack.
    pub from_host: u64,
    /// Sent on ports.
    pub tx: u64,
    /// Given to the host stack.
    pub punted: u64,
    /// Dropped, for all reasons.
    pub dropped: u64,
    /// Waiting now, for a neighbour or for other fragments. Of one worker perhaps below 0 (wrapping): it let fragments go that others
    /// took in.
    pub held: u64,
    /// Answers not built because of their rate limit (outside the identity).
    pub rate_limited: u64,
    /// Packets not built because no frame buffer was free (outside the identity).
    pub no_buffer: u64,
}

/// Frames dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The counter's name.
    pub reason: String,
    /// What it means, in one sentence.
    pub meaning: String,
    /// Frames.
    pub count: u64,
}

/// The sums of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCounters {
    /// Which worker.
    pub id: u16,
    /// Its sums.
    #[serde(flatten)]
    pub totals: Totals,
}

/// What applying a configuration changes, changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The differences; empty: nothing differs.
    pub changes: Vec<Change>,
    /// Runtime edits that the file does not have and that go with it.
    pub lost_edits: Vec<String>,
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// In plain words ("service tcp 192.0.2.10:80: scheduler rr -> wlc").
    pub text: String,
    /// Whether it can be done while running.
    pub effect: Effect,
}

/// How a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// While running, without losing a connection.
    Reload,
    /// By a restart of the daemon.
    Restart,
}

/// What an edit changed, in plain words; empty: it was so already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// One line each.
    pub changes: Vec<String>,
}

/// A drain's progress, about once a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainProgress {
    /// Active connections left.
    pub active: u64,
    /// Inactive connections left.
    pub inactive: u64,
    /// Seconds to the deadline, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_s: Option<u32>,
}

/// How a drain ended (one whose deadline passed ends with [`crate::ErrorCode::Deadline`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainEnd {
    /// Seconds it took.
    pub seconds: u64,
    /// The server was removed.
    pub deleted: bool,
}

/// A frame as it was received or sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedFrame {
    /// The port's name.
    pub port: String,
    /// Which way.
    pub direction: Direction,
    /// Nanoseconds since 1970-01-01 UTC.
    pub timestamp_ns: u64,
    /// Bytes of the frame on the wire, without the frame check sequence.
    pub original_len: u32,
    /// Its bytes, from the destination MAC on; at most `snaplen`.
    pub data: Bytes,
}

/// Which way a captured frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Received.
    Rx,
    /// Sent.
    Tx,
}

/// After the last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureEnd {
    /// Frames sent to the client.
    pub captured: u64,
    /// Frames that matched but found the capture ring full.
    pub missed: u64,
}
