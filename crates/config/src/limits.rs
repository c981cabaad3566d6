//! Who may make connections to services, and how many.

use types::{Family, IpNet, SynCookies};

/// `[access]`: clients that may, and may not, make connections to any service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Those that may. With a list of them, its own or of all services, a service lets nobody else in.
    pub allow: Vec<IpNet>,
    /// Those that may not. The longest prefix that has a client decides.
    pub deny: Vec<IpNet>,
}

/// The same of one service, and its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Beside those of `[access]`, of the service's family; where both have the same prefix the service's counts.
    pub access: Access,
    /// Connections at once, active and inactive, 1 or more.
    pub connections: Option<u32>,
    /// New connections a second, 1 to [`Limits::MAX_RATE`].
    pub rate: Option<u32>,
    /// New connections a second of one client, 1 to [`Limits::MAX_CLIENT_RATE`].
    pub client_rate: Option<u32>,
    /// Bits of an address that make a client; `None`: see [`Limits::default_prefix`].
    pub client_prefix: Option<u8>,
    /// When nothing is kept of its SYNs. TCP only, and all servers are reached by NAT or none is.
    pub syn_cookies: SynCookies,
}

impl Limits {
    /// None: everybody may.
    pub const NONE: Self = Self {
        access: Access {
            allow: Vec::new(),
            deny: Vec::new(),
        },
        connections: None,
        rate: None,
        client_rate: None,
        client_prefix: None,
        syn_cookies: SynCookies::Off,
    };

    /// At most, in `rate_limit`.
    pub const MAX_RATE: u32 = 1_000_000;
    /// At most, in `client_rate_limit`.
    pub const MAX_CLIENT_RATE: u32 = 10_000;

    /// What makes a client by itself: a host; with IPv6 a link, of which every host has as many addresses as it likes.
    #[must_use]
    pub const fn default_prefix(family: Family) -> u8 {
        match family {
            Family::Ipv4 => 32,
            Family::Ipv6 => 64,
        }
    }
}
