//! Headers as views over a frame's bytes, checksums, and the trait a frame buffer has.
//!
//! Nothing here copies, allocates, panics or does I/O. A view is had with `Ipv4::ref_from_prefix(bytes)` (or
//! `mut_from_prefix`): the length is checked once, the accessors cannot fail. Multi-byte fields are `U16`, `U32`:
//! network order in memory, `.get()` and `.set()` speak host order.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod ftp;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod nd;
pub mod plain;
pub mod sctp;
pub mod sip;
pub mod tcp;
pub mod udp;

mod frame;

pub use arp::Arp;
pub use checksum::{Delta, OnWireSum, Sum};
pub use ethernet::{Ethernet, VlanTag};
pub use frame::{Frame, RxChecksum, TxChecksum, TxL4};
pub use icmp::Icmp;
pub use ipv4::Ipv4;
pub use ipv6::{FragmentHeader, Ipv6};
pub use plain::{Plain4, Plain6, TcpRest, Upper};
pub use sctp::Sctp;
pub use tcp::Tcp;
pub use udp::Udp;
pub use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout,
    network_endian::{U16, U32},
};

/// Upper-layer protocol numbers (IANA).
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 47;
    /// Encapsulating security payload.
    pub const ESP: u8 = 50;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6: nothing follows.
    pub const NO_NEXT: u8 = 59;
    /// VRRP.
    pub const VRRP: u8 = 112;
}
