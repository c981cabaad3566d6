//! `scripts/differential`: random commands and frames to a live IPVS and to the engine; what differs is shrunk and kept.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use sim::{
    differential::{Action, Duel, Oracle, Replaced, Replacement, Scenario, replace, shrink},
    golden::{Looked, Op, Player, Recording},
};
use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

const USAGE: &str = "\
usage: scripts/differential [--seed S | --seeds A..B | --scenario N] [--frames N] [--seconds N] [--oracle DIR] [--out DIR]
                            [--keep-going] [--no-shrink]
       scripts/differential --replace [--oracle DIR]

  --seed S        which random commands and frames (1)
  --seeds A..B    all seeds from A up to B, which is not one of them
  --scenario N    only the scenario of that number, as a difference names it
  --replace       IPVS is replaced by Tarpon while connections are under way, and Tarpon by IPVS: the new one hears of them by
                  synchronisation, and must do the same with their packets
  --frames N      frames of each seed, at least (2000)
  --seconds N     stop with the scenario during which they are over
  --oracle DIR    the live IPVS: a directory with bin/oracle-serve; else the environment's TARPON_ORACLE
  --out DIR       where differences are kept as recordings (target/differential)
  --keep-going    go on after a difference
  --no-shrink     keep what was done up to a difference whole, if it shows again: quicker, longer

Exit status: 0 nothing differed, 1 something did, 2 it could not be tried, 77 skipped: there is no oracle.";

/// Seconds of a scenario from its first frame on. Linux's timers of ten seconds and more may be late by a sixteenth (its timer wheel has coarser
/// slots the further ahead they are), so that nobody can say what it knows when one has just run out.
const LONGEST: f64 = 8.0;

/// How often it says how far it is.
const TELLS: Duration = Duration::from_secs(20);

/// Shorter scripts tried.
const RUNS: usize = 80;

struct Options {
    seeds: Range<u64>,
    scenario: Option<u64>,
    frames: usize,
    seconds: Option<u64>,
    oracle: Option<PathBuf>,
    out: PathBuf,
    keep_going: bool,
    shrink: bool,
    replace: bool,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    let Some(directory) = &options.oracle else {
        println!(
            "differential: skipped: no oracle is named; give the directory that has bin/oracle-serve with --oracle DIR or TARPON_ORACLE"
        );
        return ExitCode::from(77);
    };
    match run(&options, directory) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seeds: 1..2,
        scenario: None,
        frames: 2000,
        seconds: None,
        oracle: std::env::var_os("TARPON_ORACLE")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from),
        out: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/differential"),
        keep_going: false,
        shrink: true,
        replace: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "-h" | "--help" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            "--seed" => {
                let seed = number(&word, &value()?)?;
                options.seeds = seed..seed + 1;
            }
            "--seeds" => options.seeds = range(&word, &value()?)?,
            "--scenario" => options.scenario = Some(number(&word, &value()?)?),
            "--frames" => options.frames = number(&word, &value()?)?,
            "--seconds" => options.seconds = Some(number(&word, &value()?)?),
            "--oracle" => options.oracle = Some(value()?.into()),
            "--out" => options.out = value()?.into(),
            "--keep-going" => options.keep_going = true,
            "--no-shrink" => options.shrink = false,
            "--replace" => options.replace = true,
            _ => return Err(format!("unknown argument {word}\n{USAGE}")),
        }
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{option} needs a number, not {text}"))
}

fn range(option: &str, text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| format!("{option} needs two numbers, as in 10..20, not {text}"))?;
    let range = number(option, from)?..number(option, to)?;
    if range.is_empty() {
        return Err(format!(
            "{option} {text} is no seed at all: the first must be smaller"
        ));
    }
    Ok(range)
}

/// What was done and found.
#[derive(Default)]
struct Tally {
    seeds: u64,
    scenarios: u64,
    frames: usize,
    looks: usize,
    commands: usize,
    differences: usize,
    passing: usize,
}

impl Tally {
    fn count(&mut self, action: &Action) {
        match action {
            Action::Frame(..) => self.frames += 1,
            look if look.is_look() => self.looks += 1,
            _ => self.commands += 1,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            frames,
            looks,
            commands,
            scenarios,
            ..
        } = self;
        write!(
            f,
            "{frames} frames, {looks} looks and {commands} commands in {scenarios} scenarios"
        )
    }
}

fn run(options: &Options, directory: &Path) -> Result<usize, String> {
    let started = Instant::now();
    if options.replace {
        return replacements(directory).map_err(|e| e.to_string());
    }
    let mut oracle = Oracle::boot(directory, 36_000).map_err(|e| e.to_string())?;
    let mut tally = Tally::default();
    let mut told = started;
    'seeds: for seed in options.seeds.clone() {
        tally.seeds += 1;
        let wanted = tally.frames + options.frames;
        for number in 0.. {
            let scenario = options
                .scenario
                .unwrap_or_else(|| mixed(seed.wrapping_mul(1_000_003).wrapping_add(number)));
            let workers = [1, 1, 2, 4][(number % 4) as usize];
            play(options, &mut oracle, workers, scenario, &mut tally).map_err(|e| e.to_string())?;
            tally.scenarios += 1;
            let seconds = started.elapsed().as_secs();
            if told.elapsed() >= TELLS {
                told = Instant::now();
                let rate = tally.frames as u64 / seconds.max(1);
                println!(
                    "differential: seed {seed}: {tally}, {seconds} s ({rate} frames/s), {} differences so far",
                    tally.differences
                );
            }
            if options.scenario.is_some()
                || (tally.differences > 0 && !options.keep_going)
                || options.seconds.is_some_and(|most| seconds >= most)
            {
                break 'seeds;
            }
            if tally.frames >= wanted {
                break;
            }
        }
    }
    let seconds = started.elapsed().as_secs();
    println!("{}", oracle.spent.to_string().trim_end());
    println!(
        "differential: {} seeds from {} on: {tally}, {seconds} s ({} frames/s)",
        tally.seeds,
        options.seeds.start,
        tally.frames as u64 / seconds.max(1)
    );
    println!(
        "differential: {} differences ({} more did not show again)",
        tally.differences, tally.passing
    );
    Ok(tally.differences)
}

/// Both ways round, each with an IPVS of its own: connections keep its FTP module from being unloaded.
fn replacements(directory: &Path) -> Result<usize, Box<dyn std::error::Error>> {
    let mut differences = 0;
    for (replaced, words) in [
        (Replaced::Oracle, "IPVS replaced by Tarpon"),
        (Replaced::Engine, "Tarpon replaced by IPVS"),
    ] {
        let Replacement {
            messages,
            connections,
            packets,
            differences: found,
        } = replace(&mut Oracle::boot(directory, 36_000)?, replaced)?;
        for difference in &found {
            println!("  {difference}");
        }
        println!(
            "differential: {words}: {connections} connections and templates in {messages} messages, then {packets} packets alike, {} differences",
            found.len()
        );
        differences += found.len();
        // One to which nothing was told would differ in nothing.
        if messages == 0 || connections == 0 || packets == 0 {
            return Err("nothing came over".into());
        }
    }
    Ok(differences)
}

/// Neighbouring numbers made unlike each other (SplitMix64).
const fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One scenario.
fn play(
    options: &Options,
    oracle: &mut Oracle,
    workers: u16,
    seed: u64,
    tally: &mut Tally,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut scenario = Scenario::new(seed, oracle.topology().clone());
    let mut duel = Duel::begin(oracle, workers, seed)?;
    let mut actions = Vec::new();
    let mut first_frame = None;
    let mut batch = scenario.setting_up().to_vec();
    loop {
        let found = duel.act(&batch)?;
        let done = batch.into_iter().take(found.ops.len());
        actions.extend(done.inspect(|action| tally.count(action)));
        if let Some((_, expected, found)) = found.difference {
            println!(
                "scenario {seed}: a difference after {} actions\n      IPVS   {expected}\n      Tarpon {found}",
                actions.len()
            );
            let recording = duel.recording("difference");
            return differs(options, oracle, workers, seed, actions, &recording, tally);
        }
        scenario.observe(&found.ops);
        let begun = *first_frame.get_or_insert_with(|| duel.elapsed());
        if duel.elapsed() - begun > LONGEST {
            scenario.finish();
        }
        batch = scenario.batch();
        if batch.is_empty() {
            return Ok(());
        }
    }
}

/// Tells and keeps a difference, in the fewest actions that show it.
fn differs(
    options: &Options,
    oracle: &mut Oracle,
    workers: u16,
    seed: u64,
    actions: Vec<Action>,
    first: &Recording,
    tally: &mut Tally,
) -> Result<(), Box<dyn std::error::Error>> {
    let runs = if options.shrink { RUNS } else { 0 };
    let shown = shrink(oracle, workers, seed, &actions, runs)?;
    fs::create_dir_all(&options.out)?;
    let keep = |what, recording| -> Result<PathBuf, Box<dyn std::error::Error>> {
        let file = options.out.join(format!("{what}-{seed}.json"));
        fs::write(&file, serde_json::to_string_pretty(recording)?)?;
        Ok(file)
    };
    let Some((script, recording)) = shown else {
        let file = keep("passing", first)?;
        println!("  it did not show again: {}", file.display());
        tally.passing += 1;
        return Ok(());
    };
    tally.differences += 1;
    let file = keep("difference", &recording)?;
    if options.shrink {
        println!("  {} actions are enough ({workers} workers):", script.len());
        let mut player = Player::new(recording.topology.clone(), workers);
        for step in &recording.steps {
            println!("    {}", words(&step.op));
            if let Ok(Looked::Different(expected, found)) = player.play(step, &mut || 0) {
                println!("      IPVS   {expected}\n      Tarpon {found}");
            }
        }
    }
    println!("  kept: {}", file.display());
    Ok(())
}

fn words(op: &Op) -> String {
    match op {
        Op::Fresh { .. } => "(nothing configured)".to_owned(),
        Op::Cmd { cmd, rc, output } => match (rc, output) {
            (Some(0), _) => cmd.clone(),
            (rc, output) => format!(
                "{cmd}   (status {}: {})",
                rc.unwrap_or(0),
                output.as_deref().unwrap_or_default()
            ),
        },
        Op::Sysctl { key, value } => format!("sysctl {key}={value}"),
        Op::Tx {
            interface, brief, ..
        } => format!("{interface}> {brief}"),
        Op::Sleep { seconds } => format!("sleep {seconds}"),
        Op::Conns { .. } => "ipvsadm -Lnc".to_owned(),
        Op::Dests { .. } => "(counts of all servers)".to_owned(),
        Op::List { opt, .. } => format!("ipvsadm -Ln {opt}"),
        other => format!("{other:?}"),
    }
}
