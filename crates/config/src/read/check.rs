//! `[[service.check]]` and `[[service.server.check]]`
//!
//! Every key is read whatever the type, so that one that belongs to another type can be named as such.

use super::{
    health::program,
    section::{Reader, Section, Wrong},
    value::{alternatives, flag, integer, parsed, seconds, text, word as one_of},
};
use crate::PortRange;
use health::{
    Aim, Bfd, Bind, Check, Http, Kind, NumberFile, Pattern, Script, Timing, Tls, UNPRIVILEGED, Udp,
    bfd::Settings,
    dns::{Record, is_name},
    reply::{Expected, Hex},
};
use std::{net::IpAddr, path::PathBuf, time::Duration};
use toml::de::DeValue;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(10);

/// Types of checks that are made over and over, with pauses between.
const MADE: &[&str] = &[
    "tcp", "http", "https", "script", "ping", "udp", "dns", "smtp", "file",
];

/// Keys of some types only.
const OF_TYPES: &[(&str, &[&str])] = &[
    (
        "address",
        &[
            "tcp", "http", "https", "script", "ping", "udp", "dns", "smtp", "bfd",
        ],
    ),
    ("delay_loop", MADE),
    ("retry", MADE),
    ("delay_before_retry", MADE),
    ("retry_when_down", MADE),
    ("rise", MADE),
    ("warmup", MADE),
    (
        "port",
        &["tcp", "http", "https", "script", "udp", "dns", "smtp"],
    ),
    ("target", &["tcp", "http", "https", "udp", "dns", "smtp"]),
    (
        "bind",
        &["tcp", "http", "https", "ping", "udp", "dns", "smtp", "bfd"],
    ),
    ("bind_port", &["tcp", "http", "https", "udp", "dns", "smtp"]),
    (
        "bind_interface",
        &["tcp", "http", "https", "ping", "udp", "dns", "smtp"],
    ),
    (
        "mark",
        &["tcp", "http", "https", "ping", "udp", "dns", "smtp"],
    ),
    ("send", &["tcp"]),
    ("expect", &["tcp", "script"]),
    ("path", &["http", "https", "file"]),
    ("host", &["http", "https"]),
    ("version", &["http", "https"]),
    ("status", &["http", "https"]),
    ("body", &["http", "https"]),
    ("body_not", &["http", "https"]),
    ("digest", &["http", "https"]),
    ("sni", &["https"]),
    ("ca", &["https"]),
    ("certificate", &["https"]),
    ("key", &["https"]),
    ("command", &["script"]),
    ("user", &["script"]),
    ("dynamic", &["script"]),
    ("load_weight", &["script"]),
    ("file_weight", &["file"]),
    ("missing_is_zero", &["file"]),
    ("payload", &["udp"]),
    ("reply", &["udp"]),
    ("min_length", &["udp"]),
    ("max_length", &["udp"]),
    ("name", &["dns"]),
    ("record", &["dns"]),
    ("helo", &["smtp"]),
    ("min_tx", &["bfd"]),
    ("min_rx", &["bfd"]),
    ("multiplier", &["bfd"]),
    ("multihop", &["bfd"]),
    ("max_hops", &["bfd"]),
    ("passive", &["bfd"]),
];

pub(super) fn check(reader: &mut Reader, section: &mut Section<'_>) -> Option<Check> {
    let types = alternatives(Kind::WORDS.iter().copied());
    let word = section.need(reader, "type", &types, |v| {
        let text = v.as_str().ok_or(None)?;
        let found = Kind::WORDS.iter().find(|word| **word == text);
        found.copied().ok_or(None)
    });
    let timing = timing(reader, section);
    let address = "an address, like \"10.1.0.11\"";
    let address = section.get(reader, "address", address, parsed::<IpAddr>);
    let port = section.get(reader, "port", "a port, like 8081", integer(1..=u16::MAX));
    let own = "the director's address to check from, like \"10.1.0.1\"";
    let bind = Bind {
        address: section.get(reader, "bind", own, parsed::<IpAddr>),
        port: section.get(
            reader,
            "bind_port",
            "the port to check from, like 40000",
            integer(1..=u16::MAX),
        ),
        interface: section.get(
            reader,
            "bind_interface",
            "the name of a [[port]] or of an interface of the host, like \"lan\"",
            interface,
        ),
        mark: section.get(
            reader,
            "mark",
            "a mark of the host's firewall, from 1 to 4294967295",
            integer(1..=u32::MAX),
        ),
    };
    let aims = alternatives(Aim::WORDS.iter().map(|(word, _)| *word));
    let aim = section.get(reader, "target", &aims, one_of(Aim::WORDS));
    let keys = Keys::read(reader, section);
    let word = word?;
    for (key, types) in OF_TYPES {
        if section.has(key) && !types.contains(&word) {
            reader.report(
                section.position_of(key),
                &format!("{}.{key}", section.path()),
                format!("a check of type {word:?} has no `{key}`"),
                format!(
                    "leave it out; it is for {}",
                    alternatives(types.iter().copied())
                ),
            );
        }
    }
    let kind = keys.kind(reader, section, word)?;
    Some(Check {
        kind,
        timing,
        address,
        port,
        bind,
        aim,
        detour: None,
    })
}

fn timing(reader: &mut Reader, section: &mut Section<'_>) -> Timing {
    let default = Timing::default();
    let from_moment = "seconds from 0.01 to 3600, like 5 or 0.5";
    let from_zero = "seconds from 0 to 3600, like 1 or 0.5";
    let delay_loop = section.get(reader, "delay_loop", from_moment, seconds(MOMENT..=HOUR));
    let timeout = section.get(reader, "timeout", from_moment, seconds(MOMENT..=HOUR));
    let retry = "a whole number from 0 to 1000, like 1";
    let retry = section.get(reader, "retry", retry, integer(0..=1000));
    let pause = section.get(
        reader,
        "delay_before_retry",
        from_zero,
        seconds(Duration::ZERO..=HOUR),
    );
    let repeated = section.get(reader, "retry_when_down", "true or false", flag);
    let rise = "a whole number from 1 to 1000, like 1";
    let rise = section.get(reader, "rise", rise, integer(1..=1000));
    let warmup = section.get(reader, "warmup", from_zero, seconds(Duration::ZERO..=HOUR));
    let alpha = section.get(reader, "alpha", "true or false", flag);
    Timing {
        delay_loop: delay_loop.unwrap_or(default.delay_loop),
        timeout: timeout.unwrap_or(default.timeout),
        retry: retry.unwrap_or(default.retry),
        delay_before_retry: pause.unwrap_or(default.delay_before_retry),
        retry_when_down: repeated.unwrap_or(default.retry_when_down),
        rise: rise.unwrap_or(default.rise),
        warmup,
        alpha: alpha.unwrap_or(default.alpha),
    }
}

/// Keys that some types have.
struct Keys {
    send: Option<String>,
    expect: Option<Pattern>,
    path: Option<String>,
    host: Option<String>,
    version_1_1: Option<bool>,
    status: Option<Vec<PortRange>>,
    body: Option<Pattern>,
    body_not: Option<Pattern>,
    digest: Option<[u8; 16]>,
    sni: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    command: Vec<String>,
    user: Option<String>,
    dynamic: Option<bool>,
    load_weight: Option<u32>,
    weight: Option<i32>,
    missing_is_zero: Option<bool>,
    payload: Option<Vec<u8>>,
    reply: Option<Vec<(u8, u8)>>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    name: Option<String>,
    record: Option<Record>,
    helo: Option<String>,
    session: Bfd,
}

impl Keys {
    fn read(reader: &mut Reader, section: &mut Section<'_>) -> Self {
        let regex = "a regular expression, like \"^OK\"";
        let a_file = "the whole path of a PEM file";
        let length = "a number of bytes up to 65535, like 255";
        Self {
            send: section.get(reader, "send", "a text, like \"PING\\r\\n\"", text),
            expect: section.get(reader, "expect", regex, pattern),
            path: section.get(reader, "path", "a path, like \"/health\"", |v| {
                let text = text(v)?;
                let fits = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
                fits.then_some(text).ok_or(None)
            }),
            host: section.get(reader, "host", "a name, like \"www.example\"", line),
            version_1_1: section.get(reader, "version", "\"1.0\" or \"1.1\"", |v| {
                match v.as_str() {
                    Some("1.0") => Ok(false),
                    Some("1.1") => Ok(true),
                    _ => Err(None),
                }
            }),
            status: section.list(
                reader,
                "status",
                (
                    "a status or a range, like 200 or \"200-299\"",
                    "200, \"300-399\"",
                ),
                status,
            ),
            body: section.get(reader, "body", regex, pattern),
            body_not: section.get(reader, "body_not", regex, pattern),
            digest: section.get(reader, "digest", "the MD5 as 32 hexadecimal digits", |v| {
                let hex: Hex = v.as_str().ok_or(None)?.parse().map_err(|()| None)?;
                let bytes = hex.bytes().ok_or(None)?;
                bytes.try_into().map_err(|_| None)
            }),
            sni: section.get(reader, "sni", "a name, like \"www.example\"", line),
            ca: section.get(reader, "ca", a_file, whole_path),
            certificate: section.get(reader, "certificate", a_file, whole_path),
            key: section.get(reader, "key", a_file, whole_path),
            command: program(reader, section, "command"),
            user: section.get(reader, "user", "the name of a user, like \"nobody\"", line),
            dynamic: section.get(reader, "dynamic", "true or false", flag),
            load_weight: section.get(
                reader,
                "load_weight",
                "the weight at a load of 1, from 1 to 65535, like 100",
                integer(1..=65_535),
            ),
            weight: section.get(
                reader,
                "file_weight",
                "a whole number from -2147483647 to 2147483647, like 1",
                integer(-i32::MAX..=i32::MAX),
            ),
            missing_is_zero: section.get(reader, "missing_is_zero", "true or false", flag),
            payload: section.get(
                reader,
                "payload",
                "hexadecimal digits, like \"48 49\"",
                |v| {
                    let hex: Hex = v.as_str().ok_or(None)?.parse().map_err(|()| None)?;
                    hex.bytes().ok_or(None)
                },
            ),
            reply: section.get(
                reader,
                "reply",
                "hexadecimal digits, X for any, like \"4X 49\"; or true for any reply",
                |v| match v {
                    DeValue::Boolean(true) => Ok(Vec::new()),
                    other => {
                        let hex: Hex = other.as_str().ok_or(None)?.parse().map_err(|()| None)?;
                        Ok(hex.0)
                    }
                },
            ),
            min_length: section.get(reader, "min_length", length, integer(0..=65_535_usize)),
            max_length: section.get(reader, "max_length", length, integer(0..=65_535_usize)),
            name: section.get(reader, "name", "a domain name, like \"www.example\"", |v| {
                let text = text(v)?;
                is_name(&text).then_some(text).ok_or(None)
            }),
            record: section.get(
                reader,
                "record",
                &alternatives(Record::ALL.iter().map(|r| r.name())),
                |v| v.as_str().ok_or(None)?.parse().map_err(|()| None),
            ),
            helo: section.get(reader, "helo", "a name, like \"lb.example\"", line),
            session: session(reader, section),
        }
    }

    /// What the check does; `None`: it lacks something, which is reported.
    fn kind(self, reader: &mut Reader, section: &Section<'_>, word: &str) -> Option<Kind> {
        Some(match word {
            "tcp" => Kind::Tcp {
                send: self.send,
                expect: self.expect,
            },
            "http" => Kind::Http(self.http(None)),
            "https" => {
                let identity = match (&self.certificate, &self.key) {
                    (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
                    (None, None) => None,
                    _ => {
                        lacks(
                            reader,
                            section,
                            "`certificate` and `key` belong together",
                            "write both, or neither",
                        );
                        None
                    }
                };
                let tls = Tls {
                    sni: self.sni.clone(),
                    ca: self.ca.clone(),
                    identity,
                };
                Kind::Http(self.http(Some(tls)))
            }
            "script" => {
                if self.command.is_empty() {
                    if !section.has("command") {
                        let instead = "add `command`: the program and its arguments, like [\"/usr/local/bin/check\", \"%h\"]";
                        lacks(
                            reader,
                            section,
                            "`command` is missing in [[service.check]]",
                            instead,
                        );
                    }
                    return None;
                }
                for (key, both) in [
                    ("dynamic", self.dynamic == Some(true)),
                    ("expect", self.expect.is_some()),
                ] {
                    if both && self.load_weight.is_some() {
                        lacks(
                            reader,
                            section,
                            &format!("`{key}` and `load_weight` in one check"),
                            "write one of them, or two checks: a load says nothing else about the server",
                        );
                    }
                }
                Kind::Script(Script {
                    load_weight: self.load_weight,
                    command: self.command,
                    user: self.user.unwrap_or_else(|| UNPRIVILEGED.into()),
                    dynamic: self.dynamic.unwrap_or(false),
                    expect: self.expect,
                })
            }
            "ping" => Kind::Ping,
            "udp" => Kind::Udp(self.udp(reader, section)),
            "dns" => Kind::Dns {
                name: self.name.unwrap_or_else(|| ".".into()),
                record: self.record.unwrap_or(Record::SOA),
            },
            "smtp" => Kind::Smtp {
                helo: self.helo.unwrap_or_else(|| "localhost".into()),
            },
            "bfd" => Kind::Bfd(self.session),
            _ => {
                if self.path.is_none() && !section.has("path") {
                    let instead = "add `path`: a file with a number, 0 when all is well";
                    lacks(
                        reader,
                        section,
                        "`path` is missing in [[service.check]]",
                        instead,
                    );
                }
                Kind::File(NumberFile {
                    path: self.path?.into(),
                    weight: self.weight.unwrap_or(0),
                    missing_is_zero: self.missing_is_zero.unwrap_or(false),
                })
            }
        })
    }

    fn http(self, tls: Option<Tls>) -> Http {
        let default = Http::default();
        let status = self
            .status
            .map(|ranges| ranges.iter().map(|r| (r.0, r.1)).collect());
        Http {
            tls,
            path: self.path.unwrap_or(default.path),
            host: self.host,
            version_1_1: self.version_1_1.unwrap_or(default.version_1_1),
            status: status
                .filter(|s: &Vec<_>| !s.is_empty())
                .unwrap_or(default.status),
            body: self.body,
            body_not: self.body_not,
            digest: self.digest,
        }
    }

    fn udp(self, reader: &mut Reader, section: &Section<'_>) -> Udp {
        let begins = self.reply.unwrap_or_default();
        let min = self.min_length.unwrap_or(0);
        let max = self.max_length.unwrap_or(65_535);
        let measured = self.min_length.is_some() || self.max_length.is_some();
        let wanted = section.has("reply");
        if measured && !wanted {
            let instead = "write reply = true, or leave the lengths out";
            lacks(
                reader,
                section,
                "a length without `reply` does nothing",
                instead,
            );
        } else if min > max || begins.len() > max {
            let what = format!(
                "no reply has {min} to {max} bytes and begins with {}",
                begins.len()
            );
            lacks(reader, section, &what, "write lengths that fit");
        }
        Udp {
            payload: self.payload.unwrap_or_default(),
            reply: wanted.then_some(Expected { begins, min, max }),
        }
    }
}

fn lacks(reader: &mut Reader, section: &Section<'_>, what: &str, instead: &str) {
    reader.report(section.position_of(""), section.path(), what, instead);
}

fn pattern(value: &DeValue<'_>) -> Result<Pattern, Wrong> {
    let text = value.as_str().ok_or(None)?;
    let short: String = text.chars().take(60).collect();
    text.parse().map_err(|why: String| {
        Some(format!(
            "{short:?} is no regular expression ({})",
            why.trim_start_matches("error: ")
        ))
    })
}

/// What may stand in a line of a protocol.
fn line(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(text).ok_or(None)
}

/// An interface's name as the kernel takes it.
fn interface(value: &DeValue<'_>) -> Result<String, Wrong> {
    let name = line(value)?;
    let fits = name.len() <= 15 && !name.contains('/');
    fits.then_some(name).ok_or(None)
}

fn whole_path(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    let text = text(value)?;
    text.starts_with('/').then(|| text.into()).ok_or(None)
}

fn status(value: &DeValue<'_>) -> Result<PortRange, Wrong> {
    let range = match value {
        DeValue::Integer(_) => {
            let status = integer(100..=599)(value)?;
            PortRange(status, status)
        }
        other => other.as_str().ok_or(None)?.parse().map_err(|()| None)?,
    };
    ((100..=599).contains(&range.0) && range.1 <= 599)
        .then_some(range)
        .ok_or(None)
}

/// A BFD session's intervals, and from how far its packets may come.
pub(super) fn session(reader: &mut Reader, section: &mut Section<'_>) -> Bfd {
    let interval = "seconds from 0.01 to 60, like 0.3";
    let default = Settings::default();
    let settings = Settings {
        min_tx: section
            .get(reader, "min_tx", interval, seconds(MOMENT..=MINUTE))
            .unwrap_or(default.min_tx),
        min_rx: section
            .get(reader, "min_rx", interval, seconds(MOMENT..=MINUTE))
            .unwrap_or(default.min_rx),
        multiplier: section
            .get(
                reader,
                "multiplier",
                "a whole number from 1 to 255, like 3",
                integer(1..=255),
            )
            .unwrap_or(default.multiplier),
        passive: default.passive,
    };
    let multihop = section
        .get(reader, "multihop", "true or false", flag)
        .unwrap_or(false);
    let max_hops = section.get(
        reader,
        "max_hops",
        "a number of routers from 0 to 255, which is any number",
        integer(0..=255),
    );
    let passive = section.get(reader, "passive", "true or false", flag);
    Bfd {
        multihop,
        max_hops: max_hops.unwrap_or(if multihop { 255 } else { 0 }),
        settings: Settings {
            passive: passive.unwrap_or(default.passive),
            ..settings
        },
    }
}
