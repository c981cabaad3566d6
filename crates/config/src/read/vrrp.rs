//! `[[vrrp]]`

use super::{
    section::{Reader, Section, Wrong},
    track::tracks,
    value::{flag, integer, text},
};
use crate::{
    AuthType, Vrrp,
    track::{MOST_FILE_WEIGHT, MOST_WEIGHT},
};
use std::net::IpAddr;
use toml::de::DeValue;

pub(super) const NAME: &str = "a name, like \"public\"";
const ADDRESSES: (&str, &str) = (
    "an address without a prefix length, like \"192.0.2.10\"",
    "\"192.0.2.10\", \"192.0.2.11\"",
);
/// Version 3 counts hundredths of a second in twelve bits.
const LONGEST_MS: u32 = 255_000;

pub(super) fn instance(reader: &mut Reader, section: &mut Section<'_>) -> Option<Vrrp> {
    let name = section.need(reader, "name", NAME, word);
    let interface = section.need(
        reader,
        "interface",
        "the name of a port or VLAN, like \"wan\"",
        text,
    );
    let virtual_router_id = section.need(
        reader,
        "virtual_router_id",
        "a whole number from 1 to 255, the same on all directors of this virtual router",
        integer(1..=255u8),
    );
    let version = section.get(reader, "version", "2 or 3", integer(2..=3u8));
    let priority = section.get(
        reader,
        "priority",
        "a whole number from 1 to 255, like 100",
        integer(1..=255u8),
    );
    let advert_int_ms = section.get(
        reader,
        "advert_int",
        "seconds, like 1 or 0.1, or milliseconds in tens, like \"10ms\"",
        interval,
    );
    let preempt = section.get(reader, "preempt", "true or false", flag);
    let preempt_delay = section.get(
        reader,
        "preempt_delay",
        "seconds as a whole number from 0 to 1000",
        integer(0..=1000u32),
    );
    let preempt_warmup = section.get(
        reader,
        "preempt_warmup",
        "seconds as a whole number from 0 to 1000; 0: checks are not waited for",
        integer(0..=1000u32),
    );
    let virtual_ipaddress = section.list(reader, "virtual_ipaddress", ADDRESSES, address);
    let excluded = section.list(reader, "virtual_ipaddress_excluded", ADDRESSES, address);
    let unicast_peer = section.list(reader, "unicast_peer", ADDRESSES, address);
    let auth_pass = section.get(
        reader,
        "auth_pass",
        "a text of 1 to 8 characters of ASCII",
        |v| {
            let text = text(v)?;
            let fits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            fits.then_some(text).ok_or(None)
        },
    );
    let auth_type = section.get(reader, "auth_type", "\"pass\" or \"ah\"", |v| {
        match text(v)?.as_str() {
            "pass" => Ok(AuthType::Pass),
            "ah" => Ok(AuthType::Ah),
            _ => Err(None),
        }
    });
    let v3_checksum_as_v2 = section.get(reader, "v3_checksum_as_v2", "true or false", flag);
    let use_vmac = section.get(reader, "use_vmac", "true or false", flag);
    let accept = section.get(reader, "accept", "true or false", flag);
    let sync_group = section.get(reader, "sync_group", NAME, word);
    let track_interface = tracks(reader, section, "track_interface", MOST_WEIGHT);
    let track_script = tracks(reader, section, "track_script", MOST_WEIGHT);
    let track_file = tracks(reader, section, "track_file", MOST_FILE_WEIGHT);
    let track_gateway = tracks(reader, section, "track_gateway", MOST_WEIGHT);
    let track_bfd = tracks(reader, section, "track_bfd", MOST_WEIGHT);
    let track_servers = tracks(reader, section, "track_servers", MOST_WEIGHT);
    let seconds = "seconds as a whole number from 0 to 86400; 0 is never";
    let repeat = section.get(
        reader,
        "garp_master_repeat",
        "a whole number from 1 to 100, like 5",
        integer(1..=100u32),
    );
    let delay = section.get(reader, "garp_master_delay", seconds, integer(0..=86_400u32));
    let refresh = section.get(
        reader,
        "garp_master_refresh",
        seconds,
        integer(0..=86_400u32),
    );
    let unsaid = Vrrp::new(name?, interface?, virtual_router_id?);
    Some(Vrrp {
        version: version.unwrap_or(unsaid.version),
        priority: priority.unwrap_or(unsaid.priority),
        advert_int_ms: advert_int_ms.unwrap_or(unsaid.advert_int_ms),
        preempt: preempt.unwrap_or(unsaid.preempt),
        preempt_delay: preempt_delay.unwrap_or(unsaid.preempt_delay),
        preempt_warmup: preempt_warmup.unwrap_or(unsaid.preempt_warmup),
        virtual_ipaddress: virtual_ipaddress.unwrap_or_default(),
        virtual_ipaddress_excluded: excluded.unwrap_or_default(),
        unicast_peer: unicast_peer.unwrap_or_default(),
        auth_pass,
        auth_type: auth_type.unwrap_or(unsaid.auth_type),
        v3_checksum_as_v2: v3_checksum_as_v2.unwrap_or(unsaid.v3_checksum_as_v2),
        use_vmac: use_vmac.unwrap_or(unsaid.use_vmac),
        accept: accept.unwrap_or(unsaid.accept),
        sync_group,
        track_interface,
        track_script,
        track_file,
        track_gateway,
        track_bfd,
        track_servers,
        garp_master_repeat: repeat.unwrap_or(unsaid.garp_master_repeat),
        garp_master_delay: delay.unwrap_or(unsaid.garp_master_delay),
        garp_master_refresh: refresh.unwrap_or(unsaid.garp_master_refresh),
        ..unsaid
    })
}

pub(super) fn word(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.len() <= 32 && text.chars().all(fits) {
        Ok(text)
    } else {
        Err(Some(format!(
            "{text:?} is no name: letters, digits, `-`, `_` and `.`, at most 32"
        )))
    }
}

fn address(value: &DeValue<'_>) -> Result<IpAddr, Wrong> {
    value.as_str().and_then(|t| t.parse().ok()).ok_or(None)
}

/// Seconds, whole or not, or `"10ms"`; in milliseconds.
fn interval(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let thousandths = match value {
        DeValue::Integer(_) => integer(1..=LONGEST_MS / 1000)(value)? * 1000,
        DeValue::Float(seconds) => decimal(seconds.as_str()).ok_or(None)?,
        other => {
            let text = other.as_str().ok_or(None)?;
            let number = text.strip_suffix("ms").ok_or(None)?.trim();
            number.parse().map_err(|_| None)?
        }
    };
    let fits = (10..=LONGEST_MS).contains(&thousandths) && thousandths % 10 == 0;
    fits.then_some(thousandths).ok_or(None)
}

/// `0.25` as 250, exactly.
fn decimal(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.')?;
    if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    let whole: u32 = whole.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(part)
}
