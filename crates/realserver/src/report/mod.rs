//! What verifies by behaviour: the server's own check, and the probe over the wire.

mod check;
mod frames;
mod injector;
mod probe;
mod who_has;
mod wire;

pub use check::{CheckOptions, check};
pub use probe::{ProbeOptions, probe};

use serde::Serialize;

/// Reads a frame as the probe does, for the fuzz target `realserver`.
#[cfg(fuzzing)]
pub fn fuzz_frame(bytes: &[u8]) {
    frames::parse(bytes);
}

/// How a finding came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it must be.
    Pass,
    /// Not as it must be: clients will suffer.
    Fail,
    /// Worth knowing.
    Warn,
    /// Could not be tried; the detail says why.
    Skipped,
}

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do about it; empty if nothing.
    pub remedy: String,
}

/// Findings in the order they were made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    fn add(
        &mut self,
        outcome: Outcome,
        subject: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding {
            subject: subject.into(),
            outcome,
            detail: detail.into(),
            remedy: remedy.into(),
        });
    }

    fn pass(&mut self, subject: impl Into<String>, detail: impl Into<String>) {
        self.add(Outcome::Pass, subject, detail, "");
    }

    /// Whether anything failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.findings.iter().any(|f| f.outcome == Outcome::Fail)
    }

    /// For people, one finding a line, remedies below.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let mark = match finding.outcome {
                Outcome::Pass => "ok     ",
                Outcome::Fail => "FAIL   ",
                Outcome::Warn => "warn   ",
                Outcome::Skipped => "skipped",
            };
            text.push_str(&format!("{mark} {}: {}\n", finding.subject, finding.detail));
            if !finding.remedy.is_empty() {
                text.push_str(&format!("        -> {}\n", finding.remedy));
            }
        }
        text
    }
}
