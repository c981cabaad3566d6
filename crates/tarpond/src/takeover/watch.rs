//! What virtual routers track beyond the director: scripts are run and files are read, on a thread of their own, which no health
//! check can hold up and which cannot hold up the takeover thread. What it finds is told there, level-triggered.

use super::{Desk, Request};
use anyhow::{Context as _, Result};
use config::{Config, VrrpScript};
use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::LocalSet,
    time::{MissedTickBehavior, interval},
};
use vrrp::{Finding, Tracker, TrackerKind, Trials, file_number};

/// Between two looks at a file.
const LOOK: Duration = Duration::from_millis(100);

/// Something to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Run, again and again.
    Script(VrrpScript),
    /// Read.
    File(PathBuf),
}

/// What any instance of `config` tracks by script or file.
#[must_use]
pub fn watched(config: &Config) -> BTreeMap<Tracker, Watched> {
    let tracked = |list: fn(&config::Vrrp) -> &[config::Track], name: &str| {
        let mut all = config.vrrp.iter().flat_map(list);
        all.any(|track| track.name == name)
    };
    let scripts = config.vrrp_scripts.iter();
    let scripts = scripts.filter(|s| tracked(|v| &v.track_script, &s.name));
    let scripts = scripts.map(|s| (TrackerKind::Script, &s.name, Watched::Script(s.clone())));
    let files = config.track_files.iter();
    let files = files.filter(|f| tracked(|v| &v.track_file, &f.name));
    let files = files.map(|f| (TrackerKind::File, &f.name, Watched::File(f.file.clone())));
    let named = |(kind, name, watched): (TrackerKind, &String, Watched)| {
        let name = name.clone();
        (Tracker { kind, name }, watched)
    };
    scripts.chain(files).map(named).collect()
}

struct Shared {
    wanted: Mutex<BTreeMap<Tracker, Watched>>,
    /// Counts the times that was said: whoever tracks something since then has not heard of it.
    said: AtomicU64,
    wake: Notify,
    stop: AtomicBool,
}

/// The running thread; stopped and joined when dropped.
pub struct Watchers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watchers {
    /// Starts the thread, with nothing to look at.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(desk: Desk) -> Result<Self> {
        let shared = Arc::new(Shared {
            wanted: Mutex::default(),
            said: AtomicU64::new(0),
            wake: Notify::new(),
            stop: AtomicBool::new(false),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot make the tracking thread's runtime")?;
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("track".into())
            .spawn(move || runtime.block_on(LocalSet::new().run_until(run(theirs, desk))))
            .context("cannot start the tracking thread")?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Looks at these from now on.
    pub fn follow(&self, wanted: BTreeMap<Tracker, Watched>) {
        let mut slot = self.shared.wanted.lock();
        *slot.as_deref_mut().unwrap_or(&mut BTreeMap::new()) = wanted;
        drop(slot);
        self.shared.said.fetch_add(1, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process already.
            let _ = thread.join();
        }
    }
}

/// A task for each; one whose settings change begins anew.
async fn run(shared: Arc<Shared>, desk: Desk) {
    let desk = Rc::new(desk);
    let mut tasks: BTreeMap<Tracker, (Watched, tokio::task::JoinHandle<()>)> = BTreeMap::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let wanted = shared.wanted.lock();
        let wanted = wanted.unwrap_or_else(PoisonError::into_inner).clone();
        tasks.retain(|tracker, (watched, task)| {
            let stays = wanted.get(tracker) == Some(watched);
            if !stays {
                task.abort();
            }
            stays
        });
        for (tracker, watched) in wanted {
            tasks.entry(tracker.clone()).or_insert_with(|| {
                let (shared, desk) = (Arc::clone(&shared), Rc::clone(&desk));
                let task = match watched.clone() {
                    Watched::Script(script) => {
                        tokio::task::spawn_local(run_script(desk, tracker, script))
                    }
                    Watched::File(path) => {
                        tokio::task::spawn_local(read_file(shared, desk, tracker, path))
                    }
                };
                (watched, task)
            });
        }
        shared.wake.notified().await;
    }
}

async fn run_script(desk: Rc<Desk>, tracker: Tracker, script: VrrpScript) {
    let mut trials = Trials::new(script.rise, script.fall, script.init_fail);
    let mut due = interval(script.interval);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = "it has not succeeded yet".to_owned();
    if trials.up() == Some(false) {
        desk.ask(Request::Found(tracker.clone(), Finding::Down(last.clone())));
    }
    loop {
        due.tick().await;
        let ended = probe::execute(&script.script, &script.user, &[], script.timeout).await;
        let failure = match ended {
            Ok(probe::Finished::Status(0)) => None,
            Ok(probe::Finished::Status(status)) => Some(format!("exit status {status}")),
            Ok(probe::Finished::Signal(signal)) => Some(format!("ended by signal {signal}")),
            Ok(probe::Finished::TooLong) => {
                let seconds = script.timeout.as_secs_f64();
                Some(format!("not done within {seconds} s"))
            }
            Err(why) => Some(why),
        };
        let up = trials.count(failure.is_none());
        last = failure.unwrap_or(last);
        let finding = match up {
            true => Finding::Up,
            false => Finding::Down(last.clone()),
        };
        desk.ask(Request::Found(tracker.clone(), finding));
    }
}

async fn read_file(shared: Arc<Shared>, desk: Rc<Desk>, tracker: Tracker, path: PathBuf) {
    let mut told = None;
    let mut refused = Vec::new();
    let mut due = interval(LOOK);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let said = shared.said.load(Ordering::Acquire);
        let text = begin_of(&path);
        let Some(number) = file_number(&text) else {
            if refused != text {
                let shown = String::from_utf8_lossy(&text);
                tracing::warn!(
                    "{tracker}: {:?} in {} is ignored",
                    shown.trim(),
                    path.display()
                );
                refused = text;
            }
            continue;
        };
        if told != Some((said, number)) {
            told = Some((said, number));
            desk.ask(Request::Found(tracker.clone(), Finding::Number(number)));
        }
    }
}

/// As much of a file as a number needs. One that is not there, or cannot be read, is as an empty one: keepalived has it so.
fn begin_of(path: &Path) -> Vec<u8> {
    let mut begin = Vec::new();
    // Nothing that is no file is waited for.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path);
    match file {
        Ok(file) => {
            let _ = file.take(64).read_to_end(&mut begin);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::debug!("{}: {error}", path.display()),
    }
    begin
}
