//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// A running one's-complement sum over pieces of any length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: u64,
    odd: bool,
}

impl Sum {
    /// Nothing added yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Adds the next bytes of the message.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let folded = fold(words(bytes));
        // A piece that starts at an odd offset has its bytes in the other halves of the words.
        let folded = if self.odd {
            folded.swap_bytes()
        } else {
            folded
        };
        self.sum += u64::from(folded);
        self.odd ^= bytes.len() & 1 == 1;
    }

    /// Adds a 32-bit field (in host order) as if at an even offset.
    #[inline]
    pub fn add32(&mut self, value: u32) {
        self.sum += u64::from(value);
    }

    /// Adds a 16-bit field (in host order) as if at an even offset.
    pub fn add16(&mut self, value: u16) {
        self.sum += u64::from(value);
    }

    /// The sum, folded but not complemented: what a partial checksum field holds.
    #[must_use]
    pub fn folded(&self) -> u16 {
        fold(self.sum)
    }

    /// The checksum: the complement.
    #[must_use]
    pub fn finish(&self) -> u16 {
        !self.folded()
    }

    /// The pseudo-header of TCP, UDP over IPv4. Addresses in host order, `len` of the layer-4 part.
    #[must_use]
    #[inline]
    pub fn pseudo4(source: u32, destination: u32, protocol: u8, len: u16) -> Self {
        Self {
            sum: u64::from(source) + u64::from(destination) + u64::from(protocol) + u64::from(len),
            odd: false,
        }
        .narrowed()
    }

    /// The pseudo-header of TCP, UDP, `ICMPv6` over IPv6. Addresses in host order, `len` of the layer-4 part.
    #[must_use]
    #[inline]
    pub fn pseudo6(source: u128, destination: u128, protocol: u8, len: u32) -> Self {
        Self {
            sum: u64::from(fold128(source))
                + u64::from(fold128(destination))
                + u64::from(protocol)
                + u64::from(len),
            odd: false,
        }
        .narrowed()
    }

    const fn narrowed(self) -> Self {
        Self {
            sum: fold(self.sum) as u64,
            odd: self.odd,
        }
    }
}

/// A sum over words as they stand in headers, read as little-endian numbers: in one's complement, neither word size nor byte order
/// matters until the end. For headers that are at hand as words; of pieces of whole words only.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnWireSum(u64);

impl OnWireSum {
    /// Adds a word.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, word: u32) -> Self {
        // It cannot overflow: no packet has so many words.
        Self(self.0 + word as u64)
    }

    /// Adds two words.
    #[must_use]
    #[inline(always)]
    pub const fn and_two(self, words: u64) -> Self {
        Self(self.0 + (words & 0xffff_ffff) + (words >> 32))
    }

    /// Adds the rest of a message; its last word may be cut short.
    #[must_use]
    #[inline(always)]
    pub fn and_bytes(mut self, bytes: &[u8]) -> Self {
        let (fours, rest) = bytes.as_chunks::<4>();
        for four in fours {
            self = self.and(u32::from_le_bytes(*four));
        }
        match *rest {
            [a, b, c] => self.and(u32::from_le_bytes([a, b, c, 0])),
            [a, b] => self.and(u32::from_le_bytes([a, b, 0, 0])),
            [a] => self.and(u32::from(a)),
            _ => self,
        }
    }

    /// Whether what was added contains its own right checksum. Zeros alone do not.
    #[must_use]
    #[inline(always)]
    pub const fn is_right(self) -> bool {
        is_multiple(self.0)
    }

    /// The checksum, to be written as a little-endian number.
    #[must_use]
    #[inline(always)]
    pub const fn finish(self) -> u16 {
        !fold(self.0)
    }
}

/// [`of`] for an IPv4 header without options, which nearly all are.
#[must_use]
#[inline]
pub fn of_plain_header(header: &[u8; 20]) -> u16 {
    let (words, _) = header.as_chunks::<4>();
    let sum = words
        .iter()
        .map(|w| u64::from(u32::from_be_bytes(*w)))
        .sum();
    !fold(sum)
}

/// Whether an IPv4 header without options, in words as [`crate::Ipv4::words`] reads them, contains its own right checksum. A header
/// of zeros does not, nor is it one.
#[must_use]
#[inline]
pub fn is_right_plain_header((low, middle, high): (u64, u64, u32)) -> bool {
    // As in `words`: neither the word size nor the byte order matters to whether the sum is 0 in one's complement.
    let (sum, carry) = low.overflowing_add(middle);
    let (sum, more) = sum.overflowing_add(u64::from(high) + u64::from(carry));
    // It cannot wrap again: a sum that has just wrapped is small.
    let sum = sum + u64::from(more);
    is_multiple(sum)
}

/// Whether a sum that is not 0 is a multiple of 0xffff, told by multiplication with the number's inverse: multiples become small
/// numbers.
#[inline(always)]
const fn is_multiple(sum: u64) -> bool {
    sum != 0 && sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
}

/// Times 0xffff this is 1, modulo 2^64.
const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);

/// The checksum of one piece of bytes. 0 when the bytes contain their own right checksum.
#[must_use]
pub fn of(bytes: &[u8]) -> u16 {
    !fold(words(bytes))
}

/// RFC 1624 equation 3: the checksum after a 16-bit field went from `from` to `to`.
#[must_use]
#[inline]
pub const fn update16(checksum: u16, from: u16, to: u16) -> u16 {
    Delta::between16(from, to).apply(checksum)
}

/// The checksum after a 32-bit field went from `from` to `to`.
#[must_use]
#[inline]
pub const fn update32(checksum: u16, from: u32, to: u32) -> u16 {
    Delta::between32(from, to).apply(checksum)
}

/// The checksum after a 128-bit field went from `from` to `to`.
#[must_use]
#[inline]
pub const fn update128(checksum: u16, from: u128, to: u128) -> u16 {
    Delta::between128(from, to).apply(checksum)
}

/// What a rewrite does to a checksum, computed once and applied to every packet of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(pub u16);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// A 16-bit field changed.
    #[must_use]
    #[inline]
    pub const fn between16(from: u16, to: u16) -> Self {
        Self(fold_two(!from, to))
    }

    /// A 32-bit field changed.
    #[must_use]
    #[inline]
    pub const fn between32(from: u32, to: u32) -> Self {
        Self(fold(!from as u64 + to as u64))
    }

    /// A 128-bit field changed.
    #[must_use]
    #[inline]
    pub const fn between128(from: u128, to: u128) -> Self {
        Self(fold(!fold128(from) as u64 + fold128(to) as u64))
    }

    /// Both changes.
    #[must_use]
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(fold_two(self.0, other.0))
    }

    /// The change back.
    #[must_use]
    #[inline]
    pub const fn reverse(self) -> Self {
        Self(!self.0)
    }

    /// The new value of a complete checksum field (TCP, ICMP, the IPv4 header).
    #[must_use]
    #[inline]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold_two(!checksum, self.0)
    }

    /// The new value of a UDP checksum field that is not 0: a result of 0 is sent as 0xffff (RFC 768).
    #[must_use]
    #[inline]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        match self.apply(checksum) {
            0 => 0xffff,
            sum => sum,
        }
    }

    /// The new value of a partial checksum field (`RxChecksum::Partial`): it holds the pseudo-header's sum, not
    /// complemented, so the delta must be that of the addresses alone, without ports.
    #[must_use]
    #[inline]
    pub const fn apply_partial(self, sum: u16) -> u16 {
        fold_two(sum, self.0)
    }
}

/// Adds 16-bit big-endian words, eight bytes at a time. The result is congruent, not folded.
#[inline]
fn words(bytes: &[u8]) -> u64 {
    if bytes.len() < LONG {
        words_of_few(bytes)
    } else {
        words_of_many(bytes)
    }
}

/// From so many bytes on it pays to add several words at once.
const LONG: usize = 128;

/// As [`words_of_many`], one word after the other.
#[inline]
fn words_of_few(bytes: &[u8]) -> u64 {
    let (fours, rest) = bytes.as_chunks::<4>();
    let mut sum = 0u64;
    for four in fours {
        sum += u64::from(u32::from_ne_bytes(*four));
    }
    sum += match *rest {
        [a, b, c] => u64::from(u32::from_ne_bytes([a, b, c, 0])),
        [a, b] => u64::from(u32::from_ne_bytes([a, b, 0, 0])),
        [a] => u64::from(u32::from_ne_bytes([a, 0, 0, 0])),
        _ => 0,
    };
    u64::from(u16::from_be(fold(sum)))
}

#[inline(never)]
fn words_of_many(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    // One's-complement addition does not care about the word size or, but for a swap at the end, the byte order.
    let mut low = 0u64;
    let mut high = 0u64;
    for chunk in chunks {
        let value = u64::from_ne_bytes(*chunk);
        low += value & 0xffff_ffff;
        high += value >> 32;
    }
    let mut tail = [0u8; 8];
    for (to, from) in tail.iter_mut().zip(rest) {
        *to = *from;
    }
    let value = u64::from_ne_bytes(tail);
    low += value & 0xffff_ffff;
    high += value >> 32;
    u64::from(u16::from_be(fold(
        u64::from(fold(low)) + u64::from(fold(high)),
    )))
}

/// One's-complement sum of two words: one carry at most, and none after it.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the carry is added")]
const fn fold_two(a: u16, b: u16) -> u16 {
    let sum = a as u32 + b as u32;
    (sum + (sum >> 16)) as u16
}

/// Folds the carries of a sum of 16-bit words into 16 bits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves are what is asked for"
)]
const fn fold128(value: u128) -> u16 {
    let high = (value >> 64) as u64;
    let low = value as u64;
    fold(fold(high) as u64 + fold(low) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071's definition, word by word.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn rfc_1624_example() {
        // Section 4: 0xDD2F with 0x5555 -> 0x3285 must give 0x0000, not 0xFFFF.
        assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
        assert_eq!(Delta::between16(0x5555, 0x3285).apply_udp(0xdd2f), 0xffff);
    }

    fn words_of(header: &[u8; 20]) -> (u64, u64, u32) {
        let (ip, _) = <crate::Ipv4 as zerocopy::FromBytes>::read_from_prefix(header).unwrap();
        ip.words()
    }

    /// 0 and 0xffff are one number in one's complement; a header that is not all zero never sums to 0.
    fn same(a: u16, b: u16) -> bool {
        a == b || (a ^ b == 0xffff && (a == 0 || b == 0))
    }

    proptest! {
        #[test]
        fn words_as_they_stand_sum_as_bytes(first: u32, two: u64, bytes: Vec<u8>) {
            let mut message = first.to_le_bytes().to_vec();
            message.extend(two.to_le_bytes());
            message.extend(&bytes);
            let sum = OnWireSum::default().and(first).and_two(two).and_bytes(&bytes);
            prop_assert_eq!(sum.finish().to_le_bytes(), of(&message).to_be_bytes());
            let zeros = message.iter().all(|byte| *byte == 0);
            prop_assert_eq!(sum.is_right(), of(&message) == 0 && !zeros);
            prop_assert!(zeros || sum.and(sum.finish().into()).is_right());
        }

        #[test]
        fn a_plain_header_sums_as_any_bytes(header in any::<[u8; 20]>()) {
            prop_assert_eq!(of_plain_header(&header), of(&header));
            prop_assert_eq!(is_right_plain_header(words_of(&header)), of(&header) == 0);
            let mut right = header;
            right[0] = 0x45;
            right[10..12].fill(0);
            let sum = of(&right);
            right[10..12].copy_from_slice(&sum.to_be_bytes());
            prop_assert!(is_right_plain_header(words_of(&right)));
            right[10..12].copy_from_slice(&sum.wrapping_add(1).to_be_bytes());
            prop_assert_eq!(is_right_plain_header(words_of(&right)), of(&right) == 0);
        }

        #[test]
        fn sums_agree_with_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            prop_assert_eq!(of(&bytes), reference(&bytes));
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut sum = Sum::new();
            sum.add(head);
            sum.add(tail);
            prop_assert!(same(sum.finish(), reference(&bytes)));
        }

        #[test]
        fn updates_agree_with_computing_anew(mut bytes in proptest::collection::vec(any::<u8>(), 40..80), to in any::<u128>(), to4 in any::<u32>(), to2 in any::<u16>()) {
            bytes[0] = 0x45; // never all zero
            let old = of(&bytes);
            let from = u128::from_be_bytes(bytes[8..24].try_into().unwrap());
            let from4 = u32::from_be_bytes(bytes[24..28].try_into().unwrap());
            let from2 = u16::from_be_bytes(bytes[28..30].try_into().unwrap());
            bytes[8..24].copy_from_slice(&to.to_be_bytes());
            prop_assert_eq!(update128(old, from, to), of(&bytes));
            bytes[24..28].copy_from_slice(&to4.to_be_bytes());
            bytes[28..30].copy_from_slice(&to2.to_be_bytes());
            let delta = Delta::between128(from, to).and(Delta::between32(from4, to4)).and(Delta::between16(from2, to2));
            prop_assert_eq!(delta.apply(old), of(&bytes));
            prop_assert!(same(delta.reverse().apply(of(&bytes)), old));
            prop_assert_eq!(update16(update32(update128(old, from, to), from4, to4), from2, to2), of(&bytes));
        }

        #[test]
        fn pseudo_headers_are_sums_of_their_bytes(s in any::<u128>(), d in any::<u128>(), s4 in any::<u32>(), d4 in any::<u32>(), p in any::<u8>(), len in any::<u16>()) {
            let mut bytes = [s.to_be_bytes(), d.to_be_bytes()].concat();
            bytes.extend(u32::from(len).to_be_bytes());
            bytes.extend([0, 0, 0, p]);
            prop_assert!(same(Sum::pseudo6(s, d, p, len.into()).finish(), reference(&bytes)));
            let mut bytes = [s4.to_be_bytes(), d4.to_be_bytes()].concat();
            bytes.extend([0, p]);
            bytes.extend(len.to_be_bytes());
            prop_assert!(same(Sum::pseudo4(s4, d4, p, len).finish(), reference(&bytes)));
        }

        #[test]
        fn a_partial_checksum_follows_its_addresses(s4 in any::<u32>(), d4 in any::<u32>(), to in any::<u32>(), len in any::<u16>()) {
            let sum = Sum::pseudo4(s4, d4, 6, len).folded();
            let moved = Delta::between32(d4, to).apply_partial(sum);
            prop_assert!(same(moved, Sum::pseudo4(s4, to, 6, len).folded()));
        }
    }
}
