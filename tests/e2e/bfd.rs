//! BFD sessions with FRR's bfdd on the real servers: who is silent, held down, or behind a router that should not be there, is found out.

use crate::{
    health::until_up,
    lab::{
        Background, Lab,
        router::{Router, Setup},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
    takeover::becomes,
    topology::FAR_ROUTES,
};
use anyhow::{Context, Result, ensure};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("bfd::sessions_with_frr", sessions),
        Case::new("bfd::ipv6_and_multihop", other_ways),
        Case::new("bfd::a_virtual_router_tracks_a_session", tracked),
    ]
}

fn directory(lab: &Lab, server: &str) -> PathBuf {
    lab.dir.join(format!("frr-{server}"))
}

/// Starts bfdd on a real server, with these words in `bfd`.
fn bfdd(lab: &Lab, server: &str, words: &str) -> Result<Background> {
    let files = directory(lab, server);
    fs::create_dir_all(&files)?;
    // It gives up being root first, and makes its sockets then.
    fs::set_permissions(&files, fs::Permissions::from_mode(0o777))?;
    fs::write(files.join("bfdd.conf"), format!("bfd\n{words}"))?;
    let files = files.display();
    lab.start(
        server,
        &format!(
            "/usr/lib/frr/bfdd -f {files}/bfdd.conf -i {files}/bfdd.pid --vty_socket {files} --bfdctl {files}/bfdctl -z {files}/zebra -P 0 --log file:{files}/log"
        ),
    )
}

const PEER: &str =
    " peer 10.1.0.1\n  transmit-interval 100\n  receive-interval 100\n  detect-multiplier 5\n !\n";
const CHECK: &str =
    "[[service.check]]\ntype = \"bfd\"\nmin_tx = 0.1\nmin_rx = 0.1\nmultiplier = 5\n";

fn signal(lab: &Lab, server: &str, name: &str) -> Result<()> {
    let pid = fs::read_to_string(directory(lab, server).join("bfdd.pid"))?;
    lab.text(server, &format!("kill -{name} {}", pid.trim()), 5)?;
    Ok(())
}

fn vtysh(lab: &Lab, server: &str, commands: &[&str]) -> Result<String> {
    let files = directory(lab, server);
    let mut command = lab.on(server, &format!("vtysh --vty_socket {}", files.display()));
    for text in commands {
        command.args(["-c", text]);
    }
    run::text(&mut command, 10).with_context(|| format!("vtysh on {server}"))
}

fn until_shown(router: &Router<'_>, text: &str) -> Result<()> {
    let mut last = String::new();
    run::until(text, 10, || {
        last = router.tarpon("health")?;
        Ok(last.contains(text))
    })
    .with_context(|| last.clone())
}

fn setup(service: &Service) -> Setup {
    Setup {
        host: true,
        ..Setup::new(service.text())
    }
}

/// How often a neighbour's session went down.
fn downs(counters: &str) -> Option<u32> {
    let mut lines = counters.lines();
    lines.find_map(|line| {
        line.trim()
            .strip_prefix("Session down events: ")?
            .parse()
            .ok()
    })
}

fn sessions() -> Result<()> {
    let service = Service {
        more: CHECK,
        ..Service::http(Method::Masq, Family::Ipv4)
    };
    let lab = Lab::up(&[])?;
    let _one = bfdd(&lab, "rs1", PEER)?;
    let _two = bfdd(&lab, "rs2", PEER)?;
    let router = Router::start(&lab, &setup(&service).text(&lab))?;
    // rs3 has no such daemon, and nothing else is asked.
    until_up(&router, &["rs1", "rs2"])?;
    until_shown(&router, "failed: nothing heard from the neighbour")?;
    let _three = bfdd(&lab, "rs3", PEER)?;
    until_up(&router, &["rs1", "rs2", "rs3"])?;

    // It hangs: three intervals of silence.
    signal(&lab, "rs1", "STOP")?;
    until_up(&router, &["rs2", "rs3"])?;
    let shown = router.service(&service.address())?;
    let health = shown.servers.iter().find_map(|s| s.health.clone()?.reason);
    ensure!(
        health
            .as_deref()
            .is_some_and(|why| why.starts_with("bfd check: nothing heard for ")),
        "{health:?}"
    );
    signal(&lab, "rs1", "CONT")?;
    until_up(&router, &["rs1", "rs2", "rs3"])?;

    // What has passed a router may come from anywhere (RFC 5881 section 5).
    for line in [
        "nft add table ip t",
        "nft add chain ip t out { type filter hook output priority 0 ; }",
        "nft add rule ip t out udp dport 3784 ip ttl set 254",
    ] {
        lab.text("rs2", line, 5)?;
    }
    until_up(&router, &["rs1", "rs3"])?;
    until_shown(&router, "its time to live was 254")?;
    lab.text("rs2", "nft delete table ip t", 5)?;
    until_up(&router, &["rs1", "rs2", "rs3"])?;

    // Its operator holds one down: as good as dead while nothing else is asked, else no news (RFC 5882 section 3.2).
    let configured = ["configure terminal", "bfd", "peer 10.1.0.1"];
    vtysh(&lab, "rs3", &[&configured[..], &["shutdown"]].concat())?;
    until_up(&router, &["rs1", "rs2"])?;
    let text = fs::read_to_string(&router.config)?;
    let more = text.replace(
        CHECK,
        &format!("{CHECK}[[service.check]]\ntype = \"tcp\"\n"),
    );
    fs::write(&router.config, &more)?;
    router.tarpon("reload")?;
    until_up(&router, &["rs1", "rs2", "rs3"])?;
    until_shown(&router, "holds the session down: other checks decide")?;

    // A reload changes a session without breaking it. One that breaks by itself, on a busy machine, gets another chance.
    let events = || vtysh(&lab, "rs1", &["show bfd peers counters"]).map(|text| downs(&text));
    let kept = |ms: u32| -> Result<bool> {
        let before = events()?;
        let changed = more.replace("min_tx = 0.1", &format!("min_tx = 0.{}", ms / 100));
        fs::write(&router.config, changed)?;
        router.tarpon("reload")?;
        run::until("the neighbour knows the new interval", 10, || {
            let peers = vtysh(&lab, "rs1", &["show bfd peers"])?;
            let remote = peers.split("Remote timers").nth(1).unwrap_or_default();
            Ok(remote.contains(&format!("Transmission interval: {ms}ms")))
        })?;
        Ok(before.is_some() && events()? == before)
    };
    ensure!(
        kept(200)? || kept(300)? || kept(400)?,
        "each reload broke the session"
    );

    // A session that is no longer wanted is ended in order.
    let unwanted = more.replace(CHECK, "");
    fs::write(&router.config, unwanted)?;
    router.tarpon("reload")?;
    run::until("the neighbour is told of the end", 10, || {
        let peers = vtysh(&lab, "rs2", &["show bfd peers"])?;
        Ok(peers.contains("Remote diagnostics: administratively down"))
    })?;
    router.stop()
}

/// A server on the link by IPv6, and one behind a gateway by both.
const OTHERS: &str = "[[service]]
protocol = \"tcp\"
address = \"[2001:db8:1::10]:80\"
method = \"masq\"
[[service.server]]
address = \"[2001:db8:2::11]:8080\"
[[service.server.check]]
type = \"bfd\"
[[service.server]]
address = \"[2001:db8:9::11]:8080\"
[[service.server.check]]
type = \"bfd\"
multihop = true
[[service]]
protocol = \"tcp\"
address = \"198.51.100.10:80\"
method = \"masq\"
[[service.server]]
address = \"10.9.0.11:8080\"
[[service.check]]
type = \"bfd\"
multihop = true
";

fn other_ways() -> Result<()> {
    let setup = Setup {
        host: true,
        more: FAR_ROUTES.into(),
        ..Setup::new(OTHERS)
    };
    let lab = Lab::up(&["--far"])?;
    let _near = bfdd(
        &lab,
        "rs1",
        " peer 2001:db8:2::1 local-address 2001:db8:2::11\n !\n",
    )?;
    let _far = bfdd(
        &lab,
        "far",
        " peer 2001:db8:2::1 multihop local-address 2001:db8:9::11\n !\n peer 10.1.0.1 multihop local-address 10.9.0.11\n !\n",
    )?;
    let router = Router::start(&lab, &setup.text(&lab))?;
    let passed = |wanted: &[&str]| {
        let mut last = Vec::new();
        run::until("sessions are not as wanted", 15, || {
            let health: Vec<api::ServiceHealth> = router.ask("health")?;
            let servers = health.iter().flat_map(|service| &service.servers);
            let passes = |s: &&api::CheckedServer| {
                let mut checks = s.checks.iter();
                checks.any(|c| {
                    c.last
                        .as_ref()
                        .is_some_and(|run| run.outcome == api::CheckOutcome::Passed)
                })
            };
            last = servers
                .filter(passes)
                .map(|s| s.address.ip().to_string())
                .collect();
            Ok(last == wanted)
        })
        .with_context(|| format!("up are {last:?}, not {wanted:?}"))
    };
    passed(&["2001:db8:2::11", "2001:db8:9::11", "10.9.0.11"])?;
    signal(&lab, "far", "STOP")?;
    passed(&["2001:db8:2::11"])?;
    signal(&lab, "far", "CONT")?;
    passed(&["2001:db8:2::11", "2001:db8:9::11", "10.9.0.11"])?;

    // Neighbours learn of a stop at once, near and far.
    router.stop()?;
    for server in ["rs1", "far"] {
        run::until("the neighbour is told of the stop", 10, || {
            let peers = vtysh(&lab, server, &["show bfd peers"])?;
            let told = peers.matches("Remote diagnostics: administratively down");
            Ok(told.count() >= 1)
        })?;
    }
    Ok(())
}

/// The session with a neighbour that FRR keeps decides whether this director wants the addresses.
fn tracked() -> Result<()> {
    let more = "[[vrrp]]\nname = \"public\"\ninterface = \"wan\"\nvirtual_router_id = 10\nvirtual_ipaddress = [\"198.51.100.10\"]\n\
                advert_int = \"100ms\"\ntrack_bfd = [\"edge\"]\n\n\
                [[track_bfd]]\nname = \"edge\"\naddress = \"10.1.0.11\"\nmin_tx = 0.1\nmin_rx = 0.1\nmultiplier = 5\n";
    let setup = Setup {
        host: true,
        more: more.into(),
        ..Setup::new("")
    };
    let lab = Lab::up(&[])?;
    let _one = bfdd(&lab, "rs1", PEER)?;
    let router = Router::start(&lab, &setup.text(&lab))?;
    becomes(&router, "master")?;
    signal(&lab, "rs1", "STOP")?;
    becomes(&router, "fault")?;
    let all: Vec<api::Vrrp> = router.ask("vrrp")?;
    let tracked = all.iter().flat_map(|v| &v.tracked);
    ensure!(
        all.iter()
            .all(|v| v.why.starts_with("bfd edge: nothing heard for "))
            && tracked.into_iter().any(|t| t.kind == "bfd" && t.fault),
        "{all:?}"
    );
    signal(&lab, "rs1", "CONT")?;
    becomes(&router, "master")?;
    // With a weight it counts, and a reload forgets nothing of it.
    let text = fs::read_to_string(&router.config)?;
    fs::write(
        &router.config,
        text.replace("[\"edge\"]", "[\"edge weight -20\"]"),
    )?;
    router.tarpon("reload")?;
    signal(&lab, "rs1", "STOP")?;
    run::until("the session does not count", 10, || {
        let all: Vec<api::Vrrp> = router.ask("vrrp")?;
        Ok(all
            .iter()
            .all(|v| v.priority_now == 80 && v.state == "master"))
    })?;
    signal(&lab, "rs1", "CONT")?;
    router.stop()
}
