//! A neighbour that speaks BGP learns a virtual address and loses it with health: from ExaBGP, which `tarpon announce` tells, and from
//! BIRD and FRR, which announce what `tarpon announce --interface` puts on an interface of the host.

use crate::{
    health::{nginx, signal, until_up},
    lab::{
        Background, Lab,
        router::{Router, Setup, program, socket},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Context, Result, ensure};
use std::{fs, os::unix::fs::PermissionsExt as _};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("announce::a_bgp_neighbour_follows_health", by_exabgp),
        Case::new("announce::bird_announces_to_frr", by_bird),
        Case::new("announce::frr_announces_to_bird", by_frr),
    ]
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

const BIRD_CLIENT: &str = "router id 198.51.100.100;\nprotocol device {}\n\
    protocol bgp tarpon { local 198.51.100.100 as 65000; neighbor 198.51.100.1 as 65001; connect delay time 1; connect retry time 1; error wait time 1, 2; ipv4 { import all; export none; }; }\n";
const BIRD_ROUTER: &str = "router id 198.51.100.1;\nprotocol device {}\nprotocol direct { ipv4; interface \"vips\"; }\n\
    protocol bgp up { local 198.51.100.1 as 65001; neighbor 198.51.100.100 as 65000; connect delay time 1; connect retry time 1; error wait time 1, 2; ipv4 { import none; export where source = RTS_DEVICE; next hop self; }; }\n";
const FRR_CLIENT: &str = "router bgp 65000\n bgp router-id 198.51.100.100\n no bgp ebgp-requires-policy\n \
    neighbor 198.51.100.1 remote-as 65001\n neighbor 198.51.100.1 timers 1 3\n neighbor 198.51.100.1 timers connect 1\n";
const FRR_ROUTER: &str = "router bgp 65001\n bgp router-id 198.51.100.1\n no bgp ebgp-requires-policy\n \
    neighbor 198.51.100.100 remote-as 65000\n neighbor 198.51.100.100 timers 1 3\n neighbor 198.51.100.100 timers connect 1\n \
    address-family ipv4 unicast\n  redistribute connected route-map VIPS\n exit-address-family\n\
    route-map VIPS permit 10\n match interface vips\n";

/// A service whose servers are checked, and both are up.
fn checked(lab: &Lab) -> Result<Router<'_>> {
    let service = Service {
        more: CHECK,
        weights: &[1, 1],
        ..Service::http(Method::Masq, Family::Ipv4)
    };
    let setup = Setup {
        host: true,
        ..Setup::new(service.text())
    };
    let router = Router::start(lab, &setup.text(lab))?;
    until_up(&router, &["rs1", "rs2"])?;
    Ok(router)
}

fn bird(lab: &Lab, at: &str, configuration: &str) -> Result<Background> {
    let dir = lab.dir.display();
    fs::write(lab.dir.join("bird.conf"), configuration)?;
    lab.start(
        at,
        &format!("bird -f -c {dir}/bird.conf -s {dir}/bird.ctl -P {dir}/bird.pid"),
    )
}

/// A daemon of FRR's, in a directory that all of them share.
fn frr(lab: &Lab, at: &str, daemon: &str, configuration: &str, more: &str) -> Result<Background> {
    let files = lab.dir.join(format!("frr-{at}"));
    fs::create_dir_all(&files)?;
    // They give up being root first, and make their sockets then.
    fs::set_permissions(&files, fs::Permissions::from_mode(0o777))?;
    fs::write(files.join(format!("{daemon}.conf")), configuration)?;
    let files = files.display();
    lab.start(
        at,
        &format!(
            "/usr/lib/frr/{daemon} -f {files}/{daemon}.conf -i {files}/{daemon}.pid --vty_socket {files} -z {files}/zserv -P 0 --log file:{files}/{daemon}.log {more}"
        ),
    )
}

/// What the neighbour has learned.
type Routes<'a> = &'a dyn Fn() -> Result<String>;

fn until(what: &str, there: bool, routes: Routes<'_>) -> Result<()> {
    let mut last = String::new();
    run::until(what, 20, || {
        last = routes()?;
        Ok(last.contains("198.51.100.10/32") == there)
    })
    .with_context(|| last.clone())
}

/// The address comes and goes with health.
fn follows(lab: &Lab, router: &Router<'_>, routes: Routes<'_>) -> Result<()> {
    until("the neighbour learns the address", true, routes)?;
    signal(lab, "rs1", "KILL")?;
    until_up(router, &["rs2"])?;
    until("one server is enough", true, routes)?;
    signal(lab, "rs2", "KILL")?;
    until_up(router, &[])?;
    until("the neighbour loses the address", false, routes)?;
    nginx(lab, "rs1", "")?;
    until("the neighbour learns it again", true, routes)
}

fn bird_routes(lab: &Lab) -> Result<String> {
    let line = format!("birdc -s {}/bird.ctl show route", lab.dir.display());
    Ok(run::end(&mut lab.on("client", &line), 5)?.stdout)
}

fn by_exabgp() -> Result<()> {
    let lab = Lab::up(&[])?;
    let router = checked(&lab)?;
    let dir = lab.dir.display();
    fs::write(lab.dir.join("exabgp.conf"), exabgp(&lab))?;
    let _bird = bird(&lab, "client", BIRD_CLIENT)?;
    let speaker = lab.start(
        "router",
        &format!("env exabgp.daemon.user=root exabgp.api.cli=false exabgp.log.destination={dir}/exabgp.log exabgp {dir}/exabgp.conf"),
    )?;
    let routes = || bird_routes(&lab);
    follows(&lab, &router, &routes).with_context(|| {
        let log = fs::read_to_string(lab.dir.join("exabgp.log"));
        run::tail(&log.unwrap_or_default(), 20)
    })?;
    router.stop()?;
    until("who is gone is not announced", false, &routes)?;
    drop(speaker);
    Ok(())
}

/// An interface for the addresses, which has one of somebody else's.
fn interface(lab: &Lab) -> Result<()> {
    for line in [
        // As good as a dummy, which not every kernel has.
        "ip link add vips type veth peer name vips-end",
        "ip link set vips addrgenmode none up",
        "ip link set vips-end addrgenmode none up",
        "ip addr add 203.0.113.77/32 dev vips",
    ] {
        lab.text("router", line, 5)?;
    }
    Ok(())
}

fn announcer(lab: &Lab) -> Result<Background> {
    lab.start(
        "router",
        &format!(
            "{} --socket {} announce --interface vips --interval 100",
            program("tarpon").display(),
            socket(lab, "router").display()
        ),
    )
}

fn by_bird() -> Result<()> {
    let lab = Lab::up(&[])?;
    interface(&lab)?;
    let router = checked(&lab)?;
    let _client = frr(&lab, "client", "bgpd", FRR_CLIENT, "-Z")?;
    let _speaker = bird(&lab, "router", BIRD_ROUTER)?;
    let _announcer = announcer(&lab)?;
    let files = lab.dir.join("frr-client");
    let routes = || {
        let line = format!("vtysh --vty_socket {}", files.display());
        let mut command = lab.on("client", &line);
        command.args(["-c", "show bgp ipv4 unicast"]);
        Ok(run::end(&mut command, 5)?.stdout)
    };
    follows(&lab, &router, &routes)?;
    router.stop()?;
    until("who is gone is not announced", false, &routes)
}

fn by_frr() -> Result<()> {
    let lab = Lab::up(&[])?;
    interface(&lab)?;
    let router = checked(&lab)?;
    let _client = bird(&lab, "client", BIRD_CLIENT)?;
    let _zebra = frr(&lab, "router", "zebra", "", "")?;
    let _speaker = frr(&lab, "router", "bgpd", FRR_ROUTER, "")?;
    let announcer = announcer(&lab)?;
    let routes = || bird_routes(&lab);
    follows(&lab, &router, &routes)?;
    // A run that is killed leaves the address; the next takes it over, and away with it when it is told to end.
    lab.text("router", &format!("kill -KILL {}", announcer.pid()), 5)?;
    drop(announcer);
    let shown = |lab: &Lab| lab.text("router", "ip -br addr show dev vips", 5);
    ensure!(
        shown(&lab)?.contains("198.51.100.10/32"),
        "{}",
        shown(&lab)?
    );
    let line = format!(
        "{} --socket {} announce --interface vips",
        program("tarpon").display(),
        socket(&lab, "router").display()
    );
    let next = lab.start("router", &line)?;
    run::until("the next run is there", 5, || {
        let caught = fs::read_to_string(format!("/proc/{}/status", next.pid()))?;
        let caught = caught.lines().find_map(|l| l.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(caught.unwrap_or("0").trim(), 16)?;
        Ok(mask & 1 << 14 != 0)
    })?;
    lab.text("router", &format!("kill -TERM {}", next.pid()), 5)?;
    until("who is told to end announces nothing", false, &routes)?;
    let left = shown(&lab)?;
    ensure!(
        left.contains("203.0.113.77/32") && !left.contains("198.51.100.10"),
        "{left}"
    );
    let none = format!(
        "{} announce --interface nosuch",
        program("tarpon").display()
    );
    let refused = run::end(&mut lab.on("router", &none), 5)?;
    ensure!(
        refused.stderr.contains("no interface `nosuch`"),
        "{}",
        refused.stderr
    );
    Ok(())
}
