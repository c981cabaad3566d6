//! Draining a server: no new connections, and patience with those it has.

use super::{
    super::{Control, edits},
    Progress,
};
use api::{
    Drain, DrainEnd, DrainProgress, Error, ErrorCode, Item, Reply, ServerDelete, ServerEdit,
};
use std::time::{Duration, Instant};
use types::Weight;

/// How often the client hears of it.
const REPORT: Duration = Duration::from_secs(1);

/// A drain under way.
pub struct DrainJob {
    drain: Drain,
    begun: Instant,
    reported: Option<Instant>,
}

impl DrainJob {
    /// Quiesces the server: its weight becomes 0.
    ///
    /// # Errors
    /// When there is no such server, or it is being drained already.
    pub fn begin(control: &mut Control, drain: Drain) -> Result<Self, Error> {
        let name = (drain.service, drain.server);
        if control.draining.contains(&name) {
            let message = format!("{} is being drained already", drain.server);
            return Err(Error::new(ErrorCode::Busy, message));
        }
        edits::server_edit(
            control,
            ServerEdit {
                service: drain.service,
                server: drain.server,
                method: None,
                weight: Some(Weight(0)),
                tunnel: None,
                upper_threshold: None,
                lower_threshold: None,
            },
        )?;
        control.draining.insert(name);
        Ok(Self {
            drain,
            begun: Instant::now(),
            reported: None,
        })
    }

    /// Looks how many connections are left.
    pub fn advance(&mut self, control: &mut Control, send: &mut dyn FnMut(&Item)) -> Progress {
        let progress = self.look(control, send);
        if !matches!(progress, Progress::GoesOn) {
            self.forget(control);
        }
        progress
    }

    /// The client is gone; the server stays quiesced.
    pub fn abandon(self, control: &mut Control) {
        self.forget(control);
    }

    fn forget(&self, control: &mut Control) {
        control
            .draining
            .remove(&(self.drain.service, self.drain.server));
    }

    fn look(&mut self, control: &mut Control, send: &mut dyn FnMut(&Item)) -> Progress {
        if self.reported.is_some_and(|last| last.elapsed() < REPORT) {
            return Progress::GoesOn;
        }
        let Drain {
            service, server, ..
        } = self.drain;
        let views = control.director.services();
        let view = views
            .iter()
            .filter(|view| view.key == service)
            .flat_map(|view| &view.servers)
            .find(|view| view.address == server);
        let Some(view) = view else {
            let message = format!("{server} was removed from {service} while it was drained");
            return Progress::Failed(Error::new(ErrorCode::NotFound, message));
        };
        if view.weight != Weight(0) {
            let message = format!(
                "the drain was given up: {server} was given weight {}",
                view.weight.0
            );
            return Progress::Failed(Error::new(ErrorCode::Invalid, message));
        }
        let counts = view.counts;
        let elapsed = self.begun.elapsed();
        let remaining_s = self.drain.deadline_s.map(|deadline| {
            let left = Duration::from_secs(deadline.into()).saturating_sub(elapsed);
            u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
        });
        self.reported = Some(Instant::now());
        send(&Item::Drain(DrainProgress {
            active: counts.active.into(),
            inactive: counts.inactive.into(),
            remaining_s,
        }));
        // All of them: one that is closing may still be sending the last of a download.
        let left = counts.active + counts.inactive;
        if left == 0 {
            return self.finish(control);
        }
        if remaining_s == Some(0) {
            let message = format!(
                "the deadline passed: {server} still has {} active and {} inactive connections; it stays quiesced (weight 0)",
                counts.active, counts.inactive
            );
            return Progress::Failed(Error::new(ErrorCode::Deadline, message));
        }
        Progress::GoesOn
    }

    fn finish(&self, control: &mut Control) -> Progress {
        if self.drain.delete {
            let delete = ServerDelete {
                service: self.drain.service,
                server: self.drain.server,
            };
            if let Err(error) = edits::server_delete(control, delete) {
                return Progress::Failed(error);
            }
        }
        Progress::Done(Reply::Drain(DrainEnd {
            seconds: self.begun.elapsed().as_secs(),
            deleted: self.drain.delete,
        }))
    }
}
