//! A blocking client of the control socket.

use crate::{Answer, Body, Command, Error, LineBuffer, MAX_ANSWER_LINE, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error as ThisError;

/// Why a call did not succeed.
#[derive(Debug, ThisError)]
pub enum ClientError {
    /// The socket could not be opened.
    #[error("{}", connect_message(path, source))]
    Connect {
        /// Which socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke, or the daemon took too long.
    #[error("the connection to the daemon broke: {0}")]
    Io(#[from] io::Error),
    /// The daemon closed the connection before its answer was complete.
    #[error(
        "the daemon closed the connection before its answer was complete: it stopped, or see its log"
    )]
    Closed,
    /// The daemon's answer makes no sense.
    #[error("the daemon's answer cannot be read: {0}")]
    Answer(String),
    /// What the caller does with the items failed; the connection is of no more use.
    #[error("{0}")]
    Item(io::Error),
    /// The daemon refused or failed.
    #[error(transparent)]
    Daemon(#[from] Error),
}

fn connect_message(path: &Path, source: &io::Error) -> String {
    let path = path.display();
    match source.kind() {
        io::ErrorKind::NotFound => format!(
            "no daemon listens at {path}: start it (systemctl start tarpond, or tarpond --config FILE), \
             or name its socket with --socket"
        ),
        io::ErrorKind::ConnectionRefused => format!(
            "nobody listens at {path} any more: the daemon died; start it again (systemctl start tarpond)"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("{path} is closed to this user: run as root, or as the user the daemon runs as")
        }
        _ => format!("cannot connect to {path}: {source}"),
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    lines: LineBuffer,
    next_id: u64,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::Connect`], with the remedy in its text.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| ClientError::Connect {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            stream,
            lines: LineBuffer::new(MAX_ANSWER_LINE),
            next_id: 1,
        })
    }

    /// How long to wait for each piece of an answer; `None` is for ever. Streams that may be silent
    /// (capture) need none.
    ///
    /// # Errors
    /// The system's, should the socket not take it.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), ClientError> {
        Ok(self.stream.set_read_timeout(timeout)?)
    }

    /// A second handle on the connection, to end a stream from another thread (`shutdown`).
    ///
    /// # Errors
    /// The system's.
    pub fn stream(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// Asks, and reads the answer as the type that belongs to the command.
    ///
    /// # Errors
    /// Any [`ClientError`] but `Connect`.
    pub fn call<T: DeserializeOwned>(&mut self, command: Command) -> Result<T, ClientError> {
        read(self.call_json(command)?)
    }

    /// Asks, and returns the answer as the daemon wrote it. Items of a stream are passed over.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_json(&mut self, command: Command) -> Result<Value, ClientError> {
        self.stream_json(command, |_| Ok(()))
    }

    /// Asks a command that streams: `item` is called for each item, the end is returned.
    ///
    /// # Errors
    /// As [`Client::call`], or what `item` fails with.
    pub fn stream_items<T: DeserializeOwned, E: DeserializeOwned>(
        &mut self,
        command: Command,
        mut item: impl FnMut(T) -> Result<(), ClientError>,
    ) -> Result<E, ClientError> {
        let end = self.stream_json(command, |value| item(read(value)?))?;
        read(end)
    }

    /// As [`Client::stream_items`], with everything as the daemon wrote it.
    ///
    /// # Errors
    /// As [`Client::stream_items`].
    pub fn stream_json(
        &mut self,
        command: Command,
        mut item: impl FnMut(Value) -> Result<(), ClientError>,
    ) -> Result<Value, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        self.stream.write_all(&Request { id, command }.encode())?;
        loop {
            let line = self.read_line()?;
            let answer = Answer::decode(&line).map_err(ClientError::Answer)?;
            match answer.body {
                // The daemon has no id for a request it could not read or a peer it refuses: it answers with 0.
                Body::Error(error) if answer.id == id || answer.id == 0 => return Err(error.into()),
                _ if answer.id != id => {
                    return Err(ClientError::Answer(format!(
                        "it has id {} and not {id}",
                        answer.id
                    )));
                }
                Body::Ok(value) => return Ok(value),
                Body::Item(value) => item(value)?,
                Body::Error(error) => return Err(error.into()),
            }
        }
    }

    fn read_line(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut chunk = [0; 65536];
        loop {
            if let Some(line) = self
                .lines
                .next_line()
                .map_err(|e| ClientError::Answer(e.to_string()))?
            {
                return Ok(line);
            }
            let n = match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(ClientError::Io(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "no answer in time; is the daemon stuck? see its log",
                    )));
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(read) = chunk.get(..n) {
                self.lines.push(read);
            }
        }
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|e| ClientError::Answer(e.to_string()))
}
