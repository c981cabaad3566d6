//! Who else claims a virtual address that is this director's: another director gone astray, or a real server that answers ARP for the
//! address of its loopback. Workers note it, another thread shows it; nobody waits for anybody.

use crate::{Director, Output, context::Context, lvs, model::Interface};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};
use types::{InterfaceId, MacAddr, Tick};
use wire::Frame;

/// A claim by somebody else, seen in ARP or neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The virtual address.
    pub address: IpAddr,
    /// Whose MAC it is said to be.
    pub mac: MacAddr,
    /// Where that was heard.
    pub interface: InterfaceId,
    /// How often.
    pub times: u64,
    /// When last.
    pub last: Tick,
}

impl Director {
    /// The virtual addresses that are this director's now and on the link of one of its interfaces, with that one.
    pub fn claimed_here(&self, now: Tick) -> Vec<(IpAddr, &Interface)> {
        let (desired, shared) = (self.desired(), self.shared());
        shared.snapshot.with_current(|snapshot| {
            let ours = |address| {
                let on = snapshot.net.connected(address)?;
                let floating = &snapshot.floating;
                let elsewhere = floating.may_be_claimed(address, &shared.roles, now);
                let interface = desired.interfaces.get(on.index())?;
                (!elsewhere).then_some((address, interface))
            };
            let vips = desired.vips.iter().copied();
            vips.chain(lvs::vips(desired)).filter_map(ours).collect()
        })
    }

    /// Who else has claimed virtual addresses while they were this director's.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        self.shared().claims.all()
    }

    /// What looks for one virtual address, wherever it is.
    #[must_use]
    pub fn address_watch(&self) -> Arc<AddressWatch> {
        Arc::clone(&self.shared().watch)
    }

    /// Forgets those claims.
    pub fn forget_claims(&mut self, over: impl Fn(&Claim) -> bool) {
        self.shared().claims.forget(over);
    }
}

/// One virtual address that is looked for wherever it is: how often somebody else was heard to have it.
#[derive(Debug, Default)]
pub struct AddressWatch {
    on: AtomicBool,
    /// As IPv6, an IPv4 address mapped.
    address: [AtomicU64; 2],
    heard: AtomicU64,
}

impl AddressWatch {
    /// Counts from now on. For one thread.
    pub fn begin(&self, address: IpAddr) {
        self.on.store(false, Relaxed);
        for (slot, half) in self.address.iter().zip(halves(address)) {
            slot.store(half, Relaxed);
        }
        self.heard.store(0, Relaxed);
        // Who sees that it is on sees the address.
        self.on.store(true, Release);
    }

    /// Counts no more.
    pub fn end(&self) {
        self.on.store(false, Relaxed);
    }

    /// How often since it began.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    fn hear(&self, address: IpAddr) {
        if self.on.load(Acquire) {
            let mut slots = self.address.iter().zip(halves(address));
            if slots.all(|(slot, half)| slot.load(Relaxed) == half) {
                self.heard.fetch_add(1, Relaxed);
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "halves of an address")]
fn halves(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

/// Pairs of address and MAC there is room for. Beyond that they are only counted as dropped frames.
const ROOM: usize = 64;

/// Somebody on `interface` says that `address`, a virtual one, is at `mac`. Noted if it is this director's now; two of its own interfaces
/// may be on one link, and hear each other.
#[cold]
pub(crate) fn hear<F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    (address, mac): (IpAddr, MacAddr),
    interface: InterfaceId,
) {
    let elsewhere = cx
        .snapshot
        .floating
        .may_be_claimed(address, &cx.shared.roles, cx.now);
    let interfaces = cx.snapshot.net.interfaces();
    if interfaces.iter().any(|own| own.mac == mac) {
        return;
    }
    cx.shared.watch.hear(address);
    // Another director that says so too is a matter of VRRP's.
    if !elsewhere && !cx.snapshot.virtual_macs.has(mac) {
        cx.shared.claims.note(address, mac, interface, cx.now);
    }
}

/// What was noted.
#[derive(Debug)]
pub(crate) struct Claims(Box<[Slot; ROOM]>);

#[derive(Debug, Default)]
struct Slot {
    /// [`FREE`], [`WRITTEN`] or [`THERE`].
    is: AtomicU8,
    /// The address, its upper half first; of IPv4 in the lower half.
    address: [AtomicU64; 2],
    /// The MAC in the lower 48 bits, whether it is IPv6 above, the interface from bit 49 on.
    mac: AtomicU64,
    times: AtomicU64,
    last: AtomicU64,
}

const FREE: u8 = 0;
const WRITTEN: u8 = 1;
const THERE: u8 = 2;

const SIX: u64 = 1 << 48;
const INTERFACE: u32 = 49;

impl Default for Claims {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Slot::default())))
    }
}

impl Claims {
    /// A worker has heard that `address` is at `mac`.
    pub fn note(&self, address: IpAddr, mac: MacAddr, interface: InterfaceId, now: Tick) {
        let (halves, word) = words(address, mac, interface);
        for slot in self.0.iter() {
            // Acquire: who sees that it is there sees what it is.
            let mut is = slot.is.load(Acquire);
            if is == FREE {
                is = match slot.is.compare_exchange(FREE, WRITTEN, Acquire, Acquire) {
                    Ok(_) => {
                        slot.address[0].store(halves[0], Relaxed);
                        slot.address[1].store(halves[1], Relaxed);
                        slot.mac.store(word, Relaxed);
                        slot.times.store(0, Relaxed);
                        slot.last.store(now.0, Relaxed);
                        slot.is.store(THERE, Release);
                        THERE
                    }
                    Err(is) => is,
                };
            }
            // One that is just being written may be the same: then it is there twice, and shown once. One that is just forgotten, and
            // written anew, may count what is not its.
            if is == THERE && slot.is_of(halves, word) {
                slot.times.fetch_add(1, Relaxed);
                slot.last.store(now.0, Relaxed);
                return;
            }
        }
    }

    /// Makes room: forgets those. For the one thread that also looks at [`Claims::all`]: nobody else frees.
    pub fn forget(&self, over: impl Fn(&Claim) -> bool) {
        for slot in self.0.iter() {
            if slot.read().as_ref().is_some_and(&over) {
                slot.is.store(FREE, Release);
            }
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Claim> {
        let mut all: Vec<Claim> = Vec::new();
        for claim in self.0.iter().filter_map(Slot::read) {
            let same = |c: &&mut Claim| {
                (c.address, c.mac, c.interface) == (claim.address, claim.mac, claim.interface)
            };
            match all.iter_mut().find(same) {
                Some(known) => {
                    known.times += claim.times;
                    known.last = known.last.max(claim.last);
                }
                None => all.push(claim),
            }
        }
        all
    }
}

#[expect(clippy::cast_possible_truncation, reason = "halves of an address")]
fn words(address: IpAddr, mac: MacAddr, interface: InterfaceId) -> ([u64; 2], u64) {
    let [a, b, c, d, e, f] = mac.0;
    let word = u64::from_be_bytes([0, 0, a, b, c, d, e, f]) | u64::from(interface.0) << INTERFACE;
    match address {
        IpAddr::V4(ip) => ([0, ip.to_bits().into()], word),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            ([(bits >> 64) as u64, bits as u64], word | SIX)
        }
    }
}

impl Slot {
    fn is_of(&self, halves: [u64; 2], word: u64) -> bool {
        let [upper, lower] = self.address.each_ref().map(|half| half.load(Relaxed));
        [upper, lower] == halves && self.mac.load(Relaxed) == word
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields of one word")]
    fn read(&self) -> Option<Claim> {
        if self.is.load(Acquire) != THERE {
            return None;
        }
        let [upper, lower] = self.address.each_ref().map(|half| half.load(Relaxed));
        let word = self.mac.load(Relaxed);
        let [_, _, a, b, c, d, e, f] = word.to_be_bytes();
        let address = if word & SIX == 0 {
            Ipv4Addr::from_bits(lower as u32).into()
        } else {
            Ipv6Addr::from_bits(u128::from(upper) << 64 | u128::from(lower)).into()
        };
        Some(Claim {
            address,
            mac: MacAddr([a, b, c, d, e, f]),
            interface: InterfaceId((word >> INTERFACE) as u16),
            times: self.times.load(Relaxed),
            last: Tick(self.last.load(Relaxed)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ip;

    #[test]
    fn each_pair_is_noted_once_and_counted() {
        let claims = Claims::default();
        let four = IpAddr::from([198, 51, 100, 10]);
        let six: IpAddr = "2001:db8:1::10".parse().unwrap();
        for n in 0..5 {
            claims.note(
                four,
                MacAddr([2, 0, 0, 0, 0, 0xff]),
                InterfaceId(3),
                Tick(n),
            );
            claims.note(six, MacAddr([0xfe; 6]), InterfaceId(511), Tick(n + 100));
        }
        claims.note(four, MacAddr([0xfe; 6]), InterfaceId(3), Tick(7));
        let all = claims.all();
        let seen: Vec<_> = all
            .iter()
            .map(|c| (c.address, c.mac.0[5], c.interface.0, c.times, c.last.0))
            .collect();
        assert_eq!(
            seen,
            [
                (four, 0xff, 3, 5, 4),
                (six, 0xfe, 511, 5, 104),
                (four, 0xfe, 3, 1, 7)
            ]
        );
    }

    #[test]
    fn who_is_not_heard_any_more_is_forgotten_and_makes_room() {
        let claims = Claims::default();
        let of = |n| IpAddr::from([192, 0, 2, n]);
        for n in 0..64 {
            claims.note(of(n), MacAddr([2; 6]), InterfaceId(0), Tick(n.into()));
        }
        claims.note(of(3), MacAddr([2; 6]), InterfaceId(0), Tick(1000));
        claims.forget(|claim| claim.last < Tick(60));
        let left: Vec<IpAddr> = claims.all().iter().map(|c| c.address).collect();
        assert_eq!(left, [of(3), of(60), of(61), of(62), of(63)]);
        claims.note(of(200), MacAddr([4; 6]), InterfaceId(1), Tick(2000));
        let new = claims.all()[0];
        assert_eq!((new.address, new.times, new.last), (of(200), 1, Tick(2000)));
    }

    #[test]
    fn those_on_a_link_are_claimed_here_while_they_are_ours() {
        let capacity = crate::Capacity {
            workers: 1,
            ports: 2,
            connections4: 64,
            connections6: 64,
            neighbours: 64,
            services: 4,
            servers: 4,
        };
        let mut director = Director::new(capacity, [1, 2]).unwrap();
        let here = |director: &Director, now| -> Vec<(IpAddr, String)> {
            let all = director.claimed_here(Tick(now));
            all.iter()
                .map(|(address, on)| (*address, on.name.clone()))
                .collect()
        };
        let mut desired = crate::testing::desired();
        // Routed to us from afar: on no link.
        desired.vips.push(ip("192.0.2.1"));
        desired.vips.push(ip("10.1.0.100"));
        desired.floating = vec![(ip("10.1.0.100"), 5)];
        director.apply(Tick(1), &desired).unwrap();
        let fixed = [
            (ip("10.0.0.100"), "cl".to_owned()),
            (ip("fd00::100"), "cl".to_owned()),
        ];
        assert_eq!(here(&director, 10), fixed);
        director.roles().lease(Tick(20));
        director.roles().set(5, true);
        assert_eq!(
            here(&director, 20).last(),
            Some(&(ip("10.1.0.100"), "rs".to_owned()))
        );
        assert_eq!(here(&director, 21), fixed, "the lease is over");
    }

    #[test]
    fn beyond_its_room_nothing_is_noted() {
        let claims = Claims::default();
        for n in 0..=255 {
            claims.note(
                [192, 0, 2, n].into(),
                MacAddr([2; 6]),
                InterfaceId(0),
                Tick(1),
            );
        }
        assert_eq!(claims.all().len(), ROOM);
    }
}
