//! Passive signals: what clients meet brings a slow check forward, and ejects a server that has none.

use crate::{
    health::{names, nginx, signal, until_up},
    lab::{
        Lab, clients,
        router::{Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Result, ensure};
use std::{
    collections::BTreeSet,
    net::TcpStream,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("passive::clients_bring_a_check_forward", brought_forward),
        Case::new("passive::clients_eject_a_server", ejected),
    ]
}

fn setup(service: &Service) -> Setup {
    Setup {
        host: true,
        ..Setup::new(service.text())
    }
}

/// Clients connect, refused or not.
fn connect(lab: &Lab, service: &Service, n: usize) -> Result<usize> {
    let address = service.address();
    lab.inside("client", || {
        let tries = (0..n).map(|_| TcpStream::connect(&address));
        Ok(tries.filter(Result::is_err).count())
    })
}

fn brought_forward() -> Result<()> {
    // By itself the check would find out within half a minute.
    let service = Service {
        more: "suspect_after = 2\n[[service.check]]\ntype = \"tcp\"\ndelay_loop = 30\ntimeout = 0.5\nretry = 3\ndelay_before_retry = 0.3\nwarmup = 0.5\n",
        ..Service::http(Method::Masq, Family::Ipv4)
    };
    with_router(&setup(&service), |router| {
        let lab = router.lab();
        until_up(router, &["rs1", "rs2", "rs3"])?;
        signal(lab, "rs2", "KILL")?;
        ensure!(connect(lab, &service, 6)? == 2, "every third is refused");
        let took = until_up(router, &["rs1", "rs3"])?;
        ensure!(took < Duration::from_secs(4), "found out after {took:?}");
        let events = router.tarpon("events")?;
        ensure!(
            events.contains("suspect (2 attempts to connect in a row failed)"),
            "{events}"
        );
        ensure!(connect(lab, &service, 6)? == 0);
        // Whoever was refused can be told why, by a port of his or any other.
        let flow = format!("tcp 198.51.100.100:40000 > {}", service.address());
        let why = run::text(router.command("why").arg(&flow), 10)?;
        ensure!(
            why.contains("10.1.0.12:8080  out, since")
                && why.contains("refused")
                && why.contains("10.1.0.11:8080  in"),
            "{why}"
        );
        let before = run::text(
            router
                .command("why")
                .args([&flow, "--at", "2026-01-01 00:00"]),
            10,
        )?;
        ensure!(before.contains("10.1.0.12:8080  in"), "{before}");
        Ok(())
    })
}

fn ejected() -> Result<()> {
    let service = Service {
        more: "eject_after = 2\neject_time = 2",
        ..Service::http(Method::Masq, Family::Ipv4)
    };
    with_router(&setup(&service), |router| {
        let lab = router.lab();
        signal(lab, "rs2", "KILL")?;
        ensure!(connect(lab, &service, 6)? == 2, "every third is refused");
        until_up(router, &["rs1", "rs3"])?;
        let begun = Instant::now();
        ensure!(connect(lab, &service, 6)? == 0);
        let health = router.tarpon("services")?;
        ensure!(health.contains("ejected"), "{health}");
        nginx(lab, "rs2", "")?;
        until_up(router, &["rs1", "rs2", "rs3"])?;
        let took = begun.elapsed();
        ensure!(
            (1500..3500).contains(&took.as_millis()),
            "readmitted after {took:?}"
        );
        let who: BTreeSet<String> = clients::who_answers(lab, &service.address(), 6, None)?
            .into_iter()
            .collect();
        ensure!(who == names(&["rs1", "rs2", "rs3"]), "{who:?}");
        Ok(())
    })
}
