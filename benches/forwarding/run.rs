//! `scripts/bench`: everything in one run, its file, and the table of goals.

use crate::{
    change,
    flows::Distribution,
    forward::Bed,
    grid::Grid,
    latency, lives, marks,
    measure::{Load, Windows},
    options::Options,
    report::{Calibration, Machine, Report, number, tenth},
};
use anyhow::{Context, Result};
use core_affinity::CoreId;
use dpdk::Eal;
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

/// Measures everything; `calibration` has been measured already.
pub fn run(
    eal: &Eal,
    bed: &mut Bed,
    options: &Options,
    cores: &[CoreId],
    pages: &str,
    calibration: Vec<Calibration>,
) -> Result<()> {
    let begun = Instant::now();
    let load = Load::start()?;
    // What others leave, and half of it: a bench must not drive a machine out of memory.
    let memory = memory("MemAvailable")? / 2;
    let all = [1000, 10_000, 100_000, 1_000_000, 10_000_000, 40_000_000];
    let quick = [10_000, 1_000_000];
    let grid = Grid {
        sizes: if options.quick {
            quick.to_vec()
        } else {
            all.to_vec()
        },
        distributions: if options.quick {
            vec![Distribution::Uniform]
        } else {
            vec![Distribution::Uniform, Distribution::Zipf]
        },
        windows: Windows {
            pairs: if options.quick {
                10
            } else {
                options.windows.pairs.min(20)
            },
            window: if options.quick {
                Duration::from_millis(25)
            } else {
                options.windows.window
            },
        },
        cores: cores.to_vec(),
        memory,
    };
    println!(
        "grid: clocks a packet over macswap's, {} pairs of windows each",
        grid.windows.pairs
    );
    let rows = grid.run(eal, bed)?;
    let largest = if options.quick { 1_000_000 } else { 10_000_000 };
    let room = u32::try_from(memory / 100).unwrap_or(u32::MAX);
    let resident = largest.min(room / 2);
    println!("full TCP lives (six packets, and expiry) beside {resident} connections");
    let lives = lives::per_second(resident, resident / 5, &bed.pool())?;
    println!("  {} a second and core", number(lives));
    println!("{resident} connections past their time at once");
    let ageing = lives::ageing(resident, &bed.pool())?;
    println!(
        "  gone after {} s of clockwork every millisecond; worst call {} us, {} % of a core",
        ageing.seconds, ageing.worst_us, ageing.cpu_share
    );
    println!("configuration changed under load, a service of 1000 servers, Maglev hashing");
    let core = *cores.first().context("no core")?;
    let change = change::run(eal, core, bed)?;
    println!(
        "  in force after {} ms; worst stall {} us; {} packets lost",
        change.visible_ms, change.worst_stall_us, change.packets_lost
    );
    println!("10,000 mark rules, none of them true");
    let pairs = if options.quick { 10 } else { 20 };
    let marks = marks::run(pairs, eal.tsc_hz(), &bed.pool())?;
    println!(
        "  added clocks: {} (IQR {}) where a connection stands, {} (IQR {}) for its first packet",
        marks.added_clocks, marks.iqr, marks.first_packet_added_clocks, marks.first_packet_iqr
    );
    println!("latency at half load");
    let latency = latency::run(bed, eal.tsc_hz())?;
    println!(
        "  added p50 {} us, p99 {} us, p99.9 {} us",
        latency.p50, latency.p99, latency.p999
    );
    let report = Report {
        machine: machine(eal, cores.len(), pages, load.finish()?, calibration)?,
        rows,
        connections_per_s: Some(lives.round()),
        bytes_per_connection: bytes_per_connection()?,
        ageing: Some(ageing),
        config_change: Some(change),
        marks: Some(marks),
        latency_us: Some(latency),
    };
    println!("\n{}", report.goals_table());
    println!("{}", report.machine.load);
    println!("measured in {} s", begun.elapsed().as_secs());
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {file}"))?;
        println!("written: {file}");
    }
    Ok(())
}

/// Of a table for ten million, everything in.
fn bytes_per_connection() -> Result<f64> {
    const CONNECTIONS: u32 = 10_000_000;
    let table =
        flowtable::Table::<flowtable::V4>::new(CONNECTIONS as usize, [1, 2], rcu::Domain::new(1))?;
    #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
    Ok(tenth(table.bytes() as f64 / f64::from(CONNECTIONS)))
}

fn machine(
    eal: &Eal,
    cores: usize,
    pages: &str,
    load: String,
    calibration: Vec<Calibration>,
) -> Result<Machine> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown CPU", |rest| {
        rest.trim_start_matches([' ', '\t', ':'])
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let date = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%MZ"])
        .output()?;
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let tsc_ghz = (eal.tsc_hz() as f64 / 1e7).round() / 100.0;
    Ok(Machine {
        cpu: model.to_owned(),
        cores,
        memory_gb: memory("MemTotal")? >> 30,
        kernel: kernel.trim().to_owned(),
        dpdk: Eal::version().to_owned(),
        pages: pages.to_owned(),
        tsc_ghz,
        date: String::from_utf8_lossy(&date.stdout).trim().to_owned(),
        load,
        calibration,
    })
}

/// A line of /proc/meminfo, in bytes.
fn memory(what: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with(what));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    let kilobytes: u64 = kilobytes.context("/proc/meminfo lacks a line")?.parse()?;
    Ok(kilobytes << 10)
}
