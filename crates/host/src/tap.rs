//! A TAP device: an Ethernet interface of the host whose cable end is a file descriptor of ours.
//!
//! Devices are not persistent: the kernel removes them when the process ends, however it ends.

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};
use thiserror::Error;

/// Where the kernel hands out TAP devices.
const CLONE_DEVICE: &str = "/dev/net/tun";

/// Why there is no TAP device.
#[derive(Debug, Error)]
pub enum TapError {
    /// The name does not fit.
    #[error("`{0}` cannot name a network interface: 1 to 15 bytes, no `/` and no blanks")]
    Name(String),
    /// The clone device does not open.
    #[error("cannot open {CLONE_DEVICE}: {0}; {1}")]
    Open(Errno, &'static str),
    /// The kernel refuses the device.
    #[error("cannot create the TAP device `{name}`: {error}; {remedy}")]
    Create {
        /// The name asked for.
        name: String,
        /// What the kernel said.
        error: Errno,
        /// What to do about it.
        remedy: &'static str,
    },
}

/// A TAP device, non-blocking; it vanishes when dropped.
pub struct Tap {
    file: OwnedFd,
    name: String,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tap({})", self.name)
    }
}

impl Tap {
    /// Creates the device `name` in the current network namespace; it starts down and without addresses.
    ///
    /// # Errors
    /// [`TapError`] says what is missing.
    pub fn create(name: &str) -> Result<Self, TapError> {
        if name.is_empty()
            || name.len() >= libc::IFNAMSIZ
            || name.contains(|c: char| c == '/' || c.is_whitespace())
        {
            return Err(TapError::Name(name.to_owned()));
        }
        let file = rustix::fs::open(
            CLONE_DEVICE,
            OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| TapError::Open(error, open_remedy(error)))?;
        attach(&file, name).map_err(|error| TapError::Create {
            name: name.to_owned(),
            error,
            remedy: create_remedy(error),
        })?;
        Ok(Self {
            file,
            name: name.to_owned(),
        })
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes one frame the host sent; `None` when there is none now.
    ///
    /// # Errors
    /// What the kernel says; `EIO` while the device is down.
    pub fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        match rustix::io::read(&self.file, buffer) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the host one frame. False when its queue is full.
    ///
    /// # Errors
    /// What the kernel says; `EIO` while the device is down, `EINVAL` for a frame too short.
    pub fn write(&self, frame: &[u8]) -> Result<bool, Errno> {
        match rustix::io::write(&self.file, frame) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn attach(file: &OwnedFd, name: &str) -> Result<(), Errno> {
    // SAFETY: ifreq is plain old data; all zero is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or(libc::c_short::MAX);
    // SAFETY: the descriptor is open for the call's length, and TUNSETIFF reads and writes one ifreq, which `request` is.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error()
            .raw_os_error()
            .map_or(Errno::IO, Errno::from_raw_os_error))
    }
}

const fn open_remedy(error: Errno) -> &'static str {
    match error {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => {
            "load the kernel's `tun` module (modprobe tun), or set `host = false` on every port"
        }
        Errno::ACCESS | Errno::PERM => {
            "run the daemon as root, or set `host = false` on every port"
        }
        _ => "or set `host = false` on every port",
    }
}

const fn create_remedy(error: Errno) -> &'static str {
    match error {
        Errno::BUSY => "another program holds it: choose another name with `host = \"...\"`",
        Errno::INVAL => {
            "an interface of that name exists and is no TAP device: choose another name with `host = \"...\"`"
        }
        Errno::PERM | Errno::ACCESS => {
            "the daemon needs CAP_NET_ADMIN: run it as root, or set `host = false`"
        }
        _ => "choose another name with `host = \"...\"`, or set `host = false`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_names_are_refused_before_the_kernel_is_asked() {
        for name in ["", "sixteen-bytes-xx", "a/b", "a b"] {
            assert!(
                matches!(Tap::create(name), Err(TapError::Name(_))),
                "{name}"
            );
        }
    }
}
