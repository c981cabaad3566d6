//! `tarpon vrrp`

use crate::{
    table::Table,
    units::{count, duration},
};
use api::Vrrp;

pub fn vrrp(all: &[Vrrp], figures: bool) -> String {
    if all.is_empty() {
        return "no [[vrrp]] in the configuration\n".into();
    }
    let mut table = Table::new(&[
        "INSTANCE",
        "STATE",
        ">SINCE",
        ">PRIORITY",
        "HEARD",
        "INTERFACE",
        ">ID",
        ">EVERY",
        "ADDRESSES",
        "WHY",
    ]);
    for v in all {
        let name = match &v.sync_group {
            Some(group) => format!("{} ({group})", v.name),
            None => v.name.clone(),
        };
        let heard = v.heard.map_or_else(
            || "nobody".into(),
            |h| format!("{} ({})", h.from, h.priority),
        );
        let mut addresses: Vec<String> = v
            .addresses
            .iter()
            .take(3)
            .map(ToString::to_string)
            .collect();
        if v.addresses.len() > 3 {
            addresses.push(format!("and {} more", v.addresses.len() - 3));
        }
        table.row(vec![
            name,
            v.state.to_uppercase(),
            since(v.since_s),
            v.priority_now.to_string(),
            heard,
            match v.virtual_mac {
                Some(mac) => format!("{} {mac}", v.interface),
                None => v.interface.clone(),
            },
            format!("{}/v{}", v.virtual_router_id, v.version),
            format!("{} ms", v.advert_int_ms),
            addresses.join(", "),
            v.why.clone(),
        ]);
    }
    let mut out = table.to_string();
    for (v, unit) in units(all) {
        if let Some(why) = &v.lets_be {
            out.push_str(&format!("\n{unit} lets a worse master be: {why}\n"));
        }
    }
    out.push_str(&tracked(all));
    if figures {
        for v in all {
            out.push_str(&format!("\n{}\n", v.name));
            let own = [("takeovers", v.takeovers), ("woke_late", v.woke_late)];
            let all = v.counters.iter().map(|(name, n)| (name.as_str(), *n));
            for (name, n) in own.into_iter().chain(all) {
                out.push_str(&format!("  {name:<20} {}\n", count(n)));
            }
        }
    }
    out
}

/// The first of all that moves together, and its name.
fn units(all: &[Vrrp]) -> Vec<(&Vrrp, &str)> {
    let mut units: Vec<(&Vrrp, &str)> = Vec::new();
    for v in all {
        if !units.iter().any(|(first, _)| first.unit == v.unit) {
            units.push((v, v.sync_group.as_deref().unwrap_or(&v.name)));
        }
    }
    units
}

/// What is tracked, once for all that moves together.
fn tracked(all: &[Vrrp]) -> String {
    let mut out = String::new();
    for (v, unit) in units(all) {
        if v.tracked.is_empty() {
            continue;
        }
        out.push_str(&format!("\ntracked by {unit} (priority {}):\n", v.priority));
        let mut table = Table::new(&["TRACKED", "IS", ">FOR", ">WEIGHT", ">PRIORITY", "WHY"]);
        for t in &v.tracked {
            let reverse = if t.reverse { " reverse" } else { "" };
            table.row(vec![
                format!("{} {}", t.kind, t.name),
                t.finding.clone(),
                since(t.since_s),
                format!("{}{reverse}", t.weight),
                match (t.fault, t.adds) {
                    (true, _) => "FAULT".into(),
                    (false, 0) => String::new(),
                    (false, adds) => format!("{adds:+}"),
                },
                t.why.clone().unwrap_or_default(),
            ]);
        }
        out.push_str(&table.to_string());
    }
    out
}

/// One line for `tarpon status`.
pub fn summary(all: &[Vrrp]) -> String {
    let one = |v: &Vrrp| {
        let mut text = format!("{} {} for {}", v.name, v.state, since(v.since_s));
        if let (Some(why), "backup") = (&v.lets_be, v.state.as_str()) {
            text += &format!(" (lets a worse master be: {why})");
        }
        if v.state == "fault" {
            text += &format!(" ({})", v.why);
        } else if v.priority_now != v.priority {
            text += &format!(" (priority {} instead of {})", v.priority_now, v.priority);
        }
        text
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds for people"
)]
fn since(seconds: f64) -> String {
    duration(seconds.max(0.0) as u64)
}
