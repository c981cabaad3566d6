//! The command line.

use crate::{measure::Windows, path::Path};
use anyhow::{Context, Result, bail, ensure};
use std::{env, time::Duration};

/// What `--help` says.
pub const HELP: &str = "cargo bench --bench forwarding -- [--pairs N] [--window-ms N] [--core N] [--flows N,N...] [--paths TEXT] [--skip-testpmd] [--instructions] [--gate FILE [--accept]] [--memory MB] [--report [--quick] [--only PARTS] [--json FILE] [--plot SVG]] [--readme JSON]
  --pairs N         pairs of windows for each comparison (default 40, at least 10)
  --window-ms N     length of a window (default 50; testpmd's are 300)
  --core N          the core to measure on (default: the last)
  --flows N,N,...   connections for the subjects (default 1000,10000)
  --paths TEXT      only paths whose name has TEXT in it (\"masq\", \"tcp ipv6\", \"replies\"; default: all)
  --skip-testpmd    no calibration
  --instructions    the engine's instructions per packet by valgrind's callgrind, instead of clocks
  --gate FILE       fail where they are more than FILE accepts
  --accept          with --gate: write FILE
  --memory MB       DPDK's memory (default 128)
  --report          everything scripts/bench measures, and the table of goals
  --quick           with --report: in about three minutes
  --only PARTS      with --report: of grid, lives, ageing, change, marks, sync, latency only these, separated by commas
  --json FILE       with --report: write the figures
  --plot SVG        with --report: draw clocks against the size of the table, with other balancers' curves
  --readme JSON     write the performance section of ./README.md from such a file";

/// What `--report` measures.
pub const PARTS: [&str; 7] = [
    "grid", "lives", "ageing", "change", "marks", "sync", "latency",
];

/// How to measure.
pub struct Options {
    pub windows: Windows,
    pub core: usize,
    pub flows: Vec<u32>,
    pub calibrate: bool,
    pub memory_mb: u32,
    /// Count instructions instead of clocks.
    pub instructions: bool,
    /// Be the child that is counted, for this path.
    pub count: Option<Path>,
    /// What to measure.
    pub paths: Vec<Path>,
    /// The file of accepted instructions.
    pub gate: Option<String>,
    /// Write it.
    pub accept: bool,
    /// Measure everything.
    pub report: bool,
    /// In less time.
    pub quick: bool,
    /// What of [`PARTS`].
    pub only: Vec<String>,
    /// Where the figures go.
    pub json: Option<String>,
    /// Where the drawing goes.
    pub plot: Option<String>,
    /// The figures to write into the README.
    pub readme: Option<String>,
}

impl Options {
    /// Reads the command line; `None` if only help is wanted.
    pub fn read() -> Result<Option<Self>> {
        let last = core_affinity::get_core_ids()
            .and_then(|cores| cores.last().map(|core| core.id))
            .unwrap_or(0);
        let mut options = Options {
            windows: Windows {
                pairs: 40,
                window: Duration::from_millis(50),
            },
            core: last,
            flows: vec![1000, 10_000],
            calibrate: true,
            memory_mb: 128,
            instructions: false,
            count: None,
            paths: Path::all().collect(),
            gate: None,
            accept: false,
            report: false,
            quick: false,
            only: PARTS.map(str::to_owned).to_vec(),
            json: None,
            plot: None,
            readme: None,
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .with_context(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                // Cargo passes it.
                "--bench" => {}
                "--help" | "-h" => return Ok(None),
                "--pairs" => options.windows.pairs = value()?.parse()?,
                "--window-ms" => options.windows.window = Duration::from_millis(value()?.parse()?),
                "--core" => options.core = value()?.parse()?,
                "--flows" => {
                    options.flows = value()?
                        .split(',')
                        .map(str::parse)
                        .collect::<Result<_, _>>()?
                }
                "--instructions" => options.instructions = true,
                "--count" => options.count = Some(value()?.parse()?),
                "--paths" => {
                    let text = value()?;
                    options
                        .paths
                        .retain(|path| path.to_string().contains(&text));
                }
                "--gate" => options.gate = Some(value()?),
                "--accept" => options.accept = true,
                "--report" => options.report = true,
                "--quick" => options.quick = true,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--plot" => options.plot = Some(value()?),
                "--json" => options.json = Some(value()?),
                "--readme" => options.readme = Some(value()?),
                "--skip-testpmd" => options.calibrate = false,
                "--memory" => options.memory_mb = value()?.parse()?,
                other => bail!("unknown option {other}\n{HELP}"),
            }
        }
        ensure!(!options.paths.is_empty(), "--paths fits no path");
        let odd = options.only.iter().find(|p| !PARTS.contains(&p.as_str()));
        ensure!(
            odd.is_none(),
            "--only {}: there are {}",
            odd.map_or("", String::as_str),
            PARTS.join(", ")
        );
        ensure!(
            options.windows.pairs >= 10,
            "--pairs {}: at least 10",
            options.windows.pairs
        );
        Ok(Some(options))
    }

    /// Whether a part of the report is wanted.
    pub fn wants(&self, part: &str) -> bool {
        self.only.iter().any(|p| p == part)
    }
}
