//! Bytes of a frame that another run may fill otherwise: identifiers the director itself picks.

use wire::ethernet;

const GUE_PORT: [u8; 2] = 6080u16.to_be_bytes();
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;

/// Ranges of `out`, which the frame `received` caused.
#[must_use]
pub fn ranges(received: &[u8], out: &[u8]) -> Vec<[usize; 2]> {
    let mut ranges = Vec::new();
    let same = |from, to| out.get(from..to) == received.get(from..to);
    let kind = |frame: &[u8]| frame.get(12..14).map(|b| u16::from_be_bytes([b[0], b[1]]));
    // The same packet: what the director builds may have its identification by chance.
    let above = |frame: &[u8]| frame.get(23).copied();
    let like = kind(received) == kind(out)
        && (kind(out) != Some(ethernet::IPV4) || above(received) == above(out));
    match kind(out) {
        Some(ethernet::IPV4) => {
            // None is needed where nothing may be cut up; else it is none by chance.
            let whole = out.get(20).is_some_and(|b| b & 0x40 != 0);
            let none = whole && out.get(18..20) == Some(&[0, 0]);
            if !(none || like && same(18, 20)) {
                // The identification and the header checksum.
                ranges.extend([[18, 20], [24, 26]]);
            }
            if out.get(23) == Some(&UDP) && out.get(36..38) == Some(&GUE_PORT) {
                ranges.extend([[34, 36], [40, 42]]);
            }
        }
        Some(ethernet::IPV6) => {
            let label =
                out.get(15).is_some_and(|b| b & 15 != 0) || out.get(16..18) != Some(&[0, 0]);
            if label && !(like && same(16, 18)) {
                ranges.push([15, 18]);
            }
            if out.get(20) == Some(&FRAGMENT) && !same(58, 62) {
                ranges.push([58, 62]);
            }
        }
        _ => {}
    }
    ranges
}
