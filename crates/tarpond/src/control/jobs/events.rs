//! Telling a client what happened, and what happens.

use super::{super::Control, Progress};
use api::{EventFilter, EventsEnd, Item, Reply};

/// Events given out in one go.
const CHUNK: usize = 500;

/// A client that hears of events.
pub struct EventsJob {
    filter: EventFilter,
    /// The last event it was asked about.
    seen: u64,
    forgotten: u64,
}

impl EventsJob {
    /// From the event the client asks for.
    pub fn new(control: &Control, filter: EventFilter) -> Self {
        let seen = filter.after.unwrap_or(0);
        Self {
            filter,
            seen,
            forgotten: control.journal.forgotten(seen),
        }
    }

    /// Tells of the next ones.
    pub fn advance(
        &mut self,
        control: &Control,
        last_call: bool,
        send: &mut dyn FnMut(&Item),
    ) -> Progress {
        let mut looked_at = 0;
        for event in control.journal.after(self.seen).take(CHUNK) {
            self.seen = event.number;
            looked_at += 1;
            let wanted = self.filter.service;
            if wanted.is_none_or(|service| event.service == Some(service)) {
                send(&Item::Event(event.clone()));
            }
        }
        if looked_at == CHUNK || (self.filter.follow && !last_call) {
            return Progress::GoesOn;
        }
        Progress::Done(Reply::Events(EventsEnd {
            last: control.journal.last(),
            forgotten: self.forgotten,
        }))
    }

    /// Whether there are some to tell of now.
    pub const fn is_restless(&self) -> bool {
        !self.filter.follow
    }
}
