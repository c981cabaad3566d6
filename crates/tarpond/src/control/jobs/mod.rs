//! Commands whose answer takes time: they go on bit by bit between everything else.

mod capture;
mod connections;
mod drain;
mod events;
mod trace;

use super::Control;
use api::{Error, Item, Reply};

pub use capture::CaptureJob;
pub use connections::{ConnectionsJob, shown as connection_shown};
pub use drain::DrainJob;
pub use events::EventsJob;
pub use trace::TraceJob;

/// How far a job is.
pub enum Progress {
    /// More to come.
    GoesOn,
    /// At its end.
    Done(Reply),
    /// Failed.
    Failed(Error),
}

/// A command under way for one client.
pub enum Job {
    /// Listing connections.
    Connections(ConnectionsJob),
    /// Draining a server.
    Drain(DrainJob),
    /// Capturing frames.
    Capture(CaptureJob),
    /// Telling of events.
    Events(EventsJob),
    /// Explaining live packets.
    Trace(TraceJob),
}

impl Job {
    /// Goes on for a bounded time; `last_call`: the client will ask for nothing more.
    pub fn advance(
        &mut self,
        control: &mut Control,
        last_call: bool,
        send: &mut dyn FnMut(&Item),
    ) -> Progress {
        match self {
            Self::Connections(job) => job.advance(control, send),
            Self::Drain(job) => job.advance(control, send),
            Self::Capture(job) => job.advance(control, last_call, send),
            Self::Events(job) => job.advance(control, last_call, send),
            Self::Trace(job) => job.advance(control, last_call, send),
        }
    }

    /// Whether it goes on without any event: by polling.
    pub const fn is_restless(&self) -> bool {
        match self {
            Self::Drain(_) => false,
            Self::Events(job) => job.is_restless(),
            Self::Connections(_) | Self::Capture(_) | Self::Trace(_) => true,
        }
    }

    /// Its client is gone.
    pub fn abandon(self, control: &mut Control) {
        match self {
            Self::Connections(_) | Self::Events(_) => {}
            Self::Drain(job) => job.abandon(control),
            Self::Capture(_) => control.end_capture(),
            Self::Trace(_) => control.end_trace(),
        }
    }
}
