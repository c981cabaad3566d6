//! Runs named cases and prints libtest's lines, so that whatever reads those reads these; a case may say at run time that
//! it is skipped, and why. With `--lanes N`, up to N cases run at a time, each in a process of its own, but only such that bear each
//! other ([`Company`]).
//!
//! These cases watch real programs on a machine that others use, too. One that fails is run once more at the end, alone,
//! unless many have failed: if it passes then it counts as passed, and is named as unsteady with what it failed by.

use anyhow::Result;
use std::{
    fmt,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

/// A test.
pub struct Case {
    name: String,
    body: Box<dyn Fn() -> Result<()>>,
}

impl Case {
    /// A case of this name.
    pub fn new(name: impl Into<String>, body: impl Fn() -> Result<()> + 'static) -> Self {
        Self {
            name: name.into(),
            body: Box::new(body),
        }
    }

    /// The same name, another body.
    pub fn replaced(self, body: impl Fn() -> Result<()> + 'static) -> Self {
        Self::new(self.name, body)
    }
}

/// Returned as an error by a case that this machine cannot run.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Cases that bear each other: those whose name begins with one of `names`, where there are several with the first of them that fits.
/// What takes longest is named first: it is begun first.
#[derive(Clone, Copy)]
pub struct Company {
    pub names: &'static [&'static str],
    /// So many at a time at most.
    pub lanes: usize,
}

impl Company {
    /// The place of a case among them.
    fn place(&self, case: &Case) -> Option<usize> {
        self.names
            .iter()
            .position(|name| case.name.starts_with(name))
    }
}

/// If more cases than this fail, none gets a second chance: it is not the machine.
const UNSTEADY_AT_MOST: usize = 2;

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped,
    Failed,
}

/// The exit statuses of a process that runs one case ([`LANE`]).
const SKIPPED: u8 = 77;
const FAILED: u8 = 1;

/// The argument of a process that runs one case, its name the next: it prints the case's lines, and its exit status is the outcome.
const LANE: &str = "--lane";

impl Case {
    /// Runs it, and prints its line of libtest's; `failing` is the word for an outcome that is not final.
    fn run(&self, failing: &str) -> Outcome {
        let started = Instant::now();
        // The name is known before the outcome: a case that hangs is named by the last line.
        print!("test {} ... ", self.name);
        let _ = std::io::stdout().flush();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.body)()))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("panicked (see above)")));
        let seconds = started.elapsed().as_secs_f64();
        let Err(error) = outcome else {
            println!("ok ({seconds:.1} s)");
            return Outcome::Passed;
        };
        if let Some(Skip(reason)) = error.downcast_ref::<Skip>() {
            println!("skipped: {reason}");
            return Outcome::Skipped;
        }
        println!("{failing} ({seconds:.1} s)\n{error:#}\n");
        Outcome::Failed
    }
}

/// Runs one case of a lane.
fn lane(case: Option<&Case>) -> ExitCode {
    ExitCode::from(match case.map(|case| case.run("failed")) {
        Some(Outcome::Passed) => 0,
        Some(Outcome::Skipped) => SKIPPED,
        Some(Outcome::Failed) | None => FAILED,
    })
}

/// Which cases run beside which, and how many at a time: everything in none of the companies first, then one company after the other.
fn together<'c>(
    cases: &'c [Case],
    companies: &[Company],
    lanes: usize,
) -> Vec<(usize, Vec<&'c Case>)> {
    let company = |case: &Case| companies.iter().position(|c| c.place(case).is_some());
    let mut all = vec![(lanes, Vec::new())];
    all.extend(companies.iter().map(|c| (lanes.min(c.lanes), Vec::new())));
    for case in cases {
        let of = company(case).map_or(0, |number| number + 1);
        if let Some((_, cases)) = all.get_mut(of) {
            cases.push(case);
        }
    }
    for ((_, cases), company) in all.iter_mut().skip(1).zip(companies) {
        cases.sort_by_key(|case| company.place(case));
    }
    all
}

/// Runs the cases of these names, `lanes` at a time, and returns how each ended; what one prints appears in one piece.
fn in_lanes(names: &[&str], lanes: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Outcome::Failed; names.len()]);
    let work = || {
        while let (number, Some(name)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            (number, names.get(number))
        } {
            let (text, outcome) = in_process(name);
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            print!("{text}");
            let _ = std::io::stdout().flush();
            outcomes[number] = outcome;
        }
    };
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(work);
        }
    });
    outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

/// How each of these ended, so many of them at a time.
fn run_together<'c>(cases: &[&'c Case], lanes: usize) -> Vec<(&'c Case, Outcome)> {
    if lanes <= 1 {
        return cases.iter().map(|c| (*c, c.run("failed"))).collect();
    }
    let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    let outcomes = in_lanes(&names, lanes);
    cases.iter().copied().zip(outcomes).collect()
}

/// Runs a case in a process of its own: what it printed, and how it ended.
fn in_process(name: &str) -> (String, Outcome) {
    // No two have labs of the same names.
    static BEGUN: AtomicUsize = AtomicUsize::new(1);
    let number = BEGUN.fetch_add(1, Ordering::Relaxed);
    let run = || {
        Command::new(std::env::current_exe()?)
            .args([LANE, name])
            .env(super::FIRST_LAB, (number * 100).to_string())
            .stdin(Stdio::null())
            .output()
    };
    match run() {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
            text += &String::from_utf8_lossy(&output.stdout);
            let outcome = match output.status.code().map(u8::try_from) {
                Some(Ok(0)) => Outcome::Passed,
                Some(Ok(SKIPPED)) => Outcome::Skipped,
                _ => Outcome::Failed,
            };
            (text, outcome)
        }
        Err(error) => (
            format!("test {name} ... failed: {error}\n"),
            Outcome::Failed,
        ),
    }
}

/// What the command line asks for.
#[derive(Default)]
struct Wanted {
    list: bool,
    exact: bool,
    lanes: usize,
    /// The one case of [`LANE`].
    lane: Option<String>,
    filters: Vec<String>,
    skips: Vec<String>,
}

impl Wanted {
    fn parse() -> Self {
        let mut wanted = Self::default();
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--skip" => wanted.skips.extend(given.next()),
                LANE => wanted.lane = given.next(),
                "--lanes" => {
                    wanted.lanes = given.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                }
                "--exact" => wanted.exact = true,
                "--list" => wanted.list = true,
                // Others of libtest's mean nothing here.
                option if option.starts_with('-') => {}
                _ => wanted.filters.push(argument),
            }
        }
        wanted
    }

    fn has(&self, case: &Case) -> bool {
        let fits = |f: &String| {
            if self.exact {
                case.name == *f
            } else {
                case.name.contains(f.as_str())
            }
        };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skips.iter().any(fits)
    }
}

/// Runs the cases whose name contains one of the arguments (all without arguments); `--list` names them, `--exact`
/// wants whole names, `--skip NAME` leaves some out, `--lanes N` runs so many at a time, or as few as their company bears.
pub fn main(cases: Vec<Case>, companies: &[Company]) -> ExitCode {
    let wanted = Wanted::parse();
    if let Some(name) = &wanted.lane {
        return lane(cases.iter().find(|case| case.name == *name));
    }
    let (chosen, others): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| wanted.has(case));
    if wanted.list {
        for case in &chosen {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let begun = Instant::now();
    let mut ended = Vec::new();
    if wanted.lanes > 1 {
        for (lanes, cases) in together(&chosen, companies, wanted.lanes) {
            let begun = Instant::now();
            ended.extend(run_together(&cases, lanes));
            if !cases.is_empty() {
                let (count, seconds) = (cases.len(), begun.elapsed().as_secs_f64());
                println!("{count} cases, {lanes} at a time: {seconds:.0} s");
            }
        }
    } else {
        ended = run_together(&chosen.iter().collect::<Vec<_>>(), 1);
    }

    let count = |wanted| ended.iter().filter(|(_, o)| *o == wanted).count();
    let (mut passed, skipped) = (count(Outcome::Passed), count(Outcome::Skipped));
    let again = count(Outcome::Failed) <= UNSTEADY_AT_MOST;
    let (mut failures, mut unsteady) = (Vec::new(), Vec::new());
    for (case, _) in ended.iter().filter(|(_, o)| *o == Outcome::Failed) {
        let name = case.name.as_str();
        if !again {
            println!("test {name} ... FAILED (see above)");
            failures.push(name);
        } else if case.run("FAILED again") == Outcome::Passed {
            passed += 1;
            unsteady.push(name);
        } else {
            failures.push(name);
        }
    }
    for name in &unsteady {
        println!("unsteady: {name}: failed at first (see above), passed when run again");
    }
    if !failures.is_empty() {
        println!("\nfailures:\n    {}", failures.join("\n    "));
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {skipped} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failures.is_empty() { "ok" } else { "FAILED" },
        failures.len(),
        others.len(),
        begun.elapsed().as_secs_f64()
    );
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
