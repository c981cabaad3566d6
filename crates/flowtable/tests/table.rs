//! What the table promises, one worker at a time.
#![cfg(not(any(loom, shuttle)))]
#![expect(
    clippy::unwrap_used,
    reason = "tests say by panicking that something is wrong"
)]

use flowtable::{
    Claim, Deltas, Entry, Expiry, Family, Kind, Name, New, Side, Slot, StateFlags, Table, Tuple,
    V4, V6,
};
use rcu::{Domain, Reader};
use std::sync::Arc;
use types::{Mark, ServerId, Tick};

const CLIENT: u32 = 0xc633_6407;
const VIP: u32 = 0xc000_020a;
const SERVER: u32 = 0x0a00_0001;

fn tuple(client: u32, client_port: u16) -> Tuple<u32> {
    Tuple {
        protocol: 6,
        client,
        client_port,
        other: VIP,
        other_port: 80,
    }
}

fn reply(t: &Tuple<u32>) -> Tuple<u32> {
    Tuple {
        other: SERVER,
        other_port: 8080,
        ..*t
    }
}

fn new<A>(daddr: A, timeout_ms: u32) -> New<A> {
    New {
        daddr,
        dport: 8080,
        server: ServerId(3),
        flags: 1,
        state: 2,
        state_flags: StateFlags::INACTIVE,
        timeout_ms,
        template: None,
        mark: Mark(9),
        deltas: Deltas {
            l3_in: 1,
            l3_out: 2,
            l4_in: 3,
            l4_out: 4,
        },
        note: 7,
    }
}

fn end<F: Family>(_: Entry<'_, F>) -> Expiry {
    Expiry::Expire
}

struct World {
    table: Table<V4>,
    reader: Reader,
}

fn world(capacity: usize) -> World {
    let domain = Domain::new(2);
    let mut reader = domain.reader().unwrap();
    reader.online();
    World {
        table: Table::new(capacity, [1, 2], Arc::clone(&domain)).unwrap(),
        reader,
    }
}

impl World {
    fn insert(&self, t: Tuple<u32>, timeout_ms: u32, now: Tick) -> Slot {
        match self.claim(&t, now) {
            Claim::Won(embryo) => embryo.publish(&new(SERVER, timeout_ms)),
            other => panic!("{other:?}"),
        }
    }

    fn claim(&self, t: &Tuple<u32>, now: Tick) -> Claim<'_, V4> {
        self.table.claim(
            self.table.hash(6, t.client, t.client_port),
            t,
            Kind::Connection,
            now,
            &mut end,
        )
    }

    fn find(&self, t: &Tuple<u32>, side: Side, now: Tick) -> Option<Slot> {
        self.table
            .find(self.table.hash(6, t.client, t.client_port), t, side, now)
    }

    /// Sweeps until every slot whose time has come is free.
    fn settle(&mut self, now: Tick, on: &mut dyn FnMut(Entry<'_, V4>) -> Expiry) -> u32 {
        let (mut cursor, mut expired) = (self.table.cursor(0, 1), 0);
        for _ in 0..6 {
            expired += self.table.expire(now, &mut cursor, usize::MAX, on).expired;
            self.reader.quiesce();
        }
        expired
    }
}

#[test]
fn one_slot_serves_both_directions() {
    let w = world(100);
    let (t, now) = (tuple(CLIENT, 40_000), Tick(1000));
    assert_eq!(w.find(&t, Side::Virtual, now), None);
    let slot = w.insert(t, 60_000, now);
    assert_eq!(w.find(&t, Side::Virtual, now), Some(slot));
    assert_eq!(w.find(&reply(&t), Side::Server, now), Some(slot));
    assert_eq!(w.find(&reply(&t), Side::Virtual, now), None);
    assert_eq!(w.find(&t, Side::Server, now), None);
    assert!(matches!(w.claim(&t, now), Claim::Exists(s) if s == slot));

    let e = w.table.entry(slot);
    assert_eq!(
        (e.server(), e.mark(), e.template(), e.note()),
        (ServerId(3), Mark(9), None, 7)
    );
    assert_eq!(
        e.deltas(),
        Deltas {
            l3_in: 1,
            l3_out: 2,
            l4_in: 3,
            l4_out: 4
        }
    );
    assert_eq!(
        (e.state().state(), e.state().flags()),
        (2, StateFlags::INACTIVE)
    );
    assert_eq!(
        (
            e.key().client_tuple(),
            e.key().server_tuple(),
            e.key().flags
        ),
        (t, reply(&t), 1)
    );
    assert_eq!((e.count_packet(), e.count_packet(), e.packets()), (1, 2, 2));
    assert_eq!(
        (w.table.counts().connections, w.table.counts().templates),
        (1, 0)
    );
}

#[test]
fn ipv6_too() {
    let domain = Domain::new(1);
    let table = Table::<V6>::new(100, [1, 2], domain).unwrap();
    let t = Tuple {
        protocol: 17,
        client: 1 << 100,
        client_port: 5,
        other: 2 << 90,
        other_port: 53,
    };
    let h = table.hash(17, t.client, 5);
    let Claim::Won(embryo) = table.claim(h, &t, Kind::Connection, Tick(0), &mut end) else {
        panic!()
    };
    let slot = embryo.publish(&new(7 << 80, 1000));
    assert_eq!(table.find(h, &t, Side::Virtual, Tick(1)), Some(slot));
    assert_eq!(
        table.find(
            h,
            &Tuple {
                other: 7 << 80,
                other_port: 8080,
                ..t
            },
            Side::Server,
            Tick(1)
        ),
        Some(slot)
    );
    assert_eq!(
        table.find(
            h,
            &Tuple {
                other: 3 << 90,
                ..t
            },
            Side::Virtual,
            Tick(1)
        ),
        None
    );
}

#[test]
fn an_embryo_is_not_found_and_a_dropped_one_leaves_nothing() {
    let mut w = world(100);
    let (t, now) = (tuple(CLIENT, 1), Tick(0));
    let Claim::Won(embryo) = w.claim(&t, now) else {
        panic!()
    };
    assert_eq!(w.find(&t, Side::Virtual, now), None);
    assert!(
        matches!(w.claim(&t, now), Claim::Busy),
        "another worker retries"
    );
    drop(embryo);
    assert_eq!(w.table.counts().connections, 0);
    w.insert(t, 10, now);
    assert_eq!(w.settle(Tick(10), &mut end), 1);
    assert!(w.table.is_pristine());
}

#[test]
fn the_clock_ends_connections_before_the_sweep_does() {
    let mut w = world(100);
    let t = tuple(CLIENT, 1);
    let slot = w.insert(t, 1000, Tick(0));
    w.table.entry(slot).touch(Tick(500));
    assert_eq!(w.find(&t, Side::Virtual, Tick(1499)), Some(slot));
    assert_eq!(w.table.entry(slot).expires_in_ms(Tick(1499)), 1);
    assert_eq!(w.find(&t, Side::Virtual, Tick(1500)), None);
    assert_eq!(
        w.table
            .list(0, u32::MAX, Tick(1500), |_| panic!("not listed")),
        None
    );
    let mut ends = 0;
    assert_eq!(w.settle(Tick(1499), &mut end), 0);
    assert_eq!(
        w.settle(Tick(1500), &mut |e| {
            assert_eq!(
                (e.slot(), e.state().state(), e.state().flags()),
                (slot, 2, StateFlags::INACTIVE)
            );
            ends += 1;
            Expiry::Expire
        }),
        1
    );
    assert_eq!(ends, 1);
    assert!(w.table.is_pristine());
}

#[test]
fn a_claim_settles_what_the_sweep_has_not_seen() {
    let w = world(100);
    let t = tuple(CLIENT, 1);
    let old = w.insert(t, 1000, Tick(0));
    let mut ends = 0;
    let h = w.table.hash(6, t.client, t.client_port);
    let claim = w
        .table
        .claim(h, &t, Kind::Connection, Tick(1000), &mut |e| {
            assert_eq!(e.slot(), old);
            ends += 1;
            Expiry::Expire
        });
    let Claim::Won(embryo) = claim else {
        panic!("{claim:?}")
    };
    assert_ne!(
        embryo.publish(&new(SERVER, 1000)),
        old,
        "the old slot may still be held"
    );
    assert_eq!((ends, w.table.counts().connections), (1, 1));
}

#[test]
fn a_removed_connection_makes_way_at_once_and_ends_once() {
    let mut w = world(100);
    let (t, now) = (tuple(CLIENT, 1), Tick(0));
    let old = w.insert(t, 1000, now);
    let generation = w.table.entry(old).state().generation();
    let last = w.table.remove(old, generation).expect("ended by this call");
    assert_eq!((last.state(), last.flags()), (2, StateFlags::INACTIVE));
    assert_eq!(w.table.remove(old, generation), None, "only once");
    let young = w.insert(t, 1000, now);
    assert_eq!(w.find(&t, Side::Virtual, now), Some(young));
    assert!(!w.table.entry(old).is_current(generation));
    let stale = w.table.entry(old).state();
    assert!(
        w.table
            .entry(old)
            .compare_exchange_state(stale, stale.with_state(9))
            .is_err()
    );
    // The dead slot is free after a grace period, not before.
    let mut cursor = w.table.cursor(0, 1);
    for _ in 0..5 {
        assert_eq!(
            w.table.expire(now, &mut cursor, usize::MAX, &mut end).freed,
            0,
            "a reader may hold it"
        );
    }
    w.reader.quiesce();
    let freed = (0..3)
        .map(|_| w.table.expire(now, &mut cursor, usize::MAX, &mut end).freed)
        .sum::<u32>();
    assert_eq!(freed, 1);
    assert_eq!(w.settle(Tick(1000), &mut end), 1);
    assert!(w.table.is_pristine());
}

#[test]
fn state_changes_by_compare_and_swap() {
    let w = world(100);
    let slot = w.insert(tuple(CLIENT, 1), 1000, Tick(0));
    let e = w.table.entry(slot);
    let old = e.state();
    let new = old.with_state(4).with_flags(
        old.flags()
            .without(StateFlags::INACTIVE)
            .with(StateFlags::user(0)),
    );
    e.compare_exchange_state(old, new).unwrap();
    assert_eq!(e.compare_exchange_state(old, new), Err(new));
    assert_eq!(
        (e.state().state(), e.state().generation()),
        (4, old.generation())
    );
}

#[test]
fn templates_live_while_they_control() {
    let mut w = world(100);
    let t = Tuple {
        protocol: 6,
        client: CLIENT & !0xff,
        client_port: 0,
        other: VIP,
        other_port: 80,
    };
    let h = w.table.template_hash(&t, Name::NONE);
    let Claim::Won(embryo) = w
        .table
        .claim(h, &t, Kind::Template(Name::NONE), Tick(0), &mut end)
    else {
        panic!()
    };
    let slot = embryo.publish(&new(SERVER, 1000));
    assert_eq!(
        w.table.find_template(h, &t, Name::NONE, Tick(0)),
        Some(slot)
    );
    assert_eq!(
        w.find(&t, Side::Virtual, Tick(0)),
        None,
        "a template is no connection"
    );
    let template = w.table.entry(slot);
    assert!(template.is_template() && template.add_control());
    let (generation, mut asked) = (template.state().generation(), 0);
    let mut on = |e: Entry<'_, V4>| {
        asked += 1;
        if e.n_control() > 0 {
            Expiry::Rearm { timeout_ms: 60_000 }
        } else {
            Expiry::Expire
        }
    };
    assert_eq!(w.settle(Tick(1000), &mut on), 0);
    assert_eq!(
        w.table.find_template(h, &t, Name::NONE, Tick(60_999)),
        Some(slot)
    );
    // A claim meets it past its time, unswept: the same question, the same answer.
    assert!(
        matches!(w.table.claim(h, &t, Kind::Template(Name::NONE), Tick(61_000), &mut on), Claim::Exists(s) if s == slot)
    );
    // Invalidated: never found, its key claimable, but not ended while it controls.
    assert_eq!(w.table.remove(slot, generation), None);
    assert_eq!(w.table.find_template(h, &t, Name::NONE, Tick(61_000)), None);
    assert!(matches!(
        w.table
            .claim(h, &t, Kind::Template(Name::NONE), Tick(61_000), &mut on),
        Claim::Won(_)
    ));
    assert_eq!(w.settle(Tick(61_000), &mut on), 0);
    assert!(w.table.entry(slot).is_current(generation));
    w.table.entry(slot).drop_control();
    assert_eq!(w.settle(Tick(61_000), &mut on), 1);
    assert!(asked >= 3);
    assert!(w.table.is_pristine());
}

#[test]
fn templates_of_one_key_are_told_apart_by_name() {
    let mut w = world(100);
    let t = tuple(CLIENT, 0);
    let name = |text: &[u64]| w.table.name(text);
    let names = [
        Name::NONE,
        name(&[]),
        name(&[0]),
        name(&[0, 0]),
        name(&[1, 2]),
        name(&[2, 1]),
    ];
    let mut slots = Vec::new();
    for (n, name) in names.iter().enumerate() {
        assert_eq!(names.iter().position(|other| other == name), Some(n));
        let h = w.table.template_hash(&t, *name);
        let kind = Kind::Template(*name);
        let Claim::Won(embryo) = w.table.claim(h, &t, kind, Tick(0), &mut end) else {
            panic!("{n}")
        };
        slots.push(embryo.publish(&new(SERVER, 1000)));
    }
    for (name, slot) in names.iter().zip(&slots) {
        let h = w.table.template_hash(&t, *name);
        let found = w.table.find_template(h, &t, *name, Tick(0));
        assert_eq!(found, Some(*slot));
        let kind = Kind::Template(*name);
        assert_eq!(w.table.copy(*slot, Tick(0)).unwrap().kind(), kind);
        assert!(matches!(
            w.table.claim(h, &t, kind, Tick(0), &mut end),
            Claim::Exists(s) if s == *slot
        ));
    }
    // Each leaves the group its own name led to.
    assert_eq!(w.settle(Tick(1000), &mut end), 6);
    assert!(w.table.is_pristine());
}

#[test]
fn full_refuses_the_new_and_keeps_the_established() {
    let mut w = world(20);
    let now = Tick(0);
    let slots = u16::try_from(w.table.slots()).unwrap();
    for port in 0..slots {
        w.insert(tuple(CLIENT, port), 1000, now);
    }
    assert!(matches!(w.claim(&tuple(CLIENT, slots), now), Claim::Full));
    assert_eq!(w.table.counts().full, 1);
    assert!((0..slots).all(|port| w.find(&tuple(CLIENT, port), Side::Virtual, now).is_some()));
    let mut listed = 0;
    let mut position = Some(0);
    while let Some(from) = position {
        position = w.table.list(from, 7, now, |_| listed += 1);
    }
    assert_eq!(listed, slots);
    assert_eq!(w.settle(Tick(1000), &mut end), u32::from(slots));
    assert!(w.table.is_pristine());
}

#[test]
fn one_client_endpoint_cannot_grow_a_chain() {
    let mut w = world(1000);
    w.table = w.table.with_client_cap(10);
    let to = |vport| Tuple {
        other_port: vport,
        ..tuple(CLIENT, 53)
    };
    for vport in 0..10 {
        w.insert(to(vport), 1000, Tick(0));
    }
    assert!(matches!(w.claim(&to(10), Tick(0)), Claim::ClientFull));
    assert!(matches!(w.claim(&to(9), Tick(0)), Claim::Exists(_)));
    w.insert(tuple(CLIENT, 54), 1000, Tick(0));
    assert_eq!(w.table.counts().client_full, 1);
}

#[test]
fn impossible_sizes_are_refused() {
    let error = |capacity| {
        Table::<V4>::new(capacity, [0, 0], Domain::new(1))
            .unwrap_err()
            .to_string()
    };
    assert!(error(0).contains("1 to 34"), "{}", error(0));
    assert!(error(usize::MAX).contains("impossible"));
}

#[test]
fn shares_of_cursors_cover_the_table_once() {
    let w = world(1000);
    for port in 0..500 {
        w.insert(tuple(CLIENT, port), 10, Tick(0));
    }
    let expired = (0..3)
        .map(|share| {
            w.table
                .expire(
                    Tick(10),
                    &mut w.table.cursor(share, 3),
                    usize::MAX,
                    &mut end,
                )
                .expired
        })
        .collect::<Vec<_>>();
    assert_eq!(expired.iter().sum::<u32>(), 500);
    assert!(expired.iter().all(|&n| n > 100), "{expired:?}");
}
