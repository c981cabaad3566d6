//! Instructions the engine takes for a packet, by callgrind: they repeat exactly, whatever else the machine does. And the
//! gate: the accepted values stand in a file in the tree.

use crate::{
    director::Lvs,
    forward::{BURST, Bed},
    path::Path,
    subject::Subject,
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeMap,
    env, fs,
    process::{Command, Stdio},
};

/// Rounds that are counted: a burst each way in each.
const ROUNDS: u32 = 200;
/// Another compiler may order instructions otherwise, and that is no regression: per cent.
const TOLERANCE: f64 = 3.0;

/// Runs this program under valgrind for each path.
pub fn report(paths: &[Path], flows: &[u32]) -> Result<()> {
    for &flows in flows {
        for path in paths {
            let count = under_valgrind(*path, flows)?;
            println!("{path:<24} {flows:>9} flows: {count:.1} instructions/packet in the engine");
        }
    }
    Ok(())
}

/// Whether no path takes more instructions than `file` accepts; with `accept`, writes what they take now.
pub fn gate(paths: &[Path], file: &str, accept: bool) -> Result<bool> {
    const FLOWS: u32 = 1000;
    let mut now = BTreeMap::new();
    for path in paths {
        now.insert(path.to_string(), under_valgrind(*path, FLOWS)?);
    }
    if accept {
        let lines = now
            .iter()
            .map(|(path, count)| format!("{path}: {count:.1}\n"));
        let head = "# Instructions the engine takes for a packet of an established connection, and for a SYN answered with a cookie: what `scripts/test --only bench-gate`\n\
                    # accepts, with 3 per cent more. Written by `cargo bench --bench forwarding -- --gate FILE --accept`.\n";
        fs::write(file, head.to_owned() + &lines.collect::<String>())
            .with_context(|| format!("cannot write {file}"))?;
        return Ok(true);
    }
    let accepted = read(file)?;
    let (mut worse, mut better) = (Vec::new(), false);
    for (path, count) in &now {
        let limit = accepted
            .get(path)
            .with_context(|| format!("{file} has no line for `{path}`: --accept writes one"))?;
        let change = 100.0 * (count / limit - 1.0);
        let verdict = if change > TOLERANCE {
            worse.push(format!("{path} ({change:+.1} %)"));
            "WORSE"
        } else if change < -TOLERANCE {
            better = true;
            "better"
        } else {
            "ok"
        };
        println!(
            "{path:<24} {count:7.1} instructions/packet, accepted {limit:7.1} ({change:+.1} %) {verdict}"
        );
    }
    if better {
        println!("better than accepted: --gate {file} --accept makes that the measure");
    }
    if !worse.is_empty() {
        println!(
            "more instructions than accepted, by more than {TOLERANCE} %: {}",
            worse.join(", ")
        );
    }
    Ok(worse.is_empty())
}

fn read(file: &str) -> Result<BTreeMap<String, f64>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let wrong = || format!("{file}: `{line}` is no `path: number`");
            let (path, count) = line.split_once(": ").with_context(wrong)?;
            Ok((path.to_owned(), count.parse().with_context(wrong)?))
        })
        .collect()
}

/// The part of the child: forwards a fixed number of packets, of which valgrind counts the engine's step and nothing else.
pub fn count(bed: &mut Bed, path: Path, flows: u32) -> Result<()> {
    let mut lvs = Lvs::new(path, flows, 1, &bed.pool())?;
    let mut stamp = lvs.stamp();
    let lane = lvs.lanes.first_mut().context("no worker")?;
    lane.tick();
    let packets = bed.rounds(ROUNDS, &mut stamp, lane)?;
    ensure!(
        packets == 2 * BURST * ROUNDS as usize,
        "{packets} packets are not what was to be counted"
    );
    lvs.verify(&lvs.lanes)
}

fn under_valgrind(path: Path, flows: u32) -> Result<f64> {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--collect-atstart=no",
        ])
        .arg("--toggle-collect=*counted_step*")
        .arg(env::current_exe()?)
        .args(["--count", &path.to_string(), "--flows", &flows.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("valgrind (package valgrind) did not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{path} failed under valgrind:\n{said}"
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
