//! Where frames go, and where new ones come from.

use types::PortId;
use wire::Frame;

/// Frames in a burst at most.
pub const BURST: usize = 32;

/// The far side of a worker: DPDK's queues and the host ring in the daemon, vectors in tests.
///
/// Implementations never block and never allocate memory. The engine has already counted the frame as sent or punted
/// when it hands it over; what the port or ring then refuses is reported back with `Worker::refused`.
pub trait Output<F: Frame> {
    /// An empty frame with headroom (at least 128 bytes) to build a packet of the engine's own in; `None` when the pool is exhausted.
    fn alloc(&mut self) -> Option<F>;
    /// Sends a complete Ethernet frame out of `port`.
    fn transmit(&mut self, port: PortId, frame: F);
    /// Gives a frame, as it was received on `port`, to the host stack through that port's TAP.
    fn punt(&mut self, port: PortId, frame: F);
    /// Gives a VRRP advertisement, as it was received on `port`, to whoever speaks VRRP. It counts as punted.
    fn advertisement(&mut self, port: PortId, frame: F) {
        self.punt(port, frame);
    }
    /// Gives a message of connection synchronisation, as it was received on `port`, to whoever listens. It counts as punted.
    fn synchronisation(&mut self, port: PortId, frame: F) {
        self.punt(port, frame);
    }
}
