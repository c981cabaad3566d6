//! Connections coming and going: full TCP lives a second while many others stand, and many past their time at once.

use crate::{
    director::Lvs,
    measure::cpu_time,
    path::{Path, Syn},
    report::{Ageing, tenth},
};
use anyhow::{Context, Result, ensure};
use dpdk::Mempool;
use std::time::Duration;
use types::{ForwardingMethod, Protocol};
use wire::tcp;

/// A moment later than any timeout of the bench's director.
const LATER: Duration = Duration::from_secs(2 * 86_400);
/// Longer than TIME_WAIT, much shorter than an established connection's timeout.
const TIME_WAIT_OVER: Duration = Duration::from_secs(200);
/// Virtual milliseconds in which everything past its time must be gone, beside one for every fifty connections.
const PATIENCE: u32 = 10_000;

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
    let expiry = sweep(&mut lvs, TIME_WAIT_OVER, resident)?;
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
    let swept = sweep(&mut lvs, LATER, 0)?;
    let end = lvs.seen()?;
    ensure!(
        (end.active, end.inactive, end.connections) == (0, 0, 0),
        "connections are left: {end:?}"
    );
    let share = swept.total.as_secs_f64() / (f64::from(swept.calls) / 1000.0);
    Ok(Ageing {
        connections,
        worst_us: tenth(swept.worst.as_secs_f64() * 1e6),
        cpu_share: tenth(share * 100.0),
        seconds: tenth(f64::from(swept.calls) / 1000.0),
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
    calls: u32,
    total: Duration,
    /// The longest call; of a thousand, the slowest is left out: interrupts are booked to whoever runs.
    worst: Duration,
}

/// Lets `later` go by at once, then calls the clockwork every virtual millisecond until `left` connections are left.
fn sweep(lvs: &mut Lvs, later: Duration, left: u32) -> Result<Sweep> {
    let patience = PATIENCE + u32::try_from(lvs.seen()?.connections / 50)?;
    let lane = lvs.lanes.first_mut().context("no worker")?;
    lane.jump(later);
    let mut swept = Sweep {
        calls: 0,
        total: Duration::ZERO,
        worst: Duration::ZERO,
    };
    let mut times = Vec::new();
    loop {
        let lane = lvs.lanes.first_mut().context("no worker")?;
        lane.jump(Duration::from_millis(1));
        let begun = cpu_time();
        lane.clockwork();
        let spent = cpu_time() - begun;
        swept.calls += 1;
        swept.total += spent;
        times.push(spent);
        if swept.calls.is_multiple_of(64) && lvs.seen()?.connections <= u64::from(left) {
            times.sort_unstable();
            let at = times.len() - 1 - times.len() / 1000;
            swept.worst = times.get(at).copied().unwrap_or_default();
            return Ok(swept);
        }
        ensure!(swept.calls < patience, "connections past their time stay");
    }
}
