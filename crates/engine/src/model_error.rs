//! What can be wrong with a desired state. One variant a mistake; each says what is wrong and what would be right.

use crate::lvs::ServiceError;
use std::net::IpAddr;
use thiserror::Error;
use types::{InterfaceId, InterfaceName, IpNet, MacAddr, PortId};

/// Why a desired state cannot be compiled. Nothing of it is applied then.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ModelError {
    /// Two interfaces catch the same frames.
    #[error("interfaces `{first}` and `{second}` are both port {} with the same VLAN; give one another VLAN id", port.0)]
    DuplicateInterface {
        /// The earlier.
        first: InterfaceName,
        /// The later.
        second: InterfaceName,
        /// Their port.
        port: PortId,
    },
    /// A MAC no station can have.
    #[error(
        "interface `{interface}` has the MAC {mac}, which is not one a station can have; use a unicast address"
    )]
    InterfaceMac {
        /// The interface.
        interface: InterfaceName,
        /// Its MAC.
        mac: MacAddr,
    },
    /// Interfaces of one port with different MACs.
    #[error("interfaces `{first}` and `{second}` share a port but not its MAC")]
    PortMac {
        /// The earlier.
        first: InterfaceName,
        /// The later.
        second: InterfaceName,
    },
    /// An MTU too small for the addresses on the interface.
    #[error("interface `{interface}` has an MTU of {mtu}; {family} needs at least {minimum}")]
    Mtu {
        /// The interface.
        interface: InterfaceName,
        /// Its MTU.
        mtu: u16,
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// RFC 791: 68; RFC 8200: 1280.
        minimum: u16,
    },
    /// An address no interface can have.
    #[error("interface `{interface}` cannot have the address {address}: it is {what}")]
    InterfaceAddress {
        /// The interface.
        interface: InterfaceName,
        /// As configured.
        address: IpNet,
        /// What the address is instead: "multicast", "the network's broadcast address", ...
        what: &'static str,
    },
    /// One address on two interfaces, or twice on one.
    #[error(
        "the address {address} is on interface `{first}` and again on `{second}`; keep one of them"
    )]
    DuplicateAddress {
        /// The address.
        address: IpAddr,
        /// The earlier.
        first: InterfaceName,
        /// The later.
        second: InterfaceName,
    },
    /// A VIP no director can answer for.
    #[error("{address} cannot be a virtual address: it is {what}")]
    Vip {
        /// The address.
        address: IpAddr,
        /// What it is instead.
        what: &'static str,
    },
    /// A route through an interface there is not.
    #[error("the route to {to} names interface number {}, but there are {interfaces}", interface.0)]
    RouteInterface {
        /// The route's destination.
        to: IpNet,
        /// What it names.
        interface: InterfaceId,
        /// How many there are.
        interfaces: usize,
    },
    /// A route with neither gateway nor interface.
    #[error(
        "the route to {to} has neither a gateway nor an interface; give it `via` or an interface"
    )]
    RouteNowhere {
        /// The route's destination.
        to: IpNet,
    },
    /// Gateway and destination of different families.
    #[error("the route to {to} has the gateway {via}, which is of the other address family")]
    RouteFamily {
        /// The route's destination.
        to: IpNet,
        /// Its gateway.
        via: IpAddr,
    },
    /// A destination no route can have.
    #[error("there can be no route to {to}: it is {what}")]
    RouteDestination {
        /// The route's destination.
        to: IpNet,
        /// What it is instead.
        what: &'static str,
    },
    /// A gateway that no interface reaches directly.
    #[error(
        "the gateway {via} of the route to {to} is not on a connected segment ({connected}); a gateway must be a neighbour"
    )]
    GatewayNotConnected {
        /// The route's destination.
        to: IpNet,
        /// Its gateway.
        via: IpAddr,
        /// The segments there are.
        connected: String,
    },
    /// A gateway that is the director itself.
    #[error("the gateway {via} of the route to {to} is the director's own address")]
    GatewayIsOwn {
        /// The route's destination.
        to: IpNet,
        /// Its gateway.
        via: IpAddr,
    },
    /// Two routes to one prefix.
    #[error("two routes to {to}: {first} and {second}; keep one of them")]
    DuplicateRoute {
        /// The prefix.
        to: IpNet,
        /// How the earlier goes.
        first: String,
        /// How the later goes.
        second: String,
    },
    /// A mistake in a service or server.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Old snapshots wait for a worker that does not come round.
    #[error("nothing can be applied now: a worker hangs and still holds an old state")]
    WorkerHangs,
}
