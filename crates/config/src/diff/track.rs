//! Differences of what virtual routers track.

use super::{Changes, Effect};
use crate::{
    Track, TrackBfd, TrackFile, TrackGateway, TrackServers, TrackWeight, VrrpNotify, VrrpScript,
};

pub(super) fn scripts(changes: &mut Changes, old: &[VrrpScript], new: &[VrrpScript]) {
    let e = Effect::Reload;
    let key = |s: &VrrpScript| s.name.clone();
    changes.lists(e, "vrrp_script ", (old, new), key, |changes, a, b| {
        let of = |what: &str| format!("vrrp_script {}: {what}", a.name);
        changes.value(e, &of("script"), a.script.join(" "), b.script.join(" "));
        let s = |duration: std::time::Duration| format!("{} s", duration.as_secs_f64());
        changes.value(e, &of("interval"), s(a.interval), s(b.interval));
        changes.value(e, &of("timeout"), s(a.timeout), s(b.timeout));
        weight(changes, of, a.weight, b.weight);
        changes.value(e, &of("rise"), a.rise, b.rise);
        changes.value(e, &of("fall"), a.fall, b.fall);
        changes.value(e, &of("init_fail"), a.init_fail, b.init_fail);
        changes.value(e, &of("user"), &a.user, &b.user);
    });
}

pub(super) fn notify(changes: &mut Changes, old: &[VrrpNotify], new: &[VrrpNotify]) {
    let e = Effect::Reload;
    let key = |n: &VrrpNotify| format!("{} as {}", n.router, n.user);
    changes.lists(e, "vrrp_notify ", (old, new), key, |changes, a, b| {
        for ((key, was), (_, is)) in a.programs().into_iter().zip(b.programs()) {
            let of = format!("vrrp_notify {} as {}: {key}", a.router, a.user);
            changes.value(e, &of, was.join(" "), is.join(" "));
        }
    });
}

pub(super) fn files(changes: &mut Changes, old: &[TrackFile], new: &[TrackFile]) {
    let e = Effect::Reload;
    let key = |f: &TrackFile| f.name.clone();
    changes.lists(e, "track_file ", (old, new), key, |changes, a, b| {
        let of = |what: &str| format!("track_file {}: {what}", a.name);
        changes.value(
            e,
            &of("file"),
            a.file.display().to_string(),
            b.file.display().to_string(),
        );
        weight(changes, of, a.weight, b.weight);
    });
}

pub(super) fn gateways(changes: &mut Changes, old: &[TrackGateway], new: &[TrackGateway]) {
    let e = Effect::Reload;
    let key = |g: &TrackGateway| g.name.clone();
    changes.lists(e, "track_gateway ", (old, new), key, |changes, a, b| {
        let of = |what: &str| format!("track_gateway {}: {what}", a.name);
        changes.value(e, &of("address"), a.address, b.address);
        let (was, is) = (a.interface.as_ref(), b.interface.as_ref());
        changes.optional(e, &of("interface"), was, is);
        let s = |duration: std::time::Duration| format!("{} s", duration.as_secs_f64());
        changes.value(e, &of("interval"), s(a.interval), s(b.interval));
        changes.value(e, &of("rise"), a.rise, b.rise);
        changes.value(e, &of("fall"), a.fall, b.fall);
        weight(changes, of, a.weight, b.weight);
    });
}

pub(super) fn bfds(changes: &mut Changes, old: &[TrackBfd], new: &[TrackBfd]) {
    let e = Effect::Reload;
    let key = |b: &TrackBfd| b.name.clone();
    changes.lists(e, "track_bfd ", (old, new), key, |changes, a, b| {
        let of = |what: &str| format!("track_bfd {}: {what}", a.name);
        changes.value(e, &of("address"), a.address, b.address);
        changes.optional(e, &of("bind"), a.bind.as_ref(), b.bind.as_ref());
        let s = |duration: std::time::Duration| format!("{} s", duration.as_secs_f64());
        let (was, is) = (a.session.settings, b.session.settings);
        changes.value(e, &of("min_tx"), s(was.min_tx), s(is.min_tx));
        changes.value(e, &of("min_rx"), s(was.min_rx), s(is.min_rx));
        changes.value(e, &of("multiplier"), was.multiplier, is.multiplier);
        changes.value(e, &of("passive"), was.passive, is.passive);
        changes.value(e, &of("multihop"), a.session.multihop, b.session.multihop);
        changes.value(e, &of("max_hops"), a.session.max_hops, b.session.max_hops);
        weight(changes, of, a.weight, b.weight);
    });
}

pub(super) fn servers(changes: &mut Changes, old: &[TrackServers], new: &[TrackServers]) {
    let e = Effect::Reload;
    let key = |s: &TrackServers| s.name.clone();
    changes.lists(e, "track_servers ", (old, new), key, |changes, a, b| {
        let of = |what: &str| format!("track_servers {}: {what}", a.name);
        let (was, is) = (a.service.as_ref(), b.service.as_ref());
        changes.optional(e, &of("service"), was, is);
        changes.value(e, &of("share"), a.share, b.share);
        weight(changes, of, a.weight, b.weight);
    });
}

fn weight(changes: &mut Changes, of: impl Fn(&str) -> String, old: TrackWeight, new: TrackWeight) {
    changes.value(Effect::Reload, &of("weight"), old.by, new.by);
    changes.value(Effect::Reload, &of("reverse"), old.reverse, new.reverse);
}

/// What an instance tracks.
pub(super) fn tracks(changes: &mut Changes, what: &str, old: &[Track], new: &[Track]) {
    let text = |list: &[Track]| match list {
        [] => "none".to_owned(),
        _ => list
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    changes.value(Effect::Reload, what, text(old), text(new));
}
