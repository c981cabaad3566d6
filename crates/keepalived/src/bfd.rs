//! `bfd_instance { ... }` and `BFD_CHECK { name ... }`: a session with a real server, which is a check here.

use crate::{
    Context, Import,
    note::Notes,
    track,
    tree::Statement,
    value::{parsed, refused},
    vrrp::fitting,
};
use config::{MOST_WEIGHT, TrackBfd, TrackWeight};
use health::{Bfd, Check, Kind, Timing, bfd::Settings};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};

const WORDS: &[&str] = &[
    "neighbor_ip",
    "neighbour_ip",
    "source_ip",
    "min_rx",
    "min_tx",
    "idle_tx",
    "multiplier",
    "passive",
    "ttl",
    "hoplimit",
    "max_hops",
    "weight",
    "vrrp",
    "checker",
];
/// What checks here can be told.
const LEAST: Duration = Duration::from_millis(10);
const MOST: Duration = Duration::from_secs(60);
/// To come up for the first time: of no checker's timing, since several may share a session.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of packets sent, here.
const TTL: u8 = 255;

/// A `bfd_instance`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance {
    neighbour: IpAddr,
    source: Option<IpAddr>,
    session: Bfd,
}

/// The instances that checkers or virtual routers name: sessions are kept for those only.
pub(crate) fn named(statements: &[Statement]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in statements {
        if statement.keyword() == "track_bfd" {
            names.extend(
                statement
                    .inner()
                    .iter()
                    .map(|word| word.keyword().to_owned()),
            );
        } else if statement.keyword() == "BFD_CHECK" {
            let words = statement.inner().iter();
            names.extend(
                words
                    .filter(|word| word.keyword() == "name")
                    .filter_map(|word| word.argument(0).map(str::to_owned)),
            );
        } else {
            names.extend(named(statement.inner()));
        }
    }
    names
}

/// Reads a `bfd_instance`.
pub(crate) fn instance(
    statement: &Statement,
    named: &BTreeSet<String>,
    context: &mut Context,
    import: &mut Import,
    notes: &mut Notes,
) {
    let name = statement.argument(0).unwrap_or_default();
    if !named.contains(name) {
        return notes.unsupported_block(statement, "no BFD_CHECK and no track_bfd names it");
    }
    notes.exact(statement);
    let mut neighbour = None;
    let mut source = None;
    let mut weight = TrackWeight::default();
    // keepalived's defaults.
    let mut session = Bfd {
        multihop: false,
        max_hops: 0,
        settings: Settings {
            min_tx: LEAST,
            min_rx: LEAST,
            multiplier: 5,
            passive: false,
        },
    };
    for inner in statement.inner() {
        let settings = &mut session.settings;
        let well = match inner.keyword() {
            "neighbor_ip" | "neighbour_ip" => {
                neighbour = parsed(inner, "an address", notes);
                neighbour.is_some()
            }
            "source_ip" => {
                source = parsed(inner, "an address", notes);
                source.is_some()
            }
            "min_rx" => {
                interval(inner, &mut settings.min_rx, notes);
                continue;
            }
            "min_tx" => {
                interval(inner, &mut settings.min_tx, notes);
                continue;
            }
            "idle_tx" => {
                notes.mapped(inner, "a packet a second goes out while it is not up");
                continue;
            }
            "multiplier" => parsed(inner, "a number of packets up to 255", notes)
                .filter(|n| *n > 0)
                .map(|n| settings.multiplier = n)
                .is_some(),
            "passive" => {
                settings.passive = true;
                true
            }
            "max_hops" => parsed(inner, "a number of routers up to 255", notes)
                .map(|hops| session.max_hops = hops)
                .is_some(),
            "ttl" | "hoplimit" => {
                match parsed::<u8>(inner, "a time to live", notes) {
                    Some(TTL) => notes.exact(inner),
                    Some(_) => notes.mapped(inner, "packets leave with 255"),
                    None => {}
                }
                continue;
            }
            "checker" | "vrrp" => true,
            "weight" => {
                weight = track::weight(inner, MOST_WEIGHT, notes).unwrap_or_default();
                continue;
            }
            _ => {
                notes.unknown(inner, "bfd_instance", WORDS);
                continue;
            }
        };
        if well {
            notes.exact(inner);
        } else if notes.found.last().is_none_or(|n| n.place != inner.place) {
            refused(inner, notes);
        }
    }
    let Some(neighbour) = neighbour else {
        return notes.wrong(statement, "it has no `neighbor_ip`");
    };
    // Of those that only checkers name nobody tracks any.
    let tracked = TrackBfd {
        bind: source,
        session,
        weight,
        ..TrackBfd::new(fitting(name), neighbour)
    };
    import.bfds.push(tracked);
    let instance = Instance {
        neighbour,
        source,
        session,
    };
    context.sessions.insert(name.to_owned(), instance);
}

/// Milliseconds, perhaps with a fraction.
fn interval(inner: &Statement, slot: &mut Duration, notes: &mut Notes) {
    let Some(ms) = parsed::<f64>(inner, "a number of milliseconds", notes) else {
        return;
    };
    let Ok(exact) = Duration::try_from_secs_f64(ms / 1000.0) else {
        return notes.wrong(inner, format!("{ms} is no time"));
    };
    // To the millisecond, as everywhere here.
    let whole = u64::try_from(exact.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    *slot = Duration::from_millis(whole).clamp(LEAST, MOST);
    if *slot == exact {
        notes.exact(inner);
    } else {
        notes.mapped(inner, format!("{} ms", slot.as_millis()));
    }
}

/// The check that a `BFD_CHECK` is.
pub(crate) fn check(
    statement: &Statement,
    alpha: Option<bool>,
    context: &Context,
    notes: &mut Notes,
) -> Vec<Check> {
    notes.exact(statement);
    let mut found = None;
    for inner in statement.inner() {
        match (inner.keyword(), inner.argument(0)) {
            ("name", Some(name)) => match context.sessions.get(name) {
                Some(instance) => {
                    found = Some(*instance);
                    notes.exact(inner);
                }
                None => notes.wrong(inner, format!("there is no bfd_instance {name:?}")),
            },
            _ => notes.unknown(inner, "BFD_CHECK", &["name"]),
        }
    }
    let Some(instance) = found else {
        notes.wrong(statement, "it has no `name`, and checks nothing");
        return Vec::new();
    };
    let timing = Timing {
        timeout: PATIENCE,
        alpha: alpha.unwrap_or(false),
        ..Timing::default()
    };
    vec![Check {
        kind: Kind::Bfd(instance.session),
        timing,
        address: Some(instance.neighbour),
        port: None,
        bind: health::Bind {
            address: instance.source,
            ..health::Bind::default()
        },
        aim: None,
        detour: None,
    }]
}
