//! How a director past its capacity stands.

use serde::{Deserialize, Serialize};

/// Workers that get more than they can take, and what of it is let go. Counts are since that began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overload {
    /// Milliseconds since it began.
    pub age_ms: u64,
    /// The workers, by number.
    pub workers: Vec<u16>,
    /// Of what would begin anew, so many percent are refused now, by the worker that refuses most.
    pub new_percent: u8,
    /// Of packets of what stands, likewise, once nothing new is let in.
    pub established_percent: u8,
    /// Packets refused as new.
    pub new: u64,
    /// Packets of what stood that were dropped.
    pub established: u64,
    /// How it was found out.
    pub cause: String,
}
