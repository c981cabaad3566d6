//! `pktgen rfc2544`: for each frame size the highest rate at which nothing is lost, latency at parts of it, what is lost by load, the
//! longest burst a device takes, and how it comes back from an overload and from a reset.

mod recovery;
mod reset;
mod results;

pub use recovery::{Overloaded, Recovery};
pub use reset::Reset;
pub use results::{BackToBack, OfSize, Throughput};

use crate::{
    args::{Rfc2544, rfc2544::Measure},
    load::{AtLoad, Lost},
    plot::{self, Point},
    prototype::Link,
    rate::{Rate, WIRE_OVERHEAD},
    report::{Report, can_be_written, say, si, write_json},
    run::{self, Plan, Told},
    search::{Amount, Limit, NEARLY, Search, Steps, Trial},
    source::Recipe,
    spread::Spread,
    stamp,
    template::{FCS, Kind, Sizes, Template},
    tx::{run_number, stop_on_signals},
    wiring::{self, Wired},
    worker::Frames,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// Frames a second before anything is measured, so that the device knows its neighbours, and for how long.
const WARM_UP_PPS: f64 = 1000.0;
const WARM_UP_S: f64 = 1.0;
/// Times that is tried, until something comes back.
const WARM_UPS: u32 = 3;
/// Sizes of one call at most.
const SIZES: usize = 100;
/// The longest burst tried, of back-to-back frames: RFC 2544 26.4 wants trials of two seconds at least.
const BURST_S: f64 = 2.0;

/// Ports, and what is sent on them.
struct Bench<'a> {
    args: &'a Rfc2544,
    wired: Wired,
    recipe: Recipe,
    stop: &'a AtomicBool,
}

/// What is sent in one go.
struct Course<'c> {
    rate: Rate,
    count: Option<u64>,
    seconds: Option<f64>,
    /// Another rate, from so many seconds on.
    then: Option<(f64, Rate)>,
    /// Told where the numbers break off.
    follow: bool,
    /// Ends it, besides whoever stops everything.
    stop: Option<&'c AtomicBool>,
    /// Is told every so many seconds.
    told: Option<(f64, &'c Told<'c>)>,
}

impl Course<'_> {
    fn at(rate: Rate) -> Self {
        Self {
            rate,
            count: None,
            seconds: None,
            then: None,
            follow: false,
            stop: None,
            told: None,
        }
    }
}

/// Searches.
///
/// # Errors
/// Mistakes of the command line, whatever ports refuse, and a device from which nothing comes back at all.
pub fn rfc2544(args: &Rfc2544) -> Result<()> {
    check(args)?;
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
    can_be_written(&[
        ("--json", args.json.as_deref()),
        ("--plot", args.plot.as_deref()),
    ])?;
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
    let measured = bench.all(sizes, &mut results);
    // What was found before it failed, or was stopped, is told.
    if let Some(path) = &args.plot {
        let series = results.iter();
        let series = series.map(|of| (format!("size {}", of.size), of.tried.clone()));
        plot::loss(path, "RFC 2544", &series.collect::<Vec<_>>())?;
    }
    if let Some(path) = &args.json {
        write_json(&results, path)?;
    }
    measured
}

/// Mistakes that need no port to be seen.
fn check(args: &Rfc2544) -> Result<()> {
    let asked = |measure| args.measure.contains(&measure);
    let by_throughput = [
        (Measure::Latency, "latency", "at parts of the throughput"),
        (
            Measure::Recovery,
            "recovery",
            "at a tenth more than the throughput",
        ),
        (Measure::Reset, "reset", "at the throughput"),
    ];
    for (measure, name, at) in by_throughput {
        ensure!(
            asked(Measure::Throughput) || !asked(measure),
            "--measure {name}: it is measured {at}, so that has to be measured, too: --measure throughput,{name}"
        );
    }
    let follows = asked(Measure::Recovery) || asked(Measure::Reset);
    ensure!(
        !follows || args.wiring.workers == 1,
        "--workers {}: recovery and reset are told by the numbers of one stream: --workers 1, or measure them by themselves",
        args.wiring.workers
    );
    ensure!(
        args.reset_command.is_none() || asked(Measure::Reset),
        "--reset-command: a reset is not measured: --measure throughput,reset"
    );
    Ok(())
}

/// The sizes asked for, none too small to be measured.
fn sizes(args: &Rfc2544) -> Result<Vec<u16>> {
    ensure!(
        !args.template.is_empty(),
        "there is nothing to send: give a template, like `--template 'udp 10.0.0.1 > 10.0.1.1:80'`"
    );
    ensure!(
        !args
            .template
            .iter()
            .any(|t| t.kind == Kind::Arp || t.first_fragment),
        "--template: ARP and fragments carry no stamp, so what is lost of them cannot be measured: udp, tcp or icmp can"
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
    ensure!(
        sizes.len() <= SIZES,
        "--sizes: {} sizes would be measured, one after the other: name those that tell something, {SIZES} at most, like 64,512,1518",
        sizes.len()
    );
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
    /// One size after the other, told as it is done.
    fn all(&mut self, sizes: Vec<u16>, results: &mut Vec<OfSize>) -> Result<()> {
        let is_text = self.args.json.as_ref();
        let is_text = is_text.is_none_or(|path| path.as_os_str() != "-");
        for size in sizes {
            self.recipe.templates = of_size(&self.args.template, size);
            let result = self.measure(size)?;
            if is_text {
                say(&result.to_string())?;
            }
            results.push(result);
        }
        if self.args.measure.contains(&Measure::Reset) {
            self.reset_once(results, is_text)?;
        }
        Ok(())
    }

    /// Of the smallest frames (RFC 2544 26.6).
    fn reset_once(&mut self, results: &mut [OfSize], is_text: bool) -> Result<()> {
        let Some(smallest) = results.iter_mut().min_by_key(|of| of.size) else {
            return Ok(());
        };
        let size = smallest.size;
        let pps = smallest
            .throughput
            .as_ref()
            .map_or(0.0, |t| t.throughput_pps);
        ensure!(
            pps > 0.0,
            "--measure reset: frames of {size} bytes were lost at every rate, so there is none at which a reset could be seen"
        );
        self.recipe.templates = of_size(&self.args.template, size);
        let reset = self.reset(size, pps)?;
        if is_text {
            say(&format!("size {size:>4}  {reset}\n"))?;
        }
        smallest.reset = Some(reset);
        Ok(())
    }

    /// One trial of so many seconds.
    fn trial(&mut self, rate: Rate, seconds: f64) -> Result<Report> {
        self.go(&Course {
            seconds: Some(seconds),
            ..Course::at(rate)
        })
    }

    /// One of so many frames.
    fn burst(&mut self, rate: Rate, frames: u64) -> Result<Report> {
        self.go(&Course {
            count: Some(frames),
            ..Course::at(rate)
        })
    }

    /// Frames of an earlier trial that come late are not ours.
    fn go(&mut self, course: &Course<'_>) -> Result<Report> {
        // The device comes to rest (RFC 2544 23).
        let begun = Instant::now();
        while begun.elapsed().as_secs_f64() < self.args.settle && !self.stop.load(Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        self.recipe.run = self.recipe.run.map(|run| run.wrapping_add(1));
        let plan = Plan {
            wiring: &self.args.wiring,
            rate: course.rate,
            count: course.count,
            seconds: course.seconds,
            drain: self.args.drain,
            run: self.recipe.run,
            progress: false,
            every: course.told.map_or(1.0, |(every, _)| every),
            told: course.told.map(|(_, told)| told),
            learn: 0,
            then: course.then,
            follow: course.follow,
        };
        let recipe = &self.recipe;
        let stop = course.stop.unwrap_or(self.stop);
        let report = run::run(&mut self.wired, &plan, stop, |worker, workers| {
            Ok(Frames::Made(recipe.source(worker, workers)?))
        })?;
        if self.stop.load(Relaxed) {
            bail!("stopped");
        }
        Ok(report)
    }

    /// The device learns who is where; that anything comes back at all is seen here.
    fn warm_up(&mut self) -> Result<()> {
        let came = |report: &Report| report.measured.as_ref().is_some_and(|m| m.packets > 0);
        let mut report = self.trial(Rate::Packets(WARM_UP_PPS), WARM_UP_S)?;
        // Devices ask for neighbours that have not answered once a second, and ours answer only while this runs.
        for _ in 1..WARM_UPS {
            if !came(&report) {
                report = self.trial(Rate::Packets(WARM_UP_PPS), WARM_UP_S)?;
            }
        }
        ensure!(
            came(&report),
            "nothing came back of {} frames at {WARM_UP_PPS} a second: is the device wired, does it forward to where --rx-port is, does it \
             know a way to the destinations? `pktgen tx` with the same arguments shows more",
            report.sent.packets
        );
        Ok(())
    }

    /// Everything that is asked for of one size.
    fn measure(&mut self, size: u16) -> Result<OfSize> {
        let top = self.top(size)?;
        let mut of = OfSize {
            size,
            ..OfSize::default()
        };
        let measures = &self.args.measure;
        if measures.contains(&Measure::Throughput) {
            of.throughput = self.throughput(size, top, &mut of.tried)?;
        }
        if measures.contains(&Measure::Latency) {
            let rate = of.throughput.as_ref().map_or(0.0, |t| t.throughput_pps);
            of.latency = self.latency(rate, &mut of.tried)?;
        }
        if measures.contains(&Measure::Loss) {
            of.loss = self.loss(size, top, &mut of.tried)?;
        }
        if measures.contains(&Measure::BackToBack) {
            of.back_to_back = self.back_to_back(size, top)?;
        }
        if measures.contains(&Measure::Recovery) {
            let rate = of.throughput.as_ref().map_or(0.0, |t| t.throughput_pps);
            of.recovery = self.recovery(size, rate, top)?;
        }
        Ok(of)
    }

    /// As many searches as are asked for.
    fn throughput(
        &mut self,
        size: u16,
        top: f64,
        tried: &mut Vec<Point>,
    ) -> Result<Option<Throughput>> {
        let (mut rates, mut trials, mut limited_by) = (Vec::new(), 0, Limit::Top);
        for _ in 0..self.args.repeat {
            let (rate, limit) = self.search(size, top, tried, &mut trials)?;
            rates.push(rate);
            limited_by = limit;
        }
        Ok(Spread::of(&rates).map(|searches| Throughput {
            throughput_pps: searches.median,
            throughput_bits_per_second: searches.median * f64::from(size + WIRE_OVERHEAD) * 8.0,
            limited_by,
            trials,
            searches,
        }))
    }

    /// Halving by short trials, then a trial of full length, which decides (RFC 2544 24): lower, until one is passed.
    fn search(
        &mut self,
        size: u16,
        top: f64,
        tried: &mut Vec<Point>,
        trials: &mut u32,
    ) -> Result<(f64, Limit)> {
        let resolution = self.args.resolution / 100.0;
        let tolerated = self.args.tolerate / 100.0;
        let (mut top, mut step, mut failed) = (top, resolution.max(0.001), false);
        loop {
            let mut search = Search::new(top, resolution, tolerated);
            while let Some(rate) = search.next_rate() {
                let report = self.trial(Rate::Packets(rate), self.args.trial)?;
                *trials += 1;
                let taken = search.tell(Trial {
                    wanted: rate,
                    reached: report.sent.pps,
                    loss: loss(&report),
                });
                tried.push(point(&report, rate));
                self.note(
                    size,
                    rate,
                    &report,
                    if taken { "taken" } else { "too much" },
                );
            }
            let rate = search.result();
            let limit = if failed {
                Limit::Device
            } else {
                search.limit()
            };
            if rate == 0.0 || self.args.confirm <= self.args.trial {
                return Ok((rate, limit));
            }
            let report = self.trial(Rate::Packets(rate), self.args.confirm)?;
            *trials += 1;
            tried.push(point(&report, rate));
            let held = loss(&report) <= tolerated;
            let what = if held { "confirmed" } else { "not confirmed" };
            self.note(size, rate, &report, what);
            if held {
                // What was not sent is not confirmed.
                return Ok(if report.sent.pps < rate * NEARLY {
                    (report.sent.pps, Limit::Generator)
                } else {
                    (rate, limit)
                });
            }
            (top, failed) = (rate * (1.0 - step), true);
            // Who fails again and again is far from it.
            step = (step * 2.0).min(0.5);
        }
    }

    /// Latency at parts of a rate.
    fn latency(&mut self, rate: f64, tried: &mut Vec<Point>) -> Result<Vec<AtLoad>> {
        let mut latency = Vec::new();
        for &percent in self.args.latency_at.iter().filter(|_| rate > 0.0) {
            let wanted = rate * percent / 100.0;
            let seconds = self.args.trial.max(self.args.confirm);
            let report = self.trial(Rate::Packets(wanted), seconds)?;
            tried.push(point(&report, wanted));
            latency.push(AtLoad::new(percent, &report));
        }
        Ok(latency)
    }

    /// What is lost by load, from `top` downwards (RFC 2544 26.3).
    fn loss(&mut self, size: u16, top: f64, tried: &mut Vec<Point>) -> Result<Vec<Lost>> {
        let mut steps = Steps::new(self.args.step);
        let mut all = Vec::new();
        while let Some(percent) = steps.percent() {
            let rate = top * percent / 100.0;
            let seconds = self.args.trial.max(self.args.confirm);
            let report = self.trial(Rate::Packets(rate), seconds)?;
            tried.push(point(&report, rate));
            steps.tell(loss(&report) <= 0.0);
            self.note(size, rate, &report, &format!("{percent:.0} %"));
            all.push(Lost::new(percent, &report));
        }
        Ok(all)
    }

    /// The longest burst at the shortest gaps of which nothing is lost (RFC 2544 26.4, RFC 9004).
    fn back_to_back(&mut self, size: u16, top: f64) -> Result<Option<BackToBack>> {
        // As the port takes them: where the link's speed is known that is its speed.
        let rate = match self.args.rate {
            Rate::Max | Rate::Percent(100.0..) => Rate::Max,
            _ => Rate::Packets(top),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "frames of two seconds"
        )]
        let most = (top * BURST_S).max(1.0) as u64;
        let (mut bursts, mut at_least, mut burst_pps) = (Vec::new(), true, 0.0);
        for _ in 0..self.args.repeat {
            let mut search = Amount::new(most, most, self.args.resolution / 100.0);
            while let Some(frames) = search.wanted() {
                let report = self.burst(rate, frames)?;
                let is_lossless = loss(&report) <= 0.0;
                search.tell(is_lossless);
                let what = format!("a burst of {frames}");
                self.note(size, report.sent.pps, &report, &what);
                if is_lossless {
                    burst_pps = report.sent.pps;
                }
            }
            at_least &= search.not_taken().is_none();
            #[expect(clippy::cast_precision_loss, reason = "frames of two seconds")]
            bursts.push(search.taken() as f64);
        }
        Ok(Spread::of(&bursts).map(|frames| BackToBack {
            frames,
            at_least,
            burst_pps,
        }))
    }

    /// A line on a trial.
    fn note(&self, size: u16, wanted: f64, report: &Report, what: &str) {
        if self.args.quiet {
            return;
        }
        let missed: u64 = report.ports.iter().map(|p| p.rx_missed).sum();
        let missed = if missed > 0 {
            format!(" ({missed} of them missed by this machine)")
        } else {
            String::new()
        };
        let lost = report.measured.as_ref().map(|m| m.lost);
        eprintln!(
            "  size {size}: {}/s wanted, {}/s sent, lost {} - {what}{missed}",
            si(wanted),
            si(report.sent.pps),
            lost.unwrap_or(report.sent.packets)
        );
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

/// The part of a trial's frames that was lost.
fn loss(report: &Report) -> f64 {
    report.measured.as_ref().map_or(1.0, |m| m.loss)
}

/// A trial, to be drawn.
fn point(report: &Report, wanted: f64) -> Point {
    let measured = report.measured.as_ref();
    Point {
        rate: report.sent.pps.min(wanted),
        loss: loss(report),
        latency_us: measured.and_then(|m| Some(m.latency_us.as_ref()?.p50)),
    }
}
