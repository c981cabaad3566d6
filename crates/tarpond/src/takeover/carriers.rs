//! Carriers of the ports, for the takeover thread: looked at a hundred times a second by a thread of their own, since the
//! kernel may let that wait, and tells others late (up to a second, for ordinary NICs).

use super::{Desk, Request};
use crate::ports::OpenPort;
use anyhow::{Context as _, Result};
use config::Config;
use dpdk::{LinkReader, Unsent};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use types::PortId;
use vrrp::{Finding, Tracker, TrackerKind};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What is so is told this often: who tracks it may have begun since.
const AGAIN: Duration = Duration::from_secs(1);

/// A port to be looked at.
#[derive(Clone, Debug)]
pub struct Cable {
    /// Which.
    pub port: PortId,
    /// Its link.
    pub reader: LinkReader,
    /// What the kernel holds for it.
    pub unsent: Unsent,
    /// It and its VLANs, by name, for those who track one.
    pub interfaces: Vec<String>,
}

/// The ports and the interfaces on them, as `config` has it.
#[must_use]
pub fn cables(ports: &[OpenPort], config: &Config) -> Vec<Cable> {
    let cable = |open: &OpenPort| {
        let vlans = config.vlans.iter().filter(|v| v.port == open.name);
        let interfaces = std::iter::once(&open.name).chain(vlans.map(|v| &v.name));
        Cable {
            port: open.id,
            reader: open.port.link_reader(),
            unsent: open.port.unsent(),
            interfaces: interfaces.cloned().collect(),
        }
    };
    ports.iter().map(cable).collect()
}

/// The running thread; stopped and joined when dropped.
pub(super) struct Carriers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    cables: Mutex<Vec<Cable>>,
    stop: AtomicBool,
}

impl Carriers {
    pub(super) fn start(desk: Desk, cables: Vec<Cable>) -> Result<Self> {
        let shared = Arc::new(Shared {
            cables: Mutex::new(cables),
            stop: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let mut seen = Seen::default();
        seen.look(&theirs, &desk);
        let thread = std::thread::Builder::new()
            .name("carriers".into())
            .spawn(move || {
                while !theirs.stop.load(Ordering::Relaxed) {
                    seen.look(&theirs, &desk);
                    std::thread::park_timeout(LOOK);
                }
            })
            .context("cannot start the thread that looks at carriers")?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    pub(super) fn follow(&self, cables: Vec<Cable>) {
        *self
            .shared
            .cables
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = cables;
    }
}

impl Drop for Carriers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has ended the process already.
            let _ = thread.join();
        }
    }
}

/// What was told.
#[derive(Default)]
struct Seen {
    /// The ports' carriers, and whether each ever had one: of one that never had, nothing is known.
    ports: HashMap<PortId, (bool, bool)>,
    told: Option<Instant>,
}

impl Seen {
    fn look(&mut self, shared: &Shared, desk: &Desk) {
        let again = self.told.is_none_or(|told| told.elapsed() >= AGAIN);
        if again {
            self.told = Some(Instant::now());
        }
        let cables = shared
            .cables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for cable in cables {
            let up = cable.reader.link().up;
            if !up {
                cable.unsent.discard();
            }
            let before = self.ports.get(&cable.port).copied();
            let had = up || before.is_some_and(|(_, had)| had);
            self.ports.insert(cable.port, (up, had));
            if !again && before.is_some_and(|(was, _)| was == up) {
                continue;
            }
            if had {
                desk.ask(Request::Carrier(cable.port, up));
            }
            for name in cable.interfaces {
                let kind = TrackerKind::Interface;
                let finding = match up {
                    true => Finding::Up,
                    false => Finding::Down("no carrier".into()),
                };
                desk.ask(Request::Found(Tracker { kind, name }, finding));
            }
        }
    }
}
