//! The cookie: a sequence number that only who sent the SYN can acknowledge, and that says when and with what segment size it was
//! made.
//!
//! ```text
//! 31    30 29      27 26                                    0
//! [ slot 2 | size 3   | SipHash-2-4 of all that identifies 27 ]
//! ```
//! The hash covers both ends, the client's own sequence number, the slot in full and the size. Of all sequence numbers sixteen are
//! right at any moment: a blind guess is one with a chance of 2^-28.

use super::super::{family::Ip, schedule::round};
use flowtable::Tuple;
use types::Tick;

/// Milliseconds of a slot. A cookie is good in its own and the next: for 64 to 128 seconds.
pub(super) const SLOT_MS: u64 = 64_000;

const SLOT_BITS: u32 = 30;
const SIZE_BITS: u32 = 27;
const HASH: u32 = (1 << SIZE_BITS) - 1;
const SLOTS: u64 = 3;
/// Slots in which a cookie is good besides its own.
const AGE: u64 = 1;

/// Segment sizes a cookie can carry: the commonest, and Ethernet's with tunnel and tag headers off. The largest that is not beyond the
/// client's is taken.
const SIZES4: [u16; 8] = [216, 536, 1220, 1360, 1400, 1440, 1460, 8960];
const SIZES6: [u16; 8] = [216, 536, 1220, 1340, 1380, 1420, 1440, 8940];

/// Why an acknowledgement proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was none, or somebody else's.
    Wrong,
    /// It was one, too long ago.
    Old,
}

/// The director's secret, another after each start.
#[derive(Clone, Copy)]
pub(crate) struct Secret {
    key: [u64; 2],
    /// What the clock of our timestamps is ahead of our own.
    ahead: u32,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// From the director's key, which is used for other things as well.
    #[expect(clippy::cast_possible_truncation, reason = "any part of it will do")]
    pub fn new(key: [u64; 2]) -> Self {
        let part = |n| Sip::new(key).finish(n);
        Self {
            key: [part(1), part(2)],
            ahead: part(3) as u32,
        }
    }

    /// The cookie for a SYN with the sequence number `isn` and that segment size, and the size as it will be known from it.
    pub fn cookie<I: Ip>(
        &self,
        tuple: &Tuple<I::Addr>,
        isn: u32,
        size: u16,
        now: Tick,
    ) -> (u32, u16) {
        let sizes = sizes::<I>();
        let index = sizes.iter().rposition(|s| *s <= size).unwrap_or(0);
        let known = sizes.get(index).copied().unwrap_or(size);
        let slot = now.0 / SLOT_MS;
        let index = u32::try_from(index).unwrap_or(0);
        (self.made::<I>(tuple, isn, slot, index), known)
    }

    /// The segment size in `cookie`, if it is one for a SYN with the sequence number `isn`.
    pub fn check<I: Ip>(
        &self,
        tuple: &Tuple<I::Addr>,
        isn: u32,
        cookie: u32,
        now: Tick,
    ) -> Result<u16, Refusal> {
        let current = now.0 / SLOT_MS;
        let age = current.wrapping_sub(u64::from(cookie >> SLOT_BITS)) & SLOTS;
        let index = cookie >> SIZE_BITS & 7;
        let slot = current.wrapping_sub(age);
        // One comparison of two words: it takes as long whatever differs.
        if self.made::<I>(tuple, isn, slot, index) != cookie {
            return Err(Refusal::Wrong);
        }
        if age > AGE {
            return Err(Refusal::Old);
        }
        let size = sizes::<I>().get(index as usize);
        size.copied().ok_or(Refusal::Wrong)
    }

    /// The clock of timestamps that go with cookies.
    pub const fn clock(&self, now: Tick) -> u32 {
        now.low().wrapping_add(self.ahead)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "27 bits of 64, and the slot's last two"
    )]
    fn made<I: Ip>(&self, tuple: &Tuple<I::Addr>, isn: u32, slot: u64, index: u32) -> u32 {
        let (client, virtual_) = (I::words(tuple.client), I::words(tuple.other));
        let ports = u64::from(tuple.client_port) << 16 | u64::from(tuple.other_port);
        let mut sip = Sip::new(self.key);
        if I::SIX {
            sip.word(client.0).word(client.1);
            sip.word(virtual_.0).word(virtual_.1);
        } else {
            sip.word(client.0 | virtual_.0 << 32);
        }
        sip.word(u64::from(isn) << 32 | ports);
        let hash = sip.finish(slot << 3 | u64::from(index)) as u32 & HASH;
        ((slot & SLOTS) as u32) << SLOT_BITS | index << SIZE_BITS | hash
    }
}

const fn sizes<I: Ip>() -> &'static [u16; 8] {
    if I::SIX { &SIZES6 } else { &SIZES4 }
}

const SEVEN: u64 = (1 << 56) - 1;

/// SipHash-2-4 (Aumasson, Bernstein 2012) of whole words and seven bytes more, which the last word has room for.
#[derive(Clone, Copy)]
struct Sip {
    v: [u64; 4],
    bytes: u64,
}

impl Sip {
    const fn new([a, b]: [u64; 2]) -> Self {
        let v = [
            a ^ 0x736f_6d65_7073_6575,
            b ^ 0x646f_7261_6e64_6f6d,
            a ^ 0x6c79_6765_6e65_7261,
            b ^ 0x7465_6462_7974_6573,
        ];
        Self { v, bytes: 0 }
    }

    fn word(&mut self, word: u64) -> &mut Self {
        self.bytes += 8;
        self.absorb(word);
        self
    }

    fn absorb(&mut self, word: u64) {
        self.v[3] ^= word;
        self.v = round(round(self.v));
        self.v[0] ^= word;
    }

    fn finish(&mut self, seven: u64) -> u64 {
        self.absorb((self.bytes + 7) << 56 | seven & SEVEN);
        self.v[2] ^= 0xff;
        let [a, b, c, d] = round(round(round(round(self.v))));
        a ^ b ^ c ^ d
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowtable::{V4, V6};
    #[expect(deprecated, reason = "a reference to compare with")]
    use std::hash::{Hasher, SipHasher};

    const SECRET: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    fn tuple4() -> Tuple<u32> {
        Tuple {
            protocol: 6,
            client: 0xac10_0001,
            client_port: 4711,
            other: 0x0a00_0064,
            other_port: 80,
        }
    }

    #[test]
    fn it_is_siphash_2_4() {
        for words in 0..6u64 {
            let mut ours = Sip::new(SECRET);
            #[expect(deprecated, reason = "a reference to compare with")]
            let mut theirs = SipHasher::new_with_keys(SECRET[0], SECRET[1]);
            for n in 0..words {
                let word = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234;
                ours.word(word);
                theirs.write(&word.to_le_bytes());
            }
            theirs.write(&[1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(
                ours.finish(0xff07_0605_0403_0201),
                theirs.finish(),
                "{words} words"
            );
        }
    }

    #[test]
    fn good_for_one_to_two_slots_and_then_old() {
        let secret = Secret::new(SECRET);
        for start in [0, 1, 63_999, 64_000, 1_000_000, 123 * SLOT_MS + 7] {
            let (cookie, size) = secret.cookie::<V4>(&tuple4(), 99, 1459, Tick(start));
            assert_eq!(size, 1440);
            let at = |ms| secret.check::<V4>(&tuple4(), 99, cookie, Tick(start + ms));
            assert_eq!(at(0), Ok(1440));
            assert_eq!(at(SLOT_MS), Ok(1440));
            assert_eq!(at(2 * SLOT_MS), Err(Refusal::Old));
            assert_eq!(at(3 * SLOT_MS), Err(Refusal::Old));
            // The slot's last bits are the same again; the slot is not.
            assert_eq!(at(4 * SLOT_MS), Err(Refusal::Wrong));
        }
    }

    #[test]
    fn each_part_of_what_identifies_counts() {
        let secret = Secret::new(SECRET);
        let (now, good) = (Tick(77_777), tuple4());
        let (cookie, _) = secret.cookie::<V4>(&good, 5, 1460, now);
        for other in [
            Tuple { client: 1, ..good },
            Tuple {
                client_port: 1,
                ..good
            },
            Tuple { other: 1, ..good },
            Tuple {
                other_port: 1,
                ..good
            },
        ] {
            let checked = secret.check::<V4>(&other, 5, cookie, now);
            assert_eq!(checked, Err(Refusal::Wrong), "{other:?}");
        }
        assert_eq!(
            secret.check::<V4>(&good, 6, cookie, now),
            Err(Refusal::Wrong)
        );
        for bit in 0..32 {
            let forged = secret.check::<V4>(&good, 5, cookie ^ 1 << bit, now);
            assert_eq!(forged, Err(Refusal::Wrong), "bit {bit}");
        }
        let other = Secret::new([SECRET[0], SECRET[1] ^ 1]);
        assert_eq!(
            other.check::<V4>(&good, 5, cookie, now),
            Err(Refusal::Wrong)
        );
    }

    #[test]
    fn ipv6_s_whole_address_counts() {
        let secret = Secret::new(SECRET);
        let now = Tick(5);
        let good = Tuple {
            protocol: 6,
            client: 0xfd77_0000_0000_0001_0000_0000_0000_0009_u128,
            client_port: 1,
            other: 0xfd00_u128 << 112 | 0x100,
            other_port: 443,
        };
        let (cookie, size) = secret.cookie::<V6>(&good, 5, 1440, now);
        assert_eq!(size, 1440);
        assert_eq!(secret.check::<V6>(&good, 5, cookie, now), Ok(1440));
        for bit in 0..128 {
            let client = Tuple {
                client: good.client ^ 1 << bit,
                ..good
            };
            let virtual_ = Tuple {
                other: good.other ^ 1 << bit,
                ..good
            };
            for other in [client, virtual_] {
                let checked = secret.check::<V6>(&other, 5, cookie, now);
                assert_eq!(checked, Err(Refusal::Wrong), "{other:?}");
            }
        }
    }

    #[test]
    fn the_size_is_the_largest_not_beyond_the_client_s() {
        let secret = Secret::new(SECRET);
        for (asked, known) in [
            (0, 216),
            (216, 216),
            (535, 216),
            (536, 536),
            (1459, 1440),
            (1460, 1460),
            (8959, 1460),
            (u16::MAX, 8960),
        ] {
            let (cookie, size) = secret.cookie::<V4>(&tuple4(), 1, asked, Tick(9));
            assert_eq!(size, known, "{asked}");
            let checked = secret.check::<V4>(&tuple4(), 1, cookie, Tick(9));
            assert_eq!(checked, Ok(known), "{asked}");
        }
    }
}
