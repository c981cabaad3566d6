//! Connections of which the other director was not told the plain way: the messages were lost, or two were master at once.

use crate::{
    lab::{Lab, router::Router, run, runner::Case},
    pair::{deafen, undeafen},
    sync::{Held, SYNC, status},
    takeover::{NODES, becomes, file},
};
use anyhow::{Context as _, Result, ensure};
use std::{thread, time::Duration};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("sync_lost::idle_connections_are_told_again", told_again),
        Case::new("sync_lost::who_is_not_heard_hears_the_other", not_heard),
    ]
}

fn both(lab: &Lab) -> Result<[Router<'_>; 2]> {
    let text = |node, priority| file(lab, node, priority) + SYNC;
    let one = Router::start_on(lab, NODES[0], &text(0, 220))?;
    becomes(&one, "master")?;
    let two = Router::start_on(lab, NODES[1], &text(1, 200))?;
    becomes(&two, "backup")?;
    run::until("the twin is not told everything", 10, || {
        let heard = status(&one)?.peers.iter().any(|peer| peer.listens);
        Ok(heard && status(&two)?.told_everything)
    })?;
    Ok([one, two])
}

fn open(lab: &Lab, count: usize) -> Result<Vec<Held>> {
    let one = |_| {
        let mut connection = Held::open(lab)?;
        connection.ask("/")?;
        Ok(connection)
    };
    (0..count).map(one).collect()
}

fn go_on(held: &mut [Held]) -> Result<()> {
    for (number, connection) in held.iter_mut().enumerate() {
        let asked = connection.ask("/");
        asked.with_context(|| format!("connection {number}"))?;
    }
    Ok(())
}

/// Nothing of what the master tells for a second arrives, and nothing more happens on these connections.
fn told_again() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let [one, two] = both(&lab)?;
    deafen(&lab, "lan", NODES[0], "udp dport 8848")?;
    let mut held = open(&lab, 20)?;
    thread::sleep(Duration::from_secs(1));
    ensure!(
        status(&two)?.connections < 20,
        "what was to be lost has arrived"
    );
    undeafen(&lab, "lan")?;
    run::until("nobody tells the twin what was lost", 10, || {
        let twin = status(&two)?;
        Ok(twin.told_everything && twin.connections >= 20)
    })
    .with_context(|| format!("{:?}", status(&two)))?;
    one.kill()?;
    becomes(&two, "master")?;
    go_on(&mut held).context("after the master was killed")?;
    two.stop()
}

/// What the better master sends is lost, and so the other is master, too, and has the clients. When the better one is heard again it
/// is the only one, and goes on with what began meanwhile.
fn not_heard() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let [one, two] = both(&lab)?;
    let mut held = open(&lab, 10)?;
    for wire in ["wan", "lan"] {
        deafen(&lab, wire, NODES[0], "")?;
    }
    becomes(&two, "master")?;
    held.extend(open(&lab, 10)?);
    go_on(&mut held).context("while only the twin is heard")?;
    becomes(&one, "master").context("nobody has told it otherwise")?;
    for wire in ["wan", "lan"] {
        undeafen(&lab, wire)?;
    }
    becomes(&two, "backup")?;
    go_on(&mut held).context("when the better one is heard again")?;
    two.stop()?;
    one.stop()
}
