//! The connection table: lock-free, shared by all workers, one slot for both directions of a connection.
//!
//! Any worker may look up, insert, advance and expire any connection. Slots are found over the *client's endpoint*
//! (protocol, address, port), which is the same in both directions of NAT; persistence templates over their full key.
//! A lookup costs one line of tags and one line of entry (two for IPv6). `docs/adr/0002-connection-table.md` has the
//! layout, the protocols and their reasons.
//!
//! What callers owe: a worker that uses the table is an online reader of the table's [`rcu::Domain`] and keeps no
//! [`Slot`] over a quiescent state, unless with its generation ([`Entry::is_current`]).
//!
//! Never here: clocks (`now` is an argument), allocation after [`Table::new`], blocking, pointers inside the table.
//! ```text
//! RUSTFLAGS="--cfg loom"    cargo test -p flowtable --release --target-dir target/loom --test loom
//! RUSTFLAGS="--cfg shuttle" cargo test -p flowtable --release --target-dir target/shuttle --test shuttle
//! ```

mod aside;
mod claim;
mod entry;
mod family;
mod group;
mod hash;
mod list;
mod memory;
mod state;
mod sweep;
mod table;
mod tally;

pub use aside::{Aside, Words};
pub use claim::{Bound, Claim, Embryo, New};
pub use entry::{Deltas, Entry, MAX_TIMEOUT_MS};
pub use family::{Family, Key, OnWire, Side, Static, Tuple, V4, V6};
pub use hash::{Hash, Name};
pub use list::Listed;
pub use state::{Generation, StateFlags, StateWord};
pub use sweep::{Cursor, Expiry, Swept};
pub use table::{Kind, Slot, Table, TableError};
pub use tally::Counts;
