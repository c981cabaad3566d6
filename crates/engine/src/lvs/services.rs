//! Virtual services and real servers as one snapshot has them.

use super::schedule::{self, Locality};
use crate::{
    model::{self, Persistence, ServiceKey},
    neighbour::NeighbourId,
    net::{Exit, NextHop},
    packet::Addresses,
};
use hashbrown::{HashMap, HashSet};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use types::{
    Family, ForwardingMethod, Mark, OnRemoval, PersistenceEngine, Protocol, Scheduler,
    SchedulerFlags, ServerId, ServiceId, Tick, Tunnel, Weight,
};

/// A virtual service, shared by every snapshot in which it is the same.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Its slot.
    pub id: ServiceId,
    /// What it catches.
    pub key: ServiceKey,
    /// How servers are chosen.
    pub scheduler: Scheduler,
    /// What the scheduler may do besides.
    pub flags: SchedulerFlags,
    /// Persistence, if any.
    pub persistence: Option<Persistence>,
    /// What tells its templates apart besides; its servers make requests of their own, persistence or not.
    pub persistence_engine: Option<PersistenceEngine>,
    /// Each datagram is scheduled by itself.
    pub one_packet: bool,
    /// Newest first, as they are walked.
    pub servers: Box<[Candidate]>,
    /// Of a hashing scheduler: places of servers in `servers`.
    pub table: Box<[u32]>,
    /// What lblc and lblcr remember.
    pub locality: Option<Arc<Locality>>,
    /// Greatest common divisor of the weights.
    pub weight_step: u32,
    /// Where a round of weighted round robin starts.
    pub weight_top: u32,
}

/// A server as its service's scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its slot.
    pub id: ServerId,
    /// Weight; 0 quiesces.
    pub weight: Weight,
    /// The weight it had when that was last not 0.
    pub last_weight: Weight,
    /// Address and port as one number, by which Maglev hashing spreads the servers.
    pub spread: u32,
}

impl Service {
    /// The mark it catches, 0 if it goes by addresses.
    pub const fn mark(&self) -> Mark {
        match self.key {
            ServiceKey::Mark { mark, .. } => mark,
            ServiceKey::Address { .. } => Mark(0),
        }
    }

    /// The service `wanted` is to be; its `servers` are given newest first, with what lblc or lblcr is to remember them in.
    pub fn new(
        id: ServiceId,
        wanted: &model::Service,
        servers: Box<[Candidate]>,
        locality: Option<Arc<Locality>>,
    ) -> Self {
        let mut service = Self {
            id,
            key: wanted.key,
            scheduler: wanted.scheduler,
            flags: wanted.flags,
            persistence: wanted.persistence,
            persistence_engine: wanted.persistence_engine,
            one_packet: wanted.one_packet,
            table: schedule::table(wanted.scheduler, &servers),
            servers,
            locality,
            weight_step: 1,
            weight_top: 0,
        };
        (service.weight_step, service.weight_top) = schedule::weight_steps(&service);
        service
    }

    /// Where the walk goes on behind the server a cursor names by id plus one; at the head for 0 or a server that is gone.
    pub fn position_after(&self, cursor: u64) -> usize {
        self.position(cursor).map_or(0, |at| at + 1)
    }

    /// A cursor that in `after` stands where `cursor` stands here: on the same server, or if that is gone on the nearest
    /// one before it that is left, or at the head.
    pub fn nearest_kept(&self, cursor: u64, after: &Self) -> u64 {
        let at = self.position(cursor);
        let upto = at.map_or(0, |at| at + 1);
        let walked = self.servers.iter().take(upto).rev();
        walked
            .map(|c| u64::from(c.id.0) + 1)
            .find(|&c| after.position(c).is_some())
            .unwrap_or(0)
    }

    fn position(&self, cursor: u64) -> Option<usize> {
        self.servers
            .iter()
            .position(|c| u64::from(c.id.0) + 1 == cursor)
    }
}

/// How a slot of the server slab stands in this snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In use by no server this snapshot knows of.
    Vacant,
    /// Removed while connections referred to it; kept in case it returns.
    Removed,
    /// Configured.
    Serving,
}

/// What the packet path needs of a server, by its slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Its slot.
    pub id: ServerId,
    /// Whether packets go there at all.
    pub standing: Standing,
    /// How new connections get there; those that stand keep theirs.
    pub method: ForwardingMethod,
    /// What becomes of its connections when it is removed.
    pub on_removal: OnRemoval,
    /// Weight; 0 quiesces.
    pub weight: Weight,
    /// Address.
    pub address: IpAddr,
    /// Port; 0 is the port the client asked for.
    pub port: u16,
    /// The director itself has this address (IPVS's "local node").
    pub local: bool,
    /// The way there; `None` without a route.
    pub next: Option<NextHop>,
    /// The next hop's slot among the neighbours, where it is kept resolved.
    pub neighbour: Option<NeighbourId>,
    /// Bytes of an IP packet the way takes.
    pub mtu: u16,
    /// What tunnel packets to it are wrapped in.
    pub tunnel: Tunnel,
    /// Their source address.
    pub tunnel_source: Option<IpAddr>,
    /// The straight way there.
    pub exit: Exit,
}

impl Target {
    /// A slot of which this snapshot knows nothing.
    pub const VACANT: Self = Self {
        id: ServerId(0),
        standing: Standing::Vacant,
        method: ForwardingMethod::Masq,
        on_removal: OnRemoval::Keep,
        weight: Weight(0),
        address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        port: 0,
        local: false,
        next: None,
        neighbour: None,
        mtu: 0,
        tunnel: Tunnel::Ipip,
        tunnel_source: None,
        exit: Exit::NONE,
    };
}

/// Protocol number, address and port of a NAT server.
pub(crate) type ServerPort = (u8, IpAddr, u16);

/// The ports a server answers from, by what its service catches.
pub(crate) fn server_ports(
    key: &ServiceKey,
    address: SocketAddr,
) -> impl Iterator<Item = ServerPort> {
    let protocols: &[Protocol] = match key {
        ServiceKey::Address {
            protocol: Protocol::Tcp,
            ..
        } => &[Protocol::Tcp],
        ServiceKey::Address {
            protocol: Protocol::Udp,
            ..
        } => &[Protocol::Udp],
        ServiceKey::Address {
            protocol: Protocol::Sctp,
            ..
        } => &[Protocol::Sctp],
        ServiceKey::Mark { .. } => Protocol::ALL,
    };
    let of = move |p: &Protocol| (p.number(), address.ip(), address.port());
    protocols.iter().map(of)
}

/// All services of one snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    list: Box<[Arc<Service>]>,
    by_key: HashMap<ServiceKey, u32>,
    /// Whether packets of IPv4, and of IPv6, are looked at.
    looks_at: [bool; 2],
    /// NAT servers' ports, and until when each counts as one: their stray packets are not let through as they are.
    server_ports: HashMap<ServerPort, Tick>,
    /// A server without a port of its own counts with every port. Not in compat: for IPVS it has port 0.
    every_port: bool,
    /// Their addresses.
    server_addresses: HashMap<IpAddr, Tick>,
    /// Real servers whose own requests are sent as their service's (SIP), with the service's place in the list.
    callers: HashMap<(IpAddr, u16), (u32, ServerId)>,
    /// Addresses that services have.
    addresses: HashSet<IpAddr>,
    targets: Box<[Target]>,
    /// The targets' exits by themselves: the straight way needs no more of them.
    exits: Box<[Exit]>,
}

impl Services {
    /// Indexes the services; `targets` is indexed by [`ServerId`]. `former`: ports of NAT servers removed not long ago,
    /// and until when they are remembered.
    pub fn new(
        list: Box<[Arc<Service>]>,
        targets: Box<[Target]>,
        former: impl Iterator<Item = (ServerPort, Tick)>,
        compat_ipvs: bool,
    ) -> Self {
        let by_key = list.iter().zip(0..).map(|(s, n)| (s.key, n)).collect();
        let mut ports: HashMap<ServerPort, Tick> = former.collect();
        for service in &list {
            let targets = service.servers.iter().map(|c| targets.get(c.id.index()));
            let nat = |t: &&Target| t.method == ForwardingMethod::Masq;
            for target in targets.flatten().filter(nat) {
                let address = SocketAddr::new(target.address, target.port);
                ports.extend(server_ports(&service.key, address).map(|p| (p, FOR_EVER)));
            }
        }
        let mut addresses: HashMap<IpAddr, Tick> = HashMap::new();
        for ((_, address, _), until) in &ports {
            let latest = addresses.entry(*address).or_insert(*until);
            *latest = (*latest).max(*until);
        }
        let callers = callers(&list, &targets);
        let own = list.iter().filter_map(|s| Some(s.key.address()?.ip()));
        let own = own.collect();
        // Linux takes a family's hooks away with its last service. Source: observation of Linux 6.1
        // (`tests/golden/found_last_of_a_family`).
        let looks_at = [Family::Ipv4, Family::Ipv6].map(|family| match compat_ipvs {
            true => list.iter().any(|service| service.key.family() == family),
            false => !list.is_empty(),
        });
        Self {
            list,
            by_key,
            looks_at,
            server_ports: ports,
            every_port: !compat_ipvs,
            server_addresses: addresses,
            callers,
            addresses: own,
            exits: targets.iter().map(|t| t.exit).collect(),
            targets,
        }
    }

    /// The same, with memories of their own.
    pub fn copy(&self) -> Self {
        let mut copy = self.clone();
        for service in &mut copy.list {
            if let Some(locality) = &service.locality {
                let locality = Some(Arc::new(locality.copy()));
                *service = Arc::new(Service {
                    locality,
                    ..Service::clone(service)
                });
            }
        }
        copy
    }

    /// The straight way to a server: in good standing, reached through an untagged interface.
    #[inline]
    pub fn exit(&self, id: ServerId) -> Option<&Exit> {
        self.exits.get(id.index())
    }

    /// Whether anything is looked up for packets of IPv4, and of IPv6: not without any service.
    #[inline]
    pub const fn looks_at(&self) -> [bool; 2] {
        self.looks_at
    }

    /// The same of these addresses' family.
    #[inline]
    pub const fn looks_at_family_of(&self, addresses: &Addresses) -> bool {
        let [four, six] = self.looks_at;
        match addresses {
            Addresses::V4 { .. } => four,
            Addresses::V6 { .. } => six,
        }
    }

    /// What stands in a server's slot.
    #[inline]
    pub fn target(&self, id: ServerId) -> Option<&Target> {
        self.targets.get(id.index())
    }

    /// The first port that is not privileged.
    pub const UNPRIVILEGED: u16 = 1024;

    /// Whether a service catches just that port.
    pub fn has_exactly(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        let address = (address, port).into();
        self.by_key
            .contains_key(&ServiceKey::Address { protocol, address })
    }

    /// The service a packet to `address` and `port` is for: by mark, then exactly, then persistent FTP, whose data
    /// connections may go to any port, then the one for every port.
    pub fn find(
        &self,
        mark: Mark,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Option<&Arc<Service>> {
        let family = if address.is_ipv4() {
            types::Family::Ipv4
        } else {
            types::Family::Ipv6
        };
        let of_address = |port| ServiceKey::Address {
            protocol,
            address: (address, port).into(),
        };
        let by_mark = (mark.0 != 0).then_some(ServiceKey::Mark { mark, family });
        let get = |key| self.list.get(*self.by_key.get(&key)? as usize);
        if let Some(service) = by_mark.and_then(get).or_else(|| get(of_address(port))) {
            return Some(service);
        }
        let may_be_data =
            protocol == Protocol::Tcp && (port == FTP_DATA || port >= Self::UNPRIVILEGED);
        if may_be_data && let Some(ftp) = get(of_address(FTP)) {
            // As in IPVS, it keeps the service for every port from being asked.
            return ftp.persistence.is_some().then_some(ftp);
        }
        get(of_address(0))
    }

    /// Whether a NAT service has, or not long ago had, a server with this protocol, address and port.
    pub fn is_server_port(&self, protocol: u8, address: IpAddr, port: u16, now: Tick) -> bool {
        let known = |port| self.server_ports.get(&(protocol, address, port));
        known(port)
            .or_else(|| known(0).filter(|_| self.every_port))
            .is_some_and(|until| *until > now)
    }

    /// The service whose persistence engine has a server of that address and port call clients itself (IPVS's `conn_out`), and the
    /// server.
    pub fn caller(&self, address: IpAddr, port: u16) -> Option<(&Service, ServerId)> {
        let (service, server) = *self.callers.get(&(address, port))?;
        Some((self.list.get(service as usize)?, server))
    }

    /// Whether there is any such server.
    pub fn has_callers(&self) -> bool {
        !self.callers.is_empty()
    }

    /// The service in that place of the list.
    #[inline]
    pub fn at(&self, place: u32) -> Option<&Service> {
        Some(self.list.get(place as usize)?)
    }

    /// Every service, in the list's order.
    pub fn all(&self) -> impl Iterator<Item = &Service> {
        self.list.iter().map(AsRef::as_ref)
    }

    /// The service of a mark.
    pub fn of_mark(&self, mark: Mark, is4: bool) -> Option<&Arc<Service>> {
        let family = if is4 {
            types::Family::Ipv4
        } else {
            types::Family::Ipv6
        };
        let key = ServiceKey::Mark { mark, family };
        self.list.get(*self.by_key.get(&key)? as usize)
    }

    /// Whether a service has this address.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Whether a NAT service has, or not long ago had, a server of this address.
    pub fn is_server(&self, address: IpAddr, now: Tick) -> bool {
        self.server_addresses
            .get(&address)
            .is_some_and(|until| *until > now)
    }
}

/// Of UDP and NAT only. A server of several services is that of the newest, as IPVS finds it; it calls if that one lets it.
fn callers(list: &[Arc<Service>], targets: &[Target]) -> HashMap<(IpAddr, u16), (u32, ServerId)> {
    let mut callers = HashMap::new();
    if !list
        .iter()
        .any(|service| service.persistence_engine.is_some())
    {
        return callers;
    }
    for (service, at) in list.iter().zip(0..) {
        let udp = matches!(
            service.key,
            ServiceKey::Address {
                protocol: Protocol::Udp,
                ..
            }
        );
        let servers = service
            .servers
            .iter()
            .filter_map(|c| targets.get(c.id.index()));
        for target in servers.filter(|t| udp && t.method == ForwardingMethod::Masq) {
            let place = (target.address, target.port);
            if service.persistence_engine.is_some() {
                callers.insert(place, (at, target.id));
            } else {
                callers.remove(&place);
            }
        }
    }
    callers
}

/// FTP's control port: of a service there that is persistent, templates cover every port, for the data connections.
pub(crate) const FTP: u16 = 21;
/// The port FTP servers open data connections from.
pub(crate) const FTP_DATA: u16 = 20;

/// As long as it is configured.
const FOR_EVER: Tick = Tick(u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn service(port: u16, servers: &[u32]) -> Service {
        let wanted = model::Service {
            key: ServiceKey::Address {
                protocol: Protocol::Tcp,
                address: SocketAddr::new([10, 0, 0, 100].into(), port),
            },
            scheduler: Scheduler::Rr,
            flags: SchedulerFlags::default(),
            persistence: None,
            persistence_engine: None,
            one_packet: false,
            servers: Vec::new(),
        };
        let candidates = servers.iter().map(|&id| Candidate {
            id: ServerId(id),
            weight: Weight(1),
            last_weight: Weight(1),
            spread: 0,
        });
        Service::new(ServiceId(0), &wanted, candidates.collect(), None)
    }

    #[test]
    fn a_cursor_moves_back_when_its_server_goes() {
        let before = service(80, &[5, 4, 3, 2]);
        assert_eq!(before.nearest_kept(4, &service(80, &[5, 4, 2])), 5);
        assert_eq!(before.nearest_kept(4, &service(80, &[9, 2])), 0);
        assert_eq!(before.nearest_kept(4, &service(80, &[9, 3])), 4);
        assert_eq!(before.position_after(0), 0);
        assert_eq!(before.position_after(3), 4);
    }

    #[test]
    fn an_exact_port_wins_over_every_port() {
        let list: Box<[_]> = [service(0, &[]), service(80, &[])].map(Arc::new).into();
        let services = Services::new(list, Box::new([]), std::iter::empty(), true);
        let vip = IpAddr::from([10, 0, 0, 100]);
        let port = |port| match services.find(Mark(0), Protocol::Tcp, vip, port)?.key {
            ServiceKey::Address { address, .. } => Some(address.port()),
            ServiceKey::Mark { .. } => None,
        };
        assert_eq!(port(80), Some(80));
        assert_eq!(port(81), Some(0));
        assert!(services.find(Mark(0), Protocol::Udp, vip, 80).is_none());
    }
}
