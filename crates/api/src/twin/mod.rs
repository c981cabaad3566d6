//! What two directors say to each other about their configurations, and what is shown of that.

mod version;

pub use version::{History, Relation, Version};

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Bytes of a message at most.
pub const MAX_TWIN_MESSAGE: usize = 16 << 20;

/// What one director says to the other, as JSON, over a channel that only who has the key can read or write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub enum TwinMessage {
    /// Who one is, and the versions one had. The first thing on a connection; answered with the same.
    State {
        /// The director's name.
        name: String,
        /// Oldest first.
        versions: Vec<Version>,
    },
    /// The text is wanted: answered with [`TwinMessage::Text`].
    Fetch,
    /// What is in force.
    Text {
        /// Services, mark rules, settings.
        text: String,
        /// The last is that text's.
        versions: Vec<Version>,
    },
    /// This is to be in force there: answered with [`TwinMessage::Taken`] or [`TwinMessage::Refused`].
    Push {
        /// Services, mark rules, settings.
        text: String,
        /// The last is that text's.
        versions: Vec<Version>,
        /// Whatever is there.
        force: bool,
    },
    /// It is in force.
    Taken {
        /// What changed, one line each.
        changes: Vec<String>,
    },
    /// It is not.
    Refused {
        /// Why.
        message: String,
        /// One line each.
        details: Vec<String>,
    },
}

impl TwinMessage {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// To be read by [`TwinMessage::decode`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Texts and numbers, which JSON can always say.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The other director, and how its configuration is to this one's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// Where it is asked.
    pub peer: SocketAddr,
    /// `auto` or `manual`.
    pub push: String,
    /// Whether this one is master of a virtual router, or there are none: who pushes by itself.
    pub acting: bool,
    /// In force here.
    pub version: Version,
    /// What was heard of the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<TwinOther>,
    /// `same`, `ahead` (the other has an earlier version of this one's), `behind`, `parted` or `unknown`.
    pub relation: String,
    /// The last version both had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common: Option<Version>,
    /// Why the other could not be asked, or did not take it, last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What a person asked for last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TwinTask>,
}

/// What was heard of the other director.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinOther {
    /// Its name.
    pub name: String,
    /// In force there.
    pub version: Version,
    /// When it said so.
    pub heard_ms_ago: u64,
}

/// What a person asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinTask {
    /// Which.
    pub wanted: TwinAsk,
    /// It is done, or was refused.
    pub over: bool,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What changed, or differs; with a refusal what stands against it.
    pub lines: Vec<String>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwinAsk {
    /// What to do.
    pub what: TwinWhat,
    /// Even if the other's edits are lost.
    #[serde(default)]
    pub force: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TwinWhat {
    /// What differs.
    Diff,
    /// This one's there.
    Push,
    /// The other's here.
    Pull,
}
