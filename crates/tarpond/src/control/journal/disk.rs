//! Events on disk: JSON lines in a file that is only added to, and, when that is full, in a second one beside it.
//!
//! Written by the control thread, a batch at a time, and not synchronised: what the daemon wrote outlives the daemon, however it ends, but
//! the last seconds may be missing after the machine lost its power. A line that was cut off is skipped, and said. Where the
//! disk takes no more, that is said once, and tried again: what memory still has then is added later.

use api::Event;
use rustix::{
    fs::{self, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::{DirBuilder, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a lock is waited for: a process that who held it has just forked holds it, too, until it runs its program.
const LOCK: Duration = Duration::from_millis(100);
/// Between two attempts to write what could not be written.
const AGAIN: Duration = Duration::from_secs(5);
/// Bytes of a line at most: an event's texts are far shorter.
const LINE: u64 = 64 << 10;

/// The file that is written.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    /// Bytes of one file at most.
    most: u64,
    open: Option<Open>,
    /// The number of the last event that is there.
    written: u64,
    /// What is wrong, as far as it is in the log.
    said: Option<String>,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    bytes: u64,
    /// It ends within a line.
    torn: bool,
}

impl Disk {
    /// The events in `path`, which with the file beside it takes `most` bytes, and the last of them that is there.
    pub fn new(path: PathBuf, most: u64) -> (Self, Option<Event>) {
        let mut disk = Self {
            path,
            most: most / 2,
            open: None,
            written: 0,
            said: None,
            not_before: None,
        };
        if !disk.ensure_open() {
            return (disk, None);
        }
        let torn = disk.open.as_ref().is_some_and(|open| open.torn);
        if torn {
            let path = disk.path.display();
            tracing::warn!(
                "{path}: its last line was cut off: the daemon or the machine went down over it"
            );
        }
        let last = last_of(&disk.path).or_else(|| last_of(&older(&disk.path)));
        disk.written = last.as_ref().map_or(0, |event| event.number);
        (disk, last)
    }

    /// The number of the last event that is there.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Adds these, the next ones.
    pub fn write<'e>(&mut self, events: impl Iterator<Item = &'e Event>) {
        let mut lines = Vec::new();
        let mut last = self.written;
        for event in events {
            last = event.number;
            if serde_json::to_writer(&mut lines, event).is_ok() {
                lines.push(b'\n');
            }
        }
        if lines.is_empty() || self.not_before.is_some_and(|then| Instant::now() < then) {
            return;
        }
        // Somebody may have taken it away.
        if self.open.as_ref().is_some_and(|open| self.is_gone(open)) {
            self.open = None;
        }
        match self.add(&lines) {
            Ok(()) => {
                self.written = last;
                self.not_before = None;
                if self.said.take().is_some() {
                    tracing::info!("{}: events are kept there again", self.path.display());
                }
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Sees to it that what was written is on the disk.
    pub fn sync(&self) {
        if let Some(Err(error)) = self.open.as_ref().map(|open| open.file.sync_data()) {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }

    /// What is there, from its beginning.
    pub fn kept(&self) -> Kept {
        let mut files = Vec::new();
        // The latter is read last.
        for path in [self.path.clone(), older(&self.path)] {
            files.extend(File::open(path).ok().map(BufReader::new));
        }
        Kept {
            files,
            line: Vec::new(),
        }
    }

    fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        let more = lines.len() as u64;
        if let Some(open) = &self.open
            && open.bytes > 0
            && open.bytes + more > self.most
        {
            std::fs::rename(&self.path, older(&self.path))?;
            self.open = None;
        }
        if self.open.is_none() {
            self.open = Some(opened(&self.path)?);
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let written = if open.torn {
            open.file
                .write_all(b"\n")
                .and_then(|()| open.file.write_all(lines))
        } else {
            open.file.write_all(lines)
        };
        match written {
            Ok(()) => {
                open.bytes += more + u64::from(open.torn);
                open.torn = false;
                Ok(())
            }
            Err(error) => {
                // All of them or none; where even that fails, the next line begins on one of its own.
                let back = open.file.set_len(open.bytes);
                open.torn |= back.is_err();
                Err(error)
            }
        }
    }

    fn ensure_open(&mut self) -> bool {
        match opened(&self.path) {
            Ok(open) => self.open = Some(open),
            Err(error) => self.complain(&error),
        }
        self.open.is_some()
    }

    fn is_gone(&self, open: &Open) -> bool {
        let now = fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW);
        now.map_or(true, |now| (now.st_dev, now.st_ino) != open.identity)
    }

    /// Into the log, once.
    fn complain(&mut self, error: &io::Error) {
        self.not_before = Some(Instant::now() + AGAIN);
        let text = error.to_string();
        if self.said.as_ref() != Some(&text) {
            tracing::warn!(
                "events are in memory only: cannot keep them in {}: {text}",
                self.path.display()
            );
            self.said = Some(text);
        }
    }
}

/// What is kept, from its beginning.
pub struct Kept {
    /// Those to read, the last of them first.
    files: Vec<BufReader<File>>,
    line: Vec<u8>,
}

impl Kept {
    /// The next line: `Some(None)` is one that is no event.
    pub fn next_line(&mut self) -> Option<Option<Event>> {
        loop {
            let file = self.files.last_mut()?;
            self.line.clear();
            match file.take(LINE).read_until(b'\n', &mut self.line) {
                Ok(0) | Err(_) => {
                    self.files.pop();
                }
                Ok(_) => return Some(serde_json::from_slice(&self.line).ok()),
            }
        }
    }
}

/// The file that was full before this one.
fn older(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".1");
    path.with_file_name(name)
}

/// Locks it, so that nobody else writes to it.
fn locked(fd: &OwnedFd) -> io::Result<()> {
    let until = Instant::now() + LOCK;
    loop {
        match fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Errno::WOULDBLOCK) => {
                let why = "another daemon writes to it: give each a `journal` of its own";
                return Err(io::Error::other(why));
            }
            done => return Ok(done?),
        }
    }
}

fn opened(path: &Path) -> io::Result<Open> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(folder)?;
    }
    // Not through a link somebody laid, and not waiting for the other end of a FIFO.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = fs::open(path, flags, Mode::from_raw_mode(0o640))?;
    let stat = fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is there already, and is no file"));
    }
    locked(&fd)?;
    let mut file = File::from(fd);
    let bytes = file.metadata()?.len();
    let mut end = [b'\n'];
    if bytes > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut end)?;
    }
    Ok(Open {
        file,
        identity: (stat.st_dev, stat.st_ino),
        bytes,
        torn: end != [b'\n'],
    })
}

/// The last event in a file.
fn last_of(path: &Path) -> Option<Event> {
    let mut file = File::open(path).ok()?;
    let bytes = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(2 * LINE)))
        .ok()?;
    let mut end = Vec::new();
    file.take(2 * LINE).read_to_end(&mut end).ok()?;
    end.rsplit(|byte| *byte == b'\n')
        .find_map(|line| serde_json::from_slice(line).ok())
}

#[cfg(test)]
mod tests;
