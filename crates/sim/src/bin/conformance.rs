//! `scripts/conformance`: replays recordings of Linux's IPVS through the engine and says which are identical.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use sim::golden::{Exceptions, Recording, Verdict, replay};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

const USAGE: &str = "\
usage: scripts/conformance [--workers N] [--allow-pending] [--all] [--ports net_pcap] FILE|DIR...

  FILE              a recording, .json or .json.gz; of a DIR all of them
  --workers N       deal the frames to N workers by turns (1)
  --allow-pending   recordings that only lack what exceptions.json calls pending do not fail the run;
                    they are not counted as identical
  --all             every difference, not only a file's first
  --ports net_pcap  the frames go in and out by real DPDK ports, dealt at random";

struct Options {
    files: Vec<PathBuf>,
    workers: u16,
    allow_pending: bool,
    all: bool,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        files: Vec::new(),
        workers: 1,
        allow_pending: false,
        all: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-h" | "--help" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            "--allow-pending" => options.allow_pending = true,
            "--all" => options.all = true,
            "--workers" => {
                let number = words.next().and_then(|n| n.parse().ok());
                options.workers = number
                    .filter(|n| (1..=64).contains(n))
                    .ok_or("--workers needs a number, 1 to 64")?;
            }
            _ if word.starts_with('-') => return Err(format!("unknown option {word}\n{USAGE}")),
            _ => options.files.extend(Recording::named_by(Path::new(&word))?),
        }
    }
    if options.files.is_empty() {
        return Err(format!("no recording named\n{USAGE}"));
    }
    Ok(options)
}

fn run(options: &Options) -> Result<bool, String> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/exceptions.json");
    let mut exceptions = Exceptions::read(&list)?;
    let (mut identical, mut passed) = (0, 0);
    let (mut compared, mut excepted) = (0, 0);
    for file in &options.files {
        let verdict = match Recording::read(file) {
            Ok(recording) => judge(&recording, options, &mut exceptions),
            Err(why) => {
                println!("{why}");
                continue;
            }
        };
        compared += verdict.compared;
        excepted += verdict.excepted;
        identical += usize::from(verdict.identical());
        let only_pending = verdict.compared > 0 && verdict.failures.is_empty();
        passed += usize::from(verdict.identical() || (options.allow_pending && only_pending));
    }
    let total = options.files.len();
    println!("exceptions: {excepted} steps of {compared} compared");
    println!("conformance: {identical} of {total} files identical");
    Ok(passed == total)
}

/// Replays one and prints its line, and the first difference or all below it.
fn judge(recording: &Recording, options: &Options, exceptions: &mut Exceptions) -> Verdict {
    let mut turn = 0;
    let outcome = replay(recording, options.workers, &mut || {
        turn += 1;
        turn
    });
    let verdict = exceptions.judge(&recording.name, &outcome);
    println!("{}: {verdict}", recording.name);
    let shown = if options.all { usize::MAX } else { 1 };
    for line in verdict.failures.iter().take(shown).flat_map(|f| f.lines()) {
        println!("    {line}");
    }
    let more = verdict.failures.len().saturating_sub(shown);
    if more > 0 {
        println!("    and {more} more (--all shows them)");
    }
    verdict
}
