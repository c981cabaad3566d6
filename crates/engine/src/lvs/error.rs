//! What can be wrong with services and servers in a desired state.

use crate::model::ServiceKey;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use thiserror::Error;
use types::ForwardingMethod;

/// A mistake in a virtual service or real server. Nothing of the desired state is applied then.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ServiceError {
    /// Two services catch the same packets.
    #[error("service {service} is there twice; keep one of them")]
    DuplicateService {
        /// The service.
        service: ServiceName,
    },
    /// Two servers of one service with the same address and port.
    #[error(
        "service {service} has the server {server} twice; keep one of them and adjust its weight"
    )]
    DuplicateServer {
        /// The service.
        service: ServiceName,
        /// The server.
        server: SocketAddr,
    },
    /// Port 0 without persistence.
    #[error(
        "service {service} is for every port (0), which only a persistent service can be; add persistence or a port"
    )]
    PortZero {
        /// The service.
        service: ServiceName,
    },
    /// One-packet scheduling of anything but UDP.
    #[error(
        "service {service} has connections, so it cannot be scheduled packet by packet; make it a service of UDP or by mark, or leave one_packet out"
    )]
    OnePacket {
        /// The service.
        service: ServiceName,
    },
    /// Mark 0.
    #[error("a service cannot catch the mark 0, which means \"no mark\"; use 1 or more")]
    MarkZero,
    /// Persistence for no time.
    #[error(
        "service {service} is persistent for 0 seconds; give a timeout of 1 second or more, or leave persistence out"
    )]
    PersistenceTimeout {
        /// The service.
        service: ServiceName,
    },
    /// A server address that is no host's.
    #[error("server {server} of service {service} cannot have this address: it is {what}")]
    ServerAddress {
        /// The service.
        service: ServiceName,
        /// The server.
        server: SocketAddr,
        /// "multicast", "one of the director's own", ...
        what: &'static str,
    },
    /// Another family without a tunnel.
    #[error(
        "server {server} of service {service} is of the other address family, which only method `tunnel` can reach, not `{method}`"
    )]
    Family {
        /// The service.
        service: ServiceName,
        /// The server.
        server: SocketAddr,
        /// Its method.
        method: ForwardingMethod,
    },
    /// Direct routing to a server behind a gateway.
    #[error(
        "server {server} of service {service} is not on a connected segment ({connected}); direct routing only changes the MAC, so the server must be a neighbour; use `tunnel`, or `masq`"
    )]
    NotConnected {
        /// The service.
        service: ServiceName,
        /// The server.
        server: SocketAddr,
        /// The segments there are.
        connected: String,
    },
    /// A weight ipvsadm would refuse.
    #[error("server {server} of service {service} has the weight {weight}; 0 to 2147483647")]
    Weight {
        /// The service.
        service: ServiceName,
        /// The server.
        server: SocketAddr,
        /// As given.
        weight: u32,
    },
    /// A lower threshold above the upper.
    #[error(
        "server {server} of service {service} has a lower threshold of {lower} above the upper one of {upper}"
    )]
    Thresholds {
        /// The service.
        service: ServiceName,
        /// The server.
        server: SocketAddr,
        /// As given.
        lower: u32,
        /// As given.
        upper: u32,
    },
    /// More services than there are slots for.
    #[error("{wanted} services, but there is room for {room}; raise the limit and start again")]
    TooManyServices {
        /// How many.
        wanted: usize,
        /// The capacity.
        room: u32,
    },
    /// More servers than there are slots for.
    #[error(
        "{wanted} servers ({removed} of them removed, but connections still refer to them), and there is room for {room}; raise the limit and start again"
    )]
    TooManyServers {
        /// How many, the removed ones included.
        wanted: usize,
        /// Removed ones still referred to.
        removed: usize,
        /// The capacity.
        room: u32,
    },
}

/// A service as an error names it: "tcp 192.0.2.10:80", "mark 21 (ipv6)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceName(pub ServiceKey);

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServiceKey::Address { protocol, address } => write!(f, "{protocol} {address}"),
            ServiceKey::Mark { mark, family } => write!(f, "mark {} ({family})", mark.0),
        }
    }
}

/// What stands in the way of `ip` being a host's address, if anything does.
pub(crate) fn not_a_host(ip: IpAddr) -> Option<&'static str> {
    match ip {
        ip if ip.is_unspecified() => Some("the unspecified address"),
        ip if ip.is_multicast() => Some("a multicast address"),
        ip if ip.is_loopback() => Some("a loopback address"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            Some("an IPv4-mapped address; write the IPv4 one")
        }
        _ => None,
    }
}
