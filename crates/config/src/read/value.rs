//! Single values, and the words for what is wrong with them.

use super::section::Wrong;
use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};
use toml::de::DeValue;

/// A value as it is shown in a message: short, and with its kind where that is what surprises.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let mut shown: String = text.chars().take(60).collect();
            if shown.len() < text.len() {
                shown.push_str("...");
            }
            format!("the text {shown:?}")
        }
        DeValue::Integer(n) => n.to_string(),
        DeValue::Float(n) => format!("the fraction {}", n.as_str()),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

pub(super) fn text(value: &DeValue<'_>) -> Result<String, Wrong> {
    value.as_str().map(str::to_owned).ok_or(None)
}

pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or(None)
}

/// Seconds, perhaps with a fraction, to the millisecond.
pub(super) fn seconds(
    range: RangeInclusive<Duration>,
) -> impl FnOnce(&DeValue<'_>) -> Result<Duration, Wrong> {
    move |value| {
        let text = match value {
            DeValue::Integer(n) if n.radix() == 10 => n.as_str(),
            DeValue::Float(n) => n.as_str(),
            _ => return Err(None),
        };
        let seconds: f64 = text.parse().map_err(|_| None)?;
        let exact = Duration::try_from_secs_f64(seconds).map_err(|_| None)?;
        let rounded = u64::try_from(exact.as_micros().div_ceil(1000)).map_err(|_| None)?;
        let duration = Duration::from_millis(rounded);
        range.contains(&duration).then_some(duration).ok_or(None)
    }
}

pub(super) fn integer<T: TryFrom<i64> + PartialOrd>(
    range: RangeInclusive<T>,
) -> impl FnOnce(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| {
        let integer = value.as_integer().ok_or(None)?;
        i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|n| T::try_from(n).ok())
            .filter(|n| range.contains(n))
            .ok_or(None)
    }
}

/// A text that is read as `T`; the reason why it cannot be is `T`'s own.
pub(super) fn parsed<T: FromStr>(value: &DeValue<'_>) -> Result<T, Wrong>
where
    T::Err: Display,
{
    let text = value.as_str().ok_or(None)?;
    text.parse().map_err(|_| None)
}

/// One of a few words.
pub(super) fn word<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| {
        let text = value.as_str().ok_or(None)?;
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, t)| *t)
            .ok_or(None)
    }
}

/// "`"a"`, `"b"` or `"c"`".
pub(super) fn alternatives<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// A kind of table, as it is written in the file.
fn place(kind: &str) -> String {
    match kind {
        "" => "the top of the file".to_owned(),
        "server" => "[[service.server]]".to_owned(),
        "check" => "[[service.check]]".to_owned(),
        "director" | "settings" | "sync" | "twin" | "mail" => format!("[{kind}]"),
        _ => format!("[[{kind}]]"),
    }
}

/// What to say of a key that its table does not have.
pub(super) fn unknown_key(
    kind: &str,
    key: &str,
    is_table: bool,
    known: &[&'static str],
) -> (String, String) {
    let place = place(kind);
    if let Some(answer) = well_known(kind, key) {
        return answer;
    }
    let shown: String = key.chars().take(60).collect();
    let what = match kind {
        "" if is_table => format!("unknown table `{shown}`"),
        "" => format!("unknown key `{shown}` at {place}"),
        _ => format!("unknown key `{shown}` in {place}"),
    };
    let elsewhere = super::known_keys()
        .into_iter()
        .find(|(_, name)| *name == key);
    match (kind, elsewhere) {
        ("server", Some(("service", _))) => {
            return (
                what,
                "it belongs to [[service]]: write it above the first [[service.server]]".into(),
            );
        }
        (_, Some(("", _))) => {
            return (
                what,
                "write it at the top of the file, above the first table".into(),
            );
        }
        (_, Some((other, _))) => return (what, format!("write it below {}", self::place(other))),
        (_, None) => {}
    }
    let nearest = known
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&shown.to_lowercase(), name),
                *name,
            )
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3));
    let instead = match nearest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => format!("it has {}", known.join(", ")),
    };
    (what, instead)
}

/// Kernel settings of IPVS that this version does not have.
const OTHER_KERNEL_SETTINGS: &[&str] = &[
    "backup_only",
    "ignore_tunneled",
    "sync_ports",
    "sync_qlen_max",
    "sync_refresh_period",
    "sync_retries",
    "sync_sock_size",
    "sync_version",
];

/// Kernel settings of IPVS that mean nothing here, and why.
const MEANINGLESS_KERNEL_SETTINGS: &[(&str, &str)] = &[
    ("conntrack", "there is no netfilter beside the director"),
    ("debug_level", "`log` of [director] says what is logged"),
    ("est_cpulist", "each worker counts for itself"),
    ("est_nice", "each worker counts for itself"),
    ("run_estimation", "rates cost nothing and are always there"),
    (
        "snat_reroute",
        "answers always go by their own destination's route",
    ),
];

/// Keys people bring along from elsewhere.
fn well_known(kind: &str, key: &str) -> Option<(String, String)> {
    let answer = |what: String, instead: &str| Some((what, instead.to_owned()));
    let is_called = |name: &str| {
        answer(
            format!("`{key}` is called `{name}` here"),
            &format!("write {name} = ..."),
        )
    };
    match (kind, key) {
        ("service" | "server", "lb_kind" | "lvs_method" | "forwarding" | "forward") => {
            is_called("method")
        }
        ("service", "lb_algo" | "lvs_sched" | "algorithm") => is_called("scheduler"),
        (
            "service",
            "flags" | "sched_flags" | "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback",
        ) => is_called("scheduler_flags"),
        ("service", "persistence_timeout" | "persistence" | "persistence_timeout_s") => {
            is_called("persistent")
        }
        ("service", "persistence_granularity" | "persistence_mask") => is_called("netmask"),
        ("service", "vip" | "virtual" | "virtual_server") => is_called("address"),
        ("service", "ops" | "one_packet_scheduling" | "one-packet") => is_called("one_packet"),
        ("service", "fwmark") => is_called("mark"),
        ("mark", "dport" | "dports" | "destination_ports" | "port") => is_called("ports"),
        ("mark", "sport" | "sports") => is_called("source_ports"),
        ("mark", "set" | "set_mark" | "set-mark") => is_called("mark"),
        ("service", "port") => answer(
            "the port of a service is part of its address".into(),
            "write address = \"VIP:PORT\"",
        ),
        ("service", "servers" | "real_server" | "real_servers") => answer(
            format!("servers are not listed under `{key}`"),
            "write [[service.server]] below the service, once for each",
        ),
        ("server", "port") => answer(
            "the port of a server is part of its address".into(),
            "write address = \"ADDRESS:PORT\"",
        ),
        ("server", "u_threshold" | "uthreshold") => is_called("upper_threshold"),
        ("server", "l_threshold" | "lthreshold") => is_called("lower_threshold"),
        ("check", "connect_timeout" | "misc_timeout") => is_called("timeout"),
        ("check", "interval" | "delay") => is_called("delay_loop"),
        ("check", "connect_ip") => is_called("address"),
        ("check", "connect_port") => is_called("port"),
        ("check", "bindto") => is_called("bind"),
        ("check", "virtualhost") => is_called("host"),
        ("check", "status_code") => is_called("status"),
        ("check", "regex") => is_called("body"),
        ("check", "regex_no_match") => is_called("body_not"),
        ("check", "misc_path" | "script") => is_called("command"),
        ("check", "kind") => is_called("type"),
        ("service" | "server", "checks" | "health" | "healthcheck") => answer(
            format!("checks are not listed under `{key}`"),
            "write [[service.check]], or [[service.server.check]] for one server",
        ),
        ("service" | "server", "inhibit_on_failure") => answer(
            "`inhibit_on_failure` is a value of `on_failure` here".into(),
            "write on_failure = \"quiesce\"",
        ),
        ("vrrp", "virtual_ip" | "virtual_addresses" | "addresses" | "vip" | "vips") => {
            is_called("virtual_ipaddress")
        }
        ("vrrp", "vrid" | "router_id" | "id") => is_called("virtual_router_id"),
        ("vrrp", "vrrp_version") => is_called("version"),
        ("vrrp", "unicast_peers" | "peers") => is_called("unicast_peer"),
        ("vrrp", "track_scripts") => is_called("track_script"),
        ("vrrp", "track_files") => is_called("track_file"),
        ("vrrp", "track_gateways" | "track_arp") => is_called("track_gateway"),
        ("track_bfd", "neighbor_ip" | "neighbour_ip" | "neighbor" | "peer") => is_called("address"),
        ("track_bfd", "source_ip" | "source") => is_called("bind"),
        ("vrrp", "track_bfds") => is_called("track_bfd"),
        ("vrrp", "track_server") => is_called("track_servers"),
        ("vrrp", "track_interfaces") => is_called("track_interface"),
        ("vrrp_notify", "name" | "instance" | "group" | "sync_group") => is_called("router"),
        ("vrrp_notify", "master" | "on_master") => is_called("notify_master"),
        ("vrrp_notify", "backup" | "on_backup") => is_called("notify_backup"),
        ("vrrp_notify", "fault" | "on_fault") => is_called("notify_fault"),
        ("vrrp_notify", "stop" | "on_stop") => is_called("notify_stop"),
        ("vrrp_notify", "script" | "command") => is_called("notify"),
        ("vrrp", "notify" | "notify_master" | "notify_backup" | "notify_fault" | "notify_stop") => {
            answer(
                format!("`{key}` is not among the keys of [[vrrp]]"),
                "write [[vrrp_notify]] with router = \"NAME\", the instance's or its sync_group's, and the same key",
            )
        }
        ("vrrp_script", "command") => is_called("script"),
        ("vrrp_script", "delay_loop" | "every") => is_called("interval"),
        ("track_file", "path") => is_called("file"),
        ("vrrp", "nopreempt") => answer(
            "`nopreempt` is called `preempt` here".into(),
            "write preempt = false",
        ),
        ("vrrp", "state") => answer(
            "an instance has no state to begin with: it listens first".into(),
            "leave it out; priority decides, and 255 need not listen",
        ),
        ("port" | "vlan", "address" | "ip" | "ips") => answer(
            format!("`{key}` is called `addresses` here"),
            "write a list: addresses = [\"192.0.2.1/24\"]",
        ),
        ("port", "pci" | "vdev" | "iface") => is_called("device"),
        ("port", "vlan" | "vlans") => answer(
            "a VLAN is an interface of its own".into(),
            "write [[vlan]] with name, port, id and addresses",
        ),
        ("settings", key) => {
            let bare = key.strip_prefix("net.ipv4.vs.").unwrap_or(key);
            let meaningless = MEANINGLESS_KERNEL_SETTINGS;
            if let Some((_, why)) = meaningless.iter().find(|(name, _)| *name == bare) {
                answer(
                    format!("the kernel's setting `{bare}` means nothing here: {why}"),
                    "leave it out",
                )
            } else if OTHER_KERNEL_SETTINGS.contains(&bare) {
                answer(
                    format!("the kernel's setting `{bare}` is not available yet"),
                    "leave it out",
                )
            } else if bare != key {
                is_called(bare)
            } else {
                None
            }
        }
        _ => None,
    }
}
