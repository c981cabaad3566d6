//! How a command fails.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of failure it is; scripts test this, people read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is not one: no JSON, unknown command, missing or wrong arguments, another protocol version.
    BadRequest,
    /// The peer may not use this socket.
    Forbidden,
    /// The service, server or port named does not exist.
    NotFound,
    /// The service or server to be added is there already.
    Exists,
    /// The configuration, filter or edit is wrong; `details` has every mistake.
    Invalid,
    /// The change needs a restart; `details` has each of the changes that do.
    NeedsRestart,
    /// Another command of this kind is running (one capture, one drain per server).
    Busy,
    /// The deadline passed before the work was done.
    Deadline,
    /// The daemon is stopping.
    ShuttingDown,
    /// The daemon failed in a way that is its own fault.
    Internal,
}

/// A command's failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what is wrong and what to do instead.
    pub message: String,
    /// One line per mistake, where there can be several (`tarpon.toml:12:9: ...`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl Error {
    /// A failure without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// The same failure with `details`, one line each.
    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for detail in &self.details {
            write!(f, "\n  {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
