//! What tells at a glance, for nearly every packet, that no rule of a shape is true of it: a bit for each digest of what the
//! shape's rules are looked up by. It errs to one side only, and then the rules themselves are asked.
//!
//! Shapes of the same networks are asked about together first, by what is common to them: with many rules each question is a
//! line of memory that a first packet has to fetch.

use super::{Key, Shape};
use crate::packet::{Addresses, Packet};
use hashbrown::HashMap;
use std::ops::Range;

/// Bits a rule has room for. Three of one word are set for it, so that about one stranger in a hundred passes.
const BITS: usize = 16;

/// What of a packet is looked at: its addresses in `N` 64-bit words, and what stands above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Masks<const N: usize> {
    addresses: [u64; N],
    /// The protocol, above it the destination's port.
    upper: u32,
}

/// The digests of what of a packet is looked at.
#[derive(Clone, Copy, Debug)]
struct Screen<const N: usize> {
    masks: Masks<N>,
    /// Its first word among the bits of all.
    first: u32,
    /// Its words less one: a power of two less one.
    last: u32,
}

/// The screens for packets of one family.
#[derive(Clone, Debug, Default)]
struct Family<const N: usize> {
    /// Of shapes of the same networks, and where their own are.
    common: Box<[(Screen<N>, Range<u32>)]>,
    /// Of each shape, and its number.
    own: Box<[(Screen<N>, u32)]>,
    bits: Box<[u64]>,
}

/// The screens of all shapes, by the family of the packets that they look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Screens {
    v4: Family<1>,
    v6: Family<4>,
}

/// A shape by its number, and what its rules are looked up by.
type Numbered<'s> = (u32, &'s Shape, &'s HashMap<Key, Vec<u32>>);

impl Screens {
    /// The screens of `shapes`, which are known by their places from here on.
    pub fn of(shapes: &[(Shape, HashMap<Key, Vec<u32>>)]) -> Self {
        // A rule without networks is one for both families.
        let is_for = |shape: &Shape, v4: bool| {
            let nets = [shape.destination, shape.source];
            nets.into_iter().flatten().all(|(is_v4, _)| is_v4 == v4)
        };
        let of_family = |v4: bool| -> Vec<Numbered<'_>> {
            let numbered = (0..)
                .zip(shapes)
                .map(|(at, (shape, rules))| (at, shape, rules));
            numbered.filter(|(_, shape, _)| is_for(shape, v4)).collect()
        };
        Self {
            v4: Family::new(of_family(true), 32, |of| [of4(of.map(low32))]),
            v6: Family::new(of_family(false), 128, of6),
        }
    }

    /// Whether any shape may have a rule for a packet. Most packets are nobody's: all shapes are asked without a branch between.
    #[inline]
    pub fn let_through(&self, packet: &Packet) -> bool {
        let upper = upper(packet.protocol, packet.destination_port);
        match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => self.v4.let_through([of4([source, destination])], upper),
            Addresses::V6 {
                source,
                destination,
            } => self.v6.let_through(of6([source, destination]), upper),
        }
    }

    /// Calls `each` with the number of every shape that may have a rule for a packet.
    pub fn passed(&self, packet: &Packet, each: &mut impl FnMut(usize)) {
        let upper = upper(packet.protocol, packet.destination_port);
        match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => self.v4.passed([of4([source, destination])], upper, each),
            Addresses::V6 {
                source,
                destination,
            } => self.v6.passed(of6([source, destination]), upper, each),
        }
    }
}

impl<const N: usize> Family<N> {
    /// `words`: addresses of `width` bits, source first, as [`Masks`] has them.
    fn new(
        mut shapes: Vec<Numbered<'_>>,
        width: u32,
        words: impl Fn([u128; 2]) -> [u64; N],
    ) -> Self {
        let masks = |shape: &Shape| Masks {
            addresses: words([shape.source, shape.destination].map(|net| mask(net, width))),
            upper: upper(
                if shape.protocol { u8::MAX } else { 0 },
                if shape.port { u16::MAX } else { 0 },
            ),
        };
        shapes.sort_by_key(|(_, shape, _)| masks(shape).addresses);
        let (mut common, mut own, mut bits) = (Vec::new(), Vec::new(), Vec::new());
        for alike in shapes.chunk_by(|a, b| masks(a.1).addresses == masks(b.1).addresses) {
            let digests = |masks: Masks<N>, shapes: &[Numbered<'_>]| -> Vec<u64> {
                let keys = shapes.iter().flat_map(|(_, _, rules)| rules.keys());
                let digest = |&(destination, source, protocol, port): &Key| {
                    masks.digest(words([source, destination]), upper(protocol, port))
                };
                keys.map(digest).collect()
            };
            let first = own.len();
            for shape in alike {
                let masks = masks(shape.1);
                let digests = digests(masks, std::slice::from_ref(shape));
                own.push((Screen::new(masks, digests, &mut bits), shape.0));
            }
            let screen = match own.get(first..) {
                Some([(alone, _)]) => *alone,
                _ => {
                    let all = alike.iter().map(|(_, shape, _)| masks(shape));
                    let Some(masks) = all.reduce(Masks::common) else {
                        continue;
                    };
                    Screen::new(masks, digests(masks, alike), &mut bits)
                }
            };
            common.push((screen, number(first)..number(own.len())));
        }
        Self {
            common: common.into(),
            own: own.into(),
            bits: bits.into(),
        }
    }

    #[inline]
    fn let_through(&self, words: [u64; N], upper: u32) -> bool {
        let all = self.common.iter();
        all.fold(false, |any, (common, _)| {
            any | self.lets_through(common, words, upper)
        })
    }

    fn passed(&self, words: [u64; N], upper: u32, each: &mut impl FnMut(usize)) {
        for (common, own) in &self.common {
            if self.lets_through(common, words, upper) {
                self.passed_of(own, words, upper, each);
            }
        }
    }

    /// Of shapes of the same networks, of which one may have a rule.
    #[cold]
    fn passed_of(
        &self,
        own: &Range<u32>,
        words: [u64; N],
        upper: u32,
        each: &mut impl FnMut(usize),
    ) {
        let own = self.own.get(own.start as usize..own.end as usize);
        for (screen, shape) in own.unwrap_or_default() {
            if self.lets_through(screen, words, upper) {
                each(*shape as usize);
            }
        }
    }

    /// Whether there may be a rule for a packet of these words.
    #[inline(always)]
    fn lets_through(&self, screen: &Screen<N>, words: [u64; N], upper: u32) -> bool {
        let (word, bits) = screen.place(screen.masks.digest(words, upper));
        self.bits.get(word).is_none_or(|word| word & bits == bits)
    }
}

impl<const N: usize> Masks<N> {
    /// What of a packet is looked at, as one number.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    fn digest(&self, words: [u64; N], upper: u32) -> u64 {
        // Digits of pi. Who knows them can have his packets held against the rules themselves, no more.
        let mut digest = u64::from(upper & self.upper) ^ 0x243f_6a88_85a3_08d3;
        for (word, mask) in words.into_iter().zip(self.addresses) {
            let product = u128::from(digest) * u128::from(word & mask ^ 0x1319_8a2e_0370_7344);
            digest = product as u64 ^ (product >> 64) as u64;
        }
        digest
    }

    /// What both look at, of the same networks.
    const fn common(self, other: Self) -> Self {
        Self {
            upper: self.upper & other.upper,
            ..self
        }
    }
}

impl<const N: usize> Screen<N> {
    /// One of `digests`, its bits behind those that there are.
    fn new(masks: Masks<N>, mut digests: Vec<u64>, bits: &mut Vec<u64>) -> Self {
        digests.sort_unstable();
        digests.dedup();
        let words = (digests.len() * BITS).div_ceil(64).next_power_of_two();
        let screen = Self {
            masks,
            first: number(bits.len()),
            last: number(words - 1),
        };
        bits.resize(bits.len() + words, 0);
        for digest in digests {
            let (word, set) = screen.place(digest);
            if let Some(word) = bits.get_mut(word) {
                *word |= set;
            }
        }
        screen
    }

    /// The word of a digest and the bits in it.
    #[inline]
    const fn place(&self, digest: u64) -> (usize, u64) {
        let word = self.first as usize + ((digest >> 32) as usize & self.last as usize);
        (
            word,
            1 << (digest & 63) | 1 << (digest >> 6 & 63) | 1 << (digest >> 12 & 63),
        )
    }
}

const fn upper(protocol: u8, port: u16) -> u32 {
    protocol as u32 | (port as u32) << 8
}

/// Of rules there are never so many.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

const fn of4([source, destination]: [u32; 2]) -> u64 {
    source as u64 | (destination as u64) << 32
}

fn of6([source, destination]: [u128; 2]) -> [u64; 4] {
    let halves = |address: u128| [low64(address), low64(address >> 64)];
    let ([a, b], [c, d]) = (halves(source), halves(destination));
    [a, b, c, d]
}

#[expect(clippy::cast_possible_truncation, reason = "the low part is meant")]
const fn low32(number: u128) -> u32 {
    number as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low part is meant")]
const fn low64(number: u128) -> u64 {
    number as u64
}

/// The bits of an address of `width` bits that a network is about.
fn mask(net: Option<(bool, u8)>, width: u32) -> u128 {
    let Some((_, prefix)) = net else { return 0 };
    let all = u128::MAX >> (128 - width);
    let host = width.saturating_sub(prefix.into());
    all.checked_shr(host)
        .unwrap_or(0)
        .checked_shl(host)
        .unwrap_or(0)
}
