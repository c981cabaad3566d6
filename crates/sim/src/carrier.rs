//! How frames reach a director under test, and leave it.

use crate::{Recorder, Sent, VecFrame};
use engine::Output;
use types::PortId;
use wire::Frame;

/// Brings frames to a director's ports, and takes what it sends.
pub trait Carrier {
    /// What a frame is here.
    type Frame: Frame + Send + 'static;
    /// Where the director sends.
    type Out: Output<Self::Frame>;

    /// The frame, as `port` receives it.
    fn arrive(&mut self, port: PortId, bytes: &[u8]) -> Self::Frame;

    /// For what the director sends.
    fn out(&mut self) -> &mut Self::Out;

    /// What has left since this was asked last, in order for each port.
    fn sent(&mut self) -> Vec<Sent>;
}

/// Frames in vectors, by no port at all.
#[derive(Debug, Default)]
pub struct InVectors(Recorder);

impl Carrier for InVectors {
    type Frame = VecFrame;
    type Out = Recorder;

    fn arrive(&mut self, _: PortId, bytes: &[u8]) -> VecFrame {
        VecFrame::new(bytes)
    }

    fn out(&mut self) -> &mut Recorder {
        &mut self.0
    }

    fn sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.0.sent)
    }
}
