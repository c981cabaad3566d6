//! `[[vrrp_script]]`, `[[vrrp_notify]]`, `[[track_file]]`, `[[track_gateway]]`, `[[track_bfd]]` and `[[track_servers]]`, to be read again.

use crate::{Config, TrackBfd, TrackFile, TrackGateway, TrackServers, VrrpNotify, VrrpScript};
use serde::Serialize;
use std::{net::IpAddr, path::Path};

/// Everything that can be tracked.
#[derive(Serialize)]
pub(crate) struct Tables<'c> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vrrp_script: Vec<ScriptTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vrrp_notify: Vec<NotifyTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_file: Vec<FileTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_gateway: Vec<GatewayTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_bfd: Vec<BfdTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_servers: Vec<ServersTable<'c>>,
}

pub(crate) fn tables(config: &Config) -> Tables<'_> {
    Tables {
        vrrp_script: config.vrrp_scripts.iter().map(script).collect(),
        vrrp_notify: config.vrrp_notify.iter().map(notify).collect(),
        track_file: config.track_files.iter().map(file).collect(),
        track_gateway: config.track_gateways.iter().map(gateway).collect(),
        track_bfd: config.track_bfds.iter().map(bfd).collect(),
        track_servers: config.track_servers.iter().map(servers).collect(),
    }
}

#[derive(Serialize)]
struct ScriptTable<'c> {
    name: &'c str,
    script: &'c [String],
    interval: f64,
    timeout: f64,
    weight: i32,
    reverse: bool,
    rise: u32,
    fall: u32,
    init_fail: bool,
    user: &'c str,
}

fn script(s: &VrrpScript) -> ScriptTable<'_> {
    ScriptTable {
        name: &s.name,
        script: &s.script,
        interval: s.interval.as_secs_f64(),
        timeout: s.timeout.as_secs_f64(),
        weight: s.weight.by,
        reverse: s.weight.reverse,
        rise: s.rise,
        fall: s.fall,
        init_fail: s.init_fail,
        user: &s.user,
    }
}

#[derive(Serialize)]
struct NotifyTable<'c> {
    router: &'c str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notify_master: &'c [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notify_backup: &'c [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notify_fault: &'c [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notify_stop: &'c [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notify: &'c [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notify_master_rx_lower_pri: &'c [String],
    user: &'c str,
}

fn notify(n: &VrrpNotify) -> NotifyTable<'_> {
    NotifyTable {
        router: &n.router,
        notify_master: &n.master,
        notify_backup: &n.backup,
        notify_fault: &n.fault,
        notify_stop: &n.stop,
        notify: &n.any,
        notify_master_rx_lower_pri: &n.rx_lower_pri,
        user: &n.user,
    }
}

#[derive(Serialize)]
struct FileTable<'c> {
    name: &'c str,
    file: &'c Path,
    weight: i32,
    reverse: bool,
}

fn file(f: &TrackFile) -> FileTable<'_> {
    FileTable {
        name: &f.name,
        file: &f.file,
        weight: f.weight.by,
        reverse: f.weight.reverse,
    }
}

#[derive(Serialize)]
struct GatewayTable<'c> {
    name: &'c str,
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'c str>,
    interval: f64,
    rise: u32,
    fall: u32,
    weight: i32,
    reverse: bool,
}

fn gateway(g: &TrackGateway) -> GatewayTable<'_> {
    GatewayTable {
        name: &g.name,
        address: g.address,
        interface: g.interface.as_deref(),
        interval: g.interval.as_secs_f64(),
        rise: g.rise,
        fall: g.fall,
        weight: g.weight.by,
        reverse: g.weight.reverse,
    }
}

#[derive(Serialize)]
struct BfdTable<'c> {
    name: &'c str,
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    bind: Option<IpAddr>,
    min_tx: f64,
    min_rx: f64,
    multiplier: u8,
    passive: bool,
    multihop: bool,
    max_hops: u8,
    weight: i32,
    reverse: bool,
}

fn bfd(b: &TrackBfd) -> BfdTable<'_> {
    let settings = b.session.settings;
    BfdTable {
        name: &b.name,
        address: b.address,
        bind: b.bind,
        min_tx: settings.min_tx.as_secs_f64(),
        min_rx: settings.min_rx.as_secs_f64(),
        multiplier: settings.multiplier,
        passive: settings.passive,
        multihop: b.session.multihop,
        max_hops: b.session.max_hops,
        weight: b.weight.by,
        reverse: b.weight.reverse,
    }
}

#[derive(Serialize)]
struct ServersTable<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'c str>,
    share: u8,
    weight: i32,
    reverse: bool,
}

fn servers(s: &TrackServers) -> ServersTable<'_> {
    ServersTable {
        name: &s.name,
        service: s.service.as_deref(),
        share: s.share,
        weight: s.weight.by,
        reverse: s.weight.reverse,
    }
}
