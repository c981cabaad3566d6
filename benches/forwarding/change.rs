//! A change of configuration while packets go through: how long until it is in force, how long a burst waits, what is lost.

use crate::{
    director::{self, Lane, Lvs},
    flows::Stamp,
    forward::Bed,
    measure::{Spread, cpu_time},
    path::{Path, Syn},
    report::{ConfigChange, tenth},
    subject::Subject as _,
};
use anyhow::{Context, Result, anyhow, ensure};
use core_affinity::CoreId;
use dpdk::Eal;
use engine::model::Desired;
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};
use types::{ForwardingMethod, Protocol};

/// Servers of the Maglev service.
const SERVERS: usize = 1000;
const CONNECTIONS: u32 = 10_000;
const CHANGES: usize = 20;

/// How long a window is in which the longest burst is looked for.
const WINDOW: Duration = Duration::from_millis(40);

/// One server of a thousand more or less, twenty times, while a worker on `core` forwards; before that as many windows of peace.
pub fn run(eal: &Eal, core: CoreId, bed: &Bed) -> Result<ConfigChange> {
    let path = Path {
        method: ForwardingMethod::Masq,
        protocol: Protocol::Udp,
        is_ipv6: false,
        is_reply: false,
        syn: Syn::No,
    };
    let mut lvs = Lvs::new(path, CONNECTIONS, 1, &bed.pool())?;
    let before = director::desired(path)?;
    lvs.apply(&many(&before, SERVERS))?;
    let mut stamp = lvs.stamp();
    let mut lane = lvs.lanes.pop().context("no worker")?;
    let window = AtomicUsize::new(0);
    let (visible, longest) = thread::scope(|scope| {
        let worker = scope.spawn(|| forward(eal, core, &mut stamp, &mut lane, &window));
        let visible: Result<f64> = (|| {
            let mut took = Vec::new();
            for turn in 0..2 * CHANGES {
                if turn >= CHANGES {
                    let wanted = many(&before, SERVERS + (turn + 1) % 2);
                    let begun = Instant::now();
                    lvs.apply(&wanted)?;
                    took.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                thread::sleep(WINDOW);
                window.store(turn + 1, Relaxed);
            }
            Ok(Spread::of(took).median)
        })();
        window.store(2 * CHANGES, Relaxed);
        let longest = worker.join();
        let longest = longest.map_err(|_| anyhow!("the worker has panicked"))?;
        anyhow::Ok((visible?, longest?))
    })?;
    let lost = lane.lost();
    lvs.lanes.push(lane);
    let (quiet, changed) = longest.split_at(CHANGES);
    let median = |of: &[f64]| Spread::of(of.to_vec()).median;
    Ok(ConfigChange {
        servers: SERVERS,
        visible_ms: tenth(visible),
        worst_stall_us: tenth((median(changed) - median(quiet)).max(0.0) * 1e6),
        packets_lost: lost,
    })
}

/// Forwards until the last window is over; the longest burst of each, seconds of CPU time.
fn forward(
    eal: &Eal,
    core: CoreId,
    stamp: &mut Stamp,
    lane: &mut Lane,
    window: &AtomicUsize,
) -> Result<Vec<f64>> {
    ensure!(
        core_affinity::set_for_current(core),
        "a thread cannot be pinned to core {}",
        core.id
    );
    let _registered = eal.register_thread()?;
    let mut bed = Bed::new(eal)?;
    let mut longest = vec![0.0; 2 * CHANGES];
    while let Some(longest) = longest.get_mut(window.load(Relaxed)) {
        let begun = cpu_time();
        lane.tick();
        bed.rounds(1, stamp, lane)?;
        *longest = (cpu_time() - begun).as_secs_f64().max(*longest);
    }
    lane.pause();
    Ok(longest)
}

/// The same service spread by Maglev over many servers.
fn many(before: &Desired, servers: usize) -> Desired {
    let mut desired = before.clone();
    for service in &mut desired.services {
        service.scheduler = types::Scheduler::Mh;
        if let Some(first) = service.servers.first().copied() {
            for number in service.servers.len()..servers {
                let mut server = first;
                let [high, low] = u16::try_from(number).unwrap_or(0).to_be_bytes();
                server.address.set_ip([10, 201, high, low].into());
                service.servers.push(server);
            }
        }
    }
    desired
}
