//! What a measured frame carries at the start of its payload: which run and stream it is of, its number there, and when
//! it was sent.
//!
//! | bytes | what |
//! |---|---|
//! | 0-1 | `7a 50` |
//! | 2-3 | the run |
//! | 4-5 | the stream: the sending worker |
//! | 6-9 | number in the stream, from 0, wrapping |
//! | 10-17 | the sender's clock |

/// Bytes of a stamp.
pub const LEN: usize = 18;
/// Where its varying part starts.
pub(crate) const VARYING: usize = 6;
const MAGIC: [u8; 2] = [0x7a, 0x50];

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run: frames of another are not ours.
    pub run: u16,
    /// The stream.
    pub stream: u16,
    /// Number in the stream.
    pub number: u32,
    /// The sender's clock.
    pub clock: u64,
}

impl Stamp {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2..4].copy_from_slice(&self.run.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.stream.to_be_bytes());
        bytes[6..10].copy_from_slice(&self.number.to_be_bytes());
        bytes[10..].copy_from_slice(&self.clock.to_be_bytes());
        bytes
    }

    /// Read from the start of a payload, if there is one.
    #[must_use]
    #[inline]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let bytes = payload.first_chunk::<LEN>()?;
        let [m, n, r, s, t, u, a, b, c, d, clock @ ..] = *bytes;
        ([m, n] == MAGIC).then(|| Self {
            run: u16::from_be_bytes([r, s]),
            stream: u16::from_be_bytes([t, u]),
            number: u32::from_be_bytes([a, b, c, d]),
            clock: u64::from_be_bytes(clock),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stamps_read_back(run: u16, stream: u16, number: u32, clock: u64, more in proptest::collection::vec(any::<u8>(), 0..9)) {
            let stamp = Stamp { run, stream, number, clock };
            let bytes = [stamp.to_bytes().to_vec(), more].concat();
            prop_assert_eq!(Stamp::read(&bytes), Some(stamp));
            prop_assert_eq!(Stamp::read(&bytes[..LEN - 1]), None);
        }
    }
}
