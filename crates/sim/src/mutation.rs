//! Frames nobody should send: recorded ones with bits flipped, lengths bent, ends cut off, parts spliced, and plain noise.

use crate::VecFrame;
use wire::RxChecksum;

/// A small deterministic random source (xorshift64*): the same seed gives the same frames on every machine.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Seeds it; any number will do.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    /// A random number below `bound`, 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(random).map_or(0, |r| r.checked_rem(bound).unwrap_or(0))
    }

    /// A random byte.
    pub fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }

    /// True one time in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The next frame: one of `seeds`, usually mutated; sometimes noise; sometimes chained, tagged or with odd port verdicts.
pub fn next(dice: &mut Dice, seeds: &[Vec<u8>]) -> VecFrame {
    let mut bytes = match seeds.get(dice.below(seeds.len())) {
        Some(seed) if !dice.one_in(16) => seed.clone(),
        _ => (0..dice.below(1600)).map(|_| dice.byte()).collect(),
    };
    for _ in 0..dice.below(5) {
        mutate(dice, &mut bytes, seeds);
    }
    let mut frame = if dice.one_in(4) && bytes.len() > 1 {
        let first = 1 + dice.below(bytes.len() - 1);
        let second = 1 + dice.below(64);
        VecFrame::chained(&bytes, &[first, second])
    } else {
        VecFrame::new(&bytes)
    };
    let verdicts = [
        RxChecksum::Unknown,
        RxChecksum::Unknown,
        RxChecksum::Good,
        RxChecksum::Bad,
    ];
    frame.ip_checksum = verdicts[dice.below(verdicts.len())];
    frame.l4_checksum = if dice.one_in(8) {
        RxChecksum::Partial
    } else {
        verdicts[dice.below(verdicts.len())]
    };
    if dice.one_in(16) {
        frame.vlan = Some(u16::from(dice.byte()) << 4 | 7);
    }
    frame
}

/// Values that sit on the edges of length and count fields.
const EDGES: [u8; 8] = [0, 1, 4, 5, 0x0f, 0x7f, 0x80, 0xff];

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = dice.below(bytes.len());
    // Most mutations hit the headers: that is where the decisions are.
    let header = dice.below(bytes.len().min(80));
    match dice.below(8) {
        0 => bytes
            .iter_mut()
            .skip(header)
            .take(1)
            .for_each(|b| *b ^= 1 << dice.below(8)),
        1 => bytes
            .iter_mut()
            .skip(header)
            .take(1)
            .for_each(|b| *b = dice.byte()),
        2 => bytes
            .iter_mut()
            .skip(header)
            .take(2)
            .for_each(|b| *b = EDGES[dice.below(EDGES.len())]),
        3 => bytes.truncate(at),
        4 => bytes.extend((0..dice.below(64)).map(|_| 0u8)),
        5 => {
            if let Some(other) = seeds.get(dice.below(seeds.len())) {
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(at..).unwrap_or_default());
            }
        }
        6 if bytes.len() >= 14 => {
            let id = dice.byte();
            bytes.splice(12..12, [0x81, 0x00, 0x00, id]);
        }
        _ => fix_ipv4_checksum(bytes),
    }
}

/// Makes a bent IPv4 header pass its checksum, so that what lies behind that check is reached.
fn fix_ipv4_checksum(bytes: &mut [u8]) {
    if bytes.get(12..14) != Some(&[0x08, 0x00]) {
        return;
    }
    let length = usize::from(bytes.get(14).copied().unwrap_or(0) & 0x0f) * 4;
    let Some(header) = bytes.get_mut(14..14 + length).filter(|h| h.len() >= 20) else {
        return;
    };
    header[10..12].fill(0);
    let mut sum: u32 = header
        .chunks(2)
        .map(|p| u32::from(u16::from_be_bytes([p[0], p[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap_or(0);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}
