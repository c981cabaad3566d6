//! The advertisement: bytes behind the IP header, both ways.

use crate::{Interval, PROTOCOL, ParseError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::Sum;

/// Bytes before the addresses.
const HEADER: usize = 8;
/// Bytes of version 2's authentication behind them.
const AUTHENTICATION: usize = 8;
/// The only type there is.
const ADVERTISEMENT: u8 = 1;

/// Version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768, and the authentication RFC 2338 had: IPv4, whole seconds.
    V2,
    /// RFC 5798 and RFC 9568: both families, hundredths of a second.
    V3,
}

impl Version {
    /// 2 or 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// What the checksum of version 3 over IPv4 covers. (Over IPv6 there is always a pseudo-header, in version 2 never.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// The pseudo-header too: RFC 5798 as keepalived reads it.
    #[default]
    PseudoHeader,
    /// Only the message, as in version 2: RFC 9568, and others before it (keepalived: `v3_checksum_as_v2`).
    MessageOnly,
}

/// Version 2's authentication. A password keeps out nobody who can listen; it tells two sets of directors apart that
/// were given the same id by mistake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// None; the only one of version 3.
    #[default]
    None,
    /// A password of at most eight bytes, in the clear (keepalived's `auth_type PASS`).
    Password([u8; 8]),
    /// An authentication header around the packet (keepalived's `auth_type AH`, [`crate::Seal`]): it keeps out who does not know the
    /// key, until he repeats what he heard.
    Header,
}

impl Authentication {
    /// The password's first eight bytes, as keepalived takes them.
    #[must_use]
    pub fn password(text: &str) -> Self {
        Self::Password(Self::key(text))
    }

    /// Those eight bytes.
    #[must_use]
    pub fn key(text: &str) -> [u8; 8] {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        bytes
    }

    /// As it stands in the message (RFC 2338 5.3.6).
    const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Password(_) => 1,
            Self::Header => 2,
        }
    }
}

/// An advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Its version.
    pub version: Version,
    /// 1 to 255.
    pub router_id: u8,
    /// 0: the master gives up; 255: it owns the addresses.
    pub priority: u8,
    /// How often the master sends.
    pub interval: Interval,
    /// The virtual addresses, all of one family. In IPv6 the first should be link-local (RFC 9568 5.2.9); not all who send
    /// hold to that.
    pub addresses: Vec<IpAddr>,
    /// Version 2's.
    pub authentication: Authentication,
}

impl Advertisement {
    /// Reads what stands behind an IP header with those ends.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(bytes: &[u8], source: IpAddr, destination: IpAddr) -> Result<Self, ParseError> {
        let (&header, rest) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or(ParseError::Truncated)?;
        let [kind, router_id, priority, count, high, low, _, _] = header;
        let version = match kind >> 4 {
            2 => Version::V2,
            3 => Version::V3,
            other => return Err(ParseError::Version(other)),
        };
        if version == Version::V2 && source.is_ipv6() {
            return Err(ParseError::Version2OverIpv6);
        }
        if kind & 15 != ADVERTISEMENT {
            return Err(ParseError::Type(kind & 15));
        }
        if !checksum_is_right(version, bytes, source, destination) {
            return Err(ParseError::Checksum);
        }
        if router_id == 0 {
            return Err(ParseError::RouterId);
        }
        if count == 0 {
            return Err(ParseError::NoAddresses);
        }
        let size = if source.is_ipv6() { 16 } else { 4 };
        let wrong_length = ParseError::Length {
            count,
            len: rest.len(),
        };
        let (addresses, behind) = rest
            .split_at_checked(usize::from(count) * size)
            .ok_or(wrong_length)?;
        let addresses: Vec<IpAddr> = addresses.chunks_exact(size).filter_map(address).collect();
        let (interval, authentication) = match version {
            Version::V2 => {
                let data: &[u8; AUTHENTICATION] = behind.try_into().map_err(|_| wrong_length)?;
                let authentication = match high {
                    0 => Authentication::None,
                    1 => Authentication::Password(*data),
                    2 => Authentication::Header,
                    other => return Err(ParseError::AuthenticationType(other)),
                };
                (Interval::of_seconds(low), authentication)
            }
            Version::V3 if !behind.is_empty() => return Err(wrong_length),
            Version::V3 => (
                Interval::of_centiseconds(u16::from_be_bytes([high & 15, low])),
                Authentication::None,
            ),
        };
        Ok(Self {
            version,
            router_id,
            priority,
            interval: interval.ok_or(ParseError::Interval)?,
            addresses,
            authentication,
        })
    }

    /// The bytes behind an IP header with those ends. Version 2 says whole seconds: of others the next larger number.
    #[must_use]
    pub fn emit(&self, source: IpAddr, destination: IpAddr, checksum: Checksum) -> Vec<u8> {
        let count = self.addresses.len().min(255);
        let time = match (self.version, self.authentication) {
            (Version::V2, authentication) => [
                authentication.number(),
                u8::try_from(self.interval.centiseconds().div_ceil(100)).unwrap_or(u8::MAX),
            ],
            (Version::V3, _) => self
                .interval
                .min(Interval::MAX)
                .centiseconds()
                .to_be_bytes(),
        };
        let mut bytes = vec![
            self.version.number() << 4 | ADVERTISEMENT,
            self.router_id,
            self.priority,
            u8::try_from(count).unwrap_or(u8::MAX),
            time[0],
            time[1],
            0,
            0,
        ];
        for address in self.addresses.iter().take(count) {
            match address {
                IpAddr::V4(ip) => bytes.extend(ip.octets()),
                IpAddr::V6(ip) => bytes.extend(ip.octets()),
            }
        }
        if self.version == Version::V2 {
            bytes.extend(match self.authentication {
                Authentication::None | Authentication::Header => [0; AUTHENTICATION],
                Authentication::Password(data) => data,
            });
        }
        let pseudo =
            self.version == Version::V3 && (source.is_ipv6() || checksum == Checksum::PseudoHeader);
        let sum = sum(&bytes, pseudo.then_some((source, destination)));
        if let Some(field) = bytes.get_mut(6..8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

/// Version 3 over IPv4 is taken either way: both are about, and neither can be mistaken for the other's garbage.
fn checksum_is_right(version: Version, bytes: &[u8], source: IpAddr, destination: IpAddr) -> bool {
    let ends = Some((source, destination));
    match version {
        Version::V2 => sum(bytes, None) == 0,
        Version::V3 if source.is_ipv6() => sum(bytes, ends) == 0,
        Version::V3 => sum(bytes, ends) == 0 || sum(bytes, None) == 0,
    }
}

fn sum(bytes: &[u8], ends: Option<(IpAddr, IpAddr)>) -> u16 {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut sum = match ends {
        Some((IpAddr::V4(from), IpAddr::V4(to))) => {
            Sum::pseudo4(from.to_bits(), to.to_bits(), PROTOCOL, len)
        }
        Some((IpAddr::V6(from), IpAddr::V6(to))) => {
            Sum::pseudo6(from.to_bits(), to.to_bits(), PROTOCOL, len.into())
        }
        _ => Sum::new(),
    };
    sum.add(bytes);
    sum.finish()
}
