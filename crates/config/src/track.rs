//! What virtual routers track. Keys and words are named as keepalived names them.

use crate::{Config, Service, Vrrp};
use std::{collections::BTreeSet, fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

/// The most a carrier or a script can add to a priority, or take from it.
pub const MOST_WEIGHT: i32 = 253;
/// The most a file's number can be multiplied by.
pub const MOST_FILE_WEIGHT: i32 = 254;

/// `"lan weight -20 reverse"`: something that is tracked, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Track {
    /// Of an interface, a script, a file, a gateway or servers.
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

/// `[[track_gateway]]`: a neighbour that is asked, by ARP or neighbour discovery, whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackGateway {
    /// Its name.
    pub name: String,
    /// Who is asked.
    pub address: IpAddr,
    /// On which link, by name; `None`: the one it is on by its prefix.
    pub interface: Option<String>,
    /// Between two questions; an answer after the next one is none to the first.
    pub interval: Duration,
    /// Answers in a row until it is up.
    pub rise: u32,
    /// Questions in a row without one until it is down.
    pub fall: u32,
    /// What it does to the priority of who does not say otherwise.
    pub weight: TrackWeight,
}

impl TrackGateway {
    /// Asked every second; three questions without an answer are too many.
    #[must_use]
    pub const fn new(name: String, address: IpAddr) -> Self {
        Self {
            name,
            address,
            interface: None,
            interval: Duration::from_secs(1),
            rise: 1,
            fall: 3,
            weight: TrackWeight {
                by: 0,
                reverse: false,
            },
        }
    }
}

/// `[[track_bfd]]`: a BFD session with a neighbour, which must be up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackBfd {
    /// Its name.
    pub name: String,
    /// With whom.
    pub address: IpAddr,
    /// The director's address in it; `None`: as the host's routes say.
    pub bind: Option<IpAddr>,
    /// Its intervals, and from how far its packets may come.
    pub session: health::Bfd,
    /// What it does to the priority of who does not say otherwise.
    pub weight: TrackWeight,
}

impl TrackBfd {
    /// With the intervals of a check.
    #[must_use]
    pub fn new(name: String, address: IpAddr) -> Self {
        Self {
            name,
            address,
            bind: None,
            session: health::Bfd {
                multihop: false,
                max_hops: 0,
                settings: health::bfd::Settings::default(),
            },
            weight: TrackWeight {
                by: 0,
                reverse: false,
            },
        }
    }
}

/// `[[track_servers]]`: real servers of which a share must be up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackServers {
    /// Its name.
    pub name: String,
    /// Whose servers: a service by its name, or as listings show it (`tcp 192.0.2.10:80`). `None`: those of all services.
    pub service: Option<String>,
    /// Percent of them, 1 to 100: it is down while fewer are up.
    pub share: u8,
    /// What it does to the priority of who does not say otherwise.
    pub weight: TrackWeight,
}

impl TrackServers {
    /// Half of the servers of all services.
    #[must_use]
    pub const fn new(name: String) -> Self {
        Self {
            name,
            service: None,
            share: 50,
            weight: TrackWeight {
                by: 0,
                reverse: false,
            },
        }
    }

    /// Whether it counts the servers of `service`.
    #[must_use]
    pub fn counts(&self, service: &Service) -> bool {
        let named =
            |text: &String| service.name.as_ref() == Some(text) || service.key.to_string() == *text;
        self.service.as_ref().is_none_or(named)
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
    /// A gateway.
    Gateway(&'c str, TrackWeight),
    /// A BFD session.
    Bfd(&'c str, TrackWeight),
    /// Servers.
    Servers(&'c str, TrackWeight),
}

impl<'c> TrackedBy<'c> {
    /// Its kind's word, its name and its weight.
    #[must_use]
    pub const fn parts(self) -> (&'static str, &'c str, TrackWeight) {
        match self {
            Self::Interface(name, weight) => ("interface", name, weight),
            Self::Script(name, weight) => ("script", name, weight),
            Self::File(name, weight) => ("file", name, weight),
            Self::Gateway(name, weight) => ("gateway", name, weight),
            Self::Bfd(name, weight) => ("bfd", name, weight),
            Self::Servers(name, weight) => ("servers", name, weight),
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
        let gateway = |t: &'c Track| {
            let gateway = self.track_gateways.iter().find(|g| g.name == t.name)?;
            let weight = t.weight.unwrap_or(gateway.weight);
            Some(TrackedBy::Gateway(&t.name, weight))
        };
        let bfd = |t: &'c Track| {
            let bfd = self.track_bfds.iter().find(|b| b.name == t.name)?;
            Some(TrackedBy::Bfd(&t.name, t.weight.unwrap_or(bfd.weight)))
        };
        let servers = |t: &'c Track| {
            let servers = self.track_servers.iter().find(|s| s.name == t.name)?;
            let weight = t.weight.unwrap_or(servers.weight);
            Some(TrackedBy::Servers(&t.name, weight))
        };
        let each = |v: &&'c Vrrp| {
            let interfaces = v.track_interface.iter().filter_map(interface);
            let scripts = v.track_script.iter().filter_map(script);
            let files = v.track_file.iter().filter_map(file);
            let gateways = v.track_gateway.iter().filter_map(gateway);
            let bfds = v.track_bfd.iter().filter_map(bfd);
            let servers = v.track_servers.iter().filter_map(servers);
            let programs = scripts.chain(files);
            let found = interfaces.chain(programs);
            let found = found.chain(gateways).chain(bfds);
            found.chain(servers).collect::<Vec<_>>()
        };
        members.iter().flat_map(each).collect()
    }
}
