//! `pktgen tcp`, `http` and `serve`: connections with a life, through the director and against real stacks. What pktgen says is compared
//! with what the director, nginx and the kernels count.

use crate::lab::{
    Lab, SERVERS,
    router::{self, Setup, with_router_in},
    run,
    runner::Case,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{fs, path::Path};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("connections::nginx_through_tarpond", nginx_through_tarpond),
        Case::new("connections::both_sides_through_tarpond", both_sides),
        Case::new("connections::kernels", kernels),
        Case::new("connections::serve", serve),
        Case::new("connections::dry_run", dry_run),
    ]
}

/// `pktgen` on a node, with the result as JSON.
fn pktgen(lab: &Lab, node: &str, line: &str, template: &str) -> Result<Value> {
    let program = router::program("pktgen");
    let (command, options) = line.split_once(' ').context("a command")?;
    let line = format!("{} {command} --quiet --json - {options}", program.display());
    let mut command = lab.on(node, &line);
    command.args(["--template", template]);
    Ok(serde_json::from_str(&run::text(&mut command, 60)?)?)
}

fn number(report: &Value, pointer: &str) -> Result<u64> {
    let value = report.pointer(pointer).and_then(Value::as_u64);
    value.with_context(|| format!("no {pointer} in {report:#}"))
}

/// None of these happened.
fn nothing(report: &Value, names: &[&str]) -> Result<()> {
    for name in names {
        ensure!(number(report, name)? == 0, "{name}: {report:#}");
    }
    Ok(())
}

/// A counter of the kernel's on a node.
fn kernel(lab: &Lab, node: &str, name: &str) -> Result<u64> {
    let text = lab.text(node, &format!("nstat -asz {name}"), 5)?;
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    let value = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("no {name} in\n{text}"))
}

const NAT: &str = "[[service]]\nprotocol = \"tcp\"\naddress = \"198.51.100.10:80\"\nmethod = \"masq\"\nscheduler = \"rr\"\n";

fn nat(servers: &[&str]) -> Setup {
    let servers = servers
        .iter()
        .map(|server| format!("[[service.server]]\naddress = \"{server}\"\n"));
    Setup::new(NAT.to_owned() + &servers.collect::<String>())
}

/// Every connection and request of pktgen's is one that the director, the kernels and nginx saw, no more and no less.
fn nginx_through_tarpond() -> Result<()> {
    let servers = ["10.1.0.11:8080", "10.1.0.12:8080", "10.1.0.13:8080"];
    with_router_in(&["--twin"], &nat(&servers), |router| {
        let lab = router.lab();
        let opened = || {
            SERVERS
                .iter()
                .map(|node| kernel(lab, node, "TcpPassiveOpens"))
                .sum::<Result<u64>>()
        };
        let logged = || -> Result<(u64, u64)> {
            let mut all = (0, 0);
            for node in SERVERS {
                let log =
                    fs::read_to_string(lab.dir.join(node).join("access.log")).unwrap_or_default();
                // address - - [time zone] "GET / HTTP/1.1" status bytes ...
                for line in log.lines().filter(|l| l.starts_with("198.51.100.2")) {
                    let mut rest = line
                        .rsplit_once("HTTP/1.1\" ")
                        .context("a request")?
                        .1
                        .split_whitespace();
                    ensure!(rest.next() == Some("200"), "{line}");
                    all = (
                        all.0 + 1,
                        all.1 + rest.next().context("bytes")?.parse::<u64>()?,
                    );
                }
            }
            Ok(all)
        };
        let before = opened()?;
        let line = "http --port af_packet:wan --rate 300 --count 600 --requests 4 --expect-bytes 4 --timeout 20 --drain 20";
        let report = pktgen(
            lab,
            "twin",
            line,
            "tcp 198.51.100.200-198.51.100.209 > 198.51.100.10:80",
        )?;
        for (name, count) in [
            ("/clients/opened", 600),
            ("/clients/established", 600),
            ("/clients/closed", 600),
            ("/clients/requests", 2400),
            ("/clients/responses", 2400),
        ] {
            ensure!(number(&report, name)? == count, "{name}: {report:#}");
        }
        nothing(
            &report,
            &[
                "/clients/failed",
                "/clients/wrong",
                "/clients/unfinished",
                "/clients/damaged",
                "/unsent",
            ],
        )?;
        ensure!(
            opened()? - before == 600,
            "the kernels accepted {}",
            opened()? - before
        );
        run::until("nginx has logged all", 10, || Ok(logged()?.0 >= 2400))?;
        // "rs1\n" each.
        ensure!(
            logged()? == (2400, 4 * 2400),
            "nginx logged {:?}",
            logged()?
        );
        let traffic = router.service("198.51.100.10:80")?.traffic;
        ensure!(traffic.connections == 600, "{traffic:?}");
        for time in ["handshake_us", "response_us"] {
            let all = report
                .pointer(&format!("/clients/{time}/histogram"))
                .and_then(Value::as_array);
            let count: u64 = all
                .into_iter()
                .flatten()
                .filter_map(|step| step.get(1)?.as_u64())
                .sum();
            ensure!(
                count == if time == "handshake_us" { 600 } else { 2400 },
                "{time}: {count}"
            );
        }
        Ok(())
    })
}

/// Clients and servers are both pktgen's, from a node that stands on both switches; the content is checked to the byte.
fn both_sides() -> Result<()> {
    with_router_in(
        &["--twin"],
        &nat(&["10.1.0.201:8080", "10.1.0.202:8080"]),
        |router| {
            let ports = "--port af_packet:wan --rx-port af_packet:lan --rx-address 10.1.0.201-10.1.0.202 --listen 8080";
            let line = format!(
                "http {ports} --rate 200 --count 400 --requests 2 --response-bytes 20000 --timeout 20 --drain 20"
            );
            let report = pktgen(
                router.lab(),
                "twin",
                &line,
                "tcp 198.51.100.200-198.51.100.209 > 198.51.100.10:80",
            )?;
            for (name, count) in [
                ("/clients/closed", 400),
                ("/clients/responses", 800),
                ("/servers/accepted", 400),
                ("/servers/requests", 800),
                ("/servers/closed", 400),
            ] {
                ensure!(number(&report, name)? == count, "{name}: {report:#}");
            }
            nothing(
                &report,
                &[
                    "/clients/failed",
                    "/clients/wrong",
                    "/clients/damaged",
                    "/servers/damaged",
                    "/servers/reset",
                ],
            )?;
            let received = number(&report, "/clients/bytes_received")?;
            ensure!(
                received == number(&report, "/servers/bytes_sent")? && received > 800 * 20_000,
                "{report:#}"
            );
            let traffic = router.service("198.51.100.10:80")?.traffic;
            ensure!(traffic.connections == 400, "{traffic:?}");
            Ok(())
        },
    )
}

/// What real kernels refuse or do not answer is told by kind; nothing is ever sent on the interface that was not named.
fn kernels() -> Result<()> {
    let lab = Lab::up(&[])?;
    let sent = || -> Result<String> {
        lab.text("router", "cat /sys/class/net/lan/statistics/tx_packets", 5)
    };
    let before = sent()?;
    let port = "tcp --port af_packet:wan --rate 500 --count 100";
    let resets = kernel(&lab, "rs1", "TcpOutRsts")?;
    let report = pktgen(
        &lab,
        "router",
        port,
        "tcp 198.51.100.200 > 198.51.100.21:81",
    )?;
    ensure!(number(&report, "/clients/refused")? == 100, "{report:#}");
    ensure!(kernel(&lab, "rs1", "TcpOutRsts")? - resets == 100);

    // A thousand handshakes and ends, each counted by the kernel; the second run has the same ports, which the kernel still remembers.
    for close in ["client", "client", "reset"] {
        let before = kernel(&lab, "rs1", "TcpPassiveOpens")?;
        let line = format!(
            "tcp --port af_packet:wan --rate 2000 --count 1000 --timeout 20 --drain 20 --close {close}"
        );
        let report = pktgen(
            &lab,
            "router",
            &line,
            "tcp 198.51.100.200:2000-2999 > 198.51.100.21:80",
        )?;
        let name = if close == "reset" {
            "/clients/closed_by_reset"
        } else {
            "/clients/closed"
        };
        ensure!(number(&report, name)? == 1000, "{report:#}");
        nothing(&report, &["/clients/failed", "/clients/unfinished"])?;
        ensure!(kernel(&lab, "rs1", "TcpPassiveOpens")? - before == 1000);
    }

    // Two workers: the kernel spreads frames over their queues as it likes, and each connection's reach the worker it is of, in order.
    let line = "http --port af_packet:wan --workers 2 --rate 500 --count 600 --requests 2 --timeout 20 --drain 20";
    let template = "tcp 198.51.100.200-198.51.100.209:3000-3099 > 198.51.100.21:80";
    let report = pktgen(&lab, "router", line, template)?;
    ensure!(
        number(&report, "/clients/closed")? == 600
            && number(&report, "/clients/responses")? == 1200
            && number(&report, "/clients/early")? < 12,
        "{report:#}"
    );
    nothing(&report, &["/clients/failed", "/clients/stray"])?;

    // What a filter drops gets no answer, and is asked again.
    lab.text("rs1", "nft add table ip t", 5)?;
    lab.text(
        "rs1",
        "nft add chain ip t f { type filter hook input priority 0 ; }",
        5,
    )?;
    lab.text(
        "rs1",
        "nft add rule ip t f tcp sport 4000-4009 counter drop",
        5,
    )?;
    let line = "tcp --port af_packet:wan --rate 500 --count 100 --timeout 1 --rto 0.4 --drain 5";
    let report = pktgen(
        &lab,
        "router",
        line,
        "tcp 198.51.100.200:4000-4099 > 198.51.100.21:80",
    )?;
    ensure!(
        number(&report, "/clients/timeout_handshake")? == 10,
        "{report:#}"
    );
    ensure!(number(&report, "/clients/closed")? == 90, "{report:#}");
    let rules = lab.text("rs1", "nft list chain ip t f", 5)?;
    let dropped = 10 + number(&report, "/clients/syn_again")?;
    // And the reset that ends each.
    ensure!(
        rules.contains(&format!("packets {}", dropped + 10)),
        "{dropped}: {rules}"
    );

    // A page that is not what it should be.
    let file = lab.dir.join("expected");
    fs::write(&file, "rs2\n")?;
    let line = format!(
        "http --port af_packet:wan --rate 100 --count 20 --max-failed 1 --expect {}",
        file.display()
    );
    let failed = pktgen(
        &lab,
        "router",
        &line,
        "tcp 198.51.100.200:5000-5099 > 198.51.100.21:80",
    );
    ensure!(failed.is_err_and(|e| format!("{e:#}").contains("answered wrong")));
    ensure!(
        sent()? == before,
        "frames on an interface that was not named"
    );
    Ok(())
}

/// Our own server answers curl and wrk.
fn serve() -> Result<()> {
    let lab = Lab::up(&[])?;
    let program = router::program("pktgen");
    let json = lab.dir.join("serve.json");
    let line = format!(
        "{} serve --port af_packet:wan --address 198.51.100.210,198.51.100.211 --response-bytes 300000 --seconds 9 --json {}",
        program.display(),
        json.display()
    );
    let server = lab.start("router", &line)?;
    let curl = "curl -sS --max-time 8 http://198.51.100.210/";
    run::until("it serves", 8, || {
        Ok(lab.on("client", curl).output()?.status.success())
    })?;
    // Three on one connection, and one on another address.
    let text = lab.text(
        "client",
        &format!("{curl}a http://198.51.100.210/b http://198.51.100.210/c http://198.51.100.211/d"),
        10,
    )?;
    ensure!(text.len() == 4 * 300_000, "{} bytes", text.len());
    let (first, rest) = text.split_at(300_000);
    ensure!(
        rest.as_bytes()
            .chunks(300_000)
            .all(|page| page == first.as_bytes())
    );
    let head = lab.text(
        "client",
        "curl -sSI --max-time 5 http://198.51.100.210/",
        10,
    )?;
    ensure!(head.contains("Content-Length: 300000"), "{head}");
    let refused = lab
        .on("client", "curl -sS --max-time 5 http://198.51.100.210:81/")
        .output()?;
    ensure!(refused.status.code() == Some(7), "{refused:?}");
    let wrk = lab.text("client", "wrk -t1 -c10 -d1s http://198.51.100.210/", 10)?;
    ensure!(
        !wrk.contains("Socket errors") && !wrk.contains("Non-2xx"),
        "{wrk}"
    );
    run::until("it ends by itself", 15, || Ok(json.exists()))?;
    drop(server);
    let report: Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    nothing(
        &report,
        &["/servers/malformed", "/servers/damaged", "/servers/timeout"],
    )?;
    ensure!(number(&report, "/servers/requests")? > 6, "{report:#}");
    Ok(())
}

/// What would be sent is TCP and HTTP that tshark has nothing against.
fn dry_run() -> Result<()> {
    let file = std::env::temp_dir().join(format!("pktgen-lives-{}.pcap", std::process::id()));
    let mut command = std::process::Command::new(router::program("pktgen"));
    command.args([
        "http",
        "--dry-run",
        "--count",
        "20",
        "--requests",
        "3",
        "--response-bytes",
        "5000",
        "--rate",
        "100",
    ]);
    command
        .args([
            "--template",
            "tcp [2001:db8::1] > [2001:db8:1::1]:80 vlan 5",
            "--pcap",
        ])
        .arg(&file);
    let result = run::text(&mut command, 20).and_then(|_| {
        Ok((
            count(&file, "http.request")?,
            count(
                &file,
                "http.response.code == 200 and http.content_length == 5000",
            )?,
            count(
                &file,
                "tcp.analysis.flags or tcp.checksum.status == 0 or _ws.malformed",
            )?,
            count(&file, "tcp.flags.fin == 1")?,
        ))
    });
    fs::remove_file(&file)?;
    ensure!(result? == (60, 60, 0, 40));
    Ok(())
}

/// Frames tshark finds by a filter.
fn count(file: &Path, filter: &str) -> Result<usize> {
    let mut tshark = std::process::Command::new("tshark");
    tshark
        .args(["-o", "tcp.check_checksum:TRUE", "-Y", filter, "-r"])
        .arg(file);
    Ok(run::text(&mut tshark, 30)?.lines().count())
}
