//! What tells at a glance, for nearly every packet, that no rule of a shape is true of it: a bit for each digest of what the
//! shape's rules are looked up by. It errs to one side only, and then the rules themselves are asked.

use super::{Key, Shape};
use crate::packet::{Addresses, Packet};
use hashbrown::HashMap;

/// Bits a rule has room for. Three of one word are set for it, so that about one stranger in a hundred passes.
const BITS: usize = 16;

/// What of a packet a shape looks at, in 64-bit words: its addresses in `N` of them.
#[derive(Clone, Debug)]
struct Screen<const N: usize> {
    addresses: [u64; N],
    /// The protocol, above it the destination's port.
    upper: u64,
    /// The number of the shape.
    shape: usize,
    /// A power of two.
    bits: Box<[u64]>,
}

/// The screens of all shapes, by the family of the packets that they look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Screens {
    v4: Box<[Screen<1>]>,
    v6: Box<[Screen<4>]>,
}

impl Screens {
    /// The screens of `shapes`, which are known by their places from here on.
    pub fn of(shapes: &[(Shape, HashMap<Key, Vec<u32>>)]) -> Self {
        let numbered = || {
            shapes
                .iter()
                .enumerate()
                .map(|(at, (shape, rules))| (at, shape, rules.keys()))
        };
        // A rule without networks is one for both families.
        let is_for = |shape: &Shape, v4: bool| {
            let nets = [shape.destination, shape.source];
            nets.into_iter().flatten().all(|(is_v4, _)| is_v4 == v4)
        };
        let v4 = numbered().filter(|(_, shape, _)| is_for(shape, true));
        let v6 = numbered().filter(|(_, shape, _)| is_for(shape, false));
        Self {
            v4: v4
                .map(|(at, shape, keys)| {
                    let words = |of: [u128; 2]| [of4(of.map(low32))];
                    let masks = [shape.source, shape.destination].map(|net| mask(net, 32));
                    Screen::new(at, shape, words(masks), keys, words)
                })
                .collect(),
            v6: v6
                .map(|(at, shape, keys)| {
                    let masks = [shape.source, shape.destination].map(|net| mask(net, 128));
                    Screen::new(at, shape, of6(masks), keys, of6)
                })
                .collect(),
        }
    }

    /// Numbers of the shapes that may have a rule for a packet.
    #[inline]
    pub fn passed(&self, packet: &Packet) -> impl Iterator<Item = usize> {
        let upper = upper(packet.protocol, packet.destination_port);
        let (v4, v6) = match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => (Some([of4([source, destination])]), None),
            Addresses::V6 {
                source,
                destination,
            } => (None, Some(of6([source, destination]))),
        };
        let v4 = v4.map(|words| {
            let screens = self.v4.iter();
            screens.filter_map(move |screen| screen.lets_through(words, upper))
        });
        let v6 = v6.map(|words| {
            let screens = self.v6.iter();
            screens.filter_map(move |screen| screen.lets_through(words, upper))
        });
        v4.into_iter().flatten().chain(v6.into_iter().flatten())
    }
}

impl<const N: usize> Screen<N> {
    /// `words`: the addresses of a key, source first, as `masks` has them.
    fn new<'k>(
        at: usize,
        shape: &Shape,
        masks: [u64; N],
        keys: impl ExactSizeIterator<Item = &'k Key>,
        words: impl Fn([u128; 2]) -> [u64; N],
    ) -> Self {
        let size = (keys.len() * BITS).div_ceil(64).next_power_of_two();
        let mut screen = Self {
            addresses: masks,
            upper: upper(
                if shape.protocol { u8::MAX } else { 0 },
                if shape.port { u16::MAX } else { 0 },
            ),
            shape: at,
            bits: vec![0; size].into_boxed_slice(),
        };
        for &(destination, source, protocol, port) in keys {
            let (word, bits) = screen.place(words([source, destination]), upper(protocol, port));
            if let Some(word) = screen.bits.get_mut(word) {
                *word |= bits;
            }
        }
        screen
    }

    /// The shape's number, if it may have a rule for a packet of these words.
    #[inline]
    fn lets_through(&self, words: [u64; N], upper: u64) -> Option<usize> {
        let (word, bits) = self.place(words, upper);
        let set = self.bits.get(word).is_none_or(|word| word & bits == bits);
        set.then_some(self.shape)
    }

    /// The word and the bits in it of what the shape looks at.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a place in memory")]
    fn place(&self, words: [u64; N], upper: u64) -> (usize, u64) {
        // Digits of pi. Who knows them can have his packets held against the rules themselves, no more.
        let mut digest = upper & self.upper ^ 0x243f_6a88_85a3_08d3;
        for (word, mask) in words.into_iter().zip(self.addresses) {
            let product = u128::from(digest) * u128::from(word & mask ^ 0x1319_8a2e_0370_7344);
            digest = product as u64 ^ (product >> 64) as u64;
        }
        let word = (digest >> 32) as usize & (self.bits.len() - 1);
        let bit = |shift: u32| 1 << (digest >> shift & 63);
        (word, bit(0) | bit(6) | bit(12))
    }
}

const fn upper(protocol: u8, port: u16) -> u64 {
    protocol as u64 | (port as u64) << 8
}

fn of4([source, destination]: [u32; 2]) -> u64 {
    u64::from(source) | u64::from(destination) << 32
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
