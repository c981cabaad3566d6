//! Throughput against DPDK's own forwarder on the same ports: a short run, its figures reported. The long run is
//! `scripts/compare-testpmd` by hand: what counts is its median.

use crate::lab::{root, run, runner::Case};
use anyhow::{Context, Result, ensure};
use std::process::Command;

pub fn cases() -> Vec<Case> {
    vec![Case::new("throughput::against_testpmd", against_testpmd)]
}

fn against_testpmd() -> Result<()> {
    let script = root().join("scripts/compare-testpmd");
    let text = run::text(
        Command::new(script).args(["--rounds", "3", "--seconds", "2"]),
        120,
    )?;
    for measure in ["iperf3", "wrk"] {
        let line = text
            .lines()
            .find_map(|l| l.trim().strip_prefix(measure))
            .with_context(|| format!("no line for {measure}:\n{text}"))?;
        let ratio: f64 = line.split_whitespace().next().context("a ratio")?.parse()?;
        print!("[{measure} {ratio:.2} of testpmd] ");
        // Three short rounds on a shared machine only tell a collapse from health.
        ensure!(
            ratio > 0.5,
            "{measure} through tarpond is {ratio} of testpmd's:\n{text}"
        );
    }
    Ok(())
}
