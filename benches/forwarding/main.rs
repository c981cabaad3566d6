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
mod measure;
mod subject;
mod testpmd;

use anyhow::{Context, Result, bail, ensure};
use dpdk::{Eal, EalConfig, MemoryMode};
use forward::Bed;
use measure::{Load, Side, Spread, Windows};
use std::{env, process, time::Duration};
use subject::Subject;

const HELP: &str = "cargo bench --bench forwarding -- [--pairs N] [--window-ms N] [--core N] [--flows N,N...] [--skip-testpmd] [--memory MB]
  --pairs N         pairs of windows for each comparison (default 40, at least 10)
  --window-ms N     length of a window (default 50; testpmd's are 300)
  --core N          the core to measure on (default: the last)
  --flows N,N,...   connections for the subjects (default 1000,10000)
  --skip-testpmd    no calibration
  --memory MB       DPDK's memory (default 128)";

struct Options {
    windows: Windows,
    core: usize,
    flows: Vec<u32>,
    calibrate: bool,
    memory_mb: u32,
}

fn main() -> Result<()> {
    let Some(options) = options()? else {
        println!("{HELP}");
        return Ok(());
    };
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
        for subject in subject::all(flows, &bed.pool()) {
            let mut subject = subject?;
            let mut stamp = flows::Stamp::new(flows);
            let run = options.windows.compare(|side, window| match side {
                Side::First => bed.run(window, hz, &mut stamp, &mut subject::Macswap),
                Side::Second => bed.run(window, hz, &mut stamp, &mut *subject),
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

fn options() -> Result<Option<Options>> {
    let last = core_affinity::get_core_ids()
        .and_then(|cores| cores.last().map(|core| core.id))
        .unwrap_or(0);
    let mut options = Options {
        windows: Windows {
            pairs: 40,
            window: Duration::from_millis(50),
        },
        core: last,
        flows: vec![1000, 10_000],
        calibrate: true,
        memory_mb: 128,
    };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            // Cargo passes it.
            "--bench" => {}
            "--help" | "-h" => return Ok(None),
            "--pairs" => options.windows.pairs = value()?.parse()?,
            "--window-ms" => options.windows.window = Duration::from_millis(value()?.parse()?),
            "--core" => options.core = value()?.parse()?,
            "--flows" => {
                options.flows = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()?
            }
            "--skip-testpmd" => options.calibrate = false,
            "--memory" => options.memory_mb = value()?.parse()?,
            other => bail!("unknown option {other}\n{HELP}"),
        }
    }
    ensure!(
        options.windows.pairs >= 10,
        "--pairs {}: at least 10",
        options.windows.pairs
    );
    Ok(Some(options))
}
