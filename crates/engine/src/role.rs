//! Which virtual addresses are the director's now, and which another director's.
//!
//! A virtual address may depend on a *role*, which whoever speaks VRRP gives and takes by [`Roles`]: a bit each, and a lease. Workers look
//! once a burst. A master pays two loads for it; only a standby looks at frames twice. The lease ends by itself: where the thread that
//! speaks VRRP is starved, or all were stopped and wake, nothing is answered for before it has been found out who is master.

use crate::{DropReason, Output, context::Context, virtual_mac};
use arrayvec::ArrayVec;
use std::{
    net::IpAddr,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use types::{PortId, Tick};
use wire::{
    Arp, Ethernet, Frame, FromBytes, Ipv4, Ipv6, VlanTag, ethernet, icmp, nd::Neighbour, protocol,
};

/// Roles there can be.
pub const ROLES: u8 = 64;

/// The roles, set by one thread and read by all workers. All are a standby's at first.
#[derive(Debug)]
pub struct Roles {
    /// A bit for each that another director has.
    standby: AtomicU64,
    /// A bit for each that is being handed to another director, which may claim the addresses already.
    leaving: AtomicU64,
    /// Until when the others are this director's.
    lease: AtomicU64,
}

impl Default for Roles {
    fn default() -> Self {
        Self {
            standby: AtomicU64::new(u64::MAX),
            leaving: AtomicU64::new(0),
            lease: AtomicU64::new(0),
        }
    }
}

impl Roles {
    /// Gives or takes a role, from the workers' next burst on. A role of no number ([`ROLES`] or more) is nobody's.
    pub fn set(&self, role: u8, master: bool) {
        let bit = 1u64.checked_shl(role.into()).unwrap_or(0);
        // What was written before, the lease first of all, is seen by whoever sees the role.
        self.leaving.fetch_and(!bit, Relaxed);
        if master {
            self.standby.fetch_and(!bit, Release);
        } else {
            self.standby.fetch_or(bit, Release);
        }
    }

    /// A role is given up, but what comes is served on until another director has it: see [`Roles::set`].
    pub fn leave(&self, role: u8) {
        let bit = 1u64.checked_shl(role.into()).unwrap_or(0);
        self.leaving.fetch_or(bit, Relaxed);
    }

    /// Until when, that tick included, the roles given are good. `Tick(u64::MAX)`: until they are taken.
    pub fn lease(&self, until: Tick) {
        self.lease.store(until.0, Relaxed);
    }

    /// Whether a role is this director's now.
    #[must_use]
    pub fn has(&self, role: u8, now: Tick) -> bool {
        let bit = 1u64.checked_shl(role.into()).unwrap_or(0);
        bit & !self.standby(now) != 0
    }

    /// The roles that are not this director's.
    #[inline]
    fn standby(&self, now: Tick) -> u64 {
        let standby = self.standby.load(Acquire);
        if now.0 <= self.lease.load(Relaxed) {
            standby
        } else {
            u64::MAX
        }
    }
}

/// The virtual addresses that depend on a role, sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floating {
    v4: Box<[(u32, u8)]>,
    v6: Box<[(u128, u8)]>,
    roles: u64,
    /// Those for which only what is for a service is taken, sorted.
    unaccepted: Box<[IpAddr]>,
}

impl Floating {
    /// These addresses with their roles.
    pub fn new(all: &[(IpAddr, u8)]) -> Self {
        let (mut v4, mut v6, mut roles) = (Vec::new(), Vec::new(), 0);
        for &(address, role) in all {
            roles |= 1u64.checked_shl(role.into()).unwrap_or(0);
            match address {
                IpAddr::V4(ip) => v4.push((ip.to_bits(), role)),
                IpAddr::V6(ip) => v6.push((ip.to_bits(), role)),
            }
        }
        v4.sort_unstable();
        v6.sort_unstable();
        Self {
            v4: v4.into(),
            v6: v6.into(),
            roles,
            unaccepted: Box::default(),
        }
    }

    /// Takes for these addresses only what is for a service.
    pub fn without(mut self, unaccepted: &[IpAddr]) -> Self {
        let mut all = unaccepted.to_vec();
        all.sort_unstable();
        self.unaccepted = all.into();
        self
    }

    /// Whether what is sent to an address, and is for no service, is taken here.
    pub fn accepts(&self, ip: IpAddr) -> bool {
        self.unaccepted.binary_search(&ip).is_err()
    }

    /// Whether there are any, and so VRRP is spoken.
    #[inline]
    pub const fn any(&self) -> bool {
        self.roles != 0
    }

    /// Whether another director may rightly claim a virtual address now.
    pub fn may_be_claimed(&self, ip: IpAddr, roles: &Roles, now: Tick) -> bool {
        let bit = |role: u8| 1u64.checked_shl(role.into()).unwrap_or(0);
        let others = roles.standby(now) | roles.leaving.load(Relaxed);
        self.role_of(ip).is_some_and(|role| others & bit(role) != 0)
    }

    /// Whether a virtual address is another director's now.
    pub fn is_elsewhere(&self, ip: IpAddr, roles: &Roles, now: Tick) -> bool {
        let bit = |role: u8| 1u64.checked_shl(role.into()).unwrap_or(0);
        let standby = roles.standby(now);
        self.role_of(ip)
            .is_some_and(|role| standby & bit(role) != 0)
    }

    fn role_of(&self, ip: IpAddr) -> Option<u8> {
        match ip {
            IpAddr::V4(ip) => self.role4(ip.to_bits()),
            IpAddr::V6(ip) => self.role6(ip.to_bits()),
        }
    }

    fn role4(&self, ip: u32) -> Option<u8> {
        let at = self.v4.binary_search_by_key(&ip, |(ip, _)| *ip).ok()?;
        self.v4.get(at).map(|(_, role)| *role)
    }

    fn role6(&self, ip: u128) -> Option<u8> {
        let at = self.v6.binary_search_by_key(&ip, |(ip, _)| *ip).ok()?;
        self.v6.get(at).map(|(_, role)| *role)
    }

    /// The role a frame is for: what it is sent to, or asks for.
    fn role<F: Frame>(&self, frame: &F) -> Option<u8> {
        let (ether, mut body) = Ethernet::ref_from_prefix(frame.head()).ok()?;
        let mut ethertype = ether.ethertype.get();
        if ethertype == ethernet::VLAN {
            let (tag, behind) = VlanTag::ref_from_prefix(body).ok()?;
            (ethertype, body) = (tag.ethertype.get(), behind);
        }
        match ethertype {
            ethernet::ARP => self.role4(Arp::ref_from_prefix(body).ok()?.0.target()),
            ethernet::IPV4 => self.role4(Ipv4::ref_from_prefix(body).ok()?.0.destination.get()),
            ethernet::IPV6 => {
                let (ip, behind) = Ipv6::ref_from_prefix(body).ok()?;
                if ip.next_header == protocol::ICMPV6
                    && let Ok((message, _)) = Neighbour::ref_from_prefix(behind)
                    && message.kind == icmp::v6::NEIGHBOUR_SOLICITATION
                {
                    return self.role6(u128::from_be_bytes(message.target));
                }
                self.role6(ip.destination())
            }
            _ => None,
        }
    }
}

/// Takes out of a burst what is for another director now.
#[inline]
pub(crate) fn only_ours<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    burst: &mut ArrayVec<F, { crate::BURST }>,
) {
    let floating = &cx.snapshot.floating;
    if !floating.any() {
        return;
    }
    let standby = cx.shared.roles.standby(cx.now) & floating.roles;
    if !cx.snapshot.virtual_macs.is_empty() {
        virtual_mac::receive(cx, port, burst, standby);
    }
    if standby != 0 {
        take_out(cx, burst, standby);
    }
}

#[cold]
#[inline(never)]
fn take_out<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    burst: &mut ArrayVec<F, { crate::BURST }>,
    standby: u64,
) {
    let floating = &cx.snapshot.floating;
    for frame in std::mem::take(burst) {
        let others = floating
            .role(&frame)
            .is_some_and(|role| standby & 1u64.checked_shl(role.into()).unwrap_or(0) != 0);
        if others {
            cx.drop(frame, DropReason::NotMaster);
        } else if let Err(full) = burst.try_push(frame) {
            // There were as many before.
            cx.drop(full.element(), DropReason::NoBuffer);
        }
    }
}
