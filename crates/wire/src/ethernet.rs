//! Ethernet II and 802.1Q.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// `EtherType` of IPv4.
pub const IPV4: u16 = 0x0800;
/// `EtherType` of ARP.
pub const ARP: u16 = 0x0806;
/// `EtherType` of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// `EtherType` of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Bytes of an Ethernet header.
pub const LEN: usize = 14;
/// Bytes of an 802.1Q tag.
pub const VLAN_LEN: usize = 4;

/// An Ethernet header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ethernet {
    /// Destination MAC.
    pub destination: [u8; 6],
    /// Source MAC.
    pub source: [u8; 6],
    /// What follows.
    pub ethertype: U16,
}

/// An 802.1Q tag as it stands behind the `EtherType` [`VLAN`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct VlanTag {
    /// Priority (3 bits), drop eligible (1), VLAN id (12).
    pub control: U16,
    /// What follows.
    pub ethertype: U16,
}

/// The VLAN id in tag control information.
#[must_use]
pub const fn vlan_id(control: u16) -> u16 {
    control & 0x0fff
}

const _: () = assert!(size_of::<Ethernet>() == LEN && size_of::<VlanTag>() == VLAN_LEN);
