//! `tarpon explain` and `tarpon trace` against the live daemon: what is foretold is what curl then meets, and asking changes nothing.

use crate::{
    lab::{
        router::{Router, Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Context, Result, ensure};
use std::{thread, time::Duration};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("explain::what_is_foretold_happens", foretold),
        Case::new("explain::live_packets_are_traced", traced),
        Case::new("explain::refusals_say_why", refusals),
    ]
}

const CLIENT: &str = "198.51.100.100";

fn explained(router: &Router<'_>, line: &str) -> Result<api::Explained> {
    router.ask(&format!("explain {line}"))
}

fn foretold() -> Result<()> {
    for method in [Method::Masq, Method::Route] {
        let http = Service::http(method, Family::Ipv4);
        with_router(&Setup::new(http.text()), |router| {
            let lab = router.lab();
            http.ask(lab, 1)?;
            for port in 40_001..40_005 {
                let line = format!("tcp {CLIENT}:{port} > {}", http.address());
                let before: Vec<api::Service> = router.ask("services")?;
                let said = explained(router, &line)?;
                ensure!(same_moment(&said, router, &line)? == said, "another answer");
                let after: Vec<api::Service> = router.ask("services")?;
                ensure!(before == after, "explaining changed {before:?}\n{after:?}");
                let chosen = said.chosen.context("no server was chosen")?;
                let sent = said.sent.first().context("nothing is sent")?;
                ensure!(sent.port == "lan" && said.dropped.is_empty(), "{said:?}");
                let served = http.ask(lab, 1)?;
                let number = chosen.ip().to_string().chars().last();
                ensure!(
                    served.first().and_then(|name| name.chars().last()) == number,
                    "{chosen} was foretold, {served:?} served"
                );
            }
            let text =
                router.tarpon(&format!("explain tcp {CLIENT}:40009 > {}", http.address()))?;
            for word in [
                "by protocol, address and port",
                "10.1.0.12",
                "chosen",
                "sent",
            ] {
                ensure!(text.contains(word), "{word} is not shown:\n{text}");
            }
            connection(router, &http)
        })?;
    }
    Ok(())
}

/// The explanation again, with the moment of the first.
fn same_moment(said: &api::Explained, router: &Router<'_>, line: &str) -> Result<api::Explained> {
    let mut again = explained(router, line)?;
    for (again, first) in again.sent.iter_mut().zip(&said.sent) {
        again.timestamp_ns = first.timestamp_ns;
    }
    Ok(again)
}

/// A connection that stands: the client's next packet, and NAT's reply.
fn connection(router: &Router<'_>, http: &Service) -> Result<()> {
    let text = run::text(&mut router.command("--json connections --limit 1"), 20)?;
    let listed: api::Connection = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    let line = format!("explain --conn tcp {} > {}", listed.client, listed.vip);
    let both: Vec<api::Explained> = router.ask(&line)?;
    let ways = if http.method == Method::Masq { 2 } else { 1 };
    ensure!(both.len() == ways, "{both:?}");
    for one in &both {
        let found = one.connection.as_ref().context("no connection is shown")?;
        ensure!(
            found.server == listed.server && one.sent.len() == 1,
            "{one:?}"
        );
    }
    Ok(())
}

fn traced() -> Result<()> {
    let http = Service::http(Method::Masq, Family::Ipv4);
    with_router(&Setup::new(http.text()), |router| {
        let lab = router.lab();
        http.ask(lab, 1)?;
        thread::scope(|scope| {
            let tracing = scope.spawn(|| {
                let line =
                    "--json trace --seconds 20 --count 2 tcp dst port 80 and host 198.51.100.10";
                run::text(&mut router.command(line), 30)
            });
            thread::sleep(Duration::from_secs(2));
            let served = http.ask(lab, 1)?;
            let text = tracing
                .join()
                .map_err(|_| anyhow::anyhow!("the trace panicked"))??;
            let packets: Vec<api::Traced> = text
                .lines()
                .take(2)
                .map(serde_json::from_str)
                .collect::<Result<_, _>>()
                .with_context(|| text.clone())?;
            let [first, second] = &packets[..] else {
                anyhow::bail!("two packets were asked for:\n{text}");
            };
            let chosen = first
                .explained
                .chosen
                .context("the first makes a connection")?;
            let number = chosen.ip().to_string().chars().last();
            ensure!(
                served.first().and_then(|name| name.chars().last()) == number,
                "{chosen} was chosen, {served:?} served"
            );
            ensure!(first.explained.connection.is_none(), "{first:?}");
            let known = second.explained.connection.as_ref();
            ensure!(known.is_some_and(|c| c.server == chosen), "{second:?}");
            ensure!(second.explained.sent.len() == 1 && second.received.port == "wan");
            // Forwarding goes on when nobody looks any more.
            ensure!(http.ask(lab, 1)?.len() == 1);
            Ok(())
        })
    })
}

fn refusals() -> Result<()> {
    let http = Service::http(Method::Masq, Family::Ipv4);
    with_router(&Setup::new(http.text()), |router| {
        for (line, named) in [
            ("explain tcp 1.1.1.1 > 2.2.2.2:80", "no ADDRESS:PORT"),
            ("explain hello", "PROTOCOL SOURCE > DESTINATION"),
            (
                "explain tcp 198.51.100.7:1 > 198.51.100.10:80 on nowhere",
                "there is no port or VLAN `nowhere`",
            ),
            (
                "explain --conn tcp 198.51.100.7:1 > 198.51.100.10:80",
                "there is no connection",
            ),
            ("trace tcp prot 80", "at character"),
        ] {
            let ended = router.cli(line)?;
            ensure!(
                ended.code == Some(1) && ended.stderr.contains(named),
                "`tarpon {line}`: {:?} {}",
                ended.code,
                ended.stderr
            );
        }
        let nobody = explained(router, "tcp 198.51.100.7:1 > 198.51.100.10:81")?;
        ensure!(
            nobody.service.is_none() && !nobody.dropped.is_empty(),
            "{nobody:?}"
        );
        let icmp = explained(router, "icmp 198.51.100.100 > 198.51.100.10")?;
        ensure!(icmp.sent.len() == 1, "an echo is answered: {icmp:?}");
        Ok(())
    })
}
