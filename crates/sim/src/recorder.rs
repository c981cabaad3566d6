//! An [`Output`] that keeps what it was given.

use crate::VecFrame;
use engine::Output;
use types::PortId;

/// A frame that left the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The port it was for.
    pub port: PortId,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the port was asked to fill in.
    pub requested: Option<wire::TxChecksum>,
}

/// Records what the engine sends and punts; hands out buffers until `buffers` are used up.
#[derive(Debug)]
pub struct Recorder {
    /// Frames for the ports, in order.
    pub sent: Vec<Sent>,
    /// Frames for the host stack, in order.
    pub punted: Vec<Sent>,
    /// VRRP advertisements for whoever speaks it, in order.
    pub advertisements: Vec<Sent>,
    /// Buffers left to allocate.
    pub buffers: usize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            sent: Vec::new(),
            punted: Vec::new(),
            advertisements: Vec::new(),
            buffers: usize::MAX,
        }
    }
}

impl Output<VecFrame> for Recorder {
    fn alloc(&mut self) -> Option<VecFrame> {
        self.buffers = self.buffers.checked_sub(1)?;
        Some(VecFrame::new(&[]))
    }

    fn transmit(&mut self, port: PortId, frame: VecFrame) {
        self.sent.push(Sent {
            port,
            bytes: frame.bytes(),
            requested: frame.requested,
        });
    }

    fn punt(&mut self, port: PortId, frame: VecFrame) {
        self.punted.push(Sent {
            port,
            bytes: frame.bytes(),
            requested: frame.requested,
        });
    }

    fn advertisement(&mut self, port: PortId, frame: VecFrame) {
        self.advertisements.push(Sent {
            port,
            bytes: frame.bytes(),
            requested: frame.requested,
        });
    }
}
