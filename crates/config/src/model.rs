//! What the configuration says, typed.

use crate::{
    Access, Limits, Mail, Notify, Settings, Sync, TrackBfd, TrackFile, TrackGateway, TrackServers,
    Twin, Vrrp, VrrpNotify, VrrpScript,
};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};
use types::{
    Family, ForwardingMethod, IpNet, MacAddr, Mark, PersistenceEngine, Protocol, RpFilter,
    Scheduler, SchedulerFlag, ServiceKey, Tunnel, VlanId, Weight,
};

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `compat = "ipvs"`: Linux's own defaults, and its behaviour where the documentation says otherwise.
    pub compat_ipvs: bool,
    /// The process: cores, memory, tables, socket.
    pub director: Director,
    /// Ports, in the order of `types::PortId`.
    pub ports: Vec<Port>,
    /// VLAN interfaces.
    pub vlans: Vec<Vlan>,
    /// Static routes. The interfaces' gateways are not among them, see [`Config::all_routes`].
    pub routes: Vec<Route>,
    /// Mark rules; the first that matches a packet decides.
    pub marks: Vec<MarkRule>,
    /// Virtual routers: addresses that move between directors.
    pub vrrp: Vec<Vrrp>,
    /// Scripts that virtual routers track.
    pub vrrp_scripts: Vec<VrrpScript>,
    /// Programs run when virtual routers are in another state.
    pub vrrp_notify: Vec<VrrpNotify>,
    /// Files that virtual routers track.
    pub track_files: Vec<TrackFile>,
    /// Neighbours that virtual routers track.
    pub track_gateways: Vec<TrackGateway>,
    /// BFD sessions that virtual routers track.
    pub track_bfds: Vec<TrackBfd>,
    /// Real servers that virtual routers track.
    pub track_servers: Vec<TrackServers>,
    /// Connection synchronisation.
    pub sync: Option<Sync>,
    /// The other director, whose configuration is to be alike.
    pub twin: Option<Twin>,
    /// FIFOs and files that are told of changes.
    pub notify: Vec<Notify>,
    /// Who is mailed.
    pub mail: Option<Mail>,
    /// Which clients may make connections to any service.
    pub access: Access,
    /// Virtual services.
    pub services: Vec<Service>,
    /// Settings by their kernel names.
    pub settings: Settings,
}

/// The process. Changes need a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Director {
    /// For listings and logs.
    pub name: String,
    /// Where workers run.
    pub cores: Cores,
    /// Entries of the IPv4 connection table.
    pub connections: u32,
    /// Entries of the IPv6 connection table.
    pub connections6: u32,
    /// What a worker without packets does.
    pub idle: Idle,
    /// Whether packet memory is in hugepages.
    pub hugepages: Hugepages,
    /// Packet memory in MiB when hugepages are not used.
    pub memory_mb: u32,
    /// The control socket.
    pub socket: PathBuf,
    /// DPDK's `--file-prefix`: directors with different ones share a machine.
    pub file_prefix: String,
    /// Where events are kept.
    pub journal: crate::Journal,
    /// The room they may take there, in MiB.
    pub journal_mb: u32,
    /// What is logged.
    pub log: LogLevel,
}

impl Default for Director {
    fn default() -> Self {
        Self {
            name: "tarpon".into(),
            cores: Cores::Count(1),
            connections: 1_000_000,
            connections6: 262_144,
            idle: Idle::Pause,
            hugepages: Hugepages::Auto,
            memory_mb: 512,
            socket: "/run/tarpon/control.sock".into(),
            file_prefix: "tarpon".into(),
            journal: crate::Journal::Default,
            journal_mb: 64,
            log: LogLevel::Info,
        }
    }
}

/// Where workers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// `cores = [1, 2]`: one worker on each of these CPUs.
    Named(Vec<u16>),
    /// `workers = 2`: that many, on CPUs the daemon chooses among those it may use.
    Count(u16),
}

impl Cores {
    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        match self {
            Self::Named(cores) => cores.len(),
            Self::Count(n) => usize::from(*n),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word, as written in the file.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// The word in the file.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// What a worker without packets does.
    Idle {
        /// Pauses, longer and longer up to a small fraction of a second, and wakes when packets come.
        Pause = "pause",
        /// Polls on: lowest latency, a core at 100 %.
        Poll = "poll",
    }
}

words! {
    /// Whether packet memory is in hugepages.
    Hugepages {
        /// If the machine has any.
        Auto = "auto",
        /// Refuse to start without.
        Require = "require",
        /// Ordinary memory, slower, works everywhere.
        Never = "never",
    }
}

words! {
    /// What is logged, from least to most.
    LogLevel {
        /// Failures.
        Error = "error",
        /// And what is likely to become one.
        Warn = "warn",
        /// And what the director does.
        Info = "info",
        /// And how.
        Debug = "debug",
        /// And every step.
        Trace = "trace",
    }
}

/// A port: a NIC or virtual device that DPDK drives. Changes need a restart, except of addresses and gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name; also the name of its untagged interface.
    pub name: String,
    /// PCI address (`0000:03:00.0`), short form (`af_packet:veth1`) or vdev string (`net_af_packet0,iface=veth1`).
    pub device: String,
    /// Receive and transmit queues; `None`: as many as workers, if the port can.
    pub queues: Option<u16>,
    /// Bytes of an IP packet at most.
    pub mtu: u16,
    /// The MAC to use; `None`: the device's own.
    pub mac: Option<MacAddr>,
    /// Own addresses with their prefixes.
    pub addresses: Vec<IpNet>,
    /// Default route, IPv4.
    pub gateway: Option<Ipv4Addr>,
    /// Default route, IPv6.
    pub gateway6: Option<Ipv6Addr>,
    /// The way to the host stack.
    pub host: HostTap,
    /// Whether it receives frames for other stations' MACs too (the engine drops them, counted).
    pub promiscuous: bool,
    /// What is asked of sources.
    pub rp_filter: RpFilter,
}

impl Port {
    /// Whether `device` is a PCI address; else it is a vdev string.
    #[must_use]
    pub fn is_pci(&self) -> bool {
        crate::check::is_pci(&self.device)
    }

    /// The TAP's name, if there is one.
    #[must_use]
    pub fn tap(&self) -> Option<String> {
        match &self.host {
            HostTap::Off => None,
            HostTap::Default => Some(format!("tp-{}", self.name)),
            HostTap::Named(name) => Some(name.clone()),
        }
    }
}

/// The way from a port to the host stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostTap {
    /// None: what is not the director's is dropped, counted.
    Off,
    /// A TAP called `tp-` and the port's name.
    Default,
    /// A TAP of this name.
    Named(String),
}

/// A VLAN of a port, with addresses of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The interface's name.
    pub name: String,
    /// The port it is on, by name.
    pub port: String,
    /// The 802.1Q id.
    pub id: VlanId,
    /// As of a port.
    pub rp_filter: RpFilter,
    /// Own addresses with their prefixes.
    pub addresses: Vec<IpNet>,
    /// Default route, IPv4.
    pub gateway: Option<Ipv4Addr>,
    /// Default route, IPv6.
    pub gateway6: Option<Ipv6Addr>,
}

/// A static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix, host bits clear.
    pub to: IpNet,
    /// The gateway; `None`: on link.
    pub via: Option<IpAddr>,
    /// Leads nowhere: packets to it are refused, whatever wider route there is.
    pub unreachable: bool,
    /// The interface, by name; `None`: the one whose prefix has `via`.
    pub interface: Option<String>,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// For listings.
    pub name: Option<String>,
    /// What it catches; no two services catch the same.
    pub key: ServiceKey,
    /// The scheduling algorithm.
    pub scheduler: Scheduler,
    /// What it may do besides; sorted, each once.
    pub scheduler_flags: Vec<SchedulerFlag>,
    /// Persistence by client address.
    pub persistence: Option<Persistence>,
    /// What tells a client's connections apart besides its address. Without persistence only the requests of its servers are minded.
    pub persistence_engine: Option<PersistenceEngine>,
    /// Each datagram is scheduled by itself, without a connection; UDP, or by mark.
    pub one_packet: bool,
    /// Forwarding method of servers that name none.
    pub method: ForwardingMethod,
    /// Real servers, oldest first.
    pub servers: Vec<Server>,
    /// Who may make connections, and how many.
    pub limits: Limits,
    /// Health checks, and what follows from them.
    pub health: health::Policy,
}

impl Service {
    /// A service as `ipvsadm -A` makes it: wlc, not persistent, direct routing, no servers.
    #[must_use]
    pub const fn new(key: ServiceKey) -> Self {
        Self {
            name: None,
            key,
            scheduler: Scheduler::Wlc,
            scheduler_flags: Vec::new(),
            persistence: None,
            persistence_engine: None,
            one_packet: false,
            method: ForwardingMethod::Route,
            servers: Vec::new(),
            limits: Limits::NONE,
            health: health::Policy::new(),
        }
    }

    /// What it catches; no two services catch the same.
    #[must_use]
    pub const fn key(&self) -> ServiceKey {
        self.key
    }

    /// Its address, or one of its family that stands for any.
    pub(crate) fn address_or_any(&self) -> SocketAddr {
        self.key.address().unwrap_or_else(|| any(self.key.family()))
    }
}

/// No address of a family in particular.
pub(crate) const fn any(family: Family) -> SocketAddr {
    let ip = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

/// Which packets get a firewall mark, if no connection is known for them. What is absent or empty is true of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MarkRule {
    /// The mark, not 0.
    pub mark: Mark,
    /// TCP or UDP.
    pub protocol: Option<Protocol>,
    /// Prefix of the source.
    pub source: Option<IpNet>,
    /// Prefix of the destination. A single address is answered for like a service's own.
    pub destination: Option<IpNet>,
    /// Ranges, one of which has the source port.
    pub source_ports: Vec<PortRange>,
    /// Ranges, one of which has the destination port.
    pub ports: Vec<PortRange>,
    /// The port or VLAN it came in on, by name.
    pub interface: Option<String>,
    /// The upper six bits of TOS or traffic class.
    pub dscp: Option<u8>,
    /// TCP flags that must be set, and such that must not.
    pub tcp_flags: Option<TcpFlags>,
    /// Later rules are tried too, and the last that matches decides.
    pub goes_on: bool,
}

impl MarkRule {
    /// The single address it is about, if it is one.
    #[must_use]
    pub fn host(&self) -> Option<IpAddr> {
        let net = self.destination?;
        let whole = if net.address().is_ipv4() { 32 } else { 128 };
        (net.prefix() == whole).then(|| net.address())
    }

    /// Whether it can give its mark to packets of a family.
    #[must_use]
    pub fn is_for(&self, family: Family) -> bool {
        let fits = |net: Option<IpNet>| {
            net.is_none_or(|net| net.address().is_ipv4() == (family == Family::Ipv4))
        };
        fits(self.source) && fits(self.destination)
    }
}

impl fmt::Display for MarkRule {
    /// `80 tcp to 192.0.2.10 ports 80, 443`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mark.0)?;
        if let Some(protocol) = self.protocol {
            write!(f, " {protocol}")?;
        }
        let list = |ports: &[PortRange]| {
            let texts: Vec<String> = ports.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        if !self.source_ports.is_empty() {
            write!(f, " source ports {}", list(&self.source_ports))?;
        }
        match (self.host(), self.destination) {
            (Some(host), _) => write!(f, " to {host}")?,
            (None, Some(net)) => write!(f, " to {net}")?,
            (None, None) => {}
        }
        if !self.ports.is_empty() {
            write!(f, " ports {}", list(&self.ports))?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " on {interface}")?;
        }
        if let Some(dscp) = self.dscp {
            write!(f, " dscp {dscp}")?;
        }
        if let Some(flags) = self.tcp_flags {
            write!(f, " flags {flags}")?;
        }
        if self.goes_on {
            f.write_str(" and on")?;
        }
        Ok(())
    }
}

/// Ports from the first to the second, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange(pub u16, pub u16);

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{}-{}", self.0, self.1)
        }
    }
}

impl FromStr for PortRange {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let range = Self(from.parse().map_err(|_| ())?, to.parse().map_err(|_| ())?);
        (range.0 <= range.1).then_some(range).ok_or(())
    }
}

/// TCP flags as bits of the header's byte: those looked at, and of them those that are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpFlags {
    /// Which are looked at.
    pub mask: u8,
    /// Which of them must be set.
    pub set: u8,
}

/// Names of the TCP flags, by bit.
const TCP_FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

impl fmt::Display for TcpFlags {
    /// `syn !ack`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (bit, name) in TCP_FLAGS.iter().enumerate() {
            if self.mask >> bit & 1 == 1 {
                let not = if self.set >> bit & 1 == 1 { "" } else { "!" };
                write!(f, "{space}{not}{name}")?;
                space = " ";
            }
        }
        Ok(())
    }
}

impl FromStr for TcpFlags {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut flags = Self { mask: 0, set: 0 };
        for word in text.split_whitespace() {
            let (name, set) = match word.strip_prefix('!') {
                Some(name) => (name, 0),
                None => (word, 1),
            };
            let bit = TCP_FLAGS.iter().position(|n| *n == name).ok_or(())?;
            flags.mask |= 1 << bit;
            flags.set = flags.set & !(1 << bit) | set << bit;
        }
        (flags.mask != 0).then_some(flags).ok_or(())
    }
}

/// Persistence: clients of one network go on to the same server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Seconds after the last new connection.
    pub timeout_s: u32,
    /// Clients that are equal under it count as one.
    pub netmask: Netmask,
}

/// What of a client's address counts for persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netmask {
    /// IPv4: ANDed with the address.
    V4(Ipv4Addr),
    /// IPv6: a prefix length, 1 to 128.
    V6(u8),
}

impl Netmask {
    /// The whole address, for a service on `address`: each client by itself.
    #[must_use]
    pub const fn whole(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4(Ipv4Addr::BROADCAST),
            SocketAddr::V6(_) => Self::V6(128),
        }
    }

    /// Reads `text` for a service on `address`: an IPv4 mask or, for IPv6, a prefix length.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str, address: &SocketAddr) -> Result<Self, String> {
        let mask = match address {
            SocketAddr::V4(_) => text.parse::<Ipv4Addr>().ok().map(Self::V4),
            SocketAddr::V6(_) => text
                .trim_start_matches('/')
                .parse::<u8>()
                .ok()
                .filter(|n| (1..=128).contains(n))
                .map(Self::V6),
        };
        mask.ok_or_else(|| match address {
            SocketAddr::V4(_) => {
                format!("`{text}` is no mask for IPv4 clients: write one like \"255.255.255.0\"")
            }
            SocketAddr::V6(_) => format!(
                "`{text}` is no prefix length for IPv6 clients: write a number from 1 to 128"
            ),
        })
    }

    /// As a bit pattern: IPv4 in the low 32 bits.
    #[must_use]
    pub fn bits(self) -> u128 {
        match self {
            Self::V4(mask) => mask.to_bits().into(),
            Self::V6(prefix) => u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0),
        }
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => mask.fmt(f),
            Self::V6(prefix) => prefix.fmt(f),
        }
    }
}

/// A real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Address and port.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: ForwardingMethod,
    /// What they are wrapped in, with `Tunnel`.
    pub tunnel: Tunnel,
    /// 0 quiesces.
    pub weight: Weight,
    /// No new connections at this many (active and inactive); 0 is off.
    pub upper_threshold: u32,
    /// New connections again below this many; 0 is three quarters of the upper.
    pub lower_threshold: u32,
}

impl Server {
    /// A server of weight 1 without thresholds.
    #[must_use]
    pub const fn new(address: SocketAddr, method: ForwardingMethod) -> Self {
        Self {
            address,
            method,
            tunnel: Tunnel::Ipip,
            weight: Weight(1),
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }
}

/// A layer-3 interface: a port's untagged side, or one of its VLANs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface<'c> {
    pub name: &'c str,
    pub addresses: &'c [IpNet],
    pub gateway: Option<Ipv4Addr>,
    pub gateway6: Option<Ipv6Addr>,
    /// `port[0]` or `vlan[0]`.
    pub kind: &'static str,
    pub index: usize,
}

impl Config {
    /// Addresses that are virtual because a rule leads from them to a service by mark, with that service.
    pub fn mark_addresses(&self) -> impl Iterator<Item = (IpAddr, ServiceKey)> {
        self.marks.iter().filter_map(|rule| {
            let host = rule.host()?;
            let family = if host.is_ipv4() {
                Family::Ipv4
            } else {
                Family::Ipv6
            };
            let mark = rule.mark;
            let key = ServiceKey::Mark { mark, family };
            let there = self.services.iter().any(|service| service.key == key);
            there.then_some((host, key))
        })
    }

    /// Ports first, then VLANs.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = Interface<'_>> {
        let ports = self.ports.iter().enumerate().map(|(index, p)| Interface {
            name: &p.name,
            addresses: &p.addresses,
            gateway: p.gateway,
            gateway6: p.gateway6,
            kind: "port",
            index,
        });
        let vlans = self.vlans.iter().enumerate().map(|(index, v)| Interface {
            name: &v.name,
            addresses: &v.addresses,
            gateway: v.gateway,
            gateway6: v.gateway6,
            kind: "vlan",
            index,
        });
        ports.chain(vlans)
    }

    /// The static routes with, before them, a default route for each interface's gateway.
    #[must_use]
    pub fn all_routes(&self) -> Vec<Route> {
        let default = |via: IpAddr, interface: &str| {
            let any: IpAddr = match via {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            IpNet::new(any, 0).ok().map(|to| Route {
                to,
                via: Some(via),
                unreachable: false,
                interface: Some(interface.to_owned()),
            })
        };
        let gateways = self.interfaces().flat_map(|i| {
            let v4 = i.gateway.and_then(|g| default(g.into(), i.name));
            let v6 = i.gateway6.and_then(|g| default(g.into(), i.name));
            v4.into_iter().chain(v6)
        });
        gateways.chain(self.routes.iter().cloned()).collect()
    }
}
