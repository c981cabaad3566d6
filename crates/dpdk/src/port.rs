//! An open port: configured, running, handing out its queues.

use crate::{
    Capabilities, Device, Eal, Limitation, Link, LinkReader, Mempool, PortError, PortStats,
    ProbedPort, RxQueue, TxQueue, Unsent, log, packet_ring::PacketRing,
    packet_socket::PacketSockets, probe::Attached, setup::Setup, stats,
};
use std::{cell::Cell, marker::PhantomData, sync::Arc};
use types::MacAddr;

/// Offloads to use where the port has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// Check received checksums.
    pub rx_checksum: bool,
    /// Fill in checksums on transmit.
    pub tx_checksum: bool,
    /// Strip VLAN tags on receive.
    pub vlan_strip: bool,
    /// Spread received flows over several queues by RSS.
    pub rss: bool,
}

impl Default for Offloads {
    /// Everything but VLAN stripping: tags are read from the frame at no cost.
    fn default() -> Self {
        Self {
            rx_checksum: true,
            tx_checksum: true,
            vlan_strip: false,
            rss: true,
        }
    }
}

/// Offloads a running port does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActiveOffloads {
    /// Received IPv4 header checksums are checked.
    pub rx_ipv4_checksum: bool,
    /// Received TCP and UDP checksums are checked.
    pub rx_l4_checksum: bool,
    /// IPv4 header checksums are filled in on request.
    pub tx_ipv4_checksum: bool,
    /// TCP and UDP checksums are filled in on request.
    pub tx_l4_checksum: bool,
    /// VLAN tags are stripped.
    pub vlan_strip: bool,
    /// Flows are spread over several queues by RSS.
    pub rss: bool,
}

/// How to open a port.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// The device.
    pub device: Device,
    /// Queues wanted in each direction, one per worker; fewer is a [`Limitation`].
    pub queues: u16,
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Descriptors of each receive queue; 0: as the driver recommends, or 1024.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue; 0: as the driver recommends, or 1024.
    pub tx_descriptors: u16,
    /// Receive frames for any MAC address.
    pub promiscuous: bool,
    /// Offloads to use.
    pub offloads: Offloads,
}

impl PortConfig {
    /// One queue, MTU 1500, promiscuous, all offloads.
    #[must_use]
    pub fn new(device: Device) -> Self {
        Self {
            device,
            queues: 1,
            mtu: 1500,
            rx_descriptors: 0,
            tx_descriptors: 0,
            promiscuous: true,
            offloads: Offloads::default(),
        }
    }
}

/// A running port. Its queues keep it open; the last of them or of this to be dropped stops, closes and detaches it.
///
/// `Send`, not `Sync`: DPDK's control calls for a port come from one thread at a time.
pub struct Port {
    running: Arc<Running>,
    config: PortConfig,
    capabilities: Capabilities,
    limitations: Vec<Limitation>,
    active: ActiveOffloads,
    rx: Vec<Option<RxQueue>>,
    tx: Vec<Option<TxQueue>>,
    sockets: PacketSockets,
    unsent: Unsent,
    _not_sync: PhantomData<Cell<()>>,
}

/// What queues share: the device, and the pools its rings hold buffers of. Dropped in this order.
pub(crate) struct Running {
    pub attached: Attached,
    _pool: Mempool,
}

impl Port {
    /// Attaches, configures and starts a port in one go, when its NUMA node and buffer size do not matter.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn open(eal: &Eal, config: PortConfig, pool: &Mempool) -> Result<Self, PortError> {
        ProbedPort::probe(eal, config)?.start(pool)
    }

    pub(crate) fn start(probed: ProbedPort, pool: &Mempool) -> Result<Self, PortError> {
        let capabilities = probed.capabilities().clone();
        let ProbedPort {
            attached,
            config,
            info,
            ..
        } = probed;
        let eal = attached.eal.clone();
        let mut setup = Setup {
            port: attached.port,
            config: &config,
            info: &info,
            capabilities: &capabilities,
            limitations: Vec::new(),
            rx_queues: config.queues.min(info.max_rx_queues),
            tx_queues: config.queues.min(info.max_tx_queues),
        };
        eal.control(|| setup.run(pool))?;
        let Setup {
            limitations,
            rx_queues,
            tx_queues,
            ..
        } = setup;
        let (wanted, can) = (config.offloads, &capabilities);
        let active = ActiveOffloads {
            rx_ipv4_checksum: wanted.rx_checksum && can.rx_ipv4_checksum,
            rx_l4_checksum: wanted.rx_checksum && can.rx_l4_checksum,
            tx_ipv4_checksum: wanted.tx_checksum && can.tx_ipv4_checksum,
            tx_l4_checksum: wanted.tx_checksum && can.tx_tcp_checksum && can.tx_udp_checksum,
            vlan_strip: wanted.vlan_strip && can.vlan_strip,
            rss: wanted.rss && can.rss && rx_queues > 1,
        };
        let running = Arc::new(Running {
            attached,
            _pool: pool.clone(),
        });
        let rx = (0..rx_queues)
            .map(|queue| Some(RxQueue::new(Arc::clone(&running), queue)))
            .collect();
        let linearize = !capabilities.tx_multi_segment;
        let tx = (0..tx_queues)
            .map(|queue| Some(TxQueue::new(Arc::clone(&running), queue, linearize)))
            .collect();
        let sockets = match config.device.driver() {
            Some("net_af_packet") => {
                PacketSockets::of(config.device.argument("iface").unwrap_or_default())
            }
            _ => PacketSockets::default(),
        };
        let unsent = Unsent::of(&sockets, &PacketRing::of(&config.device, config.mtu));
        Ok(Self {
            running,
            sockets,
            unsent,
            config,
            capabilities,
            limitations,
            active,
            rx,
            tx,
            _not_sync: PhantomData,
        })
    }

    /// What it can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What it cannot do, of what was asked for or is commonly there.
    #[must_use]
    pub fn limitations(&self) -> &[Limitation] {
        &self.limitations
    }

    /// The offloads in use.
    #[must_use]
    pub fn offloads(&self) -> ActiveOffloads {
        self.active
    }

    /// The device, as configured.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.config.device
    }

    /// Receive queues it runs with.
    #[must_use]
    pub fn rx_queues(&self) -> usize {
        self.rx.len()
    }

    /// Transmit queues it runs with.
    #[must_use]
    pub fn tx_queues(&self) -> usize {
        self.tx.len()
    }

    /// Receive queue `index`, from 0; each is handed out once.
    pub fn take_rx_queue(&mut self, index: usize) -> Option<RxQueue> {
        self.rx.get_mut(index)?.take()
    }

    /// Transmit queue `index`, from 0; each is handed out once.
    pub fn take_tx_queue(&mut self, index: usize) -> Option<TxQueue> {
        self.tx.get_mut(index)?.take()
    }

    /// The MAC address now.
    #[must_use]
    pub fn mac(&self) -> MacAddr {
        let mut mac = dpdk_sys::rte_ether_addr::default();
        // SAFETY: the port is open; a place to write to.
        unsafe { dpdk_sys::rte_eth_macaddr_get(self.port(), &raw mut mac) };
        MacAddr(mac.addr_bytes)
    }

    /// Changes the MAC address.
    ///
    /// # Errors
    /// [`PortError::Call`] where the driver cannot.
    pub fn set_mac(&self, mac: MacAddr) -> Result<(), PortError> {
        let mut address = dpdk_sys::rte_ether_addr { addr_bytes: mac.0 };
        // SAFETY: the port is open; the address is copied.
        self.call("changing the MAC address", |port| unsafe {
            dpdk_sys::rte_eth_dev_default_mac_addr_set(port, &raw mut address)
        })
    }

    /// Receives frames for another MAC address, too: by the port's filter, else in promiscuous mode.
    ///
    /// # Errors
    /// [`PortError::Call`] where the driver can do neither.
    pub fn accept_mac(&self, mac: MacAddr) -> Result<(), PortError> {
        let mut address = dpdk_sys::rte_ether_addr { addr_bytes: mac.0 };
        // SAFETY: the port is open; the address is copied.
        let added = self.call("receiving frames for another MAC address", |port| unsafe {
            dpdk_sys::rte_eth_dev_mac_addr_add(port, &raw mut address, 0)
        });
        // SAFETY: the port is open.
        if added.is_ok() || unsafe { dpdk_sys::rte_eth_promiscuous_get(self.port()) } == 1 {
            return Ok(());
        }
        self.set_promiscuous(true)
    }

    /// The largest IP packet, bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.config.mtu
    }

    /// Changes the MTU. Some drivers refuse while they run.
    ///
    /// # Errors
    /// [`PortError::Call`] where the driver cannot.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), PortError> {
        // SAFETY: the port is open.
        self.call("changing the MTU", |port| unsafe {
            dpdk_sys::rte_eth_dev_set_mtu(port, mtu)
        })?;
        self.config.mtu = mtu;
        Ok(())
    }

    /// Turns promiscuous mode on or off.
    ///
    /// # Errors
    /// [`PortError::Call`] where the driver cannot.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), PortError> {
        // SAFETY: the port is open.
        self.call("changing promiscuous mode", |port| unsafe {
            if on {
                dpdk_sys::rte_eth_promiscuous_enable(port)
            } else {
                dpdk_sys::rte_eth_promiscuous_disable(port)
            }
        })
    }

    /// Turns reception of all multicast on or off.
    ///
    /// # Errors
    /// [`PortError::Call`] where the driver cannot.
    pub fn set_all_multicast(&self, on: bool) -> Result<(), PortError> {
        // SAFETY: the port is open.
        self.call("changing reception of multicast", |port| unsafe {
            if on {
                dpdk_sys::rte_eth_allmulticast_enable(port)
            } else {
                dpdk_sys::rte_eth_allmulticast_disable(port)
            }
        })
    }

    /// The link now.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link_reader().link()
    }

    /// What reads the link, on any thread.
    #[must_use]
    pub fn link_reader(&self) -> LinkReader {
        let interface = self.config.device.kernel_interface();
        let eal = self.running.attached.eal.clone();
        LinkReader::new(eal, self.port(), interface.map(Into::into))
    }

    /// The frames the kernel holds while there is no carrier; to be used on any thread.
    #[must_use]
    pub fn unsent(&self) -> Unsent {
        self.unsent.clone()
    }

    /// The port's own counters.
    ///
    /// # Errors
    /// [`PortError::Call`] where the driver keeps none.
    pub fn stats(&self) -> Result<PortStats, PortError> {
        let mark = log::mark();
        let read = self
            .running
            .attached
            .eal
            .control(|| stats::read(self.port()));
        match read {
            Some(stats) => Ok(PortStats {
                rx_missed: stats.rx_missed + self.sockets.lost(),
                ..stats
            }),
            None => PortError::check(-libc::ENOTSUP, self.device(), "reading its counters", mark)
                .map(|()| PortStats::default()),
        }
    }

    /// The driver's extended counters, by its names for them.
    #[must_use]
    pub fn extended_stats(&self) -> Vec<(String, u64)> {
        self.running
            .attached
            .eal
            .control(|| stats::read_extended(self.port()))
    }

    fn port(&self) -> u16 {
        self.running.attached.port
    }

    fn call(
        &self,
        operation: &'static str,
        call: impl FnOnce(u16) -> i32,
    ) -> Result<(), PortError> {
        let mark = log::mark();
        let result = self.running.attached.eal.control(|| call(self.port()));
        PortError::check(result, self.device(), operation, mark)
    }
}
