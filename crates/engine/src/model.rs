//! What the control side wants: plain data, compiled by `Director::apply` into the snapshot the workers read.
//!
//! Level-triggered: a `Desired` is always the whole picture. What is the same as before keeps its connections,
//! counters and scheduling state; identity is the service's [`ServiceKey`] and the server's address and port.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};
pub use types::ServiceKey;
use types::{
    ForwardingMethod, InterfaceId, InterfaceName, IpNet, MacAddr, Mark, OnRemoval,
    PersistenceEngine, PortId, Protocol, RpFilter, Scheduler, SchedulerFlags, SynCookies, Tunnel,
    VlanId, Weight,
};

/// The whole desired state.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Layer-3 interfaces; `InterfaceId` is the index.
    pub interfaces: Vec<Interface>,
    /// Static routes; connected ones follow from the interfaces' addresses.
    pub routes: Vec<Route>,
    /// Virtual services.
    pub services: Vec<Service>,
    /// Addresses the director answers for beside its interfaces' and services' own.
    pub vips: Vec<IpAddr>,
    /// Of all virtual addresses those that depend on a role (see [`crate::Roles`]), each with its number, below
    /// [`crate::ROLES`]. If there are any, VRRP advertisements go to [`crate::Output::advertisement`].
    pub floating: Vec<(IpAddr, u8)>,
    /// Of those, the ones for which only what is for a service is taken (RFC 9568 6.1: `Accept_Mode` is false).
    pub unaccepted: Vec<IpAddr>,
    /// MACs that virtual routers have of their own.
    pub virtual_macs: Vec<VirtualMac>,
    /// Stations on an interface's link that are kept resolved beside servers and gateways.
    pub stations: Vec<(InterfaceId, IpAddr)>,
    /// Mark rules; the first that matches a packet decides.
    pub marks: Vec<MarkRule>,
    /// With `compat_ipvs`: prefixes beside the director's own and virtual addresses whose packets services may take (`ip
    /// route add local`). Without it services by mark take marked packets whatever their destination.
    pub local: Vec<IpNet>,
    /// What becomes of the connections of removed servers, in services where that is not as `expire_nodest_conn` says.
    pub on_removal: Vec<(ServiceKey, OnRemoval)>,
    /// Who may make connections to which services, and how many.
    pub limits: Vec<(ServiceKey, Limits)>,
    /// Settings, by their kernel names.
    pub settings: Settings,
}

/// The MAC of a virtual router on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualMac {
    /// Where. Frames for it are received on the whole port below.
    pub interface: InterfaceId,
    /// Which.
    pub mac: MacAddr,
    /// The role it depends on, as in [`Desired::floating`].
    pub role: u8,
    /// The virtual addresses that are answered for with it on that interface.
    pub addresses: Vec<IpAddr>,
}

/// A layer-3 interface: a port, or one VLAN of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// As configured.
    pub name: InterfaceName,
    /// The port it is on.
    pub port: PortId,
    /// The 802.1Q tag; `None` for untagged frames.
    pub vlan: Option<VlanId>,
    /// The port's MAC.
    pub mac: MacAddr,
    /// Bytes of an IP packet at most.
    pub mtu: u16,
    /// Own addresses with their prefixes.
    pub addresses: Vec<IpNet>,
    /// Whether a host stack stands behind it (TAP): it then answers for the interface's own addresses.
    pub host: bool,
    /// What the port computes by itself.
    pub offloads: Offloads,
    /// What is asked of the sources of packets that come in: of those that begin a connection, are passed on, or are for the director.
    pub rp_filter: RpFilter,
}

/// Checksums a port fills in on transmit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// IPv4 header.
    pub tx_ipv4: bool,
    /// TCP and UDP.
    pub tx_l4: bool,
}

/// A static route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix.
    pub to: IpNet,
    /// The gateway; `None`: on link.
    pub via: Option<IpAddr>,
    /// Leads nowhere, whatever wider route there is: `via` and `interface` do not count.
    pub unreachable: bool,
    /// Index into [`Desired::interfaces`]; may be left to the connected route that covers `via`.
    pub interface: Option<types::InterfaceId>,
}

/// Which packets get a firewall mark. What is absent or empty is true of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MarkRule {
    /// The mark, not 0.
    pub mark: Mark,
    /// TCP or UDP.
    pub protocol: Option<Protocol>,
    /// Prefix of the source.
    pub source: Option<IpNet>,
    /// Prefix of the destination.
    pub destination: Option<IpNet>,
    /// Ranges, one of which has the source port.
    pub source_ports: Vec<RangeInclusive<u16>>,
    /// Ranges, one of which has the destination port.
    pub destination_ports: Vec<RangeInclusive<u16>>,
    /// The interface (port, VLAN) it came in on; index into [`Desired::interfaces`].
    pub interface: Option<InterfaceId>,
    /// The upper six bits of TOS or traffic class.
    pub dscp: Option<u8>,
    /// Of the TCP flags in the first, exactly those in the second are set.
    pub tcp_flags: Option<(u8, u8)>,
    /// Later rules are tried too; the last that matches decides.
    pub goes_on: bool,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// What it catches; unique.
    pub key: ServiceKey,
    /// The scheduling algorithm.
    pub scheduler: Scheduler,
    /// What it may do besides, if it hashes.
    pub flags: SchedulerFlags,
    /// Persistence by client address.
    pub persistence: Option<Persistence>,
    /// What tells templates of a client apart besides its address; without persistence only the requests of its servers are minded.
    pub persistence_engine: Option<PersistenceEngine>,
    /// Each datagram of UDP is scheduled by itself, and no connection kept (`-o`).
    pub one_packet: bool,
    /// Real servers, oldest first (IPVS walks them newest first).
    pub servers: Vec<Server>,
}

/// Persistence: clients of one network go on to the same server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Lifetime of a template after its last new connection, seconds.
    pub timeout_s: u32,
    /// ANDed with the client's address. IPv4: the low 32 bits, any pattern; IPv6: a prefix mask.
    pub netmask: u128,
}

/// Who may make connections to a service, and how many. What stands goes on, whatever changes here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Clients that may, and with it nobody else may but who is in a longer prefix here.
    pub allow: Vec<IpNet>,
    /// Clients that may not. Of all prefixes the longest that has the client decides; of two equal ones `allow`'s.
    pub deny: Vec<IpNet>,
    /// Connections at once, active and inactive, of all servers together. Workers that meet in it may each be one beyond.
    pub connections: Option<u32>,
    /// New connections a second, and as many at once after a second's silence. 1 to 1,000,000.
    pub rate: Option<u32>,
    /// The same for each client. 1 to 10,000.
    pub client_rate: Option<u32>,
    /// How many bits of its address make a client.
    pub client_prefix: u8,
    /// When SYNs are answered, or sent on, without keeping anything of them.
    pub syn_cookies: SynCookies,
}

/// A real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Address and port. With `Route` and `Tunnel` the packets keep the service's port.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: ForwardingMethod,
    /// What they are wrapped in, with `Tunnel`.
    pub tunnel: Tunnel,
    /// Weight; 0 quiesces.
    pub weight: Weight,
    /// No new connections at this many or more (active + inactive); 0 is off.
    pub upper_threshold: u32,
    /// New connections again below this many; 0 is three quarters of the upper.
    pub lower_threshold: u32,
    /// How often an administrator has edited it: as in IPVS, an edit begins wrr's pass anew though it changes nothing.
    pub edits: u32,
}

/// How a defence against floods stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defence {
    /// Never (0).
    #[default]
    Off,
    /// While room for connections is scarce (1, and 2, which the kernel shows while it is on).
    Automatic,
    /// Always (3).
    On,
}

impl Defence {
    /// By the kernel's number.
    #[must_use]
    pub const fn numbered(number: u8) -> Self {
        match number {
            0 => Self::Off,
            1 | 2 => Self::Automatic,
            _ => Self::On,
        }
    }
}

/// Settings by their kernel names (`net.ipv4.vs.*`, `ipvsadm --set`), and the director's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Behave as Linux 6.1 does where it and the documentation part (persistence templates re-armed to 60 s and keeping it).
    pub compat_ipvs: bool,
    /// Forward packets that are for nobody here between the interfaces (`net.ipv4.ip_forward`).
    pub ip_forward: bool,
    /// A connection whose server was removed: drop its packets in silence (false) or expire it at its next packet (true).
    pub expire_nodest_conn: bool,
    /// A persistence template to a server of weight 0 is given up.
    pub expire_quiescent_template: bool,
    /// Bit 0: a SYN on a closing connection is scheduled anew; bit 1: also in FIN_WAIT under direct routing.
    pub conn_reuse_mode: u8,
    /// Schedule any TCP packet, not only SYN.
    pub sloppy_tcp: bool,
    /// Schedule any SCTP packet but an ABORT, not only INIT.
    pub sloppy_sctp: bool,
    /// Ends half-open connections at random.
    pub drop_entry: Defence,
    /// Drops every `am_droprate`-th packet that wants a new connection; automatically, more the scarcer room is.
    pub drop_packet: Defence,
    /// Goes by other TCP states, in which the handshake has to be seen from both sides.
    pub secure_tcp: Defence,
    /// See `drop_packet`.
    pub am_droprate: u32,
    /// Pages of 4096 bytes that must be free in the connection tables, or the automatic defences are on.
    pub amemthresh: u32,
    /// An ICMP error about a connection nobody knows of makes one, if a service has such.
    pub schedule_icmp: bool,
    /// A service by mark without usable servers lets its packets through to where they were going.
    pub cache_bypass: bool,
    /// lblc: seconds after which a destination nobody has asked for is forgotten.
    pub lblc_expiration_s: u32,
    /// lblcr: likewise, and after which a destination's set of servers that has not changed loses one.
    pub lblcr_expiration_s: u32,
    /// Answer stray packets from a real server's service port with port unreachable.
    pub nat_icmp_send: bool,
    /// Honour path MTU in tunnels (DF copied to the outer header).
    pub pmtu_disc: bool,
    /// ESTABLISHED, seconds (`--set`, first value; default 900).
    pub timeout_tcp_s: u32,
    /// FIN_WAIT, seconds (`--set`, second; default 120).
    pub timeout_tcp_fin_s: u32,
    /// UDP, seconds (`--set`, third; default 300).
    pub timeout_udp_s: u32,
    /// ICMP errors, echo replies and resets sent a second by each worker; `None` is no limit (replay).
    pub icmp_rate: Option<u32>,
    /// Seconds fragments of an IPv4 packet wait for the others (`net.ipv4.ipfrag_time`).
    pub ipfrag_time_s: u32,
    /// The same of IPv6 (`net.ipv6.ip6frag_time`).
    pub ip6frag_time_s: u32,
    /// Bytes of buffers that held fragments may take (`net.ipv4.ipfrag_high_thresh`); each counts [`crate::FRAGMENT_BYTES`].
    pub ipfrag_high_thresh: u32,
    /// TTL of packets the director builds itself.
    pub default_ttl: u8,
    /// Connections one client endpoint (address and port) may have at once.
    pub endpoint_connections: u32,
    /// Virtual ports whose NAT connections are FTP control connections (`ip_vs_ftp`'s `ports`); 0 stands for none.
    pub ftp_ports: [u16; 8],
    /// Which connections workers note for whoever tells the twin of them; `None`: nobody is told.
    pub sync: Option<connsync::Rules>,
    /// Group and port at which other directors are heard of their connections; own addresses are heard at the port too.
    pub sync_group: Option<SocketAddr>,
}

impl Settings {
    /// Linux 6.1's own defaults: `compat = "ipvs"`.
    #[must_use]
    pub const fn ipvs() -> Self {
        Self {
            compat_ipvs: true,
            ip_forward: true,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            conn_reuse_mode: 1,
            sloppy_tcp: false,
            sloppy_sctp: false,
            drop_entry: Defence::Off,
            drop_packet: Defence::Off,
            secure_tcp: Defence::Off,
            am_droprate: 10,
            amemthresh: 1024,
            schedule_icmp: false,
            cache_bypass: false,
            lblc_expiration_s: 86_400,
            lblcr_expiration_s: 86_400,
            nat_icmp_send: false,
            pmtu_disc: true,
            timeout_tcp_s: 900,
            timeout_tcp_fin_s: 120,
            timeout_udp_s: 300,
            icmp_rate: Some(1000),
            ipfrag_time_s: 30,
            ip6frag_time_s: 60,
            ipfrag_high_thresh: 4 << 20,
            default_ttl: 64,
            endpoint_connections: 64,
            ftp_ports: [21, 0, 0, 0, 0, 0, 0, 0],
            sync: None,
            sync_group: None,
        }
    }
}

impl Default for Settings {
    /// The defaults users ask for: see `docs/ARCHITECTURE.md`, "Behaviour profiles".
    fn default() -> Self {
        Self {
            compat_ipvs: false,
            expire_nodest_conn: true,
            expire_quiescent_template: true,
            nat_icmp_send: true,
            ..Self::ipvs()
        }
    }
}
