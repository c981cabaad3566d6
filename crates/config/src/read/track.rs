//! `[[vrrp_script]]`, `[[vrrp_notify]]`, `[[track_file]]`, `[[track_gateway]]`, `[[track_bfd]]`, `[[track_servers]]`, and what instances track by name.

use super::{
    health::program,
    section::{Reader, Section, Wrong},
    value::{flag, integer, parsed, seconds, text},
    vrrp::{NAME, word},
};
use crate::{
    Track, TrackBfd, TrackFile, TrackGateway, TrackServers, VrrpNotify, VrrpScript,
    track::{MOST_FILE_WEIGHT, MOST_WEIGHT, TrackWeight},
};
use std::{ops::RangeInclusive, path::PathBuf, time::Duration};
use toml::de::DeValue;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(100);

/// A list of what an instance tracks.
pub(super) fn tracks(
    reader: &mut Reader,
    section: &mut Section<'_>,
    key: &'static str,
    most: i32,
) -> Vec<Track> {
    let wanted = format!(
        "a name, like \"lan\", with a weight from -{most} to {most}, like \"lan weight -20\", or \"lan weight 20 reverse\""
    );
    let example = "\"lan\", \"dmz weight -20\"";
    let list = section.list(reader, key, (&wanted, example), |value| track(value, most));
    list.unwrap_or_default()
}

fn track(value: &DeValue<'_>, most: i32) -> Result<Track, Wrong> {
    let track: Track = text(value)?.parse().map_err(Some)?;
    match track.weight {
        Some(weight) if !(-most..=most).contains(&weight.by) => Err(Some(format!(
            "{} is no weight from -{most} to {most}",
            weight.by
        ))),
        _ => Ok(track),
    }
}

pub(super) fn script(reader: &mut Reader, section: &mut Section<'_>) -> Option<VrrpScript> {
    let name = section.need(reader, "name", NAME, word);
    let there = section.has("script");
    let script = program(reader, section, "script");
    if !there {
        let instead = "add `script`: the program and its arguments, like [\"/usr/local/bin/check\", \"--fast\"]";
        let what = "`script` is missing in [[vrrp_script]]";
        reader.report(section.position_of(""), section.path(), what, instead);
    }
    let from_moment = "seconds from 0.1 to 3600, like 1 or 0.5";
    let interval = section.get(reader, "interval", from_moment, seconds(MOMENT..=HOUR));
    let timeout = section.get(reader, "timeout", from_moment, seconds(MOMENT..=HOUR));
    let weight = weight(reader, section, -MOST_WEIGHT..=MOST_WEIGHT);
    let times = "a whole number from 1 to 1000, like 2";
    let rise = section.get(reader, "rise", times, integer(1..=1000u32));
    let fall = section.get(reader, "fall", times, integer(1..=1000u32));
    let init_fail = section.get(reader, "init_fail", "true or false", flag);
    let user = section.get(reader, "user", "the name of a user, like \"nobody\"", text);
    let unsaid = VrrpScript::new(name?, script);
    if unsaid.script.is_empty() {
        return None;
    }
    let interval = interval.unwrap_or(unsaid.interval);
    Some(VrrpScript {
        interval,
        // As in keepalived: it may run until it is due again.
        timeout: timeout.unwrap_or(interval),
        weight: weight.with(unsaid.weight),
        rise: rise.unwrap_or(unsaid.rise),
        fall: fall.unwrap_or(unsaid.fall),
        init_fail: init_fail.unwrap_or(unsaid.init_fail),
        user: user.unwrap_or(unsaid.user),
        ..unsaid
    })
}

pub(super) fn notify(reader: &mut Reader, section: &mut Section<'_>) -> Option<VrrpNotify> {
    let router = section.need(
        reader,
        "router",
        "the name of a [[vrrp]], or a sync_group's, like \"public\"",
        word,
    );
    let mut program = |key| program(reader, section, key);
    let master = program("notify_master");
    let backup = program("notify_backup");
    let fault = program("notify_fault");
    let stop = program("notify_stop");
    let any = program("notify");
    let rx_lower_pri = program("notify_master_rx_lower_pri");
    let user = section.get(reader, "user", "the name of a user, like \"nobody\"", text);
    let unsaid = VrrpNotify::new(router?);
    Some(VrrpNotify {
        master,
        backup,
        fault,
        stop,
        any,
        rx_lower_pri,
        user: user.unwrap_or(unsaid.user),
        router: unsaid.router,
    })
}

pub(super) fn file(reader: &mut Reader, section: &mut Section<'_>) -> Option<TrackFile> {
    let name = section.need(reader, "name", NAME, word);
    let path = "the whole path of a file, like \"/run/maintenance\"";
    let file = section.need(reader, "file", path, |value| {
        let text = text(value)?;
        text.starts_with('/')
            .then(|| PathBuf::from(text))
            .ok_or(None)
    });
    let weight = weight(reader, section, -MOST_FILE_WEIGHT..=MOST_FILE_WEIGHT);
    let unsaid = TrackFile::new(name?, file?);
    Some(TrackFile {
        weight: weight.with(unsaid.weight),
        ..unsaid
    })
}

pub(super) fn gateway(reader: &mut Reader, section: &mut Section<'_>) -> Option<TrackGateway> {
    let name = section.need(reader, "name", NAME, word);
    let wanted = "the address of a neighbour, like \"192.0.2.1\" or \"fe80::1\"";
    let address = section.need(reader, "address", wanted, parsed);
    let interface = section.get(
        reader,
        "interface",
        "the name of a port or VLAN, like \"wan\"",
        text,
    );
    let from_moment = "seconds from 0.1 to 3600, like 1 or 0.5";
    let interval = section.get(reader, "interval", from_moment, seconds(MOMENT..=HOUR));
    let times = "a whole number from 1 to 1000, like 2";
    let rise = section.get(reader, "rise", times, integer(1..=1000u32));
    let fall = section.get(reader, "fall", times, integer(1..=1000u32));
    let weight = weight(reader, section, -MOST_WEIGHT..=MOST_WEIGHT);
    let unsaid = TrackGateway::new(name?, address?);
    Some(TrackGateway {
        interface,
        interval: interval.unwrap_or(unsaid.interval),
        rise: rise.unwrap_or(unsaid.rise),
        fall: fall.unwrap_or(unsaid.fall),
        weight: weight.with(unsaid.weight),
        ..unsaid
    })
}

pub(super) fn bfd(reader: &mut Reader, section: &mut Section<'_>) -> Option<TrackBfd> {
    let name = section.need(reader, "name", NAME, word);
    let wanted =
        "the address of a neighbour that speaks BFD, like \"192.0.2.1\" or \"2001:db8::1\"";
    let address = section.need(reader, "address", wanted, parsed);
    let wanted = "an address of the director's own, like \"192.0.2.2\"";
    let bind = section.get(reader, "bind", wanted, parsed);
    let session = super::check::session(reader, section);
    let weight = weight(reader, section, -MOST_WEIGHT..=MOST_WEIGHT);
    let unsaid = TrackBfd::new(name?, address?);
    Some(TrackBfd {
        bind,
        session,
        weight: weight.with(unsaid.weight),
        ..unsaid
    })
}

pub(super) fn servers(reader: &mut Reader, section: &mut Section<'_>) -> Option<TrackServers> {
    let name = section.need(reader, "name", NAME, word);
    let wanted = "a service's name, or as it is listed, like \"tcp 192.0.2.10:80\"";
    let service = section.get(reader, "service", wanted, text);
    let wanted = "percent of the servers as a whole number from 1 to 100, like 50";
    let share = section.get(reader, "share", wanted, integer(1..=100u8));
    let weight = weight(reader, section, -MOST_WEIGHT..=MOST_WEIGHT);
    let unsaid = TrackServers::new(name?);
    Some(TrackServers {
        service,
        share: share.unwrap_or(unsaid.share),
        weight: weight.with(unsaid.weight),
        ..unsaid
    })
}

/// `weight` and `reverse` as far as they are said.
struct Said(Option<i32>, Option<bool>);

impl Said {
    fn with(&self, unsaid: TrackWeight) -> TrackWeight {
        TrackWeight {
            by: self.0.unwrap_or(unsaid.by),
            reverse: self.1.unwrap_or(unsaid.reverse),
        }
    }
}

fn weight(reader: &mut Reader, section: &mut Section<'_>, range: RangeInclusive<i32>) -> Said {
    let wanted = format!(
        "a whole number from {} to {}; 0: a fault while it fails",
        range.start(),
        range.end()
    );
    let by = section.get(reader, "weight", &wanted, integer(range));
    let reverse = section.get(reader, "reverse", "true or false", flag);
    Said(by, reverse)
}
