//! PCI devices as sysfs shows them: is one there, and whose is it.

use crate::{Device, PciAddress, PortError};
use std::{fs, path::Path};

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

/// Whether DPDK can have the device, if it is on PCI.
pub(crate) fn is_ready(device: &Device) -> bool {
    device
        .pci_address()
        .is_some_and(|address| check_driver(address).is_ok())
}

/// Says what keeps DPDK from having a device, as far as sysfs tells.
pub(crate) fn check_driver(address: PciAddress) -> Result<(), PortError> {
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
