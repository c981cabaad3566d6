//! Where events are kept over restarts (`[director]`, `journal`).

use crate::Director;
use std::path::PathBuf;

impl Director {
    /// The file in which events are kept over restarts; `None`: in none.
    ///
    /// A director with a control socket of its own has its own events, beside it.
    #[must_use]
    pub fn journal(&self) -> Option<PathBuf> {
        match &self.journal {
            Journal::Off => None,
            Journal::At(path) => Some(path.clone()),
            Journal::Default if self.socket == Self::default().socket => {
                Some("/var/lib/tarpon/events".into())
            }
            Journal::Default => {
                let mut name = self.socket.file_name().unwrap_or_default().to_owned();
                name.push(".events");
                Some(self.socket.with_file_name(name))
            }
        }
    }
}

/// Where events are kept over restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Journal {
    /// `journal = false`: in memory only.
    Off,
    /// `journal = true`: where [`Director::journal`] says.
    Default,
    /// In this file.
    At(PathBuf),
}
