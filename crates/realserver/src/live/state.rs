//! The record of what was changed and what was there before, without which nothing can be undone exactly.

use super::system::System;
use crate::{action::Action, error::Refusal, request::Request};
use serde::{Deserialize, Serialize};

/// Below `--root`.
pub const STATE_FILE: &str = "/var/lib/tarpon/realserver.json";

/// What was there before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Prior {
    /// The change was already in force: undo leaves it.
    InForce,
    /// Not there: undo removes it.
    Absent,
    /// A value (sysctl), or lines (default routes).
    Value(String),
    /// Files, each with its content and mode, or nothing.
    Files(Vec<PriorFile>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PriorFile {
    pub path: String,
    /// Content and permission bits before; `None`: no such file.
    pub before: Option<(String, u32)>,
    /// Content as we left it; `None`: we left no such file.
    pub after: Option<String>,
    /// Directories that had to be made for it, outermost first.
    pub made: Vec<String>,
}

/// One change made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub action: Action,
    pub prior: Prior,
}

/// The state file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The file's format.
    version: u32,
    /// What was asked, in order.
    pub requests: Vec<Request>,
    pub(crate) done: Vec<Done>,
    /// Directories made for the state file itself.
    made: Vec<String>,
}

const VERSION: u32 = 1;

impl State {
    /// The record, if there is one.
    ///
    /// # Errors
    /// An unreadable file, or one of another version.
    pub fn load(system: &System) -> Result<Option<Self>, Refusal> {
        let path = system.path(STATE_FILE);
        let Some((text, _)) = system.read(STATE_FILE)? else {
            return Ok(None);
        };
        let bad = |why: String| Refusal::BadState {
            path: path.clone(),
            why,
        };
        let state: Self = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if state.version != VERSION {
            return Err(bad(format!(
                "format {}, this program knows {VERSION}",
                state.version
            )));
        }
        Ok(Some(state))
    }

    pub(crate) fn store(&mut self, system: &System) -> Result<(), Refusal> {
        self.version = VERSION;
        let made = system.make_parents(STATE_FILE)?;
        self.made.extend(made);
        let text = serde_json::to_string_pretty(self).map_err(|e| Refusal::BadState {
            path: STATE_FILE.into(),
            why: e.to_string(),
        })?;
        system.write(STATE_FILE, &text, 0o600)
    }

    pub(crate) fn remove(&mut self, system: &System) -> Result<(), Refusal> {
        system.remove(STATE_FILE)?;
        system.remove_directories(&self.made);
        Ok(())
    }
}
