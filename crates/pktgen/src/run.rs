//! One run: workers on their CPUs, a line each second, the result.

use crate::{
    args::Wiring,
    counts::{Counts, Totals},
    meter::{Meter, Seen, new_histogram},
    rate::{Pace, Rate},
    report::{Followed, Measured, PortCounts, Report, Sent, bits, si},
    wiring::{Lane, Wired},
    worker::{Done, Frames, Learner, Phase, Worker},
};
use anyhow::{Context, Result, ensure};
use core_affinity::CoreId;
use dpdk::Eal;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often the watching thread looks.
const LOOK: Duration = Duration::from_millis(5);

/// Is told what happens.
pub type Told<'a> = dyn Fn(f64, &Totals) + 'a;

/// What to run.
pub struct Plan<'a> {
    /// Ports and CPUs.
    pub wiring: &'a Wiring,
    /// How fast.
    pub rate: Rate,
    /// How many frames at most, over all workers.
    pub count: Option<u64>,
    /// How long at most, seconds.
    pub seconds: Option<f64>,
    /// How long to wait for the last frames, seconds.
    pub drain: f64,
    /// The run's number, if frames carry stamps.
    pub run: Option<u16>,
    /// A line now and then, to standard error.
    pub progress: bool,
    /// Seconds between two lines.
    pub every: f64,
    /// Who else is told: the seconds since the start, and what happened until then.
    pub told: Option<&'a Told<'a>>,
    /// How many flows of frames that come in are to be remembered.
    pub learn: usize,
    /// Another rate, from so many seconds on.
    pub then: Option<(f64, Rate)>,
    /// To be told where the stream's numbers break off: of one worker.
    pub follow: bool,
}

/// What each worker sends: by the first end, and by the second in turns with it.
pub type Both = (Frames, Option<Frames>);

/// Starts a worker's thread, on a CPU of its own and with a cache of packet buffers where that can be had.
pub fn spawn<T: Send + 'static>(
    eal: &Eal,
    core: CoreId,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let eal = eal.clone();
    thread::spawn(move || {
        if !core_affinity::set_for_current(core) {
            eprintln!("warning: worker not pinned to CPU {}", core.id);
        }
        // Without it packet buffers cost a little more.
        let _registered = eal
            .register_thread()
            .inspect_err(|error| eprintln!("warning: {error}"))
            .ok();
        work()
    })
}

/// The CPUs the workers run on.
///
/// # Errors
/// When there are too few, or one is not to be had.
pub fn place(wiring: &Wiring) -> Result<Vec<CoreId>> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let workers = usize::from(wiring.workers);
    let shown = |cores: &[CoreId]| {
        let all: Vec<String> = cores.iter().map(|c| c.id.to_string()).collect();
        all.join(",")
    };
    if wiring.cores.is_empty() {
        ensure!(
            workers <= allowed.len(),
            "--workers {workers}, but this process may use {} CPUs only ({}); each worker needs one",
            allowed.len(),
            shown(&allowed)
        );
        return Ok(allowed.into_iter().take(workers).collect());
    }
    ensure!(
        wiring.cores.len() == workers,
        "--cores names {} CPUs for {workers} workers: --workers {}",
        wiring.cores.len(),
        wiring.cores.len()
    );
    for (at, core) in wiring.cores.iter().enumerate() {
        ensure!(
            !wiring.cores.iter().take(at).any(|other| other == core),
            "--cores names CPU {core} twice: two workers on one CPU would wait for each other; name another, or --workers {}",
            workers - 1
        );
        ensure!(
            allowed.iter().any(|c| c.id == *core),
            "--cores: this process may not use CPU {core}; it may use {}",
            shown(&allowed)
        );
    }
    Ok(wiring.cores.iter().map(|id| CoreId { id: *id }).collect())
}

/// Sends and measures. `frames` makes the frames of one worker. The lanes are given back for another run.
///
/// # Errors
/// A rate that means nothing here, no memory, a worker that panicked.
pub fn run(
    wired: &mut Wired,
    plan: &Plan<'_>,
    stop: &AtomicBool,
    mut frames: impl FnMut(u16, u16) -> Result<Frames>,
) -> Result<Report> {
    let both = |worker, workers| Ok((frames(worker, workers)?, None));
    Ok(run_both(wired, plan, stop, both)?.0)
}

/// As [`run`], by both ends; and what was learned of the frames that came in.
///
/// # Errors
/// As of [`run`].
pub fn run_both(
    wired: &mut Wired,
    plan: &Plan<'_>,
    stop: &AtomicBool,
    mut frames: impl FnMut(u16, u16) -> Result<Both>,
) -> Result<(Report, Learner)> {
    let cores = place(plan.wiring)?;
    let workers = plan.wiring.workers;
    let hz = wired.eal.tsc_hz();
    let link = plan.wiring.link_speed.or(wired.speed_bps());
    let phase = Arc::new(Phase::default());
    let before = port_counts(wired)?;
    let mut all: Vec<(Arc<Counts>, Arc<AtomicBool>)> = Vec::new();
    let mut threads = Vec::new();
    let lanes = std::mem::take(&mut wired.lanes);
    let mut ready = Vec::new();
    for (number, lanes) in (0..workers).zip(lanes) {
        ready.push(worker(wired, plan, number, lanes, hz, link, &mut frames)?);
    }
    for (worker, core) in ready.into_iter().zip(cores) {
        all.push((Arc::clone(&worker.counts), Arc::clone(&worker.has_sent_all)));
        let phase = Arc::clone(&phase);
        threads.push(spawn(&wired.eal, core, move || worker.run(&phase)));
    }
    phase.set(Phase::SEND);
    watch(&all, plan, stop);
    phase.set(Phase::DRAIN);
    let drained = Instant::now();
    while drained.elapsed().as_secs_f64() < plan.drain {
        thread::sleep(LOOK);
    }
    phase.set(Phase::END);
    let mut done = Vec::new();
    let mut learned = Learner::new(0);
    for thread in threads {
        let mut worker = thread.join().ok().context("a worker panicked")?;
        wired.lanes.push(worker.1);
        if let Some(of_worker) = worker.0.learner.take() {
            learned.flows.extend(of_worker.flows);
            learned.from = learned.from.or(of_worker.from);
        }
        done.push(worker.0);
    }
    let totals = Totals::of(all.iter().map(|(counts, _)| &**counts));
    let mut report = report(plan, &totals, done, hz);
    report.ports = port_counts_since(wired, &before)?;
    Ok((report, learned))
}

fn worker(
    wired: &Wired,
    plan: &Plan<'_>,
    number: u16,
    lanes: Vec<Lane>,
    hz: u64,
    link: Option<f64>,
    frames: &mut impl FnMut(u16, u16) -> Result<Both>,
) -> Result<Worker> {
    let (forward, back) = frames(number, plan.wiring.workers)?;
    let workers = plan.wiring.workers;
    #[expect(clippy::cast_precision_loss, reason = "a frequency")]
    let hz_f = hz as f64;
    let pace = |rate| Pace::new(rate, link, workers, number, hz_f).map_err(anyhow::Error::msg);
    let pace = match plan.then {
        None => pace(plan.rate)?,
        Some((after_s, rate)) => pace(plan.rate)?.then(after_s * hz_f, &pace(rate)?),
    };
    // Each direction of each worker.
    let streams = workers * (1 + u16::from(back.is_some()));
    let meter = Meter::new(plan.run.unwrap_or(0), plan.run.map_or(0, |_| streams), hz);
    // The first workers send one more if the count does not divide.
    let count = plan.count.map_or(u64::MAX, |count| {
        count / u64::from(workers) + u64::from(u64::from(number) < count % u64::from(workers))
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds are checked where they are read"
    )]
    let clocks = plan.seconds.map_or(u64::MAX, |s| (s * hz_f) as u64);
    Ok(Worker {
        lanes,
        frames: forward,
        back,
        // Queues do not get even shares.
        learner: (plan.learn > 0).then(|| Learner::new(plan.learn)),
        pace,
        count,
        clocks,
        blank: wired.blank_pool(number)?,
        pool: wired.pool.clone(),
        meter: match plan.follow {
            true => meter.with_gaps(),
            false => meter,
        },
        counts: Arc::default(),
        waiting_bytes: [0; 2],
        made: [0; 2],
        has_sent_all: Arc::default(),
        turned: None,
    })
}

/// Waits until all has been sent, or `stop`; tells what goes on.
fn watch(workers: &[(Arc<Counts>, Arc<AtomicBool>)], plan: &Plan<'_>, stop: &AtomicBool) {
    let begun = Instant::now();
    let mut last = (begun, Totals::default());
    loop {
        let over = stop.load(Relaxed) || workers.iter().all(|(_, done)| done.load(Relaxed));
        let seconds = last.0.elapsed().as_secs_f64();
        if seconds >= plan.every || (over && seconds > 0.2) {
            let now = Totals::of(workers.iter().map(|(counts, _)| &**counts));
            let elapsed = begun.elapsed().as_secs_f64();
            if plan.progress {
                eprintln!("{}", line(elapsed, seconds, &last.1, &now));
            }
            if let Some(told) = plan.told {
                told(elapsed, &now);
            }
            last = (Instant::now(), now);
        }
        if over {
            return;
        }
        thread::sleep(LOOK);
    }
}

/// What happened in the last `seconds`.
#[expect(clippy::cast_precision_loss, reason = "counts of a second")]
fn line(elapsed: f64, seconds: f64, before: &Totals, now: &Totals) -> String {
    let sent = now.sent - before.sent;
    let on_wire = now.sent_bytes - before.sent_bytes + sent * u64::from(crate::rate::WIRE_OVERHEAD);
    let received = now.received - before.received;
    let missing = now.sent.saturating_sub(now.received - now.duplicates);
    let latency = (now.latency_sum_ns - before.latency_sum_ns) as f64 / received.max(1) as f64;
    let mut text = format!(
        "{elapsed:6.1} s  sent {}/s ({})",
        si(sent as f64 / seconds),
        bits(on_wire as f64 * 8.0 / seconds)
    );
    if now.received > 0 {
        text += &format!(
            "  received {}/s  missing {missing}  latency {:.1} µs",
            si(received as f64 / seconds),
            latency / 1e3
        );
    }
    if now.refused > before.refused {
        text += "  (port full)";
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "clocks of a run")]
fn report(plan: &Plan<'_>, totals: &Totals, done: Vec<Done>, hz: u64) -> Report {
    let hz = hz as f64;
    let seconds = done
        .iter()
        .map(|d| d.clocks as f64 / hz)
        .fold(0.0, f64::max);
    let behind = done.iter().map(|d| d.given_up / hz).fold(0.0, f64::max);
    let cpu = done.iter().map(|d| d.cpu.as_secs_f64()).sum();
    let mut seen = Seen::default();
    let mut latency = new_histogram();
    let mut followed = None;
    for mut worker in done {
        let gaps = worker.meter.take_gaps();
        followed = followed.or(gaps.map(|gaps| Followed {
            gaps,
            hz,
            start: worker.start,
            turned: worker.turned,
            end: worker.end,
        }));
        let (of_worker, its_latency) = worker.meter.finish();
        seen.add(&of_worker);
        // Both have the same bounds.
        let _ = latency.add(its_latency);
    }
    let is_measured = plan.run.is_some() && (plan.wiring.rx_port.is_some() || seen.stamped > 0);
    Report {
        sent: Sent::new(totals, seconds, behind, cpu),
        stamped: plan.run.is_some(),
        measured: is_measured.then(|| Measured::new(totals.sent, &seen, &latency)),
        foreign: seen.foreign,
        ports: Vec::new(),
        followed,
    }
}

/// What the ports counted since `before`.
pub(crate) fn port_counts_since(wired: &Wired, before: &[PortCounts]) -> Result<Vec<PortCounts>> {
    let mut counts = port_counts(wired)?;
    for (now, before) in counts.iter_mut().zip(before) {
        now.tx_packets -= before.tx_packets;
        now.rx_packets -= before.rx_packets;
        now.rx_missed -= before.rx_missed;
        now.tx_errors -= before.tx_errors;
    }
    Ok(counts)
}

pub(crate) fn port_counts(wired: &Wired) -> Result<Vec<PortCounts>> {
    let counts = wired.ports.iter().map(|port| {
        let stats = port.stats()?;
        Ok(PortCounts {
            port: port.device().to_string(),
            tx_packets: stats.tx_packets,
            rx_packets: stats.rx_packets,
            rx_missed: stats.rx_missed,
            tx_errors: stats.tx_errors,
        })
    });
    counts.collect()
}
