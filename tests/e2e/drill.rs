//! A rehearsed takeover: there and back, measured; refused while the other director is not known to be ready.

use crate::{
    lab::{Lab, clients, router::Router, run, runner::Case},
    sync::{SYNC, status},
    takeover::{NODES, VIP, becomes, file},
};
use anyhow::{Result, ensure};

pub fn cases() -> Vec<Case> {
    vec![Case::new("drill::there_and_back", there_and_back)]
}

fn there_and_back() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let with_sync = |node, priority| file(&lab, node, priority) + SYNC;
    let one = Router::start_on(&lab, NODES[0], &with_sync(0, 220))?;
    becomes(&one, "master")?;
    // Nobody is there: refused; and with --force they come back by themselves.
    let refused = one.cli("drill lvs")?;
    ensure!(
        refused.code == Some(1) && refused.stderr.contains("no other director that listens"),
        "{refused:?}"
    );
    let alone = one.cli("--json drill lvs --force")?;
    let state: api::DrillState = serde_json::from_str(&alone.stdout)?;
    ensure!(
        alone.code == Some(1)
            && state.progress == "failed"
            && state.peer.is_none()
            && state.gap_there_ms.is_some_and(|gap| gap >= 300.0),
        "{alone:?}"
    );

    let two = Router::start_on(&lab, NODES[1], &with_sync(1, 200))?;
    becomes(&two, "backup")?;
    run::until("the twin has the connections", 15, || {
        let sync = status(&one)?;
        Ok(sync
            .peers
            .iter()
            .any(|p| p.listens && p.complete_percent >= Some(99.0)))
    })?;
    let drilled = one.cli("drill lvs")?;
    ensure!(drilled.code == Some(0), "{drilled:?}\n{}", one.log_tail(20));
    for wanted in [
        "given up",
        "198.51.100.3 (priority 200) has the addresses",
        "they are back",
    ] {
        ensure!(drilled.stderr.contains(wanted), "{wanted:?}: {drilled:?}");
    }
    println!("{}", drilled.stdout.trim_end());
    ensure!(
        drilled.stdout.contains("there  nobody answered for ")
            && drilled.stdout.contains("back   nobody answered for "),
        "{drilled:?}"
    );
    becomes(&one, "master")?;
    becomes(&two, "backup")?;
    clients::get(&lab, &format!("{VIP}:80"), "")?;
    let events = one.tarpon("events")?;
    ensure!(events.contains("gave up on command"), "{events}");
    ensure!(
        two.cli("drill lvs")?.stderr.contains("not master"),
        "a backup has nothing to rehearse"
    );
    two.stop()?;
    one.stop()
}
