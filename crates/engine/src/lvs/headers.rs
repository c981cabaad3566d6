//! The headers of a plain packet, by address family: what the straight way reads and writes.

use super::{family::Ip, tunnel::Inner};
use crate::{
    net::{Exit, Net},
    packet::Ends,
};
use flowtable::{V4, V6};
use wire::{
    Delta, Ethernet, FromBytes, Immutable, IntoBytes, KnownLayout, Plain4, Plain6, TcpRest, U32,
    ipv4, ipv6, protocol,
};

/// An address family's headers in one piece.
pub(crate) trait Headers: Ip {
    /// Link header, IP header, and what TCP and UDP share.
    type Plain: FromBytes + IntoBytes + Immutable + KnownLayout;
    /// Link header.
    fn ether(plain: &mut Self::Plain) -> &mut Ethernet;
    /// What TCP and UDP share.
    fn upper(plain: &Self::Plain) -> &wire::Upper;
    /// [`Headers::upper`], to rewrite.
    fn upper_mut(plain: &mut Self::Plain) -> &mut wire::Upper;
    /// Upper-layer protocol.
    fn protocol(plain: &Self::Plain) -> u8;
    /// Source and destination.
    fn addresses(plain: &Self::Plain) -> (Self::Addr, Self::Addr);
    /// Time to live.
    fn ttl(plain: &Self::Plain) -> u8;
    /// Bytes of the packet.
    fn len(plain: &Self::Plain) -> u16;
    /// What of it an outer header is made from.
    fn inner(plain: &Self::Plain) -> Inner;
    /// Lowers a time to live that is not 0; `nat` is what else becomes of the header's checksum.
    fn lower_ttl(plain: &mut Self::Plain, nat: Delta);
    /// Replaces the source.
    fn put_source(plain: &mut Self::Plain, to: Self::Addr);
    /// Replaces the destination.
    fn put_destination(plain: &mut Self::Plain, to: Self::Addr);
    /// The way out to an address.
    fn exit(net: &Net, to: Self::Addr) -> Option<&Exit>;

    /// Between whom the packet is.
    #[inline(always)]
    fn ends(plain: &Self::Plain) -> Ends<Self::Addr> {
        let (source, destination) = Self::addresses(plain);
        let upper = Self::upper(plain);
        Ends {
            protocol: Self::protocol(plain),
            source,
            source_port: upper.source.get(),
            destination,
            destination_port: upper.destination.get(),
        }
    }
}

impl Headers for V4 {
    type Plain = Plain4;
    #[inline(always)]
    fn ether(plain: &mut Plain4) -> &mut Ethernet {
        &mut plain.ether
    }
    #[inline(always)]
    fn upper(plain: &Plain4) -> &wire::Upper {
        &plain.upper
    }
    #[inline(always)]
    fn upper_mut(plain: &mut Plain4) -> &mut wire::Upper {
        &mut plain.upper
    }
    #[inline(always)]
    fn protocol(plain: &Plain4) -> u8 {
        plain.ip.protocol
    }
    #[inline(always)]
    fn addresses(plain: &Plain4) -> (u32, u32) {
        (plain.ip.source.get(), plain.ip.destination.get())
    }
    #[inline(always)]
    fn ttl(plain: &Plain4) -> u8 {
        plain.ip.ttl
    }
    #[inline(always)]
    fn len(plain: &Plain4) -> u16 {
        plain.ip.total_len.get()
    }
    #[inline(always)]
    fn inner(plain: &Plain4) -> Inner {
        Inner {
            tos: plain.ip.tos,
            ttl: plain.ip.ttl,
            dont_fragment: plain.ip.dont_fragment(),
            protocol: protocol::IPIP,
        }
    }
    #[inline(always)]
    fn lower_ttl(plain: &mut Plain4, nat: Delta) {
        let ip = &mut plain.ip;
        ip.ttl = ip.ttl.wrapping_sub(1);
        let sum = ip.checksum.get();
        ip.checksum.set(ipv4::TTL_LOWERED.and(nat).apply(sum));
    }
    #[inline(always)]
    fn put_source(plain: &mut Plain4, to: u32) {
        plain.ip.source = U32::new(to);
    }
    #[inline(always)]
    fn put_destination(plain: &mut Plain4, to: u32) {
        plain.ip.destination = U32::new(to);
    }
    #[inline(always)]
    fn exit(net: &Net, to: u32) -> Option<&Exit> {
        net.exit4(to)
    }
}

impl Headers for V6 {
    type Plain = Plain6;
    #[inline(always)]
    fn ether(plain: &mut Plain6) -> &mut Ethernet {
        &mut plain.ether
    }
    #[inline(always)]
    fn upper(plain: &Plain6) -> &wire::Upper {
        &plain.upper
    }
    #[inline(always)]
    fn upper_mut(plain: &mut Plain6) -> &mut wire::Upper {
        &mut plain.upper
    }
    #[inline(always)]
    fn protocol(plain: &Plain6) -> u8 {
        plain.ip.next_header
    }
    #[inline(always)]
    fn addresses(plain: &Plain6) -> (u128, u128) {
        (plain.ip.source(), plain.ip.destination())
    }
    #[inline(always)]
    fn ttl(plain: &Plain6) -> u8 {
        plain.ip.hop_limit
    }
    #[inline(always)]
    fn len(plain: &Plain6) -> u16 {
        plain.ip.payload_len.get().saturating_add(HEADER6)
    }
    #[inline(always)]
    fn inner(plain: &Plain6) -> Inner {
        Inner {
            tos: plain.ip.traffic_class(),
            ttl: plain.ip.hop_limit,
            dont_fragment: false,
            protocol: protocol::IPV6,
        }
    }
    #[inline(always)]
    fn lower_ttl(plain: &mut Plain6, _: Delta) {
        plain.ip.hop_limit = plain.ip.hop_limit.wrapping_sub(1);
    }
    #[inline(always)]
    fn put_source(plain: &mut Plain6, to: u128) {
        plain.ip.source = to.to_be_bytes();
    }
    #[inline(always)]
    fn put_destination(plain: &mut Plain6, to: u128) {
        plain.ip.destination = to.to_be_bytes();
    }
    #[inline(always)]
    fn exit(net: &Net, to: u128) -> Option<&Exit> {
        net.exit6(to)
    }
}

/// Bytes of an IPv6 header.
const HEADER6: u16 = 40;
const _: () = assert!(HEADER6 as usize == ipv6::LEN);

/// What tells TCP from UDP.
pub(crate) enum Upper<'a> {
    /// TCP: the rest of its header.
    Tcp(&'a mut TcpRest),
    /// UDP has no more.
    Udp,
}

impl<'a> Upper<'a> {
    /// By protocol, and the bytes behind what both share.
    #[inline(always)]
    pub fn of(protocol: u8, rest: &'a mut [u8]) -> Option<Self> {
        if protocol == protocol::TCP {
            Some(Self::Tcp(TcpRest::mut_from_prefix(rest).ok()?.0))
        } else {
            Some(Self::Udp)
        }
    }

    /// TCP's flags; 0 for UDP.
    #[inline(always)]
    pub fn tcp_flags(&self) -> u8 {
        match self {
            Self::Tcp(tcp) => tcp.flags,
            Self::Udp => 0,
        }
    }

    /// A UDP packet without a checksum.
    #[inline(always)]
    pub fn has_no_checksum(&self, upper: &wire::Upper) -> bool {
        matches!(self, Self::Udp) && upper.udp_checksum.get() == 0
    }

    /// Mends the checksum, which is there.
    #[inline(always)]
    pub fn mend(&mut self, upper: &mut wire::Upper, delta: Delta) {
        match self {
            Self::Tcp(tcp) => tcp.checksum.set(delta.apply(tcp.checksum.get())),
            Self::Udp => {
                let sum = upper.udp_checksum.get();
                upper.udp_checksum.set(delta.apply_udp(sum));
            }
        }
    }
}
