//! How services stand under floods of SYNs.

use serde::{Deserialize, Serialize};

/// A service with `syn_cookies`. Counts are since the daemon started, or the service is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// Nothing is kept of its SYNs now.
    pub on: bool,
    /// SYNs answered with a cookie.
    pub cookies_sent: u64,
    /// Connections made of what clients sent after such a SYN, or one sent on by a hash.
    pub accepted: u64,
    /// Packets that acknowledged no cookie, or one too old.
    pub refused: u64,
    /// SYNs sent to the server that a hash says (direct routing, tunnels).
    pub hashed: u64,
}
