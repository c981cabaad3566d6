//! The table against a hash map, any sequence of what one worker can do.
#![cfg(not(any(loom, shuttle)))]
#![expect(
    clippy::unwrap_used,
    reason = "tests say by panicking that something is wrong"
)]

use flowtable::{
    Claim, Deltas, Expiry, Family, Kind, New, Side, Slot, StateFlags, Table, Tuple, V4, V6,
};
use hashbrown::HashMap;
use proptest::prelude::*;
use rcu::Domain;
use std::{collections::BTreeSet, sync::Arc};
use types::{Mark, ServerId, Tick};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A packet of connection `key`: found and touched, or made.
    Packet {
        key: u8,
        timeout_ms: u16,
    },
    /// Claimed and given up.
    Abandon {
        key: u8,
    },
    Reply {
        key: u8,
    },
    Remove {
        key: u8,
    },
    Advance {
        ms: u16,
    },
    Sweep {
        groups: u8,
    },
    Burst,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0_u8..90;
    prop_oneof![
        8 => (key.clone(), 1_u16..400).prop_map(|(key, timeout_ms)| Op::Packet { key, timeout_ms }),
        1 => key.clone().prop_map(|key| Op::Abandon { key }),
        4 => key.clone().prop_map(|key| Op::Reply { key }),
        1 => key.prop_map(|key| Op::Remove { key }),
        2 => (0_u16..200).prop_map(|ms| Op::Advance { ms }),
        2 => (0_u8..4).prop_map(|groups| Op::Sweep { groups }),
        2 => Just(Op::Burst),
    ]
}

struct Known {
    slot: Slot,
    last: Tick,
    timeout_ms: u16,
    server: u32,
}

impl Known {
    fn lives(&self, now: Tick) -> bool {
        now - self.last < u64::from(self.timeout_ms)
    }
}

fn run<F: Family>(
    table: Table<F>,
    domain: &Arc<Domain>,
    ops: &[Op],
    address: impl Fn(u8) -> F::Addr,
) {
    let mut reader = domain.reader().unwrap();
    reader.online();
    let mut cursor = table.cursor(0, 1);
    // Near the wrap of the stamp, where comparisons go wrong first.
    let (mut now, mut serial) = (Tick((1 << 32) - 1000), 0);
    let mut model: HashMap<u8, Known> = HashMap::new();
    // Three services per client endpoint.
    let tuple = |key: u8| Tuple {
        protocol: 6,
        client: address(key / 3),
        client_port: 1000,
        other: address(200),
        other_port: u16::from(key % 3),
    };
    let reply = |key: u8, server: u32| Tuple {
        other: address(201),
        other_port: u16::try_from(server % 65_521).unwrap(),
        ..tuple(key)
    };
    for &op in ops {
        match op {
            Op::Packet { key, .. }
            | Op::Abandon { key }
            | Op::Reply { key }
            | Op::Remove { key } => {
                let t = tuple(key);
                let h = table.hash(6, t.client, t.client_port);
                let expected = model
                    .get(&key)
                    .filter(|known| known.lives(now))
                    .map(|known| known.slot);
                assert_eq!(
                    table.find(h, &t, Side::Virtual, now),
                    expected,
                    "{op:?} at {now:?}"
                );
                match (op, expected) {
                    (Op::Reply { .. }, _) => {
                        if let Some(known) = model.get(&key) {
                            let seen = reply(key, known.server);
                            assert_eq!(table.find(h, &seen, Side::Server, now), expected);
                            let strange = reply(key, known.server + 1);
                            assert_eq!(table.find(h, &strange, Side::Server, now), None);
                        }
                    }
                    (Op::Remove { .. }, Some(slot)) => {
                        let generation = table.entry(slot).state().generation();
                        assert!(table.remove(slot, generation).is_some());
                        model.remove(&key);
                    }
                    (Op::Packet { .. }, Some(slot)) => {
                        table.entry(slot).touch(now);
                        let known = model.get_mut(&key).unwrap();
                        known.last = now;
                        assert_eq!(table.entry(slot).server(), ServerId(known.server));
                    }
                    (Op::Packet { .. } | Op::Abandon { .. }, _) => {
                        let stale = model.get(&key).map(|known| known.slot);
                        let mut settled = Vec::new();
                        let claim = table.claim(h, &t, Kind::Connection, now, &mut |e| {
                            settled.push(e.slot());
                            Expiry::Expire
                        });
                        // What was past its time and unswept must have been settled, once, and nothing else.
                        if expected.is_none() {
                            assert_eq!(settled.len(), usize::from(stale.is_some()));
                            model.remove(&key);
                        }
                        match (claim, op) {
                            (Claim::Exists(slot), _) => assert_eq!(Some(slot), expected),
                            (Claim::Won(embryo), Op::Packet { timeout_ms, .. }) => {
                                // By two: the odd ones are never used.
                                serial += 2;
                                let slot = embryo.publish(&New {
                                    daddr: address(201),
                                    dport: reply(key, serial).other_port,
                                    server: ServerId(serial),
                                    flags: 0,
                                    state: 0,
                                    state_flags: StateFlags::default(),
                                    timeout_ms: u32::from(timeout_ms),
                                    template: None,
                                    mark: Mark(0),
                                    deltas: Deltas::default(),
                                    note: 0,
                                });
                                model.insert(
                                    key,
                                    Known {
                                        slot,
                                        last: now,
                                        timeout_ms,
                                        server: serial,
                                    },
                                );
                            }
                            (Claim::Won(embryo), _) => drop(embryo),
                            (Claim::Full, _) => {}
                            (other, _) => panic!("{other:?} with one worker"),
                        }
                    }
                    _ => {}
                }
            }
            Op::Advance { ms } => now = now + u64::from(ms),
            Op::Sweep { groups } => {
                let mut ended = Vec::new();
                table.expire(now, &mut cursor, usize::from(groups), &mut |e| {
                    ended.push(e.slot());
                    Expiry::Expire
                });
                for slot in ended {
                    let ended: Vec<u8> = model
                        .iter()
                        .filter(|(_, known)| known.slot == slot)
                        .map(|(&key, _)| key)
                        .collect();
                    assert_eq!(ended.len(), 1, "a slot is one connection's");
                    assert!(
                        !model.remove(&ended[0]).unwrap().lives(now),
                        "ended before its time"
                    );
                }
            }
            Op::Burst => reader.quiesce(),
        }
        assert_eq!(table.counts().connections, model.len() as u64);
    }
    let mut listed = BTreeSet::new();
    let mut position = Some(0);
    while let Some(from) = position {
        position = table.list(from, 5, now, |entry| {
            assert!(listed.insert(entry.slot.index()), "listed twice");
        });
    }
    let alive: BTreeSet<u32> = model
        .values()
        .filter(|known| known.lives(now))
        .map(|known| known.slot.index())
        .collect();
    assert_eq!(listed, alive);
    drop(reader);
    for _ in 0..5 {
        table.expire(now + 1000, &mut cursor, usize::MAX, &mut |_| Expiry::Expire);
    }
    assert!(table.is_pristine());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_sequence_ipv4(ops in prop::collection::vec(op(), 0..400), capacity in 1_usize..120, key: [u64; 2]) {
        let domain = Domain::new(1);
        run(Table::<V4>::new(capacity, key, Arc::clone(&domain)).unwrap(), &domain, &ops, |n| 0x0a00_0000 + u32::from(n));
    }

    #[test]
    fn any_sequence_ipv6(ops in prop::collection::vec(op(), 0..400), capacity in 1_usize..120, key: [u64; 2]) {
        let domain = Domain::new(1);
        run(Table::<V6>::new(capacity, key, Arc::clone(&domain)).unwrap(), &domain, &ops, |n| (0xfd << 120) + u128::from(n));
    }
}
