//! The same keepalived.conf run by keepalived, driving Linux's IPVS, and by Tarpon: the same servers in and out at the same moments.
//!
//! What keepalived did stands in `tests/keepalived/recorded.txt`, made by `scripts/compare-keepalived` with the same scripted servers.
//! Moments are seconds since a server was first asked: they say when a check was made and how long it took to count, whatever the
//! random start was.

use crate::lab::{
    Lab, root,
    router::{self, Router, Setup},
    run,
    runner::Case,
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
};

pub fn cases() -> Vec<Case> {
    vec![Case::new("keepalived::side_by_side", side_by_side)]
}

/// How long the table is watched: the last script ends after 19 s, and a check begins up to 2 s late.
const SECONDS: u32 = 32;
/// How far apart two moments may be, in seconds and as a share: a check takes a guest tenths of a second, and each begins when the last
/// has ended. A retry is a second, a check two.
const TOLERANCE: (f64, f64) = (0.8, 0.05);

/// What is not the same, and why (docs/keepalived.md): both pages are asked for at once, so that a failing one is found sooner; a check
/// as a whole may take `connect_timeout`, so that a trickle is no answer; pauses of a program begin at its end.
const KNOWN: [&str; 3] = ["http_two_pages", "http_trickles", "misc_hangs"];

/// What became of each server: when, and what.
type Told = BTreeMap<String, Vec<(f64, String)>>;

fn side(verb: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(root().join("tests/keepalived/side.py"))
        .arg(verb);
    command
}

fn side_by_side() -> Result<()> {
    let lab = Lab::up(&[])?;
    let dir = lab.dir.join("side");
    fs::create_dir(&dir)?;
    run::text(side("conf").arg(&dir), 10)?;
    let conf = fs::read_to_string(dir.join("side.conf"))?;
    let script = root().join("tests/keepalived/side.py");
    let _servers = lab.start(
        "rs1",
        &format!("python3 {} servers {} lan", script.display(), dir.display()),
    )?;
    run::until("the scripted servers are ready", 15, || {
        Ok(dir.join("ready").exists())
    })?;
    let table = format!(
        "{} --socket {} ipvsadm -Ln",
        router::program("tarpon").display(),
        router::socket(&lab, "router").display()
    );
    let mut watch = side("watch")
        .arg(&dir)
        .args([&SECONDS.to_string(), &table])
        .spawn()
        .context("watching the table")?;
    let machine = Setup {
        host: true,
        ..Setup::new("")
    };
    let router = Router::start_keepalived(&lab, &machine.text(&lab), &conf)?;
    ensure!(watch.wait()?.success(), "the table could not be watched");
    run::text(side("stop").arg(&dir), 10)?;
    router.stop()?;
    let ours = run::text(side("told").arg(&dir), 10)?;
    let theirs = fs::read_to_string(recording())?;
    let apart = differences(&read(&theirs)?, &read(&ours)?);
    ensure!(apart.is_empty(), "{apart}");
    Ok(())
}

/// What keepalived did; another recording by the environment's `TARPON_KEEPALIVED`.
fn recording() -> PathBuf {
    std::env::var_os("TARPON_KEEPALIVED").map_or_else(
        || root().join("tests/keepalived/recorded.txt"),
        PathBuf::from,
    )
}

fn read(text: &str) -> Result<Told> {
    let mut told = Told::new();
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(at), Some(what)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        // Programs that are told at the same moment come in any order.
        let name = match what.split_once('_') {
            Some(_) => format!("{name} {what}"),
            None => name.to_owned(),
        };
        told.entry(name)
            .or_default()
            .push((at.parse()?, what.to_owned()));
    }
    Ok(told)
}

/// Where two accounts differ, but for what is known to.
fn differences(theirs: &Told, ours: &Told) -> String {
    let mut text = String::new();
    let none = Vec::new();
    let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    for name in names {
        let theirs = settled(name, theirs.get(name).unwrap_or(&none));
        let ours = settled(name, ours.get(name).unwrap_or(&none));
        if !same(&theirs, &ours) && !KNOWN.contains(&name.as_str()) {
            let _ = writeln!(
                text,
                "{name}\n  keepalived {theirs:?}\n  tarpon     {ours:?}"
            );
        }
    }
    text
}

/// Tarpon keeps living servers of a service whose sorry server serves, with weight 0, for their connections: out all the same.
fn settled(name: &str, told: &[(f64, String)]) -> Vec<(f64, String)> {
    let mut told = told.to_vec();
    let sorry = [
        "quorum",
        "start_below_hysteresis_sorry",
        "omega_without_quorum",
    ];
    if sorry.iter().any(|case| name.starts_with(case)) && !name.contains(' ') {
        for (_, what) in &mut told {
            if what == "in 0" {
                "out".clone_into(what);
            }
        }
        told.dedup_by(|next, before| next.1 == before.1);
        if told.first().is_some_and(|(_, what)| what == "out") {
            told.remove(0);
        }
    }
    told
}

/// Whether the same happened at the same moments. What was before the first check has no moment.
fn same(theirs: &[(f64, String)], ours: &[(f64, String)]) -> bool {
    theirs.len() == ours.len()
        && theirs.iter().zip(ours).all(|((then, what), (now, done))| {
            what == done
                && ((*then < 1.9 && *now < 1.9)
                    || (then - now).abs() <= TOLERANCE.0 + TOLERANCE.1 * then)
        })
}
