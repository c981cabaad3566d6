//! The director's place in the network: interfaces, addresses, routes. Compiled by control, immutable for workers.

mod addresses;
mod compile;
mod exit;
mod routes;
#[cfg(test)]
mod tests;

use crate::fib::{Fib, Range};
use addresses::AddressTable;
pub(crate) use exit::Exit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use types::{InterfaceId, InterfaceName, MacAddr, PortId, RpFilter, VlanId};

use crate::model::Offloads;

/// What is sent where: the next station on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NextHop {
    /// The interface out.
    pub interface: InterfaceId,
    /// The station to resolve: a gateway, or the destination itself.
    pub gateway: IpAddr,
}

/// Why an address is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    /// An interface's own: the host stack behind it answers if there is one.
    Own(InterfaceId),
    /// A virtual service's, or one configured as such: only the engine answers.
    Vip,
    /// The limited broadcast, or a segment's.
    Broadcast,
}

/// A layer-3 interface.
#[derive(Clone, Debug)]
pub(crate) struct InterfaceNet {
    /// Its index.
    pub id: InterfaceId,
    /// As configured.
    pub name: InterfaceName,
    /// The port it is on.
    pub port: PortId,
    /// The 802.1Q tag of its frames.
    pub vlan: Option<VlanId>,
    /// Its MAC.
    pub mac: MacAddr,
    /// Bytes of an IP packet at most.
    pub mtu: u16,
    /// Whether a host stack stands behind it.
    pub host: bool,
    /// What the port computes.
    pub offloads: Offloads,
    /// What is asked of sources.
    pub rp_filter: RpFilter,
    /// The link-local address derived from the MAC.
    pub link_local: u128,
    /// Own IPv4 addresses and prefix lengths, as configured: the first is preferred.
    pub addresses4: Box<[(u32, u8)]>,
    /// Own IPv6 addresses and prefix lengths, as configured, without the link-local one.
    pub addresses6: Box<[(u128, u8)]>,
}

impl InterfaceNet {
    /// Bytes of Ethernet header and tag in front of a packet sent here.
    #[must_use]
    #[inline]
    pub const fn l2_len(&self) -> u8 {
        if self.vlan.is_some() { 18 } else { 14 }
    }

    /// Whether `ip` is in one of the interface's connected prefixes.
    #[must_use]
    pub fn on_link(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self
                .addresses4
                .iter()
                .any(|&(own, len)| same_prefix4(own, ip.to_bits(), len)),
            IpAddr::V6(ip) => {
                is_link_local(ip.to_bits())
                    || self
                        .addresses6
                        .iter()
                        .any(|&(own, len)| same_prefix6(own, ip.to_bits(), len))
            }
        }
    }
}

/// How frames of one port find their interface.
#[derive(Clone, Debug, Default)]
struct PortNet {
    mac: MacAddr,
    host: bool,
    untagged: Option<InterfaceId>,
    tagged: Box<[(u16, InterfaceId)]>,
}

#[derive(Clone, Copy, Debug)]
struct Hop {
    interface: InterfaceId,
    /// `None`: the destination is on the link.
    gateway: Option<IpAddr>,
}

/// Words of the filter before [`Net::may_be_vip`]'s full look.
const FILTER_WORDS: usize = 64;

/// Interfaces, addresses and routes of one snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    interfaces: Box<[InterfaceNet]>,
    ports: Box<[PortNet]>,
    hops: Box<[Hop]>,
    /// Per hop, the straight way out; empty until [`Net::find_exits`].
    exits: Box<[Exit]>,
    fib4: Fib<u32>,
    fib6: Fib<u128>,
    /// Per interface, a default route of its own (IPv4, IPv6).
    defaults: Box<[[Option<NextHop>; 2]]>,
    /// Of either family there is at most one of those.
    one_default: bool,
    local4: AddressTable<u32>,
    local6: AddressTable<u128>,
    vip_filter: [u64; FILTER_WORDS],
}

impl Default for Net {
    /// No interfaces, no routes.
    fn default() -> Self {
        Self {
            interfaces: Box::default(),
            ports: Box::default(),
            hops: Box::default(),
            exits: Box::default(),
            fib4: Fib::new(Vec::new()),
            fib6: Fib::new(Vec::new()),
            defaults: Box::default(),
            one_default: true,
            local4: AddressTable::new(&[]),
            local6: AddressTable::new(&[]),
            vip_filter: [0; FILTER_WORDS],
        }
    }
}

impl Net {
    /// The interface, if there is one of that id.
    #[must_use]
    #[inline]
    pub fn interface(&self, id: InterfaceId) -> Option<&InterfaceNet> {
        self.interfaces.get(id.index())
    }

    /// All interfaces, by id.
    #[must_use]
    pub fn interfaces(&self) -> &[InterfaceNet] {
        &self.interfaces
    }

    /// The MAC of `port`, if it has an untagged interface.
    #[must_use]
    #[inline]
    pub fn untagged_mac(&self, port: PortId) -> Option<MacAddr> {
        let port = self.ports.get(port.index())?;
        (port.untagged.is_some() && !port.mac.is_group()).then_some(port.mac)
    }

    /// The MAC of `port`, if any interface is on it.
    #[must_use]
    #[inline]
    pub fn port_mac(&self, port: PortId) -> Option<MacAddr> {
        self.ports.get(port.index()).map(|p| p.mac)
    }

    /// Whether a host stack stands behind `port`.
    #[must_use]
    pub fn port_has_host(&self, port: PortId) -> bool {
        self.ports.get(port.index()).is_some_and(|p| p.host)
    }

    /// The interface of frames of `port` with that tag. VLAN id 0 is a priority tag: the frame counts as untagged.
    #[must_use]
    #[inline]
    pub fn interface_of(&self, port: PortId, vlan: Option<u16>) -> Option<InterfaceId> {
        let port = self.ports.get(port.index())?;
        match vlan {
            None | Some(0) => port.untagged,
            Some(id) => port
                .tagged
                .iter()
                .find(|(tag, _)| *tag == id)
                .map(|(_, interface)| *interface),
        }
    }

    /// Whether and why `ip` is ours.
    #[must_use]
    #[inline]
    pub fn local(&self, ip: IpAddr) -> Option<Local> {
        match ip {
            IpAddr::V4(ip) => self.local4(ip.to_bits()),
            IpAddr::V6(ip) => self.local6(ip.to_bits()),
        }
    }

    /// [`Net::local`] of an IPv4 address in host byte order.
    #[must_use]
    #[inline]
    pub fn local4(&self, ip: u32) -> Option<Local> {
        self.local4.get(ip)
    }

    /// [`Net::local`] of an IPv6 address in host byte order.
    #[must_use]
    #[inline]
    pub fn local6(&self, ip: u128) -> Option<Local> {
        self.local6.get(ip)
    }

    /// Whether an IPv4 destination, as it stands in a header ([`flowtable::Family::words`]), may be a VIP: one load, no false
    /// negatives, few false positives.
    #[must_use]
    #[inline]
    pub fn may_be_vip4(&self, words: (u64, u64)) -> bool {
        self.filtered(addresses::hash4(words))
    }

    /// [`Net::may_be_vip4`] for IPv6.
    #[must_use]
    #[inline]
    pub fn may_be_vip6(&self, words: (u64, u64)) -> bool {
        self.filtered(addresses::hash6(words))
    }

    #[inline]
    fn filtered(&self, hash: u64) -> bool {
        let (word, bit) = filter_position(hash);
        self.vip_filter.get(word).is_some_and(|w| w >> bit & 1 != 0)
    }

    /// The way to `ip`, longest prefix first. Link-local and group addresses have none here.
    #[must_use]
    #[inline]
    pub fn route(&self, ip: IpAddr) -> Option<NextHop> {
        let hop = match ip {
            IpAddr::V4(ip) => self.fib4.lookup(ip.to_bits()),
            IpAddr::V6(ip) => self.fib6.lookup(ip.to_bits()),
        }?;
        let hop = self.hops.get(hop as usize)?;
        Some(NextHop {
            interface: hop.interface,
            gateway: hop.gateway.unwrap_or(ip),
        })
    }

    /// The straight way out to `ip`.
    #[must_use]
    #[inline]
    pub fn exit4(&self, ip: u32) -> Option<&Exit> {
        self.exits.get(self.fib4.lookup(ip)? as usize)
    }

    /// [`Net::exit4`] for IPv6.
    #[must_use]
    #[inline]
    pub fn exit6(&self, ip: u128) -> Option<&Exit> {
        self.exits.get(self.fib6.lookup(ip)? as usize)
    }

    /// [`Net::exit4`], and the addresses around it to which it is the same.
    #[must_use]
    pub fn exit4_and_range(&self, ip: u32) -> Option<(&Exit, Range<u32>)> {
        let (exit, range) = self.fib4.lookup_range(ip)?;
        Some((self.exits.get(exit as usize)?, range))
    }

    /// [`Net::exit4_and_range`] for IPv6.
    #[must_use]
    pub fn exit6_and_range(&self, ip: u128) -> Option<(&Exit, Range<u128>)> {
        let (exit, range) = self.fib6.lookup_range(ip)?;
        Some((self.exits.get(exit as usize)?, range))
    }

    /// Whether an IPv4 address in host byte order is ours: [`Net::local4`] for who asks of many that are not.
    #[must_use]
    #[inline(always)]
    pub fn is_local4(&self, ip: u32) -> bool {
        self.local4.holds(ip)
    }

    /// [`Net::is_local4`] for IPv6.
    #[must_use]
    #[inline(always)]
    pub fn is_local6(&self, ip: u128) -> bool {
        self.local6.holds(ip)
    }

    /// Whether [`Net::route_back`] of an address that is on no link says what [`Net::route`] does, whatever interface it is asked for.
    #[must_use]
    #[inline]
    pub const fn leads_back(&self) -> bool {
        self.one_default
    }

    /// The way back to the sender of a packet that came in on `interface`: as [`Net::route`], but link-local addresses
    /// are on that link, and where only default routes lead, the interface's own default is preferred.
    #[must_use]
    pub fn route_back(&self, ip: IpAddr, interface: InterfaceId) -> Option<NextHop> {
        if let IpAddr::V6(v6) = ip
            && is_link_local(v6.to_bits())
        {
            return Some(NextHop {
                interface,
                gateway: ip,
            });
        }
        let found = self.route(ip)?;
        let family = usize::from(ip.is_ipv6());
        let default_of = |id: InterfaceId| *self.defaults.get(id.index())?.get(family)?;
        match default_of(interface) {
            Some(own) if default_of(found.interface) == Some(found) => Some(own),
            _ => Some(found),
        }
    }

    /// Whether [`Net::takes_from`] takes packets from everywhere.
    #[must_use]
    pub fn takes_all(&self, interface: InterfaceId) -> bool {
        self.interface(interface)
            .is_none_or(|i| i.rp_filter == RpFilter::Off)
    }

    /// Whether the interface's `rp_filter` takes a packet from there. Link-local addresses, and none at all, are its link's.
    #[must_use]
    pub fn takes_from(&self, source: IpAddr, interface: InterfaceId) -> bool {
        let asked = self.interface(interface).map(|i| (i, i.rp_filter));
        let Some((interface, asked @ (RpFilter::Strict | RpFilter::Loose))) = asked else {
            return true;
        };
        let is_of_link = match source {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unspecified() || is_link_local(v6.to_bits()),
        };
        is_of_link
            || self
                .route_back(source, interface.id)
                .is_some_and(|way| asked == RpFilter::Loose || way.interface == interface.id)
    }

    /// The address packets of the director's own to `to` carry as source when they leave as `next` says: one on the
    /// link of the next hop if there is one, else the interface's first, else any interface's first.
    #[must_use]
    pub fn source_for(&self, to: IpAddr, next: NextHop) -> Option<IpAddr> {
        let out = self.interface(next.interface)?;
        match (to, next.gateway) {
            (IpAddr::V4(_), IpAddr::V4(gateway)) => {
                let near = |i: &&(u32, u8)| same_prefix4(i.0, gateway.to_bits(), i.1);
                let own = out.addresses4.iter();
                let any = self.interfaces.iter().flat_map(|i| i.addresses4.iter());
                let (ip, _) = own
                    .clone()
                    .find(near)
                    .or_else(|| own.clone().next())
                    .or_else(|| any.clone().next())?;
                Some(Ipv4Addr::from_bits(*ip).into())
            }
            (IpAddr::V6(to), IpAddr::V6(_)) if is_link_local(to.to_bits()) => {
                Some(Ipv6Addr::from_bits(out.link_local).into())
            }
            (IpAddr::V6(to), IpAddr::V6(gateway)) => {
                let near = |i: &&(u128, u8)| {
                    same_prefix6(i.0, to.to_bits(), i.1)
                        || same_prefix6(i.0, gateway.to_bits(), i.1)
                };
                let own = out.addresses6.iter();
                let any = self.interfaces.iter().flat_map(|i| i.addresses6.iter());
                let ip = own
                    .clone()
                    .find(near)
                    .or_else(|| own.clone().next())
                    .or_else(|| any.clone().next())
                    .map_or(out.link_local, |(ip, _)| *ip);
                Some(Ipv6Addr::from_bits(ip).into())
            }
            _ => None,
        }
    }

    /// Every gateway of a route, with its interface: control keeps them resolved.
    pub fn gateways(&self) -> impl Iterator<Item = NextHop> + '_ {
        self.hops.iter().filter_map(|hop| {
            Some(NextHop {
                interface: hop.interface,
                gateway: hop.gateway?,
            })
        })
    }

    /// Whether `ip` is directly reachable through a connected prefix, and on which interface.
    #[must_use]
    pub fn connected(&self, ip: IpAddr) -> Option<InterfaceId> {
        let next = self.route(ip)?;
        (next.gateway == ip && self.interface(next.interface)?.on_link(ip))
            .then_some(next.interface)
    }
}

/// fe80::/10.
#[must_use]
#[inline]
pub(crate) const fn is_link_local(ip: u128) -> bool {
    ip >> 118 == 0xfe80 >> 6
}

const fn same_prefix4(a: u32, b: u32, len: u8) -> bool {
    len == 0 || (a ^ b) >> (32 - len as u32) == 0
}

const fn same_prefix6(a: u128, b: u128, len: u8) -> bool {
    len == 0 || (a ^ b) >> (128 - len as u32) == 0
}

#[inline]
const fn filter_position(hash: u64) -> (usize, u32) {
    (
        (hash >> 58) as usize & (FILTER_WORDS - 1),
        (hash >> 52) as u32 & 63,
    )
}
