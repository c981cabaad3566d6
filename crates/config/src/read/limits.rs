//! `[access]`, and the same and the limits of a `[[service]]`

use super::{
    mark::net,
    section::{Reader, Section, Wrong},
    value::{describe, integer, word},
};
use crate::{Access, Limits};
use toml::de::DeValue;
use types::{Family, IpNet, SynCookies};

pub(super) fn access(reader: &mut Reader, section: &mut Section<'_>) -> Access {
    Access {
        allow: nets(reader, section, "allow"),
        deny: nets(reader, section, "deny"),
    }
}

fn nets(reader: &mut Reader, section: &mut Section<'_>, key: &'static str) -> Vec<IpNet> {
    let wanted = (
        "a network or an address, like \"203.0.113.0/24\"",
        "\"203.0.113.0/24\"",
    );
    section.list(reader, key, wanted, net).unwrap_or_default()
}

/// `family` is the service's, where that is known.
pub(super) fn limits(
    reader: &mut Reader,
    section: &mut Section<'_>,
    family: Option<Family>,
) -> Limits {
    let access = access(reader, section);
    let connections = section.get(
        reader,
        "connection_limit",
        "a number of connections from 1 on, like 10000",
        integer(1..=u32::MAX),
    );
    let rate = section.get(
        reader,
        "rate_limit",
        "new connections a second from 1 to 1000000, like 2000",
        integer(1..=Limits::MAX_RATE),
    );
    let client_rate = section.get(
        reader,
        "client_rate_limit",
        "new connections a second from 1 to 10000, like 20",
        integer(1..=Limits::MAX_CLIENT_RATE),
    );
    let (most, wanted) = match family {
        Some(Family::Ipv4) => (32, "a prefix length from 1 to 32, like 24"),
        _ => (128, "a prefix length from 1 to 128, like 56"),
    };
    let client_prefix = section.get(reader, "client_prefix", wanted, integer(1..=most));
    if section.has("client_prefix") && !section.has("client_rate_limit") {
        reader.report(
            section.position_of("client_prefix"),
            &format!("{}.client_prefix", section.path()),
            "`client_prefix` without `client_rate_limit` does nothing",
            "write client_rate_limit too, or leave it out",
        );
    }
    Limits {
        access,
        connections,
        rate,
        client_rate,
        client_prefix,
        syn_cookies: section
            .get(
                reader,
                "syn_cookies",
                "\"off\", \"on\" or { above = SYNs a second from 1 to 1000000 }, like { above = 5000 }",
                syn_cookies,
            )
            .unwrap_or_default(),
    }
}

fn syn_cookies(value: &DeValue<'_>) -> Result<SynCookies, Wrong> {
    match value {
        DeValue::Table(table) => {
            let mut keys = table.iter();
            let (Some((key, rate)), None) = (keys.next(), keys.next()) else {
                return Err(None);
            };
            if key.get_ref() != "above" {
                return Err(None);
            }
            let read = integer(1..=SynCookies::MAX_ABOVE)(rate.get_ref());
            let wrong = |_| Some(format!("`above` is {}", describe(rate.get_ref())));
            read.map(SynCookies::Above).map_err(wrong)
        }
        other => word(&[("off", SynCookies::Off), ("on", SynCookies::On)])(other),
    }
}
