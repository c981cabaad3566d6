//! Attaching a device, and finding out what it can do.

use crate::{
    Device, Eal, Mempool, PciAddress, Port, PortConfig, PortError,
    error::{Said, errno_text},
    link, log, pci,
};
use std::{
    ffi::{CStr, CString},
    sync::atomic::{AtomicU32, Ordering},
};
use types::MacAddr;

/// Ethernet header, checksum, and one VLAN tag, bytes: what a frame has beyond the MTU.
pub(crate) const FRAME_OVERHEAD: u32 = 14 + 4 + 4;

/// What a port's driver and device can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The driver, as DPDK names it ("net_af_packet", "net_virtio").
    pub driver: String,
    /// The NUMA node the device is on, if it is on one.
    pub numa: Option<i32>,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Smallest MTU.
    pub min_mtu: u16,
    /// Largest MTU.
    pub max_mtu: u16,
    /// Spreads received flows over queues by a hash it can be told.
    pub rss: bool,
    /// Checks received IPv4 header checksums.
    pub rx_ipv4_checksum: bool,
    /// Checks received TCP and UDP checksums.
    pub rx_l4_checksum: bool,
    /// Fills in IPv4 header checksums.
    pub tx_ipv4_checksum: bool,
    /// Fills in TCP checksums.
    pub tx_tcp_checksum: bool,
    /// Fills in UDP checksums.
    pub tx_udp_checksum: bool,
    /// Sends chained buffers.
    pub tx_multi_segment: bool,
    /// Receives into chained buffers.
    pub rx_scatter: bool,
    /// Strips VLAN tags.
    pub vlan_strip: bool,
}

/// A device attached to the EAL, not running yet: its capabilities are known. Dropping it detaches the device.
pub struct ProbedPort {
    pub(crate) attached: Attached,
    pub(crate) config: PortConfig,
    pub(crate) info: dpdk_sys::rte_eth_dev_info,
    capabilities: Capabilities,
}

/// A device in the EAL's hands; stopped, closed and detached when dropped.
pub(crate) struct Attached {
    pub eal: Eal,
    pub port: u16,
    device: *mut dpdk_sys::rte_device,
}

// SAFETY: the pointer is only handed back to DPDK, under the EAL's control lock.
unsafe impl Send for Attached {}
// SAFETY: as above.
unsafe impl Sync for Attached {}

impl ProbedPort {
    /// Attaches the device of `config`.
    ///
    /// # Errors
    /// [`PortError`]: no such device, wrong driver bound, refused by its driver.
    pub fn probe(eal: &Eal, config: PortConfig) -> Result<Self, PortError> {
        let device = &config.device;
        if config.queues == 0 {
            return Err(PortError::NoQueues(device.to_string()));
        }
        let mark = log::mark();
        let port = match device.pci_address() {
            Some(address) => attach_pci(eal, device, address)?,
            None => attach_virtual(eal, &config)?,
        };
        let mut info = dpdk_sys::rte_eth_dev_info::default();
        // SAFETY: a place to write to.
        let result = eal.control(|| unsafe { dpdk_sys::rte_eth_dev_info_get(port, &raw mut info) });
        let attached = Attached {
            eal: eal.clone(),
            port,
            device: info.device,
        };
        PortError::check(result, device, "asking for its capabilities", mark)?;
        let capabilities = capabilities(port, &info, device.kernel_interface().is_some());
        Ok(Self {
            attached,
            config,
            info,
            capabilities,
        })
    }

    /// What it can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Bytes each buffer of its pool should hold: 2048, or a whole frame where the driver cannot chain buffers.
    #[must_use]
    pub fn buffer_size(&self) -> u32 {
        let frame = u32::from(self.config.mtu) + FRAME_OVERHEAD;
        // The packet socket's driver wants room for its whole ring frame, whatever the MTU.
        let ring_frame = self
            .config
            .device
            .ring_frame_size(self.config.mtu)
            .unwrap_or(0);
        if self.capabilities.rx_scatter {
            2048
        } else {
            frame.max(ring_frame).max(2048).next_multiple_of(64)
        }
    }

    /// Configures and starts the port; receive queues take their buffers from `pool`.
    ///
    /// # Errors
    /// [`PortError`]: what the driver refuses.
    pub fn start(self, pool: &Mempool) -> Result<Port, PortError> {
        Port::start(self, pool)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let (port, device) = (self.port, self.device);
        // SAFETY: queues and port handles are gone (they hold this), so nobody is inside the driver.
        self.eal.control(|| unsafe {
            // On a kernel's interface it would stay.
            dpdk_sys::rte_eth_promiscuous_disable(port);
            dpdk_sys::rte_eth_dev_stop(port);
            dpdk_sys::rte_eth_dev_close(port);
            if !device.is_null() {
                dpdk_sys::rte_dev_remove(device);
            }
        });
        self.eal.release(port);
    }
}

/// The port of the device DPDK knows as `name`.
fn port_by_name(name: &str) -> Option<u16> {
    let name = CString::new(name).ok()?;
    let mut port = 0;
    // SAFETY: a NUL-terminated name and a place to write to.
    let result = unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut port) };
    (result == 0).then_some(port)
}

fn attach(eal: &Eal, device: &Device, name: &str, devargs: String) -> Result<u16, PortError> {
    let mark = log::mark();
    let failed = |code: i32| PortError::Probe {
        device: device.to_string(),
        reason: errno_text(code),
        said: Said::since(mark),
    };
    let text = CString::new(devargs).map_err(|_| failed(libc::EINVAL))?;
    // SAFETY: a NUL-terminated text, which DPDK copies.
    let result = eal.control(|| unsafe { dpdk_sys::rte_dev_probe(text.as_ptr()) });
    if result < 0 {
        return Err(failed(result));
    }
    // A bus may accept a device no driver wants.
    port_by_name(name).ok_or_else(|| failed(libc::ENODEV))
}

fn attach_virtual(eal: &Eal, config: &PortConfig) -> Result<u16, PortError> {
    static NUMBERS: AtomicU32 = AtomicU32::new(0);
    let device = &config.device;
    if let Some(interface) = device.kernel_interface()
        && link::carrier(interface).is_none()
    {
        return Err(PortError::NoInterface {
            device: device.to_string(),
            interface: interface.to_owned(),
        });
    }
    let mut name = device.dpdk_name(NUMBERS.fetch_add(1, Ordering::Relaxed));
    if device.is_numbered() {
        if port_by_name(&name).is_some() {
            return Err(PortError::AlreadyOpen(name));
        }
    } else {
        while port_by_name(&name).is_some() {
            name = device.dpdk_name(NUMBERS.fetch_add(1, Ordering::Relaxed));
        }
    }
    // AF_XDP refuses more queues than the interface has, where others take what there is.
    let queues = match device.kernel_interface() {
        Some(interface) if device.driver() == Some("net_af_xdp") => {
            config.queues.min(link::channels(interface).usable)
        }
        _ => config.queues,
    };
    let devargs = device.devargs(name.clone(), queues, config.mtu);
    attach(eal, device, &name, devargs)
}

fn attach_pci(eal: &Eal, device: &Device, address: PciAddress) -> Result<u16, PortError> {
    let name = address.to_string();
    // Probed when the EAL started, and nobody's yet.
    if let Some(port) = port_by_name(&name) {
        return if eal.claim(port) {
            Ok(port)
        } else {
            Err(PortError::AlreadyOpen(name))
        };
    }
    pci::check_driver(address, eal.memory_mode())?;
    if !eal.is_allowed(&name) {
        return Err(PortError::NotAllowed { address: name });
    }
    let port = attach(
        eal,
        device,
        &name,
        device.pci_devargs().unwrap_or_else(|| name.clone()),
    )?;
    eal.claim(port);
    Ok(port)
}

fn capabilities(port: u16, info: &dpdk_sys::rte_eth_dev_info, over_kernel: bool) -> Capabilities {
    let driver = if info.driver_name.is_null() {
        String::new()
    } else {
        // SAFETY: a driver's name is a static text.
        unsafe { CStr::from_ptr(info.driver_name) }
            .to_string_lossy()
            .into_owned()
    };
    let mut mac = dpdk_sys::rte_ether_addr::default();
    // SAFETY: the port exists; a place to write to.
    let node = unsafe {
        dpdk_sys::rte_eth_macaddr_get(port, &raw mut mac);
        dpdk_sys::rte_eth_dev_socket_id(port)
    };
    let rx = |offload: u64| info.rx_offload_capa & offload == offload;
    let tx = |offload: u64| info.tx_offload_capa & offload == offload;
    // Drivers over kernel interfaces name a largest frame of 1514 bytes whatever they take.
    let max_mtu = if over_kernel {
        info.max_mtu
    } else {
        info.max_mtu.min(mtu_of_largest_frame(info))
    };
    // These take chains without saying so: one frees them, one passes them on, one writes them out whole.
    let takes_chains = ["net_null", "net_ring", "net_pcap"].contains(&driver.as_str());
    Capabilities {
        driver,
        numa: Some(node).filter(|&node| node >= 0),
        mac: MacAddr(mac.addr_bytes),
        max_rx_queues: info.max_rx_queues,
        max_tx_queues: info.max_tx_queues,
        min_mtu: info.min_mtu,
        max_mtu,
        rss: info.flow_type_rss_offloads & dpdk_sys::EDGE_RSS_IP_TCP_UDP != 0,
        rx_ipv4_checksum: rx(dpdk_sys::EDGE_RXO_IPV4_CKSUM),
        rx_l4_checksum: rx(dpdk_sys::EDGE_RXO_TCP_CKSUM | dpdk_sys::EDGE_RXO_UDP_CKSUM),
        tx_ipv4_checksum: tx(dpdk_sys::EDGE_TXO_IPV4_CKSUM),
        tx_tcp_checksum: tx(dpdk_sys::EDGE_TXO_TCP_CKSUM),
        tx_udp_checksum: tx(dpdk_sys::EDGE_TXO_UDP_CKSUM),
        tx_multi_segment: tx(dpdk_sys::EDGE_TXO_MULTI_SEGS) || takes_chains,
        rx_scatter: rx(dpdk_sys::EDGE_RXO_SCATTER),
        vlan_strip: rx(dpdk_sys::EDGE_RXO_VLAN_STRIP),
    }
}

/// The MTU for which DPDK finds the largest frame large enough (`eth_dev_validate_mtu` of its ethdev library).
fn mtu_of_largest_frame(info: &dpdk_sys::rte_eth_dev_info) -> u16 {
    let frame = info.max_rx_pktlen;
    let max = u32::from(info.max_mtu);
    let overhead = if info.max_mtu != u16::MAX && frame > max {
        frame - max
    } else {
        14 + 4
    };
    u16::try_from(frame.saturating_sub(overhead)).unwrap_or(u16::MAX)
}
