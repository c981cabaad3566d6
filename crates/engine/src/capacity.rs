//! How large a director is: decided once, at its start.

use flowtable::TableError;
use thiserror::Error;

/// What the director is built for; all memory is taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Workers, 1 or more.
    pub workers: u16,
    /// DPDK ports.
    pub ports: u16,
    /// IPv4 connections.
    pub connections4: usize,
    /// IPv6 connections.
    pub connections6: usize,
    /// Neighbours.
    pub neighbours: usize,
    /// Virtual services.
    pub services: u32,
    /// Real servers, removed ones to which connections still refer included.
    pub servers: u32,
}

impl Capacity {
    /// FTP control connections through NAT at once, of both families: one in 64 connections, 16,384 at most.
    #[must_use]
    pub fn ftp_connections(&self) -> usize {
        ((self.connections4 + self.connections6) / 64).clamp(16, 16_384)
    }

    /// Templates told apart by Call-ID (`--pe sip`) at once, of both families, 256 bytes each: one in 16 connections, 65,536 at most.
    #[must_use]
    pub fn sip_calls(&self) -> usize {
        ((self.connections4 + self.connections6) / 16).clamp(16, 65_536)
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            workers: 1,
            ports: 2,
            connections4: 1 << 20,
            connections6: 1 << 18,
            neighbours: 4096,
            services: 16_384,
            servers: 65_536,
        }
    }
}

/// Why a director of that capacity cannot be.
#[derive(Debug, Error)]
pub enum CapacityError {
    /// Nobody to do the work.
    #[error("a director needs at least one worker")]
    NoWorkers,
    /// A connection table cannot be made.
    #[error(transparent)]
    Connections(#[from] TableError),
}
