//! From the configuration's words to units of VRRP.

use crate::desired::{PortFacts, interface_id};
use config::{AuthType, Config, TrackGateway, TrackedBy, Vrrp};
use engine::model::VirtualMac;
use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};
use types::{InterfaceId, IpNet, MacAddr, PortId};
use vrrp::{
    Authentication, Checksum, Interval, Link, MemberSettings, Preemption, Repetition, Tracker,
    TrackerKind, Version, Weight,
};

/// What moves together. Its number is its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitPlan {
    /// The group's name, or the instance's.
    pub name: String,
    /// Its virtual routers.
    pub members: Vec<MemberPlan>,
    /// What it does to others.
    pub preemption: Preemption,
    /// For how long after the start it waits for verdicts of checks before it preempts.
    pub patience: Duration,
    /// How it announces.
    pub repetition: Repetition,
    /// What it tracks.
    pub tracked: Vec<(Tracker, Weight)>,
    /// Those of them that are asked whether they are there.
    pub gateways: Vec<GatewayPlan>,
    /// What it announces, where, and from which MAC.
    pub announced: Vec<(PortId, Link, IpAddr)>,
    /// One of those addresses, to be asked for from the port's own MAC.
    pub probe: Option<(PortId, Link, IpAddr)>,
}

/// A neighbour that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPlan {
    /// Who tracks it knows it so.
    pub tracker: Tracker,
    /// Who.
    pub address: IpAddr,
    /// This director's address on its link.
    pub source: IpAddr,
    /// Its interface.
    pub id: InterfaceId,
    /// The port below.
    pub port: PortId,
    /// MAC and tag.
    pub link: Link,
    /// Between two questions.
    pub interval: Duration,
    /// Answers until it is up, silences until it is down.
    pub rise_fall: (u32, u32),
}

/// A virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPlan {
    /// The instance's name.
    pub name: String,
    /// Its group's.
    pub sync_group: Option<String>,
    /// Its interface's name.
    pub interface: String,
    /// The same by number.
    pub id: InterfaceId,
    /// The port below.
    pub port: PortId,
    /// MAC and tag.
    pub link: Link,
    /// The same with the port's own MAC.
    pub own: Link,
    /// That MAC, if it is the virtual router's own.
    pub virtual_mac: Option<MacAddr>,
    /// What it is told to be.
    pub settings: MemberSettings,
    /// The key of the authentication header around its advertisements.
    pub key: Option<[u8; 8]>,
    /// Over what its checksum is.
    pub checksum: Checksum,
    /// Whom it tells, if not the group.
    pub peers: Vec<IpAddr>,
    /// All addresses that move with it.
    pub addresses: Vec<IpAddr>,
}

/// An interface as far as VRRP wants to know.
struct Place<'c> {
    id: InterfaceId,
    port: PortId,
    link: Link,
    addresses: &'c [IpNet],
}

/// The units of `config`, in its order.
#[must_use]
pub fn plans(config: &Config, facts: &[PortFacts]) -> Vec<UnitPlan> {
    let places = places(config, facts);
    let unit = |(name, members): (&str, Vec<&Vrrp>)| {
        let first = *members.first()?;
        let announced: Vec<_> = members
            .iter()
            .flat_map(|v| v.addresses().map(move |address| (*v, address)))
            .filter_map(|(v, address)| {
                // Where the address is on link; a router's own segment otherwise.
                let near =
                    |p: &&(&str, Place<'_>)| p.1.addresses.iter().any(|n| n.contains(address));
                let own = |p: &&(&str, Place<'_>)| p.0 == v.interface;
                let here = places.iter().find(|p| own(p) && near(p));
                let place = here
                    .or_else(|| places.iter().find(near))
                    .or_else(|| places.iter().find(own))?;
                Some((place, v, address))
            })
            .collect();
        let probe = announced
            .first()
            .map(|((_, place), _, address)| (place.port, place.link, *address));
        let announced = announced
            .iter()
            .map(|((name, place), v, address)| {
                let mac = v.virtual_mac().filter(|_| *name == v.interface);
                (place.port, from(place.link, mac), *address)
            })
            .collect();
        Some(UnitPlan {
            name: name.to_owned(),
            preemption: Preemption {
                allowed: first.preempt,
                delay: Duration::from_secs(first.preempt_delay.into()),
            },
            patience: Duration::from_secs(first.preempt_warmup.into()),
            repetition: Repetition {
                repeat: first.garp_master_repeat,
                delay: Duration::from_secs(first.garp_master_delay.into()),
                refresh: Duration::from_secs(first.garp_master_refresh.into()),
                ..Repetition::default()
            },
            tracked: tracked(config, &members),
            gateways: gateways(config, &members, &places),
            announced,
            probe,
            members: members
                .into_iter()
                .filter_map(|v| member(v, &places))
                .collect(),
        })
    };
    config.vrrp_units().into_iter().filter_map(unit).collect()
}

/// A link as seen from another MAC, if there is one.
fn from(link: Link, mac: Option<MacAddr>) -> Link {
    Link {
        mac: mac.unwrap_or(link.mac),
        ..link
    }
}

/// MACs of virtual routers, with the roles and addresses of those.
#[must_use]
pub fn virtual_macs(config: &Config) -> Vec<VirtualMac> {
    let units = config.vrrp_units().into_iter().zip(0..);
    let members =
        units.flat_map(|((_, members), role)| members.into_iter().map(move |m| (m, role)));
    let one = |(v, role): (&Vrrp, u8)| {
        Some(VirtualMac {
            interface: interface_id(config, &v.interface)?,
            mac: v.virtual_mac()?,
            role,
            addresses: v.addresses().collect(),
        })
    };
    members.filter_map(one).collect()
}

/// Virtual addresses with their roles.
#[must_use]
pub fn floating(config: &Config) -> Vec<(IpAddr, u8)> {
    let units = config.vrrp_units().into_iter().zip(0..);
    units
        .flat_map(|((_, members), role)| members.into_iter().map(move |m| (m, role)))
        .flat_map(|(member, role)| member.addresses().map(move |address| (address, role)))
        .collect()
}

/// Virtual addresses for which only what is for a service is taken.
#[must_use]
pub fn unaccepted(config: &Config) -> Vec<IpAddr> {
    let refusing = config.vrrp.iter().filter(|v| !v.accept);
    refusing.flat_map(Vrrp::addresses).collect()
}

/// Peers whose MACs must be known.
#[must_use]
pub fn stations(config: &Config) -> Vec<(InterfaceId, IpAddr)> {
    let of = |v: &Vrrp| {
        let id = interface_id(config, &v.interface)?;
        Some(
            v.unicast_peer
                .iter()
                .map(move |peer| (id, *peer))
                .collect::<Vec<_>>(),
        )
    };
    let peers = config.vrrp.iter().filter_map(of).flatten();
    let gateways = config.track_gateways.iter().filter_map(|gateway| {
        let id = interface_id(config, gateway_interface(config, gateway)?)?;
        Some((id, gateway.address))
    });
    peers.chain(gateways).collect()
}

/// The name of the interface a gateway is on.
fn gateway_interface<'c>(config: &'c Config, gateway: &'c TrackGateway) -> Option<&'c str> {
    if let Some(name) = &gateway.interface {
        return Some(name);
    }
    let ports = config.ports.iter().map(|p| (&p.name, &p.addresses));
    let vlans = config.vlans.iter().map(|v| (&v.name, &v.addresses));
    let nets = ports
        .chain(vlans)
        .flat_map(|(name, nets)| nets.iter().map(move |net| (name, net)));
    let near = nets.filter(|(_, net)| net.contains(gateway.address));
    let (name, _) = near.max_by_key(|(_, net)| net.prefix())?;
    Some(name)
}

/// Those a unit tracks.
fn gateways(config: &Config, members: &[&Vrrp], places: &[(&str, Place<'_>)]) -> Vec<GatewayPlan> {
    let one = |tracked: TrackedBy<'_>| {
        let TrackedBy::Gateway(name, _) = tracked else {
            return None;
        };
        let gateway = config.track_gateways.iter().find(|g| g.name == name)?;
        let interface = gateway_interface(config, gateway)?;
        let (_, place) = places.iter().find(|(name, _)| *name == interface)?;
        let near = place.addresses.iter().find(|n| n.contains(gateway.address));
        let source = match gateway.address {
            IpAddr::V4(_) => near?.address(),
            IpAddr::V6(_) => link_local(place),
        };
        Some(GatewayPlan {
            tracker: Tracker {
                kind: TrackerKind::Gateway,
                name: name.to_owned(),
            },
            address: gateway.address,
            source,
            id: place.id,
            port: place.port,
            link: place.link,
            interval: gateway.interval,
            rise_fall: (gateway.rise, gateway.fall),
        })
    };
    config
        .tracked(members)
        .into_iter()
        .filter_map(one)
        .collect()
}

fn link_local(place: &Place<'_>) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(wire::nd::link_local(place.link.mac.0)))
}

fn tracked(config: &Config, members: &[&Vrrp]) -> Vec<(Tracker, Weight)> {
    let all = config.tracked(members).into_iter();
    let one = |tracked: TrackedBy<'_>| {
        let (_, name, weight) = tracked.parts();
        let kind = match tracked {
            TrackedBy::Interface(..) => TrackerKind::Interface,
            TrackedBy::Script(..) => TrackerKind::Script,
            TrackedBy::File(..) => TrackerKind::File,
            TrackedBy::Gateway(..) => TrackerKind::Gateway,
            TrackedBy::Bfd(..) => TrackerKind::Bfd,
            TrackedBy::Servers(..) => TrackerKind::Servers,
        };
        let name = name.to_owned();
        let weight = Weight {
            by: weight.by,
            reverse: weight.reverse,
        };
        (Tracker { kind, name }, weight)
    };
    all.map(one).collect()
}

fn places<'c>(config: &'c Config, facts: &[PortFacts]) -> Vec<(&'c str, Place<'c>)> {
    let mut places = Vec::new();
    for ((port, facts), number) in config.ports.iter().zip(facts).zip(0..) {
        let mac = facts.mac;
        let mut add = |name: &'c str, vlan, addresses: &'c [IpNet]| {
            if let Some(id) = interface_id(config, name) {
                let link = Link { mac, vlan };
                let port = PortId(number);
                places.push((
                    name,
                    Place {
                        id,
                        port,
                        link,
                        addresses,
                    },
                ));
            }
        };
        add(&port.name, None, &port.addresses);
        for vlan in config.vlans.iter().filter(|v| v.port == port.name) {
            add(&vlan.name, Some(vlan.id), &vlan.addresses);
        }
    }
    places
}

fn member(v: &Vrrp, places: &[(&str, Place<'_>)]) -> Option<MemberPlan> {
    let (_, place) = places.iter().find(|(name, _)| *name == v.interface)?;
    let six = v.virtual_ipaddress.first()?.is_ipv6();
    let source = if six {
        // RFC 9568 5.1.2.2. Peers that are told by another address know this one by its own on their prefix.
        let near = |peer: &IpAddr| place.addresses.iter().find(|net| net.contains(*peer));
        let own = v.unicast_peer.first().and_then(near);
        own.map_or_else(|| link_local(place), IpNet::address)
    } else {
        let mut own = place.addresses.iter().map(IpNet::address);
        own.find(IpAddr::is_ipv4)?
    };
    let version = if v.version == 2 {
        Version::V2
    } else {
        Version::V3
    };
    Some(MemberPlan {
        name: v.name.clone(),
        sync_group: v.sync_group.clone(),
        interface: v.interface.clone(),
        id: place.id,
        port: place.port,
        link: from(place.link, v.virtual_mac()),
        own: place.link,
        virtual_mac: v.virtual_mac(),
        settings: MemberSettings {
            version,
            router_id: v.virtual_router_id,
            priority: v.priority,
            interval: Interval::of_centiseconds(u16::try_from(v.advert_int_ms / 10).ok()?)?,
            source,
            addresses: v.virtual_ipaddress.clone(),
            authentication: match (&v.auth_pass, v.auth_type) {
                (Some(text), AuthType::Pass) => Authentication::password(text),
                (Some(_), AuthType::Ah) => Authentication::Header,
                (None, _) => Authentication::None,
            },
        },
        key: match (&v.auth_pass, v.auth_type) {
            (Some(text), AuthType::Ah) => Some(Authentication::key(text)),
            _ => None,
        },
        checksum: if v.v3_checksum_as_v2 {
            Checksum::MessageOnly
        } else {
            Checksum::PseudoHeader
        },
        peers: v.unicast_peer.clone(),
        addresses: v.addresses().collect(),
    })
}
