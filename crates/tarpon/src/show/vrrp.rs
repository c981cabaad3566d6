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
            v.interface.clone(),
            format!("{}/v{}", v.virtual_router_id, v.version),
            format!("{} ms", v.advert_int_ms),
            addresses.join(", "),
            v.why.clone(),
        ]);
    }
    let mut out = table.to_string();
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

/// One line for `tarpon status`.
pub fn summary(all: &[Vrrp]) -> String {
    let one = |v: &Vrrp| format!("{} {} for {}", v.name, v.state, since(v.since_s));
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
