//! Runs named cases one after the other and prints libtest's lines, so that whatever reads those reads these; a case may
//! say at run time that it is skipped, and why.
//!
//! These cases watch real programs on a machine that others use, too. One that fails is run once more at the end, unless
//! many have failed: if it passes then it counts as passed, and is named as unsteady with what it failed by.

use anyhow::Result;
use std::{
    fmt,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
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

/// If more cases than this fail, none gets a second chance: it is not the machine.
const UNSTEADY_AT_MOST: usize = 2;

/// How a case ended.
enum Outcome {
    Passed,
    Skipped,
    Failed,
}

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

/// Runs the cases whose name contains one of the arguments (all without arguments); `--list` names them, `--exact`
/// wants whole names, `--skip NAME` leaves some out.
pub fn main(cases: Vec<Case>) -> ExitCode {
    let (mut arguments, mut filters, mut skips) = (Vec::new(), Vec::new(), Vec::new());
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--skip" => skips.extend(given.next()),
            option if option.starts_with('-') => arguments.push(argument),
            _ => filters.push(argument),
        }
    }
    let exact = arguments.iter().any(|a| a == "--exact");
    let wanted = |case: &Case| {
        let fits = |f: &String| {
            if exact {
                case.name == *f
            } else {
                case.name.contains(f.as_str())
            }
        };
        (filters.is_empty() || filters.iter().any(fits)) && !skips.iter().any(fits)
    };
    let (chosen, others): (Vec<_>, Vec<_>) = cases.into_iter().partition(wanted);
    if arguments.iter().any(|a| a == "--list") {
        for case in &chosen {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let begun = Instant::now();
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for case in &chosen {
        match case.run("failed") {
            Outcome::Passed => passed += 1,
            Outcome::Skipped => skipped += 1,
            Outcome::Failed => failed.push(case),
        }
    }
    let again = failed.len() <= UNSTEADY_AT_MOST;
    let (mut failures, mut unsteady) = (Vec::new(), Vec::new());
    for case in failed {
        let name = case.name.as_str();
        if !again {
            println!("test {name} ... FAILED (see above)");
            failures.push(name);
        } else if matches!(case.run("FAILED again"), Outcome::Passed) {
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
