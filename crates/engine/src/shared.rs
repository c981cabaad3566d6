//! What outlives snapshots and is shared by all workers.

use crate::neighbour::NeighbourTable;

/// State shared by all workers.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Who is where on the links.
    pub neighbours: NeighbourTable,
}
