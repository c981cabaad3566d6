//! The program that reads a FIFO (`reader`): started with it, started again when it ends, and gone with it.

use config::Notify;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    process::Child,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// From its end to its next start.
const AGAIN: Duration = Duration::from_secs(10);
/// How long it may take to read the last lines, and then to end when it is told to.
const GOODBYE: Duration = Duration::from_secs(1);

/// A reader.
pub struct Reader {
    command: Vec<String>,
    user: String,
    child: Option<Child>,
    not_before: Instant,
}

impl Reader {
    /// The reader `plan` wants, not started yet.
    pub fn new(plan: &Notify) -> Option<Self> {
        let user = plan.reads_it()?.to_owned();
        let mut command = plan.reader.clone();
        command.push(plan.to.path().display().to_string());
        Some(Self {
            command,
            user,
            child: None,
            not_before: Instant::now(),
        })
    }

    /// Starts it if it does not run and it is time to.
    pub fn look(&mut self) {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return,
                Ok(Some(status)) => self.again(&format!("has ended ({status})")),
                Err(error) => self.again(&format!("is gone: {error}")),
            }
        }
        if Instant::now() < self.not_before {
            return;
        }
        match probe::start(&self.command, &self.user) {
            Ok(child) => self.child = Some(child),
            Err(why) => self.again(&format!("could not be started: {why}")),
        }
    }

    fn again(&mut self, what: &str) {
        let (reader, pause) = (self.command.join(" "), AGAIN.as_secs());
        tracing::warn!("the reader `{reader}` {what}; it is started again in {pause} s");
        self.child = None;
        self.not_before = Instant::now() + AGAIN;
    }

    /// Ends it, the FIFO being closed: it may read what is left, then it is told to end, then it is ended. Nobody needs to wait for that.
    pub fn end(self) -> Option<JoinHandle<()>> {
        let child = self.child?;
        let ending = std::thread::Builder::new().name("reader".into());
        ending.spawn(move || farewell(child)).ok()
    }
}

fn farewell(mut child: Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    for signal in [Signal::TERM, Signal::KILL] {
        let last = Instant::now() + GOODBYE;
        while Instant::now() < last {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(group) = group {
            // It may just have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
    // Nothing survives that.
    let _ = child.wait();
}
