//! How the program ends when it does not succeed.

use api::ClientError;
use std::{io, process::ExitCode};

/// Why the work was not done.
#[derive(Debug)]
pub enum Failure {
    /// The daemon refused or failed (exit status 1).
    Daemon(api::Error),
    /// Something else failed (exit status 1).
    Failed(String),
    /// Already said; only the exit status is left (1).
    Said,
    /// The daemon cannot be reached (exit status 3).
    Unreachable(String),
    /// Nobody reads our output any more; not an error.
    NobodyReads,
}

impl Failure {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// Says it, and gives the exit status.
    pub fn report(self, json: bool) -> ExitCode {
        match self {
            Self::Daemon(error) => {
                if json {
                    println!("{}", serde_json::json!({ "error": error }));
                } else {
                    eprintln!("tarpon: {error}");
                }
                ExitCode::from(1)
            }
            Self::Failed(message) => {
                eprintln!("tarpon: {message}");
                ExitCode::from(1)
            }
            Self::Said => ExitCode::from(1),
            Self::Unreachable(message) => {
                eprintln!("tarpon: {message}");
                ExitCode::from(3)
            }
            Self::NobodyReads => ExitCode::SUCCESS,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Daemon(error) => Self::Daemon(error),
            ClientError::Connect { .. } => Self::Unreachable(error.to_string()),
            ClientError::Item(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Errors of writing our output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::Failed(format!("cannot write: {error}"))
        }
    }
}
