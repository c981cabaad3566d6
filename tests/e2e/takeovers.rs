//! `scripts/takeover`: takeovers one after the other, under real HTTP, and what clients notice of them. A short run is among the tests.
//!
//! The roles swap: who took over is the next to fail. What failed is healed and has all connections again before the next takeover.

use crate::{
    lab::{Lab, runner::Case},
    load::{FILE, Idle, MEGABYTES, Work},
    pair::Pair,
    takeover_options::{Fault, HELP, Options, Peer},
    watch::{self, Gap, Masters, Probes, echo},
};
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};
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
        Case::new("takeovers::with_keepalived", with_keepalived),
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

/// Makes the takeovers; `say` is told of each.
pub fn measure(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Figures> {
    let lab = if options.is_many() {
        // Servers and directors have it from here.
        let all = Some(1 << 20);
        let limit = Rlimit {
            current: all,
            maximum: all,
        };
        setrlimit(Resource::Nofile, limit).context("open files for so many connections")?;
        Lab::up(&["--twin", "--many"])?
    } else {
        Lab::up(&["--twin"])?
    };
    lab.publish(FILE, MEGABYTES)?;
    let mut pair = Pair::start(&lab, options)?;
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
    pair.stop()?;
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

/// Who has not been open for so long may not have been told of.
const OLD: Duration = Duration::from_millis(300);

fn takeovers(
    options: &Options,
    lab: &Lab,
    pair: &mut Pair<'_>,
    clients: &Clients<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<Figures> {
    let mut idle = Idle::new(options.idle);
    let mut figures = Figures::default();
    let patience = Duration::from_millis(options.interval_ms * 6).max(Duration::from_secs(5));
    for number in 1..=options.count {
        let (master, broken) = ready(lab, pair, clients, &mut idle, patience)?;
        let began = Instant::now();
        pair.apply(options.fault, master)?;
        pair.taken_over(1 - master, patience)?;
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
        // What the client's own stack had received before is read by then.
        thread::sleep(Duration::from_millis(600));
        let (moving, stopped) = clients.going_on(broken);
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
        figures.reset += (gone.len() + stopped.len()) as u64;
        figures.two_masters += moments;
        // Where all break, ten say enough.
        for one in gone.iter().chain(&stopped).take(10) {
            say(&format!("takeover {number}: lost: {one}"));
        }
        say(&line(options, number, gap, &figures, clients.failed()));
    }
    ensure!(
        clients.requests.progress.load(Ordering::Relaxed) > 0,
        "no request was answered in the whole run"
    );
    Ok(figures)
}

/// The two are settled, and connections are there that are old enough. Which is master, and how many downloads broke before.
fn ready(
    lab: &Lab,
    pair: &Pair<'_>,
    clients: &Clients<'_>,
    idle: &mut Idle,
    patience: Duration,
) -> Result<(usize, [u64; 2])> {
    // On a machine that is busy with other things one may give up by itself in between.
    for _ in 0..5 {
        let master = pair.settled()?;
        idle.fill(lab)?;
        // Older than the wait for more of a message of synchronisation: one download follows the other at any time.
        thread::sleep(OLD);
        let old = clients.are_old(OLD, patience);
        ensure!(old, "no download lasts before the takeover");
        let answered = clients.probes.await_answer(Instant::now(), patience);
        ensure!(answered, "no probe is answered before the takeover");
        let broken = clients.broken();
        if pair.settled()? == master {
            return Ok((master, broken));
        }
    }
    anyhow::bail!("the directors take over from each other by themselves, again and again")
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

impl Clients<'_> {
    /// Requests on connections of their own, too young to have been told of, that failed.
    fn failed(&self) -> u64 {
        self.requests.broken.load(Ordering::Relaxed)
    }

    /// How many downloads broke before, each.
    fn broken(&self) -> [u64; 2] {
        self.downloads
            .each_ref()
            .map(|download| download.course().1)
    }

    /// How many downloads go on that were under way when so many had broken, and what became of the others.
    fn going_on(&self, broken: [u64; 2]) -> (u64, Vec<String>) {
        let now = self
            .downloads
            .each_ref()
            .map(|download| download.course().0);
        let all = self.downloads.iter().zip(now).zip(broken);
        let (on, over): (Vec<_>, Vec<_>) =
            all.partition(|((download, bytes), broken)| download.goes_on((*bytes, *broken)));
        let why = over.into_iter().map(|((download, _), broken)| {
            // Who is to give up has not said so yet.
            match download.course().1 != broken {
                true => download.why(),
                false => "a download: nothing came for 5 s".to_owned(),
            }
        });
        (on.len() as u64, why.collect())
    }

    /// Waits until the downloads under way are as old as that; whether they are in the end.
    fn are_old(&self, age: Duration, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let old = |download: &Work| download.age().is_some_and(|of| of >= age);
            if self.downloads.iter().all(old) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
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

/// One from Tarpon to keepalived, and one back. Neither tells the other of connections.
fn with_keepalived() -> Result<()> {
    for fault in [Fault::Kill, Fault::Planned] {
        let options = Options {
            count: 2,
            fault,
            idle: 20,
            peer: Peer::Keepalived,
            interval_ms: 300,
            ..Options::DEFAULT
        };
        let figures = measure(&options, &mut |line| println!("{fault:?}: {line}"))?;
        ensure!(
            figures.survived + figures.reset == 2 * (20 + 2) && figures.reset > 0,
            "{fault:?}: every connection is one or the other: {figures:?}"
        );
        ensure!(
            figures.two_masters == 0,
            "{fault:?}: two masters: {figures:?}"
        );
        let bound = Duration::from_secs(3);
        ensure!(
            figures.gaps.len() == 2 && figures.gaps.iter().all(|gap| *gap < bound),
            "{fault:?}: {figures:?}"
        );
    }
    Ok(())
}
