//! Instructions per packet, by callgrind: they repeat exactly, whatever else the machine does.

use crate::{
    flows::{Stamp, Stamper},
    forward::{BURST, Bed},
    subject::{self, Macswap, Subject},
};
use anyhow::{Context, Result, ensure};
use std::{
    env,
    process::{Command, Stdio},
};

/// Rounds that are counted: a burst each way in each.
const ROUNDS: u32 = 1000;

/// Runs this program under valgrind for macswap and each subject, and says what each adds.
pub fn report(flows: &[u32]) -> Result<()> {
    for &flows in flows {
        let base = under_valgrind("macswap", flows)?;
        println!(
            "{:<24} {flows:>9} flows: {base:.1} instructions/packet, generator and port included",
            "macswap"
        );
        for name in subject::NAMES {
            let all = under_valgrind(name, flows)?;
            println!(
                "{name:<24} {flows:>9} flows: {all:.1} instructions/packet, added {:.1}",
                all - base
            );
        }
    }
    Ok(())
}

/// The part of the child: forwards a fixed number of packets, all of which valgrind counts and nothing else.
pub fn count(bed: &mut Bed, name: &str, flows: u32) -> Result<()> {
    let mut stamp = Stamp::new(flows);
    if name == "macswap" {
        return counted_rounds(bed, &mut stamp, &mut Macswap);
    }
    let mut subject = subject::of(name, flows, &bed.pool())?;
    subject.tick();
    counted_rounds(bed, &mut stamp, &mut *subject)?;
    subject.verify()
}

/// Valgrind knows it by its name.
#[inline(never)]
fn counted_rounds(
    bed: &mut Bed,
    stamp: &mut impl Stamper,
    subject: &mut (impl Subject + ?Sized),
) -> Result<()> {
    let packets = bed.rounds(ROUNDS, stamp, subject)?;
    ensure!(
        packets == 2 * BURST * ROUNDS as usize,
        "{packets} packets are not what was to be counted"
    );
    Ok(())
}

fn under_valgrind(name: &str, flows: u32) -> Result<f64> {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--collect-atstart=no",
        ])
        .arg("--toggle-collect=*counted_rounds*")
        .arg(env::current_exe()?)
        .args(["--count", name, "--flows", &flows.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("valgrind (package valgrind) did not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{name} failed under valgrind:\n{said}"
    );
    let collected = said
        .lines()
        .find_map(|line| line.split("Collected :").nth(1));
    let instructions: u32 = collected
        .context("callgrind counted nothing")?
        .trim()
        .parse()?;
    ensure!(instructions > 0, "callgrind counted nothing");
    let packets = 2 * u32::try_from(BURST)? * ROUNDS;
    Ok(f64::from(instructions) / f64::from(packets))
}
