//! What control publishes: compiled from the desired state, immutable, read by all workers.

use crate::{
    lvs::{Gates, Guards, Marks, Services, Timeouts},
    model::Settings,
    net::Net,
    role::Floating,
    virtual_mac::VirtualMacs,
};
use connsync::Milestones;
use std::sync::Arc;
use types::IpNet;

/// One published state of the director.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Interfaces, addresses, routes.
    pub net: Net,
    /// Virtual services and real servers.
    pub services: Services,
    /// Which packets carry which firewall mark.
    pub marks: Arc<Marks>,
    /// Who may make connections, and how many.
    pub gates: Arc<Gates>,
    /// What services do under floods of SYNs.
    pub cookies: Arc<Guards>,
    /// Prefixes whose packets are the director's, beside its addresses and the virtual ones.
    pub local: Box<[IpNet]>,
    /// The virtual addresses that depend on a role.
    pub floating: Floating,
    /// MACs of virtual routers.
    pub virtual_macs: VirtualMacs,
    /// Settings, as wanted.
    pub settings: Settings,
    /// Connections' timeouts by those settings.
    pub timeouts: Timeouts,
    /// At which of a client's packets its connection is noted for other directors; none are told if `None`.
    pub milestones: Option<Milestones>,
}

impl Snapshot {
    /// The same, with nothing in it that anybody else writes to.
    pub fn copy(&self) -> Self {
        Self {
            net: self.net.clone(),
            services: self.services.copy(),
            marks: Arc::new(self.marks.copy()),
            gates: Arc::clone(&self.gates),
            cookies: Arc::clone(&self.cookies),
            local: self.local.clone(),
            floating: self.floating.clone(),
            virtual_macs: self.virtual_macs.clone(),
            settings: self.settings.clone(),
            timeouts: self.timeouts,
            milestones: self.milestones,
        }
    }
}
