//! A director that has just started lets a worse master be until its checks have come to verdicts, and says so.

use crate::{
    lab::{Lab, router::Router, runner::Case},
    takeover::{NODES, becomes, file, state},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    ops::Range,
    thread,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("warm::no_preemption_before_the_first_verdicts", || {
            preempts(60, 4, Duration::from_secs(4)..Duration::from_secs(15))
        }),
        Case::new("warm::no_longer_than_it_may_wait", || {
            preempts(1, 25, Duration::from_secs(1)..Duration::from_secs(20))
        }),
        Case::new("warm::a_dead_master_is_followed_at_once", follows),
    ]
}

/// A director's file whose checks say nothing for so many seconds.
fn slow(lab: &Lab, preempt_warmup: u32, seconds: u32) -> String {
    let check = format!(
        "[[service.check]]\ntype = \"script\"\ncommand = [\"/bin/sleep\", \"{seconds}\"]\ntimeout = 30\nwarmup = 0\nretry = 0\n"
    );
    let priority = "priority = 220\n";
    let waits = format!("{priority}preempt_warmup = {preempt_warmup}\n");
    file(lab, 1, 220).replace(priority, &waits) + &check
}

/// How long a better director that starts beside a master waits, at `preempt_warmup`, for checks that take so many seconds.
fn preempts(preempt_warmup: u32, seconds: u32, wanted: Range<Duration>) -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let one = Router::start_on(&lab, NODES[0], &file(&lab, 0, 200))?;
    becomes(&one, "master")?;
    let began = Instant::now();
    let two = Router::start_on(&lab, NODES[1], &slow(&lab, preempt_warmup, seconds))?;
    let all: Vec<api::Vrrp> = two.ask("vrrp")?;
    let why = all.first().and_then(|v| v.lets_be.as_deref());
    ensure!(
        why.is_some_and(|why| why.starts_with("3 checks have had no verdict yet (waits ")),
        "{all:?}"
    );
    let shown = two.tarpon("vrrp")?;
    ensure!(
        shown.contains("lvs lets a worse master be: 3 checks have had no verdict yet"),
        "{shown}"
    );
    let status = two.tarpon("status")?;
    ensure!(
        status.contains("(lets a worse master be: 3 checks have had no verdict yet"),
        "{status}"
    );
    while state(&two)? != "master" {
        ensure!(
            began.elapsed() < Duration::from_secs(30),
            "it never preempts"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let waited = began.elapsed();
    print!("[{waited:.1?}] ");
    ensure!(wanted.contains(&waited), "it preempts after {waited:?}");
    becomes(&one, "backup")?;
    ensure!(
        !two.tarpon("vrrp")?.contains("lets a worse master be"),
        "it waits although it is master"
    );
    two.stop()?;
    one.stop()
}

fn follows() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let one = Router::start_on(&lab, NODES[0], &file(&lab, 0, 200))?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &slow(&lab, 60, 25))?;
    ensure!(state(&two)? == "backup", "it does not wait for its checks");
    let killed = Instant::now();
    one.kill()?;
    becomes(&two, "master").context("it waits for its checks, and nobody is master")?;
    let took = killed.elapsed();
    ensure!(took < Duration::from_secs(2), "it took over after {took:?}");
    two.stop()
}
