//! Clocks per packet, measured the only way that counts on a shared machine: two things in turn in one run, many short
//! windows, the median of the pairs' differences and its interquartile range, with the machine's load beside it.
//!
//! 1. *Calibration*: our own macswap loop against `dpdk-testpmd --forward-mode=macswap` on the same pair of `net_null`
//!    ports, core and kind of memory. Within 5 %, or everything below says nothing about DPDK.
//! 2. *Subjects*: each against macswap, on frames stamped with flows drawn uniformly at random; "added clocks" is the
//!    difference. The stamping is part of both.
//!
//! Time is the thread's CPU time times the time stamp counter's rate: neighbours that take the core away do not count,
//! what they do to the caches does.

mod director;
mod flows;
mod forward;
mod instructions;
mod measure;
mod options;
mod path;
mod subject;
mod testpmd;

use anyhow::{Context, Result, ensure};
use dpdk::{Eal, EalConfig, MemoryMode};
use forward::Bed;
use measure::{Load, Side, Spread, Windows};
use options::Options;
use std::{process, time::Duration};
use subject::Subject;

fn main() -> Result<()> {
    let Some(options) = Options::read()? else {
        println!("{}", options::HELP);
        return Ok(());
    };
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
    if options.calibrate {
        calibrate(&mut bed, &eal, &options)?;
    }
    for &flows in &options.flows {
        for path in &options.paths {
            let mut subject = director::Lvs::new(*path, flows, &bed.pool())?;
            let mut stamp = subject.stamp();
            let run = options.windows.compare(|side, window| match side {
                Side::First => bed.run(window, hz, &mut stamp, &mut subject::Macswap),
                Side::Second => bed.run(window, hz, &mut stamp, &mut subject),
            })?;
            println!("{:<24} {flows:>9} flows: {}", subject.name(), run.added());
            subject.verify()?;
        }
    }
    println!("{}", load.finish()?);
    ensure!(bed.in_use() == 0, "{} packet buffers leaked", bed.in_use());
    Ok(())
}

/// Our loops against testpmd's.
fn calibrate(bed: &mut Bed, eal: &Eal, options: &Options) -> Result<()> {
    let hz = eal.tsc_hz();
    let mut testpmd = testpmd::Testpmd::start(options.core, eal.memory_mode())?;
    let window = Duration::from_millis(300);
    let windows = Windows {
        pairs: options.windows.pairs.min(20),
        window,
    };
    let loops: [(&str, &mut dyn Subject); 2] =
        [("io", &mut subject::Io), ("macswap", &mut subject::Macswap)];
    for (mode, subject) in loops {
        testpmd.set_mode(mode)?;
        let run = windows.compare(|side, window| match side {
            Side::First => testpmd.run(window, hz),
            Side::Second => bed.run(window, hz, &mut flows::Unstamped, subject),
        })?;
        let ratio = Spread::of(
            run.pairs
                .iter()
                .map(|(testpmd, ours)| testpmd / ours)
                .collect(),
        );
        println!(
            "calibration, {mode}: testpmd {:.1}, ours {:.1} clocks/packet; our speed / testpmd's {ratio:.3}",
            run.first().median,
            run.second().median
        );
        if ratio.median < 0.95 {
            println!(
                "calibration, {mode}: more than 5 % SLOWER than testpmd; figures below flatter the subjects"
            );
        }
        if ratio.median > 1.05 && mode == "macswap" {
            println!(
                "  (testpmd's macswap writes every frame's offload fields as well; a faster base makes subjects add more)"
            );
        }
    }
    Ok(())
}
