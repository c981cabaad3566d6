//! Workers past their capacity: found by what ports lose while a worker has no moment without packets, relieved by what the engine
//! lets go ([`engine::Overload`]), told when it begins and ends.
//!
//! What ports do not take for sending is no sign: that is a link's capacity, not the director's, and TCP fills links.

use super::Control;
use api::{EventKind, Overload};
use engine::{DropReason, Droppable, Load};
use std::time::{Duration, Instant};
use types::WorkerId;

/// Between looks.
const PAUSE: Duration = Duration::from_millis(100);
/// A worker that spent less of its time than this, in percent, on bursts that had packets could have taken more.
const BUSY: u64 = 75;
/// What is lost is less than one in so many: a burst that a ring was too short for.
const ONE_IN: u64 = 128;
/// Likewise in packets.
const FEW: u64 = 32;

/// What was found when it was last looked.
#[derive(Debug)]
pub struct Capacity {
    moment: Instant,
    cycles: u64,
    /// By worker.
    seen: Vec<Seen>,
    /// What each port had lost; `None` while all workers have time enough.
    lost: Option<Vec<u64>>,
    /// While any worker is relieved.
    spell: Option<Spell>,
}

/// A worker's figures.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    busy: u64,
    received: u64,
    refused: u64,
    dropped: u64,
}

/// Since a worker is past its capacity.
#[derive(Debug)]
struct Spell {
    since: Instant,
    cause: String,
    /// Refused and dropped before.
    before: (u64, u64),
}

impl Capacity {
    /// Nothing known of so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            moment: Instant::now(),
            cycles: host::cycles(),
            seen: vec![Seen::default(); workers],
            lost: None,
            spell: None,
        }
    }

    fn totals(&self) -> (u64, u64) {
        let sum = |(new, old): (u64, u64), s: &Seen| (new + s.refused, old + s.dropped);
        self.seen.iter().fold((0, 0), sum)
    }
}

/// A worker over the time since the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    busy_percent: u64,
    received: u64,
    refused: u64,
}

/// Looks if it is time; how long until the next look.
pub fn look(control: &mut Control) -> Duration {
    let since = control.capacity.moment.elapsed();
    if since < PAUSE {
        return PAUSE.saturating_sub(since);
    }
    let stretches = stretches(control);
    let lost = lost(control, &stretches);
    let all: u64 = lost.iter().map(|(_, lost)| lost).sum();
    let received: u64 = stretches.iter().map(|s| s.received).sum();
    let much = all >= FEW && all * ONE_IN >= received + all;
    let loads: Vec<Load> = stretches
        .iter()
        .map(|stretch| Load {
            past_capacity: much && stretch.busy_percent >= BUSY,
            mostly_new: stretch.refused * 2 >= stretch.received,
        })
        .collect();
    let droppable = match control.config.settings.overload_drop {
        0 => Droppable::Nothing,
        1 => Droppable::New,
        _ => Droppable::Established,
    };
    let now = control.clock.now();
    control
        .director
        .overload_mut()
        .judge(now, droppable, &loads);
    tell(control, &stretches, &lost, since);
    PAUSE
}

fn stretches(control: &mut Control) -> Vec<Stretch> {
    let cycles = host::cycles();
    let capacity = &mut control.capacity;
    let passed = cycles.wrapping_sub(capacity.cycles).max(1);
    (capacity.cycles, capacity.moment) = (cycles, Instant::now());
    let gauges = control.gauges.iter().zip(&mut capacity.seen).zip(0..);
    gauges
        .map(|((gauge, seen), id)| {
            let counters = control.director.counters(WorkerId(id));
            let dropped = |reason| counters.as_ref().map_or(0, |c| c.dropped(reason));
            let now = Seen {
                busy: gauge.read().busy,
                received: counters.as_ref().map_or(0, |c| c.rx.get()),
                refused: dropped(DropReason::OverloadNew),
                dropped: dropped(DropReason::OverloadEstablished),
            };
            let was = std::mem::replace(seen, now);
            Stretch {
                busy_percent: now.busy.wrapping_sub(was.busy).saturating_mul(100) / passed,
                received: now.received.saturating_sub(was.received),
                refused: now.refused.saturating_sub(was.refused),
            }
        })
        .collect()
}

/// What each port has lost since the last look. Ports are only asked while a worker has little time left.
fn lost(control: &mut Control, stretches: &[Stretch]) -> Vec<(String, u64)> {
    if stretches.iter().all(|s| s.busy_percent < BUSY) {
        control.capacity.lost = None;
        return Vec::new();
    }
    let ports = control.ports.iter().map(|open| {
        let stats = open.port.stats().unwrap_or_default();
        stats.rx_missed.saturating_add(stats.rx_no_buffer)
    });
    let now: Vec<u64> = ports.collect();
    let before = control.capacity.lost.replace(now.clone());
    let ports = control.ports.iter().map(|open| open.name.clone());
    let lost = now.iter().zip(before.unwrap_or_else(|| now.clone()));
    ports
        .zip(lost.map(|(now, before)| now.saturating_sub(before)))
        .collect()
}

/// Tells when it begins and ends.
fn tell(control: &mut Control, stretches: &[Stretch], lost: &[(String, u64)], since: Duration) {
    let relieved = !control.director.overload().worst().is_none();
    let totals = control.capacity.totals();
    match (&control.capacity.spell, relieved) {
        (None, true) => {
            let workers = relieved_workers(control);
            let busy = workers
                .iter()
                .filter_map(|id| stretches.get(usize::from(*id)));
            let busy = busy.map(|s| s.busy_percent.min(100)).max().unwrap_or(0);
            let lost: Vec<String> = lost
                .iter()
                .filter(|(_, lost)| *lost > 0)
                .map(|(port, lost)| format!("port {port} lost {lost}"))
                .collect();
            let cause = format!(
                "in {} ms {} packets that nobody took in time, with {} busy for {busy} % of it",
                since.as_millis(),
                lost.join(" and "),
                named(&workers)
            );
            let what = "past its capacity: of what is new a share is refused".to_owned();
            control.capacity.spell = Some(Spell {
                since: Instant::now(),
                cause: cause.clone(),
                before: totals,
            });
            let about = (None, None);
            control
                .journal
                .add(EventKind::OverloadBegun, about, what, cause);
        }
        (Some(spell), false) => {
            let cause = format!(
                "nothing more is lost; in {:.1} s {} new ones refused, {} packets of what stood dropped",
                spell.since.elapsed().as_secs_f64(),
                totals.0.saturating_sub(spell.before.0),
                totals.1.saturating_sub(spell.before.1)
            );
            control.capacity.spell = None;
            let what = "within its capacity again: nothing is refused".to_owned();
            let about = (None, None);
            control
                .journal
                .add(EventKind::OverloadOver, about, what, cause);
        }
        _ => {}
    }
}

fn relieved_workers(control: &Control) -> Vec<u16> {
    let shares = control.director.overload().shares().zip(0..);
    let relieved = shares.filter(|(shares, _)| !shares.is_none());
    relieved.map(|(_, id)| id).collect()
}

/// `worker 0` or `workers 0, 2`.
fn named(workers: &[u16]) -> String {
    let numbers: Vec<String> = workers.iter().map(u16::to_string).collect();
    let word = if workers.len() == 1 {
        "worker"
    } else {
        "workers"
    };
    format!("{word} {}", numbers.join(", "))
}

/// For `status`: nothing while all workers are within their capacity.
pub fn shown(control: &Control) -> Option<Overload> {
    let spell = control.capacity.spell.as_ref()?;
    let totals = control.capacity.totals();
    let (new_percent, established_percent) = control.director.overload().worst().percent();
    Some(Overload {
        age_ms: u64::try_from(spell.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        workers: relieved_workers(control),
        new_percent,
        established_percent,
        new: totals.0.saturating_sub(spell.before.0),
        established: totals.1.saturating_sub(spell.before.1),
        cause: spell.cause.clone(),
    })
}
