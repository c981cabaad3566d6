//! LVS's own notions.

use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, str::FromStr};

/// Address family of a service or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// A transport protocol a virtual service can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
    /// SCTP, IP protocol 132.
    Sctp,
}

impl Protocol {
    /// The IANA protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardingMethod {
    /// NAT: destination address and port rewritten, replies rewritten back (`ipvsadm -m`).
    Masq,
    /// Direct routing: only the destination MAC changes (`ipvsadm -g`).
    Route,
    /// Through a tunnel (`ipvsadm -i`); see [`crate::Tunnel`].
    Tunnel,
}

/// A scheduling algorithm, by IPVS's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connection.
    Lc,
    /// Weighted least connection (ipvsadm's default).
    Wlc,
    /// Locality-based least connection: a destination's last server, else the least loaded.
    Lblc,
    /// The same with replication: a destination collects a set of servers.
    Lblcr,
    /// Shortest expected delay.
    Sed,
    /// Never queue: an idle server at once, else the shortest expected delay.
    Nq,
    /// Weighted failover: the server of the highest weight.
    Fo,
    /// Weighted overflow: the server of the highest weight until it has as many active connections.
    Ovf,
    /// Source hashing.
    Sh,
    /// Destination hashing.
    Dh,
    /// Maglev hashing of the source.
    Mh,
    /// Power of two choices, weighted.
    Twos,
}

/// What persistence goes by besides the client's address (`ipvsadm --pe`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersistenceEngine {
    /// The Call-ID of SIP over UDP.
    Sip,
}

/// What a hashing scheduler may do beside hashing the client's address (`ipvsadm -b`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulerFlag {
    /// `sh`: a client whose server takes no new connections gets another, instead of a refusal.
    ShFallback,
    /// `sh`: the client's port is hashed too.
    ShPort,
    /// As [`SchedulerFlag::ShFallback`], for `mh`.
    MhFallback,
    /// As [`SchedulerFlag::ShPort`], for `mh`.
    MhPort,
    /// ipvsadm's first flag with a scheduler that asks for none: kept and listed, it does nothing.
    #[serde(rename = "flag-1")]
    Flag1,
    /// As [`SchedulerFlag::Flag1`], its second flag.
    #[serde(rename = "flag-2")]
    Flag2,
    /// As [`SchedulerFlag::Flag1`], its third flag, which no scheduler asks for; `sh` and `mh` do not list it either.
    #[serde(rename = "flag-3")]
    Flag3,
}

impl SchedulerFlag {
    /// The scheduler that asks for it; none for the numbered ones.
    #[must_use]
    pub const fn scheduler(self) -> Option<Scheduler> {
        match self {
            Self::ShFallback | Self::ShPort => Some(Scheduler::Sh),
            Self::MhFallback | Self::MhPort => Some(Scheduler::Mh),
            Self::Flag1 | Self::Flag2 | Self::Flag3 => None,
        }
    }

    /// What it is called beside `scheduler`: `sh` and `mh` have names for the first two numbers.
    #[must_use]
    pub const fn beside(self, scheduler: Scheduler) -> Self {
        match (self, scheduler) {
            (Self::Flag1, Scheduler::Sh) => Self::ShFallback,
            (Self::Flag1, Scheduler::Mh) => Self::MhFallback,
            (Self::Flag2, Scheduler::Sh) => Self::ShPort,
            (Self::Flag2, Scheduler::Mh) => Self::MhPort,
            _ => self,
        }
    }

    /// Whether a service of `scheduler` may have it, by this name.
    #[must_use]
    pub fn fits(self, scheduler: Scheduler) -> bool {
        match self.scheduler() {
            Some(own) => own == scheduler,
            None => !matches!(scheduler, Scheduler::Sh | Scheduler::Mh),
        }
    }
}

/// The flags of a scheduler in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SchedulerFlags {
    /// A client whose server takes no new connections gets another.
    pub fallback: bool,
    /// The client's port is hashed too.
    pub port: bool,
    /// ipvsadm's third flag, which no scheduler asks for; listed again.
    pub third: bool,
}

impl SchedulerFlags {
    /// Those of `flags` that `scheduler` may have.
    #[must_use]
    pub fn of(scheduler: Scheduler, flags: &[SchedulerFlag]) -> Self {
        let mut all = Self::default();
        for flag in flags.iter().filter(|flag| flag.fits(scheduler)) {
            match flag {
                SchedulerFlag::ShFallback | SchedulerFlag::MhFallback | SchedulerFlag::Flag1 => {
                    all.fallback = true;
                }
                SchedulerFlag::ShPort | SchedulerFlag::MhPort | SchedulerFlag::Flag2 => {
                    all.port = true;
                }
                SchedulerFlag::Flag3 => all.third = true,
            }
        }
        all
    }
}

macro_rules! names {
    ($type:ident, $what:literal, $($variant:ident = $name:literal),+) => {
        impl $type {
            /// Every value, in the order shown to people.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in configuration, API and listings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!(concat!("unknown ", $what, " `{}`; one of: {}"), text, [$($name),+].join(", "))),
                }
            }
        }
    };
}

names!(Family, "address family", Ipv4 = "ipv4", Ipv6 = "ipv6");
names!(
    Protocol,
    "protocol",
    Tcp = "tcp",
    Udp = "udp",
    Sctp = "sctp"
);
names!(
    ForwardingMethod,
    "forwarding method",
    Masq = "masq",
    Route = "route",
    Tunnel = "tunnel"
);
names!(
    Scheduler,
    "scheduler",
    Rr = "rr",
    Wrr = "wrr",
    Lc = "lc",
    Wlc = "wlc",
    Lblc = "lblc",
    Lblcr = "lblcr",
    Sed = "sed",
    Nq = "nq",
    Fo = "fo",
    Ovf = "ovf",
    Sh = "sh",
    Dh = "dh",
    Mh = "mh",
    Twos = "twos"
);
names!(PersistenceEngine, "persistence engine", Sip = "sip");
names!(
    SchedulerFlag,
    "scheduler flag",
    ShFallback = "sh-fallback",
    ShPort = "sh-port",
    MhFallback = "mh-fallback",
    MhPort = "mh-port",
    Flag1 = "flag-1",
    Flag2 = "flag-2",
    Flag3 = "flag-3"
);

/// What becomes of the connections of a server that is removed from its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRemoval {
    /// They are kept in case it returns; what comes for them meanwhile is dropped in silence.
    Keep,
    /// They end at once.
    Expire,
    /// They end, and both ends of a TCP connection are told by a reset.
    Reset,
}

impl OnRemoval {
    /// Every word, as written in the file.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("keep", Self::Keep),
        ("expire", Self::Expire),
        ("reset", Self::Reset),
    ];

    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Expire => "expire",
            Self::Reset => "reset",
        }
    }
}

/// What is asked of the source of a packet that comes in on an interface (Linux's `rp_filter`; RFC 3704's reverse path forwarding).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RpFilter {
    /// Nothing.
    #[default]
    Off,
    /// That an answer would leave by the same interface.
    Strict,
    /// That there is a way back by any.
    Loose,
}

impl RpFilter {
    /// Every word, as written in the file.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("strict", Self::Strict),
        ("loose", Self::Loose),
    ];

    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::Loose => "loose",
        }
    }
}

/// Whether a service's SYNs are answered without keeping anything of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SynCookies {
    /// Never: each makes a connection.
    #[default]
    Off,
    /// Always.
    On,
    /// While more than so many a second come, 1 to [`SynCookies::MAX_ABOVE`].
    Above(u32),
}

impl SynCookies {
    /// The highest rate in [`SynCookies::Above`].
    pub const MAX_ABOVE: u32 = 1_000_000;
}

impl fmt::Display for SynCookies {
    /// As written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("\"off\""),
            Self::On => f.write_str("\"on\""),
            Self::Above(rate) => write!(f, "{{ above = {rate} }}"),
        }
    }
}

/// A firewall mark. 0 means "no mark".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mark(pub u32);

/// What a virtual service catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged, try_from = "Written")]
pub enum ServiceKey {
    /// One protocol on one address; port 0 is every port (persistent services only).
    Address {
        /// TCP or UDP.
        protocol: Protocol,
        /// VIP and port.
        address: SocketAddr,
    },
    /// Everything that carries a firewall mark.
    Mark {
        /// The mark, not 0.
        mark: Mark,
        /// The family of the packets; IPv4 where it is not written.
        family: Family,
    },
}

/// A [`ServiceKey`] as it is written, so that what is wrong in it can be told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "service")]
struct Written {
    protocol: Option<Protocol>,
    address: Option<SocketAddr>,
    mark: Option<Mark>,
    family: Option<Family>,
}

impl TryFrom<Written> for ServiceKey {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written {
                protocol: Some(protocol),
                address: Some(address),
                mark: None,
                family: None,
            } => Ok(Self::Address { protocol, address }),
            Written {
                protocol: None,
                address: None,
                mark: Some(mark),
                family,
            } => Ok(Self::Mark {
                mark,
                family: family.unwrap_or(Family::Ipv4),
            }),
            _ => Err("a service is a `protocol` and an `address`, or a `mark` (and a `family`)"),
        }
    }
}

impl ServiceKey {
    /// Its port; 0 is every port, and any service's by mark.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address { address, .. } => address.port(),
            Self::Mark { .. } => 0,
        }
    }

    /// The virtual address and port, unless it catches a mark.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address { address, .. } => Some(*address),
            Self::Mark { .. } => None,
        }
    }

    /// The family of its packets.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } if address.is_ipv4() => Family::Ipv4,
            Self::Address { .. } => Family::Ipv6,
            Self::Mark { family, .. } => *family,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// `tcp 192.0.2.10:80`, `mark 80`, `mark 80 ipv6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Address { protocol, address } => format!("{protocol} {address}"),
            Self::Mark {
                mark,
                family: Family::Ipv4,
            } => format!("mark {}", mark.0),
            Self::Mark {
                mark,
                family: Family::Ipv6,
            } => format!("mark {} ipv6", mark.0),
        })
    }
}

/// A real server's weight, 0 to 2147483647 (ipvsadm(8)); 0 quiesces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(pub u32);

impl Weight {
    /// The largest weight IPVS takes.
    pub const MAX: Self = Self(2_147_483_647);
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}
