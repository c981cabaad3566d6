//! Configuring a port: what it has is turned on, what it lacks is noted.

use crate::{
    Capabilities, Limitation, Mempool, PortConfig, PortError, link, log, probe::FRAME_OVERHEAD,
};

/// Descriptors of a queue when neither the user nor the driver says.
const DESCRIPTORS: u16 = 1024;

/// A port about to run.
pub(crate) struct Setup<'a> {
    pub port: u16,
    pub config: &'a PortConfig,
    pub info: &'a dpdk_sys::rte_eth_dev_info,
    pub capabilities: &'a Capabilities,
    pub rx_queues: u16,
    pub tx_queues: u16,
    pub limitations: Vec<Limitation>,
}

impl Setup<'_> {
    /// Configures and starts it. The caller holds the EAL's control lock.
    pub fn run(&mut self, pool: &Mempool) -> Result<(), PortError> {
        let mark = log::mark();
        let check = |code, operation| PortError::check(code, &self.config.device, operation, mark);
        let (port, config) = (self.port, self.config);
        let conf = self.port_conf(pool)?;
        // SAFETY: the port is attached and stopped; the configuration is copied.
        let result = unsafe {
            dpdk_sys::rte_eth_dev_configure(port, self.rx_queues, self.tx_queues, &raw const conf)
        };
        check(result, "configuring it")?;

        let mut rx_count = wanted(
            config.rx_descriptors,
            self.info.default_rxportconf.ring_size,
        );
        let mut tx_count = wanted(
            config.tx_descriptors,
            self.info.default_txportconf.ring_size,
        );
        // SAFETY: two places to read and write.
        let result = unsafe {
            dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(port, &raw mut rx_count, &raw mut tx_count)
        };
        check(result, "choosing the number of descriptors")?;
        // SAFETY: the port is attached.
        let node = unsafe { dpdk_sys::rte_eth_dev_socket_id(port) }.cast_unsigned();
        for queue in 0..self.rx_queues {
            let rx_conf = dpdk_sys::rte_eth_rxconf {
                offloads: conf.rxmode.offloads,
                ..self.info.default_rxconf
            };
            // SAFETY: the pool outlives the port (`Running` holds both); the configuration is copied.
            let result = unsafe {
                dpdk_sys::rte_eth_rx_queue_setup(
                    port,
                    queue,
                    rx_count,
                    node,
                    &raw const rx_conf,
                    pool.as_ptr(),
                )
            };
            check(result, "setting up a receive queue")?;
        }
        for queue in 0..self.tx_queues {
            let tx_conf = dpdk_sys::rte_eth_txconf {
                offloads: conf.txmode.offloads,
                ..self.info.default_txconf
            };
            // SAFETY: the configuration is copied.
            let result = unsafe {
                dpdk_sys::rte_eth_tx_queue_setup(port, queue, tx_count, node, &raw const tx_conf)
            };
            check(result, "setting up a transmit queue")?;
        }
        // SAFETY: configured above.
        let result = unsafe { dpdk_sys::rte_eth_dev_start(port) };
        check(result, "starting it")?;
        self.settle();
        Ok(())
    }

    fn port_conf(&mut self, pool: &Mempool) -> Result<dpdk_sys::rte_eth_conf, PortError> {
        let (config, capabilities) = (self.config, self.capabilities);
        let mut conf = dpdk_sys::rte_eth_conf::default();
        let rx_wanted = config.offloads.rx_checksum;
        if rx_wanted {
            conf.rxmode.offloads |= self.info.rx_offload_capa
                & (dpdk_sys::EDGE_RXO_IPV4_CKSUM
                    | dpdk_sys::EDGE_RXO_TCP_CKSUM
                    | dpdk_sys::EDGE_RXO_UDP_CKSUM);
            let (ipv4, l4) = (!capabilities.rx_ipv4_checksum, !capabilities.rx_l4_checksum);
            if ipv4 || l4 {
                self.limitations.push(Limitation::NoRxChecksum { ipv4, l4 });
            }
        }
        if config.offloads.tx_checksum {
            conf.txmode.offloads |= self.info.tx_offload_capa
                & (dpdk_sys::EDGE_TXO_IPV4_CKSUM
                    | dpdk_sys::EDGE_TXO_TCP_CKSUM
                    | dpdk_sys::EDGE_TXO_UDP_CKSUM);
            let (ipv4, tcp, udp) = (
                !capabilities.tx_ipv4_checksum,
                !capabilities.tx_tcp_checksum,
                !capabilities.tx_udp_checksum,
            );
            if ipv4 || tcp || udp {
                self.limitations
                    .push(Limitation::NoTxChecksum { ipv4, tcp, udp });
            }
        }
        if config.offloads.vlan_strip && capabilities.vlan_strip {
            conf.rxmode.offloads |= dpdk_sys::EDGE_RXO_VLAN_STRIP;
        }
        conf.txmode.offloads |= self.info.tx_offload_capa & dpdk_sys::EDGE_TXO_MULTI_SEGS;
        if !capabilities.tx_multi_segment {
            self.limitations.push(Limitation::NoMultiSegment);
        }
        self.spread_flows(&mut conf);
        self.fit_frames(&mut conf, pool.data_size())?;
        Ok(conf)
    }

    fn spread_flows(&mut self, conf: &mut dpdk_sys::rte_eth_conf) {
        let wanted = self.config.queues;
        if self.rx_queues < wanted {
            self.limitations.push(Limitation::RxQueues {
                wanted,
                got: self.rx_queues,
            });
        }
        if self.tx_queues < wanted {
            self.limitations.push(Limitation::TxQueues {
                wanted,
                got: self.tx_queues,
            });
        }
        if self.rx_queues < 2 || !self.config.offloads.rss {
            return;
        }
        if self.capabilities.rss {
            conf.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf =
                self.info.flow_type_rss_offloads & dpdk_sys::EDGE_RSS_IP_TCP_UDP;
        } else {
            self.limitations.push(Limitation::NoRss);
        }
    }

    /// Makes room for frames of the wanted MTU.
    fn fit_frames(
        &mut self,
        conf: &mut dpdk_sys::rte_eth_conf,
        buffer: u32,
    ) -> Result<(), PortError> {
        let (mtu, device) = (self.config.mtu, &self.config.device);
        let (min, max) = (self.capabilities.min_mtu.max(68), self.capabilities.max_mtu);
        if mtu < min || mtu > max {
            return Err(PortError::Mtu {
                device: device.to_string(),
                mtu,
                min,
                max,
            });
        }
        let frame = u32::from(mtu) + FRAME_OVERHEAD;
        if frame > buffer {
            if !self.capabilities.rx_scatter {
                return Err(PortError::BufferTooSmall {
                    device: device.to_string(),
                    frame,
                    buffer,
                });
            }
            conf.rxmode.offloads |= dpdk_sys::EDGE_RXO_SCATTER;
        }
        // For a port over a kernel interface the kernel's own MTU counts (`settle`), and DPDK must not be asked.
        if device.kernel_interface().is_none() {
            conf.rxmode.mtu = mtu.into();
        }
        Ok(())
    }

    /// What can only be asked of a running port; whatever is refused becomes a limitation.
    fn settle(&mut self) {
        let (port, config) = (self.port, self.config);
        if config.promiscuous {
            // SAFETY: the port runs.
            if unsafe { dpdk_sys::rte_eth_promiscuous_enable(port) } < 0 {
                self.limitations.push(Limitation::NoPromiscuous);
            }
        }
        // Neighbour discovery and VRRP are multicast. A refusal matters only without promiscuous mode, where it shows.
        // SAFETY: the port runs.
        unsafe { dpdk_sys::rte_eth_allmulticast_enable(port) };
        let kernel = config.device.kernel_interface();
        let fits = match kernel {
            Some(interface) => {
                if !link::set_up(interface) {
                    self.limitations.push(Limitation::InterfaceDown {
                        interface: interface.to_owned(),
                    });
                }
                link::raise_mtu(interface, config.mtu)
            }
            None => {
                let mut now = 0;
                // SAFETY: the port runs; a place to write to.
                unsafe {
                    dpdk_sys::rte_eth_dev_get_mtu(port, &raw mut now) == 0 && now >= config.mtu
                }
            }
        };
        if !fits {
            self.limitations
                .push(Limitation::MtuFixed { wanted: config.mtu });
        }
        match self.capabilities.driver.as_str() {
            "net_af_packet" => {
                self.limitations.extend([
                    Limitation::ReassemblesFragments,
                    Limitation::UnfinishedChecksums,
                ]);
            }
            "net_af_xdp" => {
                let queues = kernel.map_or(1, |interface| link::channels(interface).receiving);
                if queues > u32::from(self.rx_queues) {
                    self.limitations.push(Limitation::UnseenQueues {
                        queues,
                        seen: self.rx_queues,
                    });
                }
                self.limitations.push(Limitation::UnfinishedChecksums);
            }
            "net_null" | "net_ring" | "net_pcap" if kernel.is_none() => {
                self.limitations.push(Limitation::NoLinkState);
            }
            _ => {}
        }
    }
}

const fn wanted(configured: u16, recommended: u16) -> u16 {
    match (configured, recommended) {
        (0, 0) => DESCRIPTORS,
        (0, recommended) => recommended,
        (configured, _) => configured,
    }
}
