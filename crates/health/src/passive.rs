//! Passive signals: what clients' own connections tell of a server, between two checks.
//!
//! The director counts, under NAT, attempts to connect that a server refused or left unanswered, in a row. From so many on the server is
//! *suspect*, and its checks are made at once; from so many more on it may be *ejected* for a while, as though its checks had failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};
use types::ServiceKey;

/// What a service makes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passive {
    /// Failed attempts in a row that make a server suspect; `None`: nothing does.
    pub suspect_after: Option<u32>,
    /// Failed attempts in a row for which a server is ejected; `None`: none is.
    pub eject_after: Option<u32>,
    /// For how long.
    pub eject_time: Duration,
}

impl Passive {
    /// Nothing is made of them.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            suspect_after: None,
            eject_after: None,
            eject_time: Duration::from_secs(30),
        }
    }

    /// Whether attempts need to be looked at.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.suspect_after.is_some() || self.eject_after.is_some()
    }
}

impl Default for Passive {
    fn default() -> Self {
        Self::new()
    }
}

/// What a look found out about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It has become suspect: its checks are to be made.
    Suspect,
    /// It answers again.
    Answers,
    /// It is ejected.
    Ejected,
    /// It is no longer.
    Readmitted,
}

/// A server of the service looked at.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// Its address.
    pub server: SocketAddr,
    /// Failed attempts in a row, up to now.
    pub failed: u32,
    /// Whether it serves, as far as its checks and weight go.
    pub serves: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    suspect: bool,
    ejected_until: Option<Duration>,
}

/// Which servers are suspect or ejected now.
#[derive(Debug, Default)]
pub struct Watch(BTreeMap<(ServiceKey, SocketAddr), Watched>);

impl Watch {
    /// Looks at all servers of a service.
    pub fn look(
        &mut self,
        now: Duration,
        service: ServiceKey,
        policy: &Passive,
        servers: &[Attempts],
    ) -> Vec<(SocketAddr, Sign)> {
        let mut signs = Vec::new();
        for one in servers {
            let watched = self.0.entry((service, one.server)).or_default();
            if watched.ejected_until.is_some_and(|until| until <= now) {
                *watched = Watched::default();
                signs.push((one.server, Sign::Readmitted));
            }
            let suspect = policy.suspect_after.is_some_and(|n| one.failed >= n);
            if suspect != watched.suspect && watched.ejected_until.is_none() {
                watched.suspect = suspect;
                if suspect {
                    signs.push((one.server, Sign::Suspect));
                } else if one.serves {
                    // One that its checks took out has no attempts any more: that says nothing.
                    signs.push((one.server, Sign::Answers));
                }
            }
        }
        let Some(most) = policy.eject_after else {
            return signs;
        };
        for one in servers
            .iter()
            .filter(|one| one.serves && one.failed >= most)
        {
            // The last that serves is kept: a bad server is better than none.
            let is_other = |other: &&Attempts| {
                other.server != one.server
                    && other.serves
                    && !self.is_ejected(service, other.server)
            };
            let is_alone = !servers.iter().any(|other| is_other(&other));
            if is_alone || self.is_ejected(service, one.server) {
                continue;
            }
            let watched = self.0.entry((service, one.server)).or_default();
            watched.ejected_until = Some(now + policy.eject_time);
            signs.push((one.server, Sign::Ejected));
        }
        signs
    }

    /// Whether a server is ejected.
    #[must_use]
    pub fn is_ejected(&self, service: ServiceKey, server: SocketAddr) -> bool {
        let watched = self.0.get(&(service, server));
        watched.is_some_and(|watched| watched.ejected_until.is_some())
    }

    /// Forgets all servers but these.
    pub fn retain(&mut self, wanted: &BTreeSet<(ServiceKey, SocketAddr)>) {
        self.0.retain(|key, _| wanted.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Sign::{Answers, Ejected, Readmitted, Suspect},
        *,
    };
    use types::Protocol;

    const KEY: ServiceKey = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80),
    };
    const POLICY: Passive = Passive {
        suspect_after: Some(3),
        eject_after: Some(10),
        eject_time: Duration::from_secs(30),
    };

    fn server(n: usize) -> SocketAddr {
        let port = u16::try_from(n).expect("few");
        SocketAddr::new([10, 1, 0, 11].into(), port)
    }

    /// Looks at a second `at`; a server with `None` does not serve.
    fn look(watch: &mut Watch, at: u64, failed: &[Option<u32>]) -> Vec<(usize, Sign)> {
        let servers: Vec<Attempts> = failed
            .iter()
            .enumerate()
            .map(|(n, failed)| Attempts {
                server: server(n),
                failed: failed.unwrap_or(99),
                serves: failed.is_some(),
            })
            .collect();
        let signs = watch.look(Duration::from_secs(at), KEY, &POLICY, &servers);
        let signs = signs.into_iter();
        signs.map(|(at, sign)| (at.port().into(), sign)).collect()
    }

    #[test]
    fn suspect_then_ejected_then_readmitted_at_the_moments_promised() {
        let mut watch = Watch::default();
        let none: [(usize, Sign); 0] = [];
        assert_eq!(look(&mut watch, 0, &[Some(2), Some(0)]), none);
        assert_eq!(look(&mut watch, 1, &[Some(3), Some(0)]), [(0, Suspect)]);
        assert_eq!(look(&mut watch, 2, &[Some(9), Some(0)]), none, "said once");
        assert_eq!(look(&mut watch, 3, &[Some(0), Some(0)]), [(0, Answers)]);
        assert_eq!(
            look(&mut watch, 4, &[Some(10), Some(0)]),
            [(0, Suspect), (0, Ejected)]
        );
        assert!(watch.is_ejected(KEY, server(0)) && !watch.is_ejected(KEY, server(1)));
        assert_eq!(look(&mut watch, 33, &[Some(0), Some(0)]), none);
        assert_eq!(look(&mut watch, 34, &[Some(0), Some(0)]), [(0, Readmitted)]);
        assert!(!watch.is_ejected(KEY, server(0)));
    }

    #[test]
    fn the_last_that_serves_is_kept() {
        let mut watch = Watch::default();
        // Both at once: one goes.
        let signs = look(&mut watch, 0, &[Some(50), Some(50)]);
        let ejected = signs.iter().filter(|(_, sign)| *sign == Ejected);
        assert_eq!(ejected.map(|(n, _)| *n).collect::<Vec<_>>(), [0]);
        // One whose checks fail does not count as another.
        let mut watch = Watch::default();
        let signs = look(&mut watch, 0, &[Some(50), None]);
        assert!(!signs.contains(&(0, Ejected)), "{signs:?}");
    }

    #[test]
    fn a_server_that_its_checks_took_out_does_not_answer() {
        let mut watch = Watch::default();
        assert_eq!(look(&mut watch, 0, &[Some(3), Some(0)]), [(0, Suspect)]);
        let gone = Attempts {
            server: server(0),
            failed: 0,
            serves: false,
        };
        let signs = watch.look(Duration::from_secs(1), KEY, &POLICY, &[gone]);
        assert!(signs.is_empty(), "{signs:?}");
    }

    #[test]
    fn what_is_no_longer_configured_is_forgotten() {
        let mut watch = Watch::default();
        look(&mut watch, 0, &[Some(50), Some(0)]);
        watch.retain(&BTreeSet::from([(KEY, server(1))]));
        assert!(!watch.is_ejected(KEY, server(0)));
    }
}
