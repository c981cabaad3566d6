//! The file format: JSON, plain or gzipped.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Why a recording could not be read.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// Path as given.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a recording.
    #[error("{file}: not a recording: {source}")]
    Format {
        /// Path as given.
        file: String,
        /// The cause, with line and column.
        source: serde_json::Error,
    },
}

/// One recorded scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// Short name, as the file's.
    pub name: String,
    /// One sentence.
    pub title: String,
    /// The network around the director.
    pub topology: Topology,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The digest, which mostly repeats what the steps hold; only `hash_maps` has more in it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub table: serde_json::Value,
    /// The IPv4 clients of the digest, `address:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys4: Vec<String>,
    /// The IPv6 ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys6: Vec<String>,
}

/// The network around the director: two interfaces, a gateway on one, real servers on the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Topology {
    /// Interface name ("cl0", "rs0") to MAC and addresses.
    pub director: BTreeMap<String, DirectorInterface>,
    /// The clients' router.
    pub gateway: Gateway,
    /// Name ("rs1") to addresses.
    pub real_servers: BTreeMap<String, RealServer>,
    /// MTU of both interfaces.
    pub mtu: u16,
}

impl Topology {
    /// The network of the recordings: VIPs 10.0.0.100 and fd00::100 on the clients' side, real servers 10.1.0.11 and
    /// fd01::11 to 10.1.0.22 and fd01::1c on the other.
    #[must_use]
    pub fn standard() -> Self {
        let interface = |mac: &str, addrs: &[&str]| DirectorInterface {
            mac: mac.to_owned(),
            addrs: addrs.iter().map(|a| (*a).to_owned()).collect(),
        };
        let clients = interface(
            "02:00:00:00:00:01",
            &[
                "10.0.0.1/24",
                "10.0.0.100/32",
                "fd00::1/64",
                "fd00::100/128",
            ],
        );
        let servers = interface("02:00:00:00:01:01", &["10.1.0.1/24", "fd01::1/64"]);
        let server = |number: u8| RealServer {
            ip: format!("10.1.0.{}", 10 + number),
            ip6: format!("fd01::{:x}", 16 + number),
            mac: format!("02:00:00:00:01:{:02x}", 16 + number),
        };
        Self {
            director: [("cl0".to_owned(), clients), ("rs0".to_owned(), servers)].into(),
            gateway: Gateway {
                ip: "10.0.0.254".to_owned(),
                ip6: "fd00::fe".to_owned(),
                mac: "02:00:00:00:00:fe".to_owned(),
            },
            real_servers: (1..=12).map(|n| (format!("rs{n}"), server(n))).collect(),
            mtu: 1500,
        }
    }
}

/// An interface of the director.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DirectorInterface {
    /// Its MAC.
    pub mac: String,
    /// Addresses with prefix; hosts (/32, /128) are VIPs.
    pub addrs: Vec<String>,
}

/// The default route's next hop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gateway {
    /// IPv4 address.
    pub ip: String,
    /// IPv6 address.
    pub ip6: String,
    /// MAC.
    pub mac: String,
}

/// A real server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RealServer {
    /// IPv4 address.
    pub ip: String,
    /// IPv6 address.
    pub ip6: String,
    /// MAC.
    pub mac: String,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Seconds since the start.
    #[serde(default)]
    pub t: f64,
    /// A remark for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub op: Op,
}

/// What a step does or looks at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// A command line, with its exit status and output where they were recorded.
    Cmd {
        /// As typed.
        cmd: String,
        /// Exit status.
        #[serde(default)]
        rc: Option<i32>,
        /// What it printed.
        #[serde(default)]
        output: Option<String>,
    },
    /// Everything dropped, module defaults, then these settings.
    Fresh {
        /// Key to value.
        #[serde(default)]
        sysctls: BTreeMap<String, String>,
    },
    /// One setting.
    Sysctl {
        /// `net/ipv4/vs/NAME`.
        key: String,
        /// As written.
        value: String,
    },
    /// A frame in, and the frames it caused.
    Tx {
        /// "cl" or "rs".
        #[serde(rename = "if")]
        interface: String,
        /// Hex.
        frame: String,
        /// In words.
        #[serde(default)]
        brief: String,
        /// What came out.
        #[serde(default)]
        out: Vec<OutFrame>,
    },
    /// Nothing but time.
    Sleep {
        /// How long.
        seconds: f64,
    },
    /// All connections.
    Conns {
        /// Sorted rows.
        rows: Vec<ConnectionRow>,
    },
    /// One connection.
    State {
        /// `address|port`.
        client: String,
        /// `address|port`.
        #[serde(rename = "virtual")]
        virtual_address: String,
        /// Its state; absent: no such connection.
        #[serde(default)]
        state: Option<String>,
        /// Seconds it has left.
        #[serde(default)]
        expire: Option<i64>,
    },
    /// Counts of every server.
    Dests {
        /// Name to weight, active, inactive.
        rows: BTreeMap<String, [i64; 3]>,
    },
    /// A listing.
    List {
        /// Options after `-Ln`.
        #[serde(default)]
        opt: String,
        /// Lines.
        output: Vec<String>,
    },
    /// Frames that no received frame caused, since the step before.
    Late {
        /// What came out.
        out: Vec<OutFrame>,
    },
}

/// A frame the director sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutFrame {
    /// "cl" or "rs".
    #[serde(rename = "if")]
    pub interface: String,
    /// Hex.
    pub frame: String,
    /// In words.
    #[serde(default)]
    pub brief: String,
    /// Byte ranges that differ from run to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volatile: Vec<[usize; 2]>,
}

/// A row of the connection listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// "TCP", "UDP", "IP" (template of a mark).
    pub proto: String,
    /// `address|port`.
    pub client: String,
    /// `address|port`.
    #[serde(rename = "virtual")]
    pub virtual_address: String,
    /// `address|port`.
    pub dest: String,
    /// IPVS's name.
    pub state: String,
    /// A persistence engine and what it goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pe: Option<String>,
    /// Whole seconds left. Last: rows are sorted in this order, and these differ by one.
    pub expire: i64,
}

impl Recording {
    /// The recordings a path names: a file itself, of a directory all that are in it, by name.
    ///
    /// # Errors
    /// When the directory cannot be read, or has none.
    pub fn named_by(path: &Path) -> Result<Vec<PathBuf>, String> {
        if !path.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let wrong = |e| format!("{}: {e}", path.display());
        let entries = fs::read_dir(path).map_err(wrong)?;
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(wrong)?.file_name();
            let text = name.to_string_lossy();
            let other = ["exceptions.json", "INDEX.json"].contains(&text.as_ref());
            if !other && (text.ends_with(".json") || text.ends_with(".json.gz")) {
                found.push(path.join(&name));
            }
        }
        if found.is_empty() {
            return Err(format!("{}: no recordings in it", path.display()));
        }
        found.sort();
        Ok(found)
    }

    /// Reads a `.json` or `.json.gz` file.
    ///
    /// # Errors
    /// When it cannot be read, or is no recording.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let file = path.display().to_string();
        let read = |source| RecordingError::Read {
            file: file.clone(),
            source,
        };
        let raw = fs::read(path).map_err(read)?;
        let text = if raw.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(raw.as_slice())
                .read_to_end(&mut plain)
                .map_err(read)?;
            plain
        } else {
            raw
        };
        serde_json::from_slice(&text).map_err(|source| RecordingError::Format { file, source })
    }
}
