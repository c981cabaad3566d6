//! Publication of immutable values by quiescent states.
//!
//! Control builds an immutable snapshot and swaps one pointer ([`Published`]); workers read it without locks or writes
//! of their own and say once a burst that they hold nothing ([`Reader::quiesce`]). What was unlinked before an epoch
//! began may be reused once every online reader has passed that epoch ([`Domain::passed`]).
//!
//! Never here: blocking, threads, clocks, and destructors on a worker.
//!
//! The source that runs is the source that is checked: `cfg(loom)` and `cfg(shuttle)` swap the atomics, see `sync`.
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p rcu --release --target-dir target/loom --test loom
//! ```

mod domain;
mod published;
pub mod sync;

pub use domain::{Domain, Epoch, Reader, ReaderStatus};
pub use published::{Congested, LIMBO_LIMIT, Published};
