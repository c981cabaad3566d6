//! What must not cost the virtual addresses: a flood of more than the director can carry, thousands of checks that get no answer, and a
//! control thread that stands still; all at once. `TARPON_PRESSURE_S` says for how many seconds, else a few.

use crate::{
    lab::{Background, Lab, router, router::Router, run, runner::Case},
    sync::{SYNC, status},
    takeover::{Advertising, NODES, VIP, becomes, file_of},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![Case::new("pressure::no_role_changes", no_role_changes)]
}

/// Servers nobody answers for, in tens of services.
const CHECKS: usize = 5000;
const SERVICES: usize = 10;
/// For so long the control thread stands still; the whole of it where there is time.
const STILL: Duration = Duration::from_secs(10);
/// The interval people have. On cores of its own a worker is never kept waiting; here it shares them with the flood's generator.
const ADVERTISING: Advertising = Advertising {
    interval_ms: 1000,
    preempt: true,
};
/// The least time it all takes.
const SHORT: Duration = Duration::from_secs(10);

fn no_role_changes() -> Result<()> {
    let wanted = std::env::var("TARPON_PRESSURE_S").ok();
    let wanted = wanted.and_then(|s| s.parse().ok()).map(Duration::from_secs);
    let lasts = wanted.unwrap_or(SHORT);
    let lab = Lab::up(&["--twin"])?;
    // SYNs of checks are lost there: each waits for its whole timeout.
    let rules = lab.dir.join("silent.nft");
    fs::write(
        &rules,
        "table ip silent {\nchain in {\ntype filter hook input priority 0\ntcp dport 20000-29999 drop\n}\n}\n",
    )?;
    for server in ["rs1", "rs2"] {
        lab.text(server, &format!("nft -f {}", rules.display()), 5)?;
    }
    let one = Router::start_on(&lab, NODES[0], &with_checks(&lab, 0, 220))?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &with_checks(&lab, 1, 200))?;
    becomes(&two, "backup")?;
    run::until("the twin is not told of connections", 20, || {
        Ok(status(&two)?.told_everything)
    })?;
    let checked = || -> Result<usize> {
        let all: Vec<api::ServiceHealth> = one.ask("health")?;
        let servers = all.iter().flat_map(|s| &s.servers);
        Ok(servers
            .filter(|s| s.checks.iter().any(|c| c.last.is_some()))
            .count())
    };
    run::until("the checks do not run", 60, || Ok(checked()? >= CHECKS))?;
    let before = [takeovers(&one)?, takeovers(&two)?];

    let flood = flood(&lab, lasts)?;
    let still = STILL.min(lasts / 2);
    let stopped = stand_still(&one, still)?;
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    while started.elapsed() < lasts {
        let asked = Instant::now();
        one.tarpon("status")?;
        // It may have been asked while the thread stood still.
        let answered = asked.elapsed().saturating_sub(still);
        slowest = slowest.max(answered);
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(stopped);
    let ports: Vec<api::Port> = one.ask("ports")?;
    println!(
        "{lasts:?} of flood and {CHECKS} silent checks, the control thread still for {still:?}: the control socket answers within \
         {slowest:?}; {}",
        carried(&ports)
    );
    drop(flood);
    for (router, before, state) in [(&one, before[0], "master"), (&two, before[1], "backup")] {
        becomes(router, state)?;
        ensure!(
            takeovers(router)? == before,
            "the role has changed: {}",
            router.log_tail(20)
        );
    }
    ensure!(
        slowest < Duration::from_secs(5),
        "the control socket took {slowest:?}"
    );
    two.kill()?;
    one.stop()
}

fn carried(ports: &[api::Port]) -> String {
    let wan = ports.iter().find(|p| p.name == "wan");
    wan.map_or_else(String::new, |p| format!("wan: {:?}", p.stats))
}

fn takeovers(router: &Router<'_>) -> Result<u64> {
    let all: Vec<api::Vrrp> = router.ask("vrrp")?;
    Ok(all.first().context("no instance")?.takeovers)
}

/// A director's file with services whose servers are checked, and none of which answers.
fn with_checks(lab: &Lab, node: usize, priority: u8) -> String {
    let mut text =
        file_of(lab, node, priority, ADVERTISING).replace("host = false", "host = true") + SYNC;
    for service in 0..SERVICES {
        let _ = write!(
            text,
            "\n[[service]]\nprotocol = \"tcp\"\naddress = \"{VIP}:{}\"\nmethod = \"masq\"\n\
             [[service.check]]\ntype = \"tcp\"\ndelay_loop = 5\ntimeout = 4\nretry = 0\nwarmup = 1\n",
            8000 + service
        );
        for server in 0..CHECKS / SERVICES {
            let number = service * (CHECKS / SERVICES) + server;
            let _ = writeln!(
                text,
                "[[service.server]]\naddress = \"10.1.0.{}:{}\"",
                11 + number % 2,
                20_000 + number / 2
            );
        }
    }
    text
}

/// SYNs to the service, as many as the generator can send.
fn flood(lab: &Lab, lasts: Duration) -> Result<Background> {
    let line = format!(
        "{} flood syn --quiet --to {VIP}:80 --port af_packet:wan --address 198.51.100.77 --gateway 198.51.100.2 --rate 5000000 --seconds {}",
        router::program("pktgen").display(),
        lasts.as_secs() + 5
    );
    lab.start("rs3", &line)
}

/// The first thread of the process stands still for so long, and no other.
fn stand_still(router: &Router<'_>, lasts: Duration) -> Result<Background> {
    const PROGRAM: &str = "\
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
thread = int(sys.argv[1])
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, 0x40000000)
time.sleep(float(sys.argv[2]))
libc.ptrace(DETACH, thread, None, None)
";
    let path = router.lab().dir.join("still.py");
    fs::write(&path, PROGRAM)?;
    let line = format!(
        "python3 {} {} {}",
        path.display(),
        router.pid(),
        lasts.as_secs_f64()
    );
    let background = router.lab().start("client", &line)?;
    let stands = || {
        let stat = fs::read_to_string(format!("/proc/{0}/task/{0}/stat", router.pid()))?;
        Ok(stat.rsplit(") ").next().is_some_and(|s| s.starts_with('t')))
    };
    run::until("the control thread does not stand still", 20, stands)?;
    Ok(background)
}
