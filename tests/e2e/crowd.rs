//! Thousands of checks: spread over time, none late, next to no processor; and thousands that nobody answers leave the operator a director
//! that can be talked to.

use crate::lab::{
    Lab,
    router::{Router, Setup},
    run,
    runner::Case,
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![Case::new("crowd::five_thousand_checks", five_thousand)]
}

const SERVICES: u32 = 10;
const SERVERS: u32 = 500;
const CHECKS: usize = (SERVICES * SERVERS) as usize;
/// Seconds, so that there are a thousand checks in each.
const DELAY_LOOP: f64 = 5.0;
/// Of what a test machine does beside.
const SLACK: f64 = 2.0;
/// How long an operator waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where all the servers are: behind rs1, which takes each of these addresses for its own.
fn services() -> String {
    let mut text = "[[route]]\nto = \"10.200.0.0/16\"\nvia = \"10.1.0.11\"\n".to_owned();
    for service in 0..SERVICES {
        text += &format!(
            "[[service]]\nprotocol = \"tcp\"\naddress = \"198.51.100.10:{}\"\nmethod = \"masq\"\n\
             [[service.check]]\ntype = \"tcp\"\ndelay_loop = {DELAY_LOOP}\ntimeout = 3\nretry = 1\ndelay_before_retry = 1\n",
            1000 + service
        );
        for server in 0..SERVERS {
            let (high, low) = (service * 2 + server / 250, server % 250 + 1);
            text += &format!("[[service.server]]\naddress = \"10.200.{high}.{low}:7777\"\n");
        }
    }
    text
}

/// When a check of which server came.
type Asked = Vec<(Instant, IpAddr)>;

/// Takes connections, and ends them, until `stop`.
fn serve(lab: &Lab, ready: &AtomicBool, stop: &AtomicBool) -> Result<Asked> {
    lab.inside("rs1", || {
        let listener = TcpListener::bind("0.0.0.0:7777").context("the servers' port")?;
        listener.set_nonblocking(true)?;
        ready.store(true, Ordering::Relaxed);
        let mut asked = Asked::new();
        while !stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => asked.push((Instant::now(), stream.local_addr()?.ip())),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(asked)
    })
}

/// Seconds of processor that the daemon's threads of each name have used.
fn used(pid: u32) -> Result<HashMap<String, f64>> {
    let mut all = HashMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("stat"))?;
        let (head, rest) = stat.rsplit_once(')').context("a name")?;
        let name = head.split_once('(').context("a name")?.1.to_owned();
        let ticks: Vec<f64> = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|n| n.parse().unwrap_or(0.0))
            .collect();
        // USER_HZ is 100 wherever Linux has been asked.
        *all.entry(name).or_insert(0.0) += ticks.iter().sum::<f64>() / 100.0;
    }
    Ok(all)
}

/// The share of a core, in percent, that each thread of a name took in `time`.
fn shares(before: &HashMap<String, f64>, after: &HashMap<String, f64>, time: Duration) -> String {
    let mut all: Vec<(f64, &String)> = after
        .iter()
        .map(|(name, then)| {
            let used = then - before.get(name).copied().unwrap_or(0.0);
            (100.0 * used / time.as_secs_f64(), name)
        })
        .filter(|(share, _)| *share >= 0.05)
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: Vec<String> = all
        .iter()
        .map(|(s, name)| format!("{name} {s:.1} %"))
        .collect();
    all.join(", ")
}

/// An operator's commands, each answered in time; the slowest.
fn usable(router: &Router<'_>) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for line in [
        "status",
        "services",
        "health",
        "events",
        "service add 198.51.100.99:99 --scheduler rr --method masq",
        "service delete 198.51.100.99:99",
    ] {
        let begun = Instant::now();
        router.tarpon(line)?;
        let took = begun.elapsed();
        ensure!(took < PATIENCE, "`{line}` took {took:?}");
        slowest = slowest.max(took);
    }
    Ok(slowest)
}

fn up(router: &Router<'_>) -> Result<usize> {
    let health: Vec<api::ServiceHealth> = router.ask("health")?;
    Ok(health
        .iter()
        .flat_map(|s| &s.servers)
        .filter(|s| s.up)
        .count())
}

fn five_thousand() -> Result<()> {
    let lab = Lab::up(&[])?;
    lab.text("rs1", "ip route add local 10.200.0.0/16 dev lo", 5)?;
    lab.text(
        "rs1",
        "sysctl -qw net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096",
        5,
    )?;
    let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&lab, &ready, &stop));
        let outcome = ask(&lab, &ready).and_then(|(router, begun)| {
            let hurried = thrice(&router, begun)?;
            Ok((router, hurried))
        });
        stop.store(true, Ordering::Relaxed);
        let asked = server
            .join()
            .map_err(|_| anyhow::anyhow!("the servers panicked"))??;
        let (router, until) = outcome?;
        judge(&asked, until)?;
        silent(&lab, &router)?;
        router.stop()
    })
}

fn ask<'l>(lab: &'l Lab, ready: &AtomicBool) -> Result<(Router<'l>, Instant)> {
    run::until("the servers are there", 5, || {
        Ok(ready.load(Ordering::Relaxed))
    })?;
    let setup = Setup {
        host: true,
        ..Setup::new(services())
    };
    let begun = Instant::now();
    Ok((Router::start(lab, &setup.text(lab))?, begun))
}

/// Lets three rounds of checks pass; when they were over.
fn thrice(router: &Router<'_>, begun: Instant) -> Result<Instant> {
    let round = Duration::from_secs_f64(DELAY_LOOP);
    thread::sleep(round);
    let (from, before) = (Instant::now(), used(router.pid())?);
    thread::sleep(round * 2);
    let after = used(router.pid())?;
    let took = from.elapsed();
    println!(
        "    {CHECKS} checks every {DELAY_LOOP} s, for {:.1} s after {:.1} s: {}",
        took.as_secs_f64(),
        (from - begun).as_secs_f64(),
        shares(&before, &after, took)
    );
    let health =
        after.get("health").copied().unwrap_or(0.0) - before.get("health").copied().unwrap_or(0.0);
    ensure!(
        health > 0.0 && health < took.as_secs_f64() * 0.5,
        "the health thread took {health} s"
    );
    let slowest = usable(router)?;
    println!("    the slowest command took {slowest:?}");
    ensure!(up(router)? == CHECKS, "{} of {CHECKS} are up", up(router)?);
    Ok(Instant::now())
}

/// Whole halves of a second.
fn half_seconds(time: Duration) -> usize {
    usize::try_from(time.as_millis() / 500).unwrap_or(usize::MAX - 1)
}

/// Whether checks were spread, and none late.
fn judge(asked: &Asked, until: Instant) -> Result<()> {
    let first = asked.first().context("nobody was asked")?.0;
    let mut bins = vec![0_usize; half_seconds(until - first) + 1];
    let mut of: HashMap<IpAddr, Vec<Instant>> = HashMap::new();
    for (at, server) in asked.iter().filter(|(at, _)| *at < until) {
        if let Some(bin) = bins.get_mut(half_seconds(*at - first)) {
            *bin += 1;
        }
        of.entry(*server).or_default().push(*at);
    }
    ensure!(
        of.len() == CHECKS,
        "{} of {CHECKS} servers were asked",
        of.len()
    );
    let mut late: Vec<f64> = of
        .values()
        .flat_map(|times| times.windows(2))
        .map(|pair| match pair {
            [a, b] => (*b - *a).as_secs_f64() - DELAY_LOOP,
            _ => 0.0,
        })
        .collect();
    late.sort_by(f64::total_cmp);
    let share = |part: usize| {
        late.get((late.len() - 1) * part / 1000)
            .copied()
            .unwrap_or(0.0)
    };
    let most = bins.iter().max().copied().unwrap_or(0);
    println!(
        "    checks in half a second: {most} at most of {} on average; late by {:.3} s (half), {:.3} s (99 %), {:.3} s (all)",
        CHECKS / 10,
        share(500),
        share(990),
        share(1000)
    );
    ensure!(
        most < CHECKS / 10 * 4,
        "{most} checks came in half a second: {bins:?}"
    );
    ensure!(share(990) < SLACK, "checks came {} s late", share(990));
    ensure!(share(0) > -0.1, "checks came {} s early", -share(0));
    Ok(())
}

/// Nobody answers any more: five thousand checks wait for their timeouts.
fn silent(lab: &Lab, router: &Router<'_>) -> Result<()> {
    for line in [
        "nft add table ip t",
        "nft add chain ip t in { type filter hook input priority 0 ; }",
        "nft add rule ip t in tcp dport 7777 drop",
    ] {
        lab.text("rs1", line, 5)?;
    }
    let (from, before) = (Instant::now(), used(router.pid())?);
    let mut slowest = Duration::ZERO;
    run::until("all servers are down", 60, || {
        slowest = slowest.max(usable(router)?);
        Ok(up(router)? == 0)
    })?;
    let took = from.elapsed();
    let shared = shares(&before, &used(router.pid())?, took);
    println!(
        "    all down after {:.1} s, the slowest command took {slowest:?}: {shared}",
        took.as_secs_f64()
    );
    let (from, before) = (Instant::now(), used(router.pid())?);
    while from.elapsed().as_secs_f64() < DELAY_LOOP * 2.0 {
        slowest = slowest.max(usable(router)?);
        thread::sleep(Duration::from_millis(500));
    }
    let shared = shares(&before, &used(router.pid())?, from.elapsed());
    println!("    {CHECKS} silent servers, the slowest command took {slowest:?}: {shared}");
    Ok(())
}
