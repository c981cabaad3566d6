//! Streaming explained packets to a client.

use super::{
    super::{Control, explain},
    Progress,
};
use crate::trace::Trace;
use api::{
    Direction, Error, ErrorCode, Item, Reply, TraceEnd, Traced,
    filter::{self, Filter},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Packets told in one go.
const CHUNK: usize = 64;
/// After the end is called for, how long workers may still be about the packet they have begun.
const SETTLE: Duration = Duration::from_millis(20);

/// A trace under way.
pub struct TraceJob {
    trace: Arc<Trace>,
    count: u64,
    traced: u64,
    ending: Option<Instant>,
}

impl TraceJob {
    /// Turns tracing on.
    ///
    /// # Errors
    /// A filter that is none, or another trace.
    pub fn begin(control: &mut Control, ask: &api::Trace) -> Result<Self, Error> {
        let filter = match &ask.filter {
            Some(text) => filter::parse(text)
                .map_err(|error| Error::new(ErrorCode::Invalid, error.to_string()))?,
            None => Filter::all(),
        };
        let trace = Trace::new(filter);
        if !control.begin_trace(&trace) {
            let message = "a trace is running already; end it first";
            return Err(Error::new(ErrorCode::Busy, message));
        }
        Ok(Self {
            trace,
            count: ask.count.unwrap_or(u64::MAX),
            traced: 0,
            ending: None,
        })
    }

    /// Tells what has been traced.
    pub fn advance(
        &mut self,
        control: &mut Control,
        last_call: bool,
        send: &mut dyn FnMut(&Item),
    ) -> Progress {
        let mut emptied = false;
        for _ in 0..CHUNK {
            if self.traced >= self.count {
                break;
            }
            let Some(live) = self.trace.next() else {
                emptied = true;
                break;
            };
            let received = explain::captured(
                control,
                live.port,
                Direction::Rx,
                live.original_len,
                live.bytes,
            );
            let packet = filter::Headers::read(&received.data.0, live.original_len as usize);
            send(&Item::Traced(Box::new(Traced {
                timestamp_ns: live.timestamp_ns,
                explained: explain::shown(control, live.explanation, packet.to_string()),
                received,
            })));
            self.traced += 1;
        }
        if self.traced >= self.count {
            control.end_trace();
            return self.done();
        }
        if last_call && self.ending.is_none() {
            control.end_trace();
            self.ending = Some(Instant::now());
        }
        if emptied && self.ending.is_some_and(|end| end.elapsed() >= SETTLE) {
            return self.done();
        }
        Progress::GoesOn
    }

    fn done(&self) -> Progress {
        Progress::Done(Reply::Trace(TraceEnd {
            traced: self.traced,
            missed: self.trace.missed(),
        }))
    }
}
