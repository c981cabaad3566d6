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
    /// What is being written just now; after a run that was cut off, what may be there.
    #[serde(default)]
    pub coming: Coming,
    /// Directories that had to be made for it, outermost first.
    pub made: Vec<String>,
}

impl PriorFile {
    /// Whether a content is what was there, what we left, or what a run that was cut off was writing: nobody else's.
    pub fn knows(&self, now: Option<&str>) -> bool {
        now == self.after.as_deref()
            || now == self.before.as_ref().map(|(text, _)| text.as_str())
            || match &self.coming {
                Coming::Nothing => false,
                Coming::Text(text) => now == Some(text),
                Coming::Unknown => true,
            }
    }
}

/// A write under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Coming {
    #[default]
    Nothing,
    Text(String),
    /// Another program writes the file.
    Unknown,
}

/// One change made, or about to be.
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
        self.made.extend(system.missing_parents(STATE_FILE));
        system.make_parents(STATE_FILE)?;
        let text = serde_json::to_string_pretty(self).map_err(|e| Refusal::BadState {
            path: STATE_FILE.into(),
            why: e.to_string(),
        })?;
        system.write(STATE_FILE, &text, 0o600)
    }

    /// Where there is no record: clear away what a run leaves that was cut off while it wrote the first one, or removed the last.
    pub(crate) fn sweep(system: &System) {
        system.remove_temporary(STATE_FILE);
        // The directory is this record's; anything in it keeps it.
        if let Some((directory, _)) = STATE_FILE.rsplit_once('/') {
            system.remove_directories(&[directory.to_owned()]);
        }
    }

    pub(crate) fn remove(&mut self, system: &System) -> Result<(), Refusal> {
        system.remove(STATE_FILE)?;
        system.remove_directories(&self.made);
        Ok(())
    }
}
