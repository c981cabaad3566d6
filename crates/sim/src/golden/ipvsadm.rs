//! The `ipvsadm` commands recordings contain, carried out on a list of services in the engine's words.
//!
//! Only what recordings need; the whole of ipvsadm is the CLI's business.

use engine::model::{Persistence, Server, Service, ServiceKey, Settings};
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;
use types::{
    Family, ForwardingMethod, Mark, PersistenceEngine, Protocol, Scheduler, SchedulerFlags, Tunnel,
    Weight,
};

/// Why a command was not carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommandError {
    /// ipvsadm itself would refuse, with this message and exit status 255.
    #[error("{0}")]
    Refused(&'static str),
    /// Not supported by this replay (yet): the recording cannot be compared from here on.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// The services as the commands so far have left them, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Services with their servers.
    pub services: Vec<Service>,
}

const NO_SERVICE: CommandError = CommandError::Refused("No such service");
const SERVICE_EXISTS: CommandError = CommandError::Refused("Service already exists");
const NO_ENGINE: CommandError = CommandError::Refused("Scheduler or persistence engine not found");
const NO_DESTINATION: CommandError = CommandError::Refused("No such destination");
const DESTINATION_EXISTS: CommandError = CommandError::Refused("Destination already exists");

struct Line<'a> {
    verb: &'a str,
    key: Option<ServiceKey>,
    server: Option<&'a str>,
    scheduler: Option<&'a str>,
    flags: Option<&'a str>,
    persistence_s: Option<u32>,
    netmask: Option<&'a str>,
    engine: Option<&'a str>,
    one_packet: bool,
    method: Option<ForwardingMethod>,
    weight: Option<u32>,
    upper: u32,
    lower: u32,
    timeouts: Option<[u32; 3]>,
    /// Type, port and checksum option.
    tunnel: [Option<&'a str>; 3],
}

impl Line<'_> {
    fn tunnel(&self) -> Result<Tunnel, CommandError> {
        let text = self.tunnel.iter().flatten().copied().collect::<Vec<_>>();
        if text.is_empty() {
            return Ok(Tunnel::Ipip);
        }
        text.join(":").parse().map_err(CommandError::Unsupported)
    }
}

impl Table {
    /// Carries out the words after `ipvsadm`.
    ///
    /// # Errors
    /// What ipvsadm would refuse, and what is not supported here.
    pub fn run(&mut self, words: &[&str], settings: &mut Settings) -> Result<(), CommandError> {
        let line = parse(words)?;
        match line.verb {
            "-A" => self.add_service(&line),
            "-E" => self.edit_service(&line),
            "-D" => {
                let index = self.position(&line)?;
                self.services.remove(index);
                Ok(())
            }
            "-C" => {
                self.services.clear();
                Ok(())
            }
            "-a" => self.add_server(&line),
            "-e" => self.edit_server(&line),
            "-d" => {
                let (service, index) = self.server(&line)?;
                service.servers.remove(index);
                Ok(())
            }
            "--set" => {
                let [tcp, fin, udp] = line.timeouts.ok_or_else(|| unsupported(words))?;
                set(&mut settings.timeout_tcp_s, tcp);
                set(&mut settings.timeout_tcp_fin_s, fin);
                set(&mut settings.timeout_udp_s, udp);
                Ok(())
            }
            _ => Err(unsupported(words)),
        }
    }

    fn position(&self, line: &Line<'_>) -> Result<usize, CommandError> {
        self.services
            .iter()
            .position(|s| Some(s.key) == line.key)
            .ok_or(NO_SERVICE)
    }

    fn server(&mut self, line: &Line<'_>) -> Result<(&mut Service, usize), CommandError> {
        let index = self.position(line)?;
        let service = &mut self.services[index];
        let address = server_address(&service.key, line)?;
        let found = service
            .servers
            .iter()
            .position(|s| s.address == address)
            .ok_or(NO_DESTINATION)?;
        Ok((service, found))
    }

    fn add_service(&mut self, line: &Line<'_>) -> Result<(), CommandError> {
        if self.position(line).is_ok() {
            return Err(SERVICE_EXISTS);
        }
        let key = line.key.ok_or(NO_SERVICE)?;
        let scheduler = scheduler(line.scheduler.unwrap_or("wlc"))?;
        self.services.push(Service {
            key,
            scheduler,
            flags: flags(scheduler, line.flags)?,
            persistence: persistence(&key, line)?,
            persistence_engine: engine(line)?,
            one_packet: line.one_packet,
            servers: Vec::new(),
        });
        Ok(())
    }

    fn edit_service(&mut self, line: &Line<'_>) -> Result<(), CommandError> {
        let index = self.position(line)?;
        let service = &mut self.services[index];
        service.scheduler = scheduler(line.scheduler.unwrap_or("wlc"))?;
        service.flags = flags(service.scheduler, line.flags)?;
        service.persistence = persistence(&service.key, line)?;
        service.persistence_engine = engine(line)?;
        service.one_packet = line.one_packet;
        Ok(())
    }

    fn add_server(&mut self, line: &Line<'_>) -> Result<(), CommandError> {
        let index = self.position(line)?;
        let service = &mut self.services[index];
        let address = server_address(&service.key, line)?;
        if service.servers.iter().any(|s| s.address == address) {
            return Err(DESTINATION_EXISTS);
        }
        service.servers.push(server(address, line)?);
        Ok(())
    }

    fn edit_server(&mut self, line: &Line<'_>) -> Result<(), CommandError> {
        let (service, index) = self.server(line)?;
        let before = service.servers[index];
        service.servers[index] = Server {
            edits: before.edits.wrapping_add(1),
            ..server(before.address, line)?
        };
        Ok(())
    }
}

fn set(value: &mut u32, to: u32) {
    if to != 0 {
        *value = to;
    }
}

fn unsupported(words: &[&str]) -> CommandError {
    CommandError::Unsupported(format!("ipvsadm {}", words.join(" ")))
}

fn server(address: SocketAddr, line: &Line<'_>) -> Result<Server, CommandError> {
    Ok(Server {
        address,
        method: line.method.unwrap_or(ForwardingMethod::Route),
        weight: Weight(line.weight.unwrap_or(1)),
        tunnel: line.tunnel()?,
        upper_threshold: line.upper,
        lower_threshold: line.lower,
        edits: 0,
    })
}

fn scheduler(name: &str) -> Result<Scheduler, CommandError> {
    name.parse()
        .map_err(|_| CommandError::Unsupported(format!("scheduler {name}")))
}

/// Names of flags, by commas; `flag-1` and so on mean what the scheduler makes of them.
fn flags(scheduler: Scheduler, names: Option<&str>) -> Result<SchedulerFlags, CommandError> {
    let mut all = SchedulerFlags::default();
    let names = names.into_iter().flat_map(|names| names.split(','));
    for name in names.filter(|name| !name.is_empty()) {
        match (name, scheduler) {
            ("flag-1", _) | ("sh-fallback", Scheduler::Sh) | ("mh-fallback", Scheduler::Mh) => {
                all.fallback = true;
            }
            ("flag-2", _) | ("sh-port", Scheduler::Sh) | ("mh-port", Scheduler::Mh) => {
                all.port = true;
            }
            ("flag-3", _) => all.third = true,
            _ => return Err(CommandError::Unsupported(format!("flag {name}"))),
        }
    }
    Ok(all)
}

fn engine(line: &Line<'_>) -> Result<Option<PersistenceEngine>, CommandError> {
    match line.engine {
        None => Ok(None),
        Some(name) => Ok(Some(name.parse().map_err(|_| NO_ENGINE)?)),
    }
}

fn persistence(key: &ServiceKey, line: &Line<'_>) -> Result<Option<Persistence>, CommandError> {
    let v4 = match key {
        ServiceKey::Address { address, .. } => address.is_ipv4(),
        ServiceKey::Mark { family, .. } => *family == Family::Ipv4,
    };
    let netmask = match line.netmask {
        None if v4 => u128::from(u32::MAX),
        None => u128::MAX,
        Some(text) if v4 => text
            .parse::<std::net::Ipv4Addr>()
            .map(|a| u128::from(a.to_bits()))
            .map_err(|_| CommandError::Unsupported(format!("netmask {text}")))?,
        Some(text) => {
            let prefix: u32 = text
                .parse()
                .map_err(|_| CommandError::Unsupported(format!("prefix {text}")))?;
            u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0)
        }
    };
    Ok(line
        .persistence_s
        .map(|timeout_s| Persistence { timeout_s, netmask }))
}

/// A server named without a port has the service's.
fn server_address(key: &ServiceKey, line: &Line<'_>) -> Result<SocketAddr, CommandError> {
    let text = line.server.ok_or(NO_DESTINATION)?;
    let port = match key {
        ServiceKey::Address { address, .. } => address.port(),
        ServiceKey::Mark { .. } => 0,
    };
    // Only NAT can lead to another port than the service's: ipvsadm silently takes that one instead.
    let fixed = matches!(key, ServiceKey::Address { .. })
        && matches!(line.verb, "-a" | "-e")
        && line.method != Some(ForwardingMethod::Masq);
    let named = text.parse::<SocketAddr>().or_else(|_| {
        text.trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .map(|ip| SocketAddr::new(ip, port))
    });
    match named {
        Ok(address) if fixed => Ok(SocketAddr::new(address.ip(), port)),
        Ok(address) => Ok(address),
        Err(_) => Err(CommandError::Unsupported(format!("server {text}"))),
    }
}

/// Long names of options, and their letters.
const NAMES: [(&str, &str); 24] = [
    ("--add-service", "-A"),
    ("--edit-service", "-E"),
    ("--delete-service", "-D"),
    ("--clear", "-C"),
    ("--add-server", "-a"),
    ("--edit-server", "-e"),
    ("--delete-server", "-d"),
    ("--zero", "-Z"),
    ("--tcp-service", "-t"),
    ("--udp-service", "-u"),
    ("--fwmark-service", "-f"),
    ("--ipv6", "-6"),
    ("--real-server", "-r"),
    ("--scheduler", "-s"),
    ("--sched-flags", "-b"),
    ("--persistent", "-p"),
    ("--netmask", "-M"),
    ("--masquerading", "-m"),
    ("--gatewaying", "-g"),
    ("--ipip", "-i"),
    ("--weight", "-w"),
    ("--u-threshold", "-x"),
    ("--l-threshold", "-y"),
    ("--ops", "-o"),
];

/// An option by its letter.
pub(super) fn letter(word: &str) -> &str {
    let named = NAMES.iter().find(|(long, _)| *long == word);
    named.map_or(word, |(_, letter)| letter)
}

/// The service that words like `-t ADDRESS` name.
///
/// # Errors
/// What is not supported here.
pub(super) fn service(words: &[&str]) -> Result<Option<ServiceKey>, CommandError> {
    parse(words).map(|line| line.key)
}

fn parse<'a>(words: &[&'a str]) -> Result<Line<'a>, CommandError> {
    let mut line = Line {
        verb: "",
        key: None,
        server: None,
        scheduler: None,
        flags: None,
        persistence_s: None,
        netmask: None,
        engine: None,
        one_packet: false,
        method: None,
        weight: None,
        upper: 0,
        lower: 0,
        timeouts: None,
        tunnel: [None; 3],
    };
    let mut left = words.iter().copied().peekable();
    while let Some(word) = left.next() {
        // "--weight=3" is "--weight 3".
        let (word, given) = match word.split_once('=') {
            Some((word, value)) if word.starts_with("--") => (word, Some(value)),
            _ => (word, None),
        };
        let word = letter(word);
        let mut value = || {
            given
                .or_else(|| left.next())
                .ok_or_else(|| unsupported(words))
        };
        match word {
            "-A" | "-E" | "-D" | "-C" | "-a" | "-e" | "-d" => line.verb = word,
            "--set" => {
                line.verb = word;
                line.timeouts = Some([number(value()?)?, number(value()?)?, number(value()?)?]);
            }
            "-t" => line.key = Some(address_key(Protocol::Tcp, value()?)?),
            "-u" => line.key = Some(address_key(Protocol::Udp, value()?)?),
            "--sctp-service" => line.key = Some(address_key(Protocol::Sctp, value()?)?),
            "-f" => {
                line.key = Some(ServiceKey::Mark {
                    mark: Mark(number(value()?)?),
                    family: Family::Ipv4,
                })
            }
            "-6" => {
                if let Some(ServiceKey::Mark { family, .. }) = &mut line.key {
                    *family = Family::Ipv6;
                }
            }
            "-r" => line.server = Some(value()?),
            "-s" => line.scheduler = Some(value()?),
            "-b" => line.flags = Some(value()?),
            "-p" => {
                let next = given.or_else(|| left.next_if(|w| w.parse::<u32>().is_ok()));
                line.persistence_s = Some(next.map_or(Ok(360), number)?);
            }
            "-o" => line.one_packet = true,
            "--pe" => line.engine = Some(value()?),
            "-M" => line.netmask = Some(value()?),
            "-m" => line.method = Some(ForwardingMethod::Masq),
            "-g" => line.method = Some(ForwardingMethod::Route),
            "-i" => line.method = Some(ForwardingMethod::Tunnel),
            "--tun-type" => line.tunnel[0] = Some(value()?),
            "--tun-port" => line.tunnel[1] = Some(value()?),
            "--tun-nocsum" => line.tunnel[2] = Some("nocsum"),
            "--tun-csum" => line.tunnel[2] = Some("csum"),
            "--tun-remcsum" => line.tunnel[2] = Some("remcsum"),
            "-w" => line.weight = Some(number(value()?)?),
            "-x" => line.upper = number(value()?)?,
            "-y" => line.lower = number(value()?)?,
            _ => return Err(unsupported(words)),
        }
    }
    Ok(line)
}

fn number(text: &str) -> Result<u32, CommandError> {
    text.parse()
        .map_err(|_| CommandError::Unsupported(format!("number {text}")))
}

fn address_key(protocol: Protocol, text: &str) -> Result<ServiceKey, CommandError> {
    let address = text
        .parse::<SocketAddr>()
        .or_else(|_| {
            text.trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .map(|ip| SocketAddr::new(ip, 0))
        })
        .map_err(|_| CommandError::Unsupported(format!("service {text}")))?;
    Ok(ServiceKey::Address { protocol, address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::PersistenceEngine;

    fn run(table: &mut Table, text: &str) -> Result<(), CommandError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        table.run(&words, &mut Settings::ipvs())
    }

    #[test]
    fn services_and_servers_come_change_and_go() {
        let mut table = Table::default();
        run(
            &mut table,
            "-A -t 10.0.0.100:80 -s rr -p 100 -M 255.255.255.0",
        )
        .unwrap();
        run(&mut table, "-a -t 10.0.0.100:80 -r 10.1.0.11:8080 -m -w 3").unwrap();
        run(&mut table, "-a -t 10.0.0.100:80 -r 10.1.0.12 -i").unwrap();
        let service = &table.services[0];
        assert_eq!(
            service.persistence,
            Some(Persistence {
                timeout_s: 100,
                netmask: 0xffff_ff00,
            })
        );
        assert_eq!(service.servers[1].address.to_string(), "10.1.0.12:80");
        assert_eq!(
            run(&mut table, "-A -t 10.0.0.100:80 -s rr"),
            Err(SERVICE_EXISTS)
        );
        assert_eq!(
            run(&mut table, "-a -t 10.0.0.100:80 -r 10.1.0.12:80 -i"),
            Err(DESTINATION_EXISTS)
        );
        assert_eq!(
            run(&mut table, "-d -t 10.0.0.100:80 -r 10.1.0.13"),
            Err(NO_DESTINATION)
        );
        assert_eq!(run(&mut table, "-D -u 10.0.0.100:80"), Err(NO_SERVICE));
        // Direct routing and tunnels cannot lead to another port.
        assert_eq!(
            run(&mut table, "-e -t 10.0.0.100:80 -r 10.1.0.11:8080 -g -w 0"),
            Err(NO_DESTINATION)
        );
        run(&mut table, "-e -t 10.0.0.100:80 -r 10.1.0.12:99 -g -w 0").unwrap();
        assert_eq!(table.services[0].servers[1].method, ForwardingMethod::Route);
        run(&mut table, "-D -t 10.0.0.100:80").unwrap();
        assert!(table.services.is_empty());
        let with = |name| format!("-A -u 10.0.0.100:5060 -s rr -p 60 --pe {name}");
        assert_eq!(run(&mut table, &with("nosuch")), Err(NO_ENGINE));
        run(&mut table, &with("sip")).unwrap();
        let engine = table.services[0].persistence_engine;
        assert_eq!(engine, Some(PersistenceEngine::Sip));
    }
}
