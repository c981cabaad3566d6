//! The oracle's process: one line of JSON asks, one answers.

use super::spent::Spent;
use crate::golden::Topology;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use thiserror::Error;

/// Queries as long as this go through a file: the line is a serial port.
const LONG: usize = 1500;

/// Why the oracle does not answer.
#[derive(Debug, Error)]
pub enum OracleError {
    /// There is none.
    #[error("no oracle in {0}: there is no bin/oracle-serve")]
    Absent(PathBuf),
    /// It cannot be started, or it ended.
    #[error("the oracle {what}: {source}")]
    Broken {
        /// What was tried.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// It said what cannot be understood.
    #[error("the oracle said: {0}")]
    Nonsense(String),
}

fn broken(what: &'static str) -> impl FnOnce(std::io::Error) -> OracleError {
    move |source| OracleError::Broken { what, source }
}

/// A running oracle. It ends when this is dropped.
#[derive(Debug)]
pub struct Oracle {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: PathBuf,
    files: u64,
    duels: u16,
    topology: Topology,
    /// Where the time went.
    pub spent: Spent,
}

impl Oracle {
    /// Boots the oracle in `directory` for `seconds` at most.
    ///
    /// # Errors
    /// When there is none, or it does not come up.
    pub fn boot(directory: &Path, seconds: u32) -> Result<Self, OracleError> {
        let program = directory.join("bin/oracle-serve");
        if !program.is_file() {
            return Err(OracleError::Absent(directory.to_owned()));
        }
        let folder = std::env::temp_dir().join(format!("tarpon-oracle-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(broken("has no folder to share"))?;
        let mut child = Command::new(program)
            .arg("-d")
            .arg(&folder)
            .arg(seconds.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(broken("does not start"))?;
        let input = child.stdin.take();
        let Some(output) = child.stdout.take() else {
            return Err(OracleError::Nonsense(String::new()));
        };
        let mut output = BufReader::new(output);
        let ready = answer(&mut output)?;
        let topology = serde_json::from_value(ready["topology"].clone())
            .map_err(|e| OracleError::Nonsense(format!("{e}: {ready}")))?;
        Ok(Self {
            child,
            input,
            output,
            folder,
            files: 0,
            duels: 0,
            topology,
            spent: Spent::default(),
        })
    }

    /// The network around it.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// A number of its own for each duel: fragments that an earlier one left behind wait for half a minute in its kernel, and nothing
    /// drops them.
    pub const fn next_duel(&mut self) -> u16 {
        self.duels = self.duels.wrapping_add(1);
        self.duels
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// When it ended, or took the query for wrong.
    pub fn ask(&mut self, query: &Value) -> Result<Value, OracleError> {
        let text = query.to_string();
        let answer = if text.len() < LONG {
            self.line(&text)?
        } else {
            self.files += 1;
            let name = format!("q{}", self.files);
            let path = self.folder.join(&name);
            fs::write(&path, text).map_err(broken("takes no file"))?;
            let said = self.line(&format!("@{name}"))?;
            let file = said["file"].as_str().unwrap_or_default();
            let answered = self.folder.join(file);
            let text = fs::read_to_string(&answered).map_err(broken("left no answer"))?;
            // Two small files a query: gone, or the folder fills up.
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(answered);
            serde_json::from_str(&text)
                .map_err(|e| OracleError::Nonsense(format!("{e}: {text}")))?
        };
        match answer["error"].as_str() {
            Some(why) => Err(OracleError::Nonsense(format!("{why}, asked {query}"))),
            None => Ok(answer),
        }
    }

    fn line(&mut self, text: &str) -> Result<Value, OracleError> {
        let Some(input) = &mut self.input else {
            return Err(OracleError::Nonsense("nothing: it has ended".to_owned()));
        };
        writeln!(input, "{text}").map_err(broken("takes nothing more"))?;
        input.flush().map_err(broken("takes nothing more"))?;
        answer(&mut self.output)
    }
}

fn answer(output: &mut BufReader<ChildStdout>) -> Result<Value, OracleError> {
    let mut line = String::new();
    let read = output.read_line(&mut line);
    match read.map_err(broken("cannot be heard"))? {
        0 => Err(OracleError::Nonsense("nothing: it has ended".to_owned())),
        _ => serde_json::from_str(&line).map_err(|e| OracleError::Nonsense(format!("{e}: {line}"))),
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.line(&json!({"op": "quit"}).to_string());
        // At the end of its input the guest halts.
        self.input = None;
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
