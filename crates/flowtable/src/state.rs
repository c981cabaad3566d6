//! The state word: everything about an entry that changes under contention, in one atomic word.

use rcu::Epoch;
use std::fmt;

/// ```text
/// 63            36 35     24 23      20 19      8 7             0
/// [ generation 28 | epoch 12 | lifecycle 4 | flags 12 | protocol state 8 ]
/// ```
/// Compare-and-swap on it makes transitions exact: whoever wins the swap does the accounting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StateWord(pub(crate) u64);

/// How often a slot has been claimed, modulo 2^28. A slot with the same generation holds the same connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Generation(pub(crate) u32);

impl Generation {
    /// Its number, below 2^28.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Flags that change while a connection lives. The table itself only knows [`StateFlags::UNHASHED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateFlags(u16);

impl StateFlags {
    /// Never matched any more, but alive until its time: a template that was invalidated while it still controls
    /// connections (`ip_vs_conn_unhash`).
    pub const UNHASHED: Self = Self(1);
    /// Packets of one direction only are seen (`IP_VS_CONN_F_NOOUTPUT`): the input-only transitions apply.
    pub const NOOUTPUT: Self = Self(2);
    /// Counts as inactive at its server (`IP_VS_CONN_F_INACTIVE`).
    pub const INACTIVE: Self = Self(4);

    /// One of the flags the table knows nothing of.
    #[must_use]
    pub const fn user(number: u8) -> Self {
        assert!(number < 9, "nine flags, 0 to 8, are free");
        Self(8 << number)
    }

    /// All of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other` set as well.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With `other` cleared.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Where a slot is in its life. Only `Live` entries are matched and listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Lifecycle {
    /// May be claimed. Zeroed memory is free.
    Free = 0,
    /// A claimant (or the one who frees it) writes it; the key means nothing.
    Claimed,
    /// Key and tag stand; its claimant looks whether somebody else claims the same key.
    Candidate,
    /// A candidate met by one that stands earlier in the probe sequence; its claimant gives it up.
    Defeated,
    /// Its claimant has won and is about to publish or abandon it.
    Embryo,
    /// A connection.
    Live,
    /// Found past its time, or removed, by somebody who is settling it.
    Doomed,
    /// Dead; reusable once `epoch` has passed.
    Condemned,
}

const FLAGS: u32 = 8;
const LIFECYCLE: u32 = 20;
const EPOCH: u32 = 24;
const GENERATION: u32 = 36;
pub const EPOCH_MASK: u64 = (1 << (GENERATION - EPOCH)) - 1;
const FLAGS_MASK: u64 = (1 << (LIFECYCLE - FLAGS)) - 1;
const GENERATION_MASK: u64 = (1 << (64 - GENERATION)) - 1;
/// What [`StateWord::with_state`] and [`StateWord::with_flags`] can change.
pub const FREE_TO_CHANGE: u64 = (1 << LIFECYCLE) - 1;

#[expect(
    clippy::cast_possible_truncation,
    reason = "masked or shifted to the width of the field"
)]
impl StateWord {
    /// The protocol's state: the engine's number, e.g. of a TCP state.
    #[inline]
    #[must_use]
    pub const fn state(self) -> u8 {
        self.0 as u8
    }

    /// The run-time flags.
    #[inline]
    #[must_use]
    pub const fn flags(self) -> StateFlags {
        StateFlags((self.0 >> FLAGS & FLAGS_MASK) as u16)
    }

    /// Which connection this is, of all the slot has held.
    #[inline]
    #[must_use]
    pub const fn generation(self) -> Generation {
        Generation((self.0 >> GENERATION) as u32)
    }

    /// A connection, not one that is coming or going.
    #[inline]
    #[must_use]
    pub const fn is_live(self) -> bool {
        self.0 >> LIFECYCLE & 0xf == Lifecycle::Live as u64
    }

    /// The same with another protocol state.
    #[inline]
    #[must_use]
    pub const fn with_state(self, state: u8) -> Self {
        Self(self.0 & !0xff | state as u64)
    }

    /// The same with other run-time flags.
    #[inline]
    #[must_use]
    pub const fn with_flags(self, flags: StateFlags) -> Self {
        Self(self.0 & !(FLAGS_MASK << FLAGS) | (flags.0 as u64) << FLAGS)
    }

    /// Live and not unhashed: one comparison.
    #[inline]
    pub(crate) const fn is_matchable(self) -> bool {
        const UNHASHED: u64 = (StateFlags::UNHASHED.0 as u64) << FLAGS;
        self.0 & (0xf << LIFECYCLE | UNHASHED) == (Lifecycle::Live as u64) << LIFECYCLE
    }

    pub(crate) const fn lifecycle(self) -> Lifecycle {
        match self.0 >> LIFECYCLE & 0xf {
            0 => Lifecycle::Free,
            1 => Lifecycle::Claimed,
            2 => Lifecycle::Candidate,
            3 => Lifecycle::Defeated,
            4 => Lifecycle::Embryo,
            5 => Lifecycle::Live,
            6 => Lifecycle::Doomed,
            _ => Lifecycle::Condemned,
        }
    }

    pub(crate) const fn with_lifecycle(self, lifecycle: Lifecycle) -> Self {
        Self(self.0 & !(0xf << LIFECYCLE) | (lifecycle as u64) << LIFECYCLE)
    }

    /// The word of the next claimant of a free slot.
    pub(crate) const fn next_claim(self) -> Self {
        let generation = (self.0 >> GENERATION).wrapping_add(1) & GENERATION_MASK;
        Self(generation << GENERATION).with_lifecycle(Lifecycle::Claimed)
    }

    pub(crate) const fn condemned(self, until: Epoch) -> Self {
        let epoch = (until.get() & EPOCH_MASK) << EPOCH;
        Self(self.0 & !(EPOCH_MASK << EPOCH) | epoch).with_lifecycle(Lifecycle::Condemned)
    }

    /// The epoch a condemned word waits for, or a later one. `next` is [`rcu::Domain::next`] now.
    pub(crate) const fn waits_for(self, next: Epoch) -> Epoch {
        next.latest_with_low_bits(self.0 >> EPOCH & EPOCH_MASK, EPOCH_MASK)
    }
}

impl fmt::Debug for StateWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.flags().0;
        write!(
            f,
            "{:?} state {} flags {flags:#x} generation {}",
            self.lifecycle(),
            self.state(),
            self.generation().0
        )
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        let all = [
            Lifecycle::Free,
            Lifecycle::Claimed,
            Lifecycle::Candidate,
            Lifecycle::Defeated,
            Lifecycle::Embryo,
            Lifecycle::Live,
            Lifecycle::Doomed,
            Lifecycle::Condemned,
        ];
        let mut word = StateWord(u64::MAX).next_claim();
        assert_eq!(
            (word.generation(), word.state(), word.flags()),
            (Generation(0), 0, StateFlags::default())
        );
        word = word
            .next_claim()
            .with_state(255)
            .with_flags(StateFlags::user(8).with(StateFlags::INACTIVE));
        for lifecycle in all {
            let word = word.with_lifecycle(lifecycle);
            assert_eq!(word.lifecycle(), lifecycle);
            assert_eq!(word.is_live(), lifecycle == Lifecycle::Live);
            assert_eq!(word.is_matchable(), lifecycle == Lifecycle::Live);
            assert_eq!((word.generation(), word.state()), (Generation(1), 255));
            assert!(
                word.flags().contains(StateFlags::user(8))
                    && word.flags().contains(StateFlags::INACTIVE)
            );
            assert!(!word.with_flags(StateFlags::UNHASHED).is_matchable());
        }
        let domain = rcu::Domain::new(1);
        let dead = word.condemned(domain.next());
        assert_eq!(dead.lifecycle(), Lifecycle::Condemned);
        assert_eq!(
            (dead.generation(), dead.state(), dead.flags()),
            (word.generation(), 255, word.flags())
        );
        assert_eq!(dead.waits_for(domain.next()), domain.next());
        let waited = domain.advance();
        assert_eq!(dead.waits_for(domain.next()), waited);
    }
}
