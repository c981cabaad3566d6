//! What need not be equal: steps of recordings, each with its reason.

use super::replay::Outcome;
use serde::Deserialize;
use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

/// Steps of a recording that need not be equal.
#[derive(Clone, Debug, Deserialize)]
pub struct Exception {
    /// The recording's name.
    pub recording: String,
    /// First step.
    pub from: usize,
    /// Last step.
    pub to: usize,
    /// Why.
    pub reason: String,
    /// Not a decision but a gap: what the steps need is not there yet. The recording is not identical.
    #[serde(default)]
    pub pending: bool,
}

/// The exceptions, and which of them were needed so far.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    all: Vec<Exception>,
    used: BTreeSet<usize>,
}

/// What became of a recording, its exceptions considered.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Frames and looks at tables that were compared.
    pub compared: usize,
    /// Exceptions used: steps that differ and may.
    pub excepted: usize,
    /// Steps that cannot be equal yet, and what they need.
    pub pending: Vec<(usize, String)>,
    /// What is wrong, in the order of the steps.
    pub failures: Vec<String>,
}

impl Verdict {
    /// Whether something was compared, and nothing but the exceptions differed.
    #[must_use]
    pub const fn identical(&self) -> bool {
        self.compared > 0 && self.failures.is_empty() && self.pending.is_empty()
    }
}

impl Exceptions {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, is not a list of exceptions, or one has no reason.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let text = fs::read_to_string(path).map_err(|e| wrong(&e))?;
        let all: Vec<Exception> = serde_json::from_str(&text).map_err(|e| wrong(&e))?;
        match all.iter().find(|e| e.reason.is_empty()) {
            Some(bare) => Err(wrong(&format!("an exception without a reason: {bare:?}"))),
            None => Ok(Self {
                all,
                used: BTreeSet::new(),
            }),
        }
    }

    /// Judges what became of the recording `name`.
    pub fn judge(&mut self, name: &str, outcome: &Outcome) -> Verdict {
        let mut verdict = Verdict {
            compared: outcome.compared,
            ..Verdict::default()
        };
        let differences = outcome.differences.iter();
        let unsupported = outcome.unsupported.iter();
        let mut wrong: Vec<(usize, String)> = differences
            .map(|d| (d.step, d.to_string()))
            .chain(unsupported.map(|(step, why)| (*step, format!("step {step}: {why}"))))
            .collect();
        wrong.sort_by_key(|(step, _)| *step);
        for (step, what) in wrong {
            match self.find(name, step) {
                Some(exception) if exception.pending => {
                    verdict.pending.push((step, exception.reason.clone()));
                }
                Some(_) => verdict.excepted += 1,
                None => verdict.failures.push(what),
            }
        }
        verdict
    }

    fn find(&mut self, name: &str, step: usize) -> Option<&Exception> {
        let covers = |e: &Exception| e.recording == name && (e.from..=e.to).contains(&step);
        let at = self.all.iter().position(covers)?;
        self.used.insert(at);
        self.all.get(at)
    }

    /// Exceptions nothing has needed.
    pub fn unused(&self) -> impl Iterator<Item = &Exception> {
        let unused = |(at, _): &(usize, &Exception)| !self.used.contains(at);
        self.all.iter().enumerate().filter(unused).map(|(_, e)| e)
    }
}

impl std::fmt::Display for Verdict {
    /// One line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = if self.identical() {
            "identical".to_owned()
        } else if self.compared == 0 {
            "NOTHING COMPARED".to_owned()
        } else if self.failures.is_empty() {
            "incomplete".to_owned()
        } else {
            "DIFFERENT".to_owned()
        };
        let _ = write!(text, ", {} compared", self.compared);
        if self.excepted > 0 {
            let _ = write!(text, ", {} excepted", self.excepted);
        }
        if let Some((step, reason)) = self.pending.first() {
            let _ = write!(text, "; from step {step}: {reason}");
        }
        f.write_str(&text)
    }
}
