//! Where the threads that speak with the other director ask the control thread.

use api::Version;
use rustix::event::{EventfdFlags, eventfd};
use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

/// How long the control thread may take for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is asked, or told.
pub enum Question {
    /// What is in force here.
    Text,
    /// The other has said by itself which versions it had.
    Heard {
        /// Its name.
        name: String,
        /// Oldest first.
        versions: Vec<Version>,
    },
    /// The other, asked, has said so: what to do now.
    Met {
        /// Its name.
        name: String,
        /// Oldest first.
        versions: Vec<Version>,
    },
    /// The other wants this to be in force here.
    Take {
        /// Services, mark rules, settings.
        text: String,
        /// The last is that text's.
        versions: Vec<Version>,
        /// Whatever is here.
        force: bool,
    },
    /// What is in force there.
    Fetched {
        /// Services, mark rules, settings.
        text: String,
        /// The last is that text's.
        versions: Vec<Version>,
    },
    /// What became of a push: what changed there, or why not.
    Pushed(Result<Vec<String>, (String, Vec<String>)>),
    /// The other cannot be spoken with.
    Failed(String),
}

/// What comes of it.
pub enum Answer {
    /// What is in force here, and the versions there were.
    Text(String, Vec<Version>),
    /// What to do next.
    Next(Met),
    /// What changed here, or why nothing did.
    Taken(Result<Vec<String>, (String, Vec<String>)>),
    /// Nothing.
    Noted,
}

/// What to do on meeting the other.
pub enum Met {
    /// No more.
    Nothing,
    /// Ask for its configuration.
    Fetch,
    /// Send this one's.
    Push {
        /// Whatever is there.
        force: bool,
    },
}

/// A question, with whom to answer.
type Asked = (Question, SyncSender<Answer>);

/// The desk.
pub struct Desk {
    questions: Mutex<Vec<Asked>>,
    bell: OwnedFd,
    /// There is a reason to ask the other now.
    urgent: Mutex<bool>,
    woken: Condvar,
}

impl Desk {
    /// Nothing asked yet.
    ///
    /// # Errors
    /// When the kernel has no event descriptor left.
    pub fn new() -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            questions: Mutex::default(),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            urgent: Mutex::new(false),
            woken: Condvar::new(),
        }))
    }

    /// Asks, and waits; `None`: there is no answer.
    pub fn put(&self, question: Question) -> Option<Answer> {
        let (sender, receiver): (_, Receiver<Answer>) = sync_channel(1);
        self.list().push((question, sender));
        // The only failure is a counter that is full, and then it is readable.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        receiver.recv_timeout(PATIENCE).ok()
    }

    /// What is asked, with whom to answer.
    pub fn take(&self) -> Vec<Asked> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.bell, &mut count);
        std::mem::take(&mut *self.list())
    }

    fn list(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes readable with questions.
    pub fn watched(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Have the other be asked now.
    pub fn hurry(&self) {
        *self.urgent.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_one();
    }

    /// Until it is time to ask again.
    pub fn wait(&self, long: Duration) {
        let urgent = self.urgent.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .woken
            .wait_timeout_while(urgent, long, |urgent| !*urgent);
        let (mut urgent, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *urgent = false;
    }
}
