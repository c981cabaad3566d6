//! ARP for IPv4 over Ethernet (RFC 826).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// `operation` of a request.
pub const REQUEST: u16 = 1;
/// `operation` of a reply.
pub const REPLY: u16 = 2;
/// Bytes of an ARP packet.
pub const LEN: usize = 28;

/// An ARP packet.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Arp {
    /// 1: Ethernet.
    pub hardware: U16,
    /// 0x0800: IPv4.
    pub protocol: U16,
    /// 6.
    pub hardware_len: u8,
    /// 4.
    pub protocol_len: u8,
    /// [`REQUEST`] or [`REPLY`].
    pub operation: U16,
    /// Sender's MAC.
    pub sender_mac: [u8; 6],
    /// Sender's address.
    pub sender_ip: [u8; 4],
    /// Target's MAC; zero in a request.
    pub target_mac: [u8; 6],
    /// Target's address.
    pub target_ip: [u8; 4],
}

impl Arp {
    /// A packet with the constant fields filled in. Addresses in host byte order.
    #[must_use]
    pub fn new(operation: u16, sender: ([u8; 6], u32), target: ([u8; 6], u32)) -> Self {
        Self {
            hardware: U16::new(1),
            protocol: U16::new(super::ethernet::IPV4),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(operation),
            sender_mac: sender.0,
            sender_ip: sender.1.to_be_bytes(),
            target_mac: target.0,
            target_ip: target.1.to_be_bytes(),
        }
    }

    /// Whether the fields are those of IPv4 over Ethernet.
    #[must_use]
    pub fn is_ipv4_over_ethernet(&self) -> bool {
        self.hardware.get() == 1
            && self.protocol.get() == super::ethernet::IPV4
            && self.hardware_len == 6
            && self.protocol_len == 4
    }

    /// Sender's address, host byte order.
    #[must_use]
    pub const fn sender(&self) -> u32 {
        u32::from_be_bytes(self.sender_ip)
    }

    /// Target's address, host byte order.
    #[must_use]
    pub const fn target(&self) -> u32 {
        u32::from_be_bytes(self.target_ip)
    }
}

const _: () = assert!(size_of::<Arp>() == LEN);
