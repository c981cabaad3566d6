//! A neighbour that speaks BGP (BIRD) learns a virtual address from ExaBGP, which `tarpon announce` tells, and loses it with health.

use crate::{
    health::{nginx, signal, until_up},
    lab::{
        Lab,
        router::{Router, Setup, program, socket},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Context, Result};
use std::fs;

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "announce::a_bgp_neighbour_follows_health",
        follows,
    )]
}

const CHECK: &str = "[[service.check]]\ntype = \"http\"\ndelay_loop = 0.3\ntimeout = 0.4\ndelay_before_retry = 0.2\nwarmup = 0.1\n";

fn exabgp(lab: &Lab) -> String {
    format!(
        "process tarpon {{ run {} --socket {} announce --interval 100; encoder text; }}\n\
         neighbor 198.51.100.100 {{ router-id 198.51.100.1; local-address 198.51.100.1; local-as 65001; peer-as 65000; hold-time 3; api {{ processes [ tarpon ]; }} }}\n",
        program("tarpon").display(),
        socket(lab, "router").display()
    )
}

const BIRD: &str = "router id 198.51.100.100;\nprotocol device {}\n\
    protocol bgp tarpon { local 198.51.100.100 as 65000; neighbor 198.51.100.1 as 65001; connect delay time 1; connect retry time 1; error wait time 1, 2; ipv4 { import all; export none; }; }\n";

fn follows() -> Result<()> {
    let lab = Lab::up(&[])?;
    let service = Service {
        more: CHECK,
        weights: &[1, 1],
        ..Service::http(Method::Masq, Family::Ipv4)
    };
    let setup = Setup {
        host: true,
        ..Setup::new(service.text())
    };
    let router = Router::start(&lab, &setup.text(&lab))?;
    until_up(&router, &["rs1", "rs2"])?;
    let dir = lab.dir.display();
    fs::write(lab.dir.join("bird.conf"), BIRD)?;
    fs::write(lab.dir.join("exabgp.conf"), exabgp(&lab))?;
    let _bird = lab.start(
        "client",
        &format!("bird -f -c {dir}/bird.conf -s {dir}/bird.ctl -P {dir}/bird.pid"),
    )?;
    let speaker = lab.start(
        "router",
        &format!("env exabgp.daemon.user=root exabgp.api.cli=false exabgp.log.destination={dir}/exabgp.log exabgp {dir}/exabgp.conf"),
    )?;
    let until = |what: &str, there: bool| {
        run::until(what, 20, || {
            let line = format!("birdc -s {dir}/bird.ctl show route");
            let routes = run::end(&mut lab.on("client", &line), 5)?.stdout;
            Ok(routes.contains("198.51.100.10/32") == there)
        })
        .with_context(|| {
            run::tail(
                &fs::read_to_string(lab.dir.join("exabgp.log")).unwrap_or_default(),
                20,
            )
        })
    };
    until("the neighbour learns the address", true)?;
    signal(&lab, "rs1", "KILL")?;
    until_up(&router, &["rs2"])?;
    until("one server is enough", true)?;
    signal(&lab, "rs2", "KILL")?;
    until_up(&router, &[])?;
    until("the neighbour loses the address", false)?;
    nginx(&lab, "rs1", "")?;
    until("the neighbour learns it again", true)?;
    router.stop()?;
    until("who is gone is not announced", false)?;
    drop(speaker);
    Ok(())
}
