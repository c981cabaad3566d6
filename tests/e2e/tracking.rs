//! What virtual routers track: carriers, scripts, files, gateways and servers move the addresses between two directors, and between one and keepalived.

use crate::{
    lab::{Lab, router::Router, run, runner::Case},
    takeover::{
        Advertising, NODES, Peer, VIP, becomes, file, file_of, lab_with_a_host, start_keepalived,
        twin_has,
    },
};
use anyhow::{Context, Result, ensure};
use std::{fs, os::unix::fs::PermissionsExt as _};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("tracking::carrier_script_and_file", between_tarponds),
        Case::new("tracking::keepalived_takes_over", with_keepalived),
        Case::new("tracking::gateway_and_servers", by_neighbours),
        Case::new("tracking::a_cable_plugged_in_again", plugged_in_again),
    ]
}

/// A carrier of no instance's own, a script and a file, of a director whose twin has priority 150.
fn tracking(lab: &Lab) -> Result<String> {
    let dir = lab.dir.display();
    let gate = lab.dir.join("gate");
    fs::write(&gate, format!("#!/bin/sh\ntest ! -e {dir}/closed\n"))?;
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o755))?;
    Ok(format!(
        "track_interface = [\"lan weight -100\"]\ntrack_script = [\"gate\"]\ntrack_file = [\"note\"]\n\n\
         [[vrrp_script]]\nname = \"gate\"\nscript = [\"{dir}/gate\"]\ninterval = 0.2\ntimeout = 10\nfall = 2\nuser = \"root\"\n\n\
         [[track_file]]\nname = \"note\"\nfile = \"{dir}/note\"\n"
    ))
}

/// The file of [`file`], but for the private instance and the service: only the public address moves.
fn alone(lab: &Lab, node: usize, priority: u8) -> Result<String> {
    let text = file(lab, node, priority);
    let private = text
        .find("[[vrrp]]\nname = \"private\"")
        .context("an instance `private`")?;
    Ok(text[..private].replace("sync_group = \"lvs\"\n", ""))
}

/// What the director says of itself: its priority, and why it is what it is.
fn told(router: &Router<'_>) -> Result<(u8, String)> {
    let all: Vec<api::Vrrp> = router.ask("vrrp")?;
    let first = all.first().context("an instance")?;
    Ok((first.priority_now, first.why.clone()))
}

fn moves(one: &Router<'_>, two: &Router<'_>, state: &str, what: &str) -> Result<()> {
    becomes(one, state).with_context(|| format!("after {what}"))?;
    becomes(
        two,
        if state == "master" {
            "backup"
        } else {
            "master"
        },
    )
    .with_context(|| format!("after {what}: the other one"))
}

fn between_tarponds() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let text = alone(&lab, 0, 200)? + &tracking(&lab)?;
    let one = Router::start_on(&lab, NODES[0], &text)?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &alone(&lab, 1, 150)?)?;
    becomes(&two, "backup")?;
    ensure!(told(&one)?.0 == 200, "{:?}", told(&one)?);

    let cable = |to: &str| {
        let line = format!("ip link set {}-lan {to}", NODES[0]);
        lab.text("lan", &line, 5)
    };
    cable("down")?;
    moves(&one, &two, "backup", "the cable was unplugged")?;
    ensure!(told(&one)?.0 == 100, "{:?}", told(&one)?);
    cable("up")?;
    moves(&one, &two, "master", "the cable was plugged in again")?;

    let closed = lab.dir.join("closed");
    fs::write(&closed, "")?;
    moves(&one, &two, "fault", "the script failed")?;
    let (priority, why) = told(&one)?;
    ensure!(
        priority == 200 && why == "script gate: exit status 1",
        "{priority}, {why}"
    );
    let status = one.tarpon("status")?;
    ensure!(status.contains("(script gate: exit status 1)"), "{status}");
    fs::remove_file(&closed)?;
    moves(&one, &two, "master", "the script passed again")?;

    let note = lab.dir.join("note");
    fs::write(&note, "-60\n")?;
    moves(&one, &two, "backup", "the file said -60")?;
    let (priority, why) = told(&one)?;
    let wanted = "198.51.100.3 advertises priority 150, this director has 140";
    ensure!(priority == 140 && why == wanted, "{priority}, {why}");
    // Neither the script nor the file is what it was: both by a reload.
    let calm = text.replace("track_file = [\"note\"]", "track_file = []");
    fs::write(&one.config, &calm)?;
    one.tarpon("reload")?;
    moves(&one, &two, "master", "the file was not tracked any more")?;

    let events = one.tarpon("events")?;
    for wanted in [
        "interface lan down, priority 200 -> 100 (no carrier)",
        "script gate down (exit status 1)",
        "fault (script gate: exit status 1)",
        "script gate up (it works again)",
        "file note -60, priority 200 -> 140 (before: 0)",
        &format!("backup ({wanted})"),
        "master (198.51.100.3 advertises only priority 150, this director has 200)",
    ] {
        ensure!(events.contains(wanted), "{wanted:?} is not in:\n{events}");
    }
    two.stop()?;
    one.stop()
}

/// Tarpon gives way to the real keepalived because of what it tracks, and takes the address back.
fn with_keepalived() -> Result<()> {
    let lab = lab_with_a_host()?;
    let peer = Peer::V3;
    let keepalived = start_keepalived(&lab, peer, 150)?;
    run::until("keepalived does not become master alone", 15, || {
        twin_has(&lab, peer)
    })?;
    let router = Router::start_on(
        &lab,
        NODES[0],
        &(peer.tarpon(&lab, 200) + &tracking_alone(&lab)),
    )?;
    let note = lab.dir.join("note");
    becomes(&router, "master")?;
    for (number, state) in [
        (-100, "backup"),
        (0, "master"),
        (-254, "fault"),
        (0, "master"),
    ] {
        fs::write(&note, format!("{number}\n"))?;
        becomes(&router, state).with_context(|| format!("{number} in the file"))?;
        run::until("keepalived does not follow", 10, || {
            Ok(twin_has(&lab, peer)? != (state == "master"))
        })
        .with_context(|| format!("{number} in the file"))?;
        lab.text("client", &format!("ping -c 1 -W 2 {VIP}"), 5)
            .with_context(|| format!("{number} in the file: nobody answers"))?;
    }
    drop(keepalived);
    router.stop()
}

fn tracking_alone(lab: &Lab) -> String {
    format!(
        "track_file = [\"note\"]\n\n[[track_file]]\nname = \"note\"\nfile = \"{}/note\"\n",
        lab.dir.display()
    )
}

/// The gateway falls silent on one family and then on the other, and real servers fail: the other director has the addresses meanwhile.
fn by_neighbours() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let dir = lab.dir.display();
    // A server whose file is there is down.
    let gate = lab.dir.join("gate");
    fs::write(
        &gate,
        format!("#!/bin/sh\ntest ! -e {dir}/down-$TARPON_SERVER\n"),
    )?;
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o755))?;
    let both = file(&lab, 0, 200);
    let six = both.replacen(
        "addresses = [\"198.51.100.2/24\"]",
        "addresses = [\"198.51.100.2/24\", \"2001:db8:1::2/64\"]",
        1,
    );
    ensure!(six != both, "no place for an address in:\n{both}");
    let keys =
        "sync_group = \"lvs\"\ntrack_gateway = [\"four\", \"six\"]\ntrack_servers = [\"most\"]\n";
    let text = six.replacen("sync_group = \"lvs\"\n", keys, 1)
        + &format!(
            "[[service.check]]\ntype = \"script\"\ncommand = [\"{dir}/gate\"]\nuser = \"root\"\ndelay_loop = 0.2\nretry = 0\n\n\
             [[track_gateway]]\nname = \"four\"\naddress = \"198.51.100.100\"\ninterval = 0.4\nweight = -60\n\n\
             [[track_gateway]]\nname = \"six\"\naddress = \"2001:db8:1::100\"\ninterval = 0.4\nfall = 5\n\n\
             [[track_servers]]\nname = \"most\"\nservice = \"tcp {VIP}:80\"\nshare = 60\nweight = -70\n"
        );
    let one = Router::start_on(&lab, NODES[0], &text)?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &file(&lab, 1, 150))?;
    becomes(&two, "backup")?;
    ensure!(told(&one)?.0 == 200, "{:?}", told(&one)?);

    let silence = |four: u8, six: &str| {
        let arp = format!("sysctl -qw net.ipv4.conf.all.arp_ignore={four}");
        lab.text("client", &arp, 5)?;
        let line = format!("ip -6 address {six} 2001:db8:1::100/64 dev wan nodad");
        lab.text("client", &line, 5)
    };
    // 8: answers nobody.
    lab.text("client", "sysctl -qw net.ipv4.conf.all.arp_ignore=8", 5)?;
    moves(&one, &two, "backup", "the gateway fell silent")?;
    run::until(
        "the priority is not 60 less",
        5,
        || Ok(told(&one)?.0 == 140),
    )?;
    silence(0, "del")?;
    moves(&one, &two, "fault", "the gateway fell silent by IPv6")?;
    let (_, why) = told(&one)?;
    let wanted = "gateway six: no answer from 2001:db8:1::100";
    ensure!(why == wanted, "{why}");
    silence(0, "add")?;
    moves(&one, &two, "master", "the gateway answered again")?;

    // Two of three are enough, one is not.
    fs::write(lab.dir.join("down-10.1.0.11"), "")?;
    run::until("a server does not go down", 10, || {
        Ok(one.tarpon("health")?.contains("down"))
    })?;
    becomes(&one, "master").context("two of three servers were up")?;
    ensure!(told(&one)?.0 == 200, "{:?}", told(&one)?);
    fs::write(lab.dir.join("down-10.1.0.12"), "")?;
    moves(&one, &two, "backup", "two of three servers failed")?;
    let listed = one.tarpon("vrrp")?;
    let wanted = "1 of 3 servers up, 60 % needed";
    ensure!(listed.contains(wanted), "{wanted:?} is not in:\n{listed}");
    println!("{listed}");
    fs::remove_file(lab.dir.join("down-10.1.0.12"))?;
    moves(&one, &two, "master", "two of three servers were up again")?;
    two.stop()?;
    one.stop()
}

/// The kernel holds what a master sent before it knew that its cable was out. None of that may leave when the cable is back: the
/// other one would give way to an advertisement of a master that is none.
fn plugged_in_again() -> Result<()> {
    const ROUNDS: usize = 8;
    let lab = Lab::up(&["--twin"])?;
    let text = |node, priority| {
        let calm = Advertising {
            interval_ms: 20,
            preempt: false,
        };
        file_of(&lab, node, priority, calm)
    };
    let one = Router::start_on(&lab, NODES[0], &text(0, 200))?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &text(1, 150))?;
    becomes(&two, "backup")?;
    let cable = |node: usize, to: &str| {
        let line = format!("ip link set {}-lan {to}", NODES[node]);
        lab.text("lan", &line, 5)
    };
    for round in 0..ROUNDS {
        for (node, router, other) in [(0, &one, &two), (1, &two, &one)] {
            cable(node, "down")?;
            becomes(other, "master").with_context(|| format!("round {round}"))?;
            becomes(router, "fault").with_context(|| format!("round {round}"))?;
            cable(node, "up")?;
            // Its first frame takes along what was held; the bridge may forward only after a while.
            let line = format!("ping -c 1 -W 0.2 10.1.0.{}", node + 2);
            run::until("the director does not answer", 10, || {
                Ok(run::end(&mut lab.on("rs1", &line), 5)?.code == Some(0))
            })?;
            becomes(router, "backup").with_context(|| format!("round {round}"))?;
        }
    }
    // The other one was never told of a better master while it was one.
    let events = two.tarpon("events")?;
    let told = events.matches("advertises priority 200").count();
    ensure!(told == 0, "{told} times in {ROUNDS} rounds:\n{events}");
    two.stop()?;
    one.stop()
}
