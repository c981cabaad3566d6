//! The little of rtnetlink a director needs: look at links, and set up its TAP devices.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
        RouteScope, RouteType,
    },
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::{io, net::IpAddr};
use thiserror::Error;
use types::{IpNet, MacAddr};

/// Why the kernel did not do what was asked.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The kernel refused.
    #[error("{what}: {error}")]
    Refused {
        /// What was asked, with the names in it.
        what: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The socket failed, or the answer was not understood.
    #[error("rtnetlink: {0}")]
    Socket(#[from] io::Error),
}

/// A network interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's index.
    pub index: u32,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Its MAC, if it is an Ethernet device.
    pub mac: Option<MacAddr>,
    /// Bytes of an IP packet at most.
    pub mtu: u32,
}

/// A socket to the kernel's rtnetlink; blocking, one request at a time.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Netlink")
    }
}

impl Netlink {
    /// Opens the socket in the current network namespace.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// The interface called `name`; `None` if there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let answer = self.ask(
            NLM_F_REQUEST,
            RouteNetlinkMessage::GetLink(message),
            &format!("look at interface {name}"),
        );
        match answer {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link_of(&link))),
            Ok(_) => Ok(None),
            Err(NetlinkError::Refused { error, .. })
                if error.raw_os_error() == Some(libc::ENODEV) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets MAC and MTU of a device.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_link(&mut self, index: u32, mac: MacAddr, mtu: u16) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message
            .attributes
            .push(LinkAttribute::Address(mac.0.to_vec()));
        message.attributes.push(LinkAttribute::Mtu(u32::from(mtu)));
        self.tell(
            NLM_F_REQUEST | NLM_F_ACK,
            RouteNetlinkMessage::SetLink(message),
            &format!("set MAC {mac} and MTU {mtu}"),
        )
    }

    /// Brings a device up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_up(&mut self, index: u32) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.tell(
            NLM_F_REQUEST | NLM_F_ACK,
            RouteNetlinkMessage::SetLink(message),
            "bring the device up",
        )
    }

    /// Gives a device an address (without duplicate address detection: the director answers for it already).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_address(&mut self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        self.tell(
            NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            RouteNetlinkMessage::NewAddress(address_message(index, address)),
            &format!("add address {address}"),
        )
    }

    /// Takes an address away from a device.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_address(&mut self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        self.tell(
            NLM_F_REQUEST | NLM_F_ACK,
            RouteNetlinkMessage::DelAddress(address_message(index, address)),
            &format!("remove address {address}"),
        )
    }

    /// Adds a route out of a device; `metric` orders it among others to the same destination (higher loses).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_route(
        &mut self,
        index: u32,
        to: IpNet,
        via: Option<IpAddr>,
        metric: u32,
    ) -> Result<(), NetlinkError> {
        self.tell(
            NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            RouteNetlinkMessage::NewRoute(route_message(index, to, via, metric)),
            &format!("add route to {to}"),
        )
    }

    /// Removes a route [`Netlink::add_route`] added.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_route(
        &mut self,
        index: u32,
        to: IpNet,
        via: Option<IpAddr>,
        metric: u32,
    ) -> Result<(), NetlinkError> {
        self.tell(
            NLM_F_REQUEST | NLM_F_ACK,
            RouteNetlinkMessage::DelRoute(route_message(index, to, via, metric)),
            &format!("remove route to {to}"),
        )
    }

    /// Adds a route through a gateway that needs no address on the link, whose MAC is told at once.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_route_to_station(
        &mut self,
        index: u32,
        to: IpNet,
        station: (IpAddr, MacAddr),
        metric: u32,
    ) -> Result<(), NetlinkError> {
        let (via, mac) = station;
        let mut neighbour = NeighbourMessage::default();
        neighbour.header.family = family(via);
        neighbour.header.ifindex = index;
        neighbour.header.state = NeighbourState::Permanent;
        neighbour
            .attributes
            .push(NeighbourAttribute::Destination(match via {
                IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
                IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
            }));
        neighbour
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        self.tell(
            NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            RouteNetlinkMessage::NewNeighbour(neighbour),
            &format!("add neighbour {via}"),
        )?;
        let mut route = route_message(index, to, Some(via), metric);
        route.header.flags = RouteFlags::Onlink;
        self.tell(
            NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            RouteNetlinkMessage::NewRoute(route),
            &format!("add route to {to}"),
        )
    }

    fn tell(
        &mut self,
        flags: u16,
        message: RouteNetlinkMessage,
        what: &str,
    ) -> Result<(), NetlinkError> {
        self.ask(flags, message, what).map(|_| ())
    }

    /// Sends one request and takes its one answer: a message, or an acknowledgement (`None`).
    fn ask(
        &mut self,
        flags: u16,
        message: RouteNetlinkMessage,
        what: &str,
    ) -> Result<Option<RouteNetlinkMessage>, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
                .map_err(|error| io::Error::other(error.to_string()))?;
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    Err(NetlinkError::Refused {
                        what: what.to_owned(),
                        error: error.to_io(),
                    })
                }
                _ => Ok(None),
            };
        }
    }
}

fn link_of(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        mac: None,
        mtu: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => {
                link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            _ => {}
        }
    }
    link
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.address());
    message.header.index = index;
    message.header.prefix_len = address.prefix();
    message.header.flags = AddressHeaderFlags::Nodad;
    message
        .attributes
        .push(AddressAttribute::Address(address.address()));
    message
        .attributes
        .push(AddressAttribute::Local(address.address()));
    message
        .attributes
        .push(AddressAttribute::Flags(AddressFlags::Nodad));
    message
}

fn route_message(index: u32, to: IpNet, via: Option<IpAddr>, metric: u32) -> RouteMessage {
    let address = |a: IpAddr| match a {
        IpAddr::V4(a) => RouteAddress::Inet(a),
        IpAddr::V6(a) => RouteAddress::Inet6(a),
    };
    let to = to.network();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(to.address()),
        destination_prefix_length: to.prefix(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: if via.is_some() {
            RouteScope::Universe
        } else {
            RouteScope::Link
        },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    if to.prefix() > 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(address(to.address())));
    }
    if let Some(via) = via {
        message
            .attributes
            .push(RouteAttribute::Gateway(address(via)));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.push(RouteAttribute::Priority(metric));
    message
}
