//! Latency at half load: packets come at half the rate the engine can take, in a steady stream; each waits until its burst has gone.
//! While the kernel gives the core to others, the clock stands still, and the stream with it. Interrupts are the machine's doing as well
//! (on a virtual one each may take 20 µs, and many a thousand come a second): what waited because of one is left out.

use crate::{
    director::Lvs,
    flows::{Stamp, Stamper},
    forward::{BURST, Bed},
    measure::{Side, Spread, Windows, cpu_time, interrupts},
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

/// Longer than a burst should take: something else has had the core meanwhile, or the engine has made it wait.
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

    /// The time, and how long ago it was asked for.
    #[inline]
    fn now(&mut self) -> (Duration, Duration) {
        let passed = self.start.elapsed();
        let gap = passed - self.last;
        if gap > GAP {
            let ran = cpu_time() - self.cpu_start;
            self.stolen = self.stolen.max(passed.saturating_sub(ran));
        }
        self.last = passed;
        (passed - self.stolen, gap)
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
    let mut waited = Waits::new();
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
    waited: &mut Waits,
) -> Result<Quantiles> {
    let pool = bed.pool();
    waited.clear();
    let interrupted = interrupts()?;
    let mut clock = Clock::start();
    let mut done = 0_u64;
    let mut burst: ArrayVec<Mbuf, BURST> = ArrayVec::new();
    loop {
        let (now, gap) = clock.now();
        if now > WINDOW {
            break;
        }
        // What is stolen is known afterwards only, and then the clock goes back.
        let due = ((now.as_nanos() as f64 / gap_ns) as u64).saturating_sub(done);
        waited.turn(due as f64, gap);
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
        let (end, gap) = clock.now();
        waited.longest = waited.longest.max(gap);
        let end = end.as_nanos() as f64;
        for n in done..done + count {
            waited.add(end - (n + 1) as f64 * gap_ns);
        }
        done += count;
    }
    let interrupted = interrupts()? - interrupted;
    let all = waited.but(usize::try_from(interrupted)?);
    Ok([0.5, 0.99, 0.999].map(|share| all.quantile(share)))
}

/// Packets that usually wait, before it is known.
const USUAL: f64 = 8.0;

/// How long packets waited. What waited behind a gap is kept apart: all that came until no more waited than before it.
struct Waits {
    sound: Histogram,
    /// What waited behind gaps, one after the other, and behind them what went last.
    waits: Vec<f32>,
    /// The gaps: the longest time between two looks at the clock, and where what waited begins among `waits`.
    gaps: Vec<(Duration, usize)>,
    /// Where what went last begins.
    begin: usize,
    /// The longest time between two looks at the clock since then.
    longest: Duration,
    /// Packets that usually wait.
    usual: f64,
}

impl Waits {
    fn new() -> Self {
        // Not zeros: those the kernel finds when they are first written.
        let mut waits = vec![1.0; 2_000_000];
        waits.clear();
        Self {
            sound: Histogram::new(),
            waits,
            gaps: Vec::with_capacity(100_000),
            begin: 0,
            longest: Duration::ZERO,
            usual: USUAL,
        }
    }

    fn clear(&mut self) {
        self.sound.clear();
        self.waits.clear();
        self.gaps.clear();
        (self.begin, self.longest, self.usual) = (0, Duration::ZERO, USUAL);
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "nanoseconds, to seven digits"
    )]
    fn add(&mut self, ns: f64) {
        self.waits.push(ns as f32);
    }

    /// A look at the clock, `gap` after the one before: so many wait now.
    #[inline]
    fn turn(&mut self, waiting: f64, gap: Duration) {
        if self.longest <= GAP {
            self.settle();
        } else if gap <= GAP && waiting <= self.usual + 1.0 {
            self.set_aside();
        }
        self.longest = self.longest.max(gap);
        if self.longest <= GAP {
            self.usual += (waiting - self.usual) / 16.0;
        }
    }

    #[inline]
    fn settle(&mut self) {
        for wait in self.waits.drain(self.begin..) {
            self.sound.add(wait.into());
        }
        self.longest = Duration::ZERO;
    }

    #[cold]
    fn set_aside(&mut self) {
        self.gaps.push((self.longest, self.begin));
        self.begin = self.waits.len();
        self.longest = Duration::ZERO;
    }

    /// All waits, but for those behind the longest gaps: as many as there were interrupts. What the engine makes wait so long more often
    /// than that is among them.
    fn but(&mut self, interrupts: usize) -> &Histogram {
        if self.longest > GAP {
            self.set_aside();
        } else {
            self.settle();
        }
        let ends = self.gaps.iter().skip(1).map(|(_, begin)| *begin);
        let ends = ends.chain([self.begin]);
        let mut gaps: Vec<_> = self.gaps.iter().zip(ends).collect();
        gaps.sort_by_key(|((longest, _), _)| std::cmp::Reverse(*longest));
        for ((_, begin), end) in gaps.into_iter().skip(interrupts) {
            for wait in self.waits.get(*begin..end).unwrap_or_default() {
                self.sound.add((*wait).into());
            }
        }
        &self.sound
    }
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
