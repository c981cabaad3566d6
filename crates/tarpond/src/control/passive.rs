//! Passive signals: what clients' own connections say of servers, and what follows.

use super::Control;
use ::health::{Attempts, Sign};
use api::EventKind;
use config::{Config, ServiceKey};
use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::Duration,
};

/// Between looks.
pub const PAUSE: Duration = Duration::from_millis(100);

/// The servers that are watched.
pub fn watched(config: &Config) -> BTreeSet<(ServiceKey, SocketAddr)> {
    let services = config.services.iter().filter(|s| s.health.passive.is_on());
    let servers = services.flat_map(|service| {
        let servers = service.servers.iter();
        servers.map(|server| (service.key, server.address))
    });
    servers.collect()
}

/// Looks; whether a server was ejected or readmitted.
pub fn look(control: &mut Control) -> bool {
    let failed: HashMap<(ServiceKey, SocketAddr), u32> = control
        .director
        .failed_attempts()
        .map(|(key, address, failed)| ((key, address), failed))
        .collect();
    let now = control.health.now();
    let mut judge = false;
    for service in &control.config.services {
        let policy = &service.health.passive;
        if !policy.is_on() {
            continue;
        }
        let key = service.key;
        let attempts = |server: &config::Server| Attempts {
            server: server.address,
            failed: failed.get(&(key, server.address)).copied().unwrap_or(0),
            serves: server.weight.0 > 0 && control.health.is_up(key, server.address),
        };
        let attempts: Vec<Attempts> = service.servers.iter().map(attempts).collect();
        for (server, sign) in control.watch.look(now, key, policy, &attempts) {
            let row = attempts.iter().find(|a| a.server == server);
            let row = row.map_or(0, |a| a.failed);
            let cause = format!("{row} attempts to connect in a row failed");
            let (kind, what, cause) = match sign {
                Sign::Suspect => (EventKind::ServerSuspect, "suspect", cause),
                Sign::Answers => (
                    EventKind::ServerAnswers,
                    "no longer suspect",
                    "it takes connections".into(),
                ),
                Sign::Ejected => (EventKind::ServerEjected, "ejected", cause),
                Sign::Readmitted => (
                    EventKind::ServerReadmitted,
                    "readmitted",
                    format!("{} s have passed", policy.eject_time.as_secs_f64()),
                ),
            };
            let about = (Some(key), Some(server));
            control.journal.add(kind, about, what.into(), cause);
            if sign == Sign::Suspect {
                control.health.hurry(key, server);
            }
            judge |= matches!(sign, Sign::Ejected | Sign::Readmitted);
        }
    }
    judge
}
