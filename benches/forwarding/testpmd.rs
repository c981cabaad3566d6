//! DPDK's own forwarder as the yardstick, started and stopped from its prompt.

use anyhow::{Context, Result, bail, ensure};
use dpdk::MemoryMode;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// `dpdk-testpmd` with two null ports, forwarding only while asked to.
pub struct Testpmd {
    process: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
    name: String,
}

impl Testpmd {
    /// Starts it with its forwarding thread on `core` and the same kind of memory as ours.
    pub fn start(core: usize, memory: &MemoryMode) -> Result<Self> {
        let name = format!("bench-testpmd-{}", std::process::id());
        // Into a pipe it would buffer what it says.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "dpdk-testpmd"]);
        command.args([
            &format!("--lcores=0@0,1@{core}"),
            "--no-pci",
            "--no-telemetry",
            &format!("--file-prefix={name}"),
        ]);
        match memory {
            MemoryMode::Hugepages => command.arg("--in-memory"),
            MemoryMode::Ordinary { .. } => command.args(["--no-huge", "-m", "128"]),
        };
        command.args([
            "--vdev=net_null0,size=64,copy=0",
            "--vdev=net_null1,size=64,copy=0",
            "--",
            "-i",
        ]);
        command.args([
            "--nb-cores=1",
            "--burst=32",
            "--mbcache=256",
            "--total-num-mbufs=16384",
        ]);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("dpdk-testpmd (package dpdk) did not start; --skip-testpmd does without")?;
        let (commands, output) = process
            .stdin
            .take()
            .zip(process.stdout.take())
            .context("no pipes")?;
        Ok(Self {
            process,
            commands,
            lines: read_lines(output),
            name,
        })
    }

    /// Chooses the forwarding mode: "io" or "macswap".
    pub fn set_mode(&mut self, mode: &str) -> Result<()> {
        self.ask(
            &format!("set fwd {mode}"),
            &format!("Set {mode} packet forwarding mode"),
        )
        .map(drop)
    }

    /// Forwards for `window`; clocks of its thread's a packet took.
    pub fn run(&mut self, window: Duration, hz: u64) -> Result<f64> {
        let before = self.cpu_time()?;
        self.say("start")?;
        thread::sleep(window);
        self.say("stop")?;
        self.wait_for("Accumulated forward statistics")?;
        let line = self.wait_for("TX-packets:")?;
        self.wait_for("Done.")?;
        let spent = self.cpu_time()? - before;
        let packets = line
            .split("TX-packets:")
            .nth(1)
            .and_then(|rest| rest.split_ascii_whitespace().next());
        let packets: u64 = packets.context("testpmd counts no packets")?.parse()?;
        ensure!(packets > 0, "testpmd forwarded nothing");
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        Ok(spent.as_secs_f64() * hz as f64 / packets as f64)
    }

    /// CPU time of its forwarding thread.
    fn cpu_time(&self) -> Result<Duration> {
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let task = task?.path();
            let name = fs::read_to_string(task.join("comm"))?;
            if name.starts_with("rte-worker") || name.starts_with("lcore-worker") {
                let times = fs::read_to_string(task.join("schedstat"))?;
                return Ok(Duration::from_nanos(
                    times
                        .split(' ')
                        .next()
                        .context("schedstat is empty")?
                        .parse()?,
                ));
            }
        }
        bail!("testpmd has no worker thread")
    }

    fn say(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}").context("testpmd has gone")
    }

    fn ask(&mut self, command: &str, answer: &str) -> Result<String> {
        self.say(command)?;
        self.wait_for(answer)
    }

    fn wait_for(&mut self, text: &str) -> Result<String> {
        let limit = Duration::from_secs(20);
        loop {
            let line = self
                .lines
                .recv_timeout(limit)
                .with_context(|| format!("testpmd never said `{text}`"))?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }
}

fn read_lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = self.say("quit");
        let _ = self.process.wait();
        // It leaves its run-time directory behind.
        let _ = fs::remove_dir_all(format!("/var/run/dpdk/{}", self.name));
    }
}
