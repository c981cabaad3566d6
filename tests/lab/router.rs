//! `tarpond` in a lab's router namespace, spoken to through the `tarpon` command as a person would, and held to its
//! promises at the end: every frame accounted for, nothing left behind.

use super::{Lab, run};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// How the router sees its two wires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `net_af_packet`, as many queues as workers.
    AfPacket,
    /// `net_af_xdp`: one queue.
    AfXdp,
}

/// A configuration to start from.
#[derive(Clone)]
pub struct Setup {
    /// Worker threads.
    pub workers: u16,
    /// The ports' driver.
    pub driver: Driver,
    /// Both networks behind the one port "wan".
    pub one_arm: bool,
    /// A TAP per port towards the host stack.
    pub host: bool,
    /// `[[service]]` tables.
    pub services: String,
    /// Any other tables.
    pub more: String,
}

impl Setup {
    /// One worker on two `net_af_packet` ports, without TAPs.
    #[must_use]
    pub fn new(services: impl Into<String>) -> Self {
        Self {
            workers: 1,
            driver: Driver::AfPacket,
            one_arm: false,
            host: false,
            services: services.into(),
            more: String::new(),
        }
    }

    /// The file for a router in `lab`.
    #[must_use]
    pub fn text(&self, lab: &Lab) -> String {
        let mut text = format!(
            "[director]\nname = \"{name}\"\nworkers = {}\nsocket = \"{}\"\nfile_prefix = \"{name}\"\nmemory_mb = 256\nconnections = 200_000\nconnections6 = 100_000\n\n",
            self.workers,
            socket(lab, ROUTER).display(),
            name = lab.name,
        );
        let wan = "\"198.51.100.1/24\", \"2001:db8:1::1/64\"";
        let lan = "\"10.1.0.1/24\", \"2001:db8:2::1/64\"";
        if self.one_arm {
            text += &self.port(0, "wan", &format!("{wan}, {lan}"));
        } else {
            text += &self.port(0, "wan", wan);
            text += &self.port(1, "lan", lan);
        }
        text + &self.more + "\n" + &self.services
    }

    fn port(&self, number: usize, name: &str, addresses: &str) -> String {
        let device = match self.driver {
            Driver::AfPacket => format!(
                "net_af_packet{number},iface={name},qpairs={},blocksz=65536,framesz=2048,framecnt=4096",
                self.workers
            ),
            Driver::AfXdp => format!("net_af_xdp{number},iface={name},busy_budget=0"),
        };
        let queues = match self.driver {
            Driver::AfPacket => self.workers,
            Driver::AfXdp => 1,
        };
        format!(
            "[[port]]\nname = \"{name}\"\ndevice = \"{device}\"\nqueues = {queues}\naddresses = [{addresses}]\nhost = {}\n\n",
            self.host
        )
    }
}

/// Its configuration, where it is not its own.
const KEEPALIVED: &str = "keepalived.conf";
/// The node of a lab's router.
const ROUTER: &str = "router";

/// Where a node's daemon listens.
#[must_use]
pub fn socket(lab: &Lab, node: &str) -> PathBuf {
    runtime(lab, node).join("control.sock")
}

fn runtime(lab: &Lab, node: &str) -> PathBuf {
    lab.dir.join(if node == ROUTER {
        "run".into()
    } else {
        format!("run-{node}")
    })
}

fn file(lab: &Lab, node: &str, name: &str) -> PathBuf {
    lab.dir.join(if node == ROUTER {
        name.to_owned()
    } else {
        format!("{node}-{name}")
    })
}

/// A node's DPDK instance.
#[must_use]
pub fn prefix(lab: &Lab, node: &str) -> String {
    if node == ROUTER {
        lab.name.clone()
    } else {
        format!("{}{node}", lab.name)
    }
}

/// A program of the workspace: in the directory the environment's `TARPON_PROGRAMS` names, else built beside this test.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("TARPON_PROGRAMS") {
        return PathBuf::from(directory).join(name);
    }
    let test = std::env::current_exe().unwrap_or_default();
    test.parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."))
        .join(name)
}

/// A running `tarpond`.
pub struct Router<'a> {
    lab: &'a Lab,
    node: &'static str,
    child: Child,
    /// Its configuration file, or this machine's half of it.
    pub config: PathBuf,
    log: PathBuf,
    /// The namespace as it was before.
    before: String,
    /// Packet buffers in use before there was traffic: those in the drivers' rings.
    buffers: u64,
}

/// The namespace before a daemon that was killed.
pub struct Killed(String);

impl<'a> Router<'a> {
    /// Starts it and waits until it answers.
    pub fn start(lab: &'a Lab, text: &str) -> Result<Self> {
        Self::start_on(lab, ROUTER, text)
    }

    /// As [`Router::start`], on another node; its file says [`socket`] and [`prefix`].
    pub fn start_on(lab: &'a Lab, node: &'static str, text: &str) -> Result<Self> {
        let before = host_state(lab, node)?;
        let mut router = Self::spawn(lab, node, text, before)?;
        router.await_ready()?;
        Ok(router)
    }

    /// As [`Router::start_on`] where one was killed, which leaves the namespace as the next one is to restore it.
    pub fn start_after(
        lab: &'a Lab,
        node: &'static str,
        text: &str,
        killed: Killed,
    ) -> Result<Self> {
        let mut router = Self::spawn(lab, node, text, killed.0)?;
        router.await_ready()?;
        Ok(router)
    }

    /// As [`Router::start`], with a keepalived.conf as its file and `machine` beside it.
    pub fn start_keepalived(lab: &'a Lab, machine: &str, text: &str) -> Result<Self> {
        fs::write(file(lab, ROUTER, KEEPALIVED), text)?;
        Self::start(lab, machine)
    }

    /// The keepalived.conf it was started with.
    #[must_use]
    pub fn keepalived(&self) -> PathBuf {
        file(self.lab, self.node, KEEPALIVED)
    }

    fn spawn(lab: &'a Lab, node: &'static str, text: &str, before: String) -> Result<Self> {
        let config = file(lab, node, "tarpon.toml");
        fs::write(&config, text)?;
        fs::create_dir_all(runtime(lab, node))?;
        let log = file(lab, node, "tarpond.log");
        let out = File::options().create(true).append(true).open(&log)?;
        let keepalived = file(lab, node, KEEPALIVED);
        let files = if keepalived.exists() {
            format!("{} --machine {}", keepalived.display(), config.display())
        } else {
            config.display().to_string()
        };
        let line = format!("{} --config {files}", program("tarpond").display());
        let child = lab
            .on(node, &line)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("starting tarpond")?;
        Ok(Self {
            lab,
            node,
            child,
            config,
            log,
            before,
            buffers: 0,
        })
    }

    fn await_ready(&mut self) -> Result<()> {
        for _ in 0..300 {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "tarpond ended with {status} instead of running:\n{}",
                    self.log_tail(30)
                );
            }
            if socket(self.lab, self.node).exists() && self.cli("status")?.code == Some(0) {
                self.buffers = self.buffers_in_use()?;
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("tarpond did not answer within 30 s:\n{}", self.log_tail(30));
    }

    /// The lab it routes.
    #[must_use]
    pub const fn lab(&self) -> &'a Lab {
        self.lab
    }

    /// `tarpon` with these arguments, to its end.
    pub fn cli(&self, line: &str) -> Result<run::Ended> {
        run::end(&mut self.command(line), 60)
    }

    /// The command `tarpon` with these arguments.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(program("tarpon"));
        command
            .arg("--socket")
            .arg(socket(self.lab, self.node))
            .args(line.split_whitespace());
        command
    }

    /// `tarpon` with these arguments, which must succeed; what it prints.
    pub fn tarpon(&self, line: &str) -> Result<String> {
        run::text(&mut self.command(line), 60)
    }

    /// `tarpon --json` with these arguments, read as the answer it promises to be.
    pub fn ask<T: DeserializeOwned>(&self, line: &str) -> Result<T> {
        let text = run::text(&mut self.command(&format!("--json {line}")), 60)?;
        serde_json::from_str(&text)
            .with_context(|| format!("`tarpon --json {line}` printed:\n{text}"))
    }

    /// The service on `address`.
    pub fn service(&self, address: &str) -> Result<api::Service> {
        let services: Vec<api::Service> = self.ask("services")?;
        services
            .into_iter()
            .find(|s| matches!(s.key, types::ServiceKey::Address { address: vip, .. } if vip.to_string() == address))
            .with_context(|| format!("`tarpon services` does not list {address}"))
    }

    /// Frames dropped for a reason so far.
    pub fn dropped(&self, reason: &str) -> Result<u64> {
        let counters: api::Counters = self.ask("counters")?;
        counters
            .drops
            .iter()
            .find(|d| d.reason == reason)
            .map(|d| d.count)
            .with_context(|| format!("no drop reason `{reason}`"))
    }

    /// The daemon's process, and its first thread.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a pid")?;
        kill_process(pid, signal)?;
        Ok(())
    }

    /// Kills it without a chance to clean up. What it gives back is for who starts the next one ([`Router::start_after`]).
    pub fn kill(mut self) -> Result<Killed> {
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        let _ = fs::remove_dir_all(Path::new("/var/run/dpdk").join(prefix(self.lab, self.node)));
        Ok(Killed(std::mem::take(&mut self.before)))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        run::tail(&fs::read_to_string(&self.log).unwrap_or_default(), lines)
    }

    /// Kills it without a chance to clean up, and starts it again as it was.
    pub fn kill_and_restart(mut self) -> Result<Self> {
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        let text = fs::read_to_string(&self.config)?;
        let before = std::mem::take(&mut self.before);
        let mut next = Self::spawn(self.lab, self.node, &text, before)?;
        next.await_ready()?;
        Ok(next)
    }

    /// Every frame that entered left, or is held: once the wires are quiet the two sides must be equal.
    pub fn conserves(&self) -> Result<()> {
        let mut last = None;
        let equal = run::until("counters balanced", 5, || {
            let counters: api::Counters = self.ask("counters")?;
            let t = counters.total;
            let holds = t.rx + t.generated + t.from_host == t.tx + t.punted + t.dropped + t.held;
            let reasons: u64 = counters.drops.iter().map(|d| d.count).sum();
            last = Some(t);
            Ok(holds && counters.balanced && reasons == t.dropped)
        });
        equal.with_context(|| {
            format!(
                "rx + generated + from_host = tx + punted + dropped + held does not hold: {last:?}"
            )
        })
    }

    fn buffers_in_use(&self) -> Result<u64> {
        Ok(self.ask::<api::Status>("status")?.memory.buffers_in_use)
    }

    /// Once the wires are quiet as many packet buffers are in use as before: none has leaked.
    fn gave_buffers_back(&self) -> Result<()> {
        // AF_XDP keeps what it has sent until it sends again: at most a ring of 2048 for each of two ports.
        let kept = match fs::read_to_string(&self.config)?.contains("net_af_xdp") {
            true => 2 * 2048,
            false => 0,
        };
        let mut last = 0;
        run::until("packet buffers given back", 15, || {
            last = self.buffers_in_use()?;
            Ok(last <= self.buffers + kept)
        })
        .with_context(|| {
            format!(
                "{last} packet buffers are in use, {} before there was traffic",
                self.buffers
            )
        })
    }

    /// Asks it to end, and checks that it does so in order and leaves nothing.
    pub fn stop(mut self) -> Result<()> {
        self.conserves()?;
        self.gave_buffers_back()?;
        self.signal(Signal::TERM)?;
        let mut status = None;
        run::until("tarpond still runs after SIGTERM", 15, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        let code = status.and_then(|s| s.code());
        ensure!(
            code == Some(0),
            "tarpond ended with {status:?} on SIGTERM:\n{}",
            self.log_tail(30)
        );
        self.left_nothing()
    }

    fn left_nothing(&self) -> Result<()> {
        let mut left = Vec::new();
        let prefix = prefix(self.lab, self.node);
        for entry in fs::read_dir(runtime(self.lab, self.node))?.flatten() {
            // Events are kept for the next daemon.
            if entry.file_name() != "control.sock.events" {
                left.push(entry.path());
            }
        }
        for directory in ["/var/run/dpdk", "/dev/hugepages", "/tmp/dpdk"] {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name == prefix || name.starts_with(&format!("{prefix}map")) {
                    left.push(entry.path());
                }
            }
        }
        ensure!(left.is_empty(), "tarpond left behind {left:?}");
        let after = host_state(self.lab, self.node)?;
        ensure!(
            after == self.before,
            "tarpond left its namespace changed. Before:\n{}\nafter:\n{after}",
            self.before
        );
        Ok(())
    }
}

impl Drop for Router<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A test that failed: it may no longer hear SIGTERM.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(Path::new("/var/run/dpdk").join(prefix(self.lab, self.node)));
    }
}

/// Interfaces, addresses, routes, rules and interface settings of the router's namespace.
fn host_state(lab: &Lab, node: &str) -> Result<String> {
    let mut state = String::new();
    for line in [
        "ip -o link",
        "ip -o addr",
        "ip route show table all",
        "ip -6 route show table all",
        "ip rule",
        "ip -6 rule",
    ] {
        state += &lab.text(node, line, 5)?;
    }
    // What the director silences on its ports' interfaces; "lan" is not always there.
    for interface in ["wan", "lan"] {
        for key in [
            "ipv4.conf.{}.rp_filter",
            "ipv4.conf.{}.arp_ignore",
            "ipv4.conf.{}.forwarding",
            "ipv6.conf.{}.disable_ipv6",
        ] {
            let key = key.replace("{}", interface);
            state += &lab.text(node, &format!("sysctl -e net.{key}"), 5)?;
        }
    }
    Ok(state)
}

/// Makes a lab and a router in it, runs `body`, and holds the router to its promises at the end.
pub fn with_router(setup: &Setup, body: impl FnOnce(&Router<'_>) -> Result<()>) -> Result<()> {
    with_router_in(&[], setup, body)
}

/// As [`with_router`], in a lab made with options of `scripts/lab up`.
pub fn with_router_in(
    options: &[&str],
    setup: &Setup,
    body: impl FnOnce(&Router<'_>) -> Result<()>,
) -> Result<()> {
    let mut options = options.to_vec();
    if setup.one_arm {
        options.push("--one-arm");
    }
    let lab = Lab::up(&options)?;
    let router = Router::start(&lab, &setup.text(&lab))?;
    body(&router).with_context(|| describe(&router))?;
    let description = describe(&router);
    router.stop().context(description)
}

/// What one wants to see when a test failed.
fn describe(router: &Router<'_>) -> String {
    let tables = ["services", "counters"].map(|t| {
        router
            .cli(t)
            .map_or_else(|e| format!("{e:#}"), |e| e.stdout)
    });
    format!(
        "the router at the end:\n{}\n{}\nits log:\n{}\n",
        tables[0],
        tables[1],
        router.log_tail(25)
    )
}
