//! What a run has measured: the file it writes, and the table of goals.

use crate::measure::{Run, Spread};
use serde::{Deserialize, Serialize};

/// A whole run, as `--json` writes it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    pub rows: Vec<Row>,
    /// Full TCP lives a second and core; `None`: not measured.
    pub connections_per_s: Option<f64>,
    pub bytes_per_connection: f64,
    pub ageing: Option<Ageing>,
    pub config_change: Option<ConfigChange>,
    /// Absent in files of older runs.
    #[serde(default)]
    pub marks: Option<Marks>,
    /// Absent in files of older runs.
    #[serde(default)]
    pub sync: Vec<Sync>,
    pub latency_us: Option<Latency>,
}

/// Where and when, and what else was going on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gb: u64,
    pub kernel: String,
    pub dpdk: String,
    /// Of packet buffers; the tables ask for transparent huge pages.
    pub pages: String,
    pub tsc_ghz: f64,
    /// UTC, ISO 8601.
    pub date: String,
    /// The run's own words on load and steal.
    pub load: String,
    /// Our speed over testpmd's, by forwarding mode.
    pub calibration: Vec<Calibration>,
}

/// One of our loops against testpmd's.
#[derive(Debug, Serialize, Deserialize)]
pub struct Calibration {
    pub mode: String,
    pub testpmd_clocks: f64,
    pub clocks: f64,
    /// Median of the pairs' ratios, testpmd's clocks over ours.
    pub ratio: f64,
}

/// One place of the grid.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// "nat", "dr" or "tunnel".
    pub path: String,
    pub family: u8,
    pub connections: u32,
    /// "uniform" or "zipf".
    pub distribution: String,
    pub workers: usize,
    /// A packet, all in; medians.
    pub clocks: f64,
    pub macswap_clocks: f64,
    /// Median of the pairs' differences, and its quartiles' distance.
    pub added_clocks: f64,
    pub iqr: f64,
    /// Pairs of windows.
    pub windows: usize,
}

/// Many connections past their time at once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ageing {
    pub connections: u32,
    /// The longest a burst waited for the hand, 999 of a thousand calls.
    pub worst_us: f64,
    /// Of a worker that calls it every millisecond, per cent.
    pub cpu_share: f64,
    /// Until the last was gone, calling every millisecond.
    pub seconds: f64,
}

/// One server more in a service of many, while packets go through.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConfigChange {
    pub servers: usize,
    /// From the call until the next burst of every worker goes by it.
    pub visible_ms: f64,
    /// The longest burst around a change less the longest of as long without, medians.
    pub worst_stall_us: f64,
    pub packets_lost: u64,
}

/// A director with many mark rules, none of which is true, against one without.
#[derive(Debug, Serialize, Deserialize)]
pub struct Marks {
    pub rules: usize,
    /// A packet of a connection that stands; median of the pairs' differences, and its quartiles' distance.
    pub added_clocks: f64,
    pub iqr: f64,
    /// A connection's first packet, which alone is held against the rules.
    pub first_packet_added_clocks: f64,
    pub first_packet_iqr: f64,
}

/// What telling another director of connections costs the worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sync {
    pub connections: u32,
    /// A packet's clocks, all in, while nothing is told.
    pub clocks: f64,
    /// Median of the pairs' differences, and its quartiles' distance.
    pub added_clocks: f64,
    pub iqr: f64,
    /// Of those clocks; median of the pairs' shares.
    pub percent: f64,
    /// Connections told meanwhile.
    pub told: u64,
}

/// Added over macswap at half load.
#[derive(Debug, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Row {
    /// A place and what was measured there.
    pub fn new(
        path: &str,
        family: u8,
        connections: u32,
        distribution: &str,
        workers: usize,
        run: &Run,
    ) -> Self {
        let added = Spread::of(run.pairs.iter().map(|(base, all)| all - base).collect());
        Self {
            path: path.to_owned(),
            family,
            connections,
            distribution: distribution.to_owned(),
            workers,
            clocks: tenth(run.second().median),
            macswap_clocks: tenth(run.first().median),
            added_clocks: tenth(added.median),
            iqr: tenth(added.range()),
            windows: run.pairs.len(),
        }
    }
}

/// To a tenth: more would be invented.
pub fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// One line of the table of goals.
pub struct Goal {
    pub what: &'static str,
    pub floor: f64,
    pub goal: f64,
    /// Larger is better.
    pub more: bool,
    pub measured: Option<f64>,
}

impl Goal {
    /// "goal", "floor" or "missed".
    pub fn verdict(&self) -> &'static str {
        let Some(value) = self.measured else {
            return "not measured";
        };
        let reaches = |mark: f64| {
            if self.more {
                value >= mark
            } else {
                value <= mark
            }
        };
        if reaches(self.goal) {
            "goal reached"
        } else if reaches(self.floor) {
            "floor reached"
        } else {
            "missed"
        }
    }
}

impl Report {
    /// The row of a place, uniform at random.
    pub fn row(&self, path: &str, family: u8, connections: u32, workers: usize) -> Option<&Row> {
        self.rows.iter().find(|row| {
            (row.path.as_str(), row.family, row.connections, row.workers)
                == (path, family, connections, workers)
                && row.distribution == "uniform"
        })
    }

    /// Every goal that a run of this bench can speak of.
    pub fn goals(&self) -> Vec<Goal> {
        let added = |path, connections| {
            self.row(path, 4, connections, 1)
                .map(|row| row.added_clocks)
        };
        let less = |what, floor, goal, measured| Goal {
            what,
            floor,
            goal,
            more: false,
            measured,
        };
        let more = |what, floor, goal, measured| Goal {
            what,
            floor,
            goal,
            more: true,
            measured,
        };
        // Of a size that both have, the larger the better: memory rules there.
        let pair = |one: (u8, usize), other: (u8, usize)| {
            let sizes = [10_000_000, 1_000_000, 100_000, 10_000, 1000];
            sizes.into_iter().find_map(|size| {
                let one = self.row("nat", one.0, size, one.1)?;
                Some((one.clocks, self.row("nat", other.0, size, other.1)?.clocks))
            })
        };
        let ageing = self.ageing.as_ref();
        let change = self.config_change.as_ref();
        let latency = self.latency_us.as_ref();
        vec![
            less(
                "NAT, 10k connections, added clocks",
                90.0,
                50.0,
                added("nat", 10_000),
            ),
            less(
                "NAT, 1M, added clocks",
                160.0,
                80.0,
                added("nat", 1_000_000),
            ),
            less(
                "NAT, 10M, added clocks",
                200.0,
                100.0,
                added("nat", 10_000_000),
            ),
            less(
                "NAT, 40M, added clocks",
                350.0,
                150.0,
                added("nat", 40_000_000),
            ),
            less(
                "direct routing, 10M, added clocks",
                150.0,
                90.0,
                added("dr", 10_000_000),
            ),
            more(
                "full TCP lives a second and core",
                0.6e6,
                1.2e6,
                self.connections_per_s,
            ),
            less(
                "bytes a connection, IPv4",
                112.0,
                88.0,
                Some(self.bytes_per_connection),
            ),
            more(
                "1 to 2 workers, times",
                1.8,
                1.95,
                pair((4, 1), (4, 2)).map(|(one, two)| 2.0 * one / two),
            ),
            less(
                "ageing: worst delay of a burst, us",
                50.0,
                10.0,
                ageing.map(|a| a.worst_us),
            ),
            less(
                "ageing: share of a core, %",
                5.0,
                1.0,
                ageing.map(|a| a.cpu_share),
            ),
            less(
                "config change: visible after, ms",
                50.0,
                5.0,
                change.map(|c| c.visible_ms),
            ),
            less(
                "config change: worst stall, us",
                50.0,
                5.0,
                change.map(|c| c.worst_stall_us),
            ),
            #[expect(clippy::cast_precision_loss, reason = "a count of lost packets")]
            less(
                "config change: packets lost",
                0.0,
                0.0,
                change.map(|c| c.packets_lost as f64),
            ),
            less(
                "10,000 mark rules, added clocks",
                60.0,
                20.0,
                self.marks.as_ref().map(|m| m.added_clocks),
            ),
            less(
                "10,000 mark rules, first packets",
                60.0,
                20.0,
                self.marks.as_ref().map(|m| m.first_packet_added_clocks),
            ),
            less(
                "telling of connections, % of a worker",
                2.0,
                1.0,
                self.sync.iter().map(|s| s.percent).reduce(f64::max),
            ),
            less(
                "IPv6 over IPv4, times the clocks",
                1.6,
                1.3,
                pair((6, 1), (4, 1)).map(|(six, four)| six / four),
            ),
            less(
                "latency added at half load, p50, us",
                2.0,
                0.5,
                latency.map(|l| l.p50),
            ),
            less(
                "latency added at half load, p99, us",
                10.0,
                2.0,
                latency.map(|l| l.p99),
            ),
            less(
                "latency added at half load, p99.9, us",
                50.0,
                20.0,
                latency.map(|l| l.p999),
            ),
        ]
    }

    /// The table of goals with what was measured, one line each.
    pub fn goals_table(&self) -> String {
        let lines = self.goals().into_iter().map(|goal| {
            let measured = goal.measured.map_or("-".to_owned(), number);
            format!(
                "| {} | {} | {} | {measured} | {} |\n",
                goal.what,
                number(goal.floor),
                number(goal.goal),
                goal.verdict()
            )
        });
        let head = "| | floor | goal | measured | |\n|---|---|---|---|---|\n".to_owned();
        lines.fold(head, |all, line| all + &line)
    }
}

/// As a reader wants it: millions by their letter, else no more digits than mean something.
pub fn number(value: f64) -> String {
    if value >= 1e5 {
        format!("{:.2}M", value / 1e6)
    } else if value.fract() == 0.0 || value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
