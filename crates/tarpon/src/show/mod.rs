//! Answers as tables. Pure: an answer in, a text out.

mod counters;
mod explain;
mod health;
mod ports;
mod services;
mod status;
mod sync;
mod vrrp;

use crate::{table::Table, units};
use api::{
    Applied, Connection, Edited, Effect, MarkRule, Neighbour, NeighbourState, Route, RouteKind,
};

pub use counters::counters;
pub use explain::explained;
pub use health::health;
pub use ports::ports;
pub use services::{Figures, services};
pub use status::status;
pub use sync::sync;
pub use vrrp::vrrp;

const NEIGHBOUR_STATES: [(NeighbourState, &str); 4] = [
    (NeighbourState::Incomplete, "incomplete"),
    (NeighbourState::Reachable, "reachable"),
    (NeighbourState::Stale, "stale"),
    (NeighbourState::Failed, "failed"),
];

pub fn neighbours(neighbours: &[Neighbour]) -> String {
    if neighbours.is_empty() {
        return "no neighbours known\n".into();
    }
    let mut table = Table::new(&["ADDRESS", "MAC", "INTERFACE", "STATE", ">HEARD"]);
    for n in neighbours {
        let state = NEIGHBOUR_STATES
            .iter()
            .find(|(state, _)| *state == n.state)
            .map_or("", |(_, name)| name);
        table.row(vec![
            n.address.to_string(),
            n.mac.map_or_else(|| "-".into(), |mac| mac.to_string()),
            n.interface.clone(),
            state.into(),
            n.age_ms.map_or_else(
                || "never".into(),
                |ms| format!("{} ago", units::duration(ms / 1000)),
            ),
        ]);
    }
    table.to_string()
}

pub fn marks(rules: &[MarkRule]) -> String {
    if rules.is_empty() {
        return "no mark rules\n".into();
    }
    let mut table = Table::new(&[">NR", ">MARK", "RULE", ">PACKETS", ""]);
    for r in rules {
        table.row(vec![
            r.number.to_string(),
            r.mark.0.to_string(),
            r.rule
                .split_once(' ')
                .map_or("everything", |(_, rest)| rest)
                .to_owned(),
            crate::units::count(r.packets),
            r.warning.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}

pub fn routes(routes: &[Route]) -> String {
    if routes.is_empty() {
        return "no routes\n".into();
    }
    let mut table = Table::new(&["TO", "VIA", "INTERFACE", "KIND"]);
    for r in routes {
        let kind = match r.kind {
            RouteKind::Connected => "connected",
            RouteKind::Static => "static",
        };
        table.row(vec![
            if r.to.prefix() == 0 {
                format!("default ({})", r.to)
            } else {
                r.to.to_string()
            },
            r.via
                .map_or_else(|| "on link".into(), |via| via.to_string()),
            r.interface.clone(),
            kind.into(),
        ]);
    }
    table.to_string()
}

/// The heading of a table of connections.
pub const CONNECTIONS: [&str; 7] = [
    "PROTO", "STATE", ">EXPIRES", "METHOD", "CLIENT", "VIRTUAL", "SERVER",
];

pub fn connection(c: &Connection) -> Vec<String> {
    let state = if c.template {
        "TEMPLATE"
    } else {
        c.state.as_str()
    };
    let mut server = c.server.to_string();
    if let Some(persistence) = &c.persistence {
        server += &format!("  {} {}", persistence.engine, persistence.data);
    }
    vec![
        c.protocol.to_string(),
        state.to_owned(),
        minutes(c.expires_ms),
        c.method.to_string(),
        c.client.to_string(),
        c.vip.to_string(),
        server,
    ]
}

/// `14:59`, as in ipvsadm's listings; rounded up, so that a connection that still lives never shows 00:00.
fn minutes(ms: u64) -> String {
    let s = ms.div_ceil(1000);
    format!("{:02}:{:02}", s / 60, s % 60)
}

/// What an apply, reload or check did or would do. `done`: "applied" or "would change".
pub fn applied(applied: &Applied, done: bool) -> String {
    let mut out = String::new();
    if applied.changes.is_empty() {
        out.push_str(if done {
            "nothing differs: nothing changed\n"
        } else {
            "nothing differs from what runs\n"
        });
    }
    let (restart, reload): (Vec<_>, Vec<_>) = applied
        .changes
        .iter()
        .partition(|c| c.effect == Effect::Restart);
    if !reload.is_empty() {
        out.push_str(if done {
            "changed:\n"
        } else {
            "would change, without losing a connection:\n"
        });
        for change in reload {
            out.push_str(&format!("  {}\n", change.text));
        }
    }
    if !restart.is_empty() {
        out.push_str(
            "needs a restart of the daemon (apply and reload refuse the file until then):\n",
        );
        for change in restart {
            out.push_str(&format!("  {}\n", change.text));
        }
    }
    if !applied.lost_edits.is_empty() {
        out.push_str(if done {
            "edits that were not in the file and are gone:\n"
        } else {
            "edits that are not in the file and would be gone:\n"
        });
        for edit in &applied.lost_edits {
            out.push_str(&format!("  {edit}\n"));
        }
    }
    out
}

pub fn differences(d: &api::Differences) -> String {
    let mut out = String::new();
    let parts = [
        ("in the daemon's file, not applied yet:", &d.file),
        ("edits since a file was last applied:", &d.edits),
        ("the table, by health:", &d.health),
    ];
    for (title, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
        out.push_str(&format!("{title}\n"));
        for line in *lines {
            out.push_str(&format!("  {line}\n"));
        }
    }
    if out.is_empty() {
        out.push_str("nothing differs\n");
    }
    out
}

pub fn edited(edited: &Edited) -> String {
    if edited.changes.is_empty() {
        return "it was so already\n".into();
    }
    edited
        .changes
        .iter()
        .map(|change| format!("{change}\n"))
        .collect()
}
