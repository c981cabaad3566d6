//! `pktgen rfc9693`: what a device that keeps connections can do (RFC 9693). The initiator enumerates connections (phase 1); the
//! responder learns them from what arrives and can answer them (phase 2).

mod over;
mod packets;
mod rehearsal;
mod results;

pub use results::{AtLoad, Capacity, Found, Lost, Results, Teardown};

use crate::{
    args::{Rfc9693, rfc9693::Measure},
    flows::{Flow, enumerated},
    plot::{self, Point},
    prototype::Link,
    rate::Rate,
    report::{Report, can_be_written, say, si, write_json},
    run::{self, Plan},
    search::{Amount, Search, Trial},
    spread::Spread,
    template::Kind,
    tx::{DOCUMENTATION, run_number, stop_on_signals},
    wiring::{self, Wired},
    worker::{Frames, Learner},
};
use anyhow::{Context, Result, ensure};
use packets::{answer, recipe};
use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Connections opened before anything is measured, so that the device knows its neighbours, and how fast.
const WARM_UP: u64 = 100;
const WARM_UP_PPS: f64 = 200.0;
/// Times that is tried, until something comes through.
const WARM_UPS: u32 = 4;
/// A table that does not take all at the rate of filling is tried at this part of it.
const SLOWER: f64 = 0.2;

/// What came of opening connections.
struct Opened {
    report: Report,
    learned: Learner,
    flows: Arc<[Flow]>,
}

struct Bench<'a> {
    args: &'a Rfc9693,
    wired: Wired,
    link: Link,
    run: u16,
    /// Combinations used already.
    used: u64,
    stop: &'a AtomicBool,
    fill: Rate,
    /// Packets of phase 1 sent.
    opened: u64,
    /// Of each measurement.
    connections: u64,
}

/// Measures.
///
/// # Errors
/// Mistakes of the command line, whatever ports refuse, and a device from which nothing comes back at all.
pub fn rfc9693(args: &Rfc9693) -> Result<()> {
    check(args)?;
    if args.dry_run {
        return rehearsal::dry_run(args);
    }
    run::place(&args.wiring)?;
    can_be_written(&[
        ("--json", args.json.as_deref()),
        ("--plot", args.plot.as_deref()),
    ])?;
    let stop = stop_on_signals()?;
    let templates = std::slice::from_ref(&args.template);
    let mut wired = wiring::open(&args.wiring, templates)?;
    let to = wired.next_hop(&args.wiring, templates)?;
    let from = wired.ports.first().context("no port")?.mac();
    let mut bench = Bench {
        args,
        wired,
        link: Link { from, to },
        run: run_number(),
        used: 0,
        stop: &stop,
        fill: args.fill_rate.unwrap_or(Rate::Packets(1000.0)),
        opened: 0,
        connections: first(args),
    };
    // So few that there are others left.
    let few = WARM_UP.min(args.template.flows() / 8).max(1);
    let mut warm = bench.open(few, Rate::Packets(WARM_UP_PPS))?;
    // Devices ask for neighbours that have not answered once a second, and ours answer only while this runs.
    for _ in 1..WARM_UPS {
        if warm.learned.flows.is_empty() {
            warm = bench.open(few, Rate::Packets(WARM_UP_PPS))?;
        }
    }
    ensure!(
        !warm.learned.flows.is_empty(),
        "nothing came through of {} packets at {WARM_UP_PPS} a second: is the device wired, does it forward to where --rx-port is, are \
         --rx-address the addresses it sends to? `pktgen tx` with the same arguments shows more",
        warm.report.sent.packets
    );
    let mut results = Results {
        connections: first(args),
        ..Results::default()
    };
    let measured = bench.all(&mut results);
    // What was found before it failed, or was stopped, is told.
    if measured.is_err() && results.are_none() {
        return measured;
    }
    results.opened = bench.opened;
    if let Some(path) = &args.plot {
        let all = std::iter::once(&results).chain(&results.more);
        let named = all.flat_map(|of| {
            let n = of.connections;
            [
                (format!("{n} connections established"), &of.establishment),
                (format!("throughput over {n}"), &of.throughput),
            ]
        });
        let series = named.filter_map(|(name, found)| Some((name, found.as_ref()?.trials.clone())));
        plot::loss(path, "RFC 9693", &series.collect::<Vec<_>>())?;
    }
    match &args.json {
        Some(path) => write_json(&results, path)?,
        None => say(&results.to_string())?,
    }
    measured
}

/// The number of connections that is measured with first.
fn first(args: &Rfc9693) -> u64 {
    args.connections.first().copied().unwrap_or(1)
}

fn check(args: &Rfc9693) -> Result<()> {
    let flows = args.template.flows();
    ensure!(
        matches!(args.template.kind, Kind::Udp | Kind::Tcp { .. }),
        "--template: connections are told by ports, so they are UDP's (or TCP's): `udp 10.0.0.1:1024-65535 > 10.0.1.1:80`"
    );
    ensure!(
        args.dry_run || args.wiring.rx_port.is_some(),
        "the responder needs a port of its own, behind the device: --rx-port DEVICE"
    );
    let most = args.connections.iter().max().copied().unwrap_or(1);
    ensure!(
        most <= flows,
        "--connections {most}: the template has {flows} combinations of addresses and ports; give it more ports or source addresses"
    );
    ensure!(
        !args.measure.contains(&Measure::Teardown) || args.empty.is_some(),
        "--measure teardown times the command that empties the device's table: --empty COMMAND, like `--empty 'ssh gateway conntrack -F'`"
    );
    ensure!(
        args.measure.contains(&Measure::Throughput)
            || !args
                .measure
                .iter()
                .any(|m| matches!(m, Measure::Latency | Measure::Loss)),
        "--measure latency, loss: they are measured with the throughput, so that has to be measured, too: --measure throughput,latency"
    );
    recipe(args, DOCUMENTATION, 0, None).check(args.wiring.mtu)?;
    Ok(())
}

impl<'a> Bench<'a> {
    /// Everything that is asked for.
    fn all(&mut self, results: &mut Results) -> Result<()> {
        self.with_so_many(results)?;
        for &connections in self.args.connections.iter().skip(1) {
            self.connections = connections;
            let mut more = Results {
                connections,
                ..Results::default()
            };
            let measured = self.with_so_many(&mut more);
            if measured.is_ok() || !more.are_none() {
                results.more.push(more);
            }
            measured?;
        }
        Ok(())
    }

    /// With one number of connections.
    fn with_so_many(&mut self, results: &mut Results) -> Result<()> {
        let is_first = self.connections == first(self.args);
        for measure in &self.args.measure {
            match measure {
                Measure::Rate => self.rate(results)?,
                Measure::Throughput => self.over(results)?,
                // With the throughput.
                Measure::Latency | Measure::Loss => {}
                Measure::Teardown => self.teardown(results)?,
                Measure::Capacity if is_first => self.capacity(results)?,
                // It is searched by itself.
                Measure::Capacity => {}
            }
        }
        Ok(())
    }

    /// The device's table is emptied; how long the command took.
    fn empty(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        if let Some(command) = &self.args.empty {
            let status = Command::new("sh")
                .args(["-c", command])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .with_context(|| format!("--empty `{command}`"))?;
            ensure!(status.success(), "--empty `{command}` ended with {status}");
        }
        let took = begun.elapsed();
        while begun.elapsed() < took + Duration::from_secs_f64(self.args.wait) {
            ensure!(!self.stop.load(Relaxed), "stopped");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(took)
    }

    /// `count` combinations that are in no table.
    fn fresh(&mut self, count: u64) -> Result<Arc<[Flow]>> {
        let all = self.args.template.flows();
        let may_repeat = self.args.empty.is_some() || self.args.wait > 0.0;
        if self.used + count > all {
            ensure!(
                may_repeat,
                "all {all} combinations of addresses and ports of the template have been used, and the device may still have them in its \
                 table: give it more ports or source addresses, or empty the table by --empty COMMAND (or --wait SECONDS, until they have \
                 timed out)"
            );
            self.used = 0;
        }
        let flows = enumerated(&self.args.template, self.used, count, self.args.seed);
        self.used += count;
        Ok(flows.into())
    }

    fn plan(
        &mut self,
        rate: Rate,
        count: Option<u64>,
        seconds: Option<f64>,
        learn: u64,
    ) -> Result<Plan<'a>> {
        ensure!(!self.stop.load(Relaxed), "stopped");
        // Frames of an earlier trial that come late are not ours.
        self.run = self.run.wrapping_add(1);
        Ok(Plan {
            wiring: &self.args.wiring,
            rate,
            count,
            seconds,
            drain: self.args.drain,
            run: Some(self.run),
            progress: false,
            every: 1.0,
            told: None,
            learn: usize::try_from(learn)?,
            then: None,
            follow: false,
        })
    }

    /// Phase 1: a packet of each of `count` new connections.
    fn open(&mut self, count: u64, rate: Rate) -> Result<Opened> {
        let flows = self.fresh(count)?;
        let (args, link, stop) = (self.args, self.link, self.stop);
        let plan = self.plan(rate, Some(count), None, count)?;
        let recipe = recipe(args, link, self.run, Some(Arc::clone(&flows)));
        let (report, learned) = run::run_both(&mut self.wired, &plan, stop, |worker, workers| {
            Ok((Frames::Made(recipe.source(worker, workers)?), None))
        })?;
        ensure!(!stop.load(Relaxed), "stopped");
        self.opened += report.sent.packets;
        Ok(Opened {
            report,
            learned,
            flows,
        })
    }

    /// Where the responder's frames go.
    fn back(&self, learned: &Learner) -> Result<Link> {
        let (to, _) = learned.from.context("nothing was learned")?;
        let from = self.wired.ports.last().context("no port")?.mac();
        Ok(Link { from, to })
    }

    /// Phase 2, answers alone, at this rate: connections over which one came back.
    fn answered(&mut self, opened: &Opened, rate: Rate) -> Result<u64> {
        if opened.learned.flows.is_empty() {
            return Ok(0);
        }
        let count = opened.learned.flows.len() as u64;
        let (args, stop) = (self.args, self.stop);
        let link = self.back(&opened.learned)?;
        let plan = self.plan(rate, Some(count), None, 0)?;
        let recipe = answer(args, link, self.run, &opened.learned)?;
        self.wired.turn();
        let report = run::run(&mut self.wired, &plan, stop, |worker, workers| {
            Ok(Frames::Made(recipe.source(worker, workers)?))
        });
        self.wired.turn();
        Ok(report?.measured.map_or(0, |measured| measured.packets))
    }

    /// Maximum connection establishment rate. A rate counts when every packet of phase 1 has come through and every connection carries an
    /// answer back: a device may send packets on of which it keeps nothing.
    fn rate(&mut self, results: &mut Results) -> Result<()> {
        let (mut rates, mut trials, mut limited_by) = (Vec::new(), Vec::new(), None);
        for _ in 0..self.args.repeat {
            let top = self.top()?;
            let mut search = self.search(top);
            while let Some(rate) = search.next_rate() {
                self.empty()?;
                let opened = self.open(self.connections, Rate::Packets(rate))?;
                let mut missing = lost(&opened.report);
                let may_be_lost = self.args.tolerate / 100.0 * self.connections as f64;
                if missing as f64 <= may_be_lost {
                    let answered = self
                        .answered(&opened, Rate::Packets(rate * self.args.validate_at / 100.0))?;
                    missing = opened.report.sent.packets.saturating_sub(answered);
                }
                let what = "connections";
                if self.tell(
                    &mut search,
                    &mut trials,
                    (what, rate),
                    &opened.report,
                    missing,
                ) {
                    results.validated = Some(opened.report.sent.packets - missing);
                }
            }
            rates.push(search.result());
            limited_by = Some(search.limit());
        }
        let (Some(repeated), Some(limited_by)) = (Spread::of(&rates), limited_by) else {
            return Ok(());
        };
        let found = repeated.median;
        if found > 0.0 && self.args.fill_rate.is_none() {
            self.fill = Rate::Packets(found / 2.0);
        }
        results.establishment = Some(Found {
            rate: found,
            limited_by,
            trials,
            repeated,
        });
        Ok(())
    }

    fn teardown(&mut self, results: &mut Results) -> Result<()> {
        let (mut rates, mut last) = (Vec::new(), (0.0, 0.0));
        for _ in 0..self.args.repeat {
            self.empty()?;
            let opened = self.open(self.connections, self.fill)?;
            let kept = self.answered(&opened, self.fill)?;
            let full = self.empty()?.as_secs_f64();
            let empty = self.empty()?.as_secs_f64();
            let took = full - empty;
            self.note(&format!(
                "tear-down: {kept} connections in {full:.3} s, none in {empty:.3} s"
            ));
            rates.push(if took > 0.0 { kept as f64 / took } else { 0.0 });
            last = (full, empty);
        }
        results.teardown = Spread::of(&rates).map(|repeated| Teardown {
            rate: repeated.median,
            full_seconds: last.0,
            empty_seconds: last.1,
            repeated,
        });
        Ok(())
    }

    fn capacity(&mut self, results: &mut Results) -> Result<()> {
        let most = self.args.most.unwrap_or(u64::MAX);
        let most = most.min(self.args.template.flows());
        let mut search = Amount::new(self.connections, most, self.args.resolution / 100.0);
        while let Some(wanted) = search.wanted() {
            let kept = self.keeps(wanted)?;
            search.tell(kept);
        }
        results.capacity = Some(Capacity {
            kept: search.taken(),
            not_kept: search.not_taken(),
        });
        Ok(())
    }

    /// Whether so many connections are all kept. Some are slower to make the more there are: what is lost at the rate of filling is tried
    /// again much slower, before a table is called full.
    fn keeps(&mut self, wanted: u64) -> Result<bool> {
        for rate in [self.fill, self.fill.part(SLOWER)] {
            self.empty()?;
            let opened = self.open(wanted, rate)?;
            let answered = self.answered(&opened, self.fill)?;
            self.note(&format!(
                "capacity: {answered} of {wanted} connections, opened at {rate}, carry answers"
            ));
            let lost = wanted.saturating_sub(answered) as f64 / wanted as f64;
            if lost <= self.args.tolerate / 100.0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn search(&self, top: f64) -> Search {
        Search::new(
            top,
            self.args.resolution / 100.0,
            self.args.tolerate / 100.0,
        )
    }

    /// Tells a search of a trial in which so many were lost, and whoever watches; true if the device took it.
    fn tell(
        &self,
        search: &mut Search,
        trials: &mut Vec<Point>,
        (what, wanted): (&str, f64),
        report: &Report,
        lost: u64,
    ) -> bool {
        let reached = report.sent.pps;
        let loss = lost as f64 / report.sent.packets.max(1) as f64;
        let taken = search.tell(Trial {
            wanted,
            reached,
            loss,
        });
        let latency = report.measured.as_ref().and_then(|m| m.latency_us.as_ref());
        trials.push(Point {
            rate: reached.min(wanted),
            loss,
            latency_us: latency.map(|l| l.p50),
        });
        let missed: u64 = report.ports.iter().map(|p| p.rx_missed).sum();
        let missed = if missed > 0 {
            format!(" ({missed} missed by this machine)")
        } else {
            String::new()
        };
        let end = if taken { "taken" } else { "too much" };
        self.note(&format!(
            "{what}: {}/s wanted, {}/s sent, lost {lost} of {} - {end}{missed}",
            si(wanted),
            si(reached),
            report.sent.packets
        ));
        taken
    }

    fn note(&self, text: &str) {
        if !self.args.quiet {
            eprintln!("  {text}");
        }
    }

    /// Where searches begin, frames a second.
    fn top(&mut self) -> Result<f64> {
        let size = self
            .args
            .template
            .sizes
            .all()
            .iter()
            .map(|(size, _)| *size)
            .min();
        let speed = self.args.wiring.link_speed.or(self.wired.speed_bps());
        if let Some(pps) = self.args.rate.frames(size.unwrap_or(64), speed) {
            return Ok(pps);
        }
        self.empty()?;
        Ok(self.open(self.connections, Rate::Max)?.report.sent.pps)
    }
}

/// Frames of a trial that were lost.
fn lost(report: &Report) -> u64 {
    let measured = report.measured.as_ref();
    measured.map_or(report.sent.packets, |measured| measured.lost)
}
