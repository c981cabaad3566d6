//! Takeover: VRRP and announcements, on a thread of its own, so that neither a slow client of the control socket nor a slow check
//! can cost the virtual addresses.
//!
//! The thread gives and takes roles (`engine::Roles`), hears advertisements from the workers through a queue of their own, and
//! sends through rings that workers empty before everything else.

mod carriers;
mod mail;
mod news;
mod plan;
mod report;
mod thread;
mod watch;

pub use carriers::{Cable, cables};
pub use mail::{ALWAYS, INCOMING, Mail, OUTGOING, Urgent, frames_held};
pub use news::{ConflictNews, Item, News, TrackedNews, Transition};
pub use plan::{UnitPlan, floating, plans, stations, unaccepted, virtual_macs};
pub use watch::{Watched, watched};

use crate::{clock::Clock, worker::Gauge};
use anyhow::{Context as _, Result};
use carriers::Carriers;
use dpdk::{Eal, Mempool};
use engine::{AddressWatch, Neighbourhood, Roles};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread::JoinHandle,
    time::Duration,
};
use thread::Thread;
use vrrp::{Finding, Tracker, TrackerKind};
use watch::Watchers;

/// What is asked of the thread.
enum Request {
    /// Another configuration of the same units.
    Plans(Vec<UnitPlan>),
    /// Give up the unit of that number.
    GiveUp(usize),
    /// Give up the unit of that number, measure, and take it back.
    Drill(usize),
    /// A port has lost its carrier, or has it again.
    Carrier(types::PortId, bool),
    /// A tracker's finding.
    Found(Tracker, Finding),
    /// End: release, send what there is to send.
    Stop,
}

/// Where requests are handed in.
#[derive(Clone)]
struct Desk {
    mail: Arc<Mail>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Desk {
    fn ask(&self, request: Request) {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request);
        self.mail.ring();
    }
}

/// What the thread works with.
pub struct Tools {
    /// Gives and takes the roles.
    pub roles: Arc<Roles>,
    /// Looks for an address that is given up.
    pub watch: Arc<AddressWatch>,
    /// MACs of unicast peers.
    pub neighbours: Neighbourhood,
    /// Advertisements in.
    pub mail: Arc<Mail>,
    /// Frames out: the ring of each port's worker.
    pub urgent: Vec<Arc<Urgent>>,
    /// The workers.
    pub gauges: Vec<Arc<Gauge>>,
    /// Frames are built in its buffers.
    pub pool: Mempool,
    /// Moments.
    pub clock: Clock,
    /// Whether the connections of the master are here: else it is let be.
    pub ready: Arc<AtomicBool>,
    /// How many checks have had no verdict yet: until then it is let be, too.
    pub cold: Arc<AtomicUsize>,
}

impl Tools {
    /// Hands a frame, good until then, to the worker that sends on `port`. False if it cannot be.
    fn send(&self, port: types::PortId, bytes: &[u8], until: types::Tick) -> bool {
        Urgent::send(&self.urgent, &self.pool, port, bytes, until)
    }
}

/// The control thread's side. Dropped, it ends the thread, which releases what it has.
pub struct Takeover {
    desk: Desk,
    shown: Arc<Mutex<Vec<api::Vrrp>>>,
    news: Arc<News>,
    drill: Arc<Mutex<Option<api::DrillState>>>,
    thread: Option<JoinHandle<()>>,
    /// Runs scripts and reads files, if any are tracked.
    watchers: Option<Watchers>,
    carriers: Option<Carriers>,
}

impl Takeover {
    /// Starts the thread over `plans`. Without any there is no thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(eal: &Eal, plans: Vec<UnitPlan>, tools: Tools) -> Result<Self> {
        let mut takeover = Self {
            desk: Desk {
                mail: Arc::clone(&tools.mail),
                requests: Arc::default(),
            },
            shown: Arc::default(),
            drill: Arc::default(),
            news: News::new().context("cannot make the takeover thread's bell")?,
            thread: None,
            watchers: None,
            carriers: None,
        };
        if plans.is_empty() {
            return Ok(takeover);
        }
        let (requests, shown) = (
            Arc::clone(&takeover.desk.requests),
            Arc::clone(&takeover.shown),
        );
        let news = Arc::clone(&takeover.news);
        let drill = Arc::clone(&takeover.drill);
        let eal = eal.clone();
        takeover.thread = Some(
            std::thread::Builder::new()
                .name("takeover".into())
                .spawn(move || {
                    // A thread the EAL does not know works too, only without a buffer cache of its own.
                    let _registered = eal.register_thread().ok();
                    if let Err(error) = host::real_time() {
                        tracing::warn!(
                            "the takeover thread runs without real-time priority ({error}): on a busy machine it may wake late, and step down \
                             for it; give the daemon CAP_SYS_NICE"
                        );
                    }
                    Thread::new(plans, tools, requests, shown, news, drill).run();
                })
                .context("cannot start the takeover thread")?,
        );
        Ok(takeover)
    }

    /// Other plans for the same units, and what is to be looked at for them.
    pub fn follow(&mut self, plans: Vec<UnitPlan>, watched: BTreeMap<Tracker, Watched>) {
        self.ask(Request::Plans(plans));
        self.watch(watched);
    }

    /// Runs these scripts and reads these files.
    pub fn watch(&mut self, watched: BTreeMap<Tracker, Watched>) {
        if self.watchers.is_none() && !watched.is_empty() {
            match Watchers::start(self.desk.clone()) {
                Ok(watchers) => self.watchers = Some(watchers),
                Err(error) => tracing::error!("nothing is tracked: {error:#}"),
            }
        }
        if let Some(watchers) = &self.watchers {
            watchers.follow(watched);
        }
    }

    /// Looks at the carriers of these ports from now on.
    pub fn watch_carriers(&mut self, cables: Vec<Cable>) {
        match &self.carriers {
            Some(carriers) => carriers.follow(cables),
            None if self.thread.is_none() => {}
            None => match Carriers::start(self.desk.clone(), cables) {
                Ok(carriers) => self.carriers = Some(carriers),
                Err(error) => tracing::error!("no carrier is looked at: {error:#}"),
            },
        }
    }

    /// What was found of something that is tracked.
    pub fn found(&self, kind: TrackerKind, name: &str, finding: Finding) {
        let name = name.to_owned();
        self.ask(Request::Found(Tracker { kind, name }, finding));
    }

    /// Gives up the unit that has the instance or group `name`: `Ok` with the names of what moves, or why not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn fail_over(&self, name: &str) -> Result<Vec<String>, api::Error> {
        let (unit, names) = self.master(name)?;
        self.ask(Request::GiveUp(unit));
        Ok(names
            .iter()
            .map(|name| format!("{name}: given up"))
            .collect())
    }

    /// Gives up the unit that has the instance or group `name`, measures, and takes it back: `Ok` with the names of what moves.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn drill(&self, name: &str) -> Result<Vec<String>, api::Error> {
        let (unit, names) = self.master(name)?;
        let mut shown = self.drill.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_some_and(|drill| !drill.over) {
            let message = "a drill is under way";
            return Err(api::Error::new(api::ErrorCode::Busy, message));
        }
        // Nobody shall take the last one's end for this one's.
        *shown = Some(api::DrillState::begun(name));
        drop(shown);
        self.ask(Request::Drill(unit));
        Ok(names)
    }

    /// The drill under way, or the last one.
    pub fn drill_shown(&self) -> Option<api::DrillState> {
        self.drill
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The unit of the instance or group `name`, which is master, and its instances' names.
    ///
    /// # Errors
    /// There is none, or it is not master.
    pub fn master(&self, name: &str) -> Result<(usize, Vec<String>), api::Error> {
        let shown = self.shown();
        let of = |v: &&api::Vrrp| v.name == name || v.sync_group.as_deref() == Some(name);
        let Some(instance) = shown.iter().find(of) else {
            let names: Vec<&str> = shown.iter().map(|v| v.name.as_str()).collect();
            let groups: BTreeSet<&str> = shown
                .iter()
                .filter_map(|v| v.sync_group.as_deref())
                .collect();
            let groups: Vec<&str> = groups.into_iter().collect();
            let message = match (names.as_slice(), groups.as_slice()) {
                ([], _) => "there is no [[vrrp]] in the configuration".to_owned(),
                (names, []) => format!(
                    "there is no instance {name:?}; there are {}",
                    names.join(", ")
                ),
                (names, groups) => format!(
                    "there is no instance or sync_group {name:?}; there are {}, and of groups {}",
                    names.join(", "),
                    groups.join(", ")
                ),
            };
            return Err(api::Error::new(api::ErrorCode::NotFound, message));
        };
        if instance.state != "master" {
            let message = format!(
                "{name} is {}, not master: there is nothing to give up",
                instance.state
            );
            return Err(api::Error::new(api::ErrorCode::Invalid, message));
        }
        let members = shown.iter().filter(|v| v.unit == instance.unit);
        Ok((instance.unit, members.map(|v| v.name.clone()).collect()))
    }

    /// Where transitions are told.
    pub fn news(&self) -> Arc<News> {
        Arc::clone(&self.news)
    }

    /// How the instances are, in the order of the file.
    pub fn shown(&self) -> Vec<api::Vrrp> {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn ask(&self, request: Request) {
        if self.thread.is_some() {
            self.desk.ask(request);
        }
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        self.watchers = None;
        self.carriers = None;
        self.ask(Request::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process already.
            let _ = thread.join();
        }
    }
}

/// How long the thread sleeps at most.
const NAP: Duration = Duration::from_millis(100);
