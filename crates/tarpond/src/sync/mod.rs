//! Connection synchronisation, on a thread of its own: it reads what workers have noted, tells it to the other directors, and takes over
//! what they tell. Workers never wait for it, nor does VRRP.

mod plan;
mod thread;

pub use plan::{Plan, heard_at, plan, rules, stations};

use crate::{
    clock::Clock,
    takeover::{Mail, Urgent},
};
use anyhow::{Context as _, Result};
use dpdk::{Eal, Mempool};
use engine::{Neighbourhood, Roles, Synchronizer};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};
use thread::Thread;

/// Messages that may wait for the thread, and frames that may wait for a worker.
pub const QUEUE: usize = 1024;

/// Frames the queues may hold.
#[must_use]
pub fn frames_held(workers: u32) -> u32 {
    u32::try_from(QUEUE).unwrap_or(u32::MAX) * (1 + workers)
}

/// What the thread works with.
pub struct Tools {
    /// The engine's side.
    pub engine: Synchronizer,
    /// Who is master.
    pub roles: Arc<Roles>,
    /// MACs of unicast peers.
    pub neighbours: Neighbourhood,
    /// Messages in.
    pub mail: Arc<Mail>,
    /// Messages out: the ring of each port's worker.
    pub outgoing: Vec<Arc<Urgent>>,
    /// Frames are built in its buffers.
    pub pool: Mempool,
    /// Moments.
    pub clock: Clock,
    /// A number of this start, drawn at random.
    pub sender: u64,
    /// VRRP may take over from a master: its connections are here.
    pub ready: Arc<AtomicBool>,
}

/// What both sides share.
#[derive(Default)]
struct Desk {
    /// What is wanted next.
    plan: Mutex<Option<Option<Plan>>>,
    stop: AtomicBool,
    shown: Mutex<Option<api::Sync>>,
}

/// The control thread's side. Dropped, it ends the thread.
pub struct Sync {
    mail: Arc<Mail>,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Sync {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(eal: &Eal, plan: Option<Plan>, tools: Tools) -> Result<Self> {
        let desk = Arc::new(Desk::default());
        let (mail, eal) = (Arc::clone(&tools.mail), eal.clone());
        let thread = {
            let desk = Arc::clone(&desk);
            std::thread::Builder::new()
                .name("sync".into())
                .spawn(move || {
                    // A thread the EAL does not know works too, only without a buffer cache of its own.
                    let _registered = eal.register_thread().ok();
                    Thread::new(plan, tools, desk).run();
                })
                .context("cannot start the thread of connection synchronisation")?
        };
        Ok(Self {
            mail,
            desk,
            thread: Some(thread),
        })
    }

    /// Another plan.
    pub fn follow(&self, plan: Option<Plan>) {
        *self
            .desk
            .plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(plan);
        self.mail.ring();
    }

    /// How it goes; `None` when nothing is synchronised.
    pub fn shown(&self) -> Option<api::Sync> {
        let shown = self.desk.shown.lock();
        shown.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        self.desk.stop.store(true, Ordering::Relaxed);
        self.mail.ring();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process already.
            let _ = thread.join();
        }
    }
}
