//! What virtual routers track. Keys and words are named as keepalived names them.

use crate::{Config, Vrrp};
use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr, time::Duration};

/// The most a carrier or a script can add to a priority, or take from it.
pub const MOST_WEIGHT: i32 = 253;
/// The most a file's number can be multiplied by.
pub const MOST_FILE_WEIGHT: i32 = 254;

/// `"lan weight -20 reverse"`: something that is tracked, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Track {
    /// Of an interface, a script or a file.
    pub name: String,
    /// What it does to the priority, if not what the script or the file says itself.
    pub weight: Option<TrackWeight>,
}

/// What a finding does to the priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackWeight {
    /// Above 0: added while it is well. Below 0: taken while it is not. 0: a fault while it is not. A file's number is multiplied by it.
    pub by: i32,
    /// The other way round.
    pub reverse: bool,
}

impl fmt::Display for TrackWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reverse = if self.reverse { " reverse" } else { "" };
        write!(f, "weight {}{reverse}", self.by)
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.weight.map_or(Ok(()), |weight| write!(f, " {weight}"))
    }
}

impl FromStr for Track {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let weight = |by: &str, reverse| {
            let by: i32 = by
                .parse()
                .map_err(|_| format!("{by:?} is no weight in {text:?}"))?;
            Ok::<_, String>(Some(TrackWeight { by, reverse }))
        };
        let (name, weight) = match *words.as_slice() {
            [name] => (name, None),
            [name, "weight", by] => (name, weight(by, false)?),
            [name, "weight", by, "reverse"] => (name, weight(by, true)?),
            _ => return Err(format!("{text:?} is no name with a weight")),
        };
        Ok(Self {
            name: name.to_owned(),
            weight,
        })
    }
}

/// `[[vrrp_script]]`: a program whose exit status counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpScript {
    /// Its name.
    pub name: String,
    /// The program and its arguments.
    pub script: Vec<String>,
    /// Between two runs.
    pub interval: Duration,
    /// After which it has failed.
    pub timeout: Duration,
    /// What it does to the priority of who does not say otherwise.
    pub weight: TrackWeight,
    /// Successes in a row until it is up.
    pub rise: u32,
    /// Failures in a row until it is down.
    pub fall: u32,
    /// Taken for failing until it has succeeded.
    pub init_fail: bool,
    /// Who runs it.
    pub user: String,
}

impl VrrpScript {
    /// With keepalived's defaults, but for who runs it: nobody who matters.
    #[must_use]
    pub fn new(name: String, script: Vec<String>) -> Self {
        let second = Duration::from_secs(1);
        Self {
            name,
            script,
            interval: second,
            timeout: second,
            weight: TrackWeight::default(),
            rise: 1,
            fall: 1,
            init_fail: false,
            user: health::UNPRIVILEGED.into(),
        }
    }
}

/// `[[track_file]]`: a file with a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFile {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub file: PathBuf,
    /// What it does to the priority of who does not say otherwise.
    pub weight: TrackWeight,
}

impl TrackFile {
    /// With weight 1.
    #[must_use]
    pub const fn new(name: String, file: PathBuf) -> Self {
        Self {
            name,
            file,
            weight: TrackWeight {
                by: 1,
                reverse: false,
            },
        }
    }
}

/// What a virtual router tracks, with the weights in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrackedBy<'c> {
    /// An interface of this name.
    Interface(&'c str, TrackWeight),
    /// A script.
    Script(&'c str, TrackWeight),
    /// A file.
    File(&'c str, TrackWeight),
}

impl<'c> TrackedBy<'c> {
    /// Its kind's word, its name and its weight.
    #[must_use]
    pub const fn parts(self) -> (&'static str, &'c str, TrackWeight) {
        match self {
            Self::Interface(name, weight) => ("interface", name, weight),
            Self::Script(name, weight) => ("script", name, weight),
            Self::File(name, weight) => ("file", name, weight),
        }
    }
}

impl Config {
    /// What the instances of a unit track, each once.
    #[must_use]
    pub fn tracked<'c>(&'c self, members: &[&'c Vrrp]) -> BTreeSet<TrackedBy<'c>> {
        let interface =
            |t: &'c Track| Some(TrackedBy::Interface(&t.name, t.weight.unwrap_or_default()));
        let script = |t: &'c Track| {
            let script = self.vrrp_scripts.iter().find(|s| s.name == t.name)?;
            Some(TrackedBy::Script(
                &t.name,
                t.weight.unwrap_or(script.weight),
            ))
        };
        let file = |t: &'c Track| {
            let file = self.track_files.iter().find(|f| f.name == t.name)?;
            Some(TrackedBy::File(&t.name, t.weight.unwrap_or(file.weight)))
        };
        let each = |v: &&'c Vrrp| {
            let interfaces = v.track_interface.iter().filter_map(interface);
            let scripts = v.track_script.iter().filter_map(script);
            let files = v.track_file.iter().filter_map(file);
            interfaces.chain(scripts).chain(files).collect::<Vec<_>>()
        };
        members.iter().flat_map(each).collect()
    }
}
