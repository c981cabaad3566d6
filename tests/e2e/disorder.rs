//! Links that duplicate advertisements and let them overtake each other: there is one master, whatever it takes to follow it.
//!
//! The kernels tests run on have no netem, so the switches drop advertisements, and a relay between two of their ports sends each of them
//! on: once or more, each copy after a time of its own. All else goes its usual way.

use crate::{
    lab::{Lab, clients, raw, raw::Raw, router::Router, run, runner::Case},
    takeover::{Advertising, NODES, VIP, becomes, file_of, state},
    watch::{Masters, advertisement},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "disorder::duplicated_and_overtaken_advertisements",
        disorder,
    )]
}

const INTERVAL: Duration = Duration::from_millis(200);
/// A copy takes as long at most: one and a half intervals, so that later ones overtake it, and all of it and an interval are less than what
/// a backup waits for.
const LATE: Duration = Duration::from_millis(300);

/// What is to be sent on, the earliest first, with its number among all of its direction.
type Waiting = BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>;

/// What the relays did.
#[derive(Default)]
struct Done {
    sent: AtomicU64,
    duplicates: AtomicU64,
    overtaken: AtomicU64,
}

/// One direction of one wire.
struct Relay<'a> {
    wire: &'static str,
    /// Whose advertisements, and where they go.
    from: Raw,
    to: Raw,
    mac: [u8; 6],
    masters: &'a Masters,
    done: &'a Done,
    waiting: Mutex<Waiting>,
}

impl<'a> Relay<'a> {
    fn open(
        lab: &Lab,
        wire: &'static str,
        from: usize,
        masters: &'a Masters,
        done: &'a Done,
    ) -> Result<Self> {
        let port = |node: usize| format!("{}-{wire}", NODES[node]);
        Ok(Self {
            wire,
            from: Raw::open(lab, wire, &port(from))?,
            to: Raw::open(lab, wire, &port(1 - from))?,
            mac: raw::mac(&lab.mac(NODES[from], wire)?)?,
            masters,
            done,
            waiting: Mutex::default(),
        })
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the director says, as a socket on its port does before the switch drops it.
    fn take(&self, stop: &AtomicBool) -> Result<()> {
        let mut random = 0x5eed_u64 ^ u64::from(self.mac[5]) << 8;
        let mut below = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let Some(frame) = self.from.read()? else {
                continue;
            };
            // The same socket sees what is sent to it.
            if frame.get(6..12) != Some(&self.mac[..]) {
                continue;
            }
            let Some((from, priority)) = advertisement(&frame) else {
                continue;
            };
            let now = Instant::now();
            self.masters.hear(self.wire, from, priority, now);
            number += 1;
            let copies = 1 + below(3);
            self.done
                .duplicates
                .fetch_add(copies - 1, Ordering::Relaxed);
            for _ in 0..copies {
                let late = LATE * u32::try_from(below(1000))? / 1000;
                self.waiting()
                    .push(Reverse((now + late, number, frame.clone())));
            }
        }
        Ok(())
    }

    fn give(&self, stop: &AtomicBool) -> Result<()> {
        let mut last = 0;
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
            loop {
                let mut waiting = self.waiting();
                let due = waiting
                    .peek()
                    .is_some_and(|Reverse((at, ..))| *at <= Instant::now());
                let Some(Reverse((_, number, frame))) = due.then(|| waiting.pop()).flatten() else {
                    break;
                };
                drop(waiting);
                self.to.send(&frame)?;
                self.done.sent.fetch_add(1, Ordering::Relaxed);
                if number < last {
                    self.done.overtaken.fetch_add(1, Ordering::Relaxed);
                }
                last = last.max(number);
            }
        }
        Ok(())
    }
}

/// The switches let no advertisement through.
fn separate(lab: &Lab) -> Result<()> {
    for wire in ["wan", "lan"] {
        let chain = |node: &str| {
            format!(
                "chain {node} {{\ntype filter hook ingress device \"{node}-{wire}\" priority 0;\nip protocol 112 drop\n}}\n"
            )
        };
        let rules = NODES.map(chain).concat();
        let path = lab.dir.join(format!("separate-{wire}.nft"));
        fs::write(&path, format!("table netdev separate {{\n{rules}}}\n"))?;
        lab.text(wire, &format!("nft -f {}", path.display()), 5)?;
    }
    Ok(())
}

fn disorder() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    separate(&lab)?;
    let masters = Masters::new(INTERVAL);
    let (done, stop) = (Done::default(), AtomicBool::new(false));
    let mut relays = Vec::new();
    for wire in ["wan", "lan"] {
        for from in [0, 1] {
            relays.push(Relay::open(&lab, wire, from, &masters, &done)?);
        }
    }
    let began = Instant::now();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for relay in &relays {
            running.push(scope.spawn(|| relay.take(&stop)));
            running.push(scope.spawn(|| relay.give(&stop)));
        }
        let played = play(&lab);
        stop.store(true, Ordering::Relaxed);
        for thread in running {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a relay panicked"))??;
        }
        played
    })?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (sent, duplicates, overtaken) = (
        count(&done.sent),
        count(&done.duplicates),
        count(&done.overtaken),
    );
    print!("[{sent} advertisements, {duplicates} of them twice, {overtaken} overtaken] ");
    ensure!(
        sent > 100 && duplicates > 50 && overtaken > 20,
        "links were in order"
    );
    ensure!(masters.heard(), "nobody was heard on a wire");
    let two = masters.moments(began, Instant::now());
    ensure!(two == 0, "{two} moments with two masters");
    Ok(())
}

fn play(lab: &Lab) -> Result<()> {
    let advertising = Advertising {
        interval_ms: 200,
        preempt: true,
    };
    let start = |node: usize, priority: u8| {
        let text = file_of(lab, node, priority, advertising);
        Router::start_on(lab, NODES[node], &text)
    };
    let serves = || clients::get(lab, &format!("{VIP}:80"), "").map(drop);
    let one = start(0, 220)?;
    becomes(&one, "master")?;
    let two = start(1, 210)?;
    becomes(&two, "backup")?;
    // `state` says so if the two addresses of a group parted.
    for _ in 0..80 {
        let states = [state(&one)?, state(&two)?];
        let changed = states != ["master", "backup"];
        ensure!(
            !changed || late(&one)? + late(&two)? > 0,
            "without a reason they are {states:?}"
        );
        thread::sleep(Duration::from_millis(100));
    }
    settled(&one, &two, "master").context("after ten seconds in which nothing happened")?;
    serves()?;
    one.tarpon("failover lvs")?;
    // What the master said before it gave up may come after that: then the other waits for it again, and it comes back itself.
    settled_somehow(&one, &two).context("after a planned takeover")?;
    serves()?;
    two.stop()?;
    becomes(&one, "master").context("after the other has stopped")?;
    serves()?;
    let two = start(1, 230)?;
    settled(&one, &two, "backup").context("beside a better one that has just started")?;
    serves()?;
    two.kill()?;
    becomes(&one, "master").context("after the other was killed")?;
    serves()?;
    one.stop()
}

/// How often a director has woken late: on a machine busy with other things.
fn late(router: &Router<'_>) -> Result<u64> {
    let all: Vec<api::Vrrp> = router.ask("vrrp")?;
    Ok(all.iter().map(|v| v.woke_late).sum())
}

/// The first is in this state, and the other in the other, and stay so.
fn settled(one: &Router<'_>, two: &Router<'_>, wanted: &str) -> Result<()> {
    settle(one, two, &[wanted])
}

fn settled_somehow(one: &Router<'_>, two: &Router<'_>) -> Result<()> {
    settle(one, two, &["master", "backup"])
}

fn settle(one: &Router<'_>, two: &Router<'_>, wanted: &[&str]) -> Result<()> {
    let mut last = [String::new(), String::new()];
    let mut since = Instant::now();
    run::until("the roles do not settle", 20, || {
        let now = [state(one)?, state(two)?];
        let fits = wanted.contains(&now[0].as_str())
            && now.iter().filter(|state| *state == "master").count() == 1;
        if !fits || now != last {
            since = Instant::now();
        }
        last = now;
        thread::sleep(Duration::from_millis(20));
        Ok(since.elapsed() > 4 * INTERVAL)
    })
    .with_context(|| format!("they are {last:?}"))
}
