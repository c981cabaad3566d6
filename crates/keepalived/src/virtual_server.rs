//! `virtual_server`

use crate::{
    Context,
    checker::Defaults,
    group::Member,
    note::Notes,
    server, tell,
    tree::Statement,
    value::{command, parsed, refuse_endpoint},
};
use config::{Netmask, Persistence, Server, Service};
use health::{OnFailure, SorryServer};
use std::net::{IpAddr, SocketAddr};
use types::{
    Family, ForwardingMethod, Mark, PersistenceEngine, Protocol, Scheduler, SchedulerFlag,
    ServiceKey, Tunnel,
};

/// `persistence_timeout` without a number (keepalived.conf(5): 6 minutes).
const PERSISTENCE_S: u32 = 360;

/// Words of the block, for hints.
const WORDS: &[&str] = &[
    "ip_family",
    "retry",
    "delay_before_retry",
    "warmup",
    "connect_timeout",
    "delay_loop",
    "inhibit_on_failure",
    "lb_algo",
    "lvs_sched",
    "hashed",
    "ops",
    "flag-1",
    "flag-2",
    "flag-3",
    "sh-port",
    "sh-fallback",
    "mh-port",
    "mh-fallback",
    "lb_kind",
    "lvs_method",
    "persistence_engine",
    "persistence_timeout",
    "persistence_granularity",
    "protocol",
    "ha_suspend",
    "smtp_alert",
    "virtualhost",
    "snmp_name",
    "alpha",
    "omega",
    "quorum_up",
    "quorum_down",
    "quorum",
    "hysteresis",
    "weight",
    "sorry_server",
    "sorry_server_inhibit",
    "sorry_server_lvs_method",
    "real_server",
];

/// What a block says, before it is known of which services.
struct Block {
    scheduler: Scheduler,
    flags: Vec<SchedulerFlag>,
    one_packet: bool,
    method: ForwardingMethod,
    tunnel: Tunnel,
    protocol: Option<Protocol>,
    family: Option<Family>,
    persistent_s: Option<u32>,
    netmask: Option<String>,
    engine: Option<PersistenceEngine>,
    defaults: Defaults,
    weight: u32,
    sorry: Option<(IpAddr, u16)>,
    sorry_method: Option<ForwardingMethod>,
    sorry_inhibit: bool,
}

pub(crate) fn read(statement: &Statement, context: &Context, notes: &mut Notes) -> Vec<Service> {
    let Some(wanted) = members(statement, context, notes) else {
        for inner in statement.inner() {
            notes.wrong(inner, "");
        }
        return Vec::new();
    };
    notes.exact(statement);
    let mut policy = health::Policy::new();
    policy.init_notifies = context.init_notifies;
    if let Some(user) = &context.script_user {
        user.clone_into(&mut policy.notify_user);
    }
    let block = block(statement, &mut policy, notes);
    let blocks: Vec<server::Block> = statement
        .inner()
        .iter()
        .filter(|inner| inner.keyword() == "real_server")
        .filter_map(|inner| {
            server::read(
                inner,
                &block.defaults,
                (block.method, block.tunnel, block.weight),
                context,
                notes,
            )
        })
        .collect();
    let by_address = wanted.iter().any(|m| matches!(m, Member::Address(_)));
    let protocol = block.protocol.unwrap_or_else(|| match by_address {
        true => unnamed_protocol(statement, &blocks, notes),
        false => Protocol::Tcp,
    });
    attainable(statement, &mut policy, &blocks, notes);
    let family = block.family.unwrap_or_else(|| match blocks.first() {
        Some(server) if server.ip.is_ipv6() && server.method != ForwardingMethod::Tunnel => {
            Family::Ipv6
        }
        _ => Family::Ipv4,
    });
    let programs = [&policy.quorum_up, &policy.quorum_down];
    let of_servers = |block: &server::Block| {
        !(block.own.notify_up.is_empty() && block.own.notify_down.is_empty())
    };
    if wanted.len() > 1 && (programs.iter().any(|p| !p.is_empty()) || blocks.iter().any(of_servers))
    {
        notes.mapped_after_all(
            statement,
            "programs are told of the first address or mark only",
        );
    }
    let silent: Vec<server::Block> = blocks.iter().map(server::Block::without_programs).collect();
    (0..)
        .zip(wanted)
        .map(|(number, member)| {
            let mut policy = policy.clone();
            let blocks = match number {
                0 => &blocks,
                // There a group is one, and so told of once.
                _ => {
                    policy.quorum_up.clear();
                    policy.quorum_down.clear();
                    &silent
                }
            };
            let key = match member {
                Member::Mark(mark, of) => ServiceKey::Mark {
                    mark: Mark(mark),
                    family: of.unwrap_or(family),
                },
                Member::Address(address) => ServiceKey::Address { protocol, address },
            };
            service(statement, key, &block, policy, blocks, notes)
        })
        .collect()
}

/// Of a virtual server that names none: UDP in keepalived 2, TCP in keepalived 1.
fn unnamed_protocol(
    statement: &Statement,
    blocks: &[server::Block],
    notes: &mut Notes,
) -> Protocol {
    let mut checks = blocks
        .iter()
        .flat_map(|block| block.own.checks.iter().flatten());
    let tcp = checks.any(|check| matches!(check.kind.word(), "tcp" | "http" | "https" | "smtp"));
    let (protocol, why) = match tcp {
        true => (
            Protocol::Tcp,
            "it is TCP here, as its checks are, and in keepalived 1; in keepalived 2 it is UDP",
        ),
        false => (
            Protocol::Udp,
            "it is UDP, as in keepalived 2; in keepalived 1 it was TCP",
        ),
    };
    notes.mapped_after_all(statement, &format!("no `protocol` is named: {why}"));
    protocol
}

/// A quorum of more than all servers together weigh is lowered to that, as keepalived does.
fn attainable(
    statement: &Statement,
    policy: &mut health::Policy,
    blocks: &[server::Block],
    notes: &mut Notes,
) {
    let all: u64 = blocks.iter().map(|block| u64::from(block.weight.0)).sum();
    let most = u32::try_from(all).unwrap_or(u32::MAX).max(1);
    if policy.quorum > most {
        policy.quorum = most;
        let mut words = statement.inner().iter();
        if let Some(word) = words.rfind(|word| word.keyword() == "quorum") {
            notes.mapped_after_all(
                word,
                &format!("its servers weigh {most} together, so it is {most}, as there"),
            );
        }
    }
    policy.hysteresis = policy.hysteresis.min(policy.quorum - 1);
}

/// Which services the block is about.
fn members(statement: &Statement, context: &Context, notes: &mut Notes) -> Option<Vec<Member>> {
    let second = statement.argument(1);
    match statement.argument(0) {
        Some("fwmark") => {
            let mark = second
                .and_then(|text| text.parse().ok())
                .filter(|mark| *mark > 0);
            if mark.is_none() {
                notes.wrong(statement, "a mark is a number from 1");
            }
            Some(vec![Member::Mark(mark?, None)])
        }
        Some("group") => {
            let name = second.unwrap_or_default();
            let group = context.groups.get(name);
            if group.is_none() {
                notes.wrong(
                    statement,
                    format!("there is no virtual_server_group {name:?}"),
                );
            }
            Some(group?.members.clone())
        }
        first => {
            let ip = first.and_then(|text| text.parse().ok());
            let port = second.map_or(Some(0), |text| text.parse().ok());
            let write = "`virtual_server ADDRESS [PORT]`, `fwmark NUMBER` or `group NAME`";
            refuse_endpoint((first, ip), (second, port), statement, write, notes);
            Some(vec![Member::Address(SocketAddr::new(ip?, port?))])
        }
    }
}

fn block(statement: &Statement, policy: &mut health::Policy, notes: &mut Notes) -> Block {
    let mut block = Block {
        scheduler: Scheduler::Wlc,
        flags: Vec::new(),
        one_packet: false,
        method: ForwardingMethod::Masq,
        tunnel: Tunnel::Ipip,
        protocol: None,
        family: None,
        persistent_s: None,
        netmask: None,
        engine: None,
        defaults: Defaults::default(),
        weight: 1,
        sorry: None,
        sorry_method: None,
        sorry_inhibit: false,
    };
    for inner in statement.inner() {
        if inner.keyword() != "real_server" && !block.defaults.take(inner, notes) {
            block.word(inner, policy, notes);
        }
    }
    for flag in &mut block.flags {
        *flag = flag.beside(block.scheduler);
    }
    block.flags.retain(|flag| flag.fits(block.scheduler));
    block
}

impl Block {
    fn word(&mut self, inner: &Statement, policy: &mut health::Policy, notes: &mut Notes) {
        match inner.keyword() {
            "lb_algo" | "lvs_sched" => self.scheduler(inner, notes),
            "lb_kind" | "lvs_method" => {
                if let Some(method) = method(inner, notes) {
                    (self.method, self.tunnel) = method;
                }
            }
            "sorry_server_lvs_method" => {
                if let Some((method, tunnel)) = method(inner, notes) {
                    self.sorry_method = Some(method);
                    if tunnel != Tunnel::Ipip {
                        notes.unsupported_after_all(
                            inner,
                            "to the sorry server tunnels are IP in IP",
                        );
                    }
                }
            }
            "protocol" => {
                let text = inner.argument(0).unwrap_or_default();
                match text.to_ascii_lowercase().parse() {
                    Ok(protocol) => {
                        self.protocol = Some(protocol);
                        notes.exact(inner);
                    }
                    Err(_) => notes.wrong(
                        inner,
                        format!("{text:?} is no protocol here: write TCP, UDP or SCTP"),
                    ),
                }
            }
            "ip_family" => {
                self.family = match inner.argument(0) {
                    Some("inet") => Some(Family::Ipv4),
                    Some("inet6") => Some(Family::Ipv6),
                    _ => return notes.wrong(inner, "it is inet or inet6"),
                };
                notes.exact(inner);
            }
            "persistence_timeout" => {
                if inner.arguments().is_empty() {
                    self.persistent_s = Some(PERSISTENCE_S);
                    notes.exact(inner);
                } else if let Some(seconds) = parsed(inner, "a number of seconds", notes) {
                    self.persistent_s = Some(seconds);
                    notes.exact(inner);
                }
            }
            "persistence_granularity" => {
                self.netmask = inner.argument(0).map(str::to_owned);
                notes.exact(inner);
            }
            "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback" => {
                self.flags.extend(inner.keyword().parse::<SchedulerFlag>());
                notes.exact(inner);
            }
            "flag-1" | "flag-2" | "flag-3" | "hashed" => self.numbered_flag(inner, notes),
            "weight" => {
                if let Some(weight) = parsed(inner, "a weight", notes) {
                    self.weight = weight;
                    notes.exact(inner);
                }
            }
            "sorry_server" => {
                let ip = inner.argument(0).and_then(|text| text.parse().ok());
                let port = inner.argument(1).map_or(Some(0), |text| text.parse().ok());
                match (ip, port) {
                    (Some(ip), Some(port)) => {
                        self.sorry = Some((ip, port));
                        notes.mapped(
                            inner,
                            "servers that are still up keep their connections while it serves",
                        );
                    }
                    _ => notes.wrong(inner, "write `sorry_server ADDRESS [PORT]`"),
                }
            }
            "sorry_server_inhibit" => {
                self.sorry_inhibit = true;
                notes.exact(inner);
            }
            "quorum" => {
                if let Some(quorum) = parsed::<u32>(inner, "a sum of weights", notes) {
                    policy.quorum = quorum.max(1);
                    notes.exact(inner);
                }
            }
            "hysteresis" => {
                if let Some(hysteresis) = parsed(inner, "a sum of weights", notes) {
                    policy.hysteresis = hysteresis;
                    notes.exact(inner);
                }
            }
            "omega" => {
                policy.omega = true;
                notes.exact(inner);
            }
            "quorum_up" => policy.quorum_up = script(inner, policy, notes),
            "quorum_down" => policy.quorum_down = script(inner, policy, notes),
            "smtp_alert" => tell::alert(inner, notes),
            "snmp_name" => notes.harmless(inner, "there is no SNMP"),
            "ha_suspend" => notes.harmless(
                inner,
                "checks go on on a standby, so that it knows the servers when it takes over",
            ),
            "nat_mask" | "net_mask" => notes.harmless(inner, "keepalived ignores it too"),
            "ops" => {
                self.one_packet = true;
                notes.exact(inner);
            }
            "persistence_engine" => {
                let name = inner.argument(0).unwrap_or_default();
                match name.parse() {
                    Ok(engine) => {
                        self.engine = Some(engine);
                        notes.exact(inner);
                    }
                    Err(why) => notes.wrong(inner, why),
                }
            }
            _ => notes.unknown(inner, "virtual_server", WORDS),
        }
    }

    fn scheduler(&mut self, inner: &Statement, notes: &mut Notes) {
        let text = inner.argument(0).unwrap_or_default();
        match text.parse() {
            Ok(scheduler) => {
                self.scheduler = scheduler;
                notes.exact(inner);
            }
            Err(_) => notes.wrong(
                inner,
                format!("there is no scheduler {text:?}; wlc is used"),
            ),
        }
    }

    /// ipvsadm's numbers of the flags; what they are called shows when the scheduler is known.
    fn numbered_flag(&mut self, inner: &Statement, notes: &mut Notes) {
        self.flags.push(match inner.keyword() {
            "flag-1" => SchedulerFlag::Flag1,
            "flag-3" => SchedulerFlag::Flag3,
            _ => SchedulerFlag::Flag2,
        });
        notes.exact(inner);
    }
}

/// Who runs the service's programs; one for all of them.
fn script(inner: &Statement, policy: &mut health::Policy, notes: &mut Notes) -> Vec<String> {
    let words = command(inner.argument(0).unwrap_or_default());
    if !words.first().is_some_and(|path| path.starts_with('/')) {
        notes.wrong(inner, "it does not begin with the path of a program");
        return Vec::new();
    }
    if let Some(user) = inner.argument(1) {
        user.clone_into(&mut policy.notify_user);
    }
    notes.mapped(
        inner,
        format!("runs as {}, never as root unless told", policy.user()),
    );
    words
}

/// `NAT`, `DR` or `TUN [type {ipip|gue port NUM|gre} [nocsum|csum|remcsum]]`.
pub(crate) fn method(inner: &Statement, notes: &mut Notes) -> Option<(ForwardingMethod, Tunnel)> {
    let text = inner.argument(0).unwrap_or_default();
    let method = match text.to_ascii_uppercase().as_str() {
        "NAT" => ForwardingMethod::Masq,
        "DR" => ForwardingMethod::Route,
        "TUN" => ForwardingMethod::Tunnel,
        _ => {
            notes.wrong(inner, format!("{text:?} is neither NAT, DR nor TUN"));
            return None;
        }
    };
    let tunnel = match inner.arguments().get(1..).unwrap_or_default() {
        [] => Tunnel::Ipip,
        [word, kind @ ..] if word == "type" && method == ForwardingMethod::Tunnel => {
            // Written here as `gue:6080:csum`.
            let words: Vec<&str> = kind.iter().map(String::as_str).collect();
            let words: Vec<&str> = words.into_iter().filter(|w| *w != "port").collect();
            match words.join(":").parse() {
                Ok(tunnel) => tunnel,
                Err(why) => {
                    notes.wrong(inner, why);
                    return None;
                }
            }
        }
        _ => {
            notes.wrong(
                inner,
                "behind TUN may stand: type ipip, type gre or type gue port NUMBER, then csum, nocsum or remcsum",
            );
            return None;
        }
    };
    match text.chars().any(char::is_lowercase) {
        true => notes.mapped(inner, "keepalived takes it in capitals only"),
        false => notes.exact(inner),
    }
    Some((method, tunnel))
}

fn service(
    statement: &Statement,
    key: ServiceKey,
    block: &Block,
    mut policy: health::Policy,
    blocks: &[server::Block],
    notes: &mut Notes,
) -> Service {
    let port = key.port();
    if block.defaults.inhibit == Some(true) {
        policy.on_failure = OnFailure::Quiesce;
    }
    // Only address translation changes the port; a service on every port, or by mark, leaves it as it is.
    let fitting = |own: u16, method: ForwardingMethod| match (method, key) {
        (ForwardingMethod::Masq, ServiceKey::Mark { .. }) => own,
        (ForwardingMethod::Masq, _) if port != 0 && own != 0 => own,
        _ => port,
    };
    let mut service = Service::new(key);
    for server in blocks {
        let address = SocketAddr::new(server.ip, fitting(server.port, server.method));
        if service.servers.iter().any(|s| s.address == address) {
            let text = format!(
                "its server {address} is named twice: the first counts, take the other out"
            );
            notes.wrong(statement, text);
            continue;
        }
        let mut own = server.own.clone();
        for check in own.checks.iter_mut().flatten() {
            // As keepalived does, under direct routing too.
            if check.kind.has_port()
                && check.address.is_none()
                && server.method != ForwardingMethod::Masq
            {
                check.aim = Some(health::Aim::Server);
            }
            // The real server's port counts for its checks, also where packets keep the service's.
            if check.kind.has_port()
                && check.port.is_none()
                && server.port != 0
                && server.port != address.port()
            {
                check.port = Some(server.port);
            }
        }
        service.servers.push(Server {
            weight: server.weight,
            upper_threshold: server.upper,
            lower_threshold: server.lower,
            tunnel: server.tunnel,
            ..Server::new(address, server.method)
        });
        if own != health::ServerPolicy::default() {
            policy.servers.insert(address, own);
        }
    }
    service.scheduler = block.scheduler;
    service.scheduler_flags.clone_from(&block.flags);
    service.scheduler_flags.sort_unstable();
    service.scheduler_flags.dedup();
    service.persistence_engine = block.engine;
    service.one_packet = block.one_packet;
    service.method = block.method;
    policy.sorry_server = block.sorry.map(|(ip, own)| {
        let method = block.sorry_method.unwrap_or(block.method);
        SorryServer {
            address: SocketAddr::new(ip, fitting(own, method)),
            method,
            inhibit: block.sorry_inhibit,
        }
    });
    service.persistence = persistence(statement, key, block, notes);
    service.health = policy;
    service
}

fn persistence(
    statement: &Statement,
    key: ServiceKey,
    block: &Block,
    notes: &mut Notes,
) -> Option<Persistence> {
    let mut timeout_s = block.persistent_s.filter(|seconds| *seconds > 0);
    if timeout_s.is_none()
        && matches!(key, ServiceKey::Address { address, .. } if address.port() == 0)
    {
        notes.mapped_after_all(
            statement,
            &format!("port 0 is every port, for persistent clients only: they are for {PERSISTENCE_S} s, as there"),
        );
        timeout_s = Some(PERSISTENCE_S);
    }
    let timeout_s = timeout_s?;
    let family = match key.family() {
        Family::Ipv4 => SocketAddr::from(([0, 0, 0, 0], 0)),
        Family::Ipv6 => SocketAddr::from(([0; 16], 0)),
    };
    let netmask = match &block.netmask {
        None => Netmask::whole(&family),
        Some(text) => Netmask::parse(text, &family).unwrap_or_else(|why| {
            notes.wrong(statement, format!("persistence_granularity: {why}"));
            Netmask::whole(&family)
        }),
    };
    Some(Persistence { timeout_s, netmask })
}
