//! What a director tells about itself: copies, taken by the control thread, for listings.

use crate::model::{Persistence, ServiceKey};
use std::net::{IpAddr, SocketAddr};
use types::{
    ForwardingMethod, InterfaceId, IpNet, PersistenceEngine, Scheduler, SchedulerFlags, ServerId,
    ServiceId, Tunnel, Weight,
};

/// Connections of a server, as IPVS counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// TCP in SYN_SENT, SYN_RECV, SYNACK and ESTABLISHED.
    pub active: u32,
    /// TCP that is closing, and everything that is not TCP.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
}

impl std::ops::AddAssign for ConnectionCounts {
    fn add_assign(&mut self, other: Self) {
        self.active = self.active.saturating_add(other.active);
        self.inactive = self.inactive.saturating_add(other.inactive);
        self.persistent = self.persistent.saturating_add(other.persistent);
    }
}

/// Connections, packets and bytes (of IP packets): what went through a service or server since it was made, or zeroed; or
/// what goes through it per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients: NAT replies, and errors the director itself sent about a connection.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.connections = self.connections.wrapping_add(other.connections);
        self.packets_in = self.packets_in.wrapping_add(other.packets_in);
        self.packets_out = self.packets_out.wrapping_add(other.packets_out);
        self.bytes_in = self.bytes_in.wrapping_add(other.bytes_in);
        self.bytes_out = self.bytes_out.wrapping_add(other.bytes_out);
    }
}

impl std::ops::Sub for Traffic {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            connections: self.connections.wrapping_sub(other.connections),
            packets_in: self.packets_in.wrapping_sub(other.packets_in),
            packets_out: self.packets_out.wrapping_sub(other.packets_out),
            bytes_in: self.bytes_in.wrapping_sub(other.bytes_in),
            bytes_out: self.bytes_out.wrapping_sub(other.bytes_out),
        }
    }
}

/// How a service with `syn_cookies` stands. Counts are since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flooded {
    /// Nothing is kept of its SYNs now.
    pub on: bool,
    /// SYNs answered with a cookie.
    pub cookies_sent: u64,
    /// Connections made of what followed such a SYN, or one sent on.
    pub accepted: u64,
    /// Packets that acknowledged no cookie, or one too old.
    pub refused: u64,
    /// SYNs sent to the server that a hash says.
    pub hashed: u64,
}

impl Flooded {
    /// What was counted since it stood at `base`.
    #[must_use]
    pub(crate) const fn since(self, base: Self) -> Self {
        Self {
            on: self.on,
            cookies_sent: self.cookies_sent - base.cookies_sent,
            accepted: self.accepted - base.accepted,
            refused: self.refused - base.refused,
            hashed: self.hashed - base.hashed,
        }
    }

    /// The sum of what two workers count.
    #[must_use]
    pub(crate) const fn with(self, other: Self) -> Self {
        Self {
            on: self.on || other.on,
            cookies_sent: self.cookies_sent + other.cookies_sent,
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            hashed: self.hashed + other.hashed,
        }
    }
}

/// A virtual service and its servers.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceView {
    /// Its slot.
    pub id: ServiceId,
    /// What it catches.
    pub key: ServiceKey,
    /// The scheduling algorithm.
    pub scheduler: Scheduler,
    /// What it may do besides.
    pub flags: SchedulerFlags,
    /// Persistence, if any.
    pub persistence: Option<Persistence>,
    /// What tells templates of a client apart besides its address.
    pub persistence_engine: Option<PersistenceEngine>,
    /// Each datagram is scheduled by itself.
    pub one_packet: bool,
    /// Sums over its servers, those removed since included.
    pub traffic: Traffic,
    /// Per second, averaged as IPVS averages.
    pub rate: Traffic,
    /// In the order of the desired state: oldest first.
    pub servers: Vec<ServerView>,
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerView {
    /// Its slot.
    pub id: ServerId,
    /// Address and port as configured.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: ForwardingMethod,
    /// What they are wrapped in, with `Tunnel`.
    pub tunnel: Tunnel,
    /// Weight now.
    pub weight: Weight,
    /// Upper threshold, 0 is off.
    pub upper_threshold: u32,
    /// Lower threshold, 0 is three quarters of the upper.
    pub lower_threshold: u32,
    /// Whether the upper threshold was reached and the lower not yet passed again: no new connections.
    pub overloaded: bool,
    /// Connections now.
    pub counts: ConnectionCounts,
    /// What went through.
    pub traffic: Traffic,
    /// Per second, averaged as IPVS averages.
    pub rate: Traffic,
}

/// A connection or persistence template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// IANA protocol number; 0 for a template that covers every protocol.
    pub protocol: u8,
    /// The client; port 0 in a template.
    pub client: SocketAddr,
    /// VIP and port; in a template of a mark service the mark stands for the address.
    pub destination: SocketAddr,
    /// The real server.
    pub server: SocketAddr,
    /// State by IPVS's name: "ESTABLISHED", "UDP", "NONE", "ASSURED", ...
    pub state: &'static str,
    /// Milliseconds until it expires if no packet comes.
    pub expires_ms: u64,
    /// How packets get to the server: fixed when the connection was made.
    pub method: ForwardingMethod,
    /// A persistence template rather than a connection.
    pub template: bool,
    /// What a template's persistence engine goes by: a Call-ID.
    pub engine: Option<(PersistenceEngine, Vec<u8>)>,
    /// The server's slot.
    pub id: ServerId,
}

/// A route, connected or static.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// Destination prefix.
    pub to: IpNet,
    /// The gateway; `None`: on link.
    pub via: Option<IpAddr>,
    /// The interface out.
    pub interface: InterfaceId,
    /// From an interface's own address rather than configured.
    pub connected: bool,
}

/// What [`crate::Director::apply`] changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Services that are new.
    pub services_added: u32,
    /// Services that are gone.
    pub services_removed: u32,
    /// Services kept with something about them, or about their servers, changed.
    pub services_changed: u32,
    /// Servers that are new.
    pub servers_added: u32,
    /// Servers that came back while connections still referred to them.
    pub servers_revived: u32,
    /// Servers that are gone.
    pub servers_removed: u32,
    /// Servers kept with another weight, method or threshold.
    pub servers_changed: u32,
    /// Whether interfaces, addresses, routes or settings changed.
    pub network_changed: bool,
}
