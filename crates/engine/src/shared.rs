//! What outlives snapshots and is shared by all workers.

use crate::{
    claims::{AddressWatch, Claims},
    lvs::{Clients, Defences, Resets, Roster, Secret},
    neighbour::NeighbourTable,
    role::Roles,
    snapshot::Snapshot,
};
use flowtable::{Aside, Table, V4, V6};
use rcu::{Domain, Published};
use std::sync::Arc;

/// State shared by all workers.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Readers and grace periods of everything below.
    pub domain: Arc<Domain>,
    /// What the workers go by.
    pub snapshot: Published<Snapshot>,
    /// Who is where on the links.
    pub neighbours: NeighbourTable,
    /// IPv4 connections.
    pub connections4: Table<V4>,
    /// IPv6 connections.
    pub connections6: Table<V6>,
    /// What stands beside them.
    pub aside4: Aside,
    /// Likewise.
    pub aside6: Aside,
    /// What cookies are made with.
    pub secret: Secret,
    /// Which virtual addresses are the director's now.
    pub roles: Arc<Roles>,
    /// Who else says that they are theirs.
    pub claims: Claims,
    /// Looks for one virtual address.
    pub watch: Arc<AddressWatch>,
    /// Counts and cursors of services and servers.
    pub roster: Roster,
    /// How the defences against floods stand.
    pub defences: Defences,
    /// Clients' new connections against `client_rate_limit`.
    pub clients: Clients,
    /// Connections whose ends are to be told that they are over.
    pub resets: Resets,
}
