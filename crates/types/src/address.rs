//! Link-layer addresses, prefixes, interface names.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};
use thiserror::Error;

/// An Ethernet address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

/// Why a text is not an Ethernet address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a MAC address; write six hex bytes, like 02:00:00:00:00:01")]
pub struct MacAddrError(String);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Group bit set: multicast or broadcast.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = MacAddrError;
    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let wrong = || MacAddrError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            Err(wrong())
        } else {
            Ok(Self(bytes))
        }
    }
}

/// An address with a prefix length, host bits kept: `192.0.2.1/24` as an interface has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpNet {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not an address with prefix.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IpNetError {
    /// The part before the slash is no address.
    #[error("`{0}` is not an IP address")]
    Address(String),
    /// The part after the slash is no number in range.
    #[error("`/{prefix}` is not a prefix length for {family}; 0 to {max}")]
    Prefix {
        /// What was written.
        prefix: String,
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// 32 or 128.
        max: u8,
    },
}

impl IpNet {
    /// `prefix` must be at most 32 (IPv4) or 128 (IPv6).
    ///
    /// # Errors
    /// [`IpNetError::Prefix`] when it is longer.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, IpNetError> {
        let (family, max) = if address.is_ipv4() {
            ("IPv4", 32)
        } else {
            ("IPv6", 128)
        };
        if prefix > max {
            return Err(IpNetError::Prefix {
                prefix: prefix.to_string(),
                family,
                max,
            });
        }
        Ok(Self { address, prefix })
    }

    /// A single address: /32 or /128.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }

    /// The address as written, host bits included.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The same prefix with the host bits cleared.
    #[must_use]
    pub fn network(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask4(self.prefix))),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask6(self.prefix))),
        };
        Self {
            address,
            prefix: self.prefix,
        }
    }

    /// Whether `other` lies in this prefix (never across families).
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) & mask4(self.prefix) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) & mask6(self.prefix) == 0,
            _ => false,
        }
    }
}

const fn mask4(prefix: u8) -> u32 {
    if prefix == 0 {
        0
    } else {
        u32::MAX << (32 - prefix)
    }
}

const fn mask6(prefix: u8) -> u128 {
    if prefix == 0 {
        0
    } else {
        u128::MAX << (128 - prefix)
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.address, self.prefix))
    }
}

impl fmt::Debug for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for IpNet {
    type Err = IpNetError;
    /// `ADDRESS/PREFIX`, or a bare address as a host.
    fn from_str(text: &str) -> Result<Self, IpNetError> {
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address
            .parse()
            .map_err(|_| IpNetError::Address(address.to_owned()))?;
        let Some(prefix) = prefix else {
            return Ok(Self::host(address));
        };
        let number = prefix.parse::<u8>().unwrap_or(u8::MAX);
        Self::new(address, number).map_err(|error| match error {
            IpNetError::Prefix { family, max, .. } => IpNetError::Prefix {
                prefix: prefix.to_owned(),
                family,
                max,
            },
            other @ IpNetError::Address(_) => other,
        })
    }
}

/// An 802.1Q VLAN id, 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct VlanId(u16);

impl VlanId {
    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = String;
    fn try_from(id: u16) -> Result<Self, String> {
        if (1..=4094).contains(&id) {
            Ok(Self(id))
        } else {
            Err(format!("VLAN id {id} is out of range; 1 to 4094"))
        }
    }
}

impl From<VlanId> for u16 {
    fn from(id: VlanId) -> Self {
        id.0
    }
}

/// The name the configuration gives a port or VLAN interface ("wan", "lan.10").
pub type InterfaceName = String;

macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
serde_as_text!(MacAddr, IpNet);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_parse_and_contain() {
        let net: IpNet = "192.0.2.9/24".parse().unwrap();
        assert_eq!(net.network().to_string(), "192.0.2.0/24");
        assert!(net.contains("192.0.2.255".parse().unwrap()));
        assert!(!net.contains("192.0.3.0".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        assert!(
            "0.0.0.0/0"
                .parse::<IpNet>()
                .unwrap()
                .contains("255.255.255.255".parse().unwrap())
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            "10.0.0.1/33".parse::<IpNet>().unwrap_err().to_string(),
            "`/33` is not a prefix length for IPv4; 0 to 32"
        );
        assert_eq!(
            "10.0.0/8".parse::<IpNet>().unwrap_err().to_string(),
            "`10.0.0` is not an IP address"
        );
        assert!("02:00:00:00:00".parse::<MacAddr>().is_err());
        assert!("02:00:00:00:00:01:02".parse::<MacAddr>().is_err());
        assert_eq!(
            "02:00:00:00:00:0a".parse::<MacAddr>().unwrap().to_string(),
            "02:00:00:00:00:0a"
        );
        assert!(VlanId::try_from(4095).is_err());
    }
}
