//! What the straight way needs of a way out, in a quarter of a cache line.

use super::{Net, NextHop};
use crate::{neighbour::NeighbourId, pins::Pins};
use types::{MacAddr, PortId};

/// A way out through an untagged interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// The next hop, where it is kept resolved; [`NeighbourId::NOBODY`] where it must be looked up.
    pub neighbour: NeighbourId,
    /// The port.
    pub port: PortId,
    /// Bytes of an IP packet at most; 0 where there is no straight way.
    pub mtu: u16,
    /// The interface's MAC.
    pub mac: MacAddr,
}

const _: () = assert!(size_of::<Exit>() <= 16);

impl Exit {
    /// No straight way: nothing fits.
    pub const NONE: Self = Self {
        neighbour: NeighbourId::NOBODY,
        port: PortId(0),
        mtu: 0,
        mac: MacAddr([0; 6]),
    };
}

impl Net {
    /// The way out to a next hop.
    pub fn exit(&self, next: NextHop, pins: &Pins) -> Exit {
        let neighbour = pins.slot(next).unwrap_or(NeighbourId::NOBODY);
        match self.interface(next.interface) {
            Some(out) if out.vlan.is_none() => Exit {
                neighbour,
                port: out.port,
                mtu: out.mtu,
                mac: out.mac,
            },
            _ => Exit::NONE,
        }
    }

    /// Works out the exits of all routes. On-link destinations are next hops of their own: they are looked up.
    pub fn find_exits(&mut self, pins: &Pins) {
        let nobody = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let exit = |hop: &super::Hop| {
            let next = NextHop {
                interface: hop.interface,
                gateway: hop.gateway.unwrap_or(nobody),
            };
            self.exit(next, pins)
        };
        self.exits = self.hops.iter().map(exit).collect();
    }
}
