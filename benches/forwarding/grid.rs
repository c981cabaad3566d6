//! The grid: how a packet is forwarded, by family, size of the table, distribution of the packets over it, and workers.

use crate::{
    director::{Lane, Lvs},
    flows::{Distribution, Stamp},
    forward::Bed,
    measure::{Run, Side, Windows},
    path::{Path, Syn},
    report::Row,
    subject::Macswap,
};
use anyhow::{Context, Result, anyhow, ensure};
use core_affinity::CoreId;
use dpdk::Eal;
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};
use types::{ForwardingMethod, Protocol};

/// What of the grid is measured.
pub struct Grid {
    pub sizes: Vec<u32>,
    pub distributions: Vec<Distribution>,
    pub windows: Windows,
    /// The cores of the workers, the first one's first.
    pub cores: Vec<CoreId>,
    /// Bytes a table may have.
    pub memory: u64,
}

/// Bytes of an entry, its tag, and the room to spare, by family.
const ENTRY: [u64; 2] = [81, 162];

impl Grid {
    /// Measures every place; says each as it is measured.
    pub fn run(&self, eal: &Eal, bed: &mut Bed) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for &size in &self.sizes {
            for method in [
                ForwardingMethod::Masq,
                ForwardingMethod::Route,
                ForwardingMethod::Tunnel,
            ] {
                for is_ipv6 in [false, true] {
                    let bytes = u64::from(size) * ENTRY[usize::from(is_ipv6)];
                    if bytes > self.memory {
                        println!(
                            "  {size} connections, IPv{}: not enough free memory for {} MB, left out",
                            family(is_ipv6),
                            bytes >> 20
                        );
                        continue;
                    }
                    let path = Path {
                        method,
                        protocol: Protocol::Udp,
                        is_ipv6,
                        is_reply: false,
                        syn: Syn::No,
                    };
                    self.place(eal, bed, path, size, &mut rows)?;
                }
            }
        }
        Ok(rows)
    }

    /// One table, with every distribution and number of workers.
    fn place(
        &self,
        eal: &Eal,
        bed: &mut Bed,
        path: Path,
        size: u32,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        let workers = self.cores.len().min(2);
        let mut lvs = Lvs::new(path, size, u16::try_from(workers)?, &bed.pool())?;
        for &distribution in &self.distributions {
            for workers in 1..=workers {
                let stamp = |seed| lvs.stamp().drawing(distribution).seeded(seed);
                let (mut first, second) = (stamp(0), stamp(0x5555_0000));
                let run = if workers == 1 {
                    let lane = lvs.lanes.first_mut().context("no worker")?;
                    alone(self.windows, eal.tsc_hz(), bed, &mut first, lane)?
                } else {
                    let core = *self.cores.get(1).context("no second core")?;
                    two(
                        self.windows,
                        eal,
                        core,
                        bed,
                        (first, second),
                        &mut lvs.lanes,
                    )?
                };
                lvs.verify(&lvs.lanes)?;
                let distribution = match distribution {
                    Distribution::Uniform => "uniform",
                    Distribution::Zipf => "zipf",
                };
                let row = Row::new(
                    name(path),
                    family(path.is_ipv6),
                    size,
                    distribution,
                    workers,
                    &run,
                );
                println!(
                    "  {:<6} IPv{} {:>8} connections, {:<7} {} worker{}: added {:.1} (iqr {:.1}), all in {:.1}, macswap {:.1}",
                    row.path,
                    row.family,
                    row.connections,
                    row.distribution,
                    row.workers,
                    if workers == 1 { " " } else { "s" },
                    row.added_clocks,
                    row.iqr,
                    row.clocks,
                    row.macswap_clocks
                );
                rows.push(row);
            }
        }
        Ok(())
    }
}

fn family(is_ipv6: bool) -> u8 {
    if is_ipv6 { 6 } else { 4 }
}

fn name(path: Path) -> &'static str {
    match path.method {
        ForwardingMethod::Masq => "nat",
        ForwardingMethod::Route => "dr",
        ForwardingMethod::Tunnel => "tunnel",
    }
}

/// One worker against macswap.
fn alone(
    windows: Windows,
    hz: u64,
    bed: &mut Bed,
    stamp: &mut Stamp,
    lane: &mut Lane,
) -> Result<Run> {
    windows.compare(|side, window| match side {
        Side::First => bed.run(window, hz, stamp, &mut Macswap),
        Side::Second => bed.run(window, hz, stamp, lane),
    })
}

/// Two workers at once, each on a core and ports of its own, against macswap on both; the mean of the two.
fn two(
    windows: Windows,
    eal: &Eal,
    core: CoreId,
    bed: &mut Bed,
    (mut stamp, theirs): (Stamp, Stamp),
    lanes: &mut Vec<Lane>,
) -> Result<Run> {
    let hz = eal.tsc_hz();
    let mut other = lanes.pop().context("no second worker")?;
    let lane = lanes.first_mut().context("no first worker")?;
    let run = thread::scope(|scope| {
        let (order, orders) = channel();
        let (answer, answers) = channel();
        let helper = scope.spawn(|| serve(eal, core, theirs, &mut other, orders, answer));
        let run = windows.compare(|side, window| {
            order
                .send((side, window))
                .map_err(|_| anyhow!("the second worker has ended"))?;
            let mine = match side {
                Side::First => bed.run(window, hz, &mut stamp, &mut Macswap)?,
                Side::Second => bed.run(window, hz, &mut stamp, lane)?,
            };
            let theirs: f64 = answers
                .recv()
                .map_err(|_| anyhow!("the second worker has failed"))?;
            Ok((mine + theirs) / 2.0)
        });
        drop(order);
        let served = helper
            .join()
            .map_err(|_| anyhow!("the second worker has panicked"))?;
        // Its own words on what went wrong are the better ones.
        served?;
        run
    })?;
    lanes.push(other);
    Ok(run)
}

/// The second worker: runs the windows it is told to.
fn serve(
    eal: &Eal,
    core: CoreId,
    mut stamp: Stamp,
    lane: &mut Lane,
    orders: Receiver<(Side, Duration)>,
    answer: Sender<f64>,
) -> Result<()> {
    ensure!(
        core_affinity::set_for_current(core),
        "a thread cannot be pinned to core {}",
        core.id
    );
    let _registered = eal.register_thread()?;
    let mut bed = Bed::new(eal)?;
    for (side, window) in orders {
        let clocks = match side {
            Side::First => bed.run(window, eal.tsc_hz(), &mut stamp, &mut Macswap)?,
            Side::Second => bed.run(window, eal.tsc_hz(), &mut stamp, lane)?,
        };
        if answer.send(clocks).is_err() {
            break;
        }
    }
    // It holds nothing back from the others' grace periods while it waits.
    lane.pause();
    Ok(())
}
