//! Connections coming and going: full TCP lives a second while many others stand, and many past their time at once.

use crate::{
    director::Lvs,
    measure::{cpu_time, interrupts},
    path::{Path, Syn},
    report::{Ageing, tenth},
};
use anyhow::{Context, Result, ensure};
use dpdk::Mempool;
use std::time::{Duration, Instant};
use types::{ForwardingMethod, Protocol};
use wire::tcp;

/// A moment later than any timeout of the bench's director.
const LATER: Duration = Duration::from_secs(2 * 86_400);
/// Longer than TIME_WAIT, much shorter than an established connection's timeout.
const TIME_WAIT_OVER: Duration = Duration::from_secs(200);
/// Virtual milliseconds in which everything past its time must be gone, beside one for every fifty connections.
const PATIENCE: u32 = 10_000;
/// Bursts in a virtual millisecond: a million packets a second. Between them ageing goes on.
const BURSTS: u32 = 31;

/// Lives a second and core, of `lives` connections that are opened, acknowledged, closed from both sides and expired, six packets
/// each, beside `resident` that stand. The clocks of making the packets are taken off.
pub fn per_second(resident: u32, lives: u32, pool: &Mempool) -> Result<f64> {
    let path = Path {
        method: ForwardingMethod::Masq,
        protocol: Protocol::Tcp,
        is_ipv6: false,
        is_reply: false,
        syn: Syn::No,
    };
    let mut lvs = Lvs::with_room(path, resident, lives, 1, pool)?;
    let packets_only = six_packets(&mut lvs, resident..resident + lives, true)?;
    let before = lvs.seen()?;
    let spent = six_packets(&mut lvs, resident..resident + lives, false)?;
    let after = lvs.seen()?;
    ensure!(
        after.received - before.received == 6 * u64::from(lives) && after.sent == after.received,
        "not every packet of every life was forwarded: {before:?}, then {after:?}"
    );
    ensure!(
        (after.active, after.inactive) == (u64::from(resident), u64::from(lives)),
        "closed connections count as inactive, the others as active: {after:?}"
    );
    let expiry = sweep(&mut lvs, TIME_WAIT_OVER, resident, Between::Nothing)?;
    let end = lvs.seen()?;
    ensure!(
        (end.active, end.inactive, end.connections)
            == (u64::from(resident), 0, u64::from(resident)),
        "what has ended still counts: {end:?}"
    );
    let seconds = spent.saturating_sub(packets_only) + expiry.total;
    Ok(f64::from(lives) / seconds.as_secs_f64())
}

/// Expires `connections` at once.
pub fn ageing(connections: u32, pool: &Mempool) -> Result<Ageing> {
    let path = Path {
        method: ForwardingMethod::Masq,
        protocol: Protocol::Udp,
        is_ipv6: false,
        is_reply: false,
        syn: Syn::No,
    };
    let mut lvs = Lvs::new(path, connections, 1, pool)?;
    let swept = sweep(&mut lvs, LATER, 0, Between::Bursts)?;
    let end = lvs.seen()?;
    ensure!(
        (end.active, end.inactive, end.connections) == (0, 0, 0),
        "connections are left: {end:?}"
    );
    let share = swept.total.as_secs_f64() / (f64::from(swept.ms) / 1000.0);
    Ok(Ageing {
        connections,
        worst_us: tenth(swept.worst.as_secs_f64() * 1e6),
        cpu_share: tenth(share * 100.0),
        seconds: tenth(f64::from(swept.ms) / 1000.0),
    })
}

/// CPU time of six packets for each connection of `range`; of making them alone, if `dry`.
fn six_packets(lvs: &mut Lvs, range: std::ops::Range<u32>, dry: bool) -> Result<Duration> {
    let (syn, ack, fin) = (tcp::SYN, tcp::ACK, tcp::FIN);
    let life = [
        (false, syn),
        (true, syn | ack),
        (false, ack),
        (false, fin | ack),
        (true, fin | ack),
        (false, ack),
    ];
    let mut stamps = lvs.both_ways();
    let begun = cpu_time();
    let mut at = range.start;
    while at < range.end {
        let next = range.end.min(at + 32);
        for (is_reply, flags) in life {
            let stamp = if is_reply {
                &mut stamps.1
            } else {
                &mut stamps.0
            };
            stamp.set_tcp_flags(flags);
            lvs.burst(stamp, at..next, is_reply, dry)?;
            if flags == syn {
                stamps.1.set_servers(at, lvs.last_servers());
            }
        }
        at = next;
    }
    Ok(cpu_time() - begun)
}

struct Sweep {
    /// Virtual milliseconds.
    ms: u32,
    total: Duration,
    /// The longest a burst was delayed; as many delays are left out as there were interrupts, which are booked to whoever runs.
    worst: Duration,
}

/// What there is between two calls of the clockwork.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Bursts of nothing, [`BURSTS`] of them.
    Bursts,
    /// Time to spare.
    Nothing,
}

/// Lets `later` go by at once, then millisecond after virtual millisecond, until `left` connections are left.
fn sweep(lvs: &mut Lvs, later: Duration, left: u32, between: Between) -> Result<Sweep> {
    let patience = PATIENCE + u32::try_from(lvs.seen()?.connections / 50)?;
    let lane = lvs.lanes.first_mut().context("no worker")?;
    lane.jump(later);
    let mut ms = 0_u32;
    let mut total = Duration::ZERO;
    let mut longest = Longest::default();
    let interrupted = interrupts()?;
    loop {
        let lane = lvs.lanes.first_mut().context("no worker")?;
        lane.jump(Duration::from_millis(1));
        for piece in 0.. {
            let begun = Instant::now();
            let more = match (piece, between) {
                (0, _) => {
                    lane.clockwork();
                    true
                }
                (_, Between::Bursts) => {
                    lane.nothing();
                    piece < BURSTS
                }
                (_, Between::Nothing) => lane.spare_time(),
            };
            let spent = begun.elapsed();
            total += spent;
            longest.add(spent);
            if !more {
                break;
            }
        }
        ms += 1;
        if ms.is_multiple_of(64) && lvs.seen()?.connections <= u64::from(left) {
            let interrupted = interrupts()? - interrupted;
            let worst = longest.but(interrupted);
            return Ok(Sweep { ms, total, worst });
        }
        ensure!(ms < patience, "connections past their time stay");
    }
}

/// How often something took how long, in steps of a tenth of a microsecond.
struct Longest(Vec<u64>);

impl Default for Longest {
    fn default() -> Self {
        // A millisecond; what took longer is in the last.
        Self(vec![0; 10_000])
    }
}

impl Longest {
    fn add(&mut self, time: Duration) {
        let place = usize::try_from(time.as_nanos() / 100).unwrap_or(usize::MAX);
        let last = self.0.len() - 1;
        if let Some(count) = self.0.get_mut(place.min(last)) {
            *count += 1;
        }
    }

    /// The longest, with so many left out.
    fn but(&self, mut without: u64) -> Duration {
        let place = self.0.iter().rposition(|count| {
            let is_it = *count > without;
            without = without.saturating_sub(*count);
            is_it
        });
        Duration::from_nanos(100 * (place.unwrap_or(0) as u64 + 1))
    }
}
