//! PCI devices: their addresses, and what sysfs shows of them: is one there, and whose is it.

use crate::{Device, MemoryMode, PortError};
use std::{fmt, fs, path::Path};

/// Where a device sits on PCI: domain, bus, device, function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "{:04x}:{:02x}:{:02x}.{:x}",
            self.domain, self.bus, self.device, self.function
        ))
    }
}

impl PciAddress {
    /// `0000:03:00.0`, or `03:00.0` in domain 0; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |text: &str, digits: std::ops::RangeInclusive<usize>| {
            let good = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            good.then(|| u32::from_str_radix(text, 16).ok()).flatten()
        };
        let (rest, function) = text.split_once('.')?;
        let mut parts = rest.rsplit(':');
        let device = hex(parts.next()?, 2..=2).filter(|&device| device < 32)?;
        let bus = hex(parts.next()?, 2..=2)?;
        let domain = parts.next().map_or(Some(0), |domain| hex(domain, 4..=8))?;
        let function = hex(function, 1..=1).filter(|&function| function < 8)?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            domain,
            bus: u8::try_from(bus).ok()?,
            device: u8::try_from(device).ok()?,
            function: u8::try_from(function).ok()?,
        })
    }
}

const DEVICES: &str = "/sys/bus/pci/devices";

/// Drivers DPDK works through, and those it works beside (they keep the device).
const FIT: [&str; 10] = [
    "vfio-pci",
    "uio_pci_generic",
    "igb_uio",
    "mlx4_core",
    "mlx5_core",
    "mana",
    "hv_netvsc",
    "uio_hv_generic",
    "nfp",
    "ionic",
];

/// Drivers without an IOMMU: the device reads memory by its physical address, which only hugepages keep.
const BY_PHYSICAL_ADDRESS: [&str; 3] = ["uio_pci_generic", "igb_uio", "uio_hv_generic"];

/// Whether DPDK can have the device, if it is on PCI.
pub(crate) fn is_ready(device: &Device, memory: &MemoryMode) -> bool {
    device
        .pci_address()
        .is_some_and(|address| check_driver(address, memory).is_ok())
}

/// Says what keeps DPDK from having a device, as far as sysfs tells.
pub(crate) fn check_driver(address: PciAddress, memory: &MemoryMode) -> Result<(), PortError> {
    let address = address.to_string();
    let path = Path::new(DEVICES).join(&address);
    if !path.exists() {
        return Err(PortError::NoPciDevice {
            address,
            present: network_devices(),
        });
    }
    let link = fs::read_link(path.join("driver")).ok();
    let driver = link.and_then(|link| {
        link.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    });
    match driver {
        None => Err(PortError::NoDriver { address }),
        Some(driver)
            if BY_PHYSICAL_ADDRESS.contains(&driver.as_str())
                && *memory != MemoryMode::Hugepages =>
        {
            Err(PortError::NeedsHugepages { address, driver })
        }
        Some(driver) if FIT.contains(&driver.as_str()) => Ok(()),
        Some(driver) => Err(PortError::KernelDriver { address, driver }),
    }
}

/// Addresses of the PCI devices of class "network".
fn network_devices() -> Vec<String> {
    let network = |path: &Path| {
        fs::read_to_string(path.join("class")).is_ok_and(|class| class.starts_with("0x02"))
    };
    let mut found: Vec<String> = fs::read_dir(DEVICES)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| network(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}
