//! A frame explained before the engine gets it: what is foretold must happen.

use crate::{Recorder, Sent, VecFrame};
use engine::Director;
use types::{PortId, Tick};

/// What is to be sent because of a frame.
pub(super) struct Foretold {
    sent: Vec<Sent>,
    what: String,
}

impl Foretold {
    /// By the director.
    pub fn of(director: &Director, now: Tick, port: PortId, bytes: &[u8]) -> Self {
        let mut out = Recorder::default();
        let explained = director
            .explain(now, port, VecFrame::new(bytes), &mut out)
            .expect("there is memory");
        Self {
            sent: out.sent,
            what: format!("{now:?} {port:?} {}: {explained:#?}", super::to_hex(bytes)),
        }
    }

    /// Compares it with what was sent.
    ///
    /// # Panics
    /// When it is not the same.
    pub fn must_be(&self, happened: &[Sent]) {
        let same = self
            .sent
            .iter()
            .map(comparable)
            .eq(happened.iter().map(comparable));
        assert!(
            same,
            "{}\nforetold\n{:?}\nhappened\n{:?}",
            self.what,
            self.sent.iter().map(shown).collect::<Vec<_>>(),
            happened.iter().map(shown).collect::<Vec<_>>()
        );
    }
}

fn shown(sent: &Sent) -> (PortId, String) {
    (sent.port, super::to_hex(&sent.bytes))
}

/// A frame without the identification of a packet the director builds, which is another worker's here, and the checksum over it.
fn comparable(sent: &Sent) -> (PortId, Vec<u8>) {
    let mut bytes = sent.bytes.clone();
    if bytes.get(12..14) == Some(&[8, 0])
        && let Some(header) = bytes.get_mut(14..34)
    {
        header[4..6].fill(0);
        header[10..12].fill(0);
    }
    (sent.port, bytes)
}

/// Whether a frame is one of several that make a packet: what the director holds of that is not copied.
pub(super) fn is_fragment(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, _, _, _, _, _, _, _, _, _, 8, 0, ip @ ..] => {
            ip.get(6..8).is_some_and(|f| f[0] & 0x3f != 0 || f[1] != 0)
        }
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ip @ ..] => ip.get(6) == Some(&44),
        _ => false,
    }
}
