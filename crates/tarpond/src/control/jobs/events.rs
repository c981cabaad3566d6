//! Telling a client what happened, and what happens.

use super::{
    super::{Control, journal::Kept},
    Progress,
};
use api::{Event, EventFilter, EventsEnd, Item, Reply};

/// Events given out in one go.
const CHUNK: usize = 500;

/// A client that hears of events.
pub struct EventsJob {
    filter: EventFilter,
    /// What is read from the disk first.
    kept: Option<Kept>,
    /// The last event it was asked about.
    seen: u64,
    forgotten: u64,
    /// Whether there are more to tell of at once.
    behind: bool,
}

impl EventsJob {
    /// From the event the client asks for.
    pub fn new(control: &Control, filter: EventFilter) -> Self {
        let seen = filter.after.unwrap_or(0);
        Self {
            filter,
            kept: control.journal.kept(seen),
            seen,
            forgotten: 0,
            behind: true,
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
        while looked_at < CHUNK
            && let Some(kept) = &mut self.kept
        {
            looked_at += 1;
            match kept.next_line() {
                Some(Some(event)) if event.number > self.filter.after.unwrap_or(0) => {
                    self.take(&event, send);
                }
                Some(_) => {}
                None => self.kept = None,
            }
        }
        if self.kept.is_none() {
            for event in control.journal.after(self.seen).take(CHUNK - looked_at) {
                looked_at += 1;
                self.take(event, send);
            }
        }
        self.behind = looked_at == CHUNK;
        if self.behind || (self.filter.follow && !last_call) {
            return Progress::GoesOn;
        }
        Progress::Done(Reply::Events(EventsEnd {
            last: control.journal.last(),
            forgotten: self.forgotten,
        }))
    }

    fn take(&mut self, event: &Event, send: &mut dyn FnMut(&Item)) {
        // Those between it and the one before are nowhere any more.
        self.forgotten += event.number.saturating_sub(self.seen + 1);
        self.seen = self.seen.max(event.number);
        let since = self.filter.since_ms.unwrap_or(0);
        if event.time_ms < since {
            // What is older still is not asked for.
            self.forgotten = 0;
            return;
        }
        let wanted = self.filter.service;
        if wanted.is_none_or(|service| event.service == Some(service)) {
            send(&Item::Event(event.clone()));
        }
    }

    /// Whether there are some to tell of now.
    pub const fn is_restless(&self) -> bool {
        self.behind || !self.filter.follow
    }
}
