//! `tarpon ipvsadm ...`, and `tarpon` called by the name `ipvsadm`: the director's services in ipvsadm's words.
//!
//! Grammar, listings, saved rules, exit statuses and messages are those of ipvsadm 1.31, as observed on Linux 6.1
//! (`observed.txt`). Where the director cannot do what ipvsadm could, it says so and changes nothing.

mod grammar;
pub mod import;
pub mod listing;
mod names;
mod options;
mod perform;
pub mod saved;
#[cfg(test)]
mod tests;

use crate::{args::Global, failure::Failure};
use std::process::ExitCode;

/// Why a command was not carried out, with ipvsadm's exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    message: String,
    status: u8,
}

impl Refusal {
    /// The command line is wrong.
    fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: 2,
        }
    }

    /// No command, or an option there is not.
    fn no_command() -> Self {
        Self {
            message: "Try `ipvsadm -h' or 'ipvsadm --help' for more information.".to_owned(),
            status: 255,
        }
    }

    /// What the kernel would have refused.
    fn refused(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: 255,
        }
    }
}

/// Carries out the words after `ipvsadm`.
pub fn run(global: &Global, words: &[String]) -> Result<ExitCode, Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = grammar::parse(&words, grammar::Dialect::CommandLine)
        .map_err(perform::Stop::Refused)
        .and_then(|line| perform::perform(global, &line));
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(perform::Stop::Refused(refusal)) => {
            eprintln!("{}", refusal.message);
            Ok(ExitCode::from(refusal.status))
        }
        Err(perform::Stop::Failed(failure)) => Err(failure),
    }
}
