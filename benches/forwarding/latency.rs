//! Latency at half load: packets come at half the rate the engine can take, in a steady stream; each waits until its burst has gone.
//! While the kernel gives the core to others, the clock stands still, and the stream with it.

use crate::{
    director::Lvs,
    flows::{Stamp, Stamper},
    forward::{BURST, Bed},
    measure::{Side, Spread, Windows, cpu_time},
    path::{Path, Syn},
    report::Latency,
    subject::{Macswap, Subject},
};
use anyhow::{Context, Result, ensure};
use arrayvec::ArrayVec;
use dpdk::Mbuf;
use std::time::{Duration, Instant};
use types::{ForwardingMethod, Protocol};
use wire::Frame as _;

const CONNECTIONS: u32 = 10_000;
const PAIRS: usize = 20;
const WINDOW: Duration = Duration::from_millis(100);

/// Longer than any burst takes: something else has had the core meanwhile.
const GAP: Duration = Duration::from_micros(10);

/// Time less that in which others had the core. To ask for the thread's CPU time is a system call, which would cost more than a burst: it
/// is asked only after a gap.
struct Clock {
    start: Instant,
    cpu_start: Duration,
    last: Duration,
    stolen: Duration,
}

impl Clock {
    fn start() -> Self {
        Self {
            start: Instant::now(),
            cpu_start: cpu_time(),
            last: Duration::ZERO,
            stolen: Duration::ZERO,
        }
    }

    #[inline]
    fn now(&mut self) -> Duration {
        let passed = self.start.elapsed();
        if passed - self.last > GAP {
            let ran = cpu_time() - self.cpu_start;
            self.stolen = self.stolen.max(passed.saturating_sub(ran));
        }
        self.last = passed;
        passed - self.stolen
    }
}

/// Nanoseconds at the 50th, 99th and 99.9th percentile.
type Quantiles = [f64; 3];

/// What the engine adds over macswap, microseconds: medians over pairs of windows.
pub fn run(bed: &mut Bed, hz: u64) -> Result<Latency> {
    let path = Path {
        method: ForwardingMethod::Masq,
        protocol: Protocol::Udp,
        is_ipv6: false,
        is_reply: false,
        syn: Syn::No,
    };
    let mut lvs = Lvs::new(path, CONNECTIONS, 1, &bed.pool())?;
    let mut stamp = lvs.stamp();
    let lane = lvs.lanes.first_mut().context("no worker")?;
    let capacity = Windows {
        pairs: 10,
        window: Duration::from_millis(20),
    }
    .compare(|_, window| bed.run(window, hz, &mut stamp, lane))?;
    #[expect(clippy::cast_precision_loss, reason = "a frequency")]
    let gap_ns = 2.0 * capacity.first().median / hz as f64 * 1e9;
    let mut waited = Histogram::new();
    let mut pairs = Vec::new();
    for turn in 0..=PAIRS {
        let order = if turn % 2 == 0 {
            [Side::First, Side::Second]
        } else {
            [Side::Second, Side::First]
        };
        let mut pair = [[0.0; 3]; 2];
        for side in order {
            match side {
                Side::First => {
                    pair[0] = window(bed, gap_ns, &mut stamp, &mut Macswap, &mut waited)?
                }
                Side::Second => pair[1] = window(bed, gap_ns, &mut stamp, lane, &mut waited)?,
            }
        }
        if turn > 0 {
            pairs.push(pair);
        }
    }
    lvs.verify(&lvs.lanes)?;
    let added = |at: usize| {
        let differences = pairs.iter().map(|[base, all]| all[at] - base[at]);
        (Spread::of(differences.collect()).median / 10.0).round() / 100.0
    };
    Ok(Latency {
        p50: added(0),
        p99: added(1),
        p999: added(2),
    })
}

/// One window of a steady stream.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of nanoseconds and packets of a short window"
)]
fn window(
    bed: &mut Bed,
    gap_ns: f64,
    stamp: &mut Stamp,
    subject: &mut impl Subject,
    waited: &mut Histogram,
) -> Result<Quantiles> {
    let pool = bed.pool();
    let mut clock = Clock::start();
    let mut done = 0_u64;
    waited.clear();
    let mut burst: ArrayVec<Mbuf, BURST> = ArrayVec::new();
    loop {
        let now = clock.now();
        if now > WINDOW {
            break;
        }
        let due = (now.as_nanos() as f64 / gap_ns) as u64 - done;
        if due == 0 {
            continue;
        }
        for _ in 0..due.min(BURST as u64) {
            let mut frame = pool.alloc().context("no packet buffer")?;
            ensure!(frame.append(64), "a packet buffer without room");
            burst.push(frame);
        }
        let count = burst.len() as u64;
        stamp.stamp(&mut burst);
        subject.tick();
        bed.send(&mut burst, subject);
        let end = clock.now().as_nanos() as f64;
        for n in done..done + count {
            waited.add(end - (n + 1) as f64 * gap_ns);
        }
        done += count;
    }
    Ok([0.5, 0.99, 0.999].map(|share| waited.quantile(share)))
}

/// How long packets waited, in memory that is there before the clock starts: a page the kernel had to find under way would be
/// taken for the engine's doing.
struct Histogram {
    counts: Box<[u32]>,
    all: u64,
}

/// Nanoseconds of a place of a histogram, and places: a millisecond; what waited longer is in the last.
const PLACE_NS: f64 = 10.0;
const PLACES: usize = 100_000;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of packets, and nanoseconds, of a short window"
)]
impl Histogram {
    fn new() -> Self {
        let mut all = Self {
            // Not zeros: those the kernel finds when they are first written.
            counts: vec![1; PLACES].into_boxed_slice(),
            all: 0,
        };
        all.clear();
        all
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.all = 0;
    }

    #[inline]
    fn add(&mut self, ns: f64) {
        let place = (ns / PLACE_NS) as usize;
        if let Some(count) = self.counts.get_mut(place.min(PLACES - 1)) {
            *count += 1;
            self.all += 1;
        }
    }

    /// Nanoseconds that this share of the packets waited at most.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.all as f64 * share) as u64;
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen > wanted
        });
        place.map_or(f64::NAN, |place| (place as f64 + 0.5) * PLACE_NS)
    }
}
