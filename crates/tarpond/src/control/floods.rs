//! Floods of SYNs: told when they begin and end.

use super::Control;
use api::{EventKind, Flood};
use config::ServiceKey;
use engine::Flooded;
use std::collections::{BTreeSet, HashMap};

/// The services under one, as far as told.
#[derive(Debug, Default)]
pub struct Floods(BTreeSet<ServiceKey>);

/// Looks, and tells what has changed. Once a second.
pub fn look(control: &mut Control) {
    let now = control.clock.now();
    let stand = control.director.floods(now);
    let on: BTreeSet<ServiceKey> = stand
        .iter()
        .filter(|(_, flooded)| flooded.on)
        .map(|(key, _)| *key)
        .collect();
    let before = std::mem::replace(&mut control.floods.0, on.clone());
    let limit = |key: &ServiceKey| {
        let service = control.config.services.iter().find(|s| s.key == *key);
        service.map(|s| s.limits.syn_cookies).unwrap_or_default()
    };
    for key in on.difference(&before) {
        let cause = format!("new SYNs come, and syn_cookies = {}", limit(key));
        let what = "a flood of SYNs: nothing is kept of them".to_owned();
        let service = (Some(*key), None);
        control
            .journal
            .add(EventKind::FloodBegun, service, what, cause);
    }
    for key in before.difference(&on) {
        let flooded = stand.iter().find(|(k, _)| k == key);
        let (what, cause) = match flooded {
            Some((_, counted)) => ("the flood of SYNs is over", counts(counted)),
            None => (
                "SYNs make connections again",
                "syn_cookies was taken from it, or it is gone".to_owned(),
            ),
        };
        let service = (Some(*key), None);
        control
            .journal
            .add(EventKind::FloodOver, service, what.to_owned(), cause);
    }
}

fn counts(counted: &Flooded) -> String {
    let Flooded {
        cookies_sent,
        accepted,
        refused,
        hashed,
        ..
    } = counted;
    format!(
        "so far: {cookies_sent} answered with cookies, {hashed} sent on by hash, {accepted} connections made of them, {refused} refused"
    )
}

/// Those of all services that have `syn_cookies`, for listings.
pub fn shown(control: &Control) -> HashMap<ServiceKey, Flood> {
    let all = control.director.floods(control.clock.now());
    let shown = |(key, counted): (ServiceKey, Flooded)| {
        let flood = Flood {
            on: counted.on,
            cookies_sent: counted.cookies_sent,
            accepted: counted.accepted,
            refused: counted.refused,
            hashed: counted.hashed,
        };
        (key, flood)
    };
    all.into_iter().map(shown).collect()
}
