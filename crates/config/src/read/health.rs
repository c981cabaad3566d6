//! What a `[[service]]` and a `[[service.server]]` say about health, beside the checks themselves.

use super::{
    check::check,
    section::{Reader, Section},
    service::{METHODS, endpoint, method},
    value::{alternatives, flag, integer, seconds, text, word},
};
use health::{OnFailure, Passive, Policy, ServerPolicy, SorryServer, UNPRIVILEGED};
use std::{net::SocketAddr, time::Duration};
use types::{ForwardingMethod, OnRemoval};

/// Slow start at most.
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn policy(
    reader: &mut Reader,
    section: &mut Section<'_>,
    default_method: ForwardingMethod,
    service: Option<SocketAddr>,
) -> Policy {
    let quorum = "a sum of weights from 1 to 4294967295, like 2";
    let quorum = section.get(reader, "quorum", quorum, integer(1..=u32::MAX));
    let hysteresis = "a sum of weights, like 1";
    let hysteresis = section.get(reader, "hysteresis", hysteresis, integer(0..=u32::MAX));
    let port = service.map_or(0, |s| s.port());
    let sorry = section.get(
        reader,
        "sorry_server",
        "the address of who serves when there is no quorum, like \"10.1.0.99:8080\"",
        |v| {
            let text = v.as_str().ok_or(None)?;
            match text.parse() {
                Ok(ip) => Ok(SocketAddr::new(ip, port)),
                Err(_) => endpoint(v),
            }
        },
    );
    let sorry_method = section.get(reader, "sorry_method", METHODS, method);
    let sorry_inhibit = section.get(reader, "sorry_inhibit", "true or false", flag);
    for key in ["sorry_method", "sorry_inhibit"] {
        if section.has(key) && !section.has("sorry_server") {
            reader.report(
                section.position_of(key),
                &format!("{}.{key}", section.path()),
                format!("`{key}` without `sorry_server` does nothing"),
                "write sorry_server too, or leave it out",
            );
        }
    }
    let slow_start = section.get(
        reader,
        "slow_start",
        "seconds up to 86400, like 30",
        seconds(Duration::ZERO..=DAY),
    );
    let removal = alternatives(OnRemoval::WORDS.iter().map(|(word, _)| *word));
    Policy {
        passive: passive(reader, section),
        on_removal: section.get(reader, "on_removal", &removal, word(OnRemoval::WORDS)),
        on_failure: on_failure(reader, section).unwrap_or_default(),
        quorum: quorum.unwrap_or(1),
        hysteresis: hysteresis.unwrap_or(0),
        sorry_server: sorry.map(|address| SorryServer {
            address,
            method: sorry_method.unwrap_or(default_method),
            inhibit: sorry_inhibit.unwrap_or(false),
        }),
        slow_start: slow_start.unwrap_or_default(),
        quorum_up: program(reader, section, "quorum_up"),
        quorum_down: program(reader, section, "quorum_down"),
        notify_user: section
            .get(
                reader,
                "notify_user",
                "the name of a user, like \"nobody\"",
                text,
            )
            .filter(|user| user != UNPRIVILEGED)
            .unwrap_or_default(),
        init_notifies: section
            .get(reader, "init_notifies", "true or false", flag)
            .unwrap_or(false),
        omega: section
            .get(reader, "omega", "true or false", flag)
            .unwrap_or(false),
        checks: section.tables(reader, "check", check),
        servers: Default::default(),
    }
}

fn passive(reader: &mut Reader, section: &mut Section<'_>) -> Passive {
    let attempts = "a number of attempts to connect from 1 to 1000000, like 3";
    let mut number = |key| section.get(reader, key, attempts, integer(1..=1_000_000));
    let (suspect_after, eject_after) = (number("suspect_after"), number("eject_after"));
    let time = section.get(
        reader,
        "eject_time",
        "seconds from 1 to 86400, like 30",
        seconds(Duration::from_secs(1)..=DAY),
    );
    if time.is_some() && !section.has("eject_after") {
        reader.report(
            section.position_of("eject_time"),
            &format!("{}.eject_time", section.path()),
            "`eject_time` without `eject_after` does nothing",
            "write eject_after too, or leave it out",
        );
    }
    Passive {
        suspect_after,
        eject_after,
        eject_time: time.unwrap_or(Passive::new().eject_time),
    }
}

pub(super) fn server(reader: &mut Reader, section: &mut Section<'_>) -> ServerPolicy {
    let checks = match section.says_false("check") {
        true => section.get(reader, "check", "", |_| Ok(Vec::new())),
        false if section.has("check") => Some(section.tables(reader, "check", check)),
        false => None,
    };
    ServerPolicy {
        checks,
        on_failure: on_failure(reader, section),
        notify_up: program(reader, section, "notify_up"),
        notify_down: program(reader, section, "notify_down"),
    }
}

fn on_failure(reader: &mut Reader, section: &mut Section<'_>) -> Option<OnFailure> {
    let wanted = alternatives(OnFailure::WORDS.iter().map(|(word, _)| *word));
    section.get(reader, "on_failure", &wanted, word(OnFailure::WORDS))
}

/// A program with its arguments, by its whole path.
pub(super) fn program(
    reader: &mut Reader,
    section: &mut Section<'_>,
    key: &'static str,
) -> Vec<String> {
    let wanted = ("a text", "\"/usr/local/bin/check\", \"--fast\"");
    let words = section.list(reader, key, wanted, text).unwrap_or_default();
    if section.has(key) && !words.first().is_some_and(|path| path.starts_with('/')) {
        let path = format!("{}.{key}", section.path());
        let already = section.has_mistake(reader, key);
        if !already {
            reader.report(
                section.position_of(key),
                &path,
                format!("`{key}` does not begin with the path of a program"),
                format!("write it whole, its arguments behind it: {key} = [\"/usr/local/bin/tell\", \"web\"]"),
            );
        }
    }
    words
}
