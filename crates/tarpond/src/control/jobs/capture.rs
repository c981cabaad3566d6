//! Streaming captured frames to a client.

use super::{super::Control, Progress};
use crate::capture::Session;
use api::{
    Bytes, Capture, CaptureEnd, CapturedFrame, Error, ErrorCode, Item, Reply,
    filter::{self, Filter},
};
use std::time::Duration;
use std::{sync::Arc, time::Instant};

/// Frames sent in one go.
const CHUNK: usize = 256;
/// What belongs to an Ethernet frame beside the IP packet: header and two VLAN tags.
const OVERHEAD: usize = 14 + 8;
/// After the end is called for, how long workers may still be about the copies they have begun.
const SETTLE: Duration = Duration::from_millis(20);

/// A capture under way.
pub struct CaptureJob {
    session: Arc<Session>,
    /// Of each port.
    names: Vec<String>,
    count: u64,
    captured: u64,
    ending: Option<Instant>,
}

impl CaptureJob {
    /// Turns capturing on.
    ///
    /// # Errors
    /// A filter that is none, a port there is not, or another capture.
    pub fn begin(control: &mut Control, capture: &Capture) -> Result<Self, Error> {
        let invalid = |message: String| Error::new(ErrorCode::Invalid, message);
        let filter = match &capture.filter {
            Some(text) => filter::parse(text).map_err(|error| invalid(error.to_string()))?,
            None => Filter::all(),
        };
        let names: Vec<String> = control.ports.iter().map(|p| p.name.clone()).collect();
        if let Some(unknown) = capture.ports.iter().find(|port| !names.contains(port)) {
            let message = format!(
                "there is no port `{unknown}`; the ports are {}",
                names.join(", ")
            );
            return Err(Error::new(ErrorCode::NotFound, message));
        }
        let ports = if capture.ports.is_empty() {
            Vec::new()
        } else {
            names
                .iter()
                .map(|name| capture.ports.contains(name))
                .collect()
        };
        let largest = control
            .config
            .ports
            .iter()
            .map(|p| usize::from(p.mtu) + OVERHEAD)
            .max();
        let largest = largest.unwrap_or(0);
        let snaplen = match capture.snaplen {
            Some(0) => {
                return Err(invalid(
                    "a snaplen of 0 keeps nothing; give 1 or more".into(),
                ));
            }
            Some(length) => usize::try_from(length).unwrap_or(usize::MAX).min(largest),
            None => largest,
        };
        let session = Session::new(filter, ports, snaplen);
        if !control.begin_capture(&session) {
            let message = "a capture is running already; end it first";
            return Err(Error::new(ErrorCode::Busy, message));
        }
        Ok(Self {
            session,
            names,
            count: capture.count.unwrap_or(u64::MAX),
            captured: 0,
            ending: None,
        })
    }

    /// Sends what has been captured.
    pub fn advance(
        &mut self,
        control: &mut Control,
        last_call: bool,
        send: &mut dyn FnMut(&Item),
    ) -> Progress {
        let mut emptied = false;
        for _ in 0..CHUNK {
            if self.captured >= self.count {
                break;
            }
            let Some(copy) = self.session.next() else {
                emptied = true;
                break;
            };
            send(&Item::Frame(CapturedFrame {
                port: self
                    .names
                    .get(copy.port.index())
                    .cloned()
                    .unwrap_or_default(),
                direction: copy.direction,
                timestamp_ns: copy.timestamp_ns,
                original_len: copy.original_len,
                data: Bytes(copy.bytes.clone()),
            }));
            self.session.give_back(copy);
            self.captured += 1;
        }
        if self.captured >= self.count {
            control.end_capture();
            return self.done();
        }
        if last_call && self.ending.is_none() {
            control.end_capture();
            self.ending = Some(Instant::now());
        }
        if emptied && self.ending.is_some_and(|end| end.elapsed() >= SETTLE) {
            return self.done();
        }
        Progress::GoesOn
    }

    fn done(&self) -> Progress {
        Progress::Done(Reply::Capture(CaptureEnd {
            captured: self.captured,
            missed: self.session.missed(),
        }))
    }
}
