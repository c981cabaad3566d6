//! Windows in turn, medians and quartiles, and what else the machine was doing.

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use std::{fmt, fs, time::Duration};

/// How long and how often to measure.
#[derive(Clone, Copy)]
pub struct Windows {
    pub pairs: usize,
    pub window: Duration,
}

/// Clocks per packet of two things measured in turn.
pub struct Run {
    pub pairs: Vec<(f64, f64)>,
}

/// Which of the two a window is for.
#[derive(Clone, Copy)]
pub enum Side {
    First,
    Second,
}

impl Windows {
    /// Measures two things in turn; `measure` is told which and for how long, and says how many clocks a packet took.
    /// Which goes first in a pair alternates, and one pair to warm up is not counted.
    pub fn compare(self, mut measure: impl FnMut(Side, Duration) -> Result<f64>) -> Result<Run> {
        let mut pairs = Vec::with_capacity(self.pairs);
        for turn in 0..=self.pairs {
            let pair = if turn % 2 == 0 {
                let a = measure(Side::First, self.window)?;
                (a, measure(Side::Second, self.window)?)
            } else {
                let b = measure(Side::Second, self.window)?;
                (measure(Side::First, self.window)?, b)
            };
            if turn > 0 {
                pairs.push(pair);
            }
        }
        Ok(Run { pairs })
    }
}

impl Run {
    pub fn first(&self) -> Spread {
        Spread::of(self.pairs.iter().map(|pair| pair.0).collect())
    }

    pub fn second(&self) -> Spread {
        Spread::of(self.pairs.iter().map(|pair| pair.1).collect())
    }

    /// One line: the base, the subject, and what it adds.
    pub fn added(&self) -> String {
        let added = Spread::of(
            self.pairs
                .iter()
                .map(|(base, subject)| subject - base)
                .collect(),
        );
        let times = Spread::of(
            self.pairs
                .iter()
                .map(|(base, subject)| subject / base)
                .collect(),
        );
        format!(
            "added {added:.1}; all in {:.1} clocks/packet, {:.2} times macswap's {:.1}",
            self.second().median,
            times.median,
            self.first().median
        )
    }
}

/// Median and quartiles.
pub struct Spread {
    pub median: f64,
    low: f64,
    high: f64,
    count: usize,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            values
                .get(values.len() * quarter / 4)
                .copied()
                .unwrap_or(f64::NAN)
        };
        Self {
            median: at(2),
            low: at(1),
            high: at(3),
            count: values.len(),
        }
    }
}

impl Spread {
    /// Between the quartiles.
    pub fn range(&self) -> f64 {
        self.high - self.low
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let Self {
            median,
            low,
            high,
            count,
        } = self;
        write!(
            f,
            "{median:.digits$} (quartiles {low:.digits$} to {high:.digits$}, {count} pairs)"
        )
    }
}

/// CPU time of the calling thread.
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Interrupts the calling thread's core has taken since it was started. The kernel books their time to whoever runs: of many short
/// times, so many may be longer than they were.
pub fn interrupts() -> Result<u64> {
    let text = fs::read_to_string("/proc/interrupts")?;
    let mut lines = text.lines();
    let cores = lines.next().context("/proc/interrupts is empty")?;
    let name = format!("CPU{}", rustix::thread::sched_getcpu());
    let column = cores.split_ascii_whitespace().position(|core| core == name);
    let column = column.context("/proc/interrupts lacks this core")?;
    // Some lines are of the machine, and have one number.
    let count =
        |line: &str| -> Option<u64> { line.split_ascii_whitespace().nth(column + 1)?.parse().ok() };
    Ok(lines.filter_map(count).sum())
}

/// What the machine was doing meanwhile.
pub struct Load {
    before: [u64; 10],
}

impl Load {
    pub fn start() -> Result<Self> {
        Ok(Self { before: jiffies()? })
    }

    pub fn finish(self) -> Result<String> {
        let after = jiffies()?;
        let mut spent = [0; 10];
        for (spent, (after, before)) in spent.iter_mut().zip(after.iter().zip(self.before)) {
            *spent = after.saturating_sub(before);
        }
        // user nice system idle iowait irq softirq steal guest guest_nice; guests' time is in user's already.
        let [_, _, _, idle, iowait, _, _, steal, ..] = spent;
        let total: u64 = spent.iter().take(8).sum();
        let share = |part: u64| 100 * part / total.max(1);
        let average = fs::read_to_string("/proc/loadavg")?;
        Ok(format!(
            "machine meanwhile: {} % busy, {} % stolen; load average {}",
            100 - share(idle + iowait),
            share(steal),
            average.split(' ').take(3).collect::<Vec<_>>().join(" ")
        ))
    }
}

fn jiffies() -> Result<[u64; 10]> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let mut all = [0; 10];
    for (place, number) in all.iter_mut().zip(line.split_ascii_whitespace().skip(1)) {
        *place = number.parse()?;
    }
    Ok(all)
}
