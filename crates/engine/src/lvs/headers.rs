//! The headers of a plain packet, by address family: what the straight way reads and writes.

use super::{family::Ip, tunnel::Inner};
use crate::{
    fib::{Address, Range},
    net::{Exit, Net},
};
use flowtable::{OnWire, V4, V6};
use wire::{
    Delta, Ethernet, FromBytes, Immutable, IntoBytes, Ipv6, KnownLayout, OnWireSum, Plain4, Plain6,
    TcpRest, U16, U32, ipv4, ipv6, protocol,
};

/// An address family's headers in one piece.
pub(crate) trait Headers: Ip<Addr: Address> {
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
    /// What a lookup needs of it.
    fn on_wire(plain: &Self::Plain) -> OnWire<Self>;
    /// The source.
    fn source(plain: &Self::Plain) -> Self::Addr;
    /// The destination.
    fn destination(plain: &Self::Plain) -> Self::Addr;
    /// Time to live.
    fn ttl(plain: &Self::Plain) -> u8;
    /// Bytes of the packet.
    fn len(plain: &Self::Plain) -> u16;
    /// What of it an outer header is made from.
    fn inner(plain: &Self::Plain) -> Inner;
    /// Lowers a time to live that is not 0; `nat` is what else becomes of the header's checksum, as it stands there.
    fn lower_ttl(plain: &mut Self::Plain, nat: Delta);
    /// Replaces the source, by words as they stand there.
    fn put_source(plain: &mut Self::Plain, to: (u64, u64));
    /// Replaces the destination likewise.
    fn put_destination(plain: &mut Self::Plain, to: (u64, u64));
    /// Makes the header that of an answer without options or data: the ends change places, and what else it says is our own.
    /// `len`: bytes behind the IP header.
    fn turn(plain: &mut Self::Plain, len: u16, ttl: u8);
    /// The sum over both addresses.
    fn sum(addresses: &Self::Pair) -> OnWireSum;
    /// Whether an address is ours.
    fn is_ours(net: &Net, address: Self::Addr) -> bool;
    /// The way out to an address.
    fn exit(net: &Net, to: Self::Addr) -> Option<&Exit>;
    /// And the addresses around it to which it is the same.
    fn exit_and_range(net: &Net, to: Self::Addr) -> Option<(&Exit, Range<Self::Addr>)>;
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
    fn on_wire(plain: &Plain4) -> OnWire<V4> {
        OnWire {
            addresses: plain.ip.addresses(),
            ports: plain.upper.ports(),
            protocol: plain.ip.protocol,
        }
    }
    #[inline(always)]
    fn source(plain: &Plain4) -> u32 {
        plain.ip.source.get()
    }
    #[inline(always)]
    fn destination(plain: &Plain4) -> u32 {
        plain.ip.destination.get()
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
        mend(&mut ip.checksum, |sum| {
            ipv4::TTL_LOWERED_ON_WIRE.and(nat).apply(sum)
        });
    }
    #[inline(always)]
    fn put_source(plain: &mut Plain4, to: (u64, u64)) {
        plain.ip.source = word(to.0);
    }
    #[inline(always)]
    fn put_destination(plain: &mut Plain4, to: (u64, u64)) {
        plain.ip.destination = word(to.0);
    }
    #[inline(always)]
    fn turn(plain: &mut Plain4, len: u16, ttl: u8) {
        let ip = &mut plain.ip;
        ip.tos = 0;
        ip.total_len.set(len.saturating_add(HEADER4));
        ip.id.set(0);
        ip.fragment.set(ipv4::DONT_FRAGMENT);
        ip.ttl = ttl;
        let sum = Self::sum(&ip.addresses());
        std::mem::swap(&mut ip.source, &mut ip.destination);
        // Not of the header read back, parts of which are still on their way to memory.
        let [high, low] = len.saturating_add(HEADER4).to_be_bytes();
        let [flags, offset] = ipv4::DONT_FRAGMENT.to_be_bytes();
        let sum = sum
            .and(u32::from_le_bytes([0x45, 0, high, low]))
            .and(u32::from_le_bytes([0, 0, flags, offset]))
            .and(u32::from_le_bytes([ttl, ip.protocol, 0, 0]));
        ip.checksum = U16::from_bytes(sum.finish().to_le_bytes());
    }
    #[inline(always)]
    fn sum(addresses: &u64) -> OnWireSum {
        OnWireSum::default().and_two(*addresses)
    }
    #[inline(always)]
    fn is_ours(net: &Net, address: u32) -> bool {
        net.is_local4(address)
    }
    #[inline(always)]
    fn exit(net: &Net, to: u32) -> Option<&Exit> {
        net.exit4(to)
    }
    fn exit_and_range(net: &Net, to: u32) -> Option<(&Exit, Range<u32>)> {
        net.exit4_and_range(to)
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
    fn on_wire(plain: &Plain6) -> OnWire<V6> {
        OnWire {
            addresses: plain.ip.addresses(),
            ports: plain.upper.ports(),
            protocol: plain.ip.next_header,
        }
    }
    #[inline(always)]
    fn source(plain: &Plain6) -> u128 {
        plain.ip.source()
    }
    #[inline(always)]
    fn destination(plain: &Plain6) -> u128 {
        plain.ip.destination()
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
    fn put_source(plain: &mut Plain6, to: (u64, u64)) {
        plain.ip.source = words(to);
    }
    #[inline(always)]
    fn put_destination(plain: &mut Plain6, to: (u64, u64)) {
        plain.ip.destination = words(to);
    }
    #[inline(always)]
    fn turn(plain: &mut Plain6, len: u16, ttl: u8) {
        let ip = &mut plain.ip;
        ip.version_class_flow = Ipv6::class(0);
        ip.payload_len.set(len);
        ip.hop_limit = ttl;
        std::mem::swap(&mut ip.source, &mut ip.destination);
    }
    #[inline(always)]
    fn sum([[a, b], [c, d]]: &[[u64; 2]; 2]) -> OnWireSum {
        let sum = OnWireSum::default().and_two(*a).and_two(*b);
        sum.and_two(*c).and_two(*d)
    }
    #[inline(always)]
    fn is_ours(net: &Net, address: u128) -> bool {
        net.is_local6(address)
    }
    #[inline(always)]
    fn exit(net: &Net, to: u128) -> Option<&Exit> {
        net.exit6(to)
    }
    fn exit_and_range(net: &Net, to: u128) -> Option<(&Exit, Range<u128>)> {
        net.exit6_and_range(to)
    }
}

/// The low half as it is to stand in a header.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn word(low: u64) -> U32 {
    U32::from_bytes((low as u32).to_le_bytes())
}

#[inline(always)]
fn words((low, high): (u64, u64)) -> [u8; 16] {
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}

/// Rewrites a checksum as it stands there: byte order does not matter to one's complement.
#[inline(always)]
fn mend(field: &mut U16, by: impl FnOnce(u16) -> u16) {
    *field = U16::from_bytes(by(u16::from_le_bytes(field.to_bytes())).to_le_bytes());
}

/// Bytes of an IPv4 header without options.
const HEADER4: u16 = 20;
const _: () = assert!(HEADER4 as usize == ipv4::LEN);
/// Bytes of an IPv6 header.
const HEADER6: u16 = 40;
const _: () = assert!(HEADER6 as usize == ipv6::LEN);

/// What tells TCP from UDP.
pub(crate) trait Upper {
    /// The rest of the header, behind what both share.
    type Rest: FromBytes + IntoBytes + Immutable + KnownLayout;
    /// Which it is.
    const PROTOCOL: u8;
    /// TCP's flags; 0 for UDP.
    fn tcp_flags(rest: &Self::Rest) -> u8;
    /// A UDP packet without a checksum.
    fn has_no_checksum(upper: &wire::Upper) -> bool;
    /// Mends the checksum, which is there, by a delta as it stands in headers.
    fn mend(upper: &mut wire::Upper, rest: &mut Self::Rest, delta: Delta);
}

/// TCP.
pub(crate) struct Tcp;
/// UDP has no more than what both share.
pub(crate) struct Udp;

impl Upper for Tcp {
    type Rest = TcpRest;
    const PROTOCOL: u8 = protocol::TCP;
    #[inline(always)]
    fn tcp_flags(rest: &TcpRest) -> u8 {
        rest.flags
    }
    #[inline(always)]
    fn has_no_checksum(_: &wire::Upper) -> bool {
        false
    }
    #[inline(always)]
    fn mend(_: &mut wire::Upper, rest: &mut TcpRest, delta: Delta) {
        mend(&mut rest.checksum, |sum| delta.apply(sum));
    }
}

impl Upper for Udp {
    type Rest = [u8; 0];
    const PROTOCOL: u8 = protocol::UDP;
    #[inline(always)]
    fn tcp_flags(_: &[u8; 0]) -> u8 {
        0
    }
    #[inline(always)]
    fn has_no_checksum(upper: &wire::Upper) -> bool {
        upper.udp_checksum.get() == 0
    }
    #[inline(always)]
    fn mend(upper: &mut wire::Upper, _: &mut [u8; 0], delta: Delta) {
        mend(&mut upper.udp_checksum, |sum| delta.apply_udp(sum));
    }
}
