//! `pktgen` on real ports, with a kernel as the device under test: what it says is compared with what others count.

use crate::lab::{
    Lab,
    router::{self, Setup, with_router_in},
    run,
    runner::Case,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Stdio},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("pktgen::through_a_router", through_a_router),
        Case::new("pktgen::through_tarpond", through_tarpond),
        Case::new("pktgen::flood_and_search", flood_and_search),
        Case::new("pktgen::recovery_and_reset", recovery_and_reset),
        Case::new("pktgen::dry_run", dry_run),
    ]
}

/// `pktgen tx` on a node, with the result as JSON.
fn tx(lab: &Lab, node: &str, arguments: &[&str]) -> Result<Value> {
    let program = router::program("pktgen");
    let mut command = lab.on(node, &format!("{} tx --quiet --json -", program.display()));
    command.args(arguments);
    Ok(serde_json::from_str(&run::text(&mut command, 40)?)?)
}

fn number(report: &Value, pointer: &str) -> Result<u64> {
    let value = report.pointer(pointer).and_then(Value::as_u64);
    value.with_context(|| format!("no {pointer} in {report}"))
}

/// rs1 stands on both switches: with forwarding turned on it is a router between pktgen's two ports.
fn through_a_router() -> Result<()> {
    let lab = Lab::up(&[])?;
    lab.text("rs1", "sysctl -qw net.ipv4.ip_forward=1", 5)?;
    let received = "/sys/class/net/wan/statistics/rx_packets";
    let count = || -> Result<u64> {
        Ok(lab
            .text("rs1", &format!("cat {received}"), 5)?
            .trim()
            .parse()?)
    };

    // Nothing is lost, and an independent capture behind the router holds every frame, whole.
    let file = lab.dir.join("pktgen.pcap");
    let line = format!(
        "tshark -q -i lan -f udp -c 2000 -a duration:30 -w {}",
        file.display()
    );
    let mut capture = lab
        .on("rs1", &line)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("tshark")?;
    run::until("tshark captures", 15, || Ok(file.exists()))?;
    let before = count()?;
    let ports = ["--port", "af_packet:wan", "--rx-port", "af_packet:lan"];
    let through = ["--gateway", "198.51.100.21", "--rate", "2000"];
    let flows = "udp 198.51.100.200-198.51.100.209:1024-1033 > 10.1.0.200:80 size imix";
    let report = tx(
        &lab,
        "router",
        &[
            &ports[..],
            &through,
            &["--count", "2000", "--template", flows],
        ]
        .concat(),
    )?;
    ensure!(number(&report, "/sent/packets")? == 2000, "{report}");
    for nothing in [
        "lost",
        "duplicates",
        "reordered",
        "bad_ip_checksum",
        "bad_upper_checksum",
    ] {
        ensure!(
            number(&report, &format!("/measured/{nothing}"))? == 0,
            "{nothing}: {report}"
        );
    }
    // Questions for addresses, ours and the kernel's, come on top.
    let counted = count()? - before;
    ensure!((2000..2040).contains(&counted), "rs1 counted {counted}");
    capture.wait()?;
    ensure!(
        right_frames(&file)? == 2000,
        "tshark read {} right frames",
        right_frames(&file)?
    );
    let slowest = report
        .pointer("/measured/latency_us/max")
        .and_then(Value::as_f64);
    ensure!(slowest.is_some_and(|us| us > 0.0), "{report}");

    // What a filter on the way drops is lost, to the frame.
    lab.text("rs1", "nft add table ip t", 5)?;
    let chain = "nft add chain ip t f { type filter hook forward priority 0 ; }";
    lab.text("rs1", chain, 5)?;
    lab.text("rs1", "nft add rule ip t f udp sport 1030 drop", 5)?;
    let flows = "udp 198.51.100.200:1024-1033 > 10.1.0.200:80";
    let report = tx(
        &lab,
        "router",
        &[
            &ports[..],
            &through,
            &["--count", "1000", "--template", flows],
        ]
        .concat(),
    )?;
    ensure!(number(&report, "/measured/lost")? == 100, "{report}");

    // Echo requests to a kernel come back on the same port, IPv4 and IPv6; its MAC is asked for. Nothing leaves by a port it was not told.
    let others = || lab.text("router", "cat /sys/class/net/lan/statistics/tx_packets", 5);
    let before = others()?;
    for flows in [
        "icmp 198.51.100.200:1-4 > 198.51.100.21",
        "icmp [2001:db8:1::200]:1-4 > [2001:db8:1::21] size 200",
    ] {
        let port = ["--port", "af_packet:wan", "--rate", "1000"];
        let report = tx(
            &lab,
            "router",
            &[&port[..], &["--count", "300", "--template", flows]].concat(),
        )?;
        ensure!(
            number(&report, "/measured/packets")? == 300,
            "{flows}: {report}"
        );
    }
    let now = others()?;
    ensure!(now == before, "lan had sent {before} frames, now {now}");
    Ok(())
}

const NAT: &str = "[[service]]\nprotocol = \"udp\"\naddress = \"198.51.100.10:80\"\nmethod = \"masq\"\n\
[[service.server]]\naddress = \"10.1.0.201:8080\"\n[[service.server]]\naddress = \"10.1.0.202:8080\"\n\n";

/// pktgen plays clients and real servers of a masquerading service, from a node that stands on both switches. A busy machine may lose
/// some frames on the way; what pktgen, the director and the kernel at the servers' end count agrees all the same.
fn through_tarpond() -> Result<()> {
    with_router_in(&["--twin"], &Setup::new(NAT), |router| {
        let arrived = || -> Result<u64> {
            let file = "cat /sys/class/net/lan/statistics/rx_packets";
            Ok(router.lab().text("twin", file, 5)?.trim().parse()?)
        };
        let ports =
            "--port af_packet:wan --rx-port af_packet:lan --rx-address 10.1.0.201-10.1.0.202";
        let flows = "udp 198.51.100.200-198.51.100.209:1024-1043 > 198.51.100.10:80";
        let mut arguments: Vec<&str> = ports.split(' ').collect();
        arguments.extend(["--rate", "500", "--count", "1000", "--template", flows]);
        // The servers are there only while it runs, and the director asks for who is not there once a second: it has found them when
        // what counts begins.
        let mut first: Vec<&str> = ports.split(' ').collect();
        let others = "udp 198.51.100.210:1024-1033 > 198.51.100.10:80";
        first.extend(["--rate", "500", "--count", "1000", "--template", others]);
        tx(router.lab(), "twin", &first)?;
        let served = router.service("198.51.100.10:80")?.traffic;
        let before = arrived()?;
        let report = tx(router.lab(), "twin", &arguments)?;
        let arrived = arrived()? - before;
        ensure!(number(&report, "/sent/packets")? == 1000, "{report}");
        ensure!(
            number(&report, "/measured/bad_upper_checksum")? == 0,
            "{report}"
        );
        let measured = number(&report, "/measured/packets")?;
        let traffic = router.service("198.51.100.10:80")?.traffic;
        let in_packets = traffic.in_packets - served.in_packets;
        let connections = traffic.connections - served.connections;
        // Questions for addresses arrive, too.
        ensure!(
            (800..=1000).contains(&measured)
                && (measured..=in_packets + 10).contains(&arrived)
                && (measured..=1000).contains(&in_packets)
                && (150..=200).contains(&connections),
            "measured {measured}, arrived {arrived}, {traffic:?}"
        );
        Ok(())
    })
}

/// Every fragment of a flood is one the kernel counts; a search ends with what was asked for, as nothing is lost.
fn flood_and_search() -> Result<()> {
    let lab = Lab::up(&[])?;
    lab.text("rs1", "sysctl -qw net.ipv4.ip_forward=1", 5)?;
    let program = router::program("pktgen");
    let pktgen = |line: &str| lab.text("router", &format!("{} {line}", program.display()), 40);
    pktgen("flood frag --quiet --to 198.51.100.21:9 --port af_packet:wan --rate 2k --count 500")?;
    let counted = lab.text("rs1", "nstat -asz IpReasmReqds", 5)?;
    ensure!(
        counted
            .lines()
            .any(|l| l.split_whitespace().eq(["IpReasmReqds", "500", "0.0"])),
        "{counted}"
    );

    let mut command = lab.on(
        "router",
        &format!("{} rfc2544 --quiet --json -", program.display()),
    );
    command.args("--port af_packet:wan --rx-port af_packet:lan --gateway 198.51.100.21".split(' '));
    command.args(
        "--sizes 64,512 --rate 500 --trial 0.4 --drain 0.2 --resolution 20 --repeat 2".split(' '),
    );
    command.args(["--measure", "throughput,latency,loss,back-to-back"]);
    command.args(["--template", "udp 198.51.100.200:1024-1033 > 10.1.0.200:80"]);
    let results: Value = serde_json::from_str(&run::text(&mut command, 60)?)?;
    for (at, size) in [64, 512].into_iter().enumerate() {
        ensure!(
            number(&results, &format!("/{at}/size"))? == size,
            "{results}"
        );
        let rate = results
            .pointer(&format!("/{at}/throughput_pps"))
            .and_then(Value::as_f64);
        ensure!(
            rate.is_some_and(|pps| pps > 100.0 && pps <= 500.0),
            "{results}"
        );
        let latency = results.pointer(&format!("/{at}/latency/0/latency_us/p50"));
        ensure!(
            latency.and_then(Value::as_f64).is_some_and(|us| us > 0.0),
            "{results}"
        );
        let searches = results.pointer(&format!("/{at}/searches/values"));
        ensure!(
            searches
                .and_then(Value::as_array)
                .is_some_and(|all| all.len() == 2),
            "{results}"
        );
    }
    limited(&lab, &program)
}

fn limit(lab: &Lab) -> Result<()> {
    for line in [
        "nft add table ip t",
        "nft add chain ip t f { type filter hook forward priority 0 ; }",
        "nft add rule ip t f udp dport 80 limit rate over 400/second burst 100 packets drop",
    ] {
        lab.text("rs1", line, 5)?;
    }
    Ok(())
}

/// A device that takes 400 frames a second and 100 at once has recovered as soon as it gets half of too much; one whose cable is out for a
/// second and a half is gone for so long.
fn recovery_and_reset() -> Result<()> {
    let lab = Lab::up(&[])?;
    lab.text("rs1", "sysctl -qw net.ipv4.ip_forward=1", 5)?;
    limit(&lab)?;
    let cable = format!("ip netns exec {} ip link set wan", lab.namespace("rs1"));
    let mut command = lab.on(
        "router",
        &format!(
            "{} rfc2544 --quiet --json -",
            router::program("pktgen").display()
        ),
    );
    command.args("--port af_packet:wan --rx-port af_packet:lan --gateway 198.51.100.21".split(' '));
    command.args("--sizes 64,128 --rate 800 --trial 2 --drain 0.3 --settle 0.4".split(' '));
    command.args("--resolution 10 --overload 3 --recover 2 --reset-wait 30".split(' '));
    command.args(["--measure", "throughput,recovery,reset"]);
    let reset = format!("{cable} down && sleep 1.5 && {cable} up");
    command.args(["--reset-command", &reset]);
    command.args(["--template", "udp 198.51.100.200:1024-1033 > 10.1.0.200:80"]);
    let results: Value = serde_json::from_str(&run::text(&mut command, 120)?)?;
    println!("{results}");
    let number = |pointer: &str| {
        let value = results.pointer(pointer).and_then(Value::as_f64);
        value.with_context(|| format!("no {pointer} in {results}"))
    };
    for at in 0..2 {
        // In two seconds 900 frames are let through; in three at a tenth more 1300.
        let rate = number(&format!("/{at}/throughput_pps"))?;
        let run = format!("/{at}/recovery/runs/0");
        let over = number(&format!("{run}/overload_pps"))?;
        let then = number(&format!("{run}/then_pps"))?;
        ensure!(
            rate < 460.0 && over < rate * 1.11 && then < rate * 0.56 && then > over * 0.4,
            "{rate}, {over} and {then} a second: {results}"
        );
        let wanted = 100.0 * (over * 3.0 - 1300.0).max(0.0) / (over * 3.0);
        let lost = number(&format!("{run}/overload_lost_percent"))?;
        ensure!(
            (lost - wanted).abs() < 5.0,
            "{lost} %, not {wanted}: {results}"
        );
        // The limit's burst may be empty when the rate falls, but not for long.
        let seconds = number(&format!("/{at}/recovery/recovery_seconds/median"))?;
        ensure!(seconds < 0.1, "{results}");
    }
    let gone = number("/0/reset_seconds")?;
    ensure!((1.4..8.0).contains(&gone), "{gone} s: {results}");
    let (lost, pps) = (number("/0/reset_lost")?, number("/0/reset_pps")?);
    ensure!(
        lost > pps && lost < pps * (gone + 1.0) * 1.2 + 200.0,
        "{lost} lost in {gone} s at {pps}/s: {results}"
    );
    ensure!(results.pointer("/1/reset_seconds").is_none(), "{results}");
    Ok(())
}

/// A device that takes 400 frames a second and 100 at once: what is lost by load, and the longest burst, are what that makes them.
fn limited(lab: &Lab, program: &Path) -> Result<()> {
    limit(lab)?;
    let mut command = lab.on(
        "router",
        &format!("{} rfc2544 --quiet --json -", program.display()),
    );
    command.args("--port af_packet:wan --rx-port af_packet:lan --gateway 198.51.100.21".split(' '));
    // Between trials the limit's allowance comes back.
    command.args(
        "--sizes 64 --rate 2000 --trial 0.5 --drain 0.1 --settle 0.4 --step 50 --resolution 5"
            .split(' '),
    );
    command.args(["--measure", "loss,back-to-back"]);
    command.args(["--template", "udp 198.51.100.200:1024-1033 > 10.1.0.200:80"]);
    let results: Value = serde_json::from_str(&run::text(&mut command, 60)?)?;
    let number = |pointer: &str| {
        let value = results.pointer(pointer).and_then(Value::as_f64);
        value.with_context(|| format!("no {pointer} in {results}"))
    };
    for (at, percent) in [(0, 100.0), (1, 50.0)] {
        let sent = number(&format!("/0/loss/{at}/sent_pps"))? * 0.5;
        let taken = 100.0 + 400.0 * 0.5;
        let lost = number(&format!("/0/loss/{at}/lost_percent"))?;
        // A busy machine may send less than that.
        let wanted = 100.0 * (sent - taken).max(0.0) / sent;
        ensure!(
            number(&format!("/0/loss/{at}/percent"))? == percent && (lost - wanted).abs() < 8.0,
            "{lost} % lost of {sent} frames, not {wanted}: {results}"
        );
    }
    // What passes while the burst lasts comes on top.
    let burst = number("/0/back_to_back/frames/median")?;
    let longest = 100.0 + 400.0 * burst / number("/0/back_to_back/burst_pps")?;
    ensure!(
        (90.0..longest * 1.15).contains(&burst),
        "{burst} frames back to back, not {longest}: {results}"
    );
    Ok(())
}

/// Frames of a file whose checksums tshark finds right.
fn right_frames(file: &Path) -> Result<usize> {
    let mut tshark = Command::new("tshark");
    for protocol in ["ip", "udp", "tcp"] {
        tshark.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    tshark.args(["-Y", "(ipv6 or ip.checksum.status == 1) and (udp.checksum.status == 1 or tcp.checksum.status == 1)"]);
    let text = run::text(tshark.arg("-r").arg(file), 30)?;
    Ok(text.lines().count())
}

/// No port is opened: what would be sent stands in a file, and tshark finds nothing wrong with it.
fn dry_run() -> Result<()> {
    let file = std::env::temp_dir().join(format!("pktgen-dry-{}.pcap", std::process::id()));
    let mut command = Command::new(router::program("pktgen"));
    command
        .args(["tx", "--dry-run", "--count", "500", "--pcap"])
        .arg(&file);
    for flows in [
        "udp 10.0.0.1-10.0.0.250 > 10.0.1.1:80 size imix order uniform",
        "tcp [2001:db8::/112]:9 > [2001:db8:1::1]:443 size 100-120 vlan 5 weight 2 order zipf",
    ] {
        command.args(["--template", flows]);
    }
    let result = run::text(&mut command, 20).and_then(|_| right_frames(&file));
    std::fs::remove_file(&file)?;
    let right = result?;
    ensure!(right == 500, "{right} of 500 frames are right");
    Ok(())
}
