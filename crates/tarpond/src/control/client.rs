//! One client of the control socket.
//!
//! A request is taken only when the answer to the one before has been written, so what a client can make the daemon hold is
//! bounded, and one that does not read waits for itself alone.

use super::{
    Control,
    commands::{self, Outcome},
    jobs::{Job, Progress},
};
use api::{Error, ErrorCode, LineBuffer, MAX_REQUEST_LINE, Request};
use host::peer_of;
use rustix::event::PollFlags;
use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

/// Bytes of an answer that may wait for the client before a stream of items pauses.
const ENOUGH: usize = 256 << 10;

/// A connected client.
pub struct Client {
    stream: UnixStream,
    input: LineBuffer,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    job: Option<(u64, Job)>,
    /// Who it is, for the causes of what it changes.
    name: String,
    /// Why it may not use the socket: the answer to its first request, and the last.
    barred: Option<Error>,
    /// It has shut down its sending side: no more requests will come.
    finished: bool,
    /// No whole line of what was read is left.
    drained: bool,
    /// Close when everything is written.
    closing: bool,
    broken: bool,
}

impl Client {
    /// Takes a client in; one that may not be one, or is one `too_many`, will only be told so.
    pub fn welcome(stream: UnixStream, too_many: bool) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        let peer = peer_of(&stream).ok()?;
        let mut client = Self {
            stream,
            input: LineBuffer::new(MAX_REQUEST_LINE),
            output: Vec::new(),
            written: 0,
            job: None,
            name: format!("user {}, process {}", peer.uid, peer.pid),
            barred: None,
            finished: false,
            drained: true,
            closing: false,
            broken: false,
        };
        if !peer.may_control() {
            tracing::warn!(
                uid = peer.uid,
                pid = peer.pid,
                "refused a client of the control socket"
            );
            let message = format!(
                "user {} may not control this daemon: run as root, or as the user the daemon runs as",
                peer.uid
            );
            client.barred = Some(Error::new(ErrorCode::Forbidden, message));
        } else if too_many {
            let message = "too many clients are connected already; close one";
            client.barred = Some(Error::new(ErrorCode::Busy, message));
        }
        Some(client)
    }

    /// Reads, works and writes as far as it goes without waiting.
    pub fn serve(&mut self, control: &mut Control) {
        self.write();
        self.read();
        for _ in 0..64 {
            let before = self.output.len();
            self.advance_job(control);
            if self.job.is_none() && self.output.is_empty() && !self.closing {
                self.take_request(control);
            }
            if self.output.len() == before {
                break;
            }
            self.write();
        }
        if self.broken
            && let Some((_, job)) = self.job.take()
        {
            job.abandon(control);
        }
    }

    /// What to wake for.
    pub fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        // A client that sends and never reads is not read from.
        if !self.finished && self.output.len() < ENOUGH {
            flags |= PollFlags::IN;
        }
        if !self.output.is_empty() {
            flags |= PollFlags::OUT;
        }
        flags
    }

    /// Whether its job goes on without anything becoming readable or writable.
    pub fn wants_attention(&self) -> bool {
        let waiting = !self.drained && self.job.is_none();
        self.output.is_empty()
            && (waiting || self.job.as_ref().is_some_and(|(_, job)| job.is_restless()))
    }

    /// Whether it is to be forgotten.
    pub fn is_done(&self) -> bool {
        let nothing_left = self.output.is_empty() && self.job.is_none();
        self.broken || (nothing_left && (self.closing || (self.finished && self.drained)))
    }

    /// Ends what is running, because the daemon stops.
    pub fn say_goodbye(&mut self) {
        if let Some((id, _)) = self.job.take() {
            let error = Error::new(ErrorCode::ShuttingDown, "the daemon is stopping");
            self.output.extend(api::encode_error(id, &error));
        }
        let _ = self.stream.set_nonblocking(false);
        let _ = self
            .stream
            .set_write_timeout(Some(Duration::from_millis(200)));
        self.write();
    }

    fn refuse(&mut self, error: &Error) {
        self.output.extend(api::encode_error(0, error));
        self.closing = true;
    }

    fn take_request(&mut self, control: &mut Control) {
        let line = match self.input.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => {
                self.drained = true;
                return;
            }
            Err(error) => {
                self.refuse(&Error::new(ErrorCode::BadRequest, error.to_string()));
                return;
            }
        };
        let request = match Request::decode(&line) {
            Ok(request) => request,
            Err(refused) => {
                self.output
                    .extend(api::encode_error(refused.id, &refused.error));
                return;
            }
        };
        if let Some(error) = &self.barred {
            self.output.extend(api::encode_error(request.id, error));
            self.closing = true;
            return;
        }
        let name = request.command.name();
        control.actor = format!("command {name} of {}", self.name);
        match commands::run(control, request.command) {
            Outcome::Reply(reply) => self.output.extend(api::encode_ok(request.id, &reply)),
            Outcome::Refused(error) => self.output.extend(api::encode_error(request.id, &error)),
            Outcome::Job(job) => self.job = Some((request.id, job)),
        }
    }

    fn advance_job(&mut self, control: &mut Control) {
        let Some((id, job)) = &mut self.job else {
            return;
        };
        if self.output.len() >= ENOUGH {
            return;
        }
        let id = *id;
        control.actor = format!("command of {}", self.name);
        let progress = job.advance(control, self.finished, &mut |item| {
            self.output.extend(api::encode_item(id, item));
        });
        match progress {
            Progress::GoesOn => return,
            Progress::Done(reply) => self.output.extend(api::encode_ok(id, &reply)),
            Progress::Failed(error) => self.output.extend(api::encode_error(id, &error)),
        }
        self.job = None;
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 << 10];
        // A bounded number of times, so that one client cannot keep the thread.
        for _ in 0..64 {
            if self.finished || self.broken || self.output.len() >= ENOUGH {
                return;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => self.finished = true,
                Ok(n) => {
                    self.input.push(buffer.get(..n).unwrap_or_default());
                    self.drained = false;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.broken = true,
            }
        }
    }

    fn write(&mut self) {
        while self.written < self.output.len() {
            match self
                .stream
                .write(self.output.get(self.written..).unwrap_or_default())
            {
                Ok(n) if n > 0 => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
        self.output.clear();
        self.written = 0;
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
