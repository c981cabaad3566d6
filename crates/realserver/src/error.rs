//! Everything that can be refused or fail, one variant a mistake.

use std::{net::IpAddr, path::PathBuf};
use thiserror::Error;

/// Why nothing was changed, or where it stopped.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The request contradicts itself.
    #[error("{0}")]
    Request(String),
    /// Changing addresses, rules and sysctls is root's.
    #[error(
        "{0} needs root (it changes or reads addresses, rules and sysctls); run it with sudo. `plan` and `script` do not"
    )]
    NotRoot(&'static str),
    /// A named interface is not there.
    #[error("no interface `{name}` here; there are: {known}")]
    UnknownInterface {
        /// What was asked.
        name: String,
        /// What exists.
        known: String,
    },
    /// No interface was named and none can be inferred.
    #[error(
        "cannot tell which interface the director's frames arrive on ({reason}); name it with --interface"
    )]
    WhichInterface {
        /// Why the guess failed.
        reason: String,
    },
    /// The method's program is not installed.
    #[error("`{tool}` is not installed, and method {method} needs it; {hint}")]
    NoTool {
        /// The program.
        tool: String,
        /// For which method.
        method: &'static str,
        /// Which package or which other method.
        hint: String,
    },
    /// The VIP is on the machine in a place where the method cannot have it.
    #[error("{vip} is already on {device} as /{prefix}; {remedy}")]
    VipElsewhere {
        /// The VIP.
        vip: IpAddr,
        /// Where it is.
        device: String,
        /// With which prefix.
        prefix: u8,
        /// What to do.
        remedy: String,
    },
    /// Somebody else's rule speaks of the VIP.
    #[error(
        "a rule about {vip} is already there and is not ours:\n    {rule}\nremove it or choose another method; nothing was changed"
    )]
    ConflictingRule {
        /// The VIP.
        vip: IpAddr,
        /// The rule, as its tool prints it.
        rule: String,
    },
    /// REDIRECT cannot tell two services on one port apart.
    #[error(
        "{method} cannot serve port {port}/{protocol} on both {first} and {second}: REDIRECT leads every VIP's port to the one service bound to INADDR_ANY, \
         so ports cannot be reused. Use --method sysctl or arptables, where each service binds its own VIP; \
         or, if one and the same service answers for all of them, say --one-service"
    )]
    PortReuse {
        /// The REDIRECT method.
        method: &'static str,
        /// The shared port.
        port: u16,
        /// Its protocol.
        protocol: types::Protocol,
        /// One VIP.
        first: IpAddr,
        /// The other.
        second: IpAddr,
    },
    /// The VIP was prepared by another method.
    #[error("{vip} is already prepared here by method {method}; run `undo --vip {vip}` first")]
    OtherMethod {
        /// The VIP.
        vip: IpAddr,
        /// The method in force.
        method: &'static str,
    },
    /// Nothing is recorded to undo.
    #[error(
        "nothing to undo: there is no record of an apply at {0}; what was there before is not known, so nothing was touched"
    )]
    NoState(PathBuf),
    /// The record of what was done cannot be understood.
    #[error("{path}: not a record this program wrote ({why}); nothing was touched")]
    BadState {
        /// The state file.
        path: PathBuf,
        /// The parser's words.
        why: String,
    },
    /// A file of ours was edited meanwhile.
    #[error(
        "{0} was changed since apply wrote it; nothing was touched. `undo --force` restores what was there before apply and keeps the changed file as {0}.tarpon-changed"
    )]
    FileChanged(PathBuf),
    /// A command failed.
    #[error("`{command}` failed{outcome}; what had been done before it was undone")]
    Command {
        /// The command line.
        command: String,
        /// Its exit and its words.
        outcome: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The wire could not be opened or used.
    #[error("{0}")]
    Wire(String),
}

impl Refusal {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
