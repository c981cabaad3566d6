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
    let path: PathBuf = ["/proc/sys/net", family, "conf", interface, key]
        .iter()
        .collect();
    match std::fs::write(path, value) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
