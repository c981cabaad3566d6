//! The other director's configuration: what both are to have alike, and what of it differs.
//!
//! Alike are services, mark rules, who may connect, the settings and `compat`. All else is of a node: ports, addresses, routes, virtual routers, who is
//! told.

use crate::{Config, Problem, diff, read};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr, path::PathBuf};

/// `[twin]`: the other director, and how its configuration is kept alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Its address, reached over the host's stack.
    pub peer: IpAddr,
    /// The TCP port both listen on.
    pub port: u16,
    /// A file with the key both have.
    pub key_file: PathBuf,
    /// When changes go there.
    pub push: Push,
}

impl Twin {
    /// The port unless another is named.
    pub const PORT: u16 = 8849;
}

/// When changes go to the other director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// At once, from the master of the virtual routers.
    Auto,
    /// By `tarpon twin push` and `pull`.
    Manual,
}

impl Push {
    /// As they are written.
    pub const WORDS: &[(&str, Self)] = &[("auto", Self::Auto), ("manual", Self::Manual)];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

impl std::fmt::Display for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// What names a text as it is: the first 16 bytes of its SHA-256, in hexadecimal digits.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Config {
    /// This configuration with the other director's text ([`Config::shared_to_toml`]) in the place of its own, checked as a whole.
    ///
    /// # Errors
    /// What is wrong with the text, or with what came of it here: one line each.
    pub fn with_shared(&self, text: &str) -> Result<Self, Vec<String>> {
        let merged = self.sharing(read::unchecked(text)?);
        if merged.shared_to_toml() != text {
            let why =
                "it is not as this director would write it: both want the same version of Tarpon";
            return Err(vec![why.to_owned()]);
        }
        let problems = merged.problems();
        if problems.is_empty() {
            Ok(merged)
        } else {
            Err(problems.iter().map(Problem::to_string).collect())
        }
    }

    /// As [`Config::with_shared`], but neither checked nor of any use beyond being compared.
    fn compared(&self, text: &str) -> Option<Self> {
        Some(self.sharing(read::unchecked(text).ok()?))
    }

    /// This one with what both have alike taken from `shared`.
    fn sharing(&self, shared: Self) -> Self {
        Self {
            compat_ipvs: shared.compat_ipvs,
            marks: shared.marks,
            access: shared.access,
            services: shared.services,
            settings: shared.settings,
            ..self.clone()
        }
    }

    /// What becomes of what both have alike if `text` takes the place of this one's: one line a difference.
    #[must_use]
    pub fn shared_changes(&self, text: &str) -> Vec<String> {
        let Some(other) = self.compared(text) else {
            return vec!["the other director's cannot be read here".to_owned()];
        };
        let changes = diff(self, &other).into_iter();
        changes.map(|change| change.text).collect()
    }
}

/// Two configurations that were edited apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflict {
    /// What was done here since they were the same.
    pub here: Vec<String>,
    /// What was done there.
    pub there: Vec<String>,
    /// What was edited on both sides: `service tcp 192.0.2.10:80`.
    pub both: Vec<String>,
}

/// Who edited what since both were as `common`. `None`: a text that cannot be read.
#[must_use]
pub fn conflict(own: &Config, common: &str, theirs: &str) -> Option<Conflict> {
    let (common, theirs) = (own.compared(common)?, own.compared(theirs)?);
    let texts = |new: &Config| -> Vec<String> {
        let changes = diff(&common, new).into_iter();
        changes.map(|change| change.text).collect()
    };
    let (here, there) = (texts(own), texts(&theirs));
    let subjects = |texts: &[String]| -> BTreeSet<String> {
        let of = |text: &String| subject(text).to_owned();
        texts.iter().map(of).collect()
    };
    let both = subjects(&here);
    let both = both.intersection(&subjects(&there)).cloned().collect();
    Some(Conflict { here, there, both })
}

/// What a difference is about: `service tcp 192.0.2.10:80`, `settings: tcp_timeout`.
fn subject(text: &str) -> &str {
    match text.split_once(": ") {
        Some(("settings", rest)) => {
            let name = rest.split(' ').next().unwrap_or(rest);
            let end = "settings: ".len() + name.len();
            text.get(..end).unwrap_or(text)
        }
        Some((about, _)) => about,
        None => text,
    }
}
