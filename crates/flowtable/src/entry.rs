//! One entry: its layout, and what a worker does with it.

use crate::{
    family::{Family, Key, KeyCells, Side, Tuple, V4Cells, V6Cells},
    hash::Name,
    memory::Zeroed,
    state::{FREE_TO_CHANGE, Generation, StateFlags, StateWord},
    table::{Kind, Slot},
};
use rcu::sync::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
    fence,
};
use types::{Mark, ServerId, Tick};

/// The longest timeout an entry can have: 20 days. Half the range of the 32-bit stamp must be left for an entry to be
/// seen past its time.
pub const MAX_TIMEOUT_MS: u32 = 20 * 86_400_000;

/// RFC 1624 deltas of NAT, applied without looking at addresses: one's complement, ready to add to the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deltas {
    /// To the IPv4 header's checksum, client to server.
    pub l3_in: u16,
    /// To the IPv4 header's checksum, server to client.
    pub l3_out: u16,
    /// To the TCP or UDP checksum, client to server.
    pub l4_in: u16,
    /// To the TCP or UDP checksum, server to client.
    pub l4_out: u16,
}

impl Deltas {
    /// In one word, as [`Entry::deltas_on_wire`] wants them. No two are packed alike.
    pub(crate) fn packed(self) -> u64 {
        let Self {
            l3_in,
            l3_out,
            l4_in,
            l4_out,
        } = self;
        let fields = [l3_in, l4_in, l3_out, l4_out].map(|f| u64::from(f.swap_bytes()));
        fields[0] | fields[1] << 16 | fields[2] << 32 | fields[3] << 48
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "four fields of one word")]
    const fn unpacked(word: u64) -> Self {
        const fn field(word: u64, n: u32) -> u16 {
            ((word >> (16 * n)) as u16).swap_bytes()
        }
        Self {
            l3_in: field(word, 0),
            l4_in: field(word, 1),
            l3_out: field(word, 2),
            l4_out: field(word, 3),
        }
    }
}

/// No slot, in [`Row::template`].
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// An entry. All atomics, no pointers: any bytes are a value, and it may be mapped anywhere.
#[repr(C, align(64))]
pub struct Row<C> {
    pub(crate) key: C,
    pub(crate) state: AtomicU64,
    /// Low half of the tick it was last touched at.
    pub(crate) last: AtomicU32,
    pub(crate) timeout_ms: AtomicU32,
    /// The template that controls it, or [`NO_SLOT`].
    pub(crate) template: AtomicU32,
    /// Packets from the client (connection sync's counter); in a template, connections it controls.
    pub(crate) packets: AtomicU32,
    /// [`Deltas`]; in a template, its [`Name`], which is part of the key.
    pub(crate) deltas: AtomicU64,
    pub(crate) mark: AtomicU32,
    /// A number of the caller's.
    pub(crate) note: AtomicU32,
}
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Row<V4Cells>>() == 64 && size_of::<Row<V6Cells>>() == 128);

// SAFETY: atomic integers only, for which zero is a value.
unsafe impl Zeroed for Row<V4Cells> {
    fn zeroed() -> Self {
        Self::empty()
    }
}
// SAFETY: atomic integers only, for which zero is a value.
unsafe impl Zeroed for Row<V6Cells> {
    fn zeroed() -> Self {
        Self::empty()
    }
}

impl<C: KeyCells> Row<C> {
    fn empty() -> Self {
        let number = || AtomicU32::new(0);
        Self {
            key: C::zeroed(),
            state: AtomicU64::new(0),
            last: number(),
            timeout_ms: number(),
            template: number(),
            packets: number(),
            deltas: AtomicU64::new(0),
            mark: number(),
            note: number(),
        }
    }

    pub(crate) fn name(&self) -> Name {
        Name(self.deltas.load(Relaxed))
    }

    /// By a claimant: the part of the key that claims are compared by.
    pub(crate) fn claim(&self, t: &Tuple<C::Addr>, kind: Kind) {
        self.key.claim(t, kind.is_template());
        if let Kind::Template(name) = kind {
            self.deltas.store(name.0, Relaxed);
        }
    }

    /// Whether it has that key.
    #[inline]
    pub(crate) fn is_of(&self, t: &Tuple<C::Addr>, side: Side, kind: Kind) -> bool {
        match kind {
            Kind::Connection => self.key.matches(t, side, false),
            Kind::Template(name) => self.key.matches(t, side, true) && self.name() == name,
        }
    }

    #[inline]
    pub(crate) fn state(&self) -> StateWord {
        // Acquire: what was written before the word was published is seen.
        StateWord(self.state.load(Acquire))
    }

    #[inline]
    pub(crate) fn swap_state(&self, old: StateWord, new: StateWord) -> Result<(), StateWord> {
        self.state
            .compare_exchange(old.0, new.0, AcqRel, Acquire)
            .map(drop)
            .map_err(StateWord)
    }

    /// By the clock, not by the sweep.
    #[inline]
    pub(crate) fn past_its_time(&self, now: Tick) -> bool {
        now.since_low_ms(self.last.load(Relaxed)) >= self.timeout_ms.load(Relaxed)
    }

    pub(crate) fn set_timeout_ms(&self, timeout_ms: u32) {
        self.timeout_ms
            .store(timeout_ms.min(MAX_TIMEOUT_MS), Relaxed);
    }
}

/// A live connection or template, as met in the table. Valid until the worker's next quiescent state: the slot is not
/// reused before, though another worker may end the connection meanwhile (then [`Entry::compare_exchange_state`] fails).
pub struct Entry<'a, F: Family> {
    pub(crate) row: &'a Row<F::Cells>,
    pub(crate) slot: Slot,
}

// Derived, it would ask that the row can be copied.
impl<F: Family> Clone for Entry<'_, F> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}
impl<F: Family> Copy for Entry<'_, F> {}

impl<F: Family> Entry<'_, F> {
    /// Where it is.
    #[inline]
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Addresses, ports, protocol, static flags.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Key<F::Addr> {
        self.row.key.load()
    }

    /// The real server.
    #[inline]
    #[must_use]
    pub fn server(&self) -> ServerId {
        ServerId(self.row.key.server())
    }

    /// Address and port that a packet gets under NAT, as they stand in headers: the server's on its way there
    /// ([`Side::Virtual`]), the virtual ones on the way back. The address as the words of [`crate::OnWire`].
    #[inline]
    #[must_use]
    pub fn replacement(&self, side: Side) -> ((u64, u64), u16) {
        self.row.key.replacement(side)
    }

    /// A persistence template.
    #[inline]
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.row.key.is_template()
    }

    /// The firewall mark it was made under.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.row.mark.load(Relaxed))
    }

    /// The template that controls it.
    #[inline]
    #[must_use]
    pub fn template(&self) -> Option<Slot> {
        Slot::linked(self.row.template.load(Relaxed))
    }

    /// The checksum deltas of NAT.
    #[inline]
    #[must_use]
    pub fn deltas(&self) -> Deltas {
        Deltas::unpacked(self.row.deltas.load(Relaxed))
    }

    /// Those for a packet of one direction, to the IPv4 header's checksum and to TCP's or UDP's, as they stand in a header: byte
    /// order does not matter to one's complement, so they are added without swapping.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "two fields of one word")]
    pub fn deltas_on_wire(&self, side: Side) -> (u16, u16) {
        let word = self.row.deltas.load(Relaxed);
        match side {
            Side::Virtual => (word as u16, (word >> 16) as u16),
            Side::Server => ((word >> 32) as u16, (word >> 48) as u16),
        }
    }

    /// The caller's number, as published.
    #[inline]
    #[must_use]
    pub fn note(&self) -> u32 {
        self.row.note.load(Relaxed)
    }

    /// Protocol state, flags, generation.
    #[inline]
    #[must_use]
    pub fn state(&self) -> StateWord {
        self.row.state()
    }

    /// Replaces protocol state and flags. Who succeeds does the accounting of the transition; nobody else does.
    ///
    /// # Errors
    /// The word as it is, when it is not `old` any more. If that is not [`StateWord::is_live`], the connection has ended.
    #[inline]
    pub fn compare_exchange_state(&self, old: StateWord, new: StateWord) -> Result<(), StateWord> {
        let new = StateWord(old.0 & !FREE_TO_CHANGE | new.0 & FREE_TO_CHANGE);
        if old.is_live() {
            self.row.swap_state(old, new)
        } else {
            Err(self.state())
        }
    }

    /// The slot still holds the connection of that generation, alive.
    #[inline]
    #[must_use]
    pub fn is_current(&self, generation: Generation) -> bool {
        let word = self.state();
        word.is_live() && word.generation() == generation
    }

    /// A packet: the timeout starts anew. The line stays clean when it was touched in the same millisecond.
    #[inline]
    pub fn touch(&self, now: Tick) {
        if self.row.last.load(Relaxed) != now.low() {
            self.row.last.store(now.low(), Relaxed);
        }
    }

    /// Low half of the tick it was last touched at.
    #[inline]
    #[must_use]
    pub fn last_ms(&self) -> u32 {
        self.row.last.load(Relaxed)
    }

    /// Milliseconds without a packet after which it ends.
    #[inline]
    #[must_use]
    pub fn timeout_ms(&self) -> u32 {
        self.row.timeout_ms.load(Relaxed)
    }

    /// Changes the timeout (at most [`MAX_TIMEOUT_MS`]).
    #[inline]
    pub fn set_timeout_ms(&self, timeout_ms: u32) {
        if self.timeout_ms() != timeout_ms {
            self.row.set_timeout_ms(timeout_ms);
        }
    }

    /// Milliseconds left, 0 when past its time.
    #[must_use]
    pub fn expires_in_ms(&self, now: Tick) -> u32 {
        self.timeout_ms()
            .saturating_sub(now.since_low_ms(self.last_ms()))
    }

    /// Counts a packet from the client and returns the count. Not a locked instruction: two workers with packets of one
    /// connection in the same instant may count one. Connection sync, whose counter it is, needs no more.
    #[inline]
    pub fn count_packet(&self) -> u32 {
        let count = self.row.packets.load(Relaxed).wrapping_add(1);
        self.row.packets.store(count, Relaxed);
        count
    }

    /// Starts the count of packets from there: a connection that came by synchronisation.
    pub fn set_packets(&self, packets: u32) {
        self.row.packets.store(packets, Relaxed);
    }

    /// Packets from the client so far; in a template see [`Entry::n_control`].
    #[must_use]
    pub fn packets(&self) -> u32 {
        self.row.packets.load(Relaxed)
    }

    /// Template: connections it controls.
    #[must_use]
    pub fn n_control(&self) -> u32 {
        self.row.packets.load(Relaxed)
    }

    /// Template: one more connection, before that is published. False, and not counted, when the template has ended or
    /// is being settled: do as if there were none.
    #[must_use]
    pub fn add_control(&self) -> bool {
        let generation = self.state().generation();
        self.row.packets.fetch_add(1, Relaxed);
        // Pairs with the fence after an entry is doomed: either that settlement sees the count, or this sees it doomed.
        fence(SeqCst);
        let alive = self.is_current(generation);
        if !alive {
            self.drop_control();
        }
        alive
    }

    /// Template: one connection fewer.
    pub fn drop_control(&self) {
        let before = self.row.packets.fetch_sub(1, Relaxed);
        debug_assert!(
            before > 0,
            "a template's count of controlled connections went below zero"
        );
    }

    /// Sets [`StateFlags::UNHASHED`]: never matched again, settled by the next sweep. False if it has ended.
    pub fn unhash(&self) -> bool {
        let mut word = self.state();
        while word.is_live() {
            let unhashed = word.with_flags(word.flags().with(StateFlags::UNHASHED));
            match self.compare_exchange_state(word, unhashed) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }
}
