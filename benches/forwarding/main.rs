//! Clocks per packet, measured the only way that counts on a shared machine: two things in turn in one run, many short
//! windows, the median of the pairs' differences and its interquartile range, with the machine's load beside it.
//!
//! 1. *Calibration*: our own loops against `dpdk-testpmd`'s io and macswap on the same pair of `net_null` ports, core, burst,
//!    pool and kind of memory. Within 5 %, or everything below says little about DPDK. testpmd's macswap also writes every
//!    frame's offload fields, on the packet buffer's second line; so does ours in the calibration, and only there.
//! 2. *Subjects*: each against macswap, on frames stamped with flows drawn uniformly at random; "added clocks" is the
//!    difference. The stamping is part of both.
//!
//! Time is the thread's CPU time times the time stamp counter's rate: neighbours that take the core away do not count,
//! what they do to the caches does.

mod change;
mod director;
mod flows;
mod forward;
mod grid;
mod instructions;
mod latency;
mod lives;
mod marks;
mod measure;
mod options;
mod path;
mod plot;
mod readme;
mod report;
mod run;
mod subject;
mod sync;
mod testpmd;

use anyhow::{Context, Result, ensure};
use dpdk::{Eal, EalConfig, MemoryMode};
use forward::Bed;
use measure::{Load, Side, Spread, Windows};
use options::Options;
use report::Calibration;
use std::{process, time::Duration};
use subject::Subject;

fn main() -> Result<()> {
    let Some(options) = Options::read()? else {
        println!("{}", options::HELP);
        return Ok(());
    };
    if let Some(json) = &options.readme {
        return readme::write(json, "README.md");
    }
    if let Some(file) = &options.gate {
        if !instructions::gate(&options.paths, file, options.accept)? {
            process::exit(1);
        }
        return Ok(());
    }
    if options.instructions {
        return instructions::report(&options.paths, &options.flows);
    }
    let cores =
        core_affinity::get_core_ids().context("the cores of this machine cannot be listed")?;
    let core = cores
        .iter()
        .find(|core| core.id == options.core)
        .context("no such core")?;

    let eal = Eal::init(EalConfig {
        name: format!("bench-{}", process::id()),
        memory_mb: options.memory_mb,
        ..EalConfig::default()
    })?;
    ensure!(
        core_affinity::set_for_current(*core),
        "the thread cannot be pinned to core {}",
        core.id
    );
    let _registered = eal.register_thread()?;
    if let Some(path) = options.count {
        let flows = *options.flows.first().context("--count needs --flows")?;
        return instructions::count(&mut Bed::new(&eal)?, path, flows);
    }
    let hz = eal.tsc_hz();
    let memory = match eal.memory_mode() {
        MemoryMode::Hugepages => "hugepages",
        MemoryMode::Ordinary { .. } => "ordinary pages",
    };
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let ghz = hz as f64 / 1e9;
    println!(
        "{}, {memory}, core {}, time stamp counter {ghz:.2} GHz",
        Eal::version(),
        core.id
    );
    let load = Load::start()?;

    let mut bed = Bed::new(&eal)?;
    let calibration = if options.calibrate {
        calibrate(&mut bed, &eal, &options)?
    } else {
        Vec::new()
    };
    if options.report {
        // The measuring core first.
        let others = cores.iter().filter(|other| other.id != core.id);
        let cores: Vec<_> = std::iter::once(core).chain(others).copied().collect();
        return run::run(&eal, &mut bed, &options, &cores, memory, calibration);
    }
    for &flows in &options.flows {
        for path in &options.paths {
            let mut lvs = director::Lvs::new(*path, flows, 1, &bed.pool())?;
            let mut stamp = lvs.stamp();
            let lane = lvs.lanes.first_mut().context("no worker")?;
            let run = options.windows.compare(|side, window| match side {
                Side::First => bed.run(window, hz, &mut stamp, &mut subject::Macswap),
                Side::Second => bed.run(window, hz, &mut stamp, lane),
            })?;
            println!("{:<24} {flows:>9} flows: {}", lane.name(), run.added());
            lvs.verify(&lvs.lanes)?;
        }
    }
    println!("{}", load.finish()?);
    ensure!(bed.in_use() == 0, "{} packet buffers leaked", bed.in_use());
    Ok(())
}

/// Our loops against testpmd's.
fn calibrate(bed: &mut Bed, eal: &Eal, options: &Options) -> Result<Vec<Calibration>> {
    let hz = eal.tsc_hz();
    let mut testpmd = testpmd::Testpmd::start(options.core, eal.memory_mode())?;
    let windows = Windows {
        pairs: options
            .windows
            .pairs
            .min(if options.quick { 10 } else { 20 }),
        window: Duration::from_millis(if options.quick { 150 } else { 300 }),
    };
    let loops: [(&str, &mut dyn Subject); 2] = [
        ("io", &mut subject::Io),
        ("macswap", &mut subject::TestpmdMacswap),
    ];
    let mut all = Vec::new();
    for (mode, subject) in loops {
        testpmd.set_mode(mode)?;
        let run = windows.compare(|side, window| match side {
            Side::First => testpmd.run(window, hz),
            Side::Second => bed.run(window, hz, &mut flows::Unstamped, subject),
        })?;
        let ratios = run.pairs.iter().map(|(testpmd, ours)| testpmd / ours);
        let ratio = Spread::of(ratios.collect());
        let (theirs, ours) = (run.first().median, run.second().median);
        println!(
            "calibration, {mode}: testpmd {theirs:.1}, ours {ours:.1} clocks/packet; our speed / testpmd's {ratio:.3}"
        );
        if !(0.95..=1.05).contains(&ratio.median) {
            println!("  more than 5 % apart: figures below say less than they should about DPDK");
        }
        all.push(Calibration {
            mode: mode.to_owned(),
            testpmd_clocks: report::tenth(theirs),
            clocks: report::tenth(ours),
            ratio: (ratio.median * 1000.0).round() / 1000.0,
        });
    }
    Ok(all)
}
