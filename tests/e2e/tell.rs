//! Who is told of changes: the FIFO that users of keepalived read, a file of JSON lines, and people by mail.

use crate::{
    health::{nginx, signal, until_up},
    lab::{
        Lab,
        router::{Router, Setup},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Result, ensure};
use std::{fs, process::Command};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("tell::servers_quorum_and_routers", told),
        Case::new("tell::programs_of_virtual_routers", programs),
    ]
}

const ROUTERS: &str = "\
[[vrrp]]
name = 'public'
interface = 'wan'
virtual_router_id = 10
virtual_ipaddress = ['198.51.100.10']
advert_int = '100ms'
priority = 150
sync_group = 'both'
[[vrrp]]
name = 'private'
interface = 'lan'
virtual_router_id = 11
virtual_ipaddress = ['10.1.0.9']
advert_int = '100ms'
priority = 150
sync_group = 'both'
";

const SERVICE: Service = Service {
    weights: &[1, 1],
    more: "quorum = 2\n[[service.check]]\ntype = \"tcp\"\ndelay_loop = 0.3\ntimeout = 2\nretry = 1\ndelay_before_retry = 0.1\nwarmup = 0.1\n\
           [[service.check]]\ntype = \"http\"\ndelay_loop = 0.3\ntimeout = 2\nretry = 1\ndelay_before_retry = 0.1\nwarmup = 0.1\n",
    ..Service::http(Method::Masq, Family::Ipv4)
};

fn told() -> Result<()> {
    let lab = Lab::up(&[])?;
    let place = |name: &str| lab.dir.join(name).display().to_string();
    let (fifo, file, got) = (place("notify"), place("events.json"), place("got"));
    let (read, script, noted) = (place("read"), place("reader.sh"), place("noted"));
    fs::write(
        &script,
        format!("#!/bin/sh\n{{ id -un; echo $1; cat \"$2\"; }} >{noted}\n"),
    )?;
    fs::write(&noted, "")?;
    run::text(Command::new("chmod").args(["0777", &script, &noted]), 5)?;
    let tables = format!(
        "{ROUTERS}[[notify]]\nfifo = '{fifo}'\nformat = 'keepalived'\n[[notify]]\nfile = '{file}'\nmode = '0644'\n\
         [[notify]]\nfifo = '{read}'\nevents = ['services']\nformat = 'keepalived'\nreader = ['{script}', '-v']\nreader_user = 'nobody'\n\
         [mail]\nsmtp_server = '127.0.0.1:2525'\nfrom = 'lvs@lab.example'\nto = ['a@lab.example', 'b@lab.example']\ninterval = 1\nconnect_timeout = 5\n"
    );
    let setup = Setup {
        host: true,
        more: tables,
        ..Setup::new(SERVICE.text())
    };
    let mails = place("mails");
    let script = place("mail.sh");
    let line = "exec python3 -u -W ignore -m smtpd -n -c DebuggingServer 127.0.0.1:2525";
    fs::write(&script, format!("{line} > {mails} 2>&1\n"))?;
    let _server = lab.start("router", &format!("sh {script}"))?;
    let router = Router::start(&lab, &setup.text(&lab))?;
    run::until("the director is master", 10, || {
        let all: Vec<api::Vrrp> = router.ask("vrrp")?;
        Ok(all.iter().all(|v| v.state == "master"))
    })?;
    until_up(&router, &["rs1", "rs2"])?;
    // Nobody reads yet: what happens meanwhile is kept for who does.
    signal(&lab, "rs2", "KILL")?;
    until_up(&router, &["rs1"])?;
    let reader = lab.start(
        "router",
        &format!("dd bs=4096 if={fifo} of={got} status=none"),
    )?;
    let after = |text: &str| {
        let read = || Ok(fs::read_to_string(&got).is_ok_and(|all| all.contains(text)));
        run::until(text, 5, read)
    };
    after("VS [198.51.100.10]:tcp:80 DOWN\n")?;
    // The reader goes, and another comes.
    drop(reader);
    nginx(&lab, "rs2", "")?;
    until_up(&router, &["rs1", "rs2"])?;
    let more = format!("dd bs=4096 if={fifo} of={got} oflag=append conv=notrunc status=none");
    let _reader = lab.start("router", &more)?;
    after("VS [198.51.100.10]:tcp:80 UP\n")?;
    let mailed = |what: &str| {
        run::until(what, 10, || {
            Ok(fs::read_to_string(&mails).is_ok_and(|all| all.contains(what)))
        })
    };
    mailed("server 10.1.0.12:8080 of tcp 198.51.100.10:80 is down")?;
    mailed("virtual router public is master")?;
    mailed("server 10.1.0.12:8080 of tcp 198.51.100.10:80 is up")?;
    let status: api::Status = router.ask("status")?;
    let counts = status.mail.unwrap_or_default();
    ensure!(counts.sent > 0 && counts.given_up == 0, "{counts:?}");
    router.stop()?;
    // What happens at the very end is mailed, too.
    mailed("sync group both is stopped")?;
    mailed("To: a@lab.example, b@lab.example")?;
    after("GROUP \"both\" STOP 0\n")?;

    let noted = fs::read_to_string(&noted)?;
    let mut own = noted.lines();
    ensure!(
        own.next() == Some("nobody") && own.next() == Some("-v"),
        "{noted}"
    );
    let services = [
        "VS [198.51.100.10]:tcp:80 UP",
        "RS [10.1.0.12]:tcp:8080 [198.51.100.10]:tcp:80 DOWN",
        "VS [198.51.100.10]:tcp:80 DOWN",
    ];
    for line in services {
        ensure!(
            own.any(|other| other == line),
            "the reader has no {line:?} at its place in\n{noted}"
        );
    }
    let all = fs::read_to_string(&got)?;
    let lines: Vec<&str> = all.lines().collect();
    let expected = [
        "INSTANCE \"public\" BACKUP 150",
        "INSTANCE \"private\" BACKUP 150",
        "GROUP \"both\" BACKUP 0",
        "INSTANCE \"public\" MASTER 150",
        "INSTANCE \"private\" MASTER 150",
        "GROUP \"both\" MASTER 0",
        "RS [10.1.0.12]:tcp:8080 [198.51.100.10]:tcp:80 DOWN",
        "VS [198.51.100.10]:tcp:80 DOWN",
        "RS [10.1.0.12]:tcp:8080 [198.51.100.10]:tcp:80 UP",
        "VS [198.51.100.10]:tcp:80 UP",
        "INSTANCE \"public\" STOP 150",
        "INSTANCE \"private\" STOP 150",
        "GROUP \"both\" STOP 0",
    ];
    // A busy machine may have lost a check more, and have told of it.
    let mut rest = lines.iter();
    for line in expected {
        ensure!(
            rest.any(|other| *other == line),
            "no {line:?} at its place in\n{all}"
        );
    }
    ensure!(
        !lab.dir.join("notify").exists(),
        "the FIFO goes with its maker"
    );
    let events: Vec<api::Event> = fs::read_to_string(&file)?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let numbers = events.iter().map(|event| event.number);
    ensure!(
        numbers.eq(1..=events.len() as u64),
        "none is missing: {events:?}"
    );
    let kinds: Vec<String> = events.iter().map(|e| format!("{:?}", e.kind)).collect();
    for kind in [
        "Started",
        "VrrpMaster",
        "ServerDown",
        "QuorumLost",
        "VrrpStopped",
    ] {
        ensure!(kinds.iter().any(|k| k == kind), "{kind} of {kinds:?}");
    }
    Ok(())
}

/// Programs of an instance and of its group: run when the state changes, with the arguments keepalived gives, by who is named.
fn programs() -> Result<()> {
    let lab = Lab::up(&[])?;
    let place = |name: &str| lab.dir.join(name).display().to_string();
    let (script, noted) = (place("changed.sh"), place("changed"));
    fs::write(
        &script,
        format!("#!/bin/sh\necho \"$(id -un) $*\" >>{noted}\n"),
    )?;
    fs::write(&noted, "")?;
    run::text(Command::new("chmod").args(["0777", &script, &noted]), 5)?;
    let tables = format!(
        "{ROUTERS}[[vrrp_notify]]\nrouter = 'public'\nnotify_master = ['{script}', 'now master']\nnotify_backup = ['{script}', 'now backup']\n\
         notify_fault = ['{script}', 'now in fault']\nnotify_stop = ['{script}', 'at the end']\nnotify = ['{script}', 'of one']\n\
         [[vrrp_notify]]\nrouter = 'both'\nuser = 'root'\nnotify = ['{script}', 'of all']\n"
    );
    let setup = Setup {
        host: true,
        more: tables,
        ..Setup::new(SERVICE.text())
    };
    let router = Router::start(&lab, &setup.text(&lab))?;
    let has = |line: &str| {
        run::until(&format!("{line:?} is not said"), 10, || {
            Ok(fs::read_to_string(&noted)?.lines().any(|l| l == line))
        })
    };
    let all = |own: &str, state: &str| -> Result<()> {
        has(&format!("nobody {own}"))?;
        has(&format!("nobody of one INSTANCE public {state} 150"))?;
        has(&format!("root of all GROUP both {state} 0"))
    };
    all("now backup", "BACKUP")?;
    all("now master", "MASTER")?;
    lab.text("lan", "ip link set router-lan down", 5)?;
    all("now in fault", "FAULT")?;
    lab.text("lan", "ip link set router-lan up", 5)?;
    run::until(
        "it is backup and master again, and that is said",
        10,
        || Ok(fs::read_to_string(&noted)?.lines().count() == 15),
    )?;
    router.stop()?;
    all("at the end", "STOP")?;
    let said = fs::read_to_string(&noted)?;
    let states = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP"];
    let told = said
        .lines()
        .filter_map(|line| line.strip_prefix("nobody of one INSTANCE public "));
    ensure!(
        told.eq(states.map(|state| format!("{state} 150"))) && said.lines().count() == 18,
        "{said}"
    );
    Ok(())
}
