//! One run of clients, servers or both: workers on their CPUs, a line now and then, the result.

use super::{
    clients::{Clients, Script},
    http::Content,
    report::{OfClients, PerSecond, Report, line},
    servers::{Servers, Service},
    tally::{Live, Moment, ServerTally, Times},
    tuples::{Owners, Tuples},
    worker::{Done, End, Ring, Role, Worker},
};
use crate::{
    args::Wiring,
    rate::{Pace, Rate},
    run::{place, port_counts, port_counts_since, spawn},
    template::Template,
    wiring::{Lane, Wired},
    worker::Phase,
};
use anyhow::{Context, Result};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// How often the watching thread looks.
const LOOK: Duration = Duration::from_millis(5);
/// Frames that may wait for another worker.
const RING: usize = 4096;
/// Between the end of everything and the end of the workers: last acknowledgements are still answered.
const LAST: Duration = Duration::from_millis(50);

/// What to run.
pub struct Plan<'a> {
    /// Ports and CPUs.
    pub wiring: &'a Wiring,
    /// Clients: what they do, who they are, how many are opened a second.
    pub clients: Option<(Script, &'a Template, Rate)>,
    /// Servers.
    pub servers: Option<Service>,
    /// Connections at a time on each side, over all workers.
    pub concurrent: u32,
    /// How long connections are opened at most, seconds.
    pub seconds: Option<f64>,
    /// How long they have to end then.
    pub drain: f64,
    /// Seconds between two lines of progress, to standard error.
    pub progress: Option<f64>,
    /// For all that is drawn at random.
    pub seed: u64,
}

/// Runs it.
///
/// # Errors
/// Too few CPUs, no memory, a worker that panicked.
pub fn run(wired: &mut Wired, plan: &Plan<'_>, stop: &AtomicBool) -> Result<Report> {
    let cores = place(plan.wiring)?;
    let workers = plan.wiring.workers;
    let hz = wired.eal.tsc_hz();
    let phase = Arc::new(Phase::default());
    let before = port_counts(wired)?;
    let content = Arc::new(Content::new());
    let rings: Arc<[Ring]> = (0..workers).map(|_| Ring::new(RING)).collect();
    let lanes = std::mem::take(&mut wired.lanes);
    let mut all: Vec<Arc<Live>> = Vec::new();
    let mut ready = Vec::new();
    for (number, lanes) in (0..workers).zip(lanes) {
        let rings = Arc::clone(&rings);
        ready.push(worker(wired, plan, number, lanes, hz, &content, rings)?);
    }
    let mut threads = Vec::new();
    for (worker, core) in ready.into_iter().zip(cores) {
        all.push(Arc::clone(&worker.live));
        let phase = Arc::clone(&phase);
        threads.push(spawn(&wired.eal, core, move || worker.run(&phase)));
    }
    let begun = Instant::now();
    phase.set(Phase::SEND);
    watch(&all, plan, stop);
    phase.set(Phase::DRAIN);
    let seconds = begun.elapsed().as_secs_f64();
    let at_end = Moment::of(all.iter().map(|live| &**live));
    let drained = Instant::now();
    let is_open = || Moment::of(all.iter().map(|live| &**live)).open > 0;
    while drained.elapsed().as_secs_f64() < plan.drain && is_open() {
        thread::sleep(LOOK);
    }
    thread::sleep(LAST);
    phase.set(Phase::END);
    let mut done = Vec::new();
    for thread in threads {
        done.push(thread.join().ok().context("a worker panicked")?);
    }
    let mut report = report(plan, &mut done, seconds, &at_end);
    wired.lanes = done.into_iter().map(|done| done.lanes).collect();
    report.ports = port_counts_since(wired, &before)?;
    Ok(report)
}

fn worker(
    wired: &Wired,
    plan: &Plan<'_>,
    number: u16,
    lanes: Vec<Lane>,
    hz: u64,
    content: &Arc<Content>,
    rings: Arc<[Ring]>,
) -> Result<Worker> {
    let workers = plan.wiring.workers;
    let most = plan.concurrent.div_ceil(workers.into());
    let clients = match &plan.clients {
        Some((script, template, rate)) => {
            let mut script = script.clone();
            // The first workers open one more if the count does not divide.
            script.count = script.count.map(|count| {
                let more = u64::from(number) < count % u64::from(workers);
                count / u64::from(workers) + u64::from(more)
            });
            let tuples = Tuples::new(template, number, workers, plan.seed);
            let pace = Pace::new(*rate, None, workers, number, 1e9).map_err(anyhow::Error::msg)?;
            Some(Clients::new(
                script,
                most,
                tuples,
                pace,
                Arc::clone(content),
            ))
        }
        None => None,
    };
    let servers = plan.servers.as_ref();
    let servers = servers.map(|service| Servers::new(service.clone(), most, Arc::clone(content)));
    let role = |at: usize| match (at, &plan.clients) {
        (0, Some(_)) => Role::Clients,
        _ => Role::Servers,
    };
    let ends = lanes.into_iter().enumerate();
    let ends = ends.map(|(at, lane)| End {
        lane,
        role: role(at),
    });
    let owners = plan.clients.as_ref().filter(|_| workers > 1);
    Ok(Worker {
        ends: ends.collect(),
        clients,
        servers,
        pool: wired.blank_pool(number)?,
        hz,
        live: Arc::default(),
        owners: owners.map(|(_, template, _)| Owners::new(template, workers)),
        number,
        rings,
    })
}

/// Waits until all has been opened, the time is over, or `stop`; tells what goes on.
fn watch(workers: &[Arc<Live>], plan: &Plan<'_>, stop: &AtomicBool) {
    let begun = Instant::now();
    let mut last = (begun, Moment::default());
    let seconds = plan.seconds.unwrap_or(f64::INFINITY);
    loop {
        let now = Moment::of(workers.iter().map(|live| &**live));
        let elapsed = begun.elapsed().as_secs_f64();
        let over = stop.load(Relaxed) || now.ready == workers.len() as u64 || elapsed >= seconds;
        let since = last.0.elapsed().as_secs_f64();
        if let Some(every) = plan.progress
            && (since >= every || (over && since > 0.2))
        {
            eprintln!("{}", line(elapsed, since, &last.1, &now));
            last = (Instant::now(), now);
        }
        if over {
            return;
        }
        thread::sleep(LOOK);
    }
}

fn report(plan: &Plan<'_>, done: &mut [Done], seconds: f64, at_end: &Moment) -> Report {
    let mut clients: Option<(_, Times)> = None;
    let mut servers: Option<ServerTally> = None;
    for worker in done.iter_mut() {
        if let Some((tally, times)) = worker.clients.take() {
            match &mut clients {
                None => clients = Some((tally, times)),
                Some((all, all_times)) => {
                    all.add(&tally);
                    all_times.add(&times);
                }
            }
        }
        if let Some(tally) = &worker.servers {
            servers.get_or_insert_default().add(tally);
        }
    }
    let behind = done.iter().map(|d| d.behind_ns / 1e9).fold(0.0, f64::max);
    let is_paced = plan
        .clients
        .as_ref()
        .is_some_and(|(_, _, rate)| *rate != Rate::Max);
    Report {
        seconds,
        cpu_seconds: done.iter().map(|d| d.cpu.as_secs_f64()).sum(),
        behind: if is_paced && seconds > 0.0 {
            (behind / seconds).min(1.0)
        } else {
            0.0
        },
        per_second: PerSecond::new(at_end, seconds),
        clients: clients.map(|(tally, times)| OfClients::new(tally, &times)),
        servers,
        unsent: done.iter().map(|d| d.unsent).sum(),
        ports: Vec::new(),
    }
}
