//! Checks of the virtual address on each real server, under direct routing and tunnelling: what is wrong with one server's virtual address is
//! found out, though the server itself is well.

use crate::{
    health::{names, until_up},
    lab::{
        Lab,
        router::{Router, Setup, with_router},
        runner::Case,
    },
    service::{Family, Method, Service, decapsulate},
};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in [Method::Route, Method::Tunnel] {
        for family in [Family::Ipv4, Family::Ipv6] {
            let service = Service {
                more: CHECK,
                ..Service::http(method, family)
            };
            let name = format!("virtual_address::{service}");
            cases.push(Case::new(name, move || missing(service)));
        }
    }
    cases.push(Case::new("virtual_address::udp_and_the_servers_own", own));
    cases
}

const CHECK: &str = "[[service.check]]\ntype = \"http\"\ndelay_loop = 0.3\ntimeout = 0.6\ndelay_before_retry = 0.2\nwarmup = 0.1\n";

fn setup(service: &Service) -> Setup {
    Setup {
        host: true,
        ..Setup::new(service.text())
    }
}

/// One server loses the virtual address, one drops what is sent to it.
fn missing(service: Service) -> Result<()> {
    with_router(&setup(&service), |router| {
        let lab = router.lab();
        let _ends = match service.method {
            Method::Tunnel => decapsulate(lab)?,
            _ => Vec::new(),
        };
        until_up(router, &["rs1", "rs2", "rs3"])?;
        let vip = service.vip();
        let (length, table, more) = match service.family {
            Family::Ipv4 => (32, "ip", ""),
            Family::Ipv6 => (128, "ip6", "nodad"),
        };
        lab.text("rs2", &format!("ip addr del {vip}/{length} dev lo"), 5)?;
        until_up(router, &["rs1", "rs3"])?;
        ensure!(asked(lab, &service)? == names(&["rs1", "rs3"]));
        let shown = router.tarpon("health")?;
        ensure!(shown.contains(&service.address()), "{shown}");
        // A firewall on the server, for the virtual address alone.
        for line in [
            format!("nft add table {table} t"),
            format!("nft add chain {table} t input {{ type filter hook input priority 0 ; }}"),
            format!("nft add rule {table} t input {table} daddr {vip} drop"),
        ] {
            lab.text("rs3", &line, 5)?;
        }
        until_up(router, &["rs1"])?;
        ensure!(asked(lab, &service)? == names(&["rs1"]));
        lab.text("rs3", &format!("nft delete table {table} t"), 5)?;
        lab.text(
            "rs2",
            &format!("ip addr add {vip}/{length} dev lo {more}"),
            5,
        )?;
        until_up(router, &["rs1", "rs2", "rs3"])?;
        ensure!(asked(lab, &service)? == names(&["rs1", "rs2", "rs3"]));
        Ok(())
    })
}

fn asked(lab: &Lab, service: &Service) -> Result<BTreeSet<String>> {
    Ok(service.ask(lab, 9)?.into_iter().collect())
}

/// DNS over UDP on the virtual address; `target = "server"` does not care for it.
fn own() -> Result<()> {
    let with = |target: &'static str| Service {
        more: target,
        ..Service::dns(Method::Route, Family::Ipv4)
    };
    let service = with(concat!(
        "[[service.check]]\ntype = \"dns\"\nname = \"who.lab\"\nrecord = \"TXT\"\ndelay_loop = 0.3\ntimeout = 0.6\n",
        "delay_before_retry = 0.2\nwarmup = 0.1\n"
    ));
    with_router(&setup(&service), |router: &Router<'_>| {
        let lab = router.lab();
        until_up(router, &["rs1", "rs2", "rs3"])?;
        lab.text("rs2", "ip addr del 198.51.100.20/32 dev lo", 5)?;
        until_up(router, &["rs1", "rs3"])?;
        let text = std::fs::read_to_string(&router.config)?;
        let other = text.replace("record = \"TXT\"", "record = \"TXT\"\ntarget = \"server\"");
        std::fs::write(&router.config, other)?;
        router.tarpon("reload")?;
        until_up(router, &["rs1", "rs2", "rs3"])?;
        Ok(())
    })
}
