//! One FIFO or file: never waited for.
//!
//! A FIFO is opened for reading too, as keepalived does: so it can be written to before anybody reads, and when a reader goes; the kernel
//! keeps what is unread (64 KiB) for the next one.

use super::{lines, reader::Reader};
use config::{Notify, NotifyTo};
use rustix::{
    fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid},
    io::{Errno, write},
};
use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

/// Lines that wait here, beside what the kernel keeps.
const WAITING: usize = 1000;
/// Between two attempts to open what cannot be opened.
const AGAIN: Duration = Duration::from_secs(1);

/// Where lines go.
pub struct Stream {
    pub plan: Notify,
    open: Option<Open>,
    waiting: VecDeque<String>,
    /// Bytes of the first of them that are written.
    written: usize,
    /// Lines lost since that was last said.
    lost: u64,
    /// It was made here, and goes with us.
    made: bool,
    /// What is wrong, as far as it is in the log.
    said: Option<String>,
    not_before: Option<Instant>,
    reader: Option<Reader>,
}

struct Open {
    file: OwnedFd,
    /// Device and inode.
    identity: (u64, u64),
}

impl Stream {
    /// Makes and opens it, if that is possible now.
    pub fn new(plan: Notify) -> Self {
        let mut stream = Self {
            reader: Reader::new(&plan),
            plan,
            open: None,
            waiting: VecDeque::new(),
            written: 0,
            lost: 0,
            made: false,
            said: None,
            not_before: None,
        };
        stream.ensure_open();
        stream
    }

    /// Takes a line to be written.
    pub fn push(&mut self, line: String) {
        // Somebody may have put another in its place, or rotated it away.
        if self.open.as_ref().is_some_and(|open| self.is_gone(open)) {
            self.close();
        }
        if self.waiting.len() >= WAITING {
            if self.lost == 0 {
                tracing::warn!("{}: nobody reads it, lines are lost", self.plan.to);
            }
            self.lost += 1;
            return;
        }
        self.tell_of_the_lost();
        self.waiting.push_back(line);
    }

    /// Starts the reader if there is to be one that does not run.
    pub fn look_after_reader(&mut self) {
        if let Some(reader) = &mut self.reader
            && self.open.is_some()
        {
            reader.look();
        }
    }

    /// Ends it all; the reader may still be ending then.
    pub fn end(mut self) -> Option<std::thread::JoinHandle<()>> {
        let reader = self.reader.take();
        // Closes the FIFO, which is how a reader learns of the end.
        drop(self);
        reader?.end()
    }

    /// Writes as much as is taken.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() && self.ensure_open() {
            let Some((open, line)) = self.open.as_ref().zip(self.waiting.front()) else {
                return;
            };
            let rest = line.as_bytes().get(self.written..).unwrap_or_default();
            match write(&open.file, rest) {
                Ok(n) if n < rest.len() => self.written += n,
                Ok(_) => {
                    self.waiting.pop_front();
                    self.written = 0;
                    if self.waiting.is_empty() {
                        self.tell_of_the_lost();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    self.complain(error.into());
                    self.close();
                    self.not_before = Some(Instant::now() + AGAIN);
                }
            }
        }
    }

    fn tell_of_the_lost(&mut self) {
        if self.lost > 0 {
            tracing::warn!("{}: {} lines were lost", self.plan.to, self.lost);
            self.waiting
                .extend(lines::lost(self.plan.format, self.lost));
            self.lost = 0;
        }
    }

    fn is_gone(&self, open: &Open) -> bool {
        let now = fs::statat(CWD, self.plan.to.path(), AtFlags::empty());
        now.map_or(true, |now| (now.st_dev, now.st_ino) != open.identity)
    }

    fn close(&mut self) {
        self.open = None;
        self.written = 0;
    }

    fn ensure_open(&mut self) -> bool {
        if self.open.is_some() {
            return true;
        }
        if self.not_before.is_some_and(|then| Instant::now() < then) {
            return false;
        }
        match self.opened() {
            Ok(open) => {
                self.open = Some(open);
                self.said = None;
                self.not_before = None;
                true
            }
            Err(error) => {
                self.complain(error);
                self.not_before = Some(Instant::now() + AGAIN);
                false
            }
        }
    }

    fn opened(&mut self) -> io::Result<Open> {
        let path = self.plan.to.path();
        let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mode = Mode::from_raw_mode(self.plan.mode);
        let (file, made) = match &self.plan.to {
            NotifyTo::Fifo(_) => {
                let made = match fs::mknodat(CWD, path, FileType::Fifo, mode, 0) {
                    Ok(()) => true,
                    Err(Errno::EXIST) => false,
                    Err(error) => return Err(error.into()),
                };
                self.made |= made;
                let file = fs::open(path, flags | OFlags::RDWR | OFlags::NOFOLLOW, mode)?;
                if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::Fifo {
                    return Err(io::Error::other("it is there already, and is no FIFO"));
                }
                (file, made)
            }
            NotifyTo::File(_) => {
                let flags = flags | OFlags::WRONLY | OFlags::APPEND;
                match fs::open(path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
                    Ok(file) => (file, true),
                    Err(Errno::EXIST) => (fs::open(path, flags, mode)?, false),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if made {
            self.hand_over(path, &file)?;
        }
        let stat = fs::fstat(&file)?;
        Ok(Open {
            file,
            identity: (stat.st_dev, stat.st_ino),
        })
    }

    /// Gives what was made here the owner and the permissions it is to have, whatever the umask.
    fn hand_over(&self, path: &Path, file: &OwnedFd) -> io::Result<()> {
        let plan = &self.plan;
        // Whoever is to read it can.
        let user = plan.user.as_deref().or_else(|| plan.reads_it());
        let group = plan.group.as_deref();
        let owner = probe::owner(user, group).and_then(|(uid, gid)| {
            fs::fchown(file, uid.map(Uid::from_raw), gid.map(Gid::from_raw))
                .map_err(|error| io::Error::from(error).to_string())
        });
        if let Err(why) = owner {
            // Not left behind with another owner than was asked for.
            let _ = fs::unlink(path);
            return Err(io::Error::other(why));
        }
        Ok(fs::fchmod(file, Mode::from_raw_mode(self.plan.mode))?)
    }

    /// Into the log, once.
    fn complain(&mut self, error: io::Error) {
        let text = error.to_string();
        if self.said.as_ref() != Some(&text) {
            tracing::warn!("cannot tell {} of changes: {text}", self.plan.to);
            self.said = Some(text);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.flush();
        let unread = self.waiting.len();
        if unread > 0 {
            tracing::warn!("{}: {unread} lines were not read", self.plan.to);
        }
        if let (true, NotifyTo::Fifo(path)) = (self.made, &self.plan.to)
            && self.open.as_ref().is_some_and(|open| !self.is_gone(open))
        {
            let _ = fs::unlink(path);
        }
    }
}
