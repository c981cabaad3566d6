//! What virtual routers track: whether it is there, and whether its weight can do anything.

use super::{Problems, repeated};
use crate::{Config, Track, TrackedBy, Vrrp, track::TrackWeight};

pub(super) fn check(config: &Config, interfaces_known: bool, problems: &mut Problems) {
    for (again, _) in repeated(config.vrrp_scripts.iter().map(|s| &s.name)) {
        twice(&format!("vrrp_script[{again}].name"), "script", problems);
    }
    for (again, _) in repeated(config.track_files.iter().map(|f| &f.name)) {
        twice(&format!("track_file[{again}].name"), "file", problems);
    }
    let interfaces: Vec<&str> = config.interfaces().map(|i| i.name).collect();
    let scripts: Vec<&str> = config
        .vrrp_scripts
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    let files: Vec<&str> = config.track_files.iter().map(|f| f.name.as_str()).collect();
    for (index, instance) in config.vrrp.iter().enumerate() {
        let at = |key: &str| format!("vrrp[{index}].{key}");
        if interfaces_known {
            let list = &instance.track_interface;
            known(
                list,
                &interfaces,
                &at("track_interface"),
                "port or VLAN",
                problems,
            );
        }
        let list = &instance.track_script;
        known(
            list,
            &scripts,
            &at("track_script"),
            "[[vrrp_script]]",
            problems,
        );
        let list = &instance.track_file;
        known(list, &files, &at("track_file"), "[[track_file]]", problems);
        if instance.priority == 255 {
            let weighs = |t: &TrackedBy<'_>| t.parts().2.by != 0;
            if let Some(tracked) = config.tracked(&[instance]).iter().find(|t| weighs(t)) {
                let (kind, name, weight) = tracked.parts();
                problems.add(
                    at(&format!("track_{kind}")),
                    format!(
                        "{weight} of {kind} {name:?} does nothing: priority 255 does not change"
                    ),
                    format!(
                        "write \"{name} weight 0\" (a fault while it is down), or a lower priority"
                    ),
                );
            }
        }
    }
    for (_, members) in config.vrrp_units() {
        contradictions(config, &members, problems);
    }
}

fn twice(path: &str, what: &str, problems: &mut Problems) {
    problems.add(
        path,
        format!("there is another {what} of that name"),
        "give each a name of its own",
    );
}

fn known(list: &[Track], names: &[&str], path: &str, what: &str, problems: &mut Problems) {
    for (number, track) in list.iter().enumerate() {
        if names.contains(&track.name.as_str()) {
            continue;
        }
        let instead = match names {
            [] => format!("there is none: add a {what}"),
            _ => format!("the names are {}", names.join(", ")),
        };
        let what = format!("there is no {what} named {:?}", track.name);
        problems.add(format!("{path}[{number}]"), what, instead);
    }
}

/// What moves together has one priority: nothing can weigh in it twice.
fn contradictions(config: &Config, members: &[&Vrrp], problems: &mut Problems) {
    let mut seen: Vec<(&str, &str, TrackWeight)> = Vec::new();
    for tracked in config.tracked(members) {
        let (kind, name, weight) = tracked.parts();
        let same = |(k, n, _): &&(&str, &str, TrackWeight)| (*k, *n) == (kind, name);
        let Some((_, _, other)) = seen.iter().find(same) else {
            seen.push((kind, name, weight));
            continue;
        };
        let index = config
            .vrrp
            .iter()
            .position(|v| v.unit() == members.first().map_or("", |m| m.unit()));
        problems.add(
            format!("vrrp[{}].track_{kind}", index.unwrap_or(0)),
            format!("{kind} {name:?} has {other} and {weight} for what moves together"),
            "name it once, or with the same weight",
        );
    }
}
