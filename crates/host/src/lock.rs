//! One daemon per socket path: a locked file that also tells the process id.
//!
//! The lock is the kernel's (`flock`), so it is gone with its process, however that ended: a file left behind by a
//! killed daemon is simply locked again.

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::{
    io::Read as _,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error(
        "another tarpond runs already (process {pid}, lock {path}); stop it first, or give this one a `socket` of its own"
    )]
    Held {
        /// Process id as the file tells it.
        pid: String,
        /// The lock file.
        path: PathBuf,
    },
    /// The file cannot be opened or written.
    #[error("cannot use the lock file {path}: {error}; its directory must exist and be writable")]
    File {
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        error: Errno,
    },
}

/// The lock, held until dropped; dropping removes the file.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: OwnedFd,
}

impl Lock {
    /// Takes the lock and writes this process's id into the file.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process has it, [`LockError::File`] if the file cannot be used.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let fault = |error| LockError::File {
            path: path.to_owned(),
            error,
        };
        loop {
            let file = rustix::fs::open(
                path,
                OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o644),
            )
            .map_err(fault)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(LockError::Held {
                        pid: read_pid(file),
                        path: path.to_owned(),
                    });
                }
                Err(error) => return Err(fault(error)),
            }
            // The former holder may have removed the file between our open and our lock: then we locked a nameless one.
            let ours = rustix::fs::fstat(&file).map_err(fault)?;
            match rustix::fs::stat(path) {
                Ok(named) if named.st_ino == ours.st_ino && named.st_dev == ours.st_dev => {}
                _ => continue,
            }
            rustix::fs::ftruncate(&file, 0).map_err(fault)?;
            rustix::io::write(&file, format!("{}\n", std::process::id()).as_bytes())
                .map_err(fault)?;
            return Ok(Self {
                path: path.to_owned(),
                _file: file,
            });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still locked, so nobody else's file is hit; if it is gone already, that is what was wanted.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn read_pid(file: OwnedFd) -> String {
    let mut text = String::new();
    let _ = std::fs::File::from(file).take(32).read_to_string(&mut text);
    let text = text.trim();
    if text.is_empty() {
        "unknown".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_told_the_first_ones_pid_and_a_stale_file_is_no_obstacle() {
        let path = std::env::temp_dir().join(format!("tarpon-lock-test-{}", std::process::id()));
        std::fs::write(&path, "999999999\nstale").unwrap();
        let lock = Lock::take(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        match Lock::take(&path) {
            Err(LockError::Held { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        drop(lock);
        assert!(!path.exists());
        drop(Lock::take(&path).unwrap());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Lock::take(Path::new("/nonexistent-dir/lock")).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent-dir/lock"),
            "{error}"
        );
    }
}
