//! Opening the ports of a configuration, and the pools their frames live in.

use crate::{exception, sync, takeover, worker::HANDOFF_DEPTH};
use anyhow::{Context as _, Result, anyhow, bail};
use config::Config;
use dpdk::{Device, Eal, Mempool, MempoolConfig, Port, PortConfig, ProbedPort};
use engine::BURST;
use std::collections::BTreeMap;
use types::{MacAddr, PortId};

/// Descriptors of a queue, each of which may hold a frame, in one direction; drivers take between 256 and 2048.
const DESCRIPTORS: u32 = 2048;
/// Free frames each thread keeps to itself.
const CACHE: u32 = 256;
/// Frames the engine may hold while their next hop is asked for, and then some.
const HELD: u32 = 4096;

/// A running port as the control thread keeps it.
pub struct OpenPort {
    /// In the order of the configuration.
    pub id: PortId,
    /// As configured.
    pub name: String,
    /// DPDK's.
    pub port: Port,
    /// The MAC in use.
    pub mac: MacAddr,
}

/// The pools, by NUMA node. Clones share them.
#[derive(Clone)]
pub struct Pools(BTreeMap<Option<i32>, Mempool>);

impl Pools {
    /// The pool for frames the daemon makes itself.
    #[must_use]
    pub fn any(&self) -> Option<&Mempool> {
        self.0.values().next()
    }

    /// Frames the pools have altogether.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0.values().map(Mempool::size).sum()
    }

    /// Frames outside the pools now.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        self.0.values().map(Mempool::in_use).sum()
    }
}

/// The devices of `config`, in order; every one that is no device is told.
///
/// # Errors
/// All mistakes, one a line.
pub fn devices(config: &Config) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    let mut mistakes = Vec::new();
    for port in &config.ports {
        match port.device.parse::<Device>() {
            Ok(device) => devices.push(device),
            Err(error) => mistakes.push(format!("port `{}`: {error}", port.name)),
        }
    }
    if mistakes.is_empty() {
        Ok(devices)
    } else {
        bail!("{}", mistakes.join("\n"))
    }
}

/// Opens every port, in order. What a port cannot do is said once.
///
/// # Errors
/// The first port that does not open, or memory that does not suffice; the ports opened before are closed again.
pub fn open(eal: &Eal, config: &Config, devices: Vec<Device>) -> Result<(Vec<OpenPort>, Pools)> {
    let workers = config.director.cores.workers();
    let mut probed = Vec::new();
    for (port, device) in config.ports.iter().zip(devices) {
        let wanted = PortConfig {
            queues: match port.queues {
                Some(queues) => queues,
                None => u16::try_from(workers).unwrap_or(u16::MAX),
            },
            mtu: port.mtu,
            promiscuous: port.promiscuous,
            ..PortConfig::new(device)
        };
        let opened = ProbedPort::probe(eal, fit(wanted, port.queues.is_none()))
            .with_context(|| format!("port `{}`", port.name))?;
        probed.push(opened);
    }
    let pools = pools(eal, config, &probed)?;
    let mut ports = Vec::new();
    for ((port, probed), number) in config.ports.iter().zip(probed).zip(0..) {
        let pool = pools
            .0
            .get(&probed.capabilities().numa)
            .ok_or_else(|| anyhow!("port `{}` has no pool", port.name))?;
        let opened = probed
            .start(pool)
            .with_context(|| format!("port `{}`", port.name))?;
        if let Some(mac) = port.mac {
            opened
                .set_mac(mac)
                .with_context(|| format!("port `{}`, mac = \"{mac}\"", port.name))?;
        }
        if opened.rx_queues() == 0 || opened.tx_queues() == 0 {
            bail!(
                "port `{}`: its driver gives it no queue to receive or to send with",
                port.name
            );
        }
        for mac in config.virtual_macs_on(&port.name) {
            opened
                .accept_mac(mac)
                .with_context(|| format!("port `{}`: a virtual router's MAC {mac}", port.name))?;
        }
        for limitation in opened.limitations() {
            tracing::info!("port `{}`: {limitation}", port.name);
        }
        let mac = opened.mac();
        tracing::info!(
            "port `{}`: {} ({}), MAC {mac}, {} receive and {} transmit queue(s)",
            port.name,
            port.device,
            opened.capabilities().driver,
            opened.rx_queues(),
            opened.tx_queues()
        );
        ports.push(OpenPort {
            id: PortId(number),
            name: port.name.clone(),
            port: opened,
            mac,
        });
    }
    Ok((ports, pools))
}

/// A port whose driver has one queue only is not asked for more when the user left the number to us.
fn fit(mut wanted: PortConfig, ours_to_choose: bool) -> PortConfig {
    if ours_to_choose && wanted.device.driver() == Some("net_af_xdp") {
        wanted.queues = 1;
    }
    wanted
}

/// One pool per NUMA node, large enough that rings and queues full of frames leave some to work with.
fn pools(eal: &Eal, config: &Config, probed: &[ProbedPort]) -> Result<Pools> {
    let workers = u32::try_from(config.director.cores.workers()).unwrap_or(u32::MAX);
    let count = u32::try_from(probed.len()).unwrap_or(u32::MAX);
    let burst = u32::try_from(BURST).unwrap_or(u32::MAX);
    let handoff = u32::try_from(HANDOFF_DEPTH).unwrap_or(u32::MAX);
    // Any port's frames may fill what all share.
    let common = HELD
        + exception::frames_held(count)
        + takeover::frames_held(workers)
        + sync::frames_held(workers)
        + engine::FRAGMENTS
        + (workers + 1) * (CACHE * 2)
        + workers * count * (2 * burst)
        + if workers > 1 { count * handoff } else { 0 };
    let mut nodes: BTreeMap<Option<i32>, (u32, u32)> = BTreeMap::new();
    for port in probed {
        let (queues, size) = nodes.entry(port.capabilities().numa).or_default();
        *queues += workers.max(1) * 2;
        *size = (*size).max(port.buffer_size());
    }
    let mut pools = BTreeMap::new();
    for (numa, (queues, data_size)) in nodes {
        let wanted = MempoolConfig {
            // Not up to a power of two: that would waste less of the pool's ring, but up to half of the buffers.
            count: queues * DESCRIPTORS + common,
            data_size,
            cache: CACHE,
            numa,
        };
        let pool = Mempool::new(eal, wanted).context(
            "no memory for packet buffers; give it more with director.memory_mb, or more hugepages",
        )?;
        tracing::debug!(
            "{} buffers of {} bytes, {} MiB",
            wanted.count,
            data_size,
            wanted.memory_bytes() >> 20
        );
        pools.insert(numa, pool);
    }
    Ok(Pools(pools))
}
