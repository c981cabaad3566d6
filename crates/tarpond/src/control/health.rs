//! What the daemon tells of health.

use super::Control;
use crate::health::standing::{Verdicts, is_checked, live, members};
use ::health::{Outcome, View};
use api::{
    CheckOutcome, CheckRun, CheckState, CheckedServer, Differences, ServerHealth, ServiceHealth,
};
use config::{Config, TrackServers};
use std::{net::SocketAddr, time::Duration};
use types::ServiceKey;
use vrrp::{Finding, share_of_servers};

/// To `health`.
pub fn shown(control: &Control) -> Vec<ServiceHealth> {
    let views = control.health.views();
    let now = control.health.now();
    let tables = control.director.services();
    let checked = control
        .config
        .services
        .iter()
        .filter(|s| is_checked(&s.health));
    checked
        .map(|service| {
            let table = tables.iter().find(|view| view.key == service.key);
            let weight_of = |address: SocketAddr| {
                let server = table?.servers.iter().find(|s| s.address == address)?;
                Some(server.weight)
            };
            let members = members(service, &control.seen());
            let servers = service.servers.iter().zip(&members);
            ServiceHealth {
                name: service.name.clone(),
                key: service.key,
                quorum: control.standing.has_quorum(service.key),
                needed: service.health.quorum,
                live: live(&members),
                sorry_server: service.health.sorry_server.map(|s| s.address),
                servers: servers
                    .map(|(server, member)| CheckedServer {
                        address: server.address,
                        up: member.up,
                        ejected: control.watch.is_ejected(service.key, server.address),
                        weight: server.weight,
                        weight_in_force: weight_of(server.address),
                        checks: of(&views, service.key, server.address)
                            .map(|view| state(view, now))
                            .collect(),
                    })
                    .collect(),
            }
        })
        .collect()
}

/// Servers their checks find down.
pub fn servers_down(control: &Control) -> u64 {
    let servers = control.config.services.iter().flat_map(|service| {
        let down = |s: &&config::Server| !control.seen().is_up(service.key, s.address);
        service.servers.iter().filter(down)
    });
    servers.count() as u64
}

/// What checks make of each server of a service that has any, and of its sorry server.
pub fn notes(control: &Control, service: &config::Service) -> Vec<(SocketAddr, ServerHealth)> {
    if !is_checked(&service.health) {
        return Vec::new();
    }
    let views = control.health.views_of(service.key);
    let note = |up, sorry, reason| ServerHealth {
        up,
        removed: false,
        sorry,
        reason,
    };
    let mut notes: Vec<_> = service
        .servers
        .iter()
        .filter(|server| {
            let passive = service.health.passive.eject_after.is_some();
            passive || !service.health.checks_of(server.address).is_empty()
        })
        .map(|server| {
            let mut failing = of(&views, service.key, server.address).filter(|view| !view.up);
            let reason = failing.next().map(|view| match &view.last {
                Some((_, Outcome::Failed(why) | Outcome::Undecided(why))) => {
                    format!("{} check: {why}", view.kind)
                }
                _ => format!("{} check: no answer yet", view.kind),
            });
            let up = control.seen().is_up(service.key, server.address);
            let reason = if control.watch.is_ejected(service.key, server.address) {
                Some("ejected: clients' attempts to connect failed".to_owned())
            } else {
                reason
            };
            (server.address, note(up, false, reason))
        })
        .collect();
    if let Some(sorry) = service.health.sorry_server
        && control.standing.is_sorry(service.key)
    {
        notes.push((sorry.address, note(true, true, None)));
    }
    notes
}

/// Of each `[[track_servers]]` that is tracked by somebody, whether enough are up. Those an administrator has given the weight 0 do not
/// count, and of a service that is not there, none is up.
pub fn shares<'c>(config: &'c Config, seen: &impl Verdicts) -> Vec<(&'c str, Finding)> {
    let each = |tracked: &'c TrackServers| {
        let services = config.services.iter().filter(|s| tracked.counts(s));
        let mut there = tracked.service.is_none();
        let (mut up, mut all) = (0, 0);
        for service in services {
            there = true;
            let members = members(service, seen);
            let servers = service.servers.iter().zip(&members);
            for (_, member) in servers.filter(|(server, _)| server.weight.0 > 0) {
                all += 1;
                up += usize::from(member.up);
            }
        }
        let finding = match &tracked.service {
            Some(name) if !there => Finding::Down(format!("there is no service {name}")),
            _ => share_of_servers(up, all, tracked.share),
        };
        (tracked.name.as_str(), finding)
    };
    config.track_servers.iter().map(each).collect()
}

/// A server's checks among these, which stand in their order: of thousands of servers each is asked for.
fn of(views: &[View], service: ServiceKey, server: SocketAddr) -> impl Iterator<Item = &View> {
    let its = (service, server);
    let of = |view: &View| (view.id.service, view.id.server);
    let first = views.partition_point(|view| of(view) < its);
    let rest = views.get(first..).unwrap_or_default();
    rest.iter().take_while(move |view| of(view) == its)
}

fn state(view: &View, now: Duration) -> CheckState {
    let ago = |then: Duration| ms(now.saturating_sub(then));
    CheckState {
        kind: view.kind.to_owned(),
        target: view.target,
        up: view.up,
        failures: view.failures,
        since_ms: view.since.map(ago),
        last: view.last.as_ref().map(|(then, outcome)| {
            let (outcome, reason) = match outcome {
                Outcome::Passed { .. } => (CheckOutcome::Passed, None),
                Outcome::Failed(why) => (CheckOutcome::Failed, Some(why.clone())),
                Outcome::Undecided(why) => (CheckOutcome::Undecided, Some(why.clone())),
            };
            CheckRun {
                ago_ms: ago(*then),
                took_ms: ms(view.took),
                outcome,
                reason,
            }
        }),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// To `diff`.
pub fn differences(control: &Control) -> Differences {
    let file = match control.source.read() {
        Ok(read) => match control.unapplied(&read.text, &read.name) {
            Ok(changes) => changes,
            Err(error) => [error.message].into_iter().chain(error.details).collect(),
        },
        Err(why) => vec![why],
    };
    let mut health = Vec::new();
    for service in shown(control) {
        if !service.quorum {
            health.push(format!(
                "service {}: weights of live servers {}, quorum {}",
                service.key, service.live, service.needed
            ));
        }
        let configured = control
            .config
            .services
            .iter()
            .find(|s| s.key == service.key);
        let notes = configured.map(|s| notes(control, s)).unwrap_or_default();
        for server in &service.servers {
            let note = notes.iter().find(|(address, _)| *address == server.address);
            let reason = note.and_then(|(_, note)| note.reason.clone());
            let why = reason.unwrap_or_else(|| {
                if !service.quorum && service.sorry_server.is_some() {
                    return "the sorry server serves".into();
                }
                let wished = control.health.wished(service.key, server.address);
                let wish = wished.of(server.weight.0);
                match server.weight_in_force {
                    _ if wished.is_none() => "slow start".into(),
                    Some(weight) if weight.0 != wish => {
                        format!("slow start towards {wish}, which a check asks for")
                    }
                    _ => "a check asks for that".into(),
                }
            });
            let place = format!("service {}: server {}", service.key, server.address);
            match server.weight_in_force {
                None => health.push(format!("{place}: out of the table ({why})")),
                Some(weight) if weight != server.weight => health.push(format!(
                    "{place}: weight {} instead of {} ({why})",
                    weight.0, server.weight.0
                )),
                Some(_) => {}
            }
        }
    }
    Differences {
        file,
        edits: control.edits(),
        health,
    }
}
