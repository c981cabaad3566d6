//! Frames of a recording, again and again.

use crate::prototype::Link;
use types::MacAddr;

/// A recording, and where one worker is in it.
#[derive(Clone)]
pub struct Recorded {
    frames: Vec<Vec<u8>>,
    next: usize,
}

impl Recorded {
    /// Worker `worker`'s of `workers`: every so many frames. With `to`, addressed from this port to that MAC.
    #[must_use]
    pub fn new(all: &[Vec<u8>], worker: u16, workers: u16, link: Option<Link>) -> Self {
        let mine = all
            .iter()
            .skip(worker.into())
            .step_by(workers.max(1).into());
        let mut frames: Vec<Vec<u8>> = mine.cloned().collect();
        if let Some(Link { from, to }) = link {
            for frame in &mut frames {
                readdress(frame, from, to);
            }
        }
        Self { frames, next: 0 }
    }

    /// The next frame; `None` only if there is none at all.
    #[inline]
    pub fn next_frame(&mut self) -> Option<&[u8]> {
        let frame = self.frames.get(self.next)?;
        self.next += 1;
        if self.next == self.frames.len() {
            self.next = 0;
        }
        Some(frame)
    }
}

fn readdress(frame: &mut [u8], from: MacAddr, to: MacAddr) {
    if let Some(addresses) = frame.get_mut(..12) {
        addresses[..6].copy_from_slice(&to.0);
        addresses[6..].copy_from_slice(&from.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_frames_and_begin_again() {
        let all: Vec<Vec<u8>> = (0..5_u8).map(|n| vec![n; 60]).collect();
        let mut second = Recorded::new(&all, 1, 2, None);
        let seen: Vec<u8> = (0..4).map(|_| second.next_frame().unwrap()[0]).collect();
        assert_eq!(seen, [1, 3, 1, 3]);
        let link = Link {
            from: MacAddr([7; 6]),
            to: MacAddr([9; 6]),
        };
        let mut first = Recorded::new(&all, 0, 2, Some(link));
        assert_eq!(
            first.next_frame().unwrap()[..13],
            [9, 9, 9, 9, 9, 9, 7, 7, 7, 7, 7, 7, 0]
        );
        assert_eq!(Recorded::new(&all, 7, 8, None).next_frame(), None);
    }
}
