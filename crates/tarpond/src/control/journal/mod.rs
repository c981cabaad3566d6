//! The changes of state, each with its cause: the latest in memory, and as many as there is room for on disk.

mod disk;

use crate::clock::wall_ns;
use crate::takeover::{ConflictNews, TrackedNews, Transition};
use api::{Event, EventKind, RouterRef};
use disk::Disk;
use std::{collections::VecDeque, net::SocketAddr};
use types::ServiceKey;

pub use disk::Kept;

/// How many memory has.
const KEPT: usize = 10_000;

/// The journal.
#[derive(Debug, Default)]
pub struct Journal {
    events: VecDeque<Event>,
    last: u64,
    disk: Option<Disk>,
}

impl Journal {
    /// Goes on where the daemon before left off, if it kept its events; also gives its last one.
    pub fn resumed(director: &config::Director) -> (Self, Option<Event>) {
        let Some(path) = director.journal() else {
            return (Self::default(), None);
        };
        let (disk, last) = Disk::new(path, u64::from(director.journal_mb) << 20);
        let journal = Self {
            events: VecDeque::new(),
            last: disk.written(),
            disk: Some(disk),
        };
        (journal, last)
    }

    /// Puts on disk what is not there yet.
    pub fn write(&mut self) {
        if let Some(disk) = &mut self.disk
            && disk.written() < self.last
        {
            let first = self
                .events
                .partition_point(|event| event.number <= disk.written());
            disk.write(self.events.range(first..));
        }
    }

    /// Sees to it that what was written is on the disk.
    pub fn sync(&self) {
        if let Some(disk) = &self.disk {
            disk.sync();
        }
    }

    /// What the disk has, if it has older ones after this number than memory.
    pub fn kept(&self, after: u64) -> Option<Kept> {
        let disk = self.disk.as_ref()?;
        let first = self
            .events
            .front()
            .map_or(self.last + 1, |event| event.number);
        (after + 1 < first).then(|| disk.kept())
    }

    /// Adds a change to the journal and the log.
    pub fn add(
        &mut self,
        kind: EventKind,
        (service, server): (Option<ServiceKey>, Option<SocketAddr>),
        what: String,
        cause: String,
    ) {
        let place = match (service, server) {
            (Some(service), Some(server)) => format!("service {service}: server {server}: "),
            (Some(service), None) => format!("service {service}: "),
            _ => String::new(),
        };
        tracing::info!("{place}{what} ({cause})");
        self.keep(Event {
            number: 0,
            time_ms: wall_ns() / 1_000_000,
            kind,
            service,
            server,
            vrrp: None,
            what,
            cause,
        });
    }

    /// Adds a transition of virtual routers, which the takeover thread has logged: of each, and of the group as a whole, in
    /// keepalived's order.
    pub fn add_transition(&mut self, transition: &Transition) {
        use vrrp::State;
        let (kind, what) = match transition.state {
            State::Master => (EventKind::VrrpMaster, "master"),
            State::Backup => (EventKind::VrrpBackup, "backup"),
            State::Fault => (EventKind::VrrpFault, "fault"),
            State::Init => (EventKind::VrrpStopped, "stopped"),
        };
        let instances = transition.members.iter();
        let instances = instances.map(|(name, priority)| (name, Some(*priority)));
        let group = transition.group.iter().map(|name| (name, None));
        for (name, priority) in instances.chain(group) {
            self.keep(Event {
                number: 0,
                time_ms: wall_ns() / 1_000_000,
                kind,
                service: None,
                server: None,
                vrrp: Some(RouterRef {
                    name: name.clone(),
                    priority,
                }),
                what: what.to_owned(),
                cause: transition.cause.clone(),
            });
        }
    }

    /// Adds what a tracker has found, which the takeover thread has logged.
    pub fn add_tracked(&mut self, tracked: TrackedNews) {
        self.keep(Event {
            number: 0,
            time_ms: wall_ns() / 1_000_000,
            kind: EventKind::VrrpTracked,
            service: None,
            server: None,
            vrrp: Some(RouterRef {
                name: tracked.router,
                priority: None,
            }),
            what: tracked.what,
            cause: tracked.cause,
        });
    }

    /// Adds that another master is heard, which the takeover thread has logged.
    pub fn add_conflict(&mut self, conflict: &ConflictNews) {
        let ConflictNews { from, priority, .. } = conflict;
        self.keep(Event {
            number: 0,
            time_ms: wall_ns() / 1_000_000,
            kind: EventKind::VrrpConflict,
            service: None,
            server: None,
            vrrp: Some(RouterRef {
                name: conflict.name.clone(),
                priority: Some(conflict.own),
            }),
            what: format!("{from} says that it is master, too"),
            cause: format!(
                "with priority {priority}, this director has {}: contradicted, and announced again",
                conflict.own
            ),
        });
    }

    fn keep(&mut self, event: Event) {
        self.last += 1;
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        let number = self.last;
        self.events.push_back(Event { number, ..event });
    }

    /// The number of the latest.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Those after this number.
    pub fn after(&self, number: u64) -> impl Iterator<Item = &Event> {
        let known = self.events.partition_point(|event| event.number <= number);
        self.events.range(known..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_counted() {
        let mut journal = Journal::default();
        assert_eq!(journal.last(), 0);
        for n in 0..KEPT + 5 {
            let about = (None, None);
            journal.add(EventKind::Configured, about, format!("{n}"), "test".into());
        }
        let last = journal.last();
        assert_eq!(last, KEPT as u64 + 5);
        assert_eq!(journal.after(0).next().map(|e| e.number), Some(6));
        assert_eq!(journal.after(0).count(), KEPT);
        let numbers: Vec<u64> = journal.after(last - 2).map(|e| e.number).collect();
        assert_eq!(numbers, [last - 1, last]);
        assert_eq!(journal.after(last).count(), 0);
    }
}
