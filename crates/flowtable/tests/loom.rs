//! Interleavings of small scenes on a table of one group, under loom's memory model. See the crate's documentation for
//! how to run it. (Listings are left to shuttle and threads: a dozen relaxed loads are too many choices here.)
#![cfg(loom)]
#![expect(
    clippy::unwrap_used,
    reason = "tests say by panicking that something is wrong"
)]

use flowtable::{Claim, Deltas, Expiry, Kind, Name, New, Side, StateFlags, Table, Tuple, V4};
use loom::thread;
use rcu::{Domain, sync::Arc};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use types::{Mark, ServerId, Tick};

const NOW: Tick = Tick(1000);

fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(f);
}

fn tuple(client_port: u16) -> Tuple<u32> {
    Tuple {
        protocol: 6,
        client: 1,
        client_port,
        other: 2,
        other_port: 80,
    }
}

fn new(timeout_ms: u32, dport: u16) -> New<u32> {
    New {
        daddr: 3,
        dport,
        server: ServerId(0),
        flags: 0,
        state: 0,
        state_flags: StateFlags::default(),
        timeout_ms,
        template: None,
        mark: Mark(0),
        deltas: Deltas::default(),
        note: 0,
    }
}

fn table(readers: usize) -> (Arc<Domain>, Arc<Table<V4>>) {
    let domain = Domain::new(readers);
    let table = Table::new(1, [0, 0], Arc::clone(&domain)).unwrap();
    (domain, Arc::new(table))
}

fn claim<'a>(table: &'a Table<V4>, t: &Tuple<u32>) -> Claim<'a, V4> {
    table.claim(
        table.hash(6, t.client, t.client_port),
        t,
        Kind::Connection,
        NOW,
        &mut |_| Expiry::Expire,
    )
}

fn find(table: &Table<V4>, t: &Tuple<u32>) -> Option<flowtable::Slot> {
    table.find(
        table.hash(6, t.client, t.client_port),
        t,
        Side::Virtual,
        NOW,
    )
}

/// Sweeps with all readers gone, until everything that can end has.
fn settle(table: &Table<V4>, now: Tick) {
    let mut cursor = table.cursor(0, 1);
    for _ in 0..4 {
        table.expire(now, &mut cursor, 1, &mut |_| Expiry::Expire);
    }
}

#[test]
fn two_claimants_one_winner() {
    model(3, || {
        let (_, table) = table(0);
        let won = Arc::new(AtomicU32::new(0));
        let worker = |_| {
            let (table, won) = (Arc::clone(&table), Arc::clone(&won));
            move || match claim(&table, &tuple(1)) {
                Claim::Won(embryo) => {
                    embryo.publish(&new(1000, 80));
                    won.fetch_add(1, SeqCst);
                }
                Claim::Exists(slot) => assert_eq!(find(&table, &tuple(1)), Some(slot)),
                Claim::Busy => {}
                refused => panic!("{refused:?}"),
            }
        };
        let other = thread::spawn(worker(1));
        worker(0)();
        other.join().unwrap();
        assert_eq!((won.load(SeqCst), table.counts().connections), (1, 1));
        settle(&table, Tick(2000));
        assert!(table.is_pristine());
    });
}

/// Candidates whose tags stand in different words: only the fence between tag and walk orders them.
#[test]
fn two_claimants_in_different_words() {
    model(2, || {
        let (_, table) = table(0);
        for port in 10..17 {
            let Claim::Won(embryo) = claim(&table, &tuple(port)) else {
                panic!()
            };
            embryo.publish(&new(1000, 80));
        }
        let claimant = |table: &Table<V4>| match claim(table, &tuple(1)) {
            Claim::Won(embryo) => {
                embryo.publish(&new(1000, 80));
                1
            }
            Claim::Exists(_) | Claim::Busy => 0,
            refused => panic!("{refused:?}"),
        };
        let other = thread::spawn({
            let table = Arc::clone(&table);
            move || claimant(&table)
        });
        let won = claimant(&table) + other.join().unwrap();
        assert_eq!((won, table.counts().connections), (1, 8));
    });
}

/// A candidate that stands earlier than one which has finished its walk: only a defeat can keep that one from winning.
#[test]
fn a_lane_freed_between_two_claimants() {
    model(2, || {
        let (_, table) = table(0);
        let Claim::Won(first_lane) = claim(&table, &tuple(9)) else {
            panic!()
        };
        let claimant = |table: &Table<V4>| match claim(table, &tuple(1)) {
            Claim::Won(embryo) => {
                embryo.publish(&new(1000, 80));
                1
            }
            Claim::Exists(_) | Claim::Busy => 0,
            refused => panic!("{refused:?}"),
        };
        let other = thread::spawn({
            let table = Arc::clone(&table);
            move || claimant(&table)
        });
        drop(first_lane);
        let won = claimant(&table) + other.join().unwrap();
        assert_eq!((won, table.counts().connections), (1, 1));
        settle(&table, Tick(2000));
        assert!(table.is_pristine());
    });
}

#[test]
fn an_abandoned_claim_leaves_nothing() {
    model(3, || {
        let (_, table) = table(0);
        let other = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                if let Claim::Won(embryo) = claim(&table, &tuple(1)) {
                    drop(embryo);
                }
            }
        });
        let won = match claim(&table, &tuple(1)) {
            Claim::Won(embryo) => {
                embryo.publish(&new(1000, 80));
                1
            }
            Claim::Busy => 0,
            refused => panic!("{refused:?}"),
        };
        other.join().unwrap();
        assert_eq!(table.counts().connections, won);
        settle(&table, Tick(2000));
        assert!(table.is_pristine());
    });
}

#[test]
fn a_slot_is_not_reused_under_its_reader() {
    model(3, || {
        let (domain, table) = table(1);
        let mut reader = domain.reader().unwrap();
        let Claim::Won(embryo) = claim(&table, &tuple(1)) else {
            panic!()
        };
        let slot = embryo.publish(&new(1000, 80));
        let worker = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                reader.online();
                if let Some(slot) = find(&table, &tuple(1)) {
                    let entry = table.entry(slot);
                    assert_eq!(entry.key().client_tuple(), tuple(1));
                    assert_eq!(entry.key().dport, 80);
                }
                reader.quiesce();
                if let Some(slot) = find(&table, &tuple(2)) {
                    let entry = table.entry(slot);
                    assert_eq!(
                        (entry.key().client_tuple(), entry.key().dport),
                        (tuple(2), 8080)
                    );
                }
            }
        });
        assert!(
            table
                .remove(slot, table.entry(slot).state().generation())
                .is_some()
        );
        let mut cursor = table.cursor(0, 1);
        for _ in 0..3 {
            table.expire(NOW, &mut cursor, 1, &mut |_| {
                panic!("nothing is past its time")
            });
        }
        let Claim::Won(embryo) = claim(&table, &tuple(2)) else {
            panic!()
        };
        embryo.publish(&new(1000, 8080));
        worker.join().unwrap();
    });
}

#[test]
fn an_end_is_settled_once_and_a_touch_before_it_counts() {
    model(3, || {
        let (_, table) = table(0);
        let Claim::Won(embryo) = claim(&table, &tuple(1)) else {
            panic!()
        };
        let slot = embryo.publish(&new(1000, 80));
        let ends = Arc::new(AtomicU32::new(0));
        let sweeper = |_| {
            let (table, ends) = (Arc::clone(&table), Arc::clone(&ends));
            move || {
                table.expire(Tick(2000), &mut table.cursor(0, 1), 1, &mut |_| {
                    ends.fetch_add(1, SeqCst);
                    Expiry::Expire
                });
            }
        };
        let other = thread::spawn(sweeper(1));
        let removed = find(&table, &tuple(1)).and_then(|slot| {
            let entry = table.entry(slot);
            entry.touch(Tick(1999));
            table.remove(slot, entry.state().generation())
        });
        sweeper(0)();
        other.join().unwrap();
        // It may live: touched while a sweeper settled it, and not removed because of that.
        let ended = ends.load(SeqCst) + u32::from(removed.is_some());
        assert!(ended <= 1, "ended twice");
        assert_eq!(table.counts().connections, u64::from(1 - ended));
        assert_eq!(table.copy(slot, Tick(1999)).is_some(), ended == 0);
    });
}

#[test]
fn a_template_that_gained_a_connection_is_not_ended() {
    model(3, || {
        let (_, table) = table(0);
        let t = Tuple {
            client_port: 0,
            ..tuple(0)
        };
        let h = table.template_hash(&t, Name::NONE);
        let Claim::Won(embryo) =
            table.claim(h, &t, Kind::Template(Name::NONE), NOW, &mut |_| panic!())
        else {
            panic!()
        };
        let slot = embryo.publish(&new(1000, 80));
        let worker = thread::spawn({
            let table = Arc::clone(&table);
            move || table.entry(slot).add_control()
        });
        table.expire(Tick(2000), &mut table.cursor(0, 1), 1, &mut |e| {
            if e.n_control() > 0 {
                Expiry::Rearm { timeout_ms: 1000 }
            } else {
                Expiry::Expire
            }
        });
        let controls = worker.join().unwrap();
        assert_eq!(table.entry(slot).n_control(), u32::from(controls));
        assert!(
            !controls || table.counts().templates == 1,
            "the connection's template is gone"
        );
    });
}

#[test]
fn a_template_that_gained_a_connection_is_only_unhashed() {
    model(3, || {
        let (_, table) = table(0);
        let t = Tuple {
            client_port: 0,
            ..tuple(0)
        };
        let h = table.template_hash(&t, Name::NONE);
        let Claim::Won(embryo) =
            table.claim(h, &t, Kind::Template(Name::NONE), NOW, &mut |_| panic!())
        else {
            panic!()
        };
        let slot = embryo.publish(&new(1000, 80));
        let generation = table.entry(slot).state().generation();
        let worker = thread::spawn({
            let table = Arc::clone(&table);
            move || table.entry(slot).add_control()
        });
        let removed = table.remove(slot, generation).is_some();
        let controls = worker.join().unwrap();
        assert!(!(controls && removed), "the connection's template is gone");
        assert_eq!(table.counts().templates, u64::from(!removed));
        assert_eq!(table.find_template(h, &t, Name::NONE, NOW), None);
    });
}
