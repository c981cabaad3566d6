//! The health thread: it makes the checks that are due, each in a task of its own, and tells the control thread what has changed.
//!
//! One thread, an async runtime on it, and the host's stack. What a verdict means for a service is decided elsewhere
//! ([`Standing`], on the control thread).

mod sessions;
pub mod standing;

pub use standing::{Quorum, Standing};

use crate::detour::Detours;
use ::health::{
    Change, CheckId, Checks, Due, Outcome, View, Wished,
    bfd::{Peer, Wanted},
};
use anyhow::{Context as _, Result};
use config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    cell::Cell,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::LocalSet};
use types::ServiceKey;
use vrrp::Finding;

/// How long a program that is told of something may run.
const PROGRAM: Duration = Duration::from_secs(60);
/// How long neighbours of sessions may take to be told of a stop.
const PARTING: Duration = Duration::from_millis(200);
/// How long those still running are waited for at a stop.
const GOODBYE: Duration = Duration::from_secs(5);

/// A verdict that changed, or a weight a script asks for.
#[derive(Clone, Debug)]
pub struct News {
    /// Of which check.
    pub id: CheckId,
    /// Its kind's word.
    pub kind: &'static str,
    /// The verdict; absent: only the weight is another.
    pub change: Option<Change>,
    /// What brought it about.
    pub outcome: Outcome,
}

/// A program to be told of something.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Who runs it.
    pub user: String,
}

/// What both threads have.
struct Shared {
    begun: Instant,
    checks: Mutex<Checks>,
    news: Mutex<Vec<News>>,
    /// Sessions that virtual routers track, by their names there.
    tracked: Mutex<Vec<(String, Peer, Wanted)>>,
    /// What those have found.
    found: Mutex<Vec<(String, Finding)>>,
    programs: Mutex<Vec<Program>>,
    /// Wakes the health thread.
    wake: Notify,
    /// Wakes its sessions.
    sessions: Notify,
    stop: AtomicBool,
    /// Sessions are to end.
    farewell: AtomicBool,
    /// Their neighbours have been told.
    told: AtomicBool,
    /// Checks without a verdict yet, for who must not wait for a lock.
    cold: Arc<AtomicUsize>,
    /// Wakes the control thread.
    bell: UnixStream,
}

impl Shared {
    /// Whether sessions are to end.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.farewell.load(Ordering::Relaxed)
    }

    fn show_cold(&self, checks: &Checks) {
        self.cold.store(checks.cold(), Ordering::Relaxed);
    }
}

/// The running thread; stopped and joined when dropped.
pub struct Health {
    shared: Arc<Shared>,
    /// Becomes readable with news.
    bell: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// Starts the thread, with no checks yet.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(seed: u64) -> Result<Self> {
        allow_many_sockets();
        let (bell, ringer) = UnixStream::pair().context("cannot make the health thread's bell")?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            checks: Mutex::new(Checks::new(seed)),
            news: Mutex::default(),
            tracked: Mutex::default(),
            found: Mutex::default(),
            programs: Mutex::default(),
            wake: Notify::new(),
            sessions: Notify::new(),
            stop: AtomicBool::new(false),
            farewell: AtomicBool::new(false),
            told: AtomicBool::new(false),
            cold: Arc::default(),
            bell: ringer,
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot make the health thread's runtime")?;
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("health".into())
            .spawn(move || runtime.block_on(LocalSet::new().run_until(run(theirs, seed))))
            .context("cannot start the health thread")?;
        Ok(Self {
            shared,
            bell,
            thread: Some(thread),
        })
    }

    /// Makes the checks those of `config`, on the ways that `detours` has for them; verdicts stay.
    pub fn follow(&self, config: &Config, detours: &Detours) {
        let mut wanted = Vec::new();
        for service in &config.services {
            for server in &service.servers {
                let checks = service.health.checks_of(server.address);
                wanted.extend(checks.iter().enumerate().map(|(number, check)| {
                    let id = CheckId {
                        service: service.key,
                        server: server.address,
                        number,
                    };
                    let mut check = detours.lead(check, service.key, server);
                    if let Some(name) = &mut check.bind.interface {
                        // A port's is its TAP.
                        let port = config.ports.iter().find(|port| port.name == *name);
                        *name = port
                            .and_then(config::Port::tap)
                            .unwrap_or(std::mem::take(name));
                    }
                    (id, check)
                }));
            }
        }
        let mut checks = self.checks();
        checks.follow(self.now(), wanted);
        self.shared.show_cold(&checks);
        drop(checks);
        *locked(&self.shared.tracked) = sessions::tracked(config);
        self.shared.wake.notify_one();
        self.shared.sessions.notify_one();
    }

    /// What has changed since the last call.
    pub fn take_news(&self) -> Vec<News> {
        let mut bytes = [0; 64];
        while (&self.bell).read(&mut bytes).is_ok_and(|n| n > 0) {}
        std::mem::take(&mut *locked(&self.shared.news))
    }

    /// How many checks have had no verdict yet, kept up to date.
    pub fn cold(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.shared.cold)
    }

    /// What tracked sessions have found since the last call.
    pub fn take_found(&self) -> Vec<(String, Finding)> {
        std::mem::take(&mut *locked(&self.shared.found))
    }

    /// Becomes readable with news.
    pub fn watched(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The checks of a server that is suspect are made at once.
    pub fn hurry(&self, service: ServiceKey, server: SocketAddr) {
        self.checks().hurry(self.now(), service, server);
        self.shared.wake.notify_one();
    }

    /// Whether every check of a server finds it up.
    pub fn is_up(&self, service: ServiceKey, server: SocketAddr) -> bool {
        self.checks().is_up(service, server)
    }

    /// What a server's checks ask for.
    pub fn wished(&self, service: ServiceKey, server: SocketAddr) -> Wished {
        self.checks().wished(service, server)
    }

    /// Every check, by service, server and number.
    pub fn views(&self) -> Vec<View> {
        self.checks().views().collect()
    }

    /// Every check of a service, by server and number.
    pub fn views_of(&self, service: ServiceKey) -> Vec<View> {
        self.checks().views_of(service).collect()
    }

    /// The time of [`View`]s.
    pub fn now(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// Runs a program without waiting for it; the log says if it fails.
    pub fn tell(&self, program: Program) {
        if program.command.is_empty() {
            return;
        }
        locked(&self.shared.programs).push(program);
        self.shared.wake.notify_one();
    }

    /// Ends all sessions, and gives their neighbours a moment to be told, as long as packets still go out.
    pub fn end_sessions(&self) {
        self.shared.farewell.store(true, Ordering::Relaxed);
        self.shared.sessions.notify_one();
        let last = Instant::now() + PARTING;
        while !self.shared.told.load(Ordering::Relaxed) && Instant::now() < last {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        locked(&self.shared.checks)
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
        self.shared.sessions.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process already.
            let _ = thread.join();
        }
    }
}

/// A panic ends the process, so nobody sees what it left behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Thousands of silent servers hold as many sockets until their timeout: as many descriptors as the daemon may have.
fn allow_many_sockets() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

async fn run(shared: Arc<Shared>, seed: u64) {
    let sessions = tokio::task::spawn_local(sessions::run(Arc::clone(&shared), seed));
    let running = Rc::new(Cell::new(0_usize));
    while !shared.stop.load(Ordering::Relaxed) {
        let next = begin_due(&shared);
        begin_programs(&shared, &running);
        let woken = shared.wake.notified();
        match next {
            None => woken.await,
            Some(next) => {
                let wait = next.saturating_sub(shared.begun.elapsed());
                let _ = tokio::time::timeout(wait, woken).await;
            }
        }
    }
    // A panic there has ended the process already.
    let _ = sessions.await;
    begin_programs(&shared, &running);
    let last = Instant::now() + GOODBYE;
    while running.get() > 0 && Instant::now() < last {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Begins every check that is due; when the next will be.
fn begin_due(shared: &Arc<Shared>) -> Option<Duration> {
    let mut checks = locked(&shared.checks);
    while let Some(due) = checks.begin(shared.begun.elapsed()) {
        tokio::task::spawn_local(make(Arc::clone(shared), due));
    }
    checks.next()
}

async fn make(shared: Arc<Shared>, due: Due) {
    let Due { id, round, check } = due;
    let outcome = probe::run(&check, id.server).await;
    let mut checks = locked(&shared.checks);
    let found = checks.finish(shared.begun.elapsed(), id, round, &outcome);
    shared.show_cold(&checks);
    drop(checks);
    // The queue has a moment more to wait for.
    shared.wake.notify_one();
    let kind = check.kind.word();
    let news = found.into_iter().map(|found| News {
        id: found.id,
        kind,
        change: found.change,
        outcome: outcome.clone(),
    });
    announce(&shared, news.collect());
}

/// Has the control thread look at these.
fn announce(shared: &Shared, mut news: Vec<News>) {
    if !news.is_empty() {
        locked(&shared.news).append(&mut news);
        ring(shared);
    }
}

fn ring(shared: &Shared) {
    // A full bell has been rung.
    let _ = (&shared.bell).write(&[1]);
}

fn begin_programs(shared: &Shared, running: &Rc<Cell<usize>>) {
    for program in std::mem::take(&mut *locked(&shared.programs)) {
        let running = Rc::clone(running);
        running.set(running.get() + 1);
        tokio::task::spawn_local(async move {
            let Program { command, user } = program;
            let what = command.join(" ");
            match probe::execute(&command, &user, &[], PROGRAM).await {
                Ok(probe::Finished::Status(0)) => tracing::debug!("`{what}` is done"),
                Ok(finished) => tracing::warn!("`{what}`: {finished:?}"),
                Err(why) => tracing::warn!("`{what}` was not run: {why}"),
            }
            running.set(running.get() - 1);
        });
    }
}
