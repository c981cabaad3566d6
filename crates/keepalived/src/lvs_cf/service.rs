//! `virtual NAME { ... }` and its servers, with what nanny did for them.

use super::{Device, device, switch, text::unescape};
use crate::{note::Notes, tree::Statement, value::parsed};
use config::{Netmask, Persistence, Server, Service};
use health::{Aim, Check, Kind, OnFailure, Pattern, Policy, Script, SorryServer, Timing, Udp};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use types::{ForwardingMethod, Mark, Protocol, Scheduler, ServiceKey, Weight};

const WORDS: &[&str] = &[
    "active",
    "address",
    "vip_nmask",
    "fwmark",
    "port",
    "persistent",
    "pmask",
    "send",
    "expect",
    "use_regex",
    "send_program",
    "expect_program",
    "load_monitor",
    "scheduler",
    "protocol",
    "timeout",
    "reentry",
    "quiesce_server",
    "sorry_server",
    "hard_shutdown",
    "server",
];

const SERVER_WORDS: &[&str] = &["address", "active", "weight", "port"];

/// nanny's own, in seconds, where nothing is said.
const TIMEOUT_S: u32 = 10;

/// What a block says, before all of it is known.
struct Block {
    active: bool,
    device: Option<Device>,
    mark: u32,
    port: u16,
    protocol: Protocol,
    scheduler: Scheduler,
    persistent_s: u32,
    pmask: Option<String>,
    send: Option<String>,
    expect: Option<String>,
    regex: bool,
    program: Option<String>,
    /// Who tells the servers' load.
    load: Option<Load>,
    timeout_s: u32,
    reentry_s: u32,
    quiesce: bool,
    sorry: Option<IpAddr>,
    servers: Vec<Real>,
}

/// What a server's load is asked by.
#[derive(Clone, Copy)]
enum Load {
    Rup,
    Ruptime,
}

struct Real {
    name: String,
    address: IpAddr,
    port: Option<u16>,
    weight: u32,
}

/// Its service, unless it is switched off, and the virtual address with its device. `None`: it is no service, which is noted.
pub(super) fn read(
    statement: &Statement,
    method: Option<ForwardingMethod>,
    notes: &mut Notes,
) -> Option<(Option<Service>, Option<Device>)> {
    let name = statement.arguments().join(" ");
    if name.is_empty() || statement.block.is_none() {
        notes.wrong(statement, "write `virtual NAME { ... }`");
        return None;
    }
    let mut block = Block {
        active: true,
        device: None,
        mark: 0,
        port: 0,
        protocol: Protocol::Tcp,
        scheduler: Scheduler::Wlc,
        persistent_s: 0,
        pmask: None,
        send: None,
        expect: None,
        regex: false,
        program: None,
        load: None,
        timeout_s: TIMEOUT_S,
        reentry_s: 0,
        quiesce: false,
        sorry: None,
        servers: Vec::new(),
    };
    for inner in statement.inner() {
        block.word(inner, notes);
    }
    let Some(device) = block.device.clone() else {
        notes.wrong(statement, "it has no address");
        return None;
    };
    if !block.active {
        notes.mapped(
            statement,
            "it is not active, and is left out: there are no inactive services here",
        );
        return Some((None, None));
    }
    let Some(method) = method else {
        notes.wrong(
            statement,
            "the file has no `network`: nat, direct or tunnel, for all servers",
        );
        return None;
    };
    notes.exact(statement);
    let mut service = block.service(statement, device.address, method, notes);
    service.name = Some(name);
    Some((Some(service), Some(device)))
}

impl Block {
    fn word(&mut self, inner: &Statement, notes: &mut Notes) {
        match inner.keyword() {
            "active" => set(&mut self.active, switch(inner, notes), inner, notes),
            "address" => {
                self.device = device(inner, notes);
                if self.device.is_some() {
                    notes.exact(inner);
                }
            }
            "vip_nmask" => notes.harmless(inner, "prefixes are those of the ports' addresses"),
            "fwmark" => {
                if let Some(mark) = parsed(inner, "a mark", notes) {
                    self.mark = mark;
                    match mark {
                        0 => notes.exact(inner),
                        _ => notes.mapped(
                            inner,
                            "marks are set by [[mark]] rules: `tarpon convert iptables` makes them of the firewall's",
                        ),
                    }
                }
            }
            "port" => set(&mut self.port, parsed(inner, "a port", notes), inner, notes),
            "protocol" => {
                let protocol = match inner.argument(0) {
                    Some("tcp") => Some(Protocol::Tcp),
                    Some("udp") => Some(Protocol::Udp),
                    _ => {
                        notes.wrong(inner, "it is tcp or udp");
                        None
                    }
                };
                set(&mut self.protocol, protocol, inner, notes);
            }
            "scheduler" => {
                let scheduler = parsed(inner, "a scheduler; wlc is used", notes);
                set(&mut self.scheduler, scheduler, inner, notes);
            }
            "persistent" => {
                let seconds = parsed(inner, "a number of seconds", notes);
                set(&mut self.persistent_s, seconds, inner, notes);
            }
            "pmask" => self.text(inner, |block| &mut block.pmask, notes),
            "send" => self.text(inner, |block| &mut block.send, notes),
            "expect" => self.text(inner, |block| &mut block.expect, notes),
            "use_regex" => set(&mut self.regex, switch(inner, notes), inner, notes),
            "send_program" => {
                self.text(inner, |block| &mut block.program, notes);
            }
            "expect_program" => {
                notes.unsupported(inner, "what the program prints is compared with `expect`");
            }
            "load_monitor" => match inner.argument(0) {
                None | Some("none") => notes.exact(inner),
                Some(word @ ("rup" | "ruptime")) => {
                    self.load = Some(match word {
                        "rup" => Load::Rup,
                        _ => Load::Ruptime,
                    });
                    notes.mapped(
                        inner,
                        format!("/usr/bin/{word} is run for each server; the weight is divided by the load, if that is above 1"),
                    );
                }
                Some(_) => notes.unsupported(
                    inner,
                    "weights stay as written; a check `script` with `load_weight` or `dynamic` can set them",
                ),
            },
            "timeout" => {
                if let Some(seconds) = parsed::<u32>(inner, "a number of seconds", notes) {
                    self.timeout_s = seconds.clamp(1, 86_400);
                    notes.mapped(
                        inner,
                        "checked twice within it, so that a server is down when it has not answered for so long",
                    );
                }
            }
            "reentry" => {
                if let Some(seconds) = parsed::<u32>(inner, "a number of seconds", notes) {
                    self.reentry_s = seconds.min(86_400);
                    notes.mapped(
                        inner,
                        "a server that answers again is back at once, and grows to its weight within that time (slow_start)",
                    );
                }
            }
            "quiesce_server" => set(&mut self.quiesce, switch(inner, notes), inner, notes),
            "sorry_server" => {
                if let Some(address) = parsed(inner, "an address", notes) {
                    self.sorry = Some(address);
                    notes.exact(inner);
                }
            }
            "hard_shutdown" => notes.unsupported(
                inner,
                "what becomes of a dead server's connections is up to `on_removal` of the service",
            ),
            "server" => self.servers.extend(server(inner, notes)),
            _ => notes.unknown(inner, "virtual", WORDS),
        }
    }

    /// A value of one or more words; an empty one is as none.
    fn text(
        &mut self,
        inner: &Statement,
        slot: fn(&mut Self) -> &mut Option<String>,
        notes: &mut Notes,
    ) {
        let text = inner.arguments().join(" ");
        *slot(self) = (!text.is_empty()).then_some(text);
        notes.exact(inner);
    }

    fn service(
        &self,
        statement: &Statement,
        address: IpAddr,
        method: ForwardingMethod,
        notes: &mut Notes,
    ) -> Service {
        let family = match address {
            IpAddr::V4(_) => types::Family::Ipv4,
            IpAddr::V6(_) => types::Family::Ipv6,
        };
        let key = match self.mark {
            0 => ServiceKey::Address {
                protocol: self.protocol,
                address: SocketAddr::new(address, self.port),
            },
            mark => ServiceKey::Mark {
                mark: Mark(mark),
                family,
            },
        };
        let mut service = Service::new(key);
        service.scheduler = self.scheduler;
        service.method = method;
        if self.persistent_s > 0 {
            let any = SocketAddr::new(address, 0);
            let netmask = self.pmask.as_deref().map(|mask| Netmask::parse(mask, &any));
            let netmask = netmask.transpose().unwrap_or_else(|why| {
                notes.wrong(statement, format!("pmask: {why}"));
                None
            });
            service.persistence = Some(Persistence {
                timeout_s: self.persistent_s,
                netmask: netmask.unwrap_or_else(|| Netmask::whole(&any)),
            });
        }
        // Only address translation changes the port, and that of packets with a mark is any.
        let port = |own: Option<u16>| match (method, self.mark) {
            (ForwardingMethod::Masq, 0) => own.unwrap_or(self.port),
            (ForwardingMethod::Masq, _) => own.unwrap_or(0),
            (_, 0) => self.port,
            _ => 0,
        };
        let mut policy = Policy::new();
        policy.checks.extend(self.check(statement, method, notes));
        policy.slow_start = Duration::from_secs(self.reentry_s.into());
        if self.quiesce {
            policy.on_failure = OnFailure::Quiesce;
        }
        policy.sorry_server = self.sorry.map(|ip| SorryServer {
            inhibit: false,
            address: SocketAddr::new(ip, port(None)),
            method,
        });
        for real in &self.servers {
            let address = SocketAddr::new(real.address, port(real.port));
            if service.servers.iter().any(|s| s.address == address) {
                notes.wrong(statement, format!("{address} is named twice"));
                continue;
            }
            // Its own port counts for its checks, also where packets keep the service's.
            let own = real.port.unwrap_or(self.port);
            if own != address.port() && own != 0 {
                let mut checks = policy.checks.clone();
                for check in checks.iter_mut().filter(|check| check.kind.has_port()) {
                    check.port = Some(own);
                }
                policy.servers.entry(address).or_default().checks = Some(checks);
            }
            if let Some(load) = self.load {
                let own = &mut policy.servers.entry(address).or_default().checks;
                let own = own.get_or_insert_with(|| policy.checks.clone());
                own.push(self.load_check(load, real));
            }
            service.servers.push(Server {
                weight: Weight(real.weight),
                ..Server::new(address, method)
            });
        }
        service.health = policy;
        service
    }

    /// nanny's load monitor: it says nothing about the server but its weight.
    fn load_check(&self, load: Load, server: &Real) -> Check {
        let command = match load {
            Load::Rup => ["/usr/bin/rup", "%h"],
            Load::Ruptime => ["/usr/bin/ruptime", server.name.as_str()],
        };
        let pause = Duration::from_secs(self.timeout_s.into());
        Check {
            kind: Kind::Script(Script {
                command: command.map(str::to_owned).to_vec(),
                user: health::UNPRIVILEGED.into(),
                dynamic: false,
                load_weight: Some(server.weight.clamp(1, 65_535)),
                expect: None,
            }),
            timing: Timing {
                delay_loop: pause,
                timeout: pause,
                ..Timing::default()
            },
            address: None,
            port: None,
            bind: health::Bind::default(),
            aim: None,
            detour: None,
        }
    }

    /// nanny's check: a connection; what is sent, or a program's output, and what must come back.
    fn check(
        &self,
        statement: &Statement,
        method: ForwardingMethod,
        notes: &mut Notes,
    ) -> Option<Check> {
        let expect = match self.expect.as_deref().map(unescape).as_deref() {
            None => None,
            Some("*") => Some("(?s).".parse()),
            Some(text) if self.regex => Some(text.parse()),
            Some(text) => Some(Pattern::beginning_with(text)),
        };
        let expect = match expect.transpose() {
            Ok(pattern) => pattern,
            Err(why) => {
                notes.unsupported(statement, format!("expect is not looked for: {why}"));
                None
            }
        };
        let kind = match (&self.program, self.protocol) {
            (Some(program), _) => Kind::Script(Script {
                command: crate::value::command(program),
                user: health::UNPRIVILEGED.into(),
                dynamic: false,
                load_weight: None,
                expect,
            }),
            (None, Protocol::Udp) => {
                if expect.is_some() {
                    notes.mapped(
                        statement,
                        "of a UDP server any answer will do: `reply` of its check can ask for more",
                    );
                }
                Kind::Udp(Udp {
                    payload: self
                        .send
                        .as_deref()
                        .map(unescape)
                        .unwrap_or_default()
                        .into(),
                    reply: None,
                })
            }
            _ => Kind::Tcp {
                send: self.send.as_deref().map(unescape),
                expect,
            },
        };
        let half = Duration::from_millis(u64::from(self.timeout_s) * 500);
        Some(Check {
            timing: Timing {
                delay_loop: half,
                timeout: half,
                retry: 1,
                delay_before_retry: half,
                ..Timing::default()
            },
            address: None,
            port: None,
            bind: health::Bind::default(),
            // As nanny does, under direct routing too.
            aim: (kind.has_port() && method != ForwardingMethod::Masq).then_some(Aim::Server),
            detour: None,
            kind,
        })
    }
}

fn set<T>(slot: &mut T, value: Option<T>, inner: &Statement, notes: &mut Notes) {
    if let Some(value) = value {
        *slot = value;
        notes.exact(inner);
    }
}

/// A server, unless it is switched off.
fn server(statement: &Statement, notes: &mut Notes) -> Option<Real> {
    let (mut address, mut active) = (None, true);
    let (mut weight, mut port) = (1, None);
    for inner in statement.inner() {
        match inner.keyword() {
            "address" => set(
                &mut address,
                parsed(inner, "an address", notes).map(Some),
                inner,
                notes,
            ),
            "active" => set(&mut active, switch(inner, notes), inner, notes),
            "weight" => set(&mut weight, parsed(inner, "a weight", notes), inner, notes),
            "port" => set(
                &mut port,
                parsed(inner, "a port", notes).map(Some),
                inner,
                notes,
            ),
            _ => notes.unknown(inner, "server", SERVER_WORDS),
        }
    }
    let Some(address) = address else {
        notes.wrong(statement, "it has no address");
        return None;
    };
    match active {
        true => notes.exact(statement),
        false => notes.mapped(
            statement,
            "it is not active, and is left out: `tarpon server add` brings it in",
        ),
    }
    active.then_some(Real {
        name: statement.arguments().join(" "),
        address,
        port,
        weight,
    })
}
