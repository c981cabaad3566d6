//! What the two ends of a connection agree on in their SYNs, and how it is kept in a timestamp meanwhile.

use crate::packet::Packet;
use arrayvec::ArrayVec;
use wire::{
    Frame,
    tcp::{self, kind},
};

/// Bytes of options in a TCP header at most.
const MOST: usize = 40;
/// Words of those that are written here.
pub(super) const WORDS: usize = 6;
/// Such words.
type Words = ArrayVec<u32, WORDS>;
/// The largest window scale (RFC 7323 2.3).
pub(super) const MAX_SCALE: u8 = 14;

/// The options of a SYN. Others are not understood, and so not agreed on: among them congestion notification, fast open
/// and signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The largest segment the sender takes.
    pub size: Option<u16>,
    /// How far its windows are to be shifted.
    pub scale: Option<u8>,
    /// It understands selective acknowledgements.
    pub sack: bool,
    /// Its timestamp, and the one it echoes.
    pub timestamps: Option<(u32, u32)>,
}

impl Options {
    /// Those of the TCP header of a packet, a copy of which is walked.
    pub fn of<F: Frame>(frame: &F, packet: &Packet) -> Self {
        let mut found = Self::default();
        let header = usize::from(packet.l4);
        let len = frame.head().get(header + 12).map_or(0, |b| b >> 4);
        let options = header + tcp::LEN..header + usize::from(len) * 4;
        let Some(options) = frame.head().get(options) else {
            return found;
        };
        let mut copy: ArrayVec<u8, MOST> = options.iter().copied().take(MOST).collect();
        found.read(&mut copy);
        found
    }

    /// Those that stand there.
    #[inline]
    pub fn read(&mut self, options: &mut [u8]) {
        tcp::each_option(options, |kind, contents| match (kind, &*contents) {
            (kind::MSS, [high, low]) => self.size = Some(u16::from_be_bytes([*high, *low])),
            (kind::SCALE, [scale]) => self.scale = Some((*scale).min(MAX_SCALE)),
            (kind::SACK_PERMITTED, []) => self.sack = true,
            (kind::TIMESTAMPS, [a, b, c, d, e, f, g, h]) => {
                let ours = u32::from_be_bytes([*a, *b, *c, *d]);
                let theirs = u32::from_be_bytes([*e, *f, *g, *h]);
                self.timestamps = Some((ours, theirs));
            }
            _ => {}
        });
    }

    /// As they stand in a header.
    pub fn bytes(&self) -> ArrayVec<u8, MOST> {
        let words = self.words();
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The same in whole words.
    #[inline]
    pub fn words(&self) -> Words {
        let mut words = ArrayVec::new();
        // There is room for all there are.
        let mut put = |word| {
            let _ = words.try_push(word);
        };
        if let Some(size) = self.size {
            let [high, low] = size.to_be_bytes();
            put(u32::from_be_bytes([kind::MSS, 4, high, low]));
        }
        match (self.sack, self.timestamps) {
            (false, None) => {}
            (true, None) => put(u32::from_be_bytes([
                kind::NOTHING,
                kind::NOTHING,
                kind::SACK_PERMITTED,
                2,
            ])),
            (sack, Some((value, echo))) => {
                let (a, b) = if sack {
                    (kind::SACK_PERMITTED, 2)
                } else {
                    (kind::NOTHING, kind::NOTHING)
                };
                put(u32::from_be_bytes([a, b, kind::TIMESTAMPS, 10]));
                put(value);
                put(echo);
            }
        }
        if let Some(scale) = self.scale {
            put(u32::from_be_bytes([kind::NOTHING, kind::SCALE, 3, scale]));
        }
        words
    }
}

/// What a timestamp carries: the lowest bits, beneath the time.
const CARRIED: u32 = 63;
const SCALE: u32 = 15;
const SACK: u32 = 16;

/// The timestamp at `clock` that carries scale and selective acknowledgements; never ahead of the clock.
pub(super) const fn stamp(clock: u32, scale: Option<u8>, sack: bool) -> u32 {
    let scale = match scale {
        Some(scale) => scale as u32 & SCALE,
        None => SCALE,
    };
    let stamp = clock & !CARRIED | scale | if sack { SACK } else { 0 };
    if stamp.wrapping_sub(clock).cast_signed() > 0 {
        stamp.wrapping_sub(CARRIED + 1)
    } else {
        stamp
    }
}

/// What [`stamp`] has put into it.
pub(super) fn carried(stamp: u32) -> (Option<u8>, bool) {
    let scale = u8::try_from(stamp & SCALE).ok();
    (scale.filter(|s| *s <= MAX_SCALE), stamp & SACK != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_carries_everything_and_is_never_ahead() {
        for clock in [0, 1, 62, 63, 64, 1_000_000, u32::MAX, u32::MAX - 63] {
            for sack in [false, true] {
                for scale in (0..=14).map(Some).chain([None]) {
                    let stamp = stamp(clock, scale, sack);
                    assert_eq!(carried(stamp), (scale, sack));
                    let behind = clock.wrapping_sub(stamp);
                    assert!(behind < 128, "{clock} {stamp}");
                }
            }
        }
    }

    #[test]
    fn options_fill_whole_words() {
        for size in [None, Some(1460)] {
            for scale in [None, Some(7)] {
                for sack in [false, true] {
                    for timestamps in [None, Some((1, 2))] {
                        let options = Options {
                            size,
                            scale,
                            sack,
                            timestamps,
                        };
                        let bytes = options.bytes();
                        assert!(bytes.len().is_multiple_of(4), "{options:?}");
                        let mut kinds = Vec::new();
                        tcp::each_option(&mut bytes.to_vec(), |kind, _| kinds.push(kind));
                        let mut wanted = Vec::new();
                        wanted.extend(size.map(|_| kind::MSS));
                        wanted.extend(sack.then_some(kind::SACK_PERMITTED));
                        wanted.extend(timestamps.map(|_| kind::TIMESTAMPS));
                        wanted.extend(scale.map(|_| kind::SCALE));
                        assert_eq!(kinds, wanted, "{options:?}");
                    }
                }
            }
        }
    }
}
