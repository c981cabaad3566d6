//! Trackers: what else a director's priority depends on. Each finding adds to the priority or takes from it, by a weight, or is
//! a fault; what means what is keepalived's (2.2.7, as it behaves).

mod gateway;

pub use gateway::Gateway;

use std::{fmt, time::Duration};

/// The priority that can be added or taken: beyond it below is a fault.
pub const MOST_WEIGHT: i32 = 253;

/// Something that is tracked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tracker {
    /// What it is.
    pub kind: TrackerKind,
    /// Its name: of an interface, a script, a file, a gateway, servers.
    pub name: String,
}

/// Kinds of trackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrackerKind {
    /// An interface's carrier.
    Interface,
    /// A script's exit status.
    Script,
    /// A number in a file.
    File,
    /// A neighbour's answers.
    Gateway,
    /// A BFD session.
    Bfd,
    /// The share of real servers that are up.
    Servers,
}

impl TrackerKind {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Script => "script",
            Self::File => "file",
            Self::Gateway => "gateway",
            Self::Bfd => "bfd",
            Self::Servers => "servers",
        }
    }
}

impl fmt::Display for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.name)
    }
}

/// What findings do to the priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Above 0: added while it is well. Below 0: taken while it is not. 0: a fault while it is not. A file's number is multiplied by it.
    pub by: i32,
    /// The other way round: taken, added, a fault while it is well.
    pub reverse: bool,
}

/// What a tracker has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing yet.
    Unknown,
    /// It is well.
    Up,
    /// It is not, for this reason.
    Down(String),
    /// A file's number.
    Number(i32),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("not known yet"),
            Self::Up => f.write_str("up"),
            Self::Down(_) => f.write_str("down"),
            Self::Number(n) => write!(f, "{n}"),
        }
    }
}

/// What a finding means for the priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// So much is added, or taken.
    Add(i32),
    /// A fault, for this reason.
    Fault(String),
}

impl Weight {
    /// What `finding` means.
    #[must_use]
    pub fn meaning(self, finding: &Finding) -> Meaning {
        let signed = if self.reverse { -self.by } else { self.by };
        match finding {
            Finding::Up if self.by == 0 && self.reverse => Meaning::Fault("it is up".into()),
            Finding::Up if self.by > 0 => Meaning::Add(signed),
            Finding::Down(why) if self.by == 0 && !self.reverse => Meaning::Fault(why.clone()),
            Finding::Down(_) if self.by < 0 => Meaning::Add(signed),
            Finding::Number(n) if self.by == 0 => match (*n != 0) == self.reverse {
                true => Meaning::Add(0),
                false => Meaning::Fault(format!("it says {n}")),
            },
            Finding::Number(n) => {
                let product = n.saturating_mul(signed);
                if product < -MOST_WEIGHT {
                    Meaning::Fault(format!("it says {n}, weight {signed}"))
                } else {
                    Meaning::Add(product.min(MOST_WEIGHT))
                }
            }
            Finding::Unknown | Finding::Up | Finding::Down(_) => Meaning::Add(0),
        }
    }
}

/// Successes and failures of a script. The first of all decides; after that so many in a row must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trials {
    rise: u32,
    fall: u32,
    up: Option<bool>,
    /// Runs in a row that say the opposite.
    against: u32,
}

impl Trials {
    /// None yet. `init_fail`: taken for failing until it has succeeded `rise` times.
    #[must_use]
    pub const fn new(rise: u32, fall: u32, init_fail: bool) -> Self {
        Self {
            rise,
            fall,
            up: if init_fail { Some(false) } else { None },
            against: 0,
        }
    }

    /// What holds; `None`: nothing is known yet.
    #[must_use]
    pub const fn up(&self) -> Option<bool> {
        self.up
    }

    /// One more run; whether it is up now.
    pub fn count(&mut self, passed: bool) -> bool {
        let up = *self.up.get_or_insert(passed);
        self.against = if passed == up { 0 } else { self.against + 1 };
        let needed = if up { self.fall } else { self.rise };
        if self.against >= needed {
            self.up = Some(passed);
            self.against = 0;
        }
        self.up == Some(true)
    }
}

/// What `up` of `all` servers come to, of which `percent` must be up. Of none, none is missing.
#[must_use]
pub fn share_of_servers(up: usize, all: usize, percent: u8) -> Finding {
    if up.saturating_mul(100) >= all.saturating_mul(percent.into()) {
        Finding::Up
    } else {
        Finding::Down(format!("{up} of {all} servers up, {percent} % needed"))
    }
}

/// The number a file begins with; 0 for one that begins with none, as for one that is not there. `None`: too large a number, which
/// is to be ignored.
#[must_use]
pub fn file_number(text: &[u8]) -> Option<i32> {
    let text = text.trim_ascii_start();
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+"));
    let digits = unsigned.unwrap_or(text);
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = text.get(..text.len() - digits.len() + count)?;
    match std::str::from_utf8(number) {
        Ok(number) if count > 0 => number.parse().ok(),
        _ => Some(0),
    }
}

/// A tracker, with what it has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Which.
    pub tracker: Tracker,
    /// What that means.
    pub weight: Weight,
    /// What was found last.
    pub finding: Finding,
    /// Since when it is up, down or that number.
    pub since: Duration,
}

impl Tracked {
    /// What its finding means.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        self.weight.meaning(&self.finding)
    }
}

/// What all trackers of a unit come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Added to the priority.
    pub weight: i32,
    /// What is broken, if anything is.
    pub fault: Option<String>,
}

/// The trackers of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trackers(Vec<Tracked>);

impl Trackers {
    /// Tracks these from now on. What is known of those it tracked before stays known.
    pub fn follow(&mut self, now: Duration, wanted: &[(Tracker, Weight)]) {
        let before = std::mem::take(&mut self.0);
        let each = |(tracker, weight): &(Tracker, Weight)| {
            let known = before.iter().find(|t| t.tracker == *tracker);
            Tracked {
                tracker: tracker.clone(),
                weight: *weight,
                finding: known.map_or(Finding::Unknown, |t| t.finding.clone()),
                since: known.map_or(now, |t| t.since),
            }
        };
        self.0 = wanted.iter().map(each).collect();
    }

    /// A tracker has found something: what it found before, if that is news. Another reason for the same is none.
    pub fn find(&mut self, now: Duration, tracker: &Tracker, finding: &Finding) -> Option<Finding> {
        let known = self.0.iter_mut().find(|t| t.tracker == *tracker)?;
        let same = match (&known.finding, finding) {
            (Finding::Down(_), Finding::Down(_)) => true,
            (before, after) => before == after,
        };
        let before = std::mem::replace(&mut known.finding, finding.clone());
        if same {
            return None;
        }
        known.since = now;
        Some(before)
    }

    /// The first that could be a fault and is not known yet: until it is, the unit is not to begin.
    #[must_use]
    pub fn waits_for(&self) -> Option<&Tracker> {
        let unknown = |t: &&Tracked| t.weight.by == 0 && t.finding == Finding::Unknown;
        self.0.iter().find(unknown).map(|t| &t.tracker)
    }

    /// What all come to.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for tracked in &self.0 {
            match tracked.meaning() {
                Meaning::Add(weight) => standing.weight += weight,
                Meaning::Fault(why) => {
                    let fault = || format!("{}: {why}", tracked.tracker);
                    standing.fault.get_or_insert_with(fault);
                }
            }
        }
        standing
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Tracked> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
