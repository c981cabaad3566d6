//! What the ways to real servers take, where a router on the way has said it (path MTU discovery about the outer header of
//! tunnels). Shared by all workers; read by packets into tunnels only.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use types::{ServerId, Tick};

/// How long what was learned holds (Linux: `mtu_expires`).
const EXPIRES_MS: u64 = 600_000;
/// What no router is believed to go below (Linux: `min_pmtu`).
const LEAST: u16 = 552;

/// By server slot: the MTU in the low 16 bits, when it expires above; 0 is nothing known.
#[derive(Debug)]
pub(crate) struct Paths(Box<[AtomicU64]>);

impl Paths {
    /// Nothing learned, for as many servers.
    pub fn new(servers: u32) -> Self {
        Self((0..servers).map(|_| AtomicU64::new(0)).collect())
    }

    /// What is known now, by itself.
    pub fn copy(&self) -> Self {
        let copy = |path: &AtomicU64| AtomicU64::new(path.load(Relaxed));
        Self(self.0.iter().map(copy).collect())
    }

    /// What the way to a server takes, of which the first link takes `link`.
    #[inline]
    pub fn mtu(&self, server: ServerId, link: u16, now: Tick) -> u16 {
        match self.0.get(server.index()).map_or(0, |p| p.load(Relaxed)) {
            0 => link,
            known => Self::valid(known, now).map_or(link, |mtu| mtu.min(link)),
        }
    }

    /// Whether something is known of the way to a server.
    #[inline]
    pub fn is_known(&self, server: ServerId) -> bool {
        self.0
            .get(server.index())
            .is_some_and(|path| path.load(Relaxed) != 0)
    }

    /// A router has said that it takes `mtu`. Only ever lowers what is known, until that expires.
    pub fn learn(&self, server: ServerId, mtu: u16, now: Tick) {
        let Some(path) = self.0.get(server.index()) else {
            return;
        };
        let known = Self::valid(path.load(Relaxed), now).unwrap_or(u16::MAX);
        let mtu = mtu.max(LEAST).min(known);
        // Two workers at once: either is right.
        path.store((now.0 + EXPIRES_MS) << 16 | u64::from(mtu), Relaxed);
    }

    /// The slot is another server's from now on.
    pub fn forget(&self, server: ServerId) {
        if let Some(path) = self.0.get(server.index()) {
            path.store(0, Relaxed);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low 16 bits are the MTU"
    )]
    fn valid(known: u64, now: Tick) -> Option<u16> {
        (known >> 16 > now.0).then_some(known as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_lowers_and_forgets() {
        let paths = Paths::new(2);
        let server = ServerId(1);
        let at = |t| paths.mtu(server, 1500, Tick(t));
        assert_eq!((at(0), paths.is_known(server)), (1500, false));
        paths.learn(server, 1300, Tick(5));
        assert_eq!((at(6), paths.is_known(server)), (1300, true));
        paths.learn(server, 1400, Tick(7));
        assert_eq!(at(8), 1300);
        assert_eq!(
            paths.mtu(server, 1280, Tick(8)),
            1280,
            "the link is narrower"
        );
        assert_eq!(at(7 + EXPIRES_MS), 1500);
        paths.learn(server, 68, Tick(9 + EXPIRES_MS));
        assert_eq!(at(10 + EXPIRES_MS), LEAST);
        paths.forget(server);
        assert_eq!(at(11 + EXPIRES_MS), 1500);
        assert_eq!(paths.mtu(ServerId(7), 1500, Tick(0)), 1500, "no such slot");
    }
}
