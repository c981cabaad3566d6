//! What is checked, and what must be answered.

use crate::{
    Timing, Wish,
    bfd::{Peer, Settings},
    dns::Record,
    reply::Expected,
};
use regex::bytes::Regex;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// A check of a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is done.
    pub kind: Kind,
    /// When, and how often it may fail.
    pub timing: Timing,
    /// Another address than the server's.
    pub address: Option<IpAddr>,
    /// Another port than the server's.
    pub port: Option<u16>,
    /// Where it comes from.
    pub bind: Bind,
    /// Which of the server's addresses; absent: as its service needs it.
    pub aim: Option<Aim>,
    /// Where to connect instead, to get to [`Check::target`]. Never configured: whoever makes the check knows.
    pub detour: Option<IpAddr>,
}

/// Where a check comes from; what is absent is as the host's routes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// The director's address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// The host's interface it leaves by; in a configuration also the name of a port, whose TAP that is.
    pub interface: Option<String>,
    /// The host's firewall mark of what it sends (`SO_MARK`).
    pub mark: Option<u32>,
}

/// Which address of a server is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Its own.
    Server,
    /// The virtual address, on that server.
    Virtual,
}

impl Aim {
    /// Every word, as written in the file.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("server", Self::Server), ("virtual", Self::Virtual)];

    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Virtual => "virtual",
        }
    }
}

impl Check {
    /// Where to connect to check `server`.
    #[must_use]
    pub fn endpoint(&self, server: SocketAddr) -> SocketAddr {
        let target = self.target(server);
        SocketAddr::new(self.detour.unwrap_or_else(|| target.ip()), target.port())
    }

    /// The endpoint to be checked of `server`.
    #[must_use]
    pub fn target(&self, server: SocketAddr) -> SocketAddr {
        SocketAddr::new(
            self.address.unwrap_or_else(|| server.ip()),
            match self.kind {
                Kind::Bfd(bfd) => bfd.peer(server.ip()).port(),
                _ => self.port.unwrap_or_else(|| server.port()),
            },
        )
    }

    /// With whom it has a session; absent: it is not of that kind.
    #[must_use]
    pub fn peer(&self, server: SocketAddr) -> Option<Peer> {
        match self.kind {
            Kind::Bfd(bfd) => Some(bfd.peer(self.target(server).ip())),
            _ => None,
        }
    }
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connects; perhaps says something, perhaps waits for an answer.
    Tcp {
        /// What is said.
        send: Option<String>,
        /// What the answer must match.
        expect: Option<Pattern>,
    },
    /// Gets a page.
    Http(Http),
    /// Runs a program.
    Script(Script),
    /// Sends an echo request.
    Ping,
    /// Sends a datagram.
    Udp(Udp),
    /// Asks a name server.
    Dns {
        /// The name asked for; `.` is the root.
        name: String,
        /// Its record.
        record: Record,
    },
    /// Greets a mail server.
    Smtp {
        /// The name given in HELO.
        helo: String,
    },
    /// Reads a number from a file.
    File(NumberFile),
    /// Has a BFD session with it: is told how it is, rather than made over and over.
    Bfd(Bfd),
}

impl Kind {
    /// The words of all kinds, as in the configuration file.
    pub const WORDS: &'static [&'static str] = &[
        "tcp", "http", "https", "script", "ping", "udp", "dns", "smtp", "file", "bfd",
    ];

    /// The kind's word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Http(Http { tls: None, .. }) => "http",
            Self::Http(_) => "https",
            Self::Script(_) => "script",
            Self::Ping => "ping",
            Self::Udp(_) => "udp",
            Self::Dns { .. } => "dns",
            Self::Smtp { .. } => "smtp",
            Self::File(_) => "file",
            Self::Bfd(_) => "bfd",
        }
    }

    /// Whether it is told by a session rather than made over and over.
    #[must_use]
    pub const fn is_session(&self) -> bool {
        matches!(self, Self::Bfd(_))
    }

    /// Whether it needs a port to talk to.
    #[must_use]
    pub const fn has_port(&self) -> bool {
        !matches!(
            self,
            Self::Script(_) | Self::Ping | Self::File(_) | Self::Bfd(_)
        )
    }
}

/// A page, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// HTTPS, and how.
    pub tls: Option<Tls>,
    /// Path and query.
    pub path: String,
    /// The Host header; absent: the endpoint.
    pub host: Option<String>,
    /// HTTP/1.1 rather than 1.0.
    pub version_1_1: bool,
    /// Ranges, one of which has the status.
    pub status: Vec<(u16, u16)>,
    /// What the body must match.
    pub body: Option<Pattern>,
    /// What it must not match.
    pub body_not: Option<Pattern>,
    /// The MD5 of the body, as genhash(1) prints it.
    pub digest: Option<[u8; 16]>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            tls: None,
            path: "/".into(),
            host: None,
            version_1_1: false,
            status: vec![(200, 299)],
            body: None,
            body_not: None,
            digest: None,
        }
    }
}

/// How HTTPS is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The name in the handshake (SNI), and in the certificate if that is verified; absent: `host`, or none.
    pub sni: Option<String>,
    /// Authorities the server's certificate must lead to (PEM); absent: any certificate does.
    pub ca: Option<PathBuf>,
    /// The director's own certificate (PEM) and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A program that says how the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Who runs it.
    pub user: String,
    /// Exit status 2 to 255 asks for the weight that is 2 less.
    pub dynamic: bool,
    /// It tells the server's load instead, for which this weight is divided by it: [`Script::weight_for`].
    pub load_weight: Option<u32>,
    /// What its output must match besides.
    pub expect: Option<Pattern>,
}

impl Script {
    /// The weight of a server whose load average a program has printed, as rup, ruptime, uptime and /proc/loadavg write it: `weight` up to
    /// a load of 1, half of it at 2, and so on, at least 1. `None`: it printed no load.
    #[must_use]
    pub fn weight_for(weight: u32, printed: &str) -> Option<u32> {
        let behind = printed.rfind("load").and_then(|at| printed.get(at..));
        let mut words = behind
            .unwrap_or(printed)
            .split(|c: char| !c.is_ascii_digit() && c != '.');
        let load: f64 = words.find(|word| !word.is_empty())?.parse().ok()?;
        if !load.is_finite() {
            return None;
        }
        // Never more than a u32 has room for: the load is 1 at least.
        let share = f64::from(weight) / load.max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let share = share.round() as u32;
        Some(share.clamp(1, weight.max(1)))
    }
}

/// A file with a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberFile {
    /// The file.
    pub path: PathBuf,
    /// 0: any number but 0 is a failure. Else the number times this is added to the server's weight.
    pub weight: i32,
    /// A file that is not there, or has no number, says 0; else it is a failure.
    pub missing_is_zero: bool,
}

impl NumberFile {
    /// What is made of the text that was read, `None` if there is none; else why that is a failure.
    ///
    /// # Errors
    /// What it says, in words.
    pub fn judge(&self, text: Option<&str>) -> Result<Option<Wish>, String> {
        let number = text.and_then(|text| text.trim().parse::<i64>().ok());
        let number = match (number, self.missing_is_zero) {
            (Some(number), _) => number,
            (None, true) => 0,
            (None, false) => return Err(format!("{} has no number", self.path.display())),
        };
        match (self.weight, number) {
            (0, 0) => Ok(None),
            (0, n) => Err(format!("{} says {n}", self.path.display())),
            (weight, n) => Ok(Some(Wish::By(n.saturating_mul(weight.into())))),
        }
    }
}

/// A datagram, and what must come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Udp {
    /// What is sent.
    pub payload: Vec<u8>,
    /// The answer; absent: none is needed, only that the port is not called unreachable until the timeout.
    pub reply: Option<Expected>,
}

/// A BFD session with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bfd {
    /// Routers may be between (RFC 5883).
    pub multihop: bool,
    /// Routers that its packets may have passed; 255: any number.
    pub max_hops: u8,
    /// Its intervals.
    pub settings: Settings,
}

impl Bfd {
    const fn peer(self, address: IpAddr) -> Peer {
        Peer {
            address,
            multihop: self.multihop,
        }
    }
}

/// A regular expression over bytes.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Answers that begin with `text`, character by character.
    ///
    /// # Errors
    /// When it is too long to be looked for.
    pub fn beginning_with(text: &str) -> Result<Self, String> {
        format!("^{}", regex::escape(text)).parse()
    }

    /// Whether it is found in `text`.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Regex::new(text).map(Self).map_err(|error| match error {
            regex::Error::Syntax(text) => text.lines().last().unwrap_or_default().to_owned(),
            other => other.to_string(),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::Script;

    #[test]
    fn a_weight_is_divided_by_the_load() {
        let table = [
            // rup, ruptime, uptime, /proc/loadavg
            (
                100,
                "web1  up  2 days, 12:03,    load average: 0.20, 0.12, 0.05",
                Some(100),
            ),
            (
                100,
                "web1     up  61+01:50,     2 users,  load 2.00, 3.09, 0.04",
                Some(50),
            ),
            (
                100,
                " 10:01:13 up  3:59,  0 user,  load average: 6.55, 3.36, 2.13",
                Some(15),
            ),
            (8, "3.10 2.00 1.00 1/164 4567\n", Some(3)),
            (8, "1", Some(8)),
            (8, "payload1 up 3 days, load 2.00, 1.00, 1.00", Some(4)),
            (8, "1000.5", Some(1)),
            (1, "7", Some(1)),
            (8, "load average:", None),
            (8, "no route to host", None),
            (8, "", None),
            (8, "load ...", None),
            (8, "99999999999999999999999999999999999999999", Some(1)),
            (u32::MAX, "1.0", Some(u32::MAX)),
        ];
        for (weight, printed, wanted) in table {
            assert_eq!(
                Script::weight_for(weight, printed),
                wanted,
                "{weight} {printed:?}"
            );
        }
    }
}
