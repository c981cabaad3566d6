//! `pktgen rfc9693`: what a device that keeps connections can do (RFC 9693). The initiator enumerates connections (phase 1); the
//! responder learns them from what arrives and can answer them (phase 2).

mod results;

pub use results::{Capacity, Found, Results, Teardown};

use crate::{
    args::{Measure, Rfc9693},
    flows::{Flow, enumerated},
    pcap,
    plot::{self, Point},
    prototype::Link,
    rate::{Pace, Rate},
    report::{Report, say, si, write_json},
    run::{self, Both, Plan},
    search::{Search, Trial},
    source::Recipe,
    template::{FCS, Kind, Template},
    tx::{DOCUMENTATION, run_number, stop_on_signals},
    wiring::{self, Wired},
    worker::{Frames, Learner},
};
use anyhow::{Context, Result, bail, ensure};
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
/// Tries of a table's size at most.
const TRIES: u32 = 60;

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
}

/// Measures.
///
/// # Errors
/// Mistakes of the command line, whatever ports refuse, and a device from which nothing comes back at all.
pub fn rfc9693(args: &Rfc9693) -> Result<()> {
    check(args)?;
    if args.dry_run {
        return dry_run(args);
    }
    run::place(&args.wiring)?;
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
    };
    let warm = bench.open(
        WARM_UP.min(args.template.flows()),
        Rate::Packets(WARM_UP_PPS),
    )?;
    ensure!(
        !warm.learned.flows.is_empty(),
        "nothing came through of {} packets at {WARM_UP_PPS} a second: is the device wired, does it forward to where --rx-port is, are \
         --rx-address the addresses it sends to? `pktgen tx` with the same arguments shows more",
        warm.report.sent.packets
    );
    let mut results = Results {
        connections: args.connections,
        ..Results::default()
    };
    for measure in &args.measure {
        match measure {
            Measure::Rate => bench.rate(&mut results)?,
            Measure::Throughput => bench.throughput(&mut results)?,
            Measure::Teardown => bench.teardown(&mut results)?,
            Measure::Capacity => bench.capacity(&mut results)?,
        }
    }
    results.opened = bench.opened;
    if let Some(path) = &args.plot {
        let named = [
            ("connections established", &results.establishment),
            ("throughput over them", &results.throughput),
        ];
        let series = named.into_iter();
        let series = series
            .filter_map(|(name, found)| Some((name.to_owned(), found.as_ref()?.trials.clone())));
        plot::loss(path, "RFC 9693", &series.collect::<Vec<_>>())?;
    }
    match &args.json {
        Some(path) => write_json(&results, path),
        None => say(&results.to_string()),
    }
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
    ensure!(
        args.connections <= flows,
        "--connections {}: the template has {flows} combinations of addresses and ports; give it more ports or source addresses",
        args.connections
    );
    ensure!(
        !args.measure.contains(&Measure::Teardown) || args.empty.is_some(),
        "--measure teardown times the command that empties the device's table: --empty COMMAND, like `--empty 'ssh gateway conntrack -F'`"
    );
    recipe(args, DOCUMENTATION, 0, None).check(args.wiring.mtu)?;
    Ok(())
}

fn recipe(args: &Rfc9693, link: Link, run: u16, listed: Option<Arc<[Flow]>>) -> Recipe {
    Recipe {
        templates: vec![args.template.clone()],
        link,
        run: Some(run),
        seed: args.seed,
        listed,
        first_stream: 0,
    }
}

/// The responder's frames: as the initiator's, from and to whom it has learned.
fn answer(args: &Rfc9693, link: Link, run: u16, learned: &Learner) -> Result<Recipe> {
    let (_, is_ipv6) = learned.from.context("nothing was learned")?;
    let any = if is_ipv6 {
        "[::/65]:0-65535"
    } else {
        "0.0.0.0/0:0-65535"
    };
    let protocol = match args.template.kind {
        Kind::Tcp { .. } => "tcp",
        _ => "udp",
    };
    let template: Template = format!("{protocol} {any} > {any}").parse()?;
    let flags = match args.template.kind {
        Kind::Tcp { .. } => Kind::Tcp {
            flags: wire::tcp::SYN | wire::tcp::ACK,
        },
        kind => kind,
    };
    // A translation between families makes packets longer or shorter by the headers' difference.
    let least = template.headers_len() + FCS + 18;
    let sizes = args
        .template
        .sizes
        .all()
        .first()
        .map_or(64, |(size, _)| *size);
    Ok(Recipe {
        templates: vec![Template {
            kind: flags,
            sizes: crate::template::Sizes::one(sizes.max(least)),
            vlan: args.template.vlan,
            ..template
        }],
        link,
        run: Some(run),
        seed: args.seed,
        listed: Some(learned.flows.clone().into()),
        first_stream: 0,
    })
}

impl<'a> Bench<'a> {
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

    /// Phase 2, answers alone: connections over which one came back.
    fn answered(&mut self, opened: &Opened) -> Result<u64> {
        if opened.learned.flows.is_empty() {
            return Ok(0);
        }
        let count = opened.learned.flows.len() as u64;
        let (args, stop, fill) = (self.args, self.stop, self.fill);
        let link = self.back(&opened.learned)?;
        let plan = self.plan(fill, Some(count), None, 0)?;
        let recipe = answer(args, link, self.run, &opened.learned)?;
        self.wired.turn();
        let report = run::run(&mut self.wired, &plan, stop, |worker, workers| {
            Ok(Frames::Made(recipe.source(worker, workers)?))
        });
        self.wired.turn();
        Ok(report?.measured.map_or(0, |measured| measured.packets))
    }

    fn rate(&mut self, results: &mut Results) -> Result<()> {
        let top = self.top()?;
        let mut search = self.search(top);
        let mut trials = Vec::new();
        while let Some(rate) = search.next_rate() {
            self.empty()?;
            let opened = self.open(self.args.connections, Rate::Packets(rate))?;
            self.tell(
                &mut search,
                &mut trials,
                "connections",
                rate,
                &opened.report,
            );
        }
        let found = search.result();
        results.establishment = Some(Found {
            rate: found,
            limited_by: search.limit(),
            trials,
        });
        if found > 0.0 {
            if self.args.fill_rate.is_none() {
                self.fill = Rate::Packets(found / 2.0);
            }
            // RFC 9693 4.6: each connection must carry an answer, too.
            self.empty()?;
            let opened = self.open(self.args.connections, Rate::Packets(found))?;
            let answered = self.answered(&opened)?;
            self.note(&format!(
                "validation: {} of {} connections carry answers",
                answered, self.args.connections
            ));
            results.validated = Some(answered);
        }
        Ok(())
    }

    fn throughput(&mut self, results: &mut Results) -> Result<()> {
        self.empty()?;
        let opened = self.open(self.args.connections, self.fill)?;
        let link = self.back(&opened.learned)?;
        let top = self.top()? * 2.0;
        let mut search = self.search(top);
        let mut trials = Vec::new();
        while let Some(rate) = search.next_rate() {
            let (args, stop) = (self.args, self.stop);
            let plan = self.plan(Rate::Packets(rate), None, Some(args.trial), 0)?;
            let there = recipe(args, self.link, self.run, Some(Arc::clone(&opened.flows)));
            let back = Recipe {
                // Numbers of its own: the meter tells streams apart by them.
                first_stream: args.wiring.workers,
                ..answer(args, link, self.run, &opened.learned)?
            };
            self.wired.meter_at(|_, _| true);
            let report = run::run_both(&mut self.wired, &plan, stop, |worker, workers| {
                let there = Frames::Made(there.source(worker, workers)?);
                let back = Frames::Made(back.source(worker, workers)?);
                Ok::<Both, _>((there, Some(back)))
            });
            self.wired.meter_at(|at, last| at == last);
            let report = report?.0;
            self.tell(&mut search, &mut trials, "throughput", rate, &report);
        }
        results.throughput = Some(Found {
            rate: search.result(),
            limited_by: search.limit(),
            trials,
        });
        Ok(())
    }

    fn teardown(&mut self, results: &mut Results) -> Result<()> {
        self.empty()?;
        let opened = self.open(self.args.connections, self.fill)?;
        let kept = self.answered(&opened)?;
        let full = self.empty()?.as_secs_f64();
        let empty = self.empty()?.as_secs_f64();
        let teardown = Teardown {
            rate: if full > empty {
                kept as f64 / (full - empty)
            } else {
                0.0
            },
            full_seconds: full,
            empty_seconds: empty,
        };
        results.teardown = Some(teardown);
        Ok(())
    }

    fn capacity(&mut self, results: &mut Results) -> Result<()> {
        let most = self
            .args
            .most
            .unwrap_or(u64::MAX)
            .min(self.args.template.flows());
        let (mut low, mut high) = (0, None);
        let mut wanted = self.args.connections.min(most);
        for _ in 0..TRIES {
            self.empty()?;
            let opened = self.open(wanted, self.fill)?;
            let answered = self.answered(&opened)?;
            self.note(&format!(
                "capacity: {answered} of {wanted} connections carry answers"
            ));
            let lost = (wanted - answered.min(wanted)) as f64 / wanted as f64;
            if lost <= self.args.tolerate / 100.0 {
                low = wanted;
            } else {
                high = Some(wanted);
            }
            let Some(next) = next_size(low, high, most, self.args.resolution / 100.0) else {
                break;
            };
            wanted = next;
        }
        results.capacity = Some(Capacity {
            kept: low,
            not_kept: high,
        });
        Ok(())
    }

    fn search(&self, top: f64) -> Search {
        Search::new(
            top,
            self.args.resolution / 100.0,
            self.args.tolerate / 100.0,
        )
    }

    /// Tells a search of a trial, and whoever watches.
    fn tell(
        &self,
        search: &mut Search,
        trials: &mut Vec<Point>,
        what: &str,
        wanted: f64,
        report: &Report,
    ) {
        let loss = report.measured.as_ref().map_or(1.0, |m| m.loss);
        let reached = report.sent.pps;
        let taken = search.tell(Trial {
            wanted,
            reached,
            loss,
        });
        trials.push(Point {
            rate: reached.min(wanted),
            loss,
            latency_us: report
                .measured
                .as_ref()
                .and_then(|m| Some(m.latency_us.as_ref()?.p50)),
        });
        let missed: u64 = report.ports.iter().map(|p| p.rx_missed).sum();
        let lost = report
            .measured
            .as_ref()
            .map_or(report.sent.packets, |m| m.lost);
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
        Ok(self.open(self.args.connections, Rate::Max)?.report.sent.pps)
    }
}

/// How many connections to try next: twice as many until some are not kept, then halfway.
fn next_size(low: u64, high: Option<u64>, most: u64, resolution: f64) -> Option<u64> {
    match high {
        None if low >= most => None,
        None => Some(low.saturating_mul(2).min(most)),
        Some(high) => {
            let middle = u64::midpoint(low, high);
            let near = (high - low) as f64 <= resolution * high as f64;
            (!near && middle > low).then_some(middle)
        }
    }
}

/// Writes what phase 1 would send.
fn dry_run(args: &Rfc9693) -> Result<()> {
    let flows: Arc<[Flow]> = enumerated(&args.template, 0, args.connections, args.seed).into();
    let to = args.wiring.to_mac.unwrap_or(DOCUMENTATION.to);
    let link = Link {
        to,
        ..DOCUMENTATION
    };
    let mut source = recipe(args, link, 0, Some(flows)).source(0, 1)?;
    let rate = match args.fill_rate.unwrap_or(args.rate) {
        Rate::Percent(_) if args.wiring.link_speed.is_none() => Rate::Packets(1000.0),
        rate => rate,
    };
    let mut pace =
        Pace::new(rate, args.wiring.link_speed, 1, 0, 1e9).map_err(anyhow::Error::msg)?;
    let mut file = args.pcap.as_deref().map(pcap::Writer::create).transpose()?;
    if args.connections > 10_000_000 {
        bail!("a dry run writes at most 10000000 frames; give a smaller --connections");
    }
    for _ in 0..args.connections {
        let time = Duration::from_secs_f64(pace.due() / 1e9);
        let frame = source.next_frame(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        pace.sent(u16::try_from(frame.len()).unwrap_or(u16::MAX - FCS) + FCS);
        if let Some(file) = &mut file {
            file.write(time, &frame)?;
        }
    }
    if let Some(file) = file {
        file.finish()?;
    }
    say(&format!(
        "{} frames of phase 1 would be sent, one of each connection; those of phase 2 are made of what the device makes of them\n",
        args.connections
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_table_s_capacity_is_found(capacity in 0..3_000_000_u64, begin in 1..100_000_u64, most in 1..10_000_000_u64) {
            let (mut low, mut high) = (0, None);
            let mut wanted = begin.min(most);
            let mut tries = 0;
            loop {
                tries += 1;
                if wanted <= capacity { low = wanted } else { high = Some(wanted) }
                let Some(next) = next_size(low, high, most, 0.02) else { break };
                prop_assert!(next > low && high.is_none_or(|high| next < high) && next <= most);
                wanted = next;
            }
            prop_assert!(tries < TRIES && low <= capacity.min(most));
            match high {
                None => prop_assert_eq!(low, most),
                Some(high) => prop_assert!(high > capacity && (high - low <= 1 || (high - low) as f64 <= 0.02 * high as f64)),
            }
        }
    }
}
