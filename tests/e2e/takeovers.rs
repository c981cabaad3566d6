//! `scripts/takeover`: takeovers one after the other, under real HTTP, and what clients notice of them. A short run is among the tests.
//!
//! The roles swap: who took over is the next to fail. What failed is healed and has all connections again before the next takeover.

use crate::{
    lab::{
        Lab,
        router::{Killed, Router},
        run,
        runner::Case,
    },
    load::{FILE, Idle, MEGABYTES, Work},
    sync::{SYNC, status},
    takeover::{Advertising, NODES, VIP, becomes, file_of, state},
    takeover_options::{Fault, HELP, Options},
    watch::{self, ECHO, Gap, Masters, Probes, echo},
};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::{
    fs,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("takeovers::two_masters_are_seen", || {
            watch::two_masters_are_seen();
            Ok(())
        }),
        Case::new("takeovers::killed_and_planned", a_few),
    ]
}

/// The command, with its arguments.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let options = match Options::read(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error:#}\n`scripts/takeover --help` has the options");
            return ExitCode::from(2);
        }
    };
    match measure(&options, &mut |line| eprintln!("{line}")) {
        Ok(figures) => {
            let json = figures.json();
            println!("{json}");
            if let Some(path) = &options.json
                && let Err(error) = fs::write(path, json + "\n")
            {
                eprintln!("error: {path}: {error}");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Figures {
    gaps: Vec<Duration>,
    survived: u64,
    reset: u64,
    two_masters: usize,
}

impl Figures {
    /// The gap that this share of takeovers does not exceed, in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let mut gaps = self.gaps.clone();
        gaps.sort();
        let rank = (gaps.len() * percent).div_ceil(100).max(1) - 1;
        let gap = gaps.get(rank).copied().unwrap_or_default();
        (gap.as_secs_f64() * 10_000.0).round() / 10.0
    }

    fn json(&self) -> String {
        let [p50, p99, max] = [50, 99, 100].map(|p| self.percentile(p));
        serde_json::json!({
            "gap_ms": { "p50": p50, "p99": p99, "max": max },
            "survived": self.survived,
            "reset": self.reset,
            "two_masters": self.two_masters,
            "takeovers": self.gaps.len(),
        })
        .to_string()
    }
}

/// The two directors; who is not there was killed.
struct Pair<'a> {
    lab: &'a Lab,
    interval_ms: u64,
    routers: [Option<Router<'a>>; 2],
    killed: [Option<Killed>; 2],
}

impl<'a> Pair<'a> {
    fn start(lab: &'a Lab, interval_ms: u64) -> Result<Self> {
        let mut pair = Self {
            lab,
            interval_ms,
            routers: [None, None],
            killed: [None, None],
        };
        pair.start_one(0)?;
        becomes(pair.of(0)?, "master")?;
        pair.start_one(1)?;
        Ok(pair)
    }

    fn start_one(&mut self, node: usize) -> Result<()> {
        let advertising = Advertising {
            interval_ms: self.interval_ms,
            preempt: false,
        };
        let servers: String = (11..=13)
            .map(|n| format!("[[service.server]]\naddress = \"10.1.0.{n}\"\n"))
            .collect();
        let text = file_of(self.lab, node, [220, 210][node], advertising)
            + &format!(
                "\n[[service]]\nprotocol = \"udp\"\naddress = \"{VIP}:{ECHO}\"\nmethod = \"masq\"\n{servers}\n"
            )
            + SYNC;
        self.routers[node] = Some(match self.killed[node].take() {
            Some(killed) => Router::start_after(self.lab, NODES[node], &text, killed)?,
            None => Router::start_on(self.lab, NODES[node], &text)?,
        });
        Ok(())
    }

    fn of(&self, node: usize) -> Result<&Router<'a>> {
        self.routers[node]
            .as_ref()
            .context("a director is not there")
    }

    /// Both are there, one is master, and the other has what it needs to follow it. Says which is master.
    fn settled(&self) -> Result<usize> {
        let mut last = String::new();
        let mut master = 0;
        run::until("the directors do not settle", 40, || {
            let states = [state(self.of(0)?)?, state(self.of(1)?)?];
            last = states.join(" and ");
            master = usize::from(states[1] == "master");
            let settled = states[master] == "master" && states[1 - master] == "backup";
            Ok(settled && status(self.of(1 - master)?)?.told_everything)
        })
        .with_context(|| format!("they are {last}"))?;
        Ok(master)
    }

    fn apply(&mut self, fault: Fault, node: usize) -> Result<()> {
        match fault {
            Fault::Kill => {
                let router = self.routers[node].take().context("it is not there")?;
                self.killed[node] = Some(router.kill()?);
                Ok(())
            }
            Fault::Stop => self.of(node)?.signal(Signal::STOP),
            Fault::Planned => self.of(node)?.tarpon("failover lvs").map(|_| ()),
            Fault::Public => self.cable("wan", node, "down"),
            Fault::Private => self.cable("lan", node, "down"),
            Fault::Oneway => ["wan", "lan"].into_iter().try_for_each(|wire| {
                let port = format!("{}-{wire}", NODES[node]);
                let line = format!("tc qdisc add dev {port} clsact");
                self.lab.text(wire, &line, 5)?;
                let line = format!("tc filter add dev {port} ingress matchall action drop");
                self.lab.text(wire, &line, 5).map(|_| ())
            }),
        }
    }

    fn heal(&mut self, fault: Fault, node: usize) -> Result<()> {
        match fault {
            Fault::Kill => self.start_one(node),
            Fault::Stop => self.of(node)?.signal(Signal::CONT),
            Fault::Planned => Ok(()),
            Fault::Public => self.cable("wan", node, "up"),
            Fault::Private => self.cable("lan", node, "up"),
            Fault::Oneway => ["wan", "lan"].into_iter().try_for_each(|wire| {
                let line = format!("tc qdisc del dev {}-{wire} clsact", NODES[node]);
                self.lab.text(wire, &line, 5).map(|_| ())
            }),
        }
    }

    fn cable(&self, wire: &str, node: usize, to: &str) -> Result<()> {
        let line = format!("ip link set {}-{wire} {to}", NODES[node]);
        self.lab.text(wire, &line, 5).map(|_| ())
    }
}

/// Makes the takeovers; `say` is told of each.
pub fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Figures> {
    let lab = Lab::up(&["--twin"])?;
    lab.publish(FILE, MEGABYTES)?;
    let mut pair = Pair::start(&lab, options.interval_ms)?;
    pair.settled()?;
    let stop = AtomicBool::new(false);
    let probes = Probes::new(&lab)?;
    let masters = Masters::new(Duration::from_millis(options.interval_ms));
    let (downloads, requests) = ([Work::default(), Work::default()], Work::default());
    let figures = thread::scope(|scope| {
        // Whatever comes of it, the threads end.
        let _end = Ends(&stop);
        echo(&lab, scope, &stop)?;
        scope.spawn(|| probes.run(&stop));
        let wires = ["wan", "lan"].map(|wire| {
            let (lab, masters, stop) = (&lab, &masters, &stop);
            scope.spawn(move || masters.run(lab, wire, stop))
        });
        for work in &downloads {
            scope.spawn(|| work.download(&lab, &stop));
        }
        scope.spawn(|| requests.request(&lab, &stop));
        let clients = Clients {
            probes: &probes,
            masters: &masters,
            downloads: &downloads,
            requests: &requests,
        };
        let figures = takeovers(options, &lab, &mut pair, &clients, say)?;
        stop.store(true, Ordering::Relaxed);
        for wire in wires {
            // Who did not listen has not seen that there was only one master.
            wire.join()
                .map_err(|_| anyhow::anyhow!("who listened on a switch panicked"))??;
        }
        ensure!(masters.heard(), "no advertisement was heard on a switch");
        Ok(figures)
    })?;
    for router in pair.routers.into_iter().flatten() {
        router.stop()?;
    }
    Ok(figures)
}

/// Set when dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Who looks.
struct Clients<'a> {
    probes: &'a Probes,
    masters: &'a Masters,
    downloads: &'a [Work; 2],
    requests: &'a Work,
}

fn takeovers(
    options: &Options,
    lab: &Lab,
    pair: &mut Pair<'_>,
    clients: &Clients<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<Figures> {
    let mut idle = Idle::open(lab, options.idle)?;
    let mut figures = Figures::default();
    let patience = Duration::from_millis(options.interval_ms * 6).max(Duration::from_secs(5));
    for number in 1..=options.count {
        let master = pair.settled()?;
        idle.fill(lab)?;
        // Older than the wait for more of a message of synchronisation.
        thread::sleep(Duration::from_millis(300));
        let answered = clients.probes.await_answer(Instant::now(), patience);
        ensure!(answered, "no probe is answered before the takeover");
        let broken = clients.broken();
        let began = Instant::now();
        pair.apply(options.fault, master)?;
        taken_over(pair, 1 - master, patience)?;
        // Until the last silence is surely over, if it ever is.
        let answered = clients.probes.await_answer(Instant::now(), patience);
        ensure!(
            answered,
            "no probe was answered within {patience:?} of the takeover"
        );
        thread::sleep(Duration::from_millis(300));
        let until = Instant::now();
        thread::sleep(Duration::from_millis(100));
        let gap = clients.probes.gap(began, until);
        let (answered, gone) = idle.ask();
        let moving = clients.downloads_move();
        let broken = clients.broken() - broken;
        let mut moments = clients.masters.moments(began, Instant::now());
        // Where what it sends is lost it goes on as master; when it is heard again one of the two gives way, within an interval.
        let healed = Instant::now();
        pair.heal(options.fault, master)?;
        pair.settled()?;
        let grace = Duration::from_millis(4 * options.interval_ms);
        let from = if options.fault == Fault::Oneway {
            healed + grace
        } else {
            healed
        };
        moments += clients.masters.moments(from, Instant::now());
        figures.gaps.push(gap.longest);
        figures.survived += answered + moving;
        figures.reset += gone + broken;
        figures.two_masters += moments;
        say(&line(options, number, gap, &figures, clients.failed()));
    }
    ensure!(
        clients.requests.progress.load(Ordering::Relaxed) > 0,
        "no request was answered in the whole run"
    );
    Ok(figures)
}

fn line(options: &Options, number: usize, gap: Gap, figures: &Figures, failed: u64) -> String {
    format!(
        "takeover {number} of {}: no answer for {:.1} ms ({} probes lost); so far {} connections survived, {} were reset, {} moments with two \
         masters; {failed} short requests failed",
        options.count,
        gap.longest.as_secs_f64() * 1000.0,
        gap.lost,
        figures.survived,
        figures.reset,
        figures.two_masters
    )
}

fn taken_over(pair: &Pair<'_>, node: usize, patience: Duration) -> Result<()> {
    let router = pair.of(node)?;
    let deadline = Instant::now() + patience;
    while state(router)? != "master" {
        ensure!(
            Instant::now() < deadline,
            "{} did not take over within {patience:?}:\n{}",
            NODES[node],
            router.log_tail(15)
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Clients<'_> {
    /// Downloads that broke.
    fn broken(&self) -> u64 {
        let all = self.downloads.iter();
        all.map(|work| work.broken.load(Ordering::Relaxed)).sum()
    }

    /// Requests on connections of their own, too young to have been told of, that failed.
    fn failed(&self) -> u64 {
        self.requests.broken.load(Ordering::Relaxed)
    }

    /// Downloads that go on.
    fn downloads_move(&self) -> u64 {
        let progress = || {
            self.downloads
                .each_ref()
                .map(|d| d.progress.load(Ordering::Relaxed))
        };
        let before = progress();
        let moved = || {
            before
                .iter()
                .zip(progress())
                .filter(|(a, b)| *a < b)
                .count() as u64
        };
        for _ in 0..50 {
            if moved() == before.len() as u64 {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        moved()
    }
}

/// One of each of the faults that differ most, with bounds for a machine busy with other things.
fn a_few() -> Result<()> {
    for (fault, bound) in [
        (Fault::Kill, Duration::from_millis(1500)),
        (Fault::Planned, Duration::from_millis(500)),
    ] {
        let options = Options {
            count: 1,
            fault,
            idle: 20,
            ..Options::DEFAULT
        };
        let figures = measure(&options, &mut |line| println!("{fault:?}: {line}"))?;
        ensure!(
            figures.reset == 0 && figures.survived >= 20,
            "{fault:?}: connections were reset: {figures:?}"
        );
        ensure!(
            figures.two_masters == 0,
            "{fault:?}: two masters: {figures:?}"
        );
        ensure!(
            figures.gaps.len() == 1 && figures.gaps.iter().all(|gap| *gap < bound),
            "{fault:?}: {figures:?}"
        );
    }
    Ok(())
}
