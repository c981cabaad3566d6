//! The engine against a live IPVS: both get the same random commands and frames, and whatever they do is compared.
//!
//! The other side is an *oracle*: a directory with `bin/oracle-serve`, which boots a guest with Linux's IPVS in it and
//! takes commands as lines of JSON. A difference is shrunk to the fewest actions that still show it and kept as a
//! recording, so that `scripts/conformance FILE` shows it again without the oracle.

mod action;
mod craft;
mod duel;
mod flow;
mod left_over;
mod oracle;
mod replacement;
mod scenario;
mod setup;
mod shrink;
mod spent;
mod volatile;

pub use action::Action;
pub use duel::{Duel, Found};
pub use oracle::{Oracle, OracleError};
pub use replacement::{Replaced, Replacement, replace};
pub use scenario::Scenario;
pub use shrink::shrink;
pub use spent::{Kind, Spent};
pub use volatile::ranges as volatile;
