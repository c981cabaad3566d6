//! `tarpon counters`

use crate::{table::Table, units::count};
use api::{Counters, Totals};

pub fn counters(c: &Counters, all: bool) -> String {
    let t = &c.total;
    let mut out = format!(
        "rx {} + generated {} + from host {} = {}\ntx {} + punted {} + dropped {} + held {} = {}\n",
        count(t.rx),
        count(t.generated),
        count(t.from_host),
        count(entered(t)),
        count(t.tx),
        count(t.punted),
        count(t.dropped),
        count(t.held),
        count(left(t)),
    );
    out.push_str(if c.balanced {
        "balanced: every frame is accounted for\n"
    } else {
        "not balanced at this moment: frames were counted midway; ask again\n"
    });
    if t.rate_limited > 0 || all {
        out.push_str(&format!(
            "not answered because of the rate limit: {}\n",
            count(t.rate_limited)
        ));
    }
    if t.no_buffer > 0 || all {
        out.push_str(&format!(
            "not built because no buffer was free: {}\n",
            count(t.no_buffer)
        ));
    }
    let mut drops = Table::new(&["DROPPED", ">FRAMES", ""]);
    for drop in c.drops.iter().filter(|d| all || d.count > 0) {
        drops.row(vec![
            drop.reason.clone(),
            count(drop.count),
            drop.meaning.trim().to_owned(),
        ]);
    }
    if !drops.is_empty() {
        out.push_str(&format!("\n{drops}"));
    }
    if all {
        let mut workers = Table::new(&[
            ">WORKER",
            ">RX",
            ">GENERATED",
            ">FROM HOST",
            ">TX",
            ">PUNTED",
            ">DROPPED",
            ">HELD",
        ]);
        for w in &c.workers {
            let t = &w.totals;
            let mut row = vec![w.id.to_string()];
            row.extend([t.rx, t.generated, t.from_host, t.tx, t.punted, t.dropped].map(count));
            row.push(held(t.held));
            workers.row(row);
        }
        out.push_str(&format!("\n{workers}"));
    }
    out
}

/// Of one worker: fewer than none, where it has let fragments go that others took in.
fn held(frames: u64) -> String {
    match i64::try_from(frames) {
        Ok(_) => count(frames),
        Err(_) => format!("-{}", count(frames.wrapping_neg())),
    }
}

fn entered(t: &Totals) -> u64 {
    t.rx.saturating_add(t.generated).saturating_add(t.from_host)
}

fn left(t: &Totals) -> u64 {
    t.tx.saturating_add(t.punted)
        .saturating_add(t.dropped)
        .saturating_add(t.held)
}
