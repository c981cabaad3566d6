//! What telling another director of connections costs the worker: a director that in turn does not and does, noting its connections as between two
//! Tarpons, on the same packets; another thread reads the notes and makes messages of them meanwhile.

use crate::{
    director::{self, Lvs},
    forward::Bed,
    measure::{Side, Spread, Windows},
    path::{Path, Syn},
    report::{Sync, tenth},
};
use anyhow::{Context, Result, anyhow, ensure};
use connsync::{Pace, Rules, Teller};
use core_affinity::CoreId;
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

/// A director of this many connections, in turn telling nobody and telling; what is noted is read on another core. One, because two in different memory may differ by more than what is
/// measured.
pub fn run(
    connections: u32,
    windows: Windows,
    hz: u64,
    bed: &mut Bed,
    beside: CoreId,
) -> Result<Sync> {
    let mut lvs = Lvs::new(PATH, connections, 1, &bed.pool())?;
    let mut stamp = lvs.stamp();
    let silent = director::desired(PATH)?;
    let mut telling = silent.clone();
    telling.settings.sync = Some(Rules::default());
    let synchronizer = lvs.synchronizer().context("no synchronizer")?;
    let stop = AtomicBool::new(false);
    let (run, told) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(synchronizer, &stop, beside));
        let run = windows.compare(|side, window| {
            lvs.apply(match side {
                Side::First => &silent,
                Side::Second => &telling,
            })?;
            let lane = lvs.lanes.first_mut().context("no worker")?;
            bed.run(window, hz, &mut stamp, lane)
        });
        stop.store(true, Relaxed);
        let told = reader.join().map_err(|_| anyhow!("who reads panicked"))?;
        anyhow::Ok((run?, told))
    })?;
    lvs.verify(&lvs.lanes)?;
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
fn read(mut synchronizer: Synchronizer, stop: &AtomicBool, core: CoreId) -> u64 {
    // Else it is where the worker is, and takes its caches and its time.
    core_affinity::set_for_current(core);
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
