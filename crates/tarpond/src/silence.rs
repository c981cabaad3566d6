//! Keeps the kernel's own stack off the interfaces whose frames a port takes.
//!
//! A packet socket gives the port copies: the kernel goes on handling the same frames. It would answer ARP and pings for the
//! TAPs' addresses beside the engine, and forward what the engine forwards, so that every packet came twice. What it was set
//! to before is restored at the end. It is also in a file as long as the director runs: a director that is killed leaves the
//! file, and the next one restores what that one found. The file is one for `sysctl -p`, so that a person can do it too.

use config::Config;
use dpdk::Device;
use host::{interface_sysctl, set_interface_sysctl};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// Family, key and the value that silences.
const SETTINGS: [(&str, &str, &str); 4] = [
    // Sources are verified, and to an interface without addresses there is no way back: everything is dropped.
    ("ipv4", "rp_filter", "1"),
    // ARP for none of the host's addresses.
    ("ipv4", "arp_ignore", "8"),
    ("ipv4", "forwarding", "0"),
    ("ipv6", "disable_ipv6", "1"),
];

/// The silenced interfaces; dropping it lets the kernel speak again.
pub struct Silence {
    before: Vec<Before>,
    file: PathBuf,
}

/// A setting as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Before {
    interface: String,
    family: &'static str,
    key: &'static str,
    value: String,
}

impl Silence {
    /// Silences the kernel on every interface a port of `config` shares with it. `file` is for what was before; what a
    /// killed director left there is restored, now or at the end.
    #[must_use]
    pub fn impose(config: &Config, devices: &[Device], file: PathBuf) -> Self {
        let mut left = read(&file);
        let mut silence = Self {
            before: Vec::new(),
            file,
        };
        let shared = config.ports.iter().zip(devices).filter_map(|(port, d)| {
            let interface = d.kernel_interface()?;
            Some((port.name.as_str(), interface))
        });
        let mut wanted = Vec::new();
        for (port, interface) in shared {
            for (family, key, value) in SETTINGS {
                let at = left
                    .iter()
                    .position(|b| b.is(interface, family, key))
                    .map(|at| left.remove(at));
                match find(interface, family, key, value, at) {
                    Ok(Some(before)) => silence.before.push(before),
                    // Silent already, or a kernel without that setting.
                    Ok(None) => {}
                    Err(error) => warn(port, interface, (family, key, value), &error),
                }
                wanted.push((port, interface, (family, key, value)));
            }
        }
        // Of interfaces that are no port's any more.
        restore(&left);
        silence.remember();
        for (port, interface, (family, key, value)) in wanted {
            if let Err(error) = set_interface_sysctl(family, interface, key, value) {
                warn(port, interface, (family, key, value), &error);
            }
        }
        silence
    }

    /// Writes the file, before anything is changed.
    fn remember(&self) {
        let lines: String = self.before.iter().map(|b| format!("{b}\n")).collect();
        let written = if lines.is_empty() {
            remove(&self.file)
        } else {
            fs::write(&self.file, lines)
        };
        if let Err(error) = written {
            tracing::warn!(
                "cannot write {}: {error}; should this director be killed, its interfaces' settings stay changed",
                self.file.display()
            );
        }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        restore(&self.before);
        if let Err(error) = remove(&self.file) {
            tracing::warn!("cannot remove {}: {error}", self.file.display());
        }
    }
}

impl Before {
    fn is(&self, interface: &str, family: &str, key: &str) -> bool {
        self.interface == interface && self.family == family && self.key == key
    }

    /// Reads a line as [`fmt::Display`] writes it; `None` for a setting this module does not touch.
    fn parse(line: &str) -> Option<Self> {
        let (name, value) = line.split_once(" = ")?;
        let mut parts = name.strip_prefix("net/")?.split('/');
        let (family, conf) = (parts.next()?, parts.next()?);
        let (interface, key) = (parts.next()?, parts.next()?);
        let (family, key, _) = SETTINGS
            .into_iter()
            .find(|(f, k, _)| *f == family && *k == key)?;
        (conf == "conf" && parts.next().is_none()).then(|| Self {
            interface: interface.to_owned(),
            family,
            key,
            value: value.trim().to_owned(),
        })
    }
}

/// With slashes, as `sysctl` takes them too: interfaces have dots in their names.
impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface,
            family,
            key,
            value,
        } = self;
        write!(f, "net/{family}/conf/{interface}/{key} = {value}")
    }
}

/// What a setting is to be set to at the end: what it is now, or was before a director that was killed silenced it. `None`
/// when there is nothing to restore.
fn find(
    interface: &str,
    family: &'static str,
    key: &'static str,
    silent: &str,
    left: Option<Before>,
) -> io::Result<Option<Before>> {
    let Some(value) = interface_sysctl(family, interface, key)? else {
        return Ok(None);
    };
    if value == silent {
        return Ok(left);
    }
    Ok(Some(Before {
        interface: interface.to_owned(),
        family,
        key,
        value,
    }))
}

fn restore(all: &[Before]) {
    for before in all.iter().rev() {
        let Before {
            interface,
            family,
            key,
            value,
        } = before;
        if let Err(error) = set_interface_sysctl(family, interface, key, value) {
            tracing::warn!("cannot restore {before}: {error}");
        }
    }
}

fn read(file: &Path) -> Vec<Before> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(Before::parse).collect()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn warn(port: &str, interface: &str, setting: (&str, &str, &str), error: &io::Error) {
    let (family, key, value) = setting;
    tracing::warn!(
        "port `{port}`: cannot set net.{family}.conf.{interface}.{key} = {value} ({error}); the kernel may answer there \
         beside the director"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let before = Before {
            interface: "eth1.10".to_owned(),
            family: "ipv4",
            key: "rp_filter",
            value: "2".to_owned(),
        };
        let line = before.to_string();
        assert_eq!(line, "net/ipv4/conf/eth1.10/rp_filter = 2");
        assert_eq!(Before::parse(&line), Some(before));
    }

    #[test]
    fn only_settings_of_ours_are_read() {
        for line in [
            "",
            "net/ipv4/conf/eth1/log_martians = 1",
            "net/ipv4/conf/eth1/../../../../x/rp_filter = 1",
            "net/ipv4/conf//rp_filter",
            "kernel/panic = 1",
        ] {
            assert_eq!(Before::parse(line), None, "{line}");
        }
    }
}
