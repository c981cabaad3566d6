//! What differs between IPv4 and IPv6 on the packet path.

use crate::{
    net::Net,
    packet::{Addresses, Ends, Packet},
    shared::Shared,
};
use flowtable::{Aside, Deltas, Family, Side, Table, Tuple, V4, V6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::{Delta, FromBytes, Ipv4, Ipv6, Sum, ipv4, ipv6, protocol};

/// An address family's part of the packet path.
pub(crate) trait Ip: Family {
    /// Whether it is IPv6.
    const SIX: bool;
    /// Its connections.
    fn table(shared: &Shared) -> &Table<Self>;
    /// What stands beside them.
    fn aside(shared: &Shared) -> &Aside;
    /// Source and destination, if the packet is of this family.
    fn endpoints(addresses: &Addresses) -> Option<(Self::Addr, Self::Addr)>;
    /// Whether an address as it stands in a header may be a VIP: no false negatives.
    fn may_be_vip(net: &Net, words: (u64, u64)) -> bool;
    /// The address in the standard library's words.
    fn ip(address: Self::Addr) -> IpAddr;
    /// The address, if it is of this family.
    fn address(ip: IpAddr) -> Option<Self::Addr>;
    /// ANDs a persistence netmask.
    fn masked(address: Self::Addr, netmask: u128) -> Self::Addr;
    /// A number (a firewall mark) in the place of an address.
    fn number(number: u32) -> Self::Addr;
    /// The number in the place of an address.
    fn marked(address: Self::Addr) -> types::Mark;
    /// What replacing an address does to a checksum.
    fn delta(from: Self::Addr, to: Self::Addr) -> Delta;
    /// Writes the destination into the IP header at the start of `ip`; `l3` mends its checksum.
    fn set_destination(ip: &mut [u8], to: Self::Addr, l3: Delta);
    /// Writes the source likewise.
    fn set_source(ip: &mut [u8], to: Self::Addr, l3: Delta);
    /// Computes the checksum of the IP header at the start of `ip` anew.
    fn fill_header_checksum(ip: &mut [u8]);
    /// Reads a packet quoted in an ICMP error, whose end may be missing. `None` for a later fragment, and for what is no
    /// packet of this family.
    fn quoted(bytes: &[u8]) -> Option<Quoted<Self::Addr>>;
    /// The pseudo-header ICMP's checksum covers.
    fn icmp_pseudo_header(source: Self::Addr, destination: Self::Addr, len: u16) -> Sum;
}

/// A packet quoted in an ICMP error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<A> {
    /// Who sent it.
    pub source: A,
    /// To whom.
    pub destination: A,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Where its upper-layer header starts.
    pub l4: usize,
}

impl Ip for V4 {
    const SIX: bool = false;
    #[inline]
    fn table(shared: &Shared) -> &Table<Self> {
        &shared.connections4
    }
    fn aside(shared: &Shared) -> &Aside {
        &shared.aside4
    }
    #[inline]
    fn endpoints(addresses: &Addresses) -> Option<(u32, u32)> {
        match *addresses {
            Addresses::V4 {
                source,
                destination,
            } => Some((source, destination)),
            Addresses::V6 { .. } => None,
        }
    }
    #[inline]
    fn may_be_vip(net: &Net, words: (u64, u64)) -> bool {
        net.may_be_vip4(words)
    }
    #[inline]
    fn ip(address: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(address))
    }
    fn address(ip: IpAddr) -> Option<u32> {
        match ip {
            IpAddr::V4(ip) => Some(ip.to_bits()),
            IpAddr::V6(_) => None,
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an IPv4 mask stands in the low half"
    )]
    fn masked(address: u32, netmask: u128) -> u32 {
        address & netmask as u32
    }
    fn number(number: u32) -> u32 {
        number
    }
    fn marked(address: u32) -> types::Mark {
        types::Mark(address)
    }
    fn delta(from: u32, to: u32) -> Delta {
        Delta::between32(from, to)
    }
    #[inline]
    fn set_destination(ip: &mut [u8], to: u32, l3: Delta) {
        if let Ok((ip, _)) = Ipv4::mut_from_prefix(ip) {
            ip.destination.set(to);
            ip.checksum.set(l3.apply(ip.checksum.get()));
        }
    }
    #[inline]
    fn set_source(ip: &mut [u8], to: u32, l3: Delta) {
        if let Ok((ip, _)) = Ipv4::mut_from_prefix(ip) {
            ip.source.set(to);
            ip.checksum.set(l3.apply(ip.checksum.get()));
        }
    }
    fn fill_header_checksum(ip: &mut [u8]) {
        // A header cut off has no checksum anybody could verify.
        let _ = ipv4::fill_checksum(ip);
    }
    fn quoted(bytes: &[u8]) -> Option<Quoted<u32>> {
        let (ip, _) = Ipv4::ref_from_prefix(bytes).ok()?;
        let whole = ip.version() == 4 && ip.header_len() >= ipv4::LEN && ip.fragment_offset() == 0;
        whole.then(|| Quoted {
            source: ip.source.get(),
            destination: ip.destination.get(),
            protocol: ip.protocol,
            l4: ip.header_len(),
        })
    }
    fn icmp_pseudo_header(_: u32, _: u32, _: u16) -> Sum {
        Sum::new()
    }
}

impl Ip for V6 {
    const SIX: bool = true;
    #[inline]
    fn table(shared: &Shared) -> &Table<Self> {
        &shared.connections6
    }
    fn aside(shared: &Shared) -> &Aside {
        &shared.aside6
    }
    #[inline]
    fn endpoints(addresses: &Addresses) -> Option<(u128, u128)> {
        match *addresses {
            Addresses::V6 {
                source,
                destination,
            } => Some((source, destination)),
            Addresses::V4 { .. } => None,
        }
    }
    #[inline]
    fn may_be_vip(net: &Net, words: (u64, u64)) -> bool {
        net.may_be_vip6(words)
    }
    #[inline]
    fn ip(address: u128) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(address))
    }
    fn address(ip: IpAddr) -> Option<u128> {
        match ip {
            IpAddr::V6(ip) => Some(ip.to_bits()),
            IpAddr::V4(_) => None,
        }
    }
    fn masked(address: u128, netmask: u128) -> u128 {
        address & netmask
    }
    fn number(number: u32) -> u128 {
        // In the first word, as IPVS has it and `ipvsadm -Lnc` shows it.
        u128::from(number) << 96
    }
    fn marked(address: u128) -> types::Mark {
        types::Mark((address >> 96) as u32)
    }
    fn delta(from: u128, to: u128) -> Delta {
        Delta::between128(from, to)
    }
    #[inline]
    fn set_destination(ip: &mut [u8], to: u128, _: Delta) {
        if let Ok((ip, _)) = Ipv6::mut_from_prefix(ip) {
            ip.destination = to.to_be_bytes();
        }
    }
    #[inline]
    fn set_source(ip: &mut [u8], to: u128, _: Delta) {
        if let Ok((ip, _)) = Ipv6::mut_from_prefix(ip) {
            ip.source = to.to_be_bytes();
        }
    }
    fn fill_header_checksum(_: &mut [u8]) {}
    fn quoted(bytes: &[u8]) -> Option<Quoted<u128>> {
        let (ip, _) = Ipv6::ref_from_prefix(bytes).ok()?;
        let above = ipv6::upper_layer(bytes, ip.next_header).ok()?;
        (ip.version() == 6 && above.fragment != Some(false)).then(|| Quoted {
            source: ip.source(),
            destination: ip.destination(),
            protocol: above.protocol,
            l4: above.offset,
        })
    }
    fn icmp_pseudo_header(source: u128, destination: u128, len: u16) -> Sum {
        Sum::pseudo6(source, destination, protocol::ICMPV6, len.into())
    }
}

/// What the packet shows of its connection, if it goes in the direction of `side`: to the virtual service, or from the
/// real server.
#[inline]
pub(crate) fn tuple<I: Ip>(packet: &Packet, side: Side) -> Option<Tuple<I::Addr>> {
    Some(ends::<I>(packet)?.tuple(side))
}

/// The packet's ends, if it is of this family.
#[inline]
pub(crate) fn ends<I: Ip>(packet: &Packet) -> Option<Ends<I::Addr>> {
    let (source, destination) = I::endpoints(&packet.addresses)?;
    Some(Ends {
        protocol: packet.protocol,
        source,
        source_port: packet.source_port,
        destination,
        destination_port: packet.destination_port,
    })
}

/// What NAT between these endpoints does to checksums, both ways.
pub(crate) fn deltas<I: Ip>(vip: (I::Addr, u16), server: (I::Addr, u16)) -> Deltas {
    let addresses = I::delta(vip.0, server.0);
    let all = addresses.and(Delta::between16(vip.1, server.1));
    Deltas {
        l3_in: addresses.0,
        l3_out: addresses.reverse().0,
        l4_in: all.0,
        l4_out: all.reverse().0,
    }
}
