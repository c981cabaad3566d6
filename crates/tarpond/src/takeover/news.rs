//! Transitions of virtual routers, and what their trackers find, told to the control thread.

use rustix::event::{EventfdFlags, eventfd};
use std::{
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use vrrp::State;

/// Transitions that may wait: a control thread that does not come round must not cost memory without bound.
const KEPT: usize = 1000;

/// A unit is in another state.
#[derive(Clone, Debug)]
pub struct Transition {
    /// Its group, if it is one.
    pub group: Option<String>,
    /// Its instances, with their priorities.
    pub members: Vec<(String, u8)>,
    /// The state it is in now.
    pub state: State,
    /// What brought it there.
    pub cause: String,
}

/// Something that a unit tracks is found to be otherwise.
#[derive(Clone, Debug)]
pub struct TrackedNews {
    /// The unit.
    pub router: String,
    /// What was found, and the priority if it changed.
    pub what: String,
    /// Why.
    pub cause: String,
}

/// Another master is heard, which is worse.
#[derive(Clone, Debug)]
pub struct ConflictNews {
    /// The instance that hears it.
    pub name: String,
    /// Its group.
    pub group: Option<String>,
    /// This director's priority.
    pub own: u8,
    /// Who it is.
    pub from: IpAddr,
    /// That one's priority.
    pub priority: u8,
}

/// One piece of news.
#[derive(Clone, Debug)]
pub enum Item {
    /// A unit is in another state.
    Transition(Transition),
    /// A tracker has found something else.
    Tracked(TrackedNews),
    /// A worse master is heard.
    Conflict(ConflictNews),
}

/// What waits for the control thread.
pub struct News {
    list: Mutex<Vec<Item>>,
    bell: OwnedFd,
}

impl News {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the kernel has no event descriptor left.
    pub fn new() -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            list: Mutex::default(),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        }))
    }

    /// Adds one, and wakes whoever watches.
    pub fn add(&self, item: Item) {
        let mut list = self.list();
        if list.len() < KEPT {
            list.push(item);
        }
        // The only failure is a counter that is full, and then it is readable.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// What has come since the last call.
    pub fn take(&self) -> Vec<Item> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.bell, &mut count);
        std::mem::take(&mut *self.list())
    }

    /// Becomes readable with news.
    pub fn watched(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn list(&self) -> MutexGuard<'_, Vec<Item>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
