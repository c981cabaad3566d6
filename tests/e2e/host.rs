//! The exception path: the host's own stack behind a TAP per port.

use crate::{
    lab::{
        clients,
        router::{Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Result, ensure};

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "host::stack_reaches_out_and_is_reached",
        both_ways,
    )]
}

fn both_ways() -> Result<()> {
    let http = Service::http(Method::Masq, Family::Ipv4);
    let setup = Setup {
        host: true,
        ..Setup::new(http.text())
    };
    with_router(&setup, |router| {
        let lab = router.lab();
        for (node, address) in [
            ("router", "198.51.100.100"),
            ("router", "10.1.0.11"),
            ("router", "2001:db8:1::100"),
            ("router", "2001:db8:2::11"),
            ("client", "198.51.100.1"),
            ("client", "2001:db8:1::1"),
            ("rs1", "10.1.0.1"),
        ] {
            let text = lab.text(node, &format!("ping -c 3 -i 0.2 -W 2 {address}"), 15)?;
            ensure!(text.contains("3 received"), "{node} to {address}:\n{text}");
        }
        // A health check of the host's: out through the TAP to a real server.
        for url in ["http://10.1.0.12/", "http://[2001:db8:2::12]/"] {
            let body = lab.text(
                "router",
                &format!("curl --silent --show-error --fail --max-time 5 {url}"),
                10,
            )?;
            ensure!(body.trim() == "rs2", "{url} answered {body}");
        }
        // The host's own services: in through the TAP.
        let rate = clients::iperf3(lab, "router", "198.51.100.1", 1, "")?;
        ensure!(rate > 0.0);
        // And never a VIP: the host would answer it with resets.
        let text = lab.text("router", "ip addr", 5)?;
        ensure!(
            !text.contains("198.51.100.10"),
            "the host has the VIP:\n{text}"
        );
        clients::follow(&http.ask(lab, 99)?, http.cycle())?;
        // What came from the host is counted as such.
        let counters: api::Counters = router.ask("counters")?;
        ensure!(
            counters.total.from_host > 20 && counters.total.punted > 20,
            "{:?}",
            counters.total
        );
        run::text(&mut router.command("ports"), 5)?;
        Ok(())
    })
}
