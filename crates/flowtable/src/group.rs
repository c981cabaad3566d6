//! A group of tags: 14 lanes of one byte and a 16-bit overflow count, 16 bytes, four groups a line.

use crate::memory::Zeroed;
use rcu::sync::{AtomicU64, Ordering};

/// Entries a group has room for.
pub const LANES: u32 = 14;

/// How many groups a probe sequence may span. Bounds every lookup, and the overflow count: at most
/// `PROBE_LIMIT * LANES` entries can have passed beyond one group, so the 16 bits cannot saturate.
pub const PROBE_LIMIT: u32 = 32;
const _: () = assert!(PROBE_LIMIT * LANES < 1 << 16);

/// Tags of 14 slots; 0 is a free lane.
#[repr(C, align(16))]
pub struct Group {
    /// Lanes 0 to 7.
    low: AtomicU64,
    /// Lanes 8 to 13, and in the top 16 bits the overflow count: entries whose probe sequence passed beyond this group.
    high: AtomicU64,
}
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Group>() == 16);

// SAFETY: two atomic integers, for which zero is a value.
unsafe impl Zeroed for Group {
    fn zeroed() -> Self {
        Self {
            low: AtomicU64::new(0),
            high: AtomicU64::new(0),
        }
    }
}

/// A group as read at one moment (each half at a moment of its own; callers verify by the entry).
#[derive(Clone, Copy)]
pub struct Tags {
    low: u64,
    high: u64,
}

/// A set of lanes, as bits.
#[derive(Clone, Copy)]
pub struct Lanes(u32);

impl Group {
    #[inline]
    pub fn load(&self) -> Tags {
        // Acquire: an entry's key was written before its tag, and its overflow count was raised before its tag.
        Tags {
            low: self.low.load(Ordering::Acquire),
            high: self.high.load(Ordering::Acquire),
        }
    }

    /// Publishes a tag in a lane that had none.
    pub fn set(&self, lane: u32, tag: u8) {
        let (half, shift) = self.place(lane);
        half.fetch_or(u64::from(tag) << shift, Ordering::AcqRel);
    }

    pub fn clear(&self, lane: u32) {
        let (half, shift) = self.place(lane);
        half.fetch_and(!(0xff << shift), Ordering::AcqRel);
    }

    /// Before a tag is published beyond this group.
    pub fn raise_overflow(&self) {
        self.high.fetch_add(1 << 48, Ordering::AcqRel);
    }

    /// After that tag was cleared.
    pub fn lower_overflow(&self) {
        self.high.fetch_sub(1 << 48, Ordering::AcqRel);
    }

    fn place(&self, lane: u32) -> (&AtomicU64, u32) {
        if lane < 8 {
            (&self.low, lane * 8)
        } else {
            (&self.high, (lane - 8) * 8)
        }
    }
}

impl Tags {
    /// The lanes with this tag.
    #[inline]
    pub fn matching(self, tag: u8) -> Lanes {
        #[cfg(target_arch = "x86_64")]
        {
            self.matching_sse2(tag)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self.matching_swar(tag)
        }
    }

    /// The lanes with any tag.
    #[inline]
    pub fn occupied(self) -> Lanes {
        Lanes(!self.matching(0).0 & ((1 << LANES) - 1))
    }

    /// Entries whose probe sequence goes on beyond this group.
    #[inline]
    pub const fn overflow(self) -> u64 {
        self.high >> 48
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[expect(
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "bit patterns for the vector unit"
    )]
    fn matching_sse2(self, tag: u8) -> Lanes {
        use core::arch::x86_64::{
            _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8,
        };
        // SAFETY: SSE2 is part of x86-64; no memory is touched.
        let mask = unsafe {
            let tags = _mm_set_epi64x(self.high as i64, self.low as i64);
            _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag as i8)))
        };
        Lanes(mask as u32 & ((1 << LANES) - 1))
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn matching_swar(self, tag: u8) -> Lanes {
        const ONES: u64 = 0x0101_0101_0101_0101;
        let half = |tags: u64| {
            let x = tags ^ (ONES * u64::from(tag));
            // 0x80 in exactly those bytes of x that are zero: no carry crosses a byte.
            let zero = !(((x & !(ONES << 7)) + !(ONES << 7)) | x | !(ONES << 7));
            // Gather the eight bits into the top byte.
            (((zero >> 7).wrapping_mul(0x0102_0408_1020_4080)) >> 56) as u32
        };
        Lanes((half(self.low) | half(self.high) << 8) & ((1 << LANES) - 1))
    }
}

impl Iterator for Lanes {
    type Item = u32;
    /// The lowest lane left.
    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(lane)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vector_and_word_compare_agree(bytes in proptest::array::uniform16(prop_oneof![0_u8..4, any::<u8>()]), tag in prop_oneof![0_u8..4, any::<u8>()]) {
            let half = |i: usize| u64::from_le_bytes(bytes[i..i + 8].try_into().unwrap());
            let tags = Tags { low: half(0), high: half(8) };
            let expected: Vec<u32> = (0..LANES).filter(|&l| bytes[l as usize] == tag).collect();
            prop_assert_eq!(tags.matching(tag).collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(tags.matching_swar(tag).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn tags_and_overflow_do_not_touch_each_other() {
        let group = Group::zeroed();
        for lane in 0..LANES {
            group.set(lane, u8::try_from(lane).unwrap() + 200);
            group.raise_overflow();
        }
        assert_eq!(group.load().overflow(), 14);
        for lane in 0..LANES {
            assert_eq!(
                group
                    .load()
                    .matching(u8::try_from(lane).unwrap() + 200)
                    .collect::<Vec<_>>(),
                [lane]
            );
            group.clear(lane);
        }
        assert_eq!(group.load().occupied().count(), 0);
        assert_eq!(group.load().overflow(), 14);
    }
}
