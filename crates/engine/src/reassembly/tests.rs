use super::*;
use crate::packet::{Parsed, parse};
use crate::testing::{World, desired, mac};
use proptest::prelude::*;
use sim::VecFrame;
use std::sync::Arc;
use types::PortId;
use wire::ipv4;

const NOW: Tick = Tick(1000);

fn limits(frames: u32) -> Limits {
    let settings = crate::model::Settings {
        ipfrag_high_thresh: frames * FRAGMENT_BYTES,
        ..crate::model::Settings::default()
    };
    Limits::new(&settings, NOW)
}

/// A UDP packet's bytes `from..to` as a fragment.
fn fragment(source: [u8; 4], id: u16, data: &[u8], from: usize, to: usize) -> VecFrame {
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    ip.extend(source);
    ip.extend([10, 0, 0, 100]);
    let len = u16::try_from(20 + to - from).unwrap();
    ip[2..4].copy_from_slice(&len.to_be_bytes());
    ip[4..6].copy_from_slice(&id.to_be_bytes());
    let more = u16::from(to < data.len()) << 13;
    let field = u16::try_from(from / 8).unwrap() | more;
    ip[6..8].copy_from_slice(&field.to_be_bytes());
    assert!(ipv4::fill_checksum(&mut ip));
    let mut frame = mac("02:00:00:00:00:01").0.to_vec();
    frame.extend([2, 0, 0, 0, 0, 0xfe, 8, 0]);
    frame.extend(ip);
    frame.extend(&data[from..to]);
    VecFrame::new(&frame)
}

struct Table {
    world: World,
    table: Arc<Reassembly<VecFrame>>,
    /// Frames that went in and have not come out.
    inside: u64,
    refused: Vec<DropReason>,
}

impl Table {
    fn new() -> Self {
        Self {
            world: World::of(&desired()),
            table: Arc::new(Reassembly::new([7, 9])),
            inside: 0,
            refused: Vec::new(),
        }
    }

    fn add(&mut self, limits: &Limits, frame: VecFrame) -> Option<Vec<u8>> {
        let packet = match parse(&frame, PortId(0), &self.world.snapshot.net) {
            Parsed::Ip(packet) => packet,
            other => panic!("{other:?}"),
        };
        let (outcome, gone) = self.table.add(limits, frame, &packet, true);
        for (reason, count) in gone {
            self.refused.push(reason);
            self.inside -= count;
        }
        match outcome {
            Outcome::Held => self.inside += 1,
            Outcome::Refused(_, reason) => self.refused.push(reason),
            Outcome::Whole(whole) => {
                self.inside -= whole.joined;
                assert_eq!(whole.packet.ip_len as usize + 14, whole.frame.total_len());
                return Some(whole.frame.bytes());
            }
        }
        None
    }

    /// Frees everything, by time.
    fn drain(&mut self) {
        let mut at = 0;
        while at < SHARDS {
            match self.table.expire(at, Tick(NOW.0 + 120_000)) {
                Some(expired) => {
                    self.inside -= expired.others + u64::from(expired.first.is_some());
                }
                None => at += 1,
            }
        }
    }
}

/// A UDP packet's bytes: ports, length, a pattern.
fn data(len: usize) -> Vec<u8> {
    let pattern = (0..251u8).map(|n| n.wrapping_mul(7));
    let mut data: Vec<u8> = pattern.cycle().take(len).collect();
    data[..8].copy_from_slice(&[0x13, 0x88, 0, 53, 0, 0, 0, 0]);
    data[4..6].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    data
}

proptest! {
    /// Whatever the cuts and the order, with repetitions of what is there: the packet comes out, once, byte for byte, and every
    /// frame is accounted for.
    #[test]
    fn cut_anyhow_it_comes_out_whole(
        len in 1usize..400,
        cuts in proptest::collection::btree_set(1usize..400, 0..12),
        order in any::<u64>(),
        again in any::<bool>(),
    ) {
        let data = data(len * 8);
        let mut edges = vec![0];
        edges.extend(cuts.iter().filter(|c| **c < len).map(|c| c * 8));
        edges.push(data.len());
        prop_assume!(edges.len() > 2);
        let mut pieces: Vec<(usize, usize)> = edges.windows(2).map(|w| (w[0], w[1])).collect();
        let mut random = order | 1;
        for n in (1..pieces.len()).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            pieces.swap(n, usize::try_from(random >> 33).unwrap() % (n + 1));
        }
        let mut table = Table::new();
        let limits = limits(FRAGMENTS);
        let last = pieces.len() - 1;
        for (n, (from, to)) in pieces.into_iter().enumerate() {
            let whole = table.add(&limits, fragment([172, 16, 0, 1], 7, &data, from, to));
            prop_assert_eq!(whole.is_some(), n == last);
            if let Some(whole) = whole {
                prop_assert_eq!(&whole[34..], &data[..]);
                prop_assert_eq!(wire::checksum::of(&whole[14..34]), 0);
            } else if again {
                prop_assert!(table.add(&limits, fragment([172, 16, 0, 1], 7, &data, from, to)).is_none());
                prop_assert_eq!(table.refused.pop(), Some(DropReason::FragmentDuplicate));
            }
        }
        prop_assert_eq!(table.inside, 0);
        prop_assert!(table.refused.is_empty());
    }

    /// Any fragments at all, few ids, little room: nothing is lost or invented.
    #[test]
    fn every_frame_is_accounted_for(
        frames in proptest::collection::vec((0u8..4, 0u16..3, 0usize..8, 1usize..6, any::<bool>()), 0..200),
        room in 0u32..20,
    ) {
        let mut table = Table::new();
        let limits = limits(room * 4);
        for (host, id, from, len, last) in frames {
            let end = (from + len) * 8;
            let data = data(if last { end } else { end + 8 });
            if from == 0 && last {
                continue;
            }
            let source = [172, 16, host, 1];
            let _ = table.add(&limits, fragment(source, id, &data, from * 8, end));
        }
        prop_assert!(table.inside <= u64::from(room * 4));
        table.drain();
        prop_assert_eq!(table.inside, 0);
    }
}

#[test]
fn what_overlaps_ends_the_packet() {
    let mut table = Table::new();
    let (limits, data) = (limits(FRAGMENTS), data(240));
    let source = [172, 16, 0, 1];
    assert!(
        table
            .add(&limits, fragment(source, 1, &data, 0, 80))
            .is_none()
    );
    assert!(
        table
            .add(&limits, fragment(source, 1, &data, 40, 160))
            .is_none()
    );
    assert_eq!(
        table.refused,
        [DropReason::FragmentOverlap, DropReason::FragmentOverlap]
    );
    assert_eq!(table.inside, 0);
    for (from, to) in [(0, 80), (80, 160)] {
        assert!(
            table
                .add(&limits, fragment(source, 1, &data, from, to))
                .is_none()
        );
    }
    assert!(
        table
            .add(&limits, fragment(source, 1, &data, 160, 240))
            .is_some()
    );
}

/// One network sends first fragments without end; a client elsewhere sends its packets in two.
#[test]
fn a_flood_from_one_network_does_not_starve_another() {
    let mut table = Table::new();
    let (limits, data) = (limits(64), data(160));
    let mut whole = 0;
    for n in 0..2000u16 {
        let flooder = [203, 0, 113, (n % 200) as u8];
        assert!(
            table
                .add(&limits, fragment(flooder, n, &data, 0, 80))
                .is_none()
        );
        let client = [172, 16, 0, 1];
        assert!(
            table
                .add(&limits, fragment(client, n, &data, 0, 80))
                .is_none()
        );
        for more in 0..20u16 {
            let id = 2000 + n * 20 + more;
            assert!(
                table
                    .add(&limits, fragment(flooder, id, &data, 0, 80))
                    .is_none()
            );
        }
        whole += u32::from(
            table
                .add(&limits, fragment(client, n, &data, 80, 160))
                .is_some(),
        );
    }
    assert_eq!(whole, 2000);
    assert!(table.inside <= 64, "{}", table.inside);
}

#[test]
fn time_ends_what_is_not_whole() {
    let mut table = Table::new();
    let (limits, data) = (limits(FRAGMENTS), data(160));
    assert!(
        table
            .add(&limits, fragment([172, 16, 0, 1], 1, &data, 0, 80))
            .is_none()
    );
    assert!(
        table
            .add(&limits, fragment([172, 16, 0, 1], 2, &data, 80, 160))
            .is_none()
    );
    let expired = |at: u64| -> Vec<(bool, u64)> {
        let all = (0..SHARDS).filter_map(|n| table.table.expire(n, Tick(NOW.0 + at)));
        all.map(|e| (e.first.is_some(), e.others)).collect()
    };
    assert!(expired(29_999).is_empty());
    let mut all = expired(30_000);
    all.extend(expired(30_000));
    all.sort_unstable();
    assert_eq!(all, [(false, 1), (true, 0)]);
}

/// Threads at once: packets of many senders come out whole, whoever adds which fragment.
#[test]
fn workers_share_it() {
    let table = Arc::new(Reassembly::<VecFrame>::new([1, 2]));
    let data = data(240);
    let counts: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let workers = (0..3usize).map(|worker| {
            let (table, data) = (&table, &data);
            scope.spawn(move || {
                let world = World::of(&desired());
                let limits = limits(FRAGMENTS);
                let (mut whole, mut busy) = (0, 0);
                for id in 0..500u16 {
                    let from = (worker + usize::from(id)) % 3 * 80;
                    let frame = fragment([172, 16, 0, 1], id, data, from, from + 80);
                    let Parsed::Ip(packet) = parse(&frame, PortId(0), &world.snapshot.net) else {
                        panic!("an IP packet");
                    };
                    match table.add(&limits, frame, &packet, true).0 {
                        Outcome::Whole(done) => {
                            assert_eq!(&done.frame.bytes()[34..], &data[..]);
                            whole += 1;
                        }
                        Outcome::Held => {}
                        Outcome::Refused(_, DropReason::FragmentBusy) => busy += 1,
                        Outcome::Refused(_, reason) => panic!("{reason:?}"),
                    }
                }
                (whole, busy)
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let (whole, busy) = counts.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    assert!(
        whole + busy >= 500 && whole <= 500,
        "{whole} whole, {busy} busy"
    );
}
