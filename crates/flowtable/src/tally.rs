//! How many entries live, counted without a line all workers write.

use rcu::sync::{AtomicU64, Ordering};

/// Shards: an entry always counts in the shard its slot picks, so a shard never goes below zero.
const SHARDS: u32 = if cfg!(any(loom, shuttle)) { 1 } else { 16 };

/// What a table has done and holds. Sums of counters that move meanwhile: exact when the workers rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections alive, past their time but not swept included.
    pub connections: u64,
    /// Persistence templates alive.
    pub templates: u64,
    /// Claims refused because the probe sequence had no room.
    pub full: u64,
    /// Claims refused by the cap per client endpoint.
    pub client_full: u64,
    /// Claims that met another worker's claim of the same key, or its settling.
    pub busy: u64,
}

#[derive(Clone, Copy)]
pub enum Event {
    Full,
    ClientFull,
    Busy,
}

#[repr(align(128))]
struct Shard {
    connections: AtomicU64,
    templates: AtomicU64,
    events: [AtomicU64; 3],
}

pub struct Tally(Box<[Shard]>);

impl Tally {
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let shard = |_| Shard {
            connections: zero(),
            templates: zero(),
            events: [zero(), zero(), zero()],
        };
        Self((0..SHARDS).map(shard).collect())
    }

    pub fn born(&self, slot: u32, template: bool) {
        self.entries(slot, template).fetch_add(1, Ordering::Relaxed);
    }

    pub fn died(&self, slot: u32, template: bool) {
        self.entries(slot, template).fetch_sub(1, Ordering::Relaxed);
    }

    pub fn refused(&self, group: u32, event: Event) {
        self.shard(group).events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for shard in &self.0 {
            let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            sum.connections += load(&shard.connections);
            sum.templates += load(&shard.templates);
            sum.full += load(&shard.events[Event::Full as usize]);
            sum.client_full += load(&shard.events[Event::ClientFull as usize]);
            sum.busy += load(&shard.events[Event::Busy as usize]);
        }
        sum
    }

    fn entries(&self, slot: u32, template: bool) -> &AtomicU64 {
        let shard = self.shard(slot);
        if template {
            &shard.templates
        } else {
            &shard.connections
        }
    }

    fn shard(&self, number: u32) -> &Shard {
        &self.0[(number % SHARDS) as usize]
    }
}
