//! From the configuration's words to where messages go.

use crate::desired::{PortFacts, interface_id};
use config::{Config, Sync, SyncRole};
use connsync::{OVERHEAD, Pace, Rules};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use types::{InterfaceId, MacAddr, PortId, VlanId};

/// What the thread is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Who tells, who listens.
    pub role: SyncRole,
    /// The interface's name.
    pub interface: String,
    /// The same by number.
    pub id: InterfaceId,
    /// The port below.
    pub port: PortId,
    /// Its MAC.
    pub mac: MacAddr,
    /// The tag.
    pub vlan: Option<VlanId>,
    /// From where messages come.
    pub source: IpAddr,
    /// The group, with the port all listen at.
    pub group: SocketAddr,
    /// Other directors, instead of the group.
    pub peers: Vec<IpAddr>,
    /// Time to live.
    pub ttl: u8,
    /// Which set of directors this is one of.
    pub sync_id: u8,
    /// Bytes of a message at most.
    pub room: u16,
    /// When messages are sent.
    pub pace: Pace,
    /// Roles there are.
    pub units: u8,
}

/// Messages are sent when they are as old, if not full before.
const OWN_PACE: Pace = Pace {
    look_ms: 1,
    wait_ms: 5,
};

/// `None`: nothing is synchronised.
#[must_use]
pub fn plan(config: &Config, facts: &[PortFacts]) -> Option<Plan> {
    let sync = config.sync.as_ref()?;
    let vlan = config.vlans.iter().find(|v| v.name == sync.interface);
    let below = vlan.map_or(&sync.interface, |v| &v.port);
    let mut ports = config.ports.iter().zip(facts).zip(0..);
    let ((port, facts), number) = ports.find(|((p, _), _)| p.name == *below)?;
    let addresses = vlan.map_or(&port.addresses, |v| &v.addresses);
    let to = sync.unicast_peer.first().copied();
    let six = to.unwrap_or(sync.mcast_group).is_ipv6();
    let mut own = addresses.iter().map(types::IpNet::address);
    let source = own.find(|ip| ip.is_ipv6() == six);
    let link_local = || Ipv6Addr::from_bits(wire::nd::link_local(facts.mac.0)).into();
    let source = source.or_else(|| six.then(link_local))?;
    let overhead = if six { OVERHEAD + 20 } else { OVERHEAD };
    let fits = port.mtu.saturating_sub(overhead);
    Some(Plan {
        role: sync.role,
        interface: sync.interface.clone(),
        id: interface_id(config, &sync.interface)?,
        port: PortId(number),
        mac: facts.mac,
        vlan: vlan.map(|v| v.id),
        source,
        group: SocketAddr::new(sync.mcast_group, sync.mcast_port),
        peers: sync.unicast_peer.clone(),
        ttl: sync.mcast_ttl,
        sync_id: sync.syncid,
        room: sync.sync_maxlen.map_or(fits, |most| most.min(fits)),
        pace: if config.compat_ipvs {
            Pace::IPVS
        } else {
            OWN_PACE
        },
        units: u8::try_from(config.vrrp_units().len()).unwrap_or(u8::MAX),
    })
}

/// What workers note; `None`: nothing.
#[must_use]
pub fn rules(config: &Config) -> Option<Rules> {
    let sync = config.sync.as_ref().filter(|s| s.role.tells())?;
    Some(Rules {
        threshold: sync.sync_threshold.0,
        period: sync.sync_threshold.1,
        established: !config.compat_ipvs,
        templates_only: sync.sync_persist_mode,
    })
}

/// Where messages are heard.
#[must_use]
pub fn heard_at(config: &Config) -> Option<SocketAddr> {
    let of = |sync: &Sync| SocketAddr::new(sync.mcast_group, sync.mcast_port);
    config.sync.as_ref().map(of)
}

/// Peers whose MACs must be known.
#[must_use]
pub fn stations(config: &Config) -> Vec<(InterfaceId, IpAddr)> {
    let Some(sync) = &config.sync else {
        return Vec::new();
    };
    let Some(id) = interface_id(config, &sync.interface) else {
        return Vec::new();
    };
    sync.unicast_peer.iter().map(|peer| (id, *peer)).collect()
}
