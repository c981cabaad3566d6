//! The commands and options there are, and which go together.

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    AddService,
    EditService,
    DeleteService,
    Clear,
    Restore,
    Save,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Zero,
    Set,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

/// A command's spellings.
pub struct VerbSpec {
    pub verb: Verb,
    pub short: &'static str,
    pub long: &'static str,
    /// Its name in messages.
    pub name: &'static str,
}

const fn verb(verb: Verb, short: &'static str, long: &'static str, name: &'static str) -> VerbSpec {
    VerbSpec {
        verb,
        short,
        long,
        name,
    }
}

pub const VERBS: [VerbSpec; 16] = [
    verb(Verb::AddService, "A", "add-service", "add-service"),
    verb(Verb::EditService, "E", "edit-service", "edit-service"),
    verb(Verb::DeleteService, "D", "delete-service", "delete-service"),
    verb(Verb::Clear, "C", "clear", "flush"),
    verb(Verb::Restore, "R", "restore", "restore"),
    verb(Verb::Save, "S", "save", "save"),
    verb(Verb::AddServer, "a", "add-server", "add-server"),
    verb(Verb::EditServer, "e", "edit-server", "edit-server"),
    verb(Verb::DeleteServer, "d", "delete-server", "delete-server"),
    verb(Verb::List, "Ll", "list", "list"),
    verb(Verb::Zero, "Z", "zero", "zero"),
    verb(Verb::Set, "", "set", "set"),
    verb(Verb::StartDaemon, "", "start-daemon", "start-daemon"),
    verb(Verb::StopDaemon, "", "stop-daemon", "stop-daemon"),
    verb(Verb::Help, "h", "help", "help"),
    verb(Verb::Version, "v", "version", "version"),
];

/// The options, in the order in which what is wrong with them is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Method,
    Weight,
    UpperThreshold,
    LowerThreshold,
    Interface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConnections,
    NoSort,
    SyncId,
    Exact,
    Ops,
    Engine,
    SchedulerFlags,
    TunnelType,
    TunnelPort,
    TunnelNoChecksum,
    TunnelChecksum,
    TunnelRemoteChecksum,
    TunnelInfo,
    SyncMaxLength,
    MulticastGroup,
    MulticastPort,
    MulticastTtl,
    /// `--sort` does nothing, `-6` belongs to `-f`: neither is checked.
    Sort,
    Ipv6,
}

/// Whether a value follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Value,
    /// A value, unless an option follows.
    Perhaps,
}

/// An option's spellings.
pub struct OptionSpec {
    pub option: Opt,
    pub short: Option<char>,
    pub long: &'static str,
    pub takes: Takes,
}

const fn option(option: Opt, short: Option<char>, long: &'static str, takes: Takes) -> OptionSpec {
    OptionSpec {
        option,
        short,
        long,
        takes,
    }
}

pub const OPTIONS: [OptionSpec; 41] = [
    option(Opt::Service, Some('t'), "tcp-service", Takes::Value),
    option(Opt::Service, Some('u'), "udp-service", Takes::Value),
    option(Opt::Service, None, "sctp-service", Takes::Value),
    option(Opt::Service, Some('f'), "fwmark-service", Takes::Value),
    option(Opt::Ipv6, Some('6'), "ipv6", Takes::Nothing),
    option(Opt::Scheduler, Some('s'), "scheduler", Takes::Value),
    option(Opt::SchedulerFlags, Some('b'), "sched-flags", Takes::Value),
    option(Opt::Engine, None, "pe", Takes::Value),
    option(Opt::Persistent, Some('p'), "persistent", Takes::Perhaps),
    option(Opt::Netmask, Some('M'), "netmask", Takes::Value),
    option(Opt::Server, Some('r'), "real-server", Takes::Value),
    option(Opt::Method, Some('g'), "gatewaying", Takes::Nothing),
    option(Opt::Method, Some('i'), "ipip", Takes::Nothing),
    option(Opt::Method, Some('m'), "masquerading", Takes::Nothing),
    option(Opt::TunnelType, None, "tun-type", Takes::Value),
    option(Opt::TunnelPort, None, "tun-port", Takes::Value),
    option(Opt::TunnelNoChecksum, None, "tun-nocsum", Takes::Nothing),
    option(Opt::TunnelChecksum, None, "tun-csum", Takes::Nothing),
    option(
        Opt::TunnelRemoteChecksum,
        None,
        "tun-remcsum",
        Takes::Nothing,
    ),
    option(Opt::Weight, Some('w'), "weight", Takes::Value),
    option(Opt::UpperThreshold, Some('x'), "u-threshold", Takes::Value),
    option(Opt::LowerThreshold, Some('y'), "l-threshold", Takes::Value),
    option(Opt::Connection, Some('c'), "connection", Takes::Nothing),
    option(Opt::Timeout, None, "timeout", Takes::Nothing),
    option(Opt::Daemon, None, "daemon", Takes::Nothing),
    option(Opt::Stats, None, "stats", Takes::Nothing),
    option(Opt::Rate, None, "rate", Takes::Nothing),
    option(Opt::Exact, None, "exact", Takes::Nothing),
    option(Opt::Thresholds, None, "thresholds", Takes::Nothing),
    option(
        Opt::PersistentConnections,
        None,
        "persistent-conn",
        Takes::Nothing,
    ),
    option(Opt::TunnelInfo, None, "tun-info", Takes::Nothing),
    option(Opt::NoSort, None, "nosort", Takes::Nothing),
    option(Opt::Sort, None, "sort", Takes::Nothing),
    option(Opt::Ops, Some('o'), "ops", Takes::Nothing),
    option(Opt::Numeric, Some('n'), "numeric", Takes::Nothing),
    option(Opt::SyncId, None, "syncid", Takes::Value),
    option(Opt::SyncMaxLength, None, "sync-maxlen", Takes::Value),
    option(Opt::Interface, None, "mcast-interface", Takes::Value),
    option(Opt::MulticastGroup, None, "mcast-group", Takes::Value),
    option(Opt::MulticastPort, None, "mcast-port", Takes::Value),
    option(Opt::MulticastTtl, None, "mcast-ttl", Takes::Value),
];

impl Opt {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service-address",
            Self::Method => "forwarding-method",
            other => OPTIONS
                .iter()
                .find(|spec| spec.option == other)
                .map_or("", |spec| spec.long),
        }
    }
}

impl Verb {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        VERBS
            .iter()
            .find(|spec| spec.verb == self)
            .map_or("", |spec| spec.name)
    }

    /// Options it cannot do without.
    pub const fn required(self) -> &'static [Opt] {
        match self {
            Self::AddService | Self::EditService | Self::DeleteService => &[Opt::Service],
            Self::AddServer | Self::EditServer | Self::DeleteServer => &[Opt::Service, Opt::Server],
            _ => &[],
        }
    }

    /// Options it takes besides.
    pub const fn optional(self) -> &'static [Opt] {
        match self {
            Self::AddService | Self::EditService => &[
                Opt::Scheduler,
                Opt::Persistent,
                Opt::Netmask,
                Opt::Ops,
                Opt::Engine,
                Opt::SchedulerFlags,
            ],
            Self::AddServer | Self::EditServer => &[
                Opt::Method,
                Opt::Weight,
                Opt::UpperThreshold,
                Opt::LowerThreshold,
                Opt::TunnelType,
                Opt::TunnelPort,
                Opt::TunnelNoChecksum,
                Opt::TunnelChecksum,
                Opt::TunnelRemoteChecksum,
            ],
            Self::Save => &[Opt::Numeric],
            Self::List => &[
                Opt::Numeric,
                Opt::Connection,
                Opt::Service,
                Opt::Timeout,
                Opt::Daemon,
                Opt::Stats,
                Opt::Rate,
                Opt::Thresholds,
                Opt::PersistentConnections,
                Opt::NoSort,
                Opt::SyncId,
                Opt::Exact,
                Opt::TunnelInfo,
            ],
            Self::Zero => &[Opt::Service],
            Self::StartDaemon => &[
                Opt::Interface,
                Opt::SyncId,
                Opt::SyncMaxLength,
                Opt::MulticastGroup,
                Opt::MulticastPort,
                Opt::MulticastTtl,
            ],
            Self::StopDaemon => &[Opt::SyncId],
            _ => &[],
        }
    }
}
