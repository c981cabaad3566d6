//! The two hash functions of IPVS's hashing schedulers, and what they are given: an address folded to 32 bits, plus a
//! port. Their keys are fixed, so a client has the same server on every director and after every start.

use std::net::IpAddr;

/// An address as the schedulers hash it: IPv4 as a number, IPv6 the four words of it XORed.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each word is cut out of the address"
)]
pub(in super::super) const fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}

/// Multiplicative hashing by the golden ratio to `BITS` bits: Linux's `hash_32`.
pub(super) const fn multiplicative<const BITS: u32>(value: u32) -> usize {
    const { assert!(BITS > 0 && BITS <= 32) }
    (value.wrapping_mul(0x61c8_8647) >> (32 - BITS)) as usize
}

/// SipHash-1-3 (Aumasson, Bernstein) of the four little-endian bytes of `value`, its low half: Linux's `hsiphash` on a
/// 64-bit machine. Both halves of the key are `key`.
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
pub(super) const fn sip(value: u32, key: u64) -> u32 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    // Four bytes are less than a block: one, with their number on top.
    let block = 4 << 56 | value as u64;
    v[3] ^= block;
    v = round(v);
    v[0] ^= block;
    v[2] ^= 0xff;
    v = round(round(round(v)));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

/// A round of SipHash.
pub(in super::super) const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_the_xor_of_its_words() {
        let ip: IpAddr = "1:2:3:4:5:6:7:8".parse().unwrap();
        assert_eq!(
            folded(ip),
            0x0001_0002 ^ 0x0003_0004 ^ 0x0005_0006 ^ 0x0007_0008
        );
        assert_eq!(folded("10.0.0.1".parse().unwrap()), 0x0a00_0001);
    }

    #[test]
    fn the_golden_ratio_spreads_neighbours() {
        // 1 * 0x61c88647, the upper eight bits.
        assert_eq!(multiplicative::<8>(1), 0x61);
        assert_eq!(multiplicative::<8>(2), 0xc3);
        assert_eq!(multiplicative::<32>(1), 0x61c8_8647);
    }
}
