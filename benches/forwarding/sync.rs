//! What telling another director of connections costs the worker: two directors in turn on the same packets, of which one notes its connections
//! as between two Tarpons, and another thread reads the notes and makes messages of them meanwhile.

use crate::{
    director::{self, Lvs},
    forward::Bed,
    measure::{Side, Spread, Windows},
    path::{Path, Syn},
    report::{Sync, tenth},
};
use anyhow::{Context, Result, anyhow, ensure};
use connsync::{Pace, Rules, Teller};
use engine::Synchronizer;
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};
use types::{ForwardingMethod, Protocol, Tick};

const PATH: Path = Path {
    method: ForwardingMethod::Masq,
    protocol: Protocol::Tcp,
    is_ipv6: false,
    is_reply: false,
    syn: Syn::No,
};

/// A director that tells nobody, and one that tells, with this many connections each.
pub fn run(connections: u32, windows: Windows, hz: u64, bed: &mut Bed) -> Result<Sync> {
    let silent = Lvs::new(PATH, connections, 1, &bed.pool())?;
    let mut telling = Lvs::new(PATH, connections, 1, &bed.pool())?;
    let mut desired = director::desired(PATH)?;
    desired.settings.sync = Some(Rules::default());
    telling.apply(&desired)?;
    let synchronizer = telling.synchronizer().context("no synchronizer")?;
    let mut sides = [(silent.stamp(), silent), (telling.stamp(), telling)];
    let stop = AtomicBool::new(false);
    let (run, told) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(synchronizer, &stop));
        let run = windows.compare(|side, window| {
            let (stamp, lvs) = match side {
                Side::First => &mut sides[0],
                Side::Second => &mut sides[1],
            };
            let lane = lvs.lanes.first_mut().context("no worker")?;
            bed.run(window, hz, stamp, lane)
        });
        stop.store(true, Relaxed);
        let told = reader.join().map_err(|_| anyhow!("who reads panicked"))?;
        anyhow::Ok((run?, told))
    })?;
    for (_, lvs) in &sides {
        lvs.verify(&lvs.lanes)?;
    }
    ensure!(told > 0, "nothing was told: nothing is measured");
    let added = run.pairs.iter().map(|(silent, telling)| telling - silent);
    let added = Spread::of(added.collect());
    let share = run
        .pairs
        .iter()
        .map(|(silent, telling)| (telling / silent - 1.0) * 100.0);
    Ok(Sync {
        connections,
        clocks: tenth(run.first().median),
        added_clocks: tenth(added.median),
        iqr: tenth(added.range()),
        percent: tenth(Spread::of(share.collect()).median),
        told,
    })
}

/// As the sync thread does: reads what is noted every few milliseconds, and makes messages of it.
fn read(mut synchronizer: Synchronizer, stop: &AtomicBool) -> u64 {
    let begun = Instant::now();
    let pace = Pace {
        look_ms: 1,
        wait_ms: 5,
    };
    let mut teller = Teller::new(1, 0, 1472, pace, 0);
    let mut bytes = 0;
    while !stop.load(Relaxed) {
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let noted = synchronizer.noted(Tick(ms), 1024, &mut |connection| {
            bytes += teller.tell(ms, connection).map_or(0, |m| m.len());
        });
        bytes += teller.poll(ms).map_or(0, |m| m.len());
        if noted < 1024 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    let (_, connections) = teller.told();
    if bytes == 0 { 0 } else { connections }
}
