//! `scripts/bench`: everything in one run, its file, and the table of goals.

use crate::{
    change,
    flows::Distribution,
    forward::Bed,
    grid::Grid,
    latency, lives, marks,
    measure::{Load, Windows},
    options::Options,
    plot,
    report::{
        Ageing, Calibration, ConfigChange, Latency, Machine, Marks, Report, Sync, number, tenth,
    },
    sync,
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
    let rows = if options.wants("grid") {
        println!(
            "grid: clocks a packet over macswap's, {} pairs of windows each",
            grid.windows.pairs
        );
        grid.run(eal, bed)?
    } else {
        Vec::new()
    };
    let rest = Rest {
        eal,
        options,
        memory,
    };
    let core = *cores.first().context("no core")?;
    let report = Report {
        rows,
        connections_per_s: rest.lives(bed)?,
        bytes_per_connection: bytes_per_connection()?,
        ageing: rest.ageing(bed)?,
        config_change: rest.change(bed, core)?,
        marks: rest.marks(bed)?,
        sync: rest.sync(bed, *cores.get(1).unwrap_or(&core))?,
        latency_us: rest.latency(bed)?,
        machine: machine(eal, cores.len(), pages, load.finish()?, calibration)?,
    };
    println!("\n{}", report.goals_table());
    println!("{}", report.machine.load);
    println!("measured in {} s", begun.elapsed().as_secs());
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {file}"))?;
        println!("written: {file}");
    }
    if let Some(file) = &options.plot {
        fs::write(file, plot::draw(&report)).with_context(|| format!("cannot write {file}"))?;
        println!("drawn: {file}");
    }
    Ok(())
}

/// What is measured beside the grid, each part if it is wanted.
struct Rest<'r> {
    eal: &'r Eal,
    options: &'r Options,
    /// Bytes a table may have.
    memory: u64,
}

impl Rest<'_> {
    /// As many connections as memory has room for, `most` at most; a million if time is short.
    fn resident(&self, most: u32) -> u32 {
        let room = u32::try_from(self.memory / 100).unwrap_or(u32::MAX);
        let most = if self.options.quick { 1_000_000 } else { most };
        most.min(room / 2)
    }

    fn lives(&self, bed: &Bed) -> Result<Option<f64>> {
        if !self.options.wants("lives") {
            return Ok(None);
        }
        let resident = self.resident(10_000_000);
        println!("full TCP lives (six packets, and expiry) beside {resident} connections");
        let lives = lives::per_second(resident, resident / 5, &bed.pool())?;
        println!("  {} a second and core", number(lives));
        Ok(Some(lives.round()))
    }

    fn ageing(&self, bed: &Bed) -> Result<Option<Ageing>> {
        if !self.options.wants("ageing") {
            return Ok(None);
        }
        let resident = self.resident(40_000_000);
        println!("{resident} connections past their time at once");
        let ageing = lives::ageing(resident, &bed.pool())?;
        println!(
            "  gone after {} s of a million packets a second; worst delay of a burst {} us, {} % of a core",
            ageing.seconds, ageing.worst_us, ageing.cpu_share
        );
        Ok(Some(ageing))
    }

    fn change(&self, bed: &Bed, core: CoreId) -> Result<Option<ConfigChange>> {
        if !self.options.wants("change") {
            return Ok(None);
        }
        println!("configuration changed under load, a service of 1000 servers, Maglev hashing");
        let change = change::run(self.eal, core, bed)?;
        println!(
            "  in force after {} ms; worst stall {} us; {} packets lost",
            change.visible_ms, change.worst_stall_us, change.packets_lost
        );
        Ok(Some(change))
    }

    fn marks(&self, bed: &Bed) -> Result<Option<Marks>> {
        if !self.options.wants("marks") {
            return Ok(None);
        }
        println!("10,000 mark rules, none of them true");
        let pairs = if self.options.quick { 10 } else { 20 };
        let marks = marks::run(pairs, self.eal.tsc_hz(), &bed.pool())?;
        println!(
            "  added clocks: {} (IQR {}) where a connection stands, {} (IQR {}) for its first packet",
            marks.added_clocks, marks.iqr, marks.first_packet_added_clocks, marks.first_packet_iqr
        );
        Ok(Some(marks))
    }

    fn sync(&self, bed: &mut Bed, beside: CoreId) -> Result<Vec<Sync>> {
        if !self.options.wants("sync") {
            return Ok(Vec::new());
        }
        println!("another director is told of connections, and nobody is, in turn");
        let windows = Windows {
            pairs: if self.options.quick { 20 } else { 60 },
            window: Duration::from_millis(50),
        };
        let mut all = Vec::new();
        for connections in [10_000, 1_000_000] {
            let cost = sync::run(connections, windows, self.eal.tsc_hz(), bed, beside)?;
            println!(
                "  {connections} connections: added clocks {} (IQR {}) to {}: {} %; {} were told",
                cost.added_clocks, cost.iqr, cost.clocks, cost.percent, cost.told
            );
            all.push(cost);
        }
        Ok(all)
    }

    fn latency(&self, bed: &mut Bed) -> Result<Option<Latency>> {
        if !self.options.wants("latency") {
            return Ok(None);
        }
        println!("latency at half load");
        let latency = latency::run(bed, self.eal.tsc_hz())?;
        println!(
            "  added p50 {} us, p99 {} us, p99.9 {} us",
            latency.p50, latency.p99, latency.p999
        );
        Ok(Some(latency))
    }
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
