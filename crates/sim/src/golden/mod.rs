//! Recordings of Linux's IPVS, replayed through the engine on virtual time and compared byte for byte.
//!
//! A recording is a list of steps: commands, settings, frames with exactly the frames they caused, and looks at the
//! tables. Each step carries its time; the replay sets its clock to it.

mod compare;
mod daemon;
mod describe;
mod exceptions;
mod foretell;
mod hash_maps;
mod iptables;
mod ipvsadm;
mod listing;
mod recording;
mod replay;
mod world;

pub use compare::Difference;
pub(crate) use compare::from_hex;
pub use compare::to_hex;
pub use describe::frame as describe;
pub use exceptions::{Exception, Exceptions, Verdict};
pub use ipvsadm::{CommandError, Table};
pub use recording::{
    ConnectionRow, DirectorInterface, Gateway, Op, OutFrame, RealServer, Recording, RecordingError,
    Step, Topology,
};
pub use replay::{Deal, Looked, Outcome, Player, Unsupported, replay, replay_by, replay_foretold};
