//! What the user writes for a port, and the device arguments DPDK wants for it.

use crate::{DeviceError, PciAddress, packet_ring::PacketRing};
use std::{fmt, fs, path::Path, str::FromStr};

/// A port's device, as configured: on PCI, or a virtual device of one of DPDK's drivers.
///
/// | text | device |
/// |---|---|
/// | `0000:03:00.0` or `03:00.0`, `,KEY=VALUE...` | that PCI device |
/// | `af_packet:IFACE` | the kernel's interface, through a packet socket |
/// | `af_xdp:IFACE` | the kernel's interface, through AF_XDP |
/// | `tap:NAME` | a new TAP interface of that name |
/// | `net_...`, `,KEY=VALUE...` | a virtual device as DPDK writes it, number optional |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    kind: Kind,
    /// `key=value`, in the user's order.
    arguments: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Pci(PciAddress),
    /// Driver without number ("net_tap"), and the number if the user gave one.
    Virtual {
        driver: String,
        number: Option<u32>,
    },
}

impl Device {
    /// The address, if it is on PCI.
    #[must_use]
    pub fn pci_address(&self) -> Option<PciAddress> {
        match self.kind {
            Kind::Pci(address) => Some(address),
            Kind::Virtual { .. } => None,
        }
    }

    /// The driver of a virtual device, without number: "net_af_packet".
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        match &self.kind {
            Kind::Pci(_) => None,
            Kind::Virtual { driver, .. } => Some(driver),
        }
    }

    /// The kernel's interface that must exist for it, if it is one on top of such.
    #[must_use]
    pub fn kernel_interface(&self) -> Option<&str> {
        match self.driver() {
            Some("net_af_packet" | "net_af_xdp") => self.argument("iface"),
            Some("net_pcap") => self.argument("iface").or_else(|| self.argument("rx_iface")),
            _ => None,
        }
    }

    /// The value of an argument the user gave.
    #[must_use]
    pub fn argument(&self, key: &str) -> Option<&str> {
        self.arguments
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the user chose the number of a virtual device.
    pub(crate) fn is_numbered(&self) -> bool {
        matches!(
            self.kind,
            Kind::Virtual {
                number: Some(_),
                ..
            }
        )
    }

    /// Bytes of a frame in the ring of a packet socket.
    pub(crate) fn ring_frame_size(&self, mtu: u16) -> Option<u32> {
        (self.driver() == Some("net_af_packet")).then(|| {
            let given = self.argument("framesz").and_then(|size| size.parse().ok());
            given.unwrap_or(PacketRing::for_mtu(mtu).frame)
        })
    }

    /// What `-a` is given at start, for a PCI device.
    pub(crate) fn pci_devargs(&self) -> Option<String> {
        self.pci_address()
            .map(|address| self.with_arguments(address.to_string(), &[]))
    }

    /// The name DPDK knows the device by, numbered `fallback` if the user did not number it.
    pub(crate) fn dpdk_name(&self, fallback: u32) -> String {
        match &self.kind {
            Kind::Pci(address) => address.to_string(),
            Kind::Virtual { driver, number } => format!("{driver}{}", number.unwrap_or(fallback)),
        }
    }

    /// Everything DPDK is told: the user's arguments, and defaults known to be good where the user says nothing.
    pub(crate) fn devargs(&self, name: String, queues: u16, mtu: u16) -> String {
        let mut defaults = Vec::new();
        match self.driver() {
            Some("net_af_packet") => {
                let ring = PacketRing::for_mtu(mtu);
                defaults.push(("qpairs", queues.to_string()));
                // A ring half given by the user is left to the user.
                if ["blocksz", "framesz", "framecnt"]
                    .iter()
                    .all(|key| self.argument(key).is_none())
                {
                    defaults.push(("blocksz", ring.block.to_string()));
                    defaults.push(("framesz", ring.frame.to_string()));
                    defaults.push(("framecnt", ring.count.to_string()));
                }
            }
            Some("net_af_xdp") => {
                defaults.push(("start_queue", "0".to_owned()));
                defaults.push(("queue_count", queues.to_string()));
                // Preferred busy polling needs sysctls few machines have set.
                defaults.push(("busy_budget", "0".to_owned()));
            }
            _ => {}
        }
        self.with_arguments(name, &defaults)
    }

    fn with_arguments(&self, name: String, defaults: &[(&str, String)]) -> String {
        let given = self
            .arguments
            .iter()
            .map(|(key, value)| (key.as_str(), value));
        let missing = defaults
            .iter()
            .filter(|(key, _)| self.argument(key).is_none())
            .map(|(key, value)| (*key, value));
        given
            .chain(missing)
            .fold(name, |text, (key, value)| format!("{text},{key}={value}"))
    }
}

impl fmt::Display for Device {
    /// As the user would write it in full.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.kind {
            Kind::Pci(address) => address.to_string(),
            Kind::Virtual { driver, number } => {
                format!(
                    "{driver}{}",
                    number.map(|number| number.to_string()).unwrap_or_default()
                )
            }
        };
        f.pad(&self.with_arguments(name, &[]))
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let text = text.trim();
        let unknown = || DeviceError::Unknown(text.to_owned());
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let mut arguments = Vec::new();
        for argument in parts {
            let (key, value) = argument
                .split_once('=')
                .filter(|(key, value)| {
                    !key.is_empty() && !value.is_empty() && !value.contains('\0')
                })
                .ok_or_else(|| DeviceError::Argument {
                    text: text.to_owned(),
                    argument: argument.to_owned(),
                })?;
            arguments.push((key.to_owned(), value.to_owned()));
        }
        let kind = if let Some(address) = PciAddress::parse(name) {
            Kind::Pci(address)
        } else if let Some((short, interface)) = name.split_once(':') {
            let driver = match short {
                "af_packet" | "af_xdp" | "tap" => format!("net_{short}"),
                _ => return Err(unknown()),
            };
            if interface.is_empty() || interface.contains([':', '/', ' ']) {
                return Err(DeviceError::NoInterface {
                    text: text.to_owned(),
                    driver: short.to_owned(),
                });
            }
            arguments.insert(0, ("iface".to_owned(), interface.to_owned()));
            Kind::Virtual {
                driver,
                number: None,
            }
        } else if name.starts_with("net_")
            || name.starts_with("eth_")
            || name.starts_with("virtio_user")
        {
            let driver = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let plain = driver
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_');
            let digits = &name[driver.len()..];
            let number = if digits.is_empty() {
                None
            } else {
                Some(digits.parse().map_err(|_| unknown())?)
            };
            if !plain || driver == "net_" || name.len() > 32 {
                return Err(unknown());
            }
            Kind::Virtual {
                driver: driver.to_owned(),
                number,
            }
        } else if let Some(error) = interface_by_itself(name) {
            return Err(error);
        } else {
            return Err(unknown());
        };
        Ok(Self { kind, arguments })
    }
}

/// The error for a text that is the name of a kernel interface, with what to write instead.
fn interface_by_itself(name: &str) -> Option<DeviceError> {
    let plain = !name.is_empty() && !name.contains(['/', '.']);
    let path = Path::new("/sys/class/net").join(name);
    if !plain || !path.exists() {
        return None;
    }
    let pci = fs::canonicalize(path.join("device"))
        .ok()
        .and_then(|device| {
            device
                .ancestors()
                .find_map(|part| PciAddress::parse(part.file_name()?.to_str()?))
        })
        .map(|address| address.to_string());
    Some(DeviceError::Interface {
        name: name.to_owned(),
        pci,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    fn devargs(text: &str, queues: u16, mtu: u16) -> String {
        let device: Device = text.parse().unwrap();
        device.devargs(device.dpdk_name(7), queues, mtu)
    }

    #[test]
    fn what_people_write_becomes_what_dpdk_wants() {
        assert_eq!(
            devargs("af_packet:veth1", 2, 1500),
            "net_af_packet7,iface=veth1,qpairs=2,blocksz=65536,framesz=2048,framecnt=4096"
        );
        assert_eq!(
            devargs("net_af_packet0,iface=eth1,framesz=4096", 1, 1500),
            "net_af_packet0,iface=eth1,framesz=4096,qpairs=1"
        );
        assert_eq!(
            devargs("net_af_packet,iface=eth1", 1, 9000),
            "net_af_packet7,iface=eth1,qpairs=1,blocksz=1179648,framesz=9216,framecnt=4096"
        );
        assert_eq!(
            devargs("af_xdp:v", 1, 1500),
            "net_af_xdp7,iface=v,start_queue=0,queue_count=1,busy_budget=0"
        );
        assert_eq!(
            devargs("tap:dtap0,mac=fixed", 1, 1500),
            "net_tap7,iface=dtap0,mac=fixed"
        );
        assert_eq!(devargs("net_null", 1, 1500), "net_null7");
    }

    #[test]
    fn pci_addresses() {
        assert_eq!(
            "03:00.1".parse::<Device>().unwrap().to_string(),
            "0000:03:00.1"
        );
        let with_arguments: Device = "0000:af:1f.7,representor=[0]".parse().unwrap();
        assert_eq!(
            with_arguments.pci_devargs().as_deref(),
            Some("0000:af:1f.7,representor=[0]")
        );
        for text in [
            "03:20.0",
            "03:00.8",
            "3:00.0",
            "0000:03:00",
            "00000000a:03:00.0",
            "0:0000:03:00.0",
        ] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let said = |text: &str| text.parse::<Device>().unwrap_err().to_string();
        assert!(
            said("lo").contains("write `af_packet:lo`"),
            "{}",
            said("lo")
        );
        assert!(
            said("nonsense").contains("PCI address"),
            "{}",
            said("nonsense")
        );
        assert!(said("af_packet:").contains("af_packet:INTERFACE"));
        assert_eq!(
            said("net_null,copy"),
            "`copy` in `net_null,copy` is not of the form KEY=VALUE"
        );
        for text in [
            "",
            ",",
            "net_",
            "net_x y",
            "net_null99999999999",
            "../..",
            "foo:eth0",
            "-a",
        ] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_device_or_an_error_with_words(text in "\\PC{0,40}") {
            match text.parse::<Device>() {
                Ok(device) => prop_assert_eq!(device.to_string().parse::<Device>(), Ok(device)),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }

        #[test]
        fn what_looks_like_a_device_reads_back_as_it_prints(
            text in "(net_[a-z_]{1,12}[0-9]{0,3}|[0-9a-f]{2}:[01][0-9a-f]\\.[0-7]|af_packet:[a-z0-9.-]{1,15}|tap:[a-z]{1,8})(,[a-z_]{1,6}=[a-z0-9/:;]{1,8}){0,3}"
        ) {
            let device: Device = text.parse()?;
            prop_assert_eq!(device.to_string().parse::<Device>(), Ok(device));
        }
    }
}
