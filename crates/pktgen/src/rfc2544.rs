//! `pktgen rfc2544`: for each frame size the highest rate at which nothing is lost, and latency at parts of it.

use crate::{
    args::Rfc2544,
    plot::{self, Point},
    prototype::Link,
    rate::{Rate, WIRE_OVERHEAD},
    report::{Latency, Report, bits, say, si, write_json},
    run::{self, Plan},
    search::{Limit, Search, Trial},
    source::Recipe,
    stamp,
    template::{FCS, Sizes, Template},
    tx::{run_number, stop_on_signals},
    wiring::{self, Wired},
    worker::Frames,
};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Frames a second before anything is measured, so that the device knows its neighbours, and for how long.
const WARM_UP_PPS: f64 = 1000.0;
const WARM_UP_S: f64 = 1.0;

/// The result for one size.
#[derive(Clone, Debug, Serialize)]
pub struct OfSize {
    /// Bytes with check sequence.
    pub size: u16,
    /// Frames a second; 0 if the device lost frames at any rate tried.
    pub throughput_pps: f64,
    /// The same in bits on the wire.
    pub throughput_bits_per_second: f64,
    /// Why it is no higher.
    pub limited_by: Limit,
    /// Trials it took.
    pub trials: u32,
    /// Latency at parts of the throughput.
    pub latency: Vec<AtLoad>,
    /// Rates tried, and what came of each; those of `latency` among them.
    pub tried: Vec<Point>,
}

/// Latency at a load.
#[derive(Clone, Debug, Serialize)]
pub struct AtLoad {
    /// Percent of the throughput.
    pub percent: f64,
    /// Frames lost meanwhile.
    pub lost: u64,
    /// Microseconds.
    pub latency_us: Option<Latency>,
}

/// Ports, and what is sent on them.
struct Bench<'a> {
    args: &'a Rfc2544,
    wired: Wired,
    recipe: Recipe,
    stop: &'a AtomicBool,
}

/// Searches.
///
/// # Errors
/// Mistakes of the command line, whatever ports refuse, and a device from which nothing comes back at all.
pub fn rfc2544(args: &Rfc2544) -> Result<()> {
    let sizes = sizes(args)?;
    let recipe = |size| Recipe {
        templates: of_size(&args.template, size),
        link: Link {
            from: types::MacAddr([0; 6]),
            to: types::MacAddr([0; 6]),
        },
        run: Some(run_number()),
        seed: args.seed,
        listed: None,
        first_stream: 0,
    };
    for size in &sizes {
        recipe(*size).check(args.wiring.mtu)?;
    }
    run::place(&args.wiring)?;
    let stop = stop_on_signals()?;
    let mut wired = wiring::open(&args.wiring, &args.template)?;
    let to = wired.next_hop(&args.wiring, &args.template)?;
    let from = wired.ports.first().context("no port")?.mac();
    let mut bench = Bench {
        args,
        wired,
        recipe: Recipe {
            link: Link { from, to },
            ..recipe(sizes.first().copied().unwrap_or(64))
        },
        stop: &stop,
    };
    bench.warm_up()?;
    let mut results = Vec::new();
    for size in sizes {
        bench.recipe.templates = of_size(&args.template, size);
        let result = bench.throughput(size)?;
        if args
            .json
            .as_ref()
            .is_none_or(|path| path.as_os_str() != "-")
        {
            say(&text(&result))?;
        }
        results.push(result);
    }
    if let Some(path) = &args.plot {
        let series = results.iter();
        let series = series.map(|of| (format!("size {}", of.size), of.tried.clone()));
        plot::loss(path, "RFC 2544", &series.collect::<Vec<_>>())?;
    }
    match &args.json {
        Some(path) => write_json(&results, path),
        None => Ok(()),
    }
}

/// The sizes asked for, none too small to be measured.
fn sizes(args: &Rfc2544) -> Result<Vec<u16>> {
    ensure!(
        !args.template.is_empty(),
        "there is nothing to send: give a template, like `--template 'udp 10.0.0.1 > 10.0.1.1:80'`"
    );
    let least = args.template.iter().map(|template| {
        let vlan = if template.vlan.is_some() { 4 } else { 0 };
        template.headers_len() - vlan + FCS + u16::try_from(stamp::LEN).unwrap_or(0)
    });
    let least = least.max().unwrap_or(64);
    let mut sizes: Vec<u16> = args
        .sizes
        .all()
        .iter()
        .map(|(size, _)| (*size).max(least))
        .collect();
    sizes.dedup();
    Ok(sizes)
}

fn of_size(templates: &[Template], size: u16) -> Vec<Template> {
    let one = |template: &Template| Template {
        sizes: Sizes::one(size),
        ..template.clone()
    };
    templates.iter().map(one).collect()
}

impl Bench<'_> {
    /// One trial. Frames of an earlier one that come late are not ours.
    fn trial(&mut self, rate: Rate, seconds: f64) -> Result<Report> {
        self.recipe.run = self.recipe.run.map(|run| run.wrapping_add(1));
        let plan = Plan {
            wiring: &self.args.wiring,
            rate,
            count: None,
            seconds: Some(seconds),
            drain: self.args.drain,
            run: self.recipe.run,
            progress: false,
            every: 1.0,
            told: None,
            learn: 0,
        };
        let recipe = &self.recipe;
        let report = run::run(&mut self.wired, &plan, self.stop, |worker, workers| {
            Ok(Frames::Made(recipe.source(worker, workers)?))
        })?;
        if self.stop.load(Relaxed) {
            bail!("stopped");
        }
        Ok(report)
    }

    /// The device learns who is where; that anything comes back at all is seen here.
    fn warm_up(&mut self) -> Result<()> {
        let report = self.trial(Rate::Packets(WARM_UP_PPS), WARM_UP_S)?;
        ensure!(
            report.measured.as_ref().is_some_and(|m| m.packets > 0),
            "nothing came back of {} frames at {WARM_UP_PPS} a second: is the device wired, does it forward to where --rx-port is, does it \
             know a way to the destinations? `pktgen tx` with the same arguments shows more",
            report.sent.packets
        );
        Ok(())
    }

    fn throughput(&mut self, size: u16) -> Result<OfSize> {
        let top = self.top(size)?;
        let mut search = Search::new(
            top,
            self.args.resolution / 100.0,
            self.args.tolerate / 100.0,
        );
        let mut tried = Vec::new();
        while let Some(rate) = search.next_rate() {
            let report = self.trial(Rate::Packets(rate), self.args.trial)?;
            let trial = Trial {
                wanted: rate,
                reached: report.sent.pps,
                loss: report.measured.as_ref().map_or(1.0, |m| m.loss),
            };
            let taken = search.tell(trial);
            tried.push(point(&report, rate));
            if !self.args.quiet {
                let missed: u64 = report.ports.iter().map(|p| p.rx_missed).sum();
                eprintln!(
                    "  size {size}: {}/s wanted, {}/s sent, lost {} {}{}",
                    si(rate),
                    si(trial.reached),
                    report.measured.as_ref().map_or(0, |m| m.lost),
                    if taken { "- taken" } else { "- too much" },
                    if missed > 0 {
                        format!(" ({missed} of them missed by this machine)")
                    } else {
                        String::new()
                    }
                );
            }
        }
        let rate = search.result();
        let mut latency = Vec::new();
        for &percent in self.args.latency_at.iter().filter(|_| rate > 0.0) {
            let report = self.trial(Rate::Packets(rate * percent / 100.0), self.args.trial)?;
            tried.push(point(&report, rate * percent / 100.0));
            let measured = report.measured;
            latency.push(AtLoad {
                percent,
                lost: measured.as_ref().map_or(report.sent.packets, |m| m.lost),
                latency_us: measured.and_then(|m| m.latency_us),
            });
        }
        Ok(OfSize {
            size,
            throughput_pps: rate,
            throughput_bits_per_second: rate * f64::from(size + WIRE_OVERHEAD) * 8.0,
            limited_by: search.limit(),
            trials: search.trials(),
            latency,
            tried,
        })
    }

    /// Where the search begins, frames a second: what --rate says, or all this machine sends.
    fn top(&mut self, size: u16) -> Result<f64> {
        let speed = self.args.wiring.link_speed.or(self.wired.speed_bps());
        match self.args.rate.frames(size, speed) {
            Some(pps) => Ok(pps),
            // A short burst shows what can be sent.
            None => Ok(self.trial(Rate::Max, self.args.trial.min(1.0))?.sent.pps),
        }
    }
}

/// A trial, to be drawn.
fn point(report: &Report, wanted: f64) -> Point {
    let measured = report.measured.as_ref();
    Point {
        rate: report.sent.pps.min(wanted),
        loss: measured.map_or(1.0, |m| m.loss),
        latency_us: measured.and_then(|m| Some(m.latency_us.as_ref()?.p50)),
    }
}

fn text(result: &OfSize) -> String {
    let why = match result.limited_by {
        Limit::Device => "more is lost",
        Limit::Generator => "this machine sends no faster",
        Limit::Top => "no more was asked for",
    };
    let mut text = format!(
        "size {:>4}  {}/s, {} on the wire ({} trials; {why})\n",
        result.size,
        si(result.throughput_pps),
        bits(result.throughput_bits_per_second),
        result.trials
    );
    for at in &result.latency {
        let percent = at.percent;
        text += &match &at.latency_us {
            Some(l) => format!(
                "           at {percent:>3} %: latency min {:.1}, mean {:.1}, p50 {:.1}, p99 {:.1}, max {:.1} µs; lost {}\n",
                l.min, l.mean, l.p50, l.p99, l.max, at.lost
            ),
            None => format!("           at {percent:>3} %: nothing came back\n"),
        };
    }
    text
}
