//! Commands bounded in time.

use anyhow::{Context, Result, bail, ensure};
use std::{
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How a command ended: its output and whether it succeeded.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None`: ended by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command to its end, whatever that is; an error if it takes more than `seconds`.
pub fn end(command: &mut Command, seconds: u64) -> Result<Ended> {
    // `timeout` ends what the command started, too, which a kill of the child alone would not.
    let mut bounded = Command::new("timeout");
    bounded.args(["-k", "2", &seconds.to_string()]);
    bounded.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    let output = bounded
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {command:?}"))?;
    let ended = Ended::from(output);
    if ended.code == Some(124) || ended.code == Some(137) {
        bail!(
            "{command:?} did not end within {seconds} s\n{}{}",
            ended.stdout,
            ended.stderr
        );
    }
    Ok(ended)
}

/// Runs a command that must succeed; its standard output.
pub fn text(command: &mut Command, seconds: u64) -> Result<String> {
    let ended = end(command, seconds)?;
    ensure!(
        ended.code == Some(0),
        "{command:?} ended with {:?}\n{}{}",
        ended.code,
        tail(&ended.stdout, 20),
        tail(&ended.stderr, 20)
    );
    Ok(ended.stdout)
}

/// The last lines of a text.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    all.get(from..).unwrap_or_default().join("\n")
}

/// The SHA-256 of a file.
pub fn sha256(path: &Path) -> Result<String> {
    let out = text(Command::new("sha256sum").arg(path), 60)?;
    out.split_whitespace()
        .next()
        .map(str::to_owned)
        .context("sha256sum prints a sum")
}

/// Asks until the answer is yes; an error that says `what` after `seconds`.
pub fn until(what: &str, seconds: u64, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if done()? {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "after {seconds} s: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}
