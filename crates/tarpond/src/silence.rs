//! Keeps the kernel's own stack off the interfaces whose frames a port takes.
//!
//! A packet socket gives the port copies: the kernel goes on handling the same frames. It would answer ARP and pings for the
//! TAPs' addresses beside the engine, and forward what the engine forwards, so that every packet came twice. What it was set
//! to before is restored at the end.

use config::Config;
use dpdk::Device;
use host::{interface_sysctl, set_interface_sysctl};

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
#[derive(Default)]
pub struct Silence {
    /// Interface, family, key and value before.
    before: Vec<(String, &'static str, &'static str, String)>,
}

impl Silence {
    /// Silences the kernel on every interface a port of `config` shares with it.
    #[must_use]
    pub fn impose(config: &Config, devices: &[Device]) -> Self {
        let mut silence = Self::default();
        for (port, device) in config.ports.iter().zip(devices) {
            let Some(interface) = device.kernel_interface() else {
                continue;
            };
            for (family, key, value) in SETTINGS {
                if let Err(error) = silence.set(interface, family, key, value) {
                    tracing::warn!(
                        "port `{}`: cannot set net.{family}.conf.{interface}.{key} = {value} ({error}); the kernel may \
                         answer there beside the director",
                        port.name
                    );
                }
            }
        }
        silence
    }

    fn set(
        &mut self,
        interface: &str,
        family: &'static str,
        key: &'static str,
        value: &str,
    ) -> std::io::Result<()> {
        // A kernel without that setting has nothing to silence there.
        let Some(before) = interface_sysctl(family, interface, key)? else {
            return Ok(());
        };
        if before != value {
            set_interface_sysctl(family, interface, key, value)?;
            self.before
                .push((interface.to_owned(), family, key, before));
        }
        Ok(())
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        for (interface, family, key, value) in self.before.drain(..).rev() {
            if let Err(error) = set_interface_sysctl(family, &interface, key, &value) {
                tracing::warn!(
                    "cannot restore net.{family}.conf.{interface}.{key} = {value}: {error}"
                );
            }
        }
    }
}
