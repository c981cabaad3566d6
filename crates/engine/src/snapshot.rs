//! What control publishes: compiled from the desired state, immutable, read by all workers.

use crate::{
    lvs::{Services, Timeouts},
    model::Settings,
    net::Net,
};

/// One published state of the director.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Interfaces, addresses, routes.
    pub net: Net,
    /// Virtual services and real servers.
    pub services: Services,
    /// Settings, as wanted.
    pub settings: Settings,
    /// Connections' timeouts by those settings.
    pub timeouts: Timeouts,
}
