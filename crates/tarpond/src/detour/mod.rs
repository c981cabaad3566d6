//! The way to a virtual address on one real server.
//!
//! Under direct routing and tunnelling a server serves on the virtual address, which all of them have, and the director too. So for
//! each such server there is an address of its own, a *detour*, that only the host knows: 240.P.x.y and 100::P:x:y behind port P (of
//! ranges nobody uses: RFC 1112, 4, and RFC 6666). A check connects to it, and on its way through the TAP the [`Translator`] makes
//! it the virtual address, at that server's MAC or through its tunnel; answers the other way round.

mod packet;
mod translate;
mod wrap;

pub use translate::{Translator, Way};

use crate::desired::interface_id;
use config::{Config, Route};
use health::{Aim, Check};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};
use types::{ForwardingMethod, InterfaceId, IpNet, MacAddr, ServiceKey, Tunnel};

/// To whom the host believes to send: locally administered, on no wire.
pub const GATEWAY_MAC: MacAddr = MacAddr([0x02, b't', b'a', b'r', b'p', b'n']);
/// Detours behind a port at most.
const MOST: u32 = 60_000;

/// The detours of a port in a family, and the gateway that the host has for them.
#[must_use]
pub fn range(port: u8, ipv6: bool) -> (IpNet, IpAddr) {
    let (first, length, gateway): (IpAddr, u8, IpAddr) = if ipv6 {
        (
            address(port, true, 0),
            96,
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x7461, 0x7270, 0x6f6e).into(),
        )
    } else {
        (
            address(port, false, 0),
            16,
            Ipv4Addr::new(240, port, 255, 254).into(),
        )
    };
    // Both lengths are within their families'.
    let net = IpNet::new(first, length).unwrap_or_else(|_| unreachable!("/16 and /96"));
    (net, gateway)
}

fn address(port: u8, ipv6: bool, number: u32) -> IpAddr {
    let [_, _, high, low] = number.to_be_bytes();
    if ipv6 {
        let last = u16::from_be_bytes([high, low]);
        Ipv6Addr::new(0x100, 0, 0, 0, 0, port.into(), 0, last).into()
    } else {
        Ipv4Addr::new(240, port, high, low).into()
    }
}

/// What a detour leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct End {
    vip: IpAddr,
    server: IpAddr,
    /// As text: tunnels have no order.
    tunnel: Option<TunnelKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct TunnelKey(u8, u16, u8);

impl From<Tunnel> for TunnelKey {
    fn from(tunnel: Tunnel) -> Self {
        match tunnel {
            Tunnel::Ipip => Self(0, 0, 0),
            Tunnel::Gre { checksum } => Self(1, 0, checksum.into()),
            Tunnel::Gue { port, checksum } => {
                Self(2, port.get(), (checksum != types::GueChecksum::None).into())
            }
        }
    }
}

/// Where what is sent to a detour really goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detour {
    /// The virtual address.
    pub vip: IpAddr,
    /// The server, or the gateway to it.
    pub hop: (InterfaceId, IpAddr),
    /// The tunnel, from the director's address to the server's.
    pub tunnel: Option<(Tunnel, IpAddr, IpAddr)>,
}

/// All detours, as control and host thread share them.
pub type Table = Arc<Mutex<Arc<HashMap<IpAddr, Detour>>>>;

/// The detours that a configuration needs. They keep their addresses as long as they are needed.
#[derive(Debug, Default)]
pub struct Detours {
    given: BTreeMap<(End, u8), (u32, IpAddr)>,
    stations: Vec<(InterfaceId, IpAddr)>,
    table: Table,
}

impl Detours {
    /// Those of `config` from now on.
    pub fn follow(&mut self, config: &Config) {
        let ways = Ways::new(config);
        let mut wanted: BTreeMap<(End, u8), Detour> = BTreeMap::new();
        for service in &config.services {
            for server in &service.servers {
                let mut checks = service.health.checks_of(server.address).iter();
                let Some(vip) = checks.find_map(|check| aim(check, service.key, server)) else {
                    continue;
                };
                if let Some((port, detour)) = ways.to(vip, server) {
                    wanted.insert((end(vip, server), port), detour);
                }
            }
        }
        self.given.retain(|key, _| wanted.contains_key(key));
        let mut used: BTreeSet<(u8, bool, u32)> = self
            .given
            .iter()
            .map(|((end, port), (number, _))| (*port, end.vip.is_ipv6(), *number))
            .collect();
        let mut table = HashMap::new();
        for (key, detour) in wanted {
            let (port, ipv6) = (key.1, detour.vip.is_ipv6());
            let given = self.given.get(&key).map(|(_, address)| *address);
            let Some(address) = given.or_else(|| {
                let number = (1..=MOST).find(|n| !used.contains(&(port, ipv6, *n)))?;
                used.insert((port, ipv6, number));
                let address = address(port, ipv6, number);
                self.given.insert(key, (number, address));
                Some(address)
            }) else {
                continue;
            };
            table.insert(address, detour);
        }
        let hops: BTreeSet<(u16, IpAddr)> = table.values().map(|d| (d.hop.0.0, d.hop.1)).collect();
        self.stations = hops
            .into_iter()
            .map(|(id, hop)| (InterfaceId(id), hop))
            .collect();
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// Next hops whose MACs must be known, also while their servers are out of service.
    #[must_use]
    pub fn stations(&self) -> &[(InterfaceId, IpAddr)] {
        &self.stations
    }

    /// The check as it is made: of the virtual address on that server, if that is what it is of and there is a way.
    #[must_use]
    pub fn lead(&self, check: &Check, service: ServiceKey, server: &config::Server) -> Check {
        let mut check = check.clone();
        if let Some(vip) = aim(&check, service, server) {
            let end = end(vip, server);
            let mut given = self.given.range((end, 0)..=(end, u8::MAX));
            if let Some((_, (_, address))) = given.next() {
                check.address = Some(vip);
                check.detour = Some(*address);
            }
        }
        check
    }

    /// What the host thread looks at.
    #[must_use]
    pub fn table(&self) -> Table {
        Arc::clone(&self.table)
    }
}

/// Ports behind which the host needs a way to detours, in which families (whether IPv6).
#[must_use]
pub fn ranges(config: &Config) -> BTreeSet<(u8, bool)> {
    let mut detours = Detours::default();
    detours.follow(config);
    let used = detours.given.keys();
    used.map(|(end, port)| (*port, end.vip.is_ipv6())).collect()
}

fn end(vip: IpAddr, server: &config::Server) -> End {
    End {
        vip,
        server: server.address.ip(),
        tunnel: (server.method == ForwardingMethod::Tunnel).then(|| server.tunnel.into()),
    }
}

/// The virtual address that a check is of; absent: it is of the server's own address, or of one it names.
fn aim(check: &Check, service: ServiceKey, server: &config::Server) -> Option<IpAddr> {
    if !check.kind.has_port() || check.address.is_some() || server.method == ForwardingMethod::Masq
    {
        return None;
    }
    let vip = service.address()?;
    let wanted = match check.aim {
        Some(aim) => aim == Aim::Virtual,
        // Another port is something else than what clients get.
        None => check.port.is_none() || vip.port() == 0,
    };
    wanted.then(|| vip.ip())
}

/// Where packets to a server go.
struct Ways<'c> {
    config: &'c Config,
    connected: Vec<(IpNet, &'c str)>,
    routes: Vec<Route>,
}

impl<'c> Ways<'c> {
    fn new(config: &'c Config) -> Self {
        let ports = config.ports.iter().map(|p| (&p.name, &p.addresses));
        let vlans = config.vlans.iter().map(|v| (&v.name, &v.addresses));
        let connected = ports
            .chain(vlans)
            .flat_map(|(name, nets)| nets.iter().map(move |net| (*net, name.as_str())))
            .collect();
        Self {
            config,
            connected,
            routes: config.all_routes(),
        }
    }

    /// The port and the detour; `None` where the host has no TAP, or no address that could be answered.
    fn to(&self, vip: IpAddr, server: &config::Server) -> Option<(u8, Detour)> {
        let (name, hop) = self.hop(server.address.ip())?;
        let mut ports = self.config.ports.iter().zip(0..);
        let (port, number) = ports.find(|(p, _)| p.name == name && p.tap().is_some())?;
        let own = |of: IpAddr| {
            let mut own = port.addresses.iter().map(IpNet::address);
            own.find(|own| own.is_ipv4() == of.is_ipv4())
        };
        own(vip)?;
        let tunnel = match server.method {
            ForwardingMethod::Tunnel => {
                let to = server.address.ip();
                Some((server.tunnel, own(to)?, to))
            }
            _ => None,
        };
        let hop = (interface_id(self.config, name)?, hop);
        Some((number, Detour { vip, hop, tunnel }))
    }

    /// Interface and next hop.
    fn hop(&self, address: IpAddr) -> Option<(&str, IpAddr)> {
        let routes = self.routes.iter().filter(|r| r.to.contains(address));
        let route = routes.max_by_key(|route| route.to.prefix());
        match (self.link(address), route) {
            (Some((net, name)), Some(route)) if net.prefix() >= route.to.prefix() => {
                Some((name, address))
            }
            (Some((_, name)), None) => Some((name, address)),
            (_, Some(route)) if !route.unreachable => {
                let hop = route.via.unwrap_or(address);
                match &route.interface {
                    Some(name) => Some((name, hop)),
                    None => self.link(hop).map(|(_, name)| (name, hop)),
                }
            }
            _ => None,
        }
    }

    fn link(&self, address: IpAddr) -> Option<(IpNet, &'c str)> {
        let nets = self.connected.iter().filter(|(n, _)| n.contains(address));
        nets.max_by_key(|(net, _)| net.prefix()).copied()
    }
}

#[cfg(test)]
mod tests;
