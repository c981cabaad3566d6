//! `pktgen rfc9693` and `soak`: what is found of a device whose figures are known is what they are.

use crate::lab::{
    Lab,
    router::{self, Setup, with_router_in},
    run,
    runner::Case,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{fs, path::Path};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("nat_bench::linux_gateway", linux_gateway),
        Case::new("nat_bench::through_tarpond", through_tarpond),
        Case::new("nat_bench::soak", soak),
    ]
}

fn number(report: &Value, pointer: &str) -> Result<f64> {
    let value = report.pointer(pointer).and_then(Value::as_f64);
    value.with_context(|| format!("no {pointer} in {report:#}"))
}

/// `pktgen` on the twin with these arguments and what else must be one argument.
fn pktgen(lab: &Lab, line: &str, whole: &[&str]) -> Result<Value> {
    let line = format!("{} {line}", router::program("pktgen").display());
    let mut command = lab.on("twin", &line);
    command.args(whole);
    Ok(serde_json::from_str(&run::text(&mut command, 120)?)?)
}

/// Empties the kernel's table of connections (ctnetlink's delete without a tuple), as `conntrack -F` does.
const FLUSH: &str = "import socket, struct\n\
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\n\
s.send(struct.pack('=IHHIIBBH', 20, 1 << 8 | 2, 5, 1, 0, 2, 0, 0))\n\
assert struct.unpack('=i', s.recv(4096)[16:20])[0] == 0\n";

/// A Linux NAT gateway that takes 600 connections and not one more.
fn linux_gateway() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    for line in [
        "sysctl -qw net.ipv4.ip_forward=1",
        // Answers to a masqueraded address are not the servers' own.
        "ip rule del from 10.1.0.0/24 table 100",
        "nft add table ip t",
        "nft add chain ip t n { type nat hook postrouting priority 100 ; }",
        "nft add rule ip t n oifname lan masquerade",
        "nft add chain ip t f { type filter hook forward priority 0 ; }",
        "nft add rule ip t f ct state new counter",
        "nft add rule ip t f ct state new ct count over 600 drop",
    ] {
        lab.text("rs1", line, 5)?;
    }
    let flush = lab.dir.join("flush.py");
    fs::write(&flush, FLUSH)?;
    let empty = format!(
        "ip netns exec {} python3 {}",
        lab.namespace("rs1"),
        flush.display()
    );
    let plot = lab.dir.join("plot.svg");
    let line = format!(
        "rfc9693 --quiet --json - --port af_packet:wan --rx-port af_packet:lan --gateway 198.51.100.21 --rx-address 10.1.0.200 \
         --connections 300 --rate 2k --fill-rate 2k --drain 0.4 --tolerate 0.4 --resolution 5 --measure rate,teardown,capacity --plot {}",
        plot.display()
    );
    let template = "udp 198.51.100.200:1024-41023 > 10.1.0.200:1-100";
    let results = pktgen(&lab, &line, &["--template", template, "--empty", &empty])?;
    // A busy machine may lose a packet or two, but never makes a gateway keep more than it takes.
    ensure!(number(&results, "/validated")? >= 298.0, "{results:#}");
    let (kept, not_kept) = (
        number(&results, "/capacity/kept")?,
        number(&results, "/capacity/not_kept")?,
    );
    ensure!(
        (540.0..=602.0).contains(&kept) && (600.0..=640.0).contains(&not_kept),
        "{results:#}"
    );
    let rate = number(&results, "/establishment/rate")?;
    ensure!((200.0..=2000.0).contains(&rate), "{results:#}");
    ensure!(
        number(&results, "/teardown/full_seconds")? > 0.0,
        "{results:#}"
    );
    // Each packet of phase 1 made a connection the kernel had not seen.
    let rules = lab.text("rs1", "nft list chain ip t f", 5)?;
    let counted = rules.lines().find_map(|l| {
        l.split_once("counter packets ")?
            .1
            .split_once(' ')?
            .0
            .parse::<f64>()
            .ok()
    });
    let opened = number(&results, "/opened")?;
    ensure!(
        counted.is_some_and(|n| (opened - 5.0..=opened).contains(&n)),
        "opened {opened}, counted {counted:?}: {rules}"
    );
    is_svg(&plot)
}

fn is_svg(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path)?;
    ensure!(
        text.starts_with("<svg") && text.contains("<circle"),
        "{} is no plot",
        path.display()
    );
    Ok(())
}

const NAT: &str = "[[service]]\nprotocol = \"udp\"\naddress = \"198.51.100.10:53\"\nmethod = \"masq\"\n\
[[service.server]]\naddress = \"10.1.0.201:53\"\n[[service.server]]\naddress = \"10.1.0.202:53\"\n\n";

/// The director itself: as many connections as it counts.
fn through_tarpond() -> Result<()> {
    with_router_in(&["--twin"], &Setup::new(NAT), |router| {
        let line = "rfc9693 --quiet --json - --port af_packet:wan --rx-port af_packet:lan --rx-address 10.1.0.201-10.1.0.202 \
            --connections 400,200 --validate-at 30 --rate 1k --trial 0.5 --drain 0.8 --tolerate 1 --resolution 20 --measure rate,throughput,latency";
        let template = "udp 198.51.100.200-198.51.100.203 > 198.51.100.10:53";
        let results = pktgen(router.lab(), line, &["--template", template])?;
        ensure!(number(&results, "/validated")? >= 396.0, "{results:#}");
        ensure!(number(&results, "/throughput/rate")? > 100.0, "{results:#}");
        ensure!(
            number(&results, "/more/0/connections")? == 200.0
                && number(&results, "/more/0/validated")? >= 198.0
                && number(&results, "/more/0/throughput/rate")? > 100.0,
            "{results:#}"
        );
        for at in ["/latency/0", "/latency/1"] {
            let us = number(&results, &format!("{at}/latency_us/p50"))?;
            let variation = number(&results, &format!("{at}/delay_variation_us"))?;
            ensure!(us > 0.0 && variation > 0.0, "{results:#}");
        }
        let (opened, counted) = (
            number(&results, "/opened")?,
            router.service("198.51.100.10:53")?.traffic.connections,
        );
        let counted = f64::from(u32::try_from(counted)?);
        ensure!(
            (opened * 0.99 - 1.0..=opened).contains(&counted),
            "opened {opened}, the director counts {counted}"
        );
        Ok(())
    })
}

/// A long run in short: reports while it runs, and a verdict by what was lost.
fn soak() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    lab.text("rs1", "sysctl -qw net.ipv4.ip_forward=1", 5)?;
    let log = lab.dir.join("soak.jsonl");
    let soak = || -> Result<Value> {
        let line = format!(
            "soak --quiet --json - --port af_packet:wan --rx-port af_packet:lan --gateway 198.51.100.21 --rate 500 --seconds 2 --every 0.5 \
             --max-loss 5 --log {}",
            log.display()
        );
        pktgen(
            &lab,
            &line,
            &["--template", "udp 198.51.100.200:1024-1033 > 10.1.0.200:80"],
        )
    };
    let report = soak()?;
    let lines: Vec<Value> = fs::read_to_string(&log)?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!((3..=5).contains(&lines.len()), "{} reports", lines.len());
    let sent: Vec<f64> = lines
        .iter()
        .map(|line| number(line, "/sent"))
        .collect::<Result<_>>()?;
    ensure!(
        sent.is_sorted() && *sent.last().context("a report")? <= number(&report, "/sent/packets")?,
        "{sent:?}"
    );
    lab.text("rs1", "nft add table ip t", 5)?;
    lab.text(
        "rs1",
        "nft add chain ip t f { type filter hook forward priority 0 ; }",
        5,
    )?;
    lab.text("rs1", "nft add rule ip t f udp sport 1030 drop", 5)?;
    let told = soak()
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        told.contains("of the frames were lost; --max-loss 5"),
        "{told}"
    );
    Ok(())
}
