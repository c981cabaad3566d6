//! The keyed hash: where a connection's probe sequence starts, and its tag.

use crate::family::{Family, OnWire, Side, Tuple};

/// Start of a probe sequence and the tag to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// The home group.
    pub(crate) group: u32,
    /// 1 to 255; 0 marks a free lane.
    pub(crate) tag: u8,
}

impl Hash {
    /// Nothing's.
    pub const NONE: Self = Self { group: 0, tag: 0 };
}

/// What tells templates apart that are alike but for a text of the caller's: its keyed hash. The text itself the caller keeps, and
/// compares with it before it believes a template found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name(pub(crate) u64);

impl Name {
    /// A template without a text.
    pub const NONE: Self = Self(0);
}

/// The per-boot key and the number of groups it spreads over.
///
/// Two rounds of multiply-and-fold with secret factors: a sender who does not know the key cannot aim at a group, and the
/// cap per client endpoint bounds what hashing over the endpoint alone would let one client pile up.
#[derive(Clone, Copy)]
pub struct Hasher {
    key: [u64; 2],
    /// The key made odd: the factors.
    factors: [u64; 2],
    groups: u32,
}

/// Digits of pi, so that a key of zeros hashes as well as any (tests use one).
const PI: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];

impl Hasher {
    pub fn new(key: [u64; 2], groups: u32) -> Self {
        let key = [key[0] ^ PI[0], key[1] ^ PI[1]];
        Self {
            key,
            factors: key.map(|half| half | 1),
            groups,
        }
    }

    /// Over the client's endpoint: the same in both directions of NAT.
    #[inline]
    pub fn endpoint<F: Family>(&self, protocol: u8, client: F::Addr, client_port: u16) -> Hash {
        self.place(self.absorb_endpoint::<F>(protocol, client, client_port))
    }

    /// [`Hasher::endpoint`] of a packet.
    #[inline]
    pub fn packet<F: Family>(&self, packet: &OnWire<F>, side: Side) -> Hash {
        let client = F::client_words(&packet.addresses, side);
        let port = packet.client_port(side);
        self.place(self.absorb_words::<F>(packet.protocol, client, port.into()))
    }

    /// Over a template's full key: many templates share a client's masked address and port 0.
    #[inline]
    pub fn template<F: Family>(&self, t: &Tuple<F::Addr>, name: Name) -> Hash {
        let mut state = self.absorb_endpoint::<F>(t.protocol, t.client, t.client_port);
        let (low, high) = F::words(t.other);
        state = self.absorb(state, low);
        state = self.absorb(state, high ^ (u64::from(t.other_port) << 48) ^ 1);
        if name != Name::NONE {
            state = self.absorb(state, name.0);
        }
        self.place(state)
    }

    /// An address with a number, as 64 bits.
    pub fn digest<F: Family>(&self, address: F::Addr, number: u16) -> u64 {
        let state = self.absorb_words::<F>(0, F::words(address), number.into());
        fold(state ^ self.key[1], self.factors[0])
    }

    /// Over a text.
    pub fn name(&self, text: &[u64]) -> Name {
        let start = fold(self.key[1] ^ text.len() as u64, self.factors[0]);
        let state = text
            .iter()
            .fold(start, |state, word| self.absorb(state, *word));
        Name(fold(state ^ self.key[0], self.factors[0]).max(1))
    }

    #[inline]
    fn absorb_endpoint<F: Family>(&self, protocol: u8, client: F::Addr, client_port: u16) -> u64 {
        let port = u64::from(client_port.swap_bytes());
        self.absorb_words::<F>(protocol, F::words(client), port)
    }

    /// Address and port as they stand in a header.
    #[inline]
    fn absorb_words<F: Family>(&self, protocol: u8, (low, high): (u64, u64), port: u64) -> u64 {
        let port = port << 32 | u64::from(protocol) << 48;
        if F::ONE_WORD {
            return self.absorb(self.key[0], low | port);
        }
        self.absorb(fold(low ^ self.key[0], high ^ self.key[1]), port)
    }

    #[inline]
    fn absorb(&self, state: u64, word: u64) -> u64 {
        fold(state ^ word, self.factors[1])
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the high half of a product, below `groups`; the tag is the low byte"
    )]
    fn place(&self, state: u64) -> Hash {
        let hash = fold(state ^ self.key[1], self.factors[0]);
        // Multiply-shift: any number of groups, and group and tag come from different bits.
        let group = ((hash >> 32) * u64::from(self.groups)) >> 32;
        let tag = hash as u8;
        Hash {
            group: group as u32,
            // Tag 1 comes twice as often as any other, for one instruction less than to spread it.
            tag: tag + u8::from(tag == 0),
        }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{V4, V6};

    #[test]
    fn a_digest_goes_by_address_and_number() {
        let hasher = Hasher::new([5, 6], 97);
        let digests = (0..1000).flat_map(|n| {
            let six = hasher.digest::<V6>(1 << 96, n);
            [hasher.digest::<V4>(0x0a00_0001, n), six]
        });
        let below = |digests: &[u64]| digests.iter().filter(|d| *d % 1024 < 128).count();
        let digests: Vec<u64> = digests.collect();
        let distinct: std::collections::HashSet<&u64> = digests.iter().collect();
        assert_eq!(distinct.len(), 2000);
        assert!((200..300).contains(&below(&digests)), "{}", below(&digests));
    }

    /// Chi-square over groups and tags for the key sets that hurt weak hashes: counters in every field.
    #[test]
    #[expect(clippy::type_complexity, reason = "a list of named closures")]
    fn sequential_endpoints_spread_evenly() {
        for key in [
            [0, 0],
            [1, 2],
            [0xdead_beef_0bad_cafe, 0x0123_4567_89ab_cdef],
        ] {
            let hasher = Hasher::new(key, 97);
            let n: u32 = 97 * 200;
            let sets: [(&str, Box<dyn Fn(u32) -> Hash>); 5] = [
                (
                    "v4 addresses",
                    Box::new(move |i| hasher.endpoint::<V4>(6, 0x0a00_0000 + i, 40_000)),
                ),
                (
                    "v4 ports",
                    Box::new(move |i| {
                        hasher.endpoint::<V4>(6, 0x0a00_0000, u16::try_from(i).unwrap())
                    }),
                ),
                (
                    "v4 high address bits",
                    Box::new(move |i| hasher.endpoint::<V4>(17, i << 16, 53)),
                ),
                (
                    "v6 low",
                    Box::new(move |i| {
                        hasher.endpoint::<V6>(6, (0x2001_0db8 << 96) + u128::from(i), 443)
                    }),
                ),
                (
                    "v6 high",
                    Box::new(move |i| hasher.endpoint::<V6>(6, u128::from(i) << 64, 443)),
                ),
            ];
            for (name, hash) in &sets {
                let (mut groups, mut tags) = ([0_u32; 97], [0_u32; 256]);
                for i in 0..n {
                    let h = hash(i);
                    groups[h.group as usize] += 1;
                    tags[h.tag as usize] += 1;
                }
                assert_eq!(tags[0], 0);
                let chi = |counts: &[u32]| {
                    let mean = f64::from(n) / counts.len() as f64;
                    counts
                        .iter()
                        .map(|&c| (f64::from(c) - mean).powi(2) / mean)
                        .sum::<f64>()
                        / counts.len() as f64
                };
                let (g, t) = (chi(&groups), chi(&tags[1..]));
                assert!(
                    g < 2.0 && t < 2.0,
                    "{name} with key {key:x?}: groups {g:.2}, tags {t:.2} (1 is random)"
                );
            }
        }
    }

    #[test]
    fn templates_of_one_client_differ() {
        let hasher = Hasher::new([1, 2], 1 << 20);
        let tuple = |other, other_port| Tuple {
            protocol: 6,
            client: 7,
            client_port: 0,
            other,
            other_port,
        };
        let all = [tuple(1, 80), tuple(1, 443), tuple(2, 80), tuple(80, 1)]
            .map(|t| hasher.template::<V4>(&t, Name::NONE).group);
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }
}
