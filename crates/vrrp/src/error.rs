//! Why an advertisement is not taken.

use std::net::IpAddr;

/// What is wrong with an advertisement. One variant a mistake, so that each has a counter's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// The frame is no VRRP at all.
    #[error("no VRRP packet")]
    NotVrrp,
    /// The frame ends before the packet does.
    #[error("it is cut off")]
    Truncated,
    /// The IP header contradicts itself, or its checksum is wrong.
    #[error("its IP header is malformed")]
    IpHeader,
    /// A fragment: an advertisement fits every link whole.
    #[error("it is a fragment")]
    Fragment,
    /// It may have crossed a router.
    #[error("its time to live is {0}, not 255")]
    Ttl(u8),
    /// Not a station's address.
    #[error("its source {0} is no station's address")]
    Source(IpAddr),
    /// Neither 2 nor 3.
    #[error("version {0} is neither 2 nor 3")]
    Version(u8),
    /// Version 2 has no IPv6.
    #[error("version 2 over IPv6")]
    Version2OverIpv6,
    /// Only 1, advertisement, is defined.
    #[error("type {0} is no advertisement")]
    Type(u8),
    /// 0 is no virtual router.
    #[error("virtual_router_id 0")]
    RouterId,
    /// An advertisement without addresses.
    #[error("it has no virtual addresses")]
    NoAddresses,
    /// Length and count of addresses contradict each other.
    #[error("{count} addresses do not make {len} bytes")]
    Length {
        /// Addresses it says it has.
        count: u8,
        /// Bytes it has.
        len: usize,
    },
    /// The checksum is wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// An interval of 0.
    #[error("its interval is 0")]
    Interval,
    /// It says that it has an authentication header, and has none.
    #[error("the authentication header it speaks of is not there")]
    Unsealed,
    /// An unknown kind of authentication.
    #[error("authentication of type {0} is not supported")]
    AuthenticationType(u8),
}

impl ParseError {
    /// A counter's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotVrrp => "not_vrrp",
            Self::Truncated => "truncated",
            Self::IpHeader => "ip_header",
            Self::Fragment => "fragment",
            Self::Ttl(_) => "ttl",
            Self::Source(_) => "source",
            Self::Version(_) | Self::Version2OverIpv6 => "version",
            Self::Type(_) => "type",
            Self::RouterId => "router_id",
            Self::NoAddresses | Self::Length { .. } => "length",
            Self::Checksum => "checksum",
            Self::Interval => "interval",
            Self::Unsealed => "unsealed",
            Self::AuthenticationType(_) => "authentication_type",
        }
    }
}
