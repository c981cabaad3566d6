//! SIGTERM and SIGINT stop, SIGHUP reloads. The handler writes a byte to a pipe the control loop watches.

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    low_level::pipe,
};
use std::{
    io::{self, Read as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

/// What signals have asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Stop cleanly.
    pub stop: bool,
    /// Read the configuration again.
    pub reload: bool,
}

/// The signals' far ends.
pub struct Signals {
    /// Becomes readable with every signal.
    stop: UnixStream,
    reload: UnixStream,
}

impl Signals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn catch() -> io::Result<Self> {
        let (stop, stop_writer) = UnixStream::pair()?;
        let (reload, reload_writer) = UnixStream::pair()?;
        stop.set_nonblocking(true)?;
        reload.set_nonblocking(true)?;
        pipe::register(SIGTERM, stop_writer.try_clone()?)?;
        pipe::register(SIGINT, stop_writer)?;
        pipe::register(SIGHUP, reload_writer)?;
        Ok(Self { stop, reload })
    }

    /// What came since the last call.
    #[must_use]
    pub fn take(&self) -> Received {
        Received {
            stop: drained(&self.stop),
            reload: drained(&self.reload),
        }
    }

    /// Both ends, to be watched.
    #[must_use]
    pub fn watched(&self) -> [BorrowedFd<'_>; 2] {
        [self.stop.as_fd(), self.reload.as_fd()]
    }
}

fn drained(mut stream: &UnixStream) -> bool {
    let mut bytes = [0; 64];
    let mut any = false;
    while stream.read(&mut bytes).is_ok_and(|n| n > 0) {
        any = true;
    }
    any
}
