//! Changes under load: persistence, draining, reload, and the daemon's own death.

use crate::{
    lab::{
        Lab, clients,
        router::{Router, Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::{fs, thread, time::Duration};

const HTTP: Service = Service::http(Method::Masq, Family::Ipv4);
const PERSISTENT: Service = Service {
    more: "persistent = 60",
    ..HTTP
};
const NETWORK: Service = Service {
    port: 81,
    more: "persistent = 60\nnetmask = \"255.255.255.0\"",
    ..HTTP
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("live::persistence_holds", persistence),
        Case::new("live::draining_under_load_breaks_nothing", draining),
        Case::new(
            "live::reload_every_second_under_load_breaks_nothing",
            reloading,
        ),
        Case::new("live::reload_by_sighup", sighup),
        Case::new("live::sigkill_then_start_again", sigkill),
    ]
}

/// A client stays with its server; clients of one network too, where the netmask says so; others are spread.
fn persistence() -> Result<()> {
    with_router(&Setup::new(PERSISTENT.text() + &NETWORK.text()), |router| {
        let lab = router.lab();
        let mut first = Vec::new();
        for client in 100..104 {
            let from = format!("198.51.100.{client}");
            let answers = clients::who_answers(lab, &PERSISTENT.address(), 100, Some(&from))?;
            let shares = clients::shares(&answers);
            ensure!(
                shares.len() == 1,
                "client .{client} was served by {shares:?}"
            );
            first.extend(answers.into_iter().take(1));
        }
        // New clients go round: newest server first.
        clients::follow(&first, HTTP.cycle())?;
        let mut all = Vec::new();
        for client in 100..104 {
            let from = format!("198.51.100.{client}");
            all.extend(clients::who_answers(
                lab,
                &NETWORK.address(),
                25,
                Some(&from),
            )?);
        }
        let shares = clients::shares(&all);
        ensure!(shares.len() == 1, "one network was served by {shares:?}");
        let templates: u64 = router
            .service(&PERSISTENT.address())?
            .servers
            .iter()
            .map(|s| s.templates)
            .sum();
        ensure!(templates == 4, "four clients, {templates} templates");
        Ok(())
    })
}

/// Load in a thread while `disturb` runs; the load must not notice.
fn under_load(
    lab: &Lab,
    seconds: u32,
    disturb: impl FnOnce() -> Result<()>,
) -> Result<clients::Load> {
    thread::scope(|scope| {
        let load = scope.spawn(|| clients::wrk(lab, &HTTP.address(), 50, seconds));
        // Let its connections be made first.
        thread::sleep(Duration::from_secs(1));
        let disturbed = disturb();
        let load = load
            .join()
            .map_err(|_| anyhow::anyhow!("the load panicked"))?;
        disturbed?;
        load
    })
}

/// A server is drained while it serves: its connections go on, new ones go elsewhere, and at last it is gone.
fn draining() -> Result<()> {
    let dns = Service::dns(Method::Masq, Family::Ipv4);
    let setup = Setup {
        more: "[settings]\nudp_timeout = 2\n\n".into(),
        ..Setup::new(HTTP.text() + &dns.text())
    };
    with_router(&setup, |router| {
        let lab = router.lab();
        // Connections that end soon: the drain waits for them and takes the server away.
        dns.ask(lab, 30)?;
        let drain = format!(
            "server drain {} {} --protocol udp --delete --deadline 15",
            dns.address(),
            dns.server(2)
        );
        router.tarpon(&drain)?;
        let left = router.service(&dns.address())?.servers.len();
        ensure!(left == 2, "after its drain the service has {left} servers");
        let server = HTTP.server(2);
        let service = HTTP.address();
        under_load(lab, 6, || {
            run::text(
                &mut router.command(&format!("server edit {service} {server} --weight 0")),
                20,
            )?;
            let answers = clients::who_answers(lab, &service, 100, None)?;
            let shares = clients::shares(&answers);
            ensure!(
                !shares.contains_key("rs2") && shares.len() == 2,
                "with rs2 at weight 0: {shares:?}"
            );
            let active = active_on(router, &server)?;
            ensure!(
                active > 0,
                "rs2's own connections went away with its weight"
            );
            Ok(())
        })?;
        // Its clients have left, but TIME_WAIT lasts two minutes: the deadline passes first, which is said.
        let drain = router.cli(&format!(
            "server drain {service} {server} --delete --deadline 2"
        ))?;
        ensure!(
            drain.code == Some(1) && drain.stderr.contains("deadline"),
            "a drain with connections left ended with {:?}: {}",
            drain.code,
            drain.stderr
        );
        router.tarpon(&format!("server delete {service} {server}"))?;
        let left = router.service(&service)?.servers.len();
        ensure!(
            left == 2,
            "after its deletion the service has {left} servers"
        );
        let answers = HTTP.ask(lab, 10)?;
        let shares = clients::shares(&answers);
        ensure!(
            shares.get("rs1") == Some(&5) && shares.get("rs3") == Some(&5),
            "without rs2: {shares:?}"
        );
        Ok(())
    })
}

fn active_on(router: &Router<'_>, server: &str) -> Result<u64> {
    router
        .service(&HTTP.address())?
        .servers
        .iter()
        .find(|s| s.address.to_string() == server)
        .map(|s| s.active)
        .context("the server is listed")
}

/// Weights and servers change with every reload, back and forth, once a second under load.
fn reloading() -> Result<()> {
    with_router(&Setup::new(HTTP.text()), |router| {
        let lab = router.lab();
        let original = fs::read_to_string(&router.config)?;
        let other = original
            .replace("weight = 1", "weight = 5")
            .replace("scheduler = \"rr\"", "scheduler = \"wlc\"")
            + &Service { port: 82, ..HTTP }.text();
        ensure!(other != original);
        let load = under_load(lab, 12, || {
            for turn in 0..10 {
                fs::write(
                    &router.config,
                    if turn % 2 == 0 { &other } else { &original },
                )?;
                let applied: api::Applied =
                    router.ask(&format!("apply {}", router.config.display()))?;
                ensure!(
                    !applied.changes.is_empty(),
                    "turn {turn}: the change was not seen"
                );
                thread::sleep(Duration::from_secs(1));
            }
            Ok(())
        })?;
        print!("[{:.0} requests/s] ", load.per_second);
        // Round robin may stand anywhere in its cycle now; the shares are even all the same.
        let answers = HTTP.ask(lab, 9)?;
        let shares = clients::shares(&answers);
        ensure!(
            shares.len() == 3 && shares.values().all(|n| *n == 3),
            "after the reloads: {shares:?}"
        );
        Ok(())
    })
}

fn sighup() -> Result<()> {
    with_router(&Setup::new(HTTP.text()), |router| {
        let original = fs::read_to_string(&router.config)?;
        fs::write(
            &router.config,
            original.clone() + &Service { port: 82, ..HTTP }.text(),
        )?;
        router.signal(Signal::HUP)?;
        run::until("the new service is not there after SIGHUP", 5, || {
            Ok(router.service("198.51.100.10:82").is_ok())
        })?;
        // A broken file changes nothing and does not end the daemon.
        fs::write(&router.config, original.replace("scheduler", "schedular"))?;
        router.signal(Signal::HUP)?;
        run::until("the mistake is not in the log", 5, || {
            Ok(router.log_tail(30).contains("schedular"))
        })?;
        ensure!(
            router.service("198.51.100.10:82").is_ok(),
            "a broken file took a service away"
        );
        clients::follow(&HTTP.ask(router.lab(), 9)?, HTTP.cycle())
    })
}

/// Killed without a chance to clean up, it starts again without manual cleaning, and serves.
fn sigkill() -> Result<()> {
    let lab = Lab::up(&[])?;
    let setup = Setup {
        host: true,
        ..Setup::new(HTTP.text())
    };
    let router = Router::start(&lab, &setup.text(&lab))?;
    clients::follow(&HTTP.ask(&lab, 9)?, HTTP.cycle())?;
    let router = router.kill_and_restart()?;
    clients::follow(&HTTP.ask(&lab, 9)?, HTTP.cycle())?;
    router.stop()
}
