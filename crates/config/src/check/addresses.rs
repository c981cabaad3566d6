//! Addresses that no host can have.

use std::net::IpAddr;
use types::IpNet;

/// Why `address` cannot be a host's; `None` if it can.
pub(super) fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("means \"no address\""),
        _ if address.is_multicast() => Some("is a multicast address"),
        _ if address.is_loopback() => Some("is a loopback address, which never leaves a machine"),
        IpAddr::V4(a) if a.is_broadcast() => Some("is the broadcast address"),
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => Some("is an IPv4 address in IPv6 form"),
        _ => None,
    }
}

/// Why a host in this prefix cannot have its address; `None` if it can.
pub(super) fn unusable_in(net: IpNet) -> Option<&'static str> {
    if let Some(why) = unusable(net.address()) {
        return Some(why);
    }
    let IpAddr::V4(address) = net.address() else {
        return None;
    };
    // RFC 3021: a /31 has neither.
    if net.prefix() >= 31 {
        return None;
    }
    let host_bits = u32::MAX >> net.prefix();
    match address.to_bits() & host_bits {
        0 => Some("is the address of the network itself"),
        bits if bits == host_bits => Some("is the network's broadcast address"),
        _ => None,
    }
}

/// fe80::/10: every link has it, so it says nothing about which.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if a.is_unicast_link_local())
}

/// Whether one of two prefixes contains the other.
pub(super) fn overlap(a: IpNet, b: IpNet) -> bool {
    if a.prefix() <= b.prefix() {
        a.contains(b.address())
    } else {
        b.contains(a.address())
    }
}

/// "IPv4" or "IPv6".
pub(super) const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
