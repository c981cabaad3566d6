//! Checks as they are written in the file.

use health::{Check, Http, Kind};
use std::time::Duration;
use toml::{Table, Value};

/// The table of a check, every key written out.
pub(crate) fn check(check: &Check) -> Table {
    let mut table = Table::new();
    let mut put = |key: &str, value: Value| {
        table.insert(key.to_owned(), value);
    };
    let timing = &check.timing;
    put("type", check.kind.word().into());
    put("timeout", seconds(timing.timeout));
    if !check.kind.is_session() {
        put("delay_loop", seconds(timing.delay_loop));
        put("retry", i64::from(timing.retry).into());
        put("delay_before_retry", seconds(timing.delay_before_retry));
        put("retry_when_down", timing.retry_when_down.into());
        put("rise", i64::from(timing.rise).into());
        if let Some(warmup) = timing.warmup {
            put("warmup", seconds(warmup));
        }
    }
    put("alpha", timing.alpha.into());
    if let Some(address) = check.address {
        put("address", address.to_string().into());
    }
    if let Some(port) = check.port {
        put("port", i64::from(port).into());
    }
    if let Some(aim) = check.aim {
        put("target", aim.word().into());
    }
    if let Some(bind) = check.bind.address {
        put("bind", bind.to_string().into());
    }
    if let Some(port) = check.bind.port {
        put("bind_port", i64::from(port).into());
    }
    if let Some(interface) = &check.bind.interface {
        put("bind_interface", interface.clone().into());
    }
    if let Some(mark) = check.bind.mark {
        put("mark", i64::from(mark).into());
    }
    kind(&check.kind, &mut put);
    table
}

fn kind(kind: &Kind, put: &mut impl FnMut(&str, Value)) {
    match kind {
        Kind::Tcp { send, expect } => {
            if let Some(text) = send {
                put("send", text.clone().into());
            }
            if let Some(pattern) = expect {
                put("expect", pattern.as_str().into());
            }
        }
        Kind::Http(page) => http(page, put),
        Kind::Script(script) => {
            put("command", texts(&script.command));
            put("user", script.user.clone().into());
            put("dynamic", script.dynamic.into());
            if let Some(weight) = script.load_weight {
                put("load_weight", i64::from(weight).into());
            }
            if let Some(pattern) = &script.expect {
                put("expect", pattern.as_str().into());
            }
        }
        Kind::Ping => {}
        Kind::Udp(udp) => {
            let exact: Vec<(u8, u8)> = udp.payload.iter().map(|b| (*b, 0xff)).collect();
            put("payload", health::reply::Hex(exact).to_string().into());
            if let Some(reply) = &udp.reply {
                put(
                    "reply",
                    health::reply::Hex(reply.begins.clone()).to_string().into(),
                );
                put("min_length", length(reply.min));
                put("max_length", length(reply.max));
            }
        }
        Kind::Dns { name, record } => {
            put("name", name.clone().into());
            put("record", record.name().into());
        }
        Kind::Smtp { helo } => put("helo", helo.clone().into()),
        Kind::File(file) => {
            put("path", file.path.to_string_lossy().into_owned().into());
            put("file_weight", i64::from(file.weight).into());
            put("missing_is_zero", file.missing_is_zero.into());
        }
        Kind::Bfd(bfd) => {
            put("min_tx", seconds(bfd.settings.min_tx));
            put("min_rx", seconds(bfd.settings.min_rx));
            put("multiplier", i64::from(bfd.settings.multiplier).into());
            put("passive", bfd.settings.passive.into());
            put("multihop", bfd.multihop.into());
            put("max_hops", i64::from(bfd.max_hops).into());
        }
    }
}

fn http(page: &Http, put: &mut impl FnMut(&str, Value)) {
    put("path", page.path.clone().into());
    if let Some(host) = &page.host {
        put("host", host.clone().into());
    }
    put(
        "version",
        if page.version_1_1 { "1.1" } else { "1.0" }.into(),
    );
    let range = |(from, to): &(u16, u16)| match from == to {
        true => Value::from(i64::from(*from)),
        false => format!("{from}-{to}").into(),
    };
    put(
        "status",
        Value::Array(page.status.iter().map(range).collect()),
    );
    if let Some(pattern) = &page.body {
        put("body", pattern.as_str().into());
    }
    if let Some(pattern) = &page.body_not {
        put("body_not", pattern.as_str().into());
    }
    if let Some(digest) = &page.digest {
        put("digest", health::http::hex(digest).into());
    }
    let Some(tls) = &page.tls else {
        return;
    };
    if let Some(sni) = &tls.sni {
        put("sni", sni.clone().into());
    }
    if let Some(ca) = &tls.ca {
        put("ca", ca.to_string_lossy().into_owned().into());
    }
    if let Some((certificate, key)) = &tls.identity {
        put(
            "certificate",
            certificate.to_string_lossy().into_owned().into(),
        );
        put("key", key.to_string_lossy().into_owned().into());
    }
}

/// Whole seconds as a whole number.
pub(crate) fn seconds(duration: Duration) -> Value {
    match (duration.subsec_nanos(), i64::try_from(duration.as_secs())) {
        (0, Ok(whole)) => whole.into(),
        _ => duration.as_secs_f64().into(),
    }
}

fn length(length: usize) -> Value {
    i64::try_from(length).unwrap_or(i64::MAX).into()
}

pub(crate) fn texts(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|text| text.clone().into()).collect())
}

/// What differs between two checks of a kind, key by key: the key, what it was and what it is.
pub(crate) fn differences(old: &Check, new: &Check) -> Vec<(String, String, String)> {
    let (old, new) = (check(old), check(new));
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), on_a_line);
    let differ = keys
        .into_iter()
        .filter(|key| old.get(*key) != new.get(*key));
    differ
        .map(|key| (key.clone(), text(old.get(key)), text(new.get(key))))
        .collect()
}

/// A text of several lines is one in which they are escaped.
fn on_a_line(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        _ => value.to_string(),
    }
}

/// A check on one line, every key written out: equal checks have equal texts, others have not.
pub fn line(of: &Check) -> String {
    let table = check(of);
    let kind = of.kind.word();
    let rest = table.iter().filter(|(key, _)| *key != "type");
    let pairs: Vec<String> = rest
        .map(|(key, value)| format!("{key} = {}", on_a_line(value)))
        .collect();
    format!("{kind} ({})", pairs.join(", "))
}
