//! Real PCI drivers: the router is a QEMU guest with two emulated NICs bound to vfio-pci (`scripts/pci-guest`), the client
//! and the real servers are the lab's.

use crate::{
    lab::{Lab, clients, root, run, runner::Case},
    service::{FAMILIES, Family, METHODS, Method, Service},
};
use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::Command,
    time::Duration,
};

struct Nic {
    name: &'static str,
    /// DPDK's driver.
    driver: &'static str,
    /// Workers and receive queues.
    queues: u16,
    /// The NIC is told by which hash to spread flows over its queues.
    rss: bool,
}

pub fn cases() -> Vec<Case> {
    // QEMU without its eBPF program does virtio's RSS itself and then deadlocks under load, testpmd's ports as well as ours
    // (docs/ports.md): there it serves requests only. The heavy load goes over two queues that the host spreads flows over.
    const NICS: [Nic; 3] = [
        Nic {
            name: "virtio",
            driver: "net_virtio",
            queues: 2,
            rss: false,
        },
        Nic {
            name: "virtio-rss",
            driver: "net_virtio",
            queues: 2,
            rss: true,
        },
        Nic {
            name: "e1000e",
            driver: "net_e1000_em",
            queues: 1,
            rss: false,
        },
    ];
    NICS.into_iter()
        .map(|nic| Case::new(format!("pci::{}", nic.name), move || serve(&nic)))
        .collect()
}

fn services() -> Vec<Service> {
    let both = |method: &Method| FAMILIES.map(|family| Service::http(*method, family));
    METHODS
        .iter()
        .filter(|m| **m != Method::Tunnel)
        .flat_map(both)
        .collect()
}

fn config(nic: &Nic) -> String {
    let mut text = format!(
        "[director]\nname = \"guest\"\nworkers = {}\nsocket = \"/run/control.sock\"\nconnections = 50_000\nconnections6 = 50_000\nhugepages = \"require\"\nmemory_mb = 256\n\n",
        nic.queues
    );
    for (name, address, addresses) in [
        (
            "wan",
            "0000:00:04.0",
            "\"198.51.100.1/24\", \"2001:db8:1::1/64\"",
        ),
        (
            "lan",
            "0000:00:05.0",
            "\"10.1.0.1/24\", \"2001:db8:2::1/64\"",
        ),
    ] {
        text += &format!(
            "[[port]]\nname = \"{name}\"\ndevice = \"{address}\"\naddresses = [{addresses}]\nhost = false\n\n"
        );
    }
    for service in services() {
        text += &service.text();
    }
    text + &Service::iperf3(Method::Masq, Family::Ipv4).text()
}

fn serve(nic: &Nic) -> Result<()> {
    let lab = Lab::up(&[])?;
    let file = lab.dir.join("guest.toml");
    fs::write(&file, config(nic))?;
    let mut boot = Command::new(root().join("scripts/pci-guest"));
    boot.args(["boot", &lab.name, nic.name]).arg(&file);
    run::text(&mut boot, 120)?;
    let console = lab.dir.join("console.log");
    let said = || run::tail(&fs::read_to_string(&console).unwrap_or_default(), 40);
    let outcome = drive(nic, &lab, &console);
    outcome.with_context(|| format!("the guest's console:\n{}\n", said()))
}

fn drive(nic: &Nic, lab: &Lab, console: &std::path::Path) -> Result<()> {
    run::until("the guest is not up", 60, || {
        Ok(fs::read_to_string(console)
            .unwrap_or_default()
            .contains("GUEST UP"))
    })?;
    let mut guest = Guest::connect(lab)?;
    run::until("tarpond in the guest does not answer", 60, || {
        Ok(guest.run("tarpon --socket /run/control.sock status")?.1 == 0)
    })?;
    let status: api::Status = guest.ask("status")?;
    ensure!(
        status.memory.mode == api::MemoryMode::Hugepages,
        "{:?}",
        status.memory
    );
    for service in services() {
        clients::follow(&service.ask(lab, 300)?, service.cycle())
            .with_context(|| service.to_string())?;
    }
    if !nic.rss {
        load(lab)?;
    }

    let ports: Vec<api::Port> = guest.ask("ports")?;
    ensure!(ports.len() == 2, "{ports:?}");
    for port in &ports {
        ensure!(
            port.driver == nic.driver,
            "{} is driven by {}, not {}",
            port.name,
            port.driver,
            nic.driver
        );
        ensure!(
            port.rx_queues == nic.queues,
            "{} has {} receive queues, not {}",
            port.name,
            port.rx_queues,
            nic.queues
        );
        let checksums = port
            .offloads
            .iter()
            .any(|o| o.to_lowercase().contains("checksum") || o.to_lowercase().contains("cksum"));
        ensure!(
            checksums,
            "{} computes no checksum: {:?}",
            port.name,
            port.offloads
        );
        ensure!(
            port.offloads.iter().any(|o| o == "rss") == nic.rss,
            "{} with or without RSS? {:?}",
            port.name,
            port.offloads
        );
    }
    let counters: api::Counters = guest.ask("counters")?;
    let t = counters.total;
    ensure!(
        t.rx + t.generated + t.from_host == t.tx + t.punted + t.dropped + t.held,
        "frames are unaccounted for: {t:?}"
    );
    for worker in &counters.workers {
        ensure!(
            worker.totals.rx > 100,
            "worker {} had no share of the receive queues: {:?}",
            worker.id,
            counters.workers
        );
    }
    let (_, code) = guest.run("kill $(busybox pidof tarpond); for i in 1 2 3 4 5 6 7 8 9 10; do busybox pidof tarpond || exit 0; sleep 1; done; exit 1")?;
    ensure!(code == 0, "tarpond does not end on SIGTERM");
    Ok(())
}

/// A download, many connections at once, and a stream each way.
fn load(lab: &Lab) -> Result<()> {
    let sum = lab.publish("large", 10)?;
    let nat = Service::http(Method::Masq, Family::Ipv4);
    ensure!(
        clients::download(lab, &nat.address(), "large")? == sum,
        "the download differs"
    );
    let load = clients::wrk(lab, &nat.address(), 50, 5)?;
    let up = clients::iperf3(lab, "rs1", &nat.vip(), 3, "")?;
    let down = clients::iperf3(lab, "rs1", &nat.vip(), 3, "-R")?;
    print!(
        "[{:.0} requests/s, {up:.0} Mbit/s up, {down:.0} down, emulated] ",
        load.per_second
    );
    Ok(())
}

/// The guest's shell behind a serial line.
struct Guest(UnixStream);

impl Guest {
    fn connect(lab: &Lab) -> Result<Self> {
        let stream = UnixStream::connect(lab.dir.join("control.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(stream))
    }

    /// Runs a line; its output and exit status.
    fn run(&mut self, line: &str) -> Result<(String, i32)> {
        writeln!(self.0, "{line}")?;
        let (mut text, mut chunk) = (String::new(), [0; 4096]);
        loop {
            let n = self
                .0
                .read(&mut chunk)
                .with_context(|| format!("`{line}` in the guest; so far: {text}"))?;
            if n == 0 {
                bail!("the guest went away during `{line}`: {text}");
            }
            text += &String::from_utf8_lossy(chunk.get(..n).unwrap_or_default());
            if let Some((output, code)) =
                text.strip_suffix(">>\n").and_then(|t| t.rsplit_once("<<"))
            {
                return Ok((output.to_owned(), code.parse()?));
            }
        }
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &str) -> Result<T> {
        let (text, _) = self.run(&format!(
            "tarpon --socket /run/control.sock --json {command} 2>/dev/null"
        ))?;
        serde_json::from_str(&text)
            .with_context(|| format!("`tarpon --json {command}` in the guest printed:\n{text}"))
    }
}
