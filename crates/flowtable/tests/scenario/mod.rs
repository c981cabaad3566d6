//! Workers that do at random all a worker can do, and check what must hold. Runs under shuttle's scheduler and on real
//! threads.

use flowtable::{
    Claim, Cursor, Deltas, Entry, Expiry, Generation, Kind, Name, New, Side, Slot, StateFlags,
    Table, Tuple, V4,
};
use rcu::{Domain, Reader, sync::Arc};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use types::{Mark, ServerId, Tick};

/// Client endpoints in play: few, so that workers meet; the first never end by themselves.
pub const KEYS: u16 = 40;
const PERMANENT: u16 = 4;
const TEMPLATES: u32 = 4;
const FOREVER_MS: u32 = 1_000_000;

/// What all workers share. Its counters are std's on purpose: they are the yardstick, not the thing measured.
pub struct World {
    pub table: Table<V4>,
    pub domain: Arc<Domain>,
    clock: AtomicU64,
    published: AtomicU64,
    ended: AtomicU64,
    /// Connections without INACTIVE, counted as the engine counts them.
    active: AtomicI64,
    pub won: AtomicU64,
}

pub struct Worker {
    world: Arc<World>,
    reader: Reader,
    cursor: Cursor,
    random: u64,
    now: Tick,
    /// Slots found since the last quiescent state: they must keep their key.
    held: Vec<(Slot, Tuple<u32>)>,
    /// Permanent connections this worker knows to exist.
    known: [bool; PERMANENT as usize],
    /// Templates in which this worker has counted a connection.
    controlled: Vec<(Slot, Generation)>,
}

impl World {
    pub fn new(readers: usize) -> Arc<Self> {
        let domain = Domain::new(readers);
        // Three groups for 44 keys and what waits for its grace period: chains, overflow and refusals all happen.
        let table = Table::new(32, [7, 9], Arc::clone(&domain)).expect("a small table");
        let zero = || AtomicU64::new(0);
        let (clock, published, ended, won) = (zero(), zero(), zero(), zero());
        Arc::new(Self {
            table,
            domain,
            clock,
            published,
            ended,
            active: AtomicI64::new(0),
            won,
        })
    }

    /// With all workers gone: everything that was published ends, once, and nothing is left behind.
    pub fn finish(&self) {
        let now = Tick(self.clock.load(SeqCst) + u64::from(FOREVER_MS) + 1);
        let mut cursor = self.table.cursor(0, 1);
        for _ in 0..5 {
            self.table
                .expire(now, &mut cursor, usize::MAX, &mut |e| self.end(e));
        }
        assert_eq!(
            self.published.load(SeqCst),
            self.ended.load(SeqCst),
            "published and ended"
        );
        assert_eq!(self.active.load(SeqCst), 0, "active connections");
        assert!(self.table.is_pristine(), "{:?}", self.table);
    }

    fn end(&self, entry: Entry<'_, V4>) -> Expiry {
        if entry.is_template() && entry.n_control() > 0 {
            return Expiry::Rearm { timeout_ms: 10 };
        }
        self.count_end(entry.state().flags());
        Expiry::Expire
    }

    fn count_end(&self, flags: StateFlags) {
        self.ended.fetch_add(1, SeqCst);
        if !flags.contains(StateFlags::INACTIVE) {
            self.active.fetch_sub(1, SeqCst);
        }
    }
}

fn connection(key: u16) -> Tuple<u32> {
    Tuple {
        protocol: 6,
        client: 1 + u32::from(key % 3),
        client_port: key,
        other: 2,
        other_port: 80,
    }
}

fn template(n: u32) -> Tuple<u32> {
    Tuple {
        protocol: 6,
        client: 1 << 8 | n,
        client_port: 0,
        other: 2,
        other_port: 80,
    }
}

impl Worker {
    pub fn new(world: &Arc<World>, number: u32, of: u32, seed: u64) -> Self {
        let mut reader = world.domain.reader().expect("a place for each worker");
        reader.online();
        Self {
            world: Arc::clone(world),
            reader,
            cursor: world.table.cursor(number, of),
            random: seed * 2 + 1,
            now: Tick(0),
            held: Vec::new(),
            known: [false; PERMANENT as usize],
            controlled: Vec::new(),
        }
    }

    pub fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        while let Some((slot, _)) = self.controlled.pop() {
            self.world.table.entry(slot).drop_control();
        }
    }

    fn step(&mut self) {
        match self.roll(16) {
            0..6 => {
                let key = u16::try_from(self.roll(u32::from(KEYS))).unwrap_or(0);
                self.packet(key);
            }
            6 => self.remove(),
            7 => self.persistence(),
            8 => {
                let ms = 1 + self.roll(3);
                self.world.clock.fetch_add(u64::from(ms), SeqCst);
            }
            9 => {
                self.boundary();
                self.reader.offline();
                self.reader.online();
            }
            10 => drop(self.list()),
            11 => {
                if let Some((slot, generation)) = self.controlled.pop() {
                    let entry = self.world.table.entry(slot);
                    assert_eq!(
                        entry.state().generation(),
                        generation,
                        "a template ended while it controls"
                    );
                    entry.drop_control();
                }
            }
            12..14 => {
                let (world, budget) = (
                    Arc::clone(&self.world),
                    usize::try_from(self.roll(4)).unwrap_or(0),
                );
                world
                    .table
                    .expire(self.now, &mut self.cursor, budget, &mut |e| world.end(e));
            }
            _ => self.boundary(),
        }
    }

    /// A packet of a connection: find it, else make it.
    fn packet(&mut self, key: u16) {
        let (world, now, t) = (Arc::clone(&self.world), self.now, connection(key));
        let h = world.table.hash(t.protocol, t.client, t.client_port);
        let side = if self.roll(2) == 0 {
            Side::Virtual
        } else {
            Side::Server
        };
        let seen = if side == Side::Virtual {
            t
        } else {
            Tuple {
                other: 3,
                other_port: 8080 + key,
                ..t
            }
        };
        if let Some(slot) = world.table.find(h, &seen, side, now) {
            self.held.push((slot, t));
            return self.established(slot, key);
        }
        if let Some(known) = self.known.get(usize::from(key)) {
            assert!(!known, "connection {key} is lost");
        }
        match world
            .table
            .claim(h, &t, Kind::Connection, now, &mut |e| world.end(e))
        {
            Claim::Won(embryo) => {
                world.won.fetch_add(1, SeqCst);
                assert_eq!(
                    world.table.find(h, &t, Side::Virtual, now),
                    None,
                    "won although it exists"
                );
                if key >= PERMANENT && self.roll(8) == 0 {
                    return drop(embryo);
                }
                let timeout_ms = if key < PERMANENT {
                    FOREVER_MS
                } else {
                    3 + self.roll(20)
                };
                world.published.fetch_add(1, SeqCst);
                world.active.fetch_add(1, SeqCst);
                let slot = embryo.publish(&new(8080 + key, timeout_ms));
                self.held.push((slot, t));
                if let Some(known) = self.known.get_mut(usize::from(key)) {
                    *known = true;
                }
            }
            Claim::Exists(slot) => self.held.push((slot, t)),
            Claim::Busy | Claim::Full => {}
            Claim::ClientFull => panic!("the cap is far away"),
        }
    }

    fn established(&mut self, slot: Slot, key: u16) {
        let flip = self.roll(3) == 0;
        let entry = self.world.table.entry(slot);
        if let Some(known) = self.known.get_mut(usize::from(key)) {
            *known = true;
        }
        entry.touch(self.now);
        let old = entry.state();
        let inactive = old.flags().contains(StateFlags::INACTIVE);
        let flags = match (flip, inactive) {
            (true, true) => old.flags().without(StateFlags::INACTIVE),
            (true, false) => old.flags().with(StateFlags::INACTIVE),
            _ => return,
        };
        if entry
            .compare_exchange_state(
                old,
                old.with_flags(flags)
                    .with_state(old.state().wrapping_add(1)),
            )
            .is_ok()
        {
            self.world
                .active
                .fetch_add(if inactive { 1 } else { -1 }, SeqCst);
        }
    }

    fn remove(&mut self) {
        let key = PERMANENT + u16::try_from(self.roll(u32::from(KEYS - PERMANENT))).unwrap_or(0);
        let (table, t) = (&self.world.table, connection(key));
        let h = table.hash(t.protocol, t.client, t.client_port);
        if let Some(slot) = table.find(h, &t, Side::Virtual, self.now)
            && let Some(last) = table.remove(slot, table.entry(slot).state().generation())
        {
            self.world.count_end(last.flags());
        }
    }

    /// Finds or makes a template, counts a connection in it, sometimes invalidates it.
    fn persistence(&mut self) {
        let (world, now) = (Arc::clone(&self.world), self.now);
        let t = template(self.roll(TEMPLATES));
        let h = world.table.template_hash(&t, Name::NONE);
        let found = world.table.find_template(h, &t, Name::NONE, now);
        let slot = found.or_else(|| {
            match world
                .table
                .claim(h, &t, Kind::Template(Name::NONE), now, &mut |e| {
                    world.end(e)
                }) {
                Claim::Won(embryo) => {
                    world.published.fetch_add(1, SeqCst);
                    world.active.fetch_add(1, SeqCst);
                    Some(embryo.publish(&new(80, 5)))
                }
                Claim::Exists(slot) => Some(slot),
                _ => None,
            }
        });
        let Some(slot) = slot else { return };
        self.held.push((slot, t));
        let entry = world.table.entry(slot);
        let generation = entry.state().generation();
        if entry.add_control() {
            self.controlled.push((slot, generation));
        }
        if self.roll(4) == 0
            && let Some(last) = world.table.remove(slot, generation)
        {
            world.count_end(last.flags());
        }
    }

    fn list(&mut self) -> u32 {
        let mut listed = 0;
        let mut position = Some(0);
        while let Some(from) = position {
            position = self.world.table.list(from, 7, self.now, |entry| {
                let key = entry.key;
                assert!(
                    key.template || key.dport == 8080 + key.cport,
                    "torn: {entry:?}"
                );
                listed += 1;
            });
        }
        listed
    }

    /// The end of a burst: what was found in it must still be what it was.
    fn boundary(&mut self) {
        for (slot, t) in self.held.drain(..) {
            assert_eq!(
                self.world.table.entry(slot).key().client_tuple(),
                t,
                "reused under a holder"
            );
        }
        for &(slot, generation) in &self.controlled {
            let entry = self.world.table.entry(slot);
            assert_eq!(
                entry.state().generation(),
                generation,
                "a template ended while it controls"
            );
            assert!(entry.n_control() > 0);
        }
        self.reader.quiesce();
        self.now = self.now.max(Tick(self.world.clock.load(SeqCst)));
    }

    fn roll(&mut self, sides: u32) -> u32 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from(self.random >> 32).unwrap_or(0) % sides
    }
}

fn new(dport: u16, timeout_ms: u32) -> New<u32> {
    New {
        daddr: 3,
        dport,
        server: ServerId(u32::from(dport)),
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
