//! The cookie: a sequence number that only who sent the SYN can acknowledge, and that says when and with what segment size it was
//! made.
//!
//! ```text
//! 31    30 29      27 26                                    0
//! [ slot 2 | size 3   | SipHash-1-3 of all that identifies 27 ]
//! ```
//! The hash covers both ends, the client's own sequence number and the size, under a key of the slot's own. Of all sequence numbers
//! sixteen are right at any moment: a blind guess is one with a chance of 2^-28.
//!
//! A flood is many SYNs to one service within one slot: what is the same in all of them, key, slot and the service's own end, is hashed
//! first and once ([`Maker`]).
//!
//! # Strength
//! SipHash-1-3 is a MAC of 128 bits of key on which no attack but trying keys is known (its authors' conservative choice, 2-4, stands
//! against attacks nobody has either). Of each result an attacker sees 27 bits. A key is in use for one slot and good for two, and is
//! itself made of the director's secret by SipHash-2-4, so that whatever is learnt of one is worth nothing two minutes later.

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

/// Where the least are that everybody takes.
const LEAST4: u32 = 1;
const LEAST6: u32 = 2;

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
        let part = |n| Derivation::new(key).finish(n);
        Self {
            key: [part(1), part(2)],
            ahead: part(3) as u32,
        }
    }

    /// What makes the cookies of the service at `other` now.
    pub fn maker<I: Ip>(&self, other: (I::Addr, u16), now: Tick) -> Maker {
        self.maker_of::<I>(other, now.0 / SLOT_MS)
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
        let maker = self.maker_of::<I>((tuple.other, tuple.other_port), slot);
        if maker.made::<I>((tuple.client, tuple.client_port), isn, index) != cookie {
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

    fn maker_of<I: Ip>(&self, (other, port): (I::Addr, u16), slot: u64) -> Maker {
        let part = |n| Derivation::new(self.key).word(slot).finish(n);
        let mut hash = Hash::new([part(1), part(2)]);
        let (low, high) = I::words(other);
        let port = u64::from(port);
        if I::SIX {
            hash.word(low).word(high).word(port);
        } else {
            hash.word(low | port << 32);
        }
        Maker {
            hash,
            slot: ((slot & SLOTS) as u32) << SLOT_BITS,
        }
    }
}

/// Makes the cookies of one service in one slot.
#[derive(Clone, Copy)]
pub(crate) struct Maker {
    /// Of what is the same in all of them.
    hash: Hash,
    /// The slot's bits, where they stand.
    slot: u32,
}

impl Maker {
    /// The cookie for a SYN with the sequence number `isn` and that segment size, or none.
    #[inline(always)]
    pub fn cookie<I: Ip>(&self, client: (I::Addr, u16), isn: u32, size: Option<u16>) -> u32 {
        // RFC 9293 3.7.1: without a word it is 536, or 1220 over IPv6.
        let index = match size {
            None if I::SIX => LEAST6,
            None => LEAST4,
            // They ascend; what is below all has the first.
            Some(size) => {
                let larger = sizes::<I>().iter().skip(1).filter(|s| **s <= size);
                larger.map(|_| 1).sum()
            }
        };
        self.made::<I>(client, isn, index)
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "27 bits of 64")]
    fn made<I: Ip>(&self, (client, port): (I::Addr, u16), isn: u32, index: u32) -> u32 {
        let mut hash = self.hash;
        let (low, high) = I::words(client);
        let (isn, last) = (u64::from(isn), u64::from(port) | u64::from(index) << 16);
        let hash = if I::SIX {
            hash.word(low).word(high);
            hash.finish(last | isn << 24)
        } else {
            hash.word(low | isn << 32);
            hash.finish(last)
        };
        self.slot | index << SIZE_BITS | hash as u32 & HASH
    }
}

const fn sizes<I: Ip>() -> &'static [u16; 8] {
    if I::SIX { &SIZES6 } else { &SIZES4 }
}

const SEVEN: u64 = (1 << 56) - 1;

/// Makes keys of a key.
type Derivation = Sip<2, 4>;
/// Makes cookies.
type Hash = Sip<1, 3>;

/// SipHash (Aumasson, Bernstein 2012) of so many rounds for each word and at the end, of whole words and seven bytes more, which the
/// last word has room for.
#[derive(Clone, Copy)]
struct Sip<const WORD: usize, const END: usize> {
    v: [u64; 4],
    bytes: u64,
}

impl<const WORD: usize, const END: usize> Sip<WORD, END> {
    const fn new([a, b]: [u64; 2]) -> Self {
        let v = [
            a ^ 0x736f_6d65_7073_6575,
            b ^ 0x646f_7261_6e64_6f6d,
            a ^ 0x6c79_6765_6e65_7261,
            b ^ 0x7465_6462_7974_6573,
        ];
        Self { v, bytes: 0 }
    }

    #[inline(always)]
    fn word(&mut self, word: u64) -> &mut Self {
        self.bytes += 8;
        self.absorb(word);
        self
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.v[3] ^= word;
        self.rounds::<WORD>();
        self.v[0] ^= word;
    }

    #[inline(always)]
    fn rounds<const N: usize>(&mut self) {
        for _ in 0..N {
            self.v = round(self.v);
        }
    }

    #[inline(always)]
    fn finish(&mut self, seven: u64) -> u64 {
        self.absorb((self.bytes + 7) << 56 | seven & SEVEN);
        self.v[2] ^= 0xff;
        self.rounds::<END>();
        let [a, b, c, d] = self.v;
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

    /// A cookie, and the size it carries.
    fn cookie<I: Ip>(
        secret: &Secret,
        of: &Tuple<I::Addr>,
        isn: u32,
        size: u16,
        now: Tick,
    ) -> (u32, u16) {
        let maker = secret.maker::<I>((of.other, of.other_port), now);
        let cookie = maker.cookie::<I>((of.client, of.client_port), isn, Some(size));
        (cookie, secret.check::<I>(of, isn, cookie, now).unwrap())
    }

    /// The standard library's hasher is SipHash-1-3 without a key.
    #[test]
    fn it_is_siphash_1_3() {
        for words in 0..6u64 {
            let mut ours = Hash::new([0; 2]);
            let mut theirs = std::collections::hash_map::DefaultHasher::new();
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
    fn keys_are_made_by_siphash_2_4() {
        for words in 0..6u64 {
            let mut ours = Derivation::new(SECRET);
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
            let (cookie, size) = cookie::<V4>(&secret, &tuple4(), 99, 1459, Tick(start));
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
        let (cookie, _) = cookie::<V4>(&secret, &good, 5, 1460, now);
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
        let (cookie, size) = cookie::<V6>(&secret, &good, 5, 1440, now);
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
    fn without_a_size_it_is_the_least_that_everybody_takes() {
        let (secret, client) = (Secret::new(SECRET), (1, 2));
        let maker = secret.maker::<V4>((3, 4), Tick(5));
        let of = |size| maker.cookie::<V4>(client, 6, size);
        assert!(of(None) == of(Some(536)) && of(None) != of(Some(535)));
        let (secret, client) = (Secret::new(SECRET), (1, 2));
        let maker = secret.maker::<V6>((3, 4), Tick(5));
        let of = |size| maker.cookie::<V6>(client, 6, size);
        assert!(of(None) == of(Some(1220)) && of(None) != of(Some(1219)));
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
            let (cookie, size) = cookie::<V4>(&secret, &tuple4(), 1, asked, Tick(9));
            assert_eq!(size, known, "{asked}");
            let checked = secret.check::<V4>(&tuple4(), 1, cookie, Tick(9));
            assert_eq!(checked, Ok(known), "{asked}");
        }
    }
}
