//! The README's performance section, from the file a run has written: no figure in it is typed by hand.

use crate::report::{Report, number};
use anyhow::{Context, Result};
use std::fs;

const BEGIN: &str = "<!-- written by scripts/bench --readme -->";
const END: &str = "<!-- end of what scripts/bench writes -->";

/// Writes what stands between the marks of `readme` anew from the run in `json`.
pub fn write(json: &str, readme: &str) -> Result<()> {
    let text = fs::read_to_string(json).with_context(|| format!("cannot read {json}"))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{json} is no run of scripts/bench"))?;
    let text = fs::read_to_string(readme).with_context(|| format!("cannot read {readme}"))?;
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("{readme} has no line `{BEGIN}`"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{readme} has no line `{END}`"))?;
    let section = section(&report);
    fs::write(readme, format!("{before}{BEGIN}\n{section}{END}{after}"))
        .with_context(|| format!("cannot write {readme}"))
}

fn section(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "Measured by `scripts/bench` on {} ({}, {} cores, {} GB, Linux {}, {}, {}, clocks at {:.2} GHz).\n{}.\n\n\
         Method: over two `net_null` ports, each figure against our macswap in interleaved windows of one run; medians, \"added\" with the quartiles' distance. \
         64-byte UDP requests of established connections, drawn from the whole table.\n",
        machine.date,
        machine.cpu,
        machine.cores,
        machine.memory_gb,
        machine.kernel,
        machine.dpdk,
        machine.pages,
        machine.tsc_ghz,
        machine.load,
    );
    for calibration in &machine.calibration {
        text += &format!(
            "Calibration, {}: testpmd {}, ours {} clocks a packet.\n",
            calibration.mode,
            number(calibration.testpmd_clocks),
            number(calibration.clocks)
        );
    }
    text += "\n| added clocks (all in) | ";
    let mut sizes: Vec<u32> = report.rows.iter().map(|row| row.connections).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let heads: Vec<String> = sizes
        .iter()
        .map(|size| number_of_connections(*size))
        .collect();
    text += &format!(
        "{} |\n|---|{}\n",
        heads.join(" | "),
        "---|".repeat(heads.len())
    );
    let mut places: Vec<(&str, u8, &str, usize)> = Vec::new();
    for row in &report.rows {
        let place = (
            row.path.as_str(),
            row.family,
            row.distribution.as_str(),
            row.workers,
        );
        if !places.contains(&place) {
            places.push(place);
        }
    }
    for (path, family, distribution, workers) in places {
        let many = if workers > 1 {
            format!(", {workers} workers")
        } else {
            String::new()
        };
        text += &format!("| {path}, IPv{family}, {distribution}{many} |");
        for size in &sizes {
            let row = report.rows.iter().find(|row| {
                (
                    row.path.as_str(),
                    row.family,
                    row.distribution.as_str(),
                    row.workers,
                    row.connections,
                ) == (path, family, distribution, workers, *size)
            });
            text += &row.map_or(" |".to_owned(), |row| {
                format!(
                    " {:.0} ±{:.0} ({:.0}) |",
                    row.added_clocks,
                    row.iqr / 2.0,
                    row.clocks
                )
            });
        }
        text += "\n";
    }
    text + "\n" + &report.goals_table()
}

fn number_of_connections(count: u32) -> String {
    match count {
        1_000_000.. if count.is_multiple_of(1_000_000) => format!("{}M", count / 1_000_000),
        1000.. if count.is_multiple_of(1000) => format!("{}k", count / 1000),
        _ => count.to_string(),
    }
}
