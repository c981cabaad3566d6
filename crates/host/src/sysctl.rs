//! Interface settings that have no netlink attribute.

use std::{io, path::PathBuf};

/// Writes `net.FAMILY.conf.INTERFACE.KEY` (`family`: "ipv4" or "ipv6"). True when written, false when this kernel has no
/// such setting (a host without IPv6).
///
/// # Errors
/// Whatever else the write meets.
pub fn set_interface_sysctl(
    family: &str,
    interface: &str,
    key: &str,
    value: &str,
) -> io::Result<bool> {
    match std::fs::write(path(family, interface, key), value) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads `net.FAMILY.conf.INTERFACE.KEY`; `None` when this kernel has no such setting.
///
/// # Errors
/// Whatever else the read meets.
pub fn interface_sysctl(family: &str, interface: &str, key: &str) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path(family, interface, key)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn path(family: &str, interface: &str, key: &str) -> PathBuf {
    ["/proc/sys/net", family, "conf", interface, key]
        .iter()
        .collect()
}
