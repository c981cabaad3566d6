//! Health checks against real servers: nginx is stopped, hangs, comes back; who is asked then, and what the client sees.

use crate::{
    lab::{
        Lab, clients,
        router::{Router, Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Result, bail, ensure};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("health::dead_servers_leave_and_return", dead_servers),
        Case::new("health::traffic_moves_and_returns_slowly", traffic_moves),
        Case::new("health::sorry_server_and_reload", sorry_server),
        Case::new("health::alpha_and_edits", alpha_and_edits),
    ]
}

/// Quick checks: down within 0.3 s to the next check, 0.2 s to its repetition, and 0.4 s for each of a silent server.
const CHECK: &str = "[[service.check]]\ntype = \"http\"\ndelay_loop = 0.3\ntimeout = 0.4\ndelay_before_retry = 0.2\nwarmup = 0.1\n";
const REFUSED: Duration = Duration::from_millis(500);
const SILENT: Duration = Duration::from_millis(500 + 800);
/// What the test itself and a busy machine take on top.
const SLACK: Duration = Duration::from_millis(1500);

fn checked(more: &'static str) -> Service {
    Service {
        more,
        ..Service::http(Method::Masq, Family::Ipv4)
    }
}

fn setup(service: &Service) -> Setup {
    Setup {
        host: true,
        ..Setup::new(service.text())
    }
}

pub fn nginx(lab: &Lab, server: &str, argument: &str) -> Result<()> {
    let files = lab.dir.join(server);
    let files = files.display();
    let line = format!("nginx -e {files}/error.log -p {files} -c {files}/nginx.conf {argument}");
    lab.text(server, &line, 10)?;
    Ok(())
}

/// Sends a signal to a real server's nginx, and waits until KILL or STOP has taken effect: a process that is being killed
/// may still accept connections.
pub fn signal(lab: &Lab, server: &str, name: &str) -> Result<()> {
    let master = fs::read_to_string(lab.dir.join(server).join("nginx.pid"))?;
    let master = master.trim();
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    // The master first: it would replace a worker that ends before it.
    lab.text(server, &format!("kill -{name} {master} {children}"), 5)?;
    let done: &[char] = match name {
        "KILL" => &['Z', 'X'],
        "STOP" => &['T'],
        _ => return Ok(()),
    };
    for pid in children.split_whitespace().chain([master]) {
        run::until("a signal's effect", 10, || {
            Ok(state(pid).is_none_or(|state| done.contains(&state)))
        })?;
    }
    Ok(())
}

/// A process's state as `/proc` gives it (proc_pid_stat(5)), unless it is gone.
fn state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Waits until exactly these servers are up; how long that took.
pub fn until_up(router: &Router<'_>, up: &[&str]) -> Result<Duration> {
    let begun = Instant::now();
    let mut last = String::new();
    while begun.elapsed() < Duration::from_secs(10) {
        let health: Vec<api::ServiceHealth> = router.ask("health")?;
        let servers = health.iter().flat_map(|service| &service.servers);
        let all_asked = servers
            .clone()
            .all(|s| s.checks.iter().all(|c| c.last.is_some()));
        let found: BTreeSet<String> = servers
            .filter(|s| s.up)
            .map(|s| {
                format!(
                    "rs{}",
                    s.address.ip().to_string().chars().last().unwrap_or('?')
                )
            })
            .collect();
        if all_asked && found.iter().map(String::as_str).eq(up.iter().copied()) {
            return Ok(begun.elapsed());
        }
        last = format!("{found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("up are {last}, not {up:?}, after 10 s");
}

/// Who answers `n` requests, none of which may fail.
fn answering(router: &Router<'_>, service: &Service, n: usize) -> Result<BTreeSet<String>> {
    Ok(service.ask(router.lab(), n)?.into_iter().collect())
}

pub fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn dead_servers() -> Result<()> {
    let service = Service {
        weights: &[3, 2, 1],
        scheduler: "wrr",
        ..checked(CHECK)
    };
    with_router(&setup(&service), |router| {
        let lab = router.lab();
        until_up(router, &["rs1", "rs2", "rs3"])?;
        // Killed: refused connections.
        signal(lab, "rs2", "KILL")?;
        let took = until_up(router, &["rs1", "rs3"])?;
        ensure!(
            took < REFUSED + SLACK,
            "a killed server left after {took:?}"
        );
        ensure!(answering(router, &service, 40)? == names(&["rs1", "rs3"]));
        let shown = router.service(&service.address())?;
        let dead = shown
            .servers
            .iter()
            .find(|s| s.address.to_string() == "10.1.0.12:8080");
        let health = dead.and_then(|s| s.health.clone());
        ensure!(
            health.as_ref().is_some_and(
                |h| h.removed && h.reason.as_deref() == Some("http check: connection refused")
            ),
            "{health:?}"
        );
        ensure!(
            !router.tarpon("ipvsadm -Ln")?.contains("10.1.0.12"),
            "ipvsadm lists a dead server"
        );
        // It returns with its weight.
        nginx(lab, "rs2", "")?;
        until_up(router, &["rs1", "rs2", "rs3"])?;
        let answers = service.ask(lab, 36)?;
        let by = clients::shares(&answers);
        ensure!(
            [by.get("rs1"), by.get("rs2"), by.get("rs3")] == [Some(&18), Some(&12), Some(&6)],
            "by weights 3, 2, 1: {by:?}"
        );
        // Hanging: the kernel accepts, nobody answers.
        signal(lab, "rs1", "STOP")?;
        let took = until_up(router, &["rs2", "rs3"])?;
        ensure!(
            took < SILENT + SLACK,
            "a hanging server left after {took:?}"
        );
        ensure!(
            took > Duration::from_millis(600),
            "two timeouts and a pause take longer than {took:?}"
        );
        ensure!(answering(router, &service, 20)? == names(&["rs2", "rs3"]));
        signal(lab, "rs1", "CONT")?;
        until_up(router, &["rs1", "rs2", "rs3"])?;
        Ok(())
    })
}

/// A request, and who answered it.
struct Request {
    begun: Instant,
    by: Option<String>,
}

/// One request after the other until `stop`.
fn requests(lab: &Lab, stop: &AtomicBool) -> Result<Vec<Request>> {
    let one = || -> Result<String> {
        let to = SocketAddr::from(([198, 51, 100, 10], 80));
        let patience = Duration::from_secs(3);
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(answer.lines().last().unwrap_or_default().to_owned())
    };
    lab.inside("client", || {
        let mut all = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let by = one().ok();
            all.push(Request { begun, by });
            thread::sleep(Duration::from_millis(5));
        }
        Ok(all)
    })
}

/// A server dies under load: only requests it was given before it was found out are lost. It comes back with a small share that grows.
fn traffic_moves() -> Result<()> {
    const SLOW: Duration = Duration::from_secs(4);
    const MORE: &str = "slow_start = 4\n[[service.check]]\ntype = \"http\"\ndelay_loop = 0.3\ntimeout = 0.4\ndelay_before_retry = 0.2\nwarmup = 0.1\n";
    let service = Service {
        weights: &[20, 20],
        scheduler: "wrr",
        ..checked(MORE)
    };
    with_router(&setup(&service), |router| {
        let lab = router.lab();
        until_up(router, &["rs1", "rs2"])?;
        let stop = AtomicBool::new(false);
        let (moments, all) = thread::scope(|scope| {
            let client = scope.spawn(|| requests(lab, &stop));
            let course = || -> Result<[Instant; 3]> {
                thread::sleep(Duration::from_secs(1));
                let killed = Instant::now();
                signal(lab, "rs2", "KILL")?;
                until_up(router, &["rs1"])?;
                let out = Instant::now();
                thread::sleep(Duration::from_secs(1));
                nginx(lab, "rs2", "")?;
                until_up(router, &["rs1", "rs2"])?;
                let back = Instant::now();
                thread::sleep(SLOW + Duration::from_secs(3));
                Ok([killed, out, back])
            };
            let moments = course();
            stop.store(true, Ordering::Relaxed);
            let all = client
                .join()
                .map_err(|_| anyhow::anyhow!("the client panicked"))?;
            anyhow::Ok((moments?, all?))
        })?;
        let [killed, out, back] = moments;
        let lost = all.iter().filter(|r| r.by.is_none());
        let stray = lost.clone().filter(|r| r.begun < killed || r.begun > out);
        let (lost, stray) = (lost.count(), stray.count());
        let meanwhile = all
            .iter()
            .filter(|r| r.begun > killed && r.begun < out)
            .count();
        let share = |from: Instant, to: Instant| {
            let of = all.iter().filter(|r| r.begun >= from && r.begun < to);
            let by = of.clone().filter(|r| r.by.as_deref() == Some("rs2"));
            (by.count() as f64) / (of.count().max(1) as f64)
        };
        let first = share(back, back + Duration::from_secs(1));
        let last = share(
            back + SLOW + Duration::from_secs(1),
            back + SLOW + Duration::from_secs(3),
        );
        println!(
            "    {} requests, {lost} of {meanwhile} lost before the dead server was out after {} ms; its share on return {first:.2}, then {last:.2}",
            all.len(),
            (out - killed).as_millis()
        );
        ensure!(
            stray == 0,
            "{stray} requests were lost while all servers in the table lived"
        );
        ensure!(
            share(out, back - Duration::from_millis(900)) == 0.0,
            "the dead server answered"
        );
        ensure!(
            first < 0.35 && (0.4..0.6).contains(&last),
            "shares {first} and {last}"
        );
        Ok(())
    })
}

fn sorry_server() -> Result<()> {
    // rs3 is no server of the service: it is the sorry server.
    let service = Service {
        weights: &[1, 1],
        ..checked(concat!(
            "sorry_server = \"10.1.0.13:8080\"\n",
            "[[service.check]]\ntype = \"http\"\ndelay_loop = 0.3\ntimeout = 0.4\ndelay_before_retry = 0.2\nwarmup = 0.1\n"
        ))
    };
    with_router(&setup(&service), |router| {
        let lab = router.lab();
        until_up(router, &["rs1", "rs2"])?;
        signal(lab, "rs1", "KILL")?;
        until_up(router, &["rs2"])?;
        // Reloads under load: the dead stays dead, nobody loses anything.
        let address = service.address();
        std::thread::scope(|scope| {
            let load = scope.spawn(|| clients::wrk(lab, &address, 8, 2));
            for _ in 0..5 {
                run::text(&mut router.command("reload"), 10)?;
                until_up(router, &["rs2"])?;
                std::thread::sleep(Duration::from_millis(200));
            }
            load.join()
                .map_err(|_| anyhow::anyhow!("the load panicked"))?
        })?;
        ensure!(answering(router, &service, 10)? == names(&["rs2"]));
        signal(lab, "rs2", "KILL")?;
        until_up(router, &[])?;
        ensure!(answering(router, &service, 10)? == names(&["rs3"]));
        ensure!(router.tarpon("health")?.contains("NO QUORUM"));
        nginx(lab, "rs1", "")?;
        nginx(lab, "rs2", "")?;
        until_up(router, &["rs1", "rs2"])?;
        ensure!(answering(router, &service, 10)? == names(&["rs1", "rs2"]));
        Ok(())
    })
}

fn alpha_and_edits() -> Result<()> {
    let service = checked(concat!(
        "on_failure = \"quiesce\"\n",
        "[[service.check]]\ntype = \"tcp\"\nalpha = true\ndelay_loop = 0.3\ntimeout = 0.4\nretry = 0\nwarmup = 2\n"
    ));
    with_router(&setup(&service), |router| {
        let lab = router.lab();
        until_up(router, &["rs1", "rs2", "rs3"])?;
        let edit = |line: &str| router.tarpon(&format!("server edit {} {line}", service.address()));
        // The operator's weight counts when the server is up, whatever came first.
        signal(lab, "rs1", "KILL")?;
        until_up(router, &["rs2", "rs3"])?;
        edit("10.1.0.11:8080 --weight 5")?;
        edit("10.1.0.12:8080 --weight 0")?;
        let weights = || -> Result<Vec<u32>> {
            let shown = router.service(&service.address())?;
            Ok(shown.servers.iter().map(|s| s.weight.0).collect())
        };
        ensure!(weights()? == [0, 0, 1], "{:?}", weights()?);
        ensure!(answering(router, &service, 6)? == names(&["rs3"]));
        nginx(lab, "rs1", "")?;
        until_up(router, &["rs1", "rs2", "rs3"])?;
        run::until("the server has the operator's weight", 2, || {
            Ok(weights()? == [5, 0, 1])
        })
    })
}
