//! Packets that met another worker's insertion of their connection: held until the next step.

use crate::packet::Packet;
use arrayvec::ArrayVec;
use types::PortId;

/// Packets held at most.
const HELD: usize = 64;

/// A packet to try again.
#[derive(Debug)]
pub(crate) struct Held<F> {
    pub frame: F,
    pub packet: Packet,
    /// The port it came in on.
    pub port: PortId,
    /// How often it was held.
    pub tries: u8,
}

/// The list.
#[derive(Debug)]
pub(crate) struct Busy<F>(ArrayVec<Held<F>, HELD>);

impl<F> Default for Busy<F> {
    fn default() -> Self {
        Self(ArrayVec::new())
    }
}

impl<F> Busy<F> {
    /// Holds the packet; gives it back when the list is full.
    pub fn hold(&mut self, frame: F, packet: &Packet, port: PortId, tries: u8) -> Result<(), F> {
        let held = Held {
            frame,
            packet: *packet,
            port,
            tries,
        };
        self.0
            .try_push(held)
            .map_err(|refused| refused.element().frame)
    }

    /// Nothing is held.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the packet held longest.
    pub fn take(&mut self) -> Option<Held<F>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}
