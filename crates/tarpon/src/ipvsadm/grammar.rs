//! From words to a [`Line`], with ipvsadm's own complaints.

use super::{
    Refusal,
    names::{self, Transport},
    options::{OPTIONS, Opt, OptionSpec, Takes, VERBS, Verb},
};
use api::SyncStart;
use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
};
use types::{ForwardingMethod, GueChecksum, SchedulerFlag, Tunnel};

/// Where the words come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    CommandLine,
    /// A saved file: older versions of ipvsadm wrote `pe NAME` and `ops` without dashes.
    Saved,
}

/// What a service catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Address {
        transport: Transport,
        address: SocketAddr,
    },
    Mark {
        mark: u32,
        ipv6: bool,
    },
}

/// One command, well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub verb: Verb,
    pub target: Option<Target>,
    pub scheduler: String,
    pub scheduler_flags: Vec<SchedulerFlag>,
    /// Seconds.
    pub persistent: Option<u32>,
    /// As the daemon takes it: an IPv4 mask or an IPv6 prefix length.
    pub netmask: Option<String>,
    /// The persistence engine.
    pub engine: Option<String>,
    /// With its port, where it has one.
    pub server: Option<SocketAddr>,
    pub method: ForwardingMethod,
    pub weight: u32,
    pub upper_threshold: u32,
    pub lower_threshold: u32,
    /// What packets are wrapped in, with the method `tunnel`.
    pub tunnel: Tunnel,
    /// Of `--set`: tcp, tcpfin, udp; 0 stays as it is.
    pub timeouts: [u32; 3],
    /// Of `--start-daemon` and `--stop-daemon`.
    pub daemon: SyncStart,
    given: Vec<Opt>,
}

impl Line {
    fn new(verb: Verb) -> Self {
        Self {
            verb,
            target: None,
            scheduler: "wlc".to_owned(),
            scheduler_flags: Vec::new(),
            persistent: None,
            netmask: None,
            engine: None,
            server: None,
            method: ForwardingMethod::Route,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: Tunnel::Ipip,
            timeouts: [0; 3],
            daemon: SyncStart::default(),
            given: Vec::new(),
        }
    }

    pub fn has(&self, option: Opt) -> bool {
        self.given.contains(&option)
    }

    fn transport(&self) -> Transport {
        match self.target {
            Some(Target::Address { transport, .. }) => transport,
            _ => Transport::Tcp,
        }
    }

    fn is_ipv6(&self) -> bool {
        match self.target {
            Some(Target::Address { address, .. }) => address.is_ipv6(),
            Some(Target::Mark { ipv6, .. }) => ipv6,
            None => false,
        }
    }
}

/// Seconds of persistence where `-p` has no value, as ipvsadm 1.31 has it.
const DEFAULT_PERSISTENCE_S: u32 = 360;

/// Reads the words after `ipvsadm`; none lists the table.
pub fn parse(words: &[&str], dialect: Dialect) -> Result<Line, Refusal> {
    let mut words: VecDeque<&str> = words.iter().copied().collect();
    let Some(first) = words.pop_front() else {
        return Ok(Line::new(Verb::List));
    };
    let (verb, mut cluster) = verb(first)?;
    let mut line = Line::new(verb);
    let mut raw = Raw::default();
    match verb {
        Verb::Set => line.timeouts = timeouts(&mut words)?,
        Verb::StartDaemon | Verb::StopDaemon => {
            let role = words.pop_front().ok_or_else(Refusal::no_command)?;
            if !matches!(role, "master" | "backup") {
                let message = format!("illegal {} parameter specified", verb.name());
                return Err(Refusal::usage(message));
            }
            role.clone_into(&mut line.daemon.role);
        }
        _ => {}
    }
    loop {
        if let Some(letter) = cluster.chars().next() {
            let rest = cluster.get(letter.len_utf8()..).unwrap_or_default();
            let spec = OPTIONS
                .iter()
                .find(|spec| spec.short == Some(letter))
                .ok_or_else(|| unknown(&format!("-{letter}"), "-", letter))?;
            if spec.takes == Takes::Nothing {
                cluster = rest;
                option(&mut line, &mut raw, spec, "")?;
            } else {
                cluster = "";
                let attached = (!rest.is_empty()).then_some(rest);
                let value = value(spec, attached, &mut words)?;
                option(&mut line, &mut raw, spec, &value)?;
            }
            continue;
        }
        let Some(word) = words.pop_front() else {
            break;
        };
        if let Some(long) = word.strip_prefix("--") {
            let (name, attached) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let spec = OPTIONS
                .iter()
                .find(|spec| spec.long == name)
                .ok_or_else(|| unknown_long(name))?;
            let value = value(spec, attached, &mut words)?;
            option(&mut line, &mut raw, spec, &value)?;
        } else if let Some(short) = word.strip_prefix('-').filter(|s| !s.is_empty()) {
            cluster = short;
        } else if dialect == Dialect::Saved && word == "ops" {
            given(&mut line, Opt::Ops)?;
        } else if dialect == Dialect::Saved && word == "pe" {
            given(&mut line, Opt::Engine)?;
            line.engine = words.pop_front().map(str::to_owned);
        } else {
            return Err(Refusal::usage(format!("unexpected argument {word}")));
        }
    }
    line.scheduler_flags = scheduler_flags(&line.scheduler, raw.flags.as_deref())?;
    check(&line)?;
    finish(&mut line, &raw)?;
    Ok(line)
}

/// The command, and the options that stand in the same word (`-Ln`).
fn verb(word: &str) -> Result<(Verb, &str), Refusal> {
    if let Some(long) = word.strip_prefix("--") {
        let found = VERBS.iter().find(|spec| spec.long == long);
        return found
            .map(|spec| (spec.verb, ""))
            .ok_or_else(Refusal::no_command);
    }
    let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
    let letter = letters.next().ok_or_else(Refusal::no_command)?;
    let found = VERBS.iter().find(|spec| spec.short.contains(letter));
    found
        .map(|spec| (spec.verb, letters.as_str()))
        .ok_or_else(Refusal::no_command)
}

fn unknown(word: &str, dashes: &str, letter: char) -> Refusal {
    if VERBS.iter().any(|spec| spec.short.contains(letter)) {
        return Refusal::usage(format!("invalid option `{word}'"));
    }
    Refusal::refused(format!("{dashes}{letter}: unknown option"))
}

fn unknown_long(name: &str) -> Refusal {
    if VERBS.iter().any(|spec| spec.long == name) {
        return Refusal::usage(format!("invalid option `--{name}'"));
    }
    Refusal::refused(format!("--{name}: unknown option"))
}

fn value(
    spec: &OptionSpec,
    attached: Option<&str>,
    words: &mut VecDeque<&str>,
) -> Result<String, Refusal> {
    let next_is_value = words.front().is_some_and(|word| !word.starts_with('-'));
    match (spec.takes, attached) {
        (Takes::Nothing, Some(_)) => Err(Refusal::refused(format!(
            "--{}: option does not take an argument",
            spec.long
        ))),
        (Takes::Nothing, None) => Ok(String::new()),
        (_, Some(value)) => Ok(value.to_owned()),
        (Takes::Perhaps, None) if !next_is_value => Ok(String::new()),
        (_, None) => words
            .pop_front()
            .map(str::to_owned)
            .ok_or_else(|| Refusal::refused(format!("--{}: missing argument", spec.long))),
    }
}

fn timeouts(words: &mut VecDeque<&str>) -> Result<[u32; 3], Refusal> {
    let mut seconds = [0; 3];
    for value in &mut seconds {
        let word = words
            .pop_front()
            .ok_or_else(|| Refusal::usage("--set option requires 3 timeout values"))?;
        if let Some(letter) = word.strip_prefix('-').and_then(|w| w.chars().next()) {
            return Err(unknown(word, "-", letter));
        }
        *value = timeout(word, 0)?;
    }
    Ok(seconds)
}

fn timeout(word: &str, least: u32) -> Result<u32, Refusal> {
    number(word, least, config::MAX_TIMEOUT_S)
        .ok_or_else(|| Refusal::usage(format!("invalid timeout value `{word}' specified")))
}

fn number(word: &str, least: u32, most: u32) -> Option<u32> {
    let digits = word.chars().all(|c| c.is_ascii_digit());
    let value: u32 = word.parse().ok().filter(|_| digits)?;
    (least..=most).contains(&value).then_some(value)
}

/// What can only be understood once all is known.
#[derive(Default)]
struct Raw {
    server: Option<String>,
    netmask: Option<String>,
    flags: Option<String>,
    tunnel_type: Option<String>,
    tunnel_port: Option<NonZeroU16>,
}

fn given(line: &mut Line, option: Opt) -> Result<(), Refusal> {
    let repeatable = matches!(option, Opt::Sort | Opt::Ipv6 | Opt::Numeric);
    if line.has(option) && !repeatable {
        let message = format!("multiple '{}' options specified", option.name());
        return Err(Refusal::usage(message));
    }
    line.given.push(option);
    Ok(())
}

fn option(line: &mut Line, raw: &mut Raw, spec: &OptionSpec, value: &str) -> Result<(), Refusal> {
    given(line, spec.option)?;
    let count = |what: &str| {
        number(value, 0, i32::MAX.unsigned_abs())
            .ok_or_else(|| Refusal::usage(format!("illegal {what} specified")))
    };
    match spec.option {
        Opt::Service => line.target = Some(target(spec, value)?),
        Opt::Ipv6 => match &mut line.target {
            Some(Target::Mark { ipv6, .. }) => *ipv6 = true,
            _ => return Err(Refusal::usage("-6 used before -f\n")),
        },
        Opt::Scheduler => value.clone_into(&mut line.scheduler),
        Opt::SchedulerFlags => raw.flags = Some(value.to_owned()),
        Opt::Engine => line.engine = Some(value.to_owned()),
        Opt::Persistent if value.is_empty() => line.persistent = Some(DEFAULT_PERSISTENCE_S),
        Opt::Persistent => line.persistent = Some(timeout(value, 1)?),
        Opt::Netmask => raw.netmask = Some(value.to_owned()),
        Opt::Server => raw.server = Some(value.to_owned()),
        Opt::Method => {
            line.method = match spec.short {
                Some('m') => ForwardingMethod::Masq,
                Some('i') => ForwardingMethod::Tunnel,
                _ => ForwardingMethod::Route,
            }
        }
        Opt::Weight => line.weight = count("weight")?,
        Opt::UpperThreshold => line.upper_threshold = count("u_threshold")?,
        Opt::LowerThreshold => line.lower_threshold = count("l_threshold")?,
        Opt::TunnelType => match value {
            "ipip" | "gre" | "gue" => raw.tunnel_type = Some(value.to_owned()),
            _ => return Err(Refusal::usage("illegal tunnel type specified")),
        },
        Opt::TunnelPort => {
            let port = number(value, 1, u16::MAX.into()).and_then(|n| u16::try_from(n).ok());
            raw.tunnel_port = port.and_then(NonZeroU16::new);
            if raw.tunnel_port.is_none() {
                return Err(Refusal::usage("illegal tunnel port specified"));
            }
        }
        Opt::Interface => line.daemon.interface = Some(value.to_owned()),
        Opt::SyncId => line.daemon.syncid = Some(small(value, 0..=255, "syncid")?),
        Opt::SyncMaxLength => {
            line.daemon.sync_maxlen = Some(small(value, 1..=65_507, "sync-maxlen")?);
        }
        Opt::MulticastGroup => {
            let group = value.parse().ok().filter(IpAddr::is_multicast);
            let family = if value.contains(':') { "IPv6" } else { "IPv4" };
            let wrong = || Refusal::usage(format!("invalid {family} mcast-group `{value}'"));
            line.daemon.mcast_group = Some(group.ok_or_else(wrong)?);
        }
        Opt::MulticastPort => {
            line.daemon.mcast_port = Some(small(value, 1..=65_535, "mcast-port")?);
        }
        Opt::MulticastTtl => line.daemon.mcast_ttl = Some(small(value, 1..=255, "mcast-ttl")?),
        _ => {}
    }
    Ok(())
}

fn small<T: TryFrom<u32>>(
    value: &str,
    range: std::ops::RangeInclusive<u32>,
    what: &str,
) -> Result<T, Refusal> {
    number(value, *range.start(), *range.end())
        .and_then(|n| T::try_from(n).ok())
        .ok_or_else(|| Refusal::usage(format!("illegal {what} specified")))
}

fn target(spec: &OptionSpec, value: &str) -> Result<Target, Refusal> {
    let transport = match (spec.short, spec.long) {
        (Some('f'), _) => {
            let mark = number(value, 1, u32::MAX).ok_or_else(|| {
                Refusal::usage(format!("invalid fwmark value `{value}' specified"))
            })?;
            return Ok(Target::Mark { mark, ipv6: false });
        }
        (Some('t'), _) => Transport::Tcp,
        (Some('u'), _) => Transport::Udp,
        _ => Transport::Sctp,
    };
    let address = names::endpoint(value, transport)
        .ok_or_else(|| Refusal::usage("illegal virtual server address[:port] specified"))?;
    Ok(Target::Address { transport, address })
}

/// By names, or by numbers as "flag-1": those mean what the scheduler makes of them. Between commas there may be nothing.
fn scheduler_flags(scheduler: &str, flags: Option<&str>) -> Result<Vec<SchedulerFlag>, Refusal> {
    let mut read = Vec::new();
    let names = flags.into_iter().flat_map(|flags| flags.split(','));
    for name in names.filter(|name| !name.is_empty()) {
        let flag: SchedulerFlag = name
            .parse()
            .map_err(|_| Refusal::usage(format!("invalid scheduler flag `{name}'")))?;
        if flag
            .scheduler()
            .is_some_and(|own| own.to_string() != scheduler)
        {
            let message = format!("incompatible scheduler flag `{name}'");
            return Err(Refusal::usage(message));
        }
        // A scheduler there is none of is refused where it is looked up.
        read.push(
            scheduler
                .parse()
                .map_or(flag, |scheduler| flag.beside(scheduler)),
        );
    }
    // The third is nothing to sh and mh, not even listed.
    if let Ok(scheduler) = scheduler.parse() {
        read.retain(|flag: &SchedulerFlag| flag.fits(scheduler));
    }
    // Listed in this order, whatever the order they were given in.
    read.sort_unstable();
    read.dedup();
    Ok(read)
}

/// Which options there must and may be.
fn check(line: &Line) -> Result<(), Refusal> {
    let command = line.verb.name();
    for option in line.verb.required() {
        if !line.has(*option) {
            return Err(Refusal::usage(format!(
                "You need to supply the '{}' option for the '{command}' command",
                option.name()
            )));
        }
    }
    let mut given = line.given.clone();
    given.sort_unstable();
    let unchecked = [Opt::Sort, Opt::Ipv6];
    let allowed = [line.verb.required(), line.verb.optional(), &unchecked].concat();
    if let Some(option) = given.iter().find(|option| !allowed.contains(option)) {
        return Err(Refusal::usage(format!(
            "Illegal '{}' option with the '{command}' command",
            option.name()
        )));
    }
    let conflict = |a: Opt, b: Opt| line.has(a) && line.has(b);
    for (a, b) in [
        (Opt::Service, Opt::Connection),
        (Opt::Timeout, Opt::Connection),
        (Opt::Daemon, Opt::Connection),
        (Opt::Daemon, Opt::Timeout),
    ] {
        if conflict(a, b) {
            return Err(Refusal::usage(format!(
                "The option '{}' conflicts with the '{}' option in the 'list' command",
                a.name(),
                b.name()
            )));
        }
    }
    let other = [Opt::Connection, Opt::Timeout, Opt::Daemon];
    if other
        .iter()
        .any(|o| conflict(*o, Opt::Stats) || conflict(*o, Opt::Rate))
    {
        return Err(Refusal::usage("options conflicts in the list command"));
    }
    Ok(())
}

/// What follows from several options together.
fn finish(line: &mut Line, raw: &Raw) -> Result<(), Refusal> {
    if matches!(line.verb, Verb::AddService | Verb::EditService) {
        if let Some(Target::Address { transport, address }) = line.target {
            if address.port() == 0 && line.persistent.is_none() {
                return Err(Refusal::usage(
                    "Zero port specified for non-persistent service",
                ));
            }
            if line.has(Opt::Ops) && transport != Transport::Udp {
                return Err(Refusal::usage(
                    "One-Packet Scheduling is only for UDP virtual services",
                ));
            }
        }
        line.netmask = raw
            .netmask
            .as_deref()
            .map(|text| netmask(line, text))
            .transpose()?;
    }
    line.tunnel = tunnel(line, raw)?;
    line.server = raw
        .server
        .as_deref()
        .map(|text| server(line, text))
        .transpose()?;
    Ok(())
}

/// What the tunnel options come to.
fn tunnel(line: &Line, raw: &Raw) -> Result<Tunnel, Refusal> {
    const CHECKSUMS: [Opt; 3] = [
        Opt::TunnelNoChecksum,
        Opt::TunnelChecksum,
        Opt::TunnelRemoteChecksum,
    ];
    let mut options = [Opt::TunnelType, Opt::TunnelPort].iter().chain(&CHECKSUMS);
    if options.any(|o| line.has(*o)) && line.method != ForwardingMethod::Tunnel {
        return Err(Refusal::usage(
            "Tunnel options conflict with forward method",
        ));
    }
    let kind = raw.tunnel_type.as_deref().unwrap_or("ipip");
    let refused: &[Opt] = match kind {
        "gue" => &[],
        "gre" => &[Opt::TunnelPort, Opt::TunnelRemoteChecksum],
        _ => &[
            Opt::TunnelPort,
            Opt::TunnelNoChecksum,
            Opt::TunnelChecksum,
            Opt::TunnelRemoteChecksum,
        ],
    };
    if let Some(option) = refused.iter().find(|o| line.has(**o)) {
        return Err(Refusal::usage(format!(
            "Illegal '{}' option with the '{kind}' tunnel type",
            option.name()
        )));
    }
    let given: Vec<&Opt> = CHECKSUMS.iter().filter(|o| line.has(**o)).collect();
    if let [first, .., last] = *given.as_slice() {
        return Err(Refusal::usage(format!(
            "The option '{}' conflicts with the '{}' option in the '{kind}' tunnel type",
            last.name(),
            first.name()
        )));
    }
    match (kind, raw.tunnel_port) {
        ("gue", None) => Err(Refusal::usage(
            "You need to supply the 'tun-port' option for the 'gue' tunnel type",
        )),
        ("gue", Some(port)) => Ok(Tunnel::Gue {
            port,
            checksum: match given.first() {
                Some(Opt::TunnelChecksum) => GueChecksum::Full,
                Some(Opt::TunnelRemoteChecksum) => GueChecksum::Remote,
                _ => GueChecksum::None,
            },
        }),
        ("gre", _) => Ok(Tunnel::Gre {
            checksum: line.has(Opt::TunnelChecksum),
        }),
        _ => Ok(Tunnel::Ipip),
    }
}

fn netmask(line: &Line, text: &str) -> Result<String, Refusal> {
    if line.is_ipv6() {
        let fits = number(text, 1, 128).is_some();
        return fits
            .then(|| text.to_owned())
            .ok_or_else(|| Refusal::usage("illegal ipv6 netmask specified"));
    }
    text.parse::<std::net::Ipv4Addr>()
        .map(|mask| mask.to_string())
        .map_err(|_| Refusal::usage("illegal virtual server persistent mask specified"))
}

/// A server without a port has the service's; with direct routing and tunnels it always has.
fn server(line: &Line, text: &str) -> Result<SocketAddr, Refusal> {
    let mut server = names::endpoint(text, line.transport())
        .ok_or_else(|| Refusal::usage("illegal real server address[:port] specified"))?;
    if server.is_ipv6() != line.is_ipv6() && line.method != ForwardingMethod::Tunnel {
        return Err(Refusal::usage(
            "Different address family is allowed only for tunneling servers",
        ));
    }
    if let Some(Target::Address { address, .. }) = line.target {
        let fixed = matches!(line.verb, Verb::AddServer | Verb::EditServer)
            && line.method != ForwardingMethod::Masq;
        if fixed || server.port() == 0 {
            server.set_port(address.port());
        }
    }
    Ok(server)
}
