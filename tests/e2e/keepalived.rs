//! A keepalived.conf as the daemon's file, with real servers behind it: the whole way from the file to clients and back, and what the
//! operator is told meanwhile.

use crate::{
    health::{names, signal, until_up},
    lab::{
        Lab,
        router::{Router, Setup},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeSet, fs, thread, time::Duration};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("keepalived::its_file_as_it_is", as_it_is),
        Case::new("keepalived::its_virtual_routers", virtual_routers),
        Case::new("keepalived::a_group_is_checked_once", group),
    ]
}

/// Three servers behind 198.51.100.10:80; whoever may tell, writes into the lab's directory.
fn text(lab: &Lab) -> String {
    let told = lab.dir.join("told");
    let tell = |what: &str| format!("\"/bin/sh -c 'echo {what} >> {}'\" root", told.display());
    let server = |n: usize| {
        format!(
            "    real_server 10.1.0.1{n} 8080 {{\n        weight 1\n        notify_down {}\n        HTTP_GET {{\n            url {{\n                path /\n                status_code 200\n            }}\n            connect_timeout 1\n            retry 1\n            delay_before_retry 1\n        }}\n    }}\n",
            tell(&format!("rs{n} down"))
        )
    };
    format!(
        "global_defs {{\n    router_id LB1\n    script_user root\n    enable_script_security\n    smtp_server 192.0.2.25\n}}\n\
         virtual_server 198.51.100.10 80 {{\n    delay_loop 1\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP\n    warmup 0\n    omega\n    quorum_down {}\n{}{}{}}}\n",
        tell("quorum down"),
        server(1),
        server(2),
        server(3),
    )
}

fn told(lab: &Lab) -> BTreeSet<String> {
    let text = fs::read_to_string(lab.dir.join("told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn as_it_is() -> Result<()> {
    let lab = Lab::up(&[])?;
    let machine = Setup {
        host: true,
        ..Setup::new("")
    };
    let service = Service::http(Method::Masq, Family::Ipv4);
    let its = text(&lab);
    let file = lab.dir.join("its.conf");
    fs::write(&file, &its)?;
    // The original finds nothing wrong with it.
    let original = format!("keepalived -t -f {}", file.display());
    lab.text("router", &original, 20)?;
    let router = Router::start_keepalived(&lab, &machine.text(&lab), &its)?;
    follow(&lab, &router, &service)?;
    router.stop()?;
    // omega: what was up is told to be down when the daemon ends; rs3 was down by then.
    ensure!(
        told(&lab) == names(&["rs1 down", "rs2 down", "rs3 down", "quorum down"]),
        "{:?}",
        told(&lab)
    );
    Ok(())
}

fn follow(lab: &Lab, router: &Router<'_>, service: &Service) -> Result<()> {
    until_up(router, &["rs1", "rs2", "rs3"])?;
    let checked = router.cli(&format!("check {}", router.keepalived().display()))?;
    ensure!(
        checked.code == Some(0)
            && checked.stderr.contains("1 service (")
            && checked
                .stderr
                .contains("keepalived.conf:14:5: mapped: quorum_down"),
        "{}",
        checked.stderr
    );
    let converted = router.tarpon(&format!(
        "convert keepalived {} --machine {}",
        router.keepalived().display(),
        router.config.display()
    ))?;
    // What it prints is a file like any other, and the state in force.
    let file = lab.dir.join("converted.toml");
    fs::write(&file, converted)?;
    let applied = router.tarpon(&format!("check {}", file.display()))?;
    ensure!(
        applied.contains("nothing differs from what runs"),
        "{applied}"
    );

    let seen = lab.dir.join("events");
    let mut events = router
        .command("events --follow")
        .stdout(fs::File::create(&seen)?)
        .spawn()
        .context("tarpon events --follow")?;
    signal(lab, "rs3", "KILL")?;
    until_up(router, &["rs1", "rs2"])?;
    ensure!(service.ask(lab, 10)?.into_iter().collect::<BTreeSet<_>>() == names(&["rs1", "rs2"]));
    let wanted = "tcp 198.51.100.10:80  10.1.0.13:8080  down (http check: connection refused)";
    let heard = run::until(
        wanted,
        5,
        || Ok(fs::read_to_string(&seen)?.contains(wanted)),
    );
    events.kill()?;
    events.wait()?;
    heard.with_context(|| fs::read_to_string(&seen).unwrap_or_default())?;
    run::until("notify_down of rs3 was not run", 5, || {
        Ok(told(lab) == names(&["rs3 down"]))
    })?;

    let differs = router.tarpon("diff")?;
    ensure!(
        differs
            .contains("server 10.1.0.13:8080: out of the table (http check: connection refused)"),
        "{differs}"
    );
    // A changed file is a difference until it is applied; a server that is down stays down meanwhile.
    let other = text(lab).replace("lb_algo rr", "lb_algo wlc");
    fs::write(router.keepalived(), other)?;
    let differs = router.tarpon("diff")?;
    ensure!(differs.contains("scheduler rr -> wlc"), "{differs}");
    router.tarpon("reload")?;
    let differs = router.tarpon("diff")?;
    ensure!(!differs.contains("wlc"), "{differs}");
    ensure!(until_up(router, &["rs1", "rs2"])?.as_millis() < 1000);
    let events = router.tarpon("events")?;
    ensure!(
        events.contains("scheduler rr -> wlc (reload of "),
        "{events}"
    );
    Ok(())
}

/// The virtual address belongs to a virtual router of the same file, on the interface that keepalived would name.
fn virtual_routers() -> Result<()> {
    let lab = Lab::up(&[])?;
    let machine = Setup {
        host: true,
        ..Setup::new("")
    };
    let instance = |name: &str, interface: &str, id: u8, address: &str| {
        format!(
            "vrrp_instance {name} {{\n    state MASTER\n    interface {interface}\n    virtual_router_id {id}\n    priority 150\n    version 3\n    advert_int 0.1\n    virtual_ipaddress {{\n        {address}\n    }}\n}}\n"
        )
    };
    let its = format!(
        "vrrp_sync_group LVS {{\n    group {{\n        OUT\n        IN\n    }}\n}}\n{}{}{}",
        instance("OUT", "wan", 51, "198.51.100.10/24"),
        instance("IN", "lan", 52, "10.1.0.5/24"),
        text(&lab),
    );
    let router = Router::start_keepalived(&lab, &machine.text(&lab), &its)?;
    until_up(&router, &["rs1", "rs2", "rs3"])?;
    run::until("both instances are master", 5, || {
        let routers: Vec<api::Vrrp> = router.ask("vrrp")?;
        Ok(routers.len() == 2 && router.tarpon("vrrp")?.matches("master").count() >= 2)
    })?;
    for server in ["rs1", "rs2", "rs3"] {
        run::text(
            &mut lab.on(server, "ip route replace default via 10.1.0.5"),
            5,
        )?;
    }
    let service = Service::http(Method::Masq, Family::Ipv4);
    ensure!(
        service.ask(&lab, 9)?.into_iter().collect::<BTreeSet<_>>() == names(&["rs1", "rs2", "rs3"])
    );
    router.stop()
}

/// A virtual server group is one virtual server there, with one check of each real server: so many addresses are no more checks here, and
/// the server leaves all of them at once.
fn group() -> Result<()> {
    const MEMBERS: usize = 21;
    let lab = Lab::up(&[])?;
    let machine = Setup {
        host: true,
        ..Setup::new("")
    };
    let f = lab.dir.join("rs1");
    let (log, f) = (f.join("g.access"), f.display());
    let conf = format!("{f}/g.conf");
    fs::write(
        &conf,
        format!(
            "user root;\nworker_processes 1;\npid {f}/g.pid;\nerror_log {f}/g.log;\nevents {{ worker_connections 64; }}\nhttp {{\n\
             access_log {};\nclient_body_temp_path {f}/g; proxy_temp_path {f}/g; fastcgi_temp_path {f}/g; uwsgi_temp_path {f}/g; scgi_temp_path {f}/g;\n\
             server {{ listen 8090; return 200 \"rs1\"; }}\n}}\n",
            log.display()
        ),
    )?;
    lab.text("rs1", &format!("nginx -e {f}/g.log -p {f} -c {conf}"), 10)?;
    let its = "virtual_server_group WEB {\n    198.51.100.20-39 80\n    fwmark 7\n}\n\
         virtual_server group WEB {\n    delay_loop 1\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP\n    warmup 0\n\
         real_server 10.1.0.11 8090 {\n        HTTP_GET {\n            url {\n                path /\n                status_code 200\n            }\n\
         connect_timeout 1\n            retry 0\n        }\n    }\n}\n";
    let router = Router::start_keepalived(&lab, &machine.text(&lab), its)?;
    until_up(&router, &["rs1"])?;
    let requests = || -> Result<usize> { Ok(fs::read_to_string(&log)?.lines().count()) };
    let begun = requests()?;
    thread::sleep(Duration::from_secs(5));
    let asked = requests()? - begun;
    ensure!(
        (3..=8).contains(&asked),
        "{asked} requests in 5 s, one a second, for {MEMBERS} services"
    );
    let pid = fs::read_to_string(lab.dir.join("rs1/g.pid"))?;
    lab.text("rs1", &format!("kill {}", pid.trim()), 5)?;
    let mut down = Vec::new();
    run::until("it is down everywhere", 5, || {
        let text = run::text(&mut router.command("--json events"), 10)?;
        let all = text
            .lines()
            .filter_map(|line| serde_json::from_str::<api::Event>(line).ok());
        down = all
            .filter(|event| event.kind == api::EventKind::ServerDown)
            .map(|event| event.time_ms)
            .collect();
        Ok(down.len() >= MEMBERS)
    })?;
    let between = down.iter().max().zip(down.iter().min());
    let between = between.map_or(0, |(last, first)| last - first);
    ensure!(
        down.len() == MEMBERS && between < 100,
        "{} downs within {between} ms",
        down.len()
    );
    router.stop()
}
