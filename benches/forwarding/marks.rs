//! What many mark rules cost: packets of connections that stand, and first packets, which alone are held against the rules.

use crate::{
    director::{self, Lvs},
    measure::{Side, Spread, Windows, cpu_time},
    path::{Path, Syn},
    report::{Marks, tenth},
};
use anyhow::Result;
use dpdk::Mempool;
use engine::model::{Desired, MarkRule};
use std::time::Duration;
use types::{ForwardingMethod, Mark, Protocol};

const RULES: u16 = 10_000;
/// Connections that stand.
const STANDING: u32 = 10_000;
/// First packets in a window.
const NEW: u32 = 10_000;
/// Packets before a window, so that what the change of rules has pushed out of the caches is back.
const WARM: u32 = 2000;
const PATH: Path = Path {
    method: ForwardingMethod::Masq,
    protocol: Protocol::Udp,
    is_ipv6: false,
    is_reply: false,
    syn: Syn::No,
};

/// A director with ten thousand rules and without any, in turn; none of the rules is true of a packet. One director, because two in different
/// memory may differ by more than what is measured.
pub fn run(pairs: usize, tsc_hz: u64, pool: &Mempool) -> Result<Marks> {
    let windows = Windows {
        pairs,
        window: Duration::ZERO,
    };
    let room = 2 * (WARM + NEW) * u32::try_from(pairs + 1)?;
    let mut lvs = Lvs::with_room(PATH, STANDING, room, 1, pool)?;
    let bare = director::desired(PATH)?;
    let ruled = Desired {
        marks: rules()?,
        ..bare.clone()
    };
    let mut next = STANDING;
    #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
    let hz = tsc_hz as f64;
    let mut measure = |first_packets: bool| {
        let run = windows.compare(|side, _| {
            lvs.apply(match side {
                Side::First => &bare,
                Side::Second => &ruled,
            })?;
            let (warm, flows) = if first_packets {
                next += WARM + NEW;
                (next - NEW - WARM..next - NEW, next - NEW..next)
            } else {
                (0..WARM, 0..STANDING)
            };
            pass(&mut lvs, warm, false)?;
            let packets = f64::from(flows.end - flows.start);
            let making = pass(&mut lvs, flows.clone(), true)?;
            let all = pass(&mut lvs, flows, false)?;
            Ok(all.saturating_sub(making).as_secs_f64() * hz / packets)
        })?;
        let added = run.pairs.iter().map(|(bare, ruled)| ruled - bare);
        anyhow::Ok(Spread::of(added.collect()))
    };
    let (standing, first) = (measure(false)?, measure(true)?);
    Ok(Marks {
        rules: usize::from(RULES),
        added_clocks: tenth(standing.median),
        iqr: tenth(standing.range()),
        first_packet_added_clocks: tenth(first.median),
        first_packet_iqr: tenth(first.range()),
    })
}

/// CPU time of a packet of each flow; of making them alone, if `dry`.
fn pass(lvs: &mut Lvs, flows: std::ops::Range<u32>, dry: bool) -> Result<Duration> {
    let stamp = lvs.both_ways().0;
    let begun = cpu_time();
    let mut at = flows.start;
    while at < flows.end {
        let next = flows.end.min(at + 32);
        lvs.burst(&stamp, at..next, false, dry)?;
        at = next;
    }
    Ok(cpu_time() - begun)
}

/// A fifth each by a virtual address and port, a destination network, a client network, a client network with a port, a port
/// on an address.
fn rules() -> Result<Vec<MarkRule>> {
    (0..RULES)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            let host = format!("203.0.{high}.{low}/32").parse()?;
            let network = format!("100.{high}.{low}.0/24").parse()?;
            let port = vec![1 + n..=1 + n];
            let rule = MarkRule {
                mark: Mark(u32::from(n) + 1),
                protocol: Some(Protocol::Udp),
                ..MarkRule::default()
            };
            Ok(match n % 5 {
                0 => MarkRule {
                    destination: Some(host),
                    destination_ports: port,
                    ..rule
                },
                1 => MarkRule {
                    destination: Some(network),
                    ..rule
                },
                2 => MarkRule {
                    source: Some(network),
                    ..rule
                },
                3 => MarkRule {
                    source: Some(network),
                    destination_ports: port,
                    ..rule
                },
                _ => MarkRule {
                    destination: Some(host),
                    source_ports: port,
                    ..rule
                },
            })
        })
        .collect()
}
