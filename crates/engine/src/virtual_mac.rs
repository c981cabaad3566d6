//! Virtual MACs (RFC 9568 7.3): the MAC of a virtual router on its link, the same whichever director has it. Stations need not learn a new
//! one at a takeover; only the switch learns where it is.
//!
//! Frames for one are taken for frames for the port's own MAC, from the first look on. Questions for a virtual address are answered with
//! it; other frames leave from the port's own.

use crate::{DropReason, Output, context::Context, model::VirtualMac};
use arrayvec::ArrayVec;
use std::net::IpAddr;
use types::{InterfaceId, MacAddr, PortId};
use wire::{Ethernet, Frame, FromBytes};

/// The virtual MACs of one snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct VirtualMacs {
    /// Where they are received, and the roles they depend on.
    stations: Box<[(PortId, MacAddr, u8)]>,
    /// What is answered with them where, sorted.
    answers: Box<[(IpAddr, InterfaceId, MacAddr)]>,
}

impl VirtualMacs {
    /// Of these; `port` says on which port an interface is.
    pub fn new(all: &[VirtualMac], port: impl Fn(InterfaceId) -> Option<PortId>) -> Self {
        let stations = all
            .iter()
            .filter_map(|one| Some((port(one.interface)?, one.mac, one.role)));
        let answers = all.iter().flat_map(|one| {
            let addresses = one.addresses.iter();
            addresses.map(|address| (*address, one.interface, one.mac))
        });
        let mut answers: Vec<_> = answers.collect();
        answers.sort_unstable();
        Self {
            stations: stations.collect(),
            answers: answers.into(),
        }
    }

    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.stations.is_empty()
    }

    /// Whether a MAC is a virtual one of this director's, whoever has it now.
    pub fn has(&self, mac: MacAddr) -> bool {
        self.stations.iter().any(|(_, own, _)| *own == mac)
    }

    /// What `address` is answered with on `interface`, if not with the interface's own MAC.
    pub fn answer(&self, address: IpAddr, interface: InterfaceId) -> Option<MacAddr> {
        let wanted = (address, interface);
        let at = self
            .answers
            .binary_search_by_key(&wanted, |&(address, interface, _)| (address, interface))
            .ok()?;
        self.answers.get(at).map(|(_, _, mac)| *mac)
    }

    /// The role of the virtual router that a frame received on `port` is sent to.
    fn role<F: Frame>(&self, port: PortId, frame: &F) -> Option<u8> {
        let (ether, _) = Ethernet::ref_from_prefix(frame.head()).ok()?;
        let mut stations = self.stations.iter();
        let found = stations.find(|(at, mac, _)| *at == port && mac.0 == ether.destination);
        found.map(|(_, _, role)| *role)
    }
}

/// Frames of a burst for virtual MACs: as if for the port's own, or another director's. `standby`: the roles that are others'.
#[inline(never)]
pub(crate) fn receive<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    burst: &mut ArrayVec<F, { crate::BURST }>,
    standby: u64,
) {
    let Some(own) = cx.snapshot.net.port_mac(port) else {
        return;
    };
    let mut at = 0;
    while let Some(frame) = burst.get_mut(at) {
        let role = cx.snapshot.virtual_macs.role(port, frame);
        if let Some(role) = role {
            // A switch that has forgotten where the MAC is sends to both directors.
            if standby & 1u64.checked_shl(role.into()).unwrap_or(0) != 0 {
                let frame = burst.remove(at);
                cx.drop(frame, DropReason::NotMaster);
                continue;
            }
            if let Some(destination) = frame.head_mut().get_mut(..6) {
                destination.copy_from_slice(&own.0);
            }
        }
        at += 1;
    }
}
