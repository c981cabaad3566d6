//! The configuration file: `tarpon.toml` to [`Config`], or every mistake in it at once.
//!
//! [`Config::parse`] reads the text with typed readers that go on after a mistake, then checks the whole against
//! itself ([`Config::problems`]), so that the [`Report`] has every mistake with its place and what to write instead.
//! Edits at run time go through the same checks ([`Config::edited`]). [`diff`] tells what differs between two
//! configurations and which of it needs a restart. [`Config::to_toml`] writes the file back.
//!
//! Pure: no files are opened here, and nothing is asked of the machine.
#![forbid(unsafe_code)]

mod check;
mod diff;
mod edit;
pub mod iptables;
mod journal;
mod limits;
mod model;
mod named;
mod read;
mod report;
mod settings;
mod sync;
mod tell;
mod track;
mod twin;
mod vrrp;
mod vrrp_notify;
mod write;
mod write_health;
mod write_limits;
mod write_tell;
mod write_track;
mod write_twin;

pub use diff::{Change, Effect, diff};
pub use edit::EditError;
pub use journal::Journal;
pub use limits::{Access, Limits};
pub use model::{
    Config, Cores, Director, HostTap, Hugepages, Idle, LogLevel, MarkRule, Netmask, Persistence,
    Port, PortRange, Route, Server, Service, TcpFlags, Vlan,
};
pub use named::{NamedSetting, setting_name};
pub use read::{MAX_TIMEOUT_S, known_keys};
pub use report::{Located, Problem, Report};
pub use settings::Settings;
pub use sync::{Sync, SyncRole};
pub use tell::{Mail, Notify, NotifyAbout, NotifyFormat, NotifyTo};
pub use track::{
    MOST_FILE_WEIGHT, MOST_WEIGHT, Track, TrackBfd, TrackFile, TrackGateway, TrackServers,
    TrackWeight, TrackedBy, VrrpScript,
};
pub use twin::{Conflict, Push, Twin, conflict, fingerprint};
pub use types::ServiceKey;

pub use vrrp_notify::{RouterState, VrrpNotify};

pub use vrrp::{AuthType, MAX_UNITS as MAX_VRRP_UNITS, Vrrp};
pub use write_health::line as check_line;
