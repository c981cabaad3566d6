//! `[[notify]]` and `[mail]`

use super::{
    health::program,
    section::{Reader, Section, Wrong},
    value::{seconds, text, word},
};
use crate::{Mail, Notify, NotifyAbout, NotifyFormat, NotifyTo};
use std::{path::PathBuf, time::Duration};
use toml::de::DeValue;

pub(super) fn notify(reader: &mut Reader, section: &mut Section<'_>) -> Option<Notify> {
    let wanted = "an absolute path, like \"/run/tarpon/events\"";
    let fifo = section.get(reader, "fifo", wanted, path);
    let file = section.get(reader, "file", wanted, path);
    let format = section.get(
        reader,
        "format",
        "\"json\" or \"keepalived\"",
        word(NotifyFormat::WORDS),
    );
    let events = section.list(
        reader,
        "events",
        (
            "\"services\", \"vrrp\" or \"configuration\"",
            "\"services\", \"vrrp\"",
        ),
        word(NotifyAbout::WORDS),
    );
    let user = section.get(reader, "user", "the name of a user", name);
    let group = section.get(reader, "group", "the name of a group", name);
    let mode = section.get(
        reader,
        "mode",
        "permissions as an octal text, like \"0640\"",
        mode,
    );
    let readers = (
        program(reader, section, "reader"),
        section.get(reader, "reader_user", "the name of a user", name),
    );
    let to = match (section.has("fifo"), section.has("file")) {
        (true, false) => NotifyTo::Fifo(fifo?),
        (false, true) => NotifyTo::File(file?),
        (both, _) => {
            let what = match both {
                true => "both `fifo` and `file` in one [[notify]]",
                false => "a [[notify]] with neither `fifo` nor `file`",
            };
            let instead = "write one of them: fifo = \"/run/tarpon/events\"";
            reader.report(section.position_of("file"), section.path(), what, instead);
            return None;
        }
    };
    for key in ["reader", "reader_user"] {
        let needless = match key {
            "reader" => matches!(to, NotifyTo::File(_)),
            _ => readers.0.is_empty() && !section.has("reader"),
        };
        if section.has(key) && needless {
            let what = match key {
                "reader" => "a `reader` of a file: it is for a FIFO",
                _ => "`reader_user` without a `reader`",
            };
            let instead = "leave it out, or write a FIFO and its reader: fifo = \"/run/tarpon/events\", reader = [\"/usr/local/bin/tell\"]";
            reader.report(section.position_of(key), section.path(), what, instead);
        }
    }
    let mut notify = Notify::new(to, format.unwrap_or(NotifyFormat::Json));
    if let Some(mut events) = events {
        events.sort_unstable();
        events.dedup();
        notify.events = events;
    }
    notify.mode = mode.unwrap_or(notify.mode);
    Some(Notify {
        user,
        group,
        reader: readers.0,
        reader_user: readers.1,
        ..notify
    })
}

fn path(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    let text = text(value)?;
    let absolute = text.starts_with('/') && !text.ends_with('/') && !text.contains('\0');
    absolute.then(|| text.into()).ok_or(None)
}

fn name(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let fits = !text.is_empty() && !text.contains([':', '\n', '\0']);
    fits.then_some(text).ok_or(None)
}

fn mode(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let text = text(value)?;
    let mode = u32::from_str_radix(&text, 8).map_err(|_| None)?;
    (mode <= 0o777).then_some(mode).ok_or(None)
}

/// What mails can be about.
const MAILED: &[(&str, NotifyAbout)] = &[
    ("services", NotifyAbout::Services),
    ("vrrp", NotifyAbout::Vrrp),
];

pub(super) fn mail(reader: &mut Reader, section: &mut Section<'_>) -> Option<Mail> {
    const SERVER: &str =
        "a name or an address, with a port if it is not 25: \"127.0.0.1\", \"mail.example:587\"";
    const ADDRESS: &str = "an address of mail, like \"lvs@example.org\"";
    let absent = section.is_empty();
    let (server, from) = match absent {
        true => (
            section.get(reader, "smtp_server", SERVER, server),
            section.get(reader, "from", ADDRESS, address),
        ),
        false => (
            section.need(reader, "smtp_server", SERVER, server),
            section.need(reader, "from", ADDRESS, address),
        ),
    };
    let to = section.list(reader, "to", (ADDRESS, "\"admin@example.org\""), address);
    let hour = Duration::from_secs(3600);
    let timeout = section.get(
        reader,
        "connect_timeout",
        "seconds from 0.1 to 300, like 30",
        seconds(Duration::from_millis(100)..=Duration::from_secs(300)),
    );
    let helo = section.get(
        reader,
        "helo_name",
        "a name, like \"lb1.example.org\"",
        host,
    );
    let events = section.list(
        reader,
        "events",
        ("\"services\" or \"vrrp\"", "\"services\", \"vrrp\""),
        word(MAILED),
    );
    let interval = section.get(
        reader,
        "interval",
        "seconds up to 3600, like 10",
        seconds(Duration::ZERO..=hour),
    );
    if absent {
        return None;
    }
    if to.as_ref().is_none_or(Vec::is_empty) && !section.has_mistake(reader, "to") {
        let what = "nobody is to get the mails of [mail]";
        let instead = "add `to`: a list of addresses, to = [\"admin@example.org\"]";
        reader.report(section.position_of("to"), section.path(), what, instead);
        return None;
    }
    let mut events = events.unwrap_or_else(|| MAILED.iter().map(|(_, about)| *about).collect());
    events.sort_unstable();
    events.dedup();
    let (smtp_server, smtp_port) = server?;
    Some(Mail {
        smtp_server,
        smtp_port,
        from: from?,
        to: to?,
        connect_timeout: timeout.unwrap_or(Mail::CONNECT_TIMEOUT),
        helo_name: helo,
        events,
        interval: interval.unwrap_or(Mail::INTERVAL),
    })
}

fn address(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    Mail::is_address(&text).then_some(text).ok_or(None)
}

fn host(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let fits = !text.is_empty() && text.chars().all(known);
    fits.then_some(text).ok_or(None)
}

/// `mail.example`, `mail.example:587`, `192.0.2.25`, `2001:db8::25`, `[2001:db8::25]:587`
fn server(value: &DeValue<'_>) -> Result<(String, u16), Wrong> {
    let all = text(value)?;
    if let Ok(ip) = all.parse::<std::net::IpAddr>() {
        return Ok((ip.to_string(), Mail::PORT));
    }
    if let Ok(socket) = all.parse::<std::net::SocketAddr>() {
        return Ok((socket.ip().to_string(), socket.port()));
    }
    let (name, port) = match all.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().map_err(|_| None)?),
        None => (all.as_str(), Mail::PORT),
    };
    let host = host(&DeValue::String(name.into()))?;
    (port != 0).then_some((host, port)).ok_or(None)
}
