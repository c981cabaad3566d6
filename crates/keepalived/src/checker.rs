//! `TCP_CHECK { ... }` and the others.

use crate::{
    Context, bfd,
    note::Notes,
    track,
    tree::Statement,
    value::{command, flag, hex, lasting, parsed, refused, timer},
};
use health::{
    Bind, Check, Http, Kind, NumberFile, Pattern, Script, Timing, Tls, UNPRIVILEGED, Udp,
    dns::Record, reply::Expected,
};
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// The blocks there are.
pub(crate) const BLOCKS: &[&str] = &[
    "HTTP_GET",
    "SSL_GET",
    "TCP_CHECK",
    "SMTP_CHECK",
    "DNS_CHECK",
    "MISC_CHECK",
    "UDP_CHECK",
    "PING_CHECK",
    "FILE_CHECK",
    "BFD_CHECK",
];

/// How often a file is looked at.
const WATCH: Duration = Duration::from_millis(250);

/// A `track_file` block as real servers see it.
#[derive(Clone, Debug)]
pub(crate) struct TrackFile {
    pub path: PathBuf,
    pub weight: i32,
}

/// What virtual server, real server and checker hand down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    delay_loop: Option<Duration>,
    timeout: Option<Duration>,
    retry: Option<u32>,
    pause: Option<Duration>,
    warmup: Option<Duration>,
    alpha: Option<bool>,
    pub inhibit: Option<bool>,
    virtualhost: Option<String>,
}

impl Defaults {
    /// Takes a word that is handed down. False: it is none.
    pub fn take(&mut self, inner: &Statement, notes: &mut Notes) -> bool {
        let well = match inner.keyword() {
            "delay_loop" => put(&mut self.delay_loop, lasting(inner, notes)),
            "connect_timeout" => put(&mut self.timeout, lasting(inner, notes)),
            "retry" | "nb_get_retry" => {
                put(&mut self.retry, parsed(inner, "a whole number", notes))
            }
            "delay_before_retry" => put(&mut self.pause, timer(inner, notes)),
            "warmup" => put(&mut self.warmup, timer(inner, notes)),
            "alpha" => put(&mut self.alpha, flag(inner, notes)),
            "inhibit_on_failure" => put(&mut self.inhibit, flag(inner, notes)),
            "virtualhost" => put(&mut self.virtualhost, inner.argument(0).map(str::to_owned)),
            _ => return false,
        };
        match (well, inner.keyword()) {
            (false, _) => {}
            (true, "nb_get_retry") => notes.mapped(inner, "the old word for `retry`"),
            (true, _) => notes.exact(inner),
        }
        true
    }

    /// keepalived's defaults where nothing is said: of DNS_CHECK and MISC_CHECK they are others.
    fn timing(&self, kind: &str) -> Timing {
        let delay_loop = self.delay_loop.unwrap_or(Duration::from_secs(60));
        let (retry, pause) = match kind {
            "DNS_CHECK" => (3, delay_loop),
            "MISC_CHECK" => (0, Duration::from_secs(1)),
            "HTTP_GET" | "SSL_GET" => (1, Duration::from_secs(3)),
            _ => (1, Duration::from_secs(1)),
        };
        Timing {
            delay_loop: delay_loop.max(Duration::from_millis(10)),
            timeout: self
                .timeout
                .unwrap_or(Duration::from_secs(5))
                .max(Duration::from_millis(10)),
            retry: self.retry.unwrap_or(retry),
            delay_before_retry: self.pause.unwrap_or(pause),
            // As it does, observed side by side.
            retry_when_down: matches!(kind, "TCP_CHECK" | "SMTP_CHECK"),
            rise: 1,
            warmup: self.warmup,
            alpha: self.alpha.unwrap_or(false),
        }
    }
}

fn put<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let well = value.is_some();
    if well {
        *slot = value;
    }
    well
}

pub(crate) fn is_checker(statement: &Statement) -> bool {
    let word = statement.keyword();
    word == "HTTP_GET" || word == "SSL_GET" || word.ends_with("_CHECK")
}

/// Who is asked, and from where.
#[derive(Clone, Default)]
struct Endpoint {
    address: Option<IpAddr>,
    port: Option<u16>,
    bind: Bind,
}

/// What a checker says besides what it inherits.
#[derive(Default)]
struct Words {
    address: Option<IpAddr>,
    port: Option<u16>,
    bind: Bind,
    /// `host` blocks of SMTP_CHECK: each is asked.
    hosts: Vec<Endpoint>,
    urls: Vec<Http>,
    version_1_1: bool,
    fast_recovery: bool,
    sni: bool,
    sni_name: Option<String>,
    helo: Option<String>,
    record: Option<Record>,
    name: Option<String>,
    command: Vec<String>,
    user: Option<String>,
    dynamic: bool,
    timeout: Option<Duration>,
    payload: Vec<u8>,
    reply: Option<Vec<(u8, u8)>>,
    min: usize,
    max: Option<usize>,
    file: Option<TrackFile>,
    weight: Option<i32>,
}

/// The checks a checker comes to: one, or one for each of its pages.
pub(crate) fn read(
    statement: &Statement,
    inherited: &Defaults,
    context: &Context,
    notes: &mut Notes,
) -> Vec<Check> {
    let kind = statement.keyword();
    if kind == "BFD_CHECK" {
        return bfd::check(statement, inherited.alpha, context, notes);
    }
    match kind {
        "HTTP_GET" | "SSL_GET" | "TCP_CHECK" | "SMTP_CHECK" | "DNS_CHECK" | "PING_CHECK"
        | "UDP_CHECK" | "FILE_CHECK" => {
            notes.exact(statement);
        }
        "MISC_CHECK" => notes.mapped(
            statement,
            "never runs as root unless `user` or `script_user` says so",
        ),
        _ => {
            notes.unknown(statement, "real_server", BLOCKS);
            return Vec::new();
        }
    }
    let mut defaults = inherited.clone();
    let mut words = Words::default();
    for inner in statement.inner() {
        if !defaults.take(inner, notes) {
            words.take(kind, inner, context, notes);
        }
    }
    let mut timing = defaults.timing(kind);
    if kind == "FILE_CHECK" {
        // There the kernel tells of a change.
        timing = Timing {
            delay_loop: WATCH,
            timeout: Duration::from_secs(1),
            retry: 0,
            delay_before_retry: WATCH,
            warmup: Some(Duration::ZERO),
            ..timing
        };
    }
    if kind == "MISC_CHECK" {
        timing.timeout = words.timeout.unwrap_or(timing.delay_loop);
    }
    let mut hosts = std::mem::take(&mut words.hosts);
    if hosts.is_empty() {
        hosts.push(words.endpoint());
    }
    let fast_recovery = words.fast_recovery;
    let kinds = words.kinds(kind, statement, &defaults, context, notes);
    if matches!(kind, "HTTP_GET" | "SSL_GET") && !fast_recovery {
        // One page in turn, and after the last the first once more: only then is the server back.
        timing.rise = u32::try_from(kinds.len()).map_or(1, |pages| pages + 1);
    }
    let each = |kind: Kind| {
        hosts.iter().map(move |host| Check {
            kind: kind.clone(),
            timing,
            address: host.address,
            port: host.port,
            bind: host.bind.clone(),
            aim: None,
            detour: None,
        })
    };
    kinds.into_iter().flat_map(each).collect()
}

impl Words {
    fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.address,
            port: self.port,
            bind: self.bind.clone(),
        }
    }

    fn take(&mut self, kind: &str, inner: &Statement, context: &Context, notes: &mut Notes) {
        let web = matches!(kind, "HTTP_GET" | "SSL_GET");
        let text = || inner.argument(0).map(str::to_owned);
        let well = match (kind, inner.keyword()) {
            (_, "connect_ip") => put(&mut self.address, parsed(inner, "an address", notes)),
            (_, "connect_port") => put(&mut self.port, parsed(inner, "a port", notes)),
            ("MISC_CHECK" | "FILE_CHECK", "bindto" | "bind_if" | "bind_port" | "fwmark") => {
                return notes.harmless(inner, "nothing is connected to");
            }
            (_, "bindto") => put(&mut self.bind.address, parsed(inner, "an address", notes)),
            (_, "bind_if") => put(&mut self.bind.interface, text()),
            ("PING_CHECK", "bind_port") => return notes.harmless(inner, "a ping has no port"),
            (_, "bind_port") => put(&mut self.bind.port, parsed(inner, "a port", notes)),
            (_, "fwmark") => put(&mut self.bind.mark, parsed(inner, "a mark", notes)),
            (_, "log_all_failures") => {
                return notes.harmless(inner, "`tarpon health` shows the last failure");
            }
            (_, "url") if web => {
                notes.exact(inner);
                let page = url(inner, notes);
                self.urls.push(page);
                return;
            }
            (_, "http_protocol") if web => {
                self.version_1_1 = inner.argument(0) == Some("1.1");
                return match inner.argument(0) {
                    Some("1.1" | "1.0C" | "1.0c") => notes.exact(inner),
                    Some("1.0") => notes.mapped(inner, "`Connection: close` is always sent"),
                    _ => notes.wrong(inner, "it is 1.0, 1.0C or 1.1"),
                };
            }
            (_, "fast_recovery") if web => flag(inner, notes)
                .map(|on| self.fast_recovery = on)
                .is_some(),
            ("SSL_GET", "enable_sni") => flag(inner, notes).map(|on| self.sni = on).is_some(),
            ("SSL_GET", "sni_name") => put(&mut self.sni_name, text()),
            ("SMTP_CHECK", "helo_name") => put(&mut self.helo, text()),
            ("SMTP_CHECK", "host") => {
                notes.mapped(inner, "an old form: each host is a check");
                let common = self.endpoint();
                for word in inner.inner() {
                    self.take(kind, word, context, notes);
                }
                self.hosts.push(self.endpoint());
                Endpoint {
                    address: self.address,
                    port: self.port,
                    bind: self.bind,
                } = common;
                return;
            }
            ("DNS_CHECK", "type") => {
                put(&mut self.record, text().and_then(|text| text.parse().ok()))
            }
            ("DNS_CHECK", "name") => put(
                &mut self.name,
                text().filter(|name| health::dns::is_name(name)),
            ),
            ("MISC_CHECK", "misc_path") => {
                self.command = match inner.arguments() {
                    [single] => command(single),
                    many => many.to_vec(),
                };
                self.command
                    .first()
                    .is_some_and(|path| path.starts_with('/'))
            }
            ("MISC_CHECK", "misc_timeout") => {
                // 0 is the default, delay_loop, there.
                let timeout = timer(inner, notes);
                self.timeout = timeout.filter(|timeout| !timeout.is_zero());
                timeout.is_some()
            }
            ("MISC_CHECK", "misc_dynamic") => {
                self.dynamic = true;
                true
            }
            ("MISC_CHECK", "user") => put(&mut self.user, text()),
            ("UDP_CHECK", "payload") => {
                let bytes = hex(inner.arguments()).and_then(|hex| health::reply::Hex(hex).bytes());
                bytes.map(|bytes| self.payload = bytes).is_some()
            }
            ("UDP_CHECK", "require_reply") => put(&mut self.reply, hex(inner.arguments())),
            ("UDP_CHECK", "min_reply_length") => parsed(inner, "a length", notes)
                .map(|n| self.min = n)
                .is_some(),
            ("UDP_CHECK", "max_reply_length") => {
                put(&mut self.max, parsed(inner, "a length", notes))
            }
            ("FILE_CHECK", "track_file") => {
                let name = text().unwrap_or_default();
                put(&mut self.file, context.files.get(&name).cloned())
            }
            ("FILE_CHECK", "weight") => match track::file_weight(inner, notes) {
                Some(weight) => {
                    self.weight = Some(weight);
                    return;
                }
                None => return,
            },
            ("FILE_CHECK", "dynamic") => {
                let why = "keepalived 2.2 does not know it either: the file's number always counts, by its weight";
                return notes.harmless(inner, why);
            }
            _ => {
                let common = [
                    "connect_ip",
                    "connect_port",
                    "bindto",
                    "connect_timeout",
                    "retry",
                    "delay_before_retry",
                    "warmup",
                    "url",
                    "misc_path",
                    "misc_timeout",
                    "misc_dynamic",
                    "helo_name",
                    "payload",
                    "require_reply",
                    "track_file",
                    "enable_sni",
                    "http_protocol",
                ];
                return notes.unknown(inner, kind, &common);
            }
        };
        if well {
            notes.exact(inner);
        } else if notes
            .found
            .last()
            .is_none_or(|note| note.place != inner.place)
        {
            refused(inner, notes);
        }
    }

    fn kinds(
        self,
        kind: &str,
        statement: &Statement,
        defaults: &Defaults,
        context: &Context,
        notes: &mut Notes,
    ) -> Vec<Kind> {
        let lacks = |what: &str, notes: &mut Notes| {
            notes.wrong(statement, format!("it has no {what}, and checks nothing"));
            Vec::new()
        };
        match kind {
            "HTTP_GET" | "SSL_GET" => {
                if self.urls.is_empty() {
                    return lacks("`url`", notes);
                }
                let mut kinds: Vec<Kind> = Vec::new();
                for mut page in self.urls {
                    page.version_1_1 = self.version_1_1;
                    page.host = page.host.or_else(|| defaults.virtualhost.clone());
                    if kind == "SSL_GET" {
                        let sni = self.sni_name.clone().filter(|_| self.sni);
                        let identity = context.identity.0.clone().zip(context.identity.1.clone());
                        page.tls = Some(Tls {
                            sni,
                            ca: None,
                            identity,
                        });
                    }
                    let one = Kind::Http(page);
                    if !kinds.contains(&one) {
                        kinds.push(one);
                    }
                }
                kinds
            }
            "TCP_CHECK" => vec![Kind::Tcp {
                send: None,
                expect: None,
            }],
            "SMTP_CHECK" => vec![Kind::Smtp {
                helo: self.helo.unwrap_or_else(|| "localhost".into()),
            }],
            "DNS_CHECK" => vec![Kind::Dns {
                name: self.name.unwrap_or_else(|| ".".into()),
                record: self.record.unwrap_or(Record::SOA),
            }],
            "PING_CHECK" => vec![Kind::Ping],
            "UDP_CHECK" => vec![Kind::Udp(Udp {
                payload: self.payload,
                reply: self.reply.map(|begins| Expected {
                    begins,
                    min: self.min,
                    max: self.max.unwrap_or(255),
                }),
            })],
            "FILE_CHECK" => match self.file {
                Some(file) => vec![Kind::File(NumberFile {
                    path: file.path,
                    weight: self.weight.unwrap_or(file.weight),
                    missing_is_zero: true,
                })],
                None => lacks("`track_file`", notes),
            },
            _ if self.command.is_empty() => lacks("`misc_path`", notes),
            _ => vec![Kind::Script(Script {
                command: self.command,
                user: self
                    .user
                    .or_else(|| context.script_user.clone())
                    .unwrap_or_else(|| UNPRIVILEGED.into()),
                dynamic: self.dynamic,
                load_weight: None,
                expect: None,
            })],
        }
    }
}

/// `url { ... }`
fn url(statement: &Statement, notes: &mut Notes) -> Http {
    let mut page = Http::default();
    let mut options = String::new();
    let mut pattern = None;
    let mut reversed = false;
    // Where a match may begin.
    let (mut min, mut max) = (0_usize, None);
    for inner in statement.inner() {
        let text = inner.argument(0).unwrap_or_default();
        let well = match inner.keyword() {
            "path" => {
                page.path = text.to_owned();
                text.starts_with('/')
            }
            "digest" => {
                let digest = text
                    .parse()
                    .ok()
                    .and_then(|hex: health::reply::Hex| hex.bytes()?.try_into().ok());
                put(&mut page.digest, digest)
            }
            "status_code" => {
                let ranges: Option<Vec<(u16, u16)>> =
                    inner.arguments().iter().map(|text| range(text)).collect();
                ranges
                    .filter(|r| !r.is_empty())
                    .map(|r| page.status = r)
                    .is_some()
            }
            "virtualhost" => put(&mut page.host, Some(text.to_owned())),
            "regex" => {
                pattern = Some((inner, text.to_owned()));
                continue;
            }
            "regex_no_match" => {
                reversed = true;
                true
            }
            "regex_options" => {
                for word in inner.arguments() {
                    options.push_str(match word.as_str() {
                        "caseless" => "i",
                        "multiline" => "m",
                        "dotall" => "s",
                        "extended" => "x",
                        "ungreedy" => "U",
                        _ => "",
                    });
                }
                notes.mapped(
                    inner,
                    "caseless, multiline, dotall, extended and ungreedy count",
                );
                continue;
            }
            "regex_stack" => {
                notes.harmless(inner, "patterns need no stack here");
                continue;
            }
            "regex_min_offset" | "regex_max_offset" => {
                let offset: Option<usize> = parsed(inner, "a number of bytes", notes);
                let Some(offset) = offset else {
                    continue;
                };
                match inner.keyword() {
                    "regex_min_offset" => min = offset,
                    _ => max = Some(offset).filter(|offset| *offset > 0),
                }
                true
            }
            "tls_compliant" => {
                notes.harmless(inner, "an end of TLS without goodbye is taken anyway");
                continue;
            }
            _ => {
                let known = [
                    "path",
                    "digest",
                    "status_code",
                    "virtualhost",
                    "regex",
                    "regex_no_match",
                    "regex_options",
                    "regex_stack",
                    "regex_min_offset",
                    "regex_max_offset",
                ];
                notes.unknown(inner, "url", &known);
                continue;
            }
        };
        if well {
            notes.exact(inner);
        } else {
            refused(inner, notes);
        }
    }
    if let Some((inner, text)) = pattern {
        let mut whole = match options.is_empty() {
            true => text,
            false => format!("(?{options}){text}"),
        };
        if min > 0 || max.is_some() {
            let max = max.map_or_else(String::new, |max| max.to_string());
            whole = format!("\\A(?s-u:.){{{min},{max}}}(?:{whole})");
        }
        match whole.parse::<Pattern>() {
            Ok(pattern) => {
                notes.exact(inner);
                *(if reversed {
                    &mut page.body_not
                } else {
                    &mut page.body
                }) = Some(pattern);
            }
            Err(why) => notes.unsupported(
                inner,
                format!(
                    "this pattern is not looked for: {}",
                    why.trim_start_matches("error: ")
                ),
            ),
        }
    }
    page
}

/// `200`, `200-299`
fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = (from.parse().ok()?, to.parse().ok()?);
    (100 <= range.0 && range.0 <= range.1 && range.1 <= 599).then_some(range)
}
