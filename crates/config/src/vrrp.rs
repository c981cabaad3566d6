//! Virtual routers: which addresses move between directors, and by which rules. Keys are named as keepalived names them.

use crate::{Config, Track};
use serde::Serialize;
use std::{fmt, net::IpAddr};
use types::MacAddr;

/// Groups and instances by themselves there can be, together.
pub const MAX_UNITS: usize = 64;

/// A virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrrp {
    /// Its name.
    pub name: String,
    /// The interface it is on, by name.
    pub interface: String,
    /// 1 to 255; the same on all directors of one virtual router.
    pub virtual_router_id: u8,
    /// 2 or 3.
    pub version: u8,
    /// 1 to 255; 255 takes over without listening first.
    pub priority: u8,
    /// Between advertisements, in milliseconds: whole tenths of 100, in version 2 whole seconds.
    pub advert_int_ms: u32,
    /// Whether it takes over from a master of lower priority.
    pub preempt: bool,
    /// For how many seconds it lets such a master be first.
    pub preempt_delay: u32,
    /// For how many seconds after its start it waits for the checks' first verdicts before it takes over from such a master.
    pub preempt_warmup: u32,
    /// The virtual addresses it advertises, all of one family.
    pub virtual_ipaddress: Vec<IpAddr>,
    /// Addresses that move with them without being advertised; of any family.
    pub virtual_ipaddress_excluded: Vec<IpAddr>,
    /// The other directors, instead of the multicast group.
    pub unicast_peer: Vec<IpAddr>,
    /// Version 2's password.
    pub auth_pass: Option<String>,
    /// What is done with it.
    pub auth_type: AuthType,
    /// Version 3's checksum over IPv4 is over the message only.
    pub v3_checksum_as_v2: bool,
    /// The virtual router has a MAC of its own, which moves with the addresses.
    pub use_vmac: bool,
    /// What is sent to its addresses, and is for no service, is answered: echo requests, connections to a closed port.
    pub accept: bool,
    /// Instances of one group move together.
    pub sync_group: Option<String>,
    /// Interfaces whose carriers count, beside its own.
    pub track_interface: Vec<Track>,
    /// Scripts whose exit statuses count.
    pub track_script: Vec<Track>,
    /// Files whose numbers count.
    pub track_file: Vec<Track>,
    /// Neighbours that must answer.
    pub track_gateway: Vec<Track>,
    /// BFD sessions that must be up.
    pub track_bfd: Vec<Track>,
    /// Real servers of which enough must be up.
    pub track_servers: Vec<Track>,
    /// Announcements on becoming master.
    pub garp_master_repeat: u32,
    /// Seconds until they are repeated; 0: not.
    pub garp_master_delay: u32,
    /// Seconds between announcements while master; 0: none.
    pub garp_master_refresh: u32,
}

/// What version 2's password is for, in keepalived's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthType {
    /// It stands in every advertisement.
    #[default]
    Pass,
    /// It is the key of an authentication header around every advertisement.
    Ah,
}

impl fmt::Display for AuthType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Ah => "ah",
        })
    }
}

impl Vrrp {
    /// Version 3 with priority 100, preempting, an advertisement a second, and no addresses yet: what is not written in the file.
    #[must_use]
    pub const fn new(name: String, interface: String, virtual_router_id: u8) -> Self {
        Self {
            name,
            interface,
            virtual_router_id,
            version: 3,
            priority: 100,
            advert_int_ms: 1000,
            preempt: true,
            preempt_delay: 0,
            preempt_warmup: 60,
            virtual_ipaddress: Vec::new(),
            virtual_ipaddress_excluded: Vec::new(),
            unicast_peer: Vec::new(),
            auth_pass: None,
            auth_type: AuthType::Pass,
            v3_checksum_as_v2: false,
            use_vmac: false,
            accept: true,
            sync_group: None,
            track_interface: Vec::new(),
            track_script: Vec::new(),
            track_file: Vec::new(),
            track_gateway: Vec::new(),
            track_bfd: Vec::new(),
            track_servers: Vec::new(),
            garp_master_repeat: 5,
            garp_master_delay: 5,
            garp_master_refresh: 60,
        }
    }

    /// All addresses that move with it.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let excluded = self.virtual_ipaddress_excluded.iter();
        self.virtual_ipaddress.iter().chain(excluded).copied()
    }

    /// Its own MAC, if it has one (RFC 9568 7.3).
    #[must_use]
    pub fn virtual_mac(&self) -> Option<MacAddr> {
        let six = self.virtual_ipaddress.first()?.is_ipv6();
        let family = if six { 2 } else { 1 };
        let mac = MacAddr([0, 0, 0x5e, 0, family, self.virtual_router_id]);
        self.use_vmac.then_some(mac)
    }

    /// The name of what moves together: its group, or itself.
    #[must_use]
    pub fn unit(&self) -> &str {
        self.sync_group.as_deref().unwrap_or(&self.name)
    }
}

impl Config {
    /// MACs of virtual routers on a port or its VLANs.
    pub fn virtual_macs_on(&self, port: &str) -> impl Iterator<Item = MacAddr> {
        let here = move |v: &&Vrrp| {
            let vlan = self.vlans.iter().find(|vlan| vlan.name == v.interface);
            vlan.map_or(v.interface.as_str(), |vlan| &vlan.port) == port
        };
        self.vrrp.iter().filter(here).filter_map(Vrrp::virtual_mac)
    }

    /// What moves together: names, each with its instances, in the order of the file.
    #[must_use]
    pub fn vrrp_units(&self) -> Vec<(&str, Vec<&Vrrp>)> {
        let mut units: Vec<(&str, Vec<&Vrrp>)> = Vec::new();
        for instance in &self.vrrp {
            match units.iter_mut().find(|(name, _)| *name == instance.unit()) {
                Some((_, members)) => members.push(instance),
                None => units.push((instance.unit(), vec![instance])),
            }
        }
        units
    }
}
