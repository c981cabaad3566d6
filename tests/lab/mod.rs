//! The lab the end-to-end tests run in: `scripts/lab` makes it, this drives it.

pub mod clients;
pub mod decap;
pub mod hidden;
pub mod raw;
pub mod router;
pub mod run;
pub mod runner;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
};

/// The real servers of every lab.
pub const SERVERS: [&str; 3] = ["rs1", "rs2", "rs3"];

/// The variable of the environment from whose number on a process counts its labs: several may share a prefix.
const FIRST_LAB: &str = "TARPON_LAB_FIRST";

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Labs being taken down: that takes two seconds, mostly of waiting, in which the next case may begin.
static ENDING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Waits until every lab that was dropped is gone.
pub fn settle() {
    for ending in ENDING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .drain(..)
    {
        // It has said itself what went wrong.
        let _ = ending.join();
    }
}

/// A lab of network namespaces; taken down when dropped, in the background ([`settle`]).
pub struct Lab {
    /// Its name, unique on the machine.
    pub name: String,
    /// Its files.
    pub dir: PathBuf,
    /// Ports of the client's given out.
    ports: AtomicU16,
}

impl Lab {
    /// Makes a lab. `options` as of `scripts/lab up`.
    pub fn up(options: &[&str]) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let prefix = std::env::var("TARPON_LAB_PREFIX")
            .unwrap_or_else(|_| format!("e{}", std::process::id()));
        let first = std::env::var(FIRST_LAB).map_or(0, |n| n.parse().unwrap_or(0));
        let number: u32 = first + MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}x{number}");
        let dir = Path::new("/tmp/tarpon-lab").join(&name);
        let lab = Self {
            name,
            dir,
            ports: AtomicU16::new(10_000),
        };
        run::text(lab.script("up").args(options), 60).context("making the lab")?;
        Ok(lab)
    }

    fn script(&self, verb: &str) -> Command {
        let mut command = Command::new(root().join("scripts/lab"));
        command.args([verb, &self.name]);
        command
    }

    /// `n` TCP ports of the client's that nothing in this lab used before, below those the kernel gives out itself.
    pub fn fresh_ports(&self, n: usize) -> std::ops::Range<u16> {
        let n = u16::try_from(n).unwrap_or(u16::MAX);
        let first = self.ports.fetch_add(n, Ordering::Relaxed);
        first..first.saturating_add(n)
    }

    /// The network namespace of a node.
    #[must_use]
    pub fn namespace(&self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }

    /// A command on a node, its arguments separated by spaces.
    #[must_use]
    pub fn on(&self, node: &str, line: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(node)]);
        command.args(line.split_whitespace());
        command
    }

    /// Runs a command on a node; its output, an error unless it succeeds within `seconds`.
    pub fn text(&self, node: &str, line: &str, seconds: u64) -> Result<String> {
        run::text(&mut self.on(node, line), seconds).with_context(|| format!("on {node}"))
    }

    /// Starts a command on a node; ended when the guard is dropped.
    pub fn start(&self, node: &str, line: &str) -> Result<Background> {
        let child = self
            .on(node, line)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting `{line}`"))?;
        Ok(Background(child))
    }

    /// Starts this test program anew on a node, as the helper `arguments` name.
    pub fn start_helper(&self, node: &str, arguments: &str) -> Result<Background> {
        let program = std::env::current_exe()?;
        self.start(node, &format!("{} {arguments}", program.display()))
    }

    /// Runs `body` in a thread inside a node's network namespace.
    pub fn inside<T: Send>(
        &self,
        node: &str,
        body: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let path = Path::new("/run/netns").join(self.namespace(node));
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        thread::scope(|scope| {
            scope
                .spawn(move || {
                    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                    body()
                })
                .join()
                .map_err(|_| anyhow::anyhow!("the thread inside {node} panicked"))?
        })
    }

    /// A file of `megabytes` of noise that every real server serves under `/files/NAME`; its SHA-256.
    pub fn publish(&self, name: &str, megabytes: u32) -> Result<String> {
        let path = self.dir.join("www").join(name);
        let line = format!("head -c {megabytes}M /dev/urandom > {}", path.display());
        run::text(Command::new("sh").args(["-c", &line]), 60)?;
        run::sha256(&path)
    }

    /// The MAC of a node's interface, as the kernel writes it.
    pub fn mac(&self, node: &str, interface: &str) -> Result<String> {
        let text = self.text(node, &format!("cat /sys/class/net/{interface}/address"), 5)?;
        let mac = text.trim().to_owned();
        ensure!(mac.len() == 17, "{node} has no interface {interface}");
        Ok(mac)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os("TARPON_KEEP_LAB").is_some() {
            eprintln!("kept: lab {} (end it with scripts/lab down {0})", self.name);
            return;
        }
        let (name, mut down) = (self.name.clone(), self.script("down"));
        let ending = thread::spawn(move || {
            if let Err(error) = run::text(&mut down, 60) {
                eprintln!("taking down lab {name}: {error:#}");
            }
        });
        ENDING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ending);
    }
}

/// A process in the background, ended and waited for when dropped.
pub struct Background(Child);

impl Background {
    /// The command's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
