//! The control socket itself.

use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

/// The listening socket; its file is removed when it is dropped.
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`. A socket left there by a daemon that was killed is replaced: whoever calls this holds the lock, so
    /// it is nobody's.
    ///
    /// # Errors
    /// When something else is there, or the socket cannot be made.
    pub fn bind(path: &Path) -> Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path)
                .with_context(|| format!("cannot remove the stale socket {}", path.display()))?,
            Ok(_) => bail!(
                "{} is there and is no socket; remove it, or set another director.socket",
                path.display()
            ),
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        let listener = Self {
            listener,
            path: path.to_owned(),
        };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot protect {}", path.display()))?;
        listener.listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Connections that wait.
    pub fn accept(&self) -> impl Iterator<Item = UnixStream> + '_ {
        std::iter::from_fn(|| self.listener.accept().ok().map(|(stream, _)| stream))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
