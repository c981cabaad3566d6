//! TCP segments of the director's own, without data.

use crate::{
    DropReason, Output,
    context::Context,
    datagram::{self, Header},
};
use std::net::SocketAddr;
use wire::{Frame, IntoBytes, RxChecksum, Tcp, U16, U32, protocol, tcp};

/// What a segment says, but for its options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
}

impl Segment {
    /// In a frame of its own, behind room for the link header; bytes of IP header.
    pub fn build<F: Frame, O: Output<F>>(
        &self,
        cx: &mut Context<'_, F, O>,
        options: &[u8],
    ) -> Option<(F, u16)> {
        let frame = cx.generated()?;
        self.write(cx, frame, options)
    }

    /// In place of `frame`, which is dropped for that reason.
    pub fn replace<F: Frame, O: Output<F>>(
        &self,
        cx: &mut Context<'_, F, O>,
        mut frame: F,
        options: &[u8],
        reason: DropReason,
    ) -> Option<(F, u16)> {
        // What the port has said of its checksum would be believed of the new one.
        if frame.rx_l4_checksum() == RxChecksum::Partial {
            cx.drop(frame, reason);
            return self.build(cx, options);
        }
        frame.truncate(0);
        cx.local.counters.drop_n(reason, 1);
        cx.local.counters.generated.add(1);
        self.write(cx, frame, options)
    }

    fn write<F: Frame, O: Output<F>>(
        &self,
        cx: &mut Context<'_, F, O>,
        mut frame: F,
        options: &[u8],
    ) -> Option<(F, u16)> {
        let header = Header {
            source: self.source.ip(),
            destination: self.destination.ip(),
            protocol: protocol::TCP,
            tos: 0,
            ttl: cx.snapshot.settings.default_ttl,
            id: None,
        };
        let len = tcp::LEN + options.len();
        let Some(payload) = datagram::begin(&mut frame, &header, len) else {
            cx.drop(frame, DropReason::NoRoom);
            return None;
        };
        let words = u8::try_from(len / 4).unwrap_or(5);
        let written = Tcp {
            source: U16::new(self.source.port()),
            destination: U16::new(self.destination.port()),
            sequence: U32::new(self.sequence),
            acknowledgement: U32::new(self.acknowledgement),
            data_offset: words << 4,
            flags: self.flags,
            window: U16::new(self.window),
            checksum: U16::new(0),
            urgent: U16::new(0),
        };
        let _ = written.write_to_prefix(payload);
        if let Some(place) = payload.get_mut(tcp::LEN..len) {
            place.copy_from_slice(options);
        }
        datagram::seal(&header, payload, tcp::CHECKSUM_OFFSET);
        Some((frame, u16::try_from(header.len()).unwrap_or(0)))
    }
}
