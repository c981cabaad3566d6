//! The table: construction and the lookups of the packet path.

use crate::{
    entry::{Entry, NO_SLOT, Row},
    family::{Family, KeyCells, OnWire, Side, Static, Tuple},
    group::{Group, LANES, PROBE_LIMIT},
    hash::{Hash, Hasher, Name},
    memory::{Region, Zeroed, prefetch, prefetch_to_write},
    state::Lifecycle,
    tally::{Counts, Tally},
};
use rcu::{
    Domain,
    sync::{Arc, AtomicU32, Ordering::Relaxed},
};
use std::{fmt, io, ops::ControlFlow};
use thiserror::Error;
use types::Tick;

/// Why there is no table.
#[derive(Debug, Error)]
pub enum TableError {
    /// Nothing, or more than a 32-bit slot number can name.
    #[error("a connection table for {capacity} connections is impossible; 1 to {max}")]
    Capacity {
        /// What was asked.
        capacity: usize,
        /// What can be.
        max: usize,
    },
    /// The kernel gives no memory.
    #[error(
        "no memory for a connection table of {capacity} connections ({bytes} bytes): {source}; make it smaller"
    )]
    Memory {
        /// What was asked.
        capacity: usize,
        /// What it takes.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Where an entry is. Of use to its table only, and only until the worker's next quiescent state unless the generation
/// is kept and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub(crate) u32);

impl Slot {
    /// No slot of any table.
    pub const NOWHERE: Self = Self(NO_SLOT);

    /// The slot's number.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }

    /// The slot of that number, which may be nobody's: [`Table::copy`] tells.
    #[must_use]
    pub const fn numbered(index: u32) -> Self {
        Self(index)
    }

    pub(crate) fn linked(index: u32) -> Option<Self> {
        (index != NO_SLOT).then_some(Self(index))
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection.
    Connection,
    /// A persistence template, with the name that tells it from others of its key.
    Template(Name),
}

impl Kind {
    pub(crate) const fn is_template(self) -> bool {
        matches!(self, Self::Template(_))
    }
}

/// Connections of one address family.
pub struct Table<F: Family> {
    pub(crate) groups: Region<Group>,
    /// The entry of lane l of group g is row 14 g + l.
    pub(crate) rows: Region<Row<F::Cells>>,
    pub(crate) group_count: u32,
    pub(crate) hasher: Hasher,
    pub(crate) domain: Arc<Domain>,
    pub(crate) tally: Tally,
    pub(crate) client_cap: AtomicU32,
    capacity: usize,
}

/// Connections one client endpoint may have unless [`Table::with_client_cap`] says otherwise. They all probe from one
/// group, so this bounds what one client can make its own lookups cost.
const CLIENT_CAP: u32 = 64;

/// Slots per connection of capacity: 5/4, because probe sequences grow steeply beyond a load of 0.8.
const fn slots_for(capacity: usize) -> usize {
    capacity.saturating_add(capacity.div_ceil(4))
}

/// Slot numbers stay below [`NO_SLOT`].
const MAX_GROUPS: usize = (NO_SLOT / LANES - 1) as usize;
const MAX_CAPACITY: usize = MAX_GROUPS * LANES as usize / 5 * 4;

impl<F: Family> Table<F>
where
    Row<F::Cells>: Zeroed,
{
    /// A table with room for `capacity` connections, all its memory taken now. `key` must be random and secret where
    /// senders are not trusted. Workers that use the table register with `domain`.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn new(capacity: usize, key: [u64; 2], domain: Arc<Domain>) -> Result<Self, TableError> {
        if capacity == 0 || capacity > MAX_CAPACITY {
            return Err(TableError::Capacity {
                capacity,
                max: MAX_CAPACITY,
            });
        }
        let groups = slots_for(capacity).div_ceil(LANES as usize);
        let slots = groups * LANES as usize;
        let bytes = groups * size_of::<Group>() + slots * size_of::<Row<F::Cells>>();
        let refused = |source| TableError::Memory {
            capacity,
            bytes,
            source,
        };
        let group_count = u32::try_from(groups).map_err(|_| TableError::Capacity {
            capacity,
            max: MAX_CAPACITY,
        })?;
        Ok(Self {
            groups: Region::new(groups).map_err(refused)?,
            rows: Region::new(slots).map_err(refused)?,
            group_count,
            hasher: Hasher::new(key, group_count),
            domain,
            tally: Tally::new(),
            client_cap: AtomicU32::new(CLIENT_CAP),
            capacity,
        })
    }

    /// Has the kernel back all memory now instead of at first use, so that no packet waits for it. False if it cannot.
    pub fn populate(&self) -> bool {
        self.groups.populate() & self.rows.populate()
    }
}

impl<F: Family> Table<F> {
    /// Changes the cap on connections per client endpoint (protocol, address, port). At least 1.
    #[must_use]
    pub fn with_client_cap(self, connections: u32) -> Self {
        self.set_client_cap(connections);
        self
    }

    /// [`Table::with_client_cap`] while the table is in use: it holds for claims from now on.
    pub fn set_client_cap(&self, connections: u32) {
        self.client_cap.store(connections.max(1), Relaxed);
    }

    /// The hash to look a packet up by: of its client's endpoint.
    #[inline]
    #[must_use]
    pub fn hash(&self, protocol: u8, client: F::Addr, client_port: u16) -> Hash {
        self.hasher.endpoint::<F>(protocol, client, client_port)
    }

    /// [`Table::hash`] of a packet.
    #[inline(always)]
    #[must_use]
    pub fn hash_packet(&self, packet: &OnWire<F>, side: Side) -> Hash {
        self.hasher.packet(packet, side)
    }

    /// The hash to look a persistence template up by: of all its key.
    #[inline]
    #[must_use]
    pub fn template_hash(&self, t: &Tuple<F::Addr>, name: Name) -> Hash {
        self.hasher.template::<F>(t, name)
    }

    /// The name of a text, for [`Table::template_hash`]. The same in every table of the same key.
    #[must_use]
    pub fn name(&self, text: &[u64]) -> Name {
        self.hasher.name(text)
    }

    /// A keyed digest of an address with a number, for who keeps a table of his own by clients: nobody can aim
    /// at its places. The same in tables of the same key.
    #[must_use]
    pub fn digest(&self, address: F::Addr, number: u16) -> u64 {
        self.hasher.digest::<F>(address, number)
    }

    /// Stage 1 of a lookup: fetch the home group's tags.
    #[inline]
    pub fn prefetch_tags(&self, h: Hash) {
        prefetch(&self.groups, h.group);
    }

    /// Stage 2: fetch the first entry whose tag fits, and say where it is. If there is none, the free one that a new connection
    /// would take.
    #[inline]
    pub fn candidate(&self, h: Hash) -> Slot {
        let Some(group) = self.groups.get(h.group as usize) else {
            return Slot::NOWHERE;
        };
        let tags = group.load();
        let fitting = tags.matching(h.tag).next();
        let Some(lane) = fitting.or_else(|| tags.matching(0).next()) else {
            return Slot::NOWHERE;
        };
        let slot = Slot(h.group * LANES + lane);
        prefetch_to_write(&self.rows, slot.0);
        slot
    }

    /// [`Table::find_entry`] of a packet that looks at the candidate of stage 2 first. It may be anything by now: it is
    /// compared as any other, the key in full.
    #[inline(always)]
    #[must_use]
    pub fn find_from(
        &self,
        candidate: Slot,
        h: Hash,
        packet: &OnWire<F>,
        side: Side,
        now: Tick,
    ) -> Option<(Entry<'_, F>, Static)> {
        if let Some(row) = self.rows.get(candidate.0 as usize)
            && row.state().is_matchable()
            && let Some(found) = row.key.met(packet, side)
            && !row.past_its_time(now)
        {
            let slot = candidate;
            return Some((Entry { row, slot }, found));
        }
        self.find_beyond(h, *packet, side, now)
    }

    /// Whether there is no such connection, from the home group's tags alone: at once for most that there are not. No says nothing.
    #[inline(always)]
    #[must_use]
    pub fn is_surely_absent(&self, h: Hash) -> bool {
        let tags = self.groups.get(h.group as usize).map(Group::load);
        tags.is_some_and(|tags| tags.overflow() == 0 && tags.matching(h.tag).next().is_none())
    }

    /// By value, so that the packet's ends need not be in memory where the candidate is it.
    #[cold]
    #[inline(never)]
    fn find_beyond(
        &self,
        h: Hash,
        packet: OnWire<F>,
        side: Side,
        now: Tick,
    ) -> Option<(Entry<'_, F>, Static)> {
        let entry = self.lookup(h, &packet.tuple(side), side, Kind::Connection, now)?;
        let found = Static {
            flags: entry.key().flags,
            server: entry.server(),
        };
        Some((entry, found))
    }

    /// Stage 3: the live connection a packet belongs to, its full key compared; never one past its time by `now`, and
    /// never a template.
    #[inline]
    #[must_use]
    pub fn find(&self, h: Hash, t: &Tuple<F::Addr>, side: Side, now: Tick) -> Option<Slot> {
        self.lookup(h, t, side, Kind::Connection, now)
            .map(|entry| entry.slot)
    }

    /// [`Table::find`] and [`Table::entry`] in one.
    #[inline]
    #[must_use]
    pub fn find_entry(
        &self,
        h: Hash,
        t: &Tuple<F::Addr>,
        side: Side,
        now: Tick,
    ) -> Option<Entry<'_, F>> {
        self.lookup(h, t, side, Kind::Connection, now)
    }

    /// The live template of exactly this key and name.
    #[inline]
    #[must_use]
    pub fn find_template(
        &self,
        h: Hash,
        t: &Tuple<F::Addr>,
        name: Name,
        now: Tick,
    ) -> Option<Slot> {
        self.lookup(h, t, Side::Virtual, Kind::Template(name), now)
            .map(|entry| entry.slot)
    }

    #[inline]
    fn lookup(
        &self,
        h: Hash,
        t: &Tuple<F::Addr>,
        side: Side,
        kind: Kind,
        now: Tick,
    ) -> Option<Entry<'_, F>> {
        self.probe(h, |slot, row| {
            if is_it::<F>(row, t, side, kind, now) {
                ControlFlow::Break(Entry { row, slot })
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    /// What a slot holds. A worker may ask for slots it found since its last quiescent state, and for the template of a
    /// live connection.
    ///
    /// # Panics
    /// If the slot is another table's and beyond this one's end.
    #[inline]
    #[must_use]
    pub fn entry(&self, slot: Slot) -> Entry<'_, F> {
        Entry {
            row: &self.rows[slot.0 as usize],
            slot,
        }
    }

    /// [`Table::entry`] of a slot that may be nowhere.
    #[inline]
    #[must_use]
    pub fn entry_at(&self, slot: Slot) -> Option<Entry<'_, F>> {
        let row = self.rows.get(slot.0 as usize)?;
        Some(Entry { row, slot })
    }

    /// What the table holds and has refused.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.sum()
    }

    /// Connections it was made for. Room beyond (a quarter, for short probe sequences) is used too before claims fail.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.rows.len()
    }

    /// Memory of tags and entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.groups) + size_of_val(&*self.rows)
    }

    /// Every slot free, no tag, no overflow count: what must be true once everything has ended and grace periods have
    /// passed. For tests; walks the whole table.
    #[must_use]
    pub fn is_pristine(&self) -> bool {
        let Counts {
            connections,
            templates,
            ..
        } = self.counts();
        connections == 0
            && templates == 0
            && self
                .groups
                .iter()
                .all(|g| g.load().overflow() == 0 && g.load().occupied().next().is_none())
            && self
                .rows
                .iter()
                .all(|row| row.state().lifecycle() == Lifecycle::Free)
    }

    /// Visits the slots whose tag fits, in probe order, until `visit` breaks or the sequence ends.
    #[inline]
    pub(crate) fn probe<'t, R>(
        &'t self,
        h: Hash,
        mut visit: impl FnMut(Slot, &'t Row<F::Cells>) -> ControlFlow<R>,
    ) -> Option<R> {
        let mut index = h.group;
        for _ in 0..PROBE_LIMIT.min(self.group_count) {
            let tags = self.groups.get(index as usize)?.load();
            for lane in tags.matching(h.tag) {
                let slot = index * LANES + lane;
                if let ControlFlow::Break(found) = visit(Slot(slot), self.rows.get(slot as usize)?)
                {
                    return Some(found);
                }
            }
            if tags.overflow() == 0 {
                return None;
            }
            index = self.after(index);
        }
        None
    }

    /// The group probed after `group`.
    #[inline]
    pub(crate) fn after(&self, group: u32) -> u32 {
        if group + 1 == self.group_count {
            0
        } else {
            group + 1
        }
    }

    /// The groups of a probe sequence from its home up to and without `until`.
    pub(crate) fn passed_over(&self, home: u32, until: u32) -> impl Iterator<Item = &Group> {
        let distance = (until + self.group_count - home) % self.group_count;
        let mut index = home;
        (0..distance).map(move |_| {
            let group = &self.groups[index as usize];
            index = self.after(index);
            group
        })
    }
}

/// Whether a row is what a lookup wants, by now.
#[inline]
fn is_it<F: Family>(
    row: &Row<F::Cells>,
    t: &Tuple<F::Addr>,
    side: Side,
    kind: Kind,
    now: Tick,
) -> bool {
    row.state().is_matchable() && row.is_of(t, side, kind) && !row.past_its_time(now)
}

impl<F: Family> fmt::Debug for Table<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("slots", &self.slots())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
