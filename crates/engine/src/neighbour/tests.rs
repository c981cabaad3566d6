//! The cache alone, without frames: what it tells senders, when it asks, what it forgets.

use super::{NeighbourId, NeighbourTable, Resolved, State, questions::UNUSED_MS};
use proptest::prelude::*;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use types::{InterfaceId, MacAddr, Tick};

const CL: InterfaceId = InterfaceId(0);
const RS: InterfaceId = InterfaceId(1);
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn table(capacity: usize) -> NeighbourTable {
    NeighbourTable::new(capacity, [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321])
}

fn ip(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

fn id_of(
    table: &NeighbourTable,
    interface: InterfaceId,
    address: IpAddr,
    now: Tick,
) -> NeighbourId {
    match table.resolve(interface, address, now) {
        Resolved::Unknown(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_is_in_a_slot_the_clockwork_looks_there() {
    let table = table(64);
    let settled = |table: &NeighbourTable| {
        let slots = 0..table.slots();
        slots.filter(|slot| table.is_settled(*slot)).count()
    };
    assert_eq!(settled(&table), 0);
    for n in 0..40 {
        let id = id_of(&table, CL, ip(n), Tick(1));
        assert!(table.is_settled(id.0 as usize));
        assert!(table.copy().is_settled(id.0 as usize));
    }
    assert_eq!(settled(&table), 40);
    assert!(!table.is_settled(table.slots()));
}

#[test]
fn a_neighbour_is_asked_for_once_a_second_three_times() {
    let table = table(16);
    let id = id_of(&table, CL, ip(1), Tick(5));
    let slot = id.0 as usize;
    let mut asked = Vec::new();
    for ms in 5..10_000 {
        if let Some(probe) = table.tend(slot, Tick(ms)) {
            assert_eq!(
                (probe.interface, probe.address, probe.to),
                (CL, ip(1), None)
            );
            asked.push(ms);
        }
    }
    assert_eq!(asked, [5, 1005, 2005]);
    assert!(
        table.check(id, CL, ip(1)).is_none(),
        "forgotten after its failure"
    );
}

#[test]
fn an_answer_serves_then_is_asked_again_itself() {
    let table = table(16);
    let id = id_of(&table, CL, ip(1), Tick(0));
    assert!(table.tend(id.0 as usize, Tick(0)).is_some());
    assert!(table.learn(CL, ip(1), MAC, false, Tick(20)));
    assert_eq!(table.resolve(CL, ip(1), Tick(25_000)), Resolved::Mac(MAC));
    assert_eq!(table.mac(id, Tick(25_000)), Some(MAC));
    assert_eq!(table.tend(id.0 as usize, Tick(30_000)), None, "fresh");
    let probe = table.tend(id.0 as usize, Tick(30_021)).unwrap();
    assert_eq!(probe.to, Some(MAC), "unicast first");
    assert_eq!(table.mac(id, Tick(30_022)), Some(MAC), "in use meanwhile");
    assert!(table.learn(CL, ip(1), MAC, false, Tick(30_023)));
    assert_eq!(
        table.check(id, CL, ip(1)).unwrap().state(),
        State::Reachable
    );
}

#[test]
fn an_unused_one_is_not_asked_and_goes() {
    let table = table(16);
    let id = id_of(&table, CL, ip(1), Tick(0));
    table.learn(CL, ip(1), MAC, false, Tick(1));
    for ms in (1..UNUSED_MS).step_by(500) {
        assert_eq!(table.tend(id.0 as usize, Tick(ms)), None);
    }
    assert!(table.check(id, CL, ip(1)).is_some());
    table.tend(id.0 as usize, Tick(UNUSED_MS + 10));
    assert!(table.check(id, CL, ip(1)).is_none());
    assert_eq!(table.entries.load(Relaxed), 0);
}

#[test]
fn a_pinned_one_stays_and_is_kept_resolved() {
    let table = table(16);
    let id = table.ensure(RS, ip(7), Tick(0)).unwrap();
    assert_eq!(table.ensure(RS, ip(7), Tick(0)), Some(id));
    let mut probes = 0;
    for ms in (0..200_000).step_by(10) {
        probes += usize::from(table.tend(id.0 as usize, Tick(ms)).is_some());
    }
    assert!(probes > 12, "asked again after failures: {probes}");
    assert!(table.check(id, RS, ip(7)).is_some());
    table.learn(RS, ip(7), MAC, false, Tick(200_000));
    assert!(
        table.tend(id.0 as usize, Tick(230_001)).is_some(),
        "kept fresh unused"
    );
    table.release(id);
    table.release(id);
    table.learn(RS, ip(7), MAC, false, Tick(230_002));
    table.tend(id.0 as usize, Tick(2_000_000));
    assert!(table.check(id, RS, ip(7)).is_none());
}

#[test]
fn what_was_set_by_hand_is_not_overruled() {
    let table = table(16);
    assert!(table.set_permanent(CL, ip(1), MAC, Tick(0)));
    assert!(!table.learn(CL, ip(1), MacAddr([2; 6]), true, Tick(1)));
    assert_eq!(table.resolve(CL, ip(1), Tick(2)), Resolved::Mac(MAC));
    assert_eq!(table.tend(id_slot(&table, ip(1)), Tick(1 << 40)), None);
    assert_eq!(table.resolve(CL, ip(1), Tick(1 << 40)), Resolved::Mac(MAC));
}

fn id_slot(table: &NeighbourTable, address: IpAddr) -> usize {
    table.find(CL, address).unwrap().0.0 as usize
}

#[test]
fn strangers_are_not_learned_and_askers_only_while_there_is_room() {
    let table = table(8);
    assert!(!table.learn(CL, ip(1), MAC, false, Tick(0)));
    let learned = (0..100)
        .filter(|n| table.learn(CL, ip(*n), MAC, true, Tick(0)))
        .count();
    assert_eq!(learned, 4);
}

#[test]
fn a_full_table_says_so_and_serves_those_it_has() {
    let table = table(8);
    let found: Vec<_> = (0..20).map(|n| table.resolve(CL, ip(n), Tick(0))).collect();
    let full = found.iter().filter(|r| **r == Resolved::Full).count();
    assert_eq!(full, 12);
    assert_eq!(table.resolve(CL, ip(0), Tick(1)), found[0]);
}

#[test]
fn an_interface_that_became_another_is_forgotten() {
    let table = table(16);
    table.learn(CL, ip(1), MAC, true, Tick(0));
    table.learn(RS, ip(1), MAC, true, Tick(0));
    let pinned = table.ensure(CL, ip(2), Tick(0)).unwrap();
    table.learn(CL, ip(2), MAC, false, Tick(0));
    table.forget_interface(CL, Tick(1));
    assert_eq!(table.peek(CL, ip(1)), None);
    assert_eq!(table.peek(RS, ip(1)), Some(MAC));
    assert_eq!(table.mac(pinned, Tick(1)), None);
    assert!(table.check(pinned, CL, ip(2)).is_some());
}

#[test]
fn workers_that_meet_the_same_new_neighbours_make_one_entry_each() {
    let table = table(512);
    let barrier = Barrier::new(4);
    let found: Vec<Vec<Resolved>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    (0..400)
                        .map(|n| {
                            loop {
                                // A worker that could not take the flag drops a packet; its sender tries again.
                                let found = table.resolve(CL, ip(n), Tick(0));
                                if found != Resolved::Full {
                                    break found;
                                }
                            }
                        })
                        .collect()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for other in &found {
        assert_eq!(*other, found[0]);
    }
    let mut listed = 0;
    table.list(Tick(0), &mut |_| listed += 1);
    assert_eq!((listed, table.entries.load(Relaxed)), (400, 400));
}

#[test]
fn one_question_goes_to_one_worker() {
    let table = table(16);
    let slot = id_of(&table, CL, ip(1), Tick(0)).0 as usize;
    for round in 0..3u64 {
        let now = Tick(round * 1000);
        let barrier = Barrier::new(4);
        let asked: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        (0..50).filter(|_| table.tend(slot, now).is_some()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(asked, 1);
    }
}

#[test]
fn a_reader_never_meets_one_neighbour_s_mac_under_another_s_address() {
    let table = table(8);
    let done = AtomicBool::new(false);
    let mac_of = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    };
    let met = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut met = 0u64;
            while !done.load(Relaxed) {
                for n in 0..64 {
                    if let Some(mac) = table.peek(CL, ip(n)) {
                        assert_eq!(mac, mac_of(n));
                        met += 1;
                    }
                }
            }
            met
        });
        for n in 0..200_000u32 {
            let n = n % 64;
            table.learn(CL, ip(n), mac_of(n), true, Tick(0));
            if n % 3 == 2 {
                table.forget_interface(CL, Tick(0));
            }
        }
        done.store(true, Relaxed);
        reader.join().unwrap()
    });
    assert!(met > 0);
}

proptest! {
    /// Against a map, with entries of both families coming and going.
    #[test]
    fn it_is_a_map(steps in proptest::collection::vec((0u32..60, any::<bool>(), 0u8..4), 1..400)) {
        let table = table(64);
        let mut model: HashMap<(InterfaceId, IpAddr), MacAddr> = HashMap::new();
        let mut now = Tick(0);
        for (n, six, action) in steps {
            now = now + 7;
            let address = if six { Ipv6Addr::from_bits(u128::from(n) << 60).into() } else { ip(n) };
            let interface = InterfaceId(u16::try_from(n & 1).unwrap());
            let mac = MacAddr([2, 0, action, 0, 0, u8::try_from(n).unwrap()]);
            match action {
                0 => {
                    if table.learn(interface, address, mac, true, now) {
                        model.insert((interface, address), mac);
                    }
                }
                1 => {
                    let known = model.contains_key(&(interface, address));
                    prop_assert_eq!(table.learn(interface, address, mac, false, now), known);
                    if known {
                        model.insert((interface, address), mac);
                    }
                }
                2 => {
                    table.forget_interface(interface, now);
                    model.retain(|(i, _), _| *i != interface);
                }
                _ => prop_assert_eq!(table.peek(interface, address), model.get(&(interface, address)).copied()),
            }
        }
        let mut listed = HashMap::new();
        table.list(now, &mut |view| {
            listed.insert((view.interface, view.address), view.mac.unwrap());
        });
        prop_assert_eq!(listed, model);
    }
}
