//! Neighbours kept resolved because real servers and gateways are behind them.

use crate::{
    model::Desired,
    neighbour::{NeighbourId, NeighbourTable},
    net::{Net, NextHop},
};
use hashbrown::{HashMap, HashSet};
use types::Tick;

/// The neighbours pinned now, with their slots.
#[derive(Debug, Default)]
pub(crate) struct Pins(HashMap<NextHop, NeighbourId>);

impl Pins {
    /// Keeps these resolved from now on.
    pub fn pin(&mut self, now: Tick, wanted: &HashSet<NextHop>, neighbours: &NeighbourTable) {
        for hop in wanted {
            if !self.0.contains_key(hop)
                && let Some(id) = neighbours.ensure(hop.interface, hop.gateway, now)
            {
                self.0.insert(*hop, id);
            }
        }
    }

    /// Lets go of all but these.
    pub fn unpin(&mut self, wanted: &HashSet<NextHop>, neighbours: &NeighbourTable) {
        self.0.retain(|hop, id| {
            let stays = wanted.contains(hop);
            if !stays {
                neighbours.release(*id);
            }
            stays
        });
    }

    /// The slot of a pinned neighbour.
    pub fn slot(&self, hop: NextHop) -> Option<NeighbourId> {
        self.0.get(&hop).copied()
    }
}

/// Next hops of real servers and the gateways, so that the first packet need not wait. Linux asks only when there is a
/// packet to send.
pub(crate) fn wanted(desired: &Desired, net: &Net) -> HashSet<NextHop> {
    let stations = desired
        .stations
        .iter()
        .map(|&(interface, gateway)| NextHop { interface, gateway });
    if desired.settings.compat_ipvs {
        return stations.collect();
    }
    let servers = desired.services.iter().flat_map(|s| &s.servers);
    let next = servers.filter_map(|s| net.route(s.address.ip()));
    next.chain(net.gateways()).chain(stations).collect()
}
