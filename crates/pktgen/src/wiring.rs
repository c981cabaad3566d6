//! Opening ports, and finding the MAC frames go to.

use crate::{
    args::{Addresses, Wiring},
    axis::Axis,
    station::{self, Station},
    template::{Kind, Template},
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use arrayvec::ArrayVec;
use dpdk::{
    Device, Eal, EalConfig, Mbuf, Mempool, MempoolConfig, Offloads, Port, PortConfig, ProbedPort,
    RxQueue, TxQueue,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process, thread,
    time::{Duration, Instant},
};
use types::{MacAddr, VlanId};
use wire::Frame;

/// Frames handled at once.
pub const BURST: usize = 32;
/// Frames a worker may have under way.
const TX_FRAMES: u32 = 4095;
/// Descriptors of a receive queue, each of which holds a frame.
const RX_DESCRIPTORS: u32 = 2048;
/// How long to wait for a link and for an answer.
const LINK_WAIT: Duration = Duration::from_secs(9);
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// Between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// One worker's end of a port.
pub struct Lane {
    /// Where frames come in.
    pub rx: RxQueue,
    /// Where frames go out.
    pub tx: TxQueue,
    /// Who we are there.
    pub station: Station,
    /// Frames coming in are measured.
    pub is_metered: bool,
}

/// The open ports.
pub struct Wired {
    /// DPDK.
    pub eal: Eal,
    /// `--port` first; `--rx-port`.
    pub ports: Vec<Port>,
    /// For each worker, an end of each port.
    pub lanes: Vec<Vec<Lane>>,
    /// Buffers for answers, and of received frames.
    pub pool: Mempool,
    /// Each worker's buffers of what it sends.
    blank: Vec<Mempool>,
}

/// Starts DPDK and the ports, and waits for their links.
///
/// # Errors
/// Whatever the devices refuse, and too few queues.
pub fn open(wiring: &Wiring, templates: &[Template]) -> Result<Wired> {
    let sending = wiring.port.clone().context(
        "no port to send on: --port DEVICE, like `--port af_packet:eth1` or `--port 0000:03:00.0`",
    )?;
    let mut devices: Vec<Device> = vec![sending];
    devices.extend(wiring.rx_port.clone());
    if let [first, second] = devices.as_slice() {
        ensure!(
            first != second,
            "--port and --rx-port are the same device; leave --rx-port out: what comes back on --port is measured then"
        );
    }
    let eal = Eal::init(EalConfig {
        name: format!("pktgen-{}", process::id()),
        memory_mb: wiring
            .memory
            .unwrap_or(if wiring.mtu > 1500 { 768 } else { 256 }),
        hugepages: wiring.hugepages.into(),
        devices: devices.clone(),
        ..EalConfig::default()
    })?;
    let probe = |device| {
        let offloads = Offloads {
            rx_checksum: false,
            tx_checksum: false,
            ..Offloads::default()
        };
        let config = PortConfig {
            queues: wiring.workers,
            mtu: wiring.mtu,
            offloads,
            ..PortConfig::new(device)
        };
        ProbedPort::probe(&eal, config)
    };
    let probed: Vec<ProbedPort> = devices.into_iter().map(probe).collect::<Result<_, _>>()?;
    let buffer = probed
        .iter()
        .map(ProbedPort::buffer_size)
        .max()
        .unwrap_or(2048);
    let queues = u32::try_from(probed.len()).unwrap_or(1) * u32::from(wiring.workers);
    let pool = Mempool::new(
        &eal,
        MempoolConfig {
            count: queues * RX_DESCRIPTORS + 2047,
            data_size: buffer,
            ..MempoolConfig::default()
        },
    )?;
    let mut ports = Vec::new();
    for probed in probed {
        let port = probed.start(&pool)?;
        let queues = port.rx_queues().min(port.tx_queues());
        ensure!(
            queues >= usize::from(wiring.workers),
            "{} has {queues} queues, one for each worker: --workers {queues}",
            port.device()
        );
        ports.push(port);
    }
    ports.iter().try_for_each(wait_for_link)?;
    let lanes = (0..usize::from(wiring.workers))
        .map(|worker| lanes(&mut ports, worker, wiring, templates))
        .collect::<Result<_>>()?;
    let blank = (0..wiring.workers)
        .map(|_| blank_pool(&eal, buffer))
        .collect::<Result<_>>()?;
    Ok(Wired {
        eal,
        ports,
        lanes,
        pool,
        blank,
    })
}

fn wait_for_link(port: &Port) -> Result<()> {
    let begun = Instant::now();
    while !port.link().up {
        if begun.elapsed() > LINK_WAIT {
            bail!(
                "the link of {} is down; is the cable in, the other end up?",
                port.device()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn lanes(
    ports: &mut [Port],
    worker: usize,
    wiring: &Wiring,
    templates: &[Template],
) -> Result<Vec<Lane>> {
    let metered = ports.len() - 1;
    let mut lanes = Vec::new();
    for (number, port) in ports.iter_mut().enumerate() {
        // Sources are ours where frames leave, destinations where they arrive.
        let (own, axis) = if number == 0 {
            (&wiring.address, 0)
        } else {
            (&wiring.rx_address, 2)
        };
        let of = |is_ipv6| {
            let theirs = templates.iter().filter(|t| t.is_ipv6 == is_ipv6);
            let theirs = theirs.map(|t| t.axes[axis].clone());
            let own = own.iter().filter(|a| a.is_ipv6 == is_ipv6);
            own.map(|a| a.axis.clone())
                .chain(theirs)
                .collect::<Vec<Axis>>()
        };
        let taken = anyhow!("{}: queue {worker} is taken", port.device());
        let (mac, ipv4, ipv6) = (port.mac(), of(false), of(true));
        let queues = port.take_rx_queue(worker).zip(port.take_tx_queue(worker));
        let (rx, tx) = queues.ok_or(taken)?;
        lanes.push(Lane {
            rx,
            tx,
            station: Station { mac, ipv4, ipv6 },
            is_metered: number == metered,
        });
    }
    Ok(lanes)
}

impl Wired {
    /// Buffers for the frames worker `number` sends; every byte of them is 0.
    ///
    /// # Errors
    /// When there is no such worker.
    pub fn blank_pool(&self, number: u16) -> Result<Mempool> {
        let pool = self.blank.get(usize::from(number));
        pool.cloned().context("there is no such worker")
    }

    /// Bits a second of the sending port.
    #[must_use]
    pub fn speed_bps(&self) -> Option<f64> {
        let mbps = self.ports.first()?.link().speed_mbps?;
        Some(f64::from(mbps) * 1e6)
    }

    /// From now on frames go by the last port and are measured at the first; or the other way round again.
    pub fn turn(&mut self) {
        for lanes in &mut self.lanes {
            lanes.reverse();
        }
        self.meter_at(|at, last| at == last);
    }

    /// From now on frames are measured where `is_metered` says so, of the number of a worker's end and of the last.
    pub fn meter_at(&mut self, is_metered: impl Fn(usize, usize) -> bool) {
        for lanes in &mut self.lanes {
            let last = lanes.len().saturating_sub(1);
            for (at, lane) in lanes.iter_mut().enumerate() {
                lane.is_metered = is_metered(at, last);
            }
        }
    }

    /// The MAC frames go to: given, or asked for.
    ///
    /// # Errors
    /// When it cannot be told whose it is, or nobody answers.
    pub fn next_hop(&mut self, wiring: &Wiring, templates: &[Template]) -> Result<MacAddr> {
        if let Some(mac) = wiring.to_mac {
            return Ok(mac);
        }
        if !templates.is_empty() && templates.iter().all(|t| t.kind == Kind::Arp) {
            return Ok(MacAddr::BROADCAST);
        }
        let target = next_hop_address(wiring, templates)?;
        let from = asking_address(wiring, templates, target.is_ipv6())?;
        let vlan = templates.first().and_then(|t| t.vlan).map(|(id, _)| id);
        self.resolve(from, target, vlan)
    }

    fn resolve(&mut self, from: IpAddr, target: IpAddr, vlan: Option<VlanId>) -> Result<MacAddr> {
        let device = self
            .ports
            .first()
            .map(|p| p.device().to_string())
            .unwrap_or_default();
        let pool = self.pool.clone();
        let begun = Instant::now();
        let mut asked: Option<Instant> = None;
        let mut inbox: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        while begun.elapsed() < ANSWER_WAIT {
            if asked.is_none_or(|at| at.elapsed() > ASK_AGAIN) {
                let lane = self.lanes.first_mut().and_then(|lanes| lanes.first_mut());
                let lane = lane.context("there is no port")?;
                let question = lane.station.question(from, target, vlan);
                let question = question.context("the gateway is of another family than we are")?;
                lane.answer(&pool, &question);
                asked = Some(Instant::now());
            }
            // The answer may come in by any queue; and whoever answers may ask who we are first.
            for lane in self.lanes.iter_mut().flatten() {
                lane.rx.burst(&mut inbox);
                for frame in &inbox {
                    if let Some(mac) = station::learn(frame.head(), target) {
                        return Ok(mac);
                    }
                    if let Some(answer) = lane.station.answer(frame.head()) {
                        lane.answer(&pool, &answer);
                    }
                }
                Mbuf::free_burst(&mut inbox);
            }
            thread::sleep(Duration::from_millis(1));
        }
        bail!(
            "{target} does not answer on {device} (asked by {from} for {} s); is it the right port, or give its MAC by --to-mac",
            ANSWER_WAIT.as_secs()
        )
    }
}

impl Lane {
    /// Sends one frame made here, if the port takes it: whoever asked asks again otherwise.
    pub fn answer(&mut self, pool: &Mempool, bytes: &[u8]) {
        if let Some(mut frame) = pool.alloc()
            && frame.extend_from_slice(bytes)
        {
            let mut burst: ArrayVec<Mbuf, 1> = ArrayVec::new();
            burst.push(frame);
            self.tx.burst(&mut burst);
        }
    }
}

pub(crate) fn to_ip(number: u128, is_ipv6: bool) -> IpAddr {
    match (is_ipv6, u32::try_from(number)) {
        (false, Ok(bits)) => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(number).into(),
    }
}

/// Buffers every byte of which is 0, so that only frames' starts need be written. Nobody else may write into them.
fn blank_pool(eal: &Eal, buffer: u32) -> Result<Mempool> {
    let pool = Mempool::new(
        eal,
        MempoolConfig {
            count: TX_FRAMES,
            data_size: buffer,
            ..MempoolConfig::default()
        },
    )?;
    let mut all: Vec<Mbuf> = Vec::new();
    while let Some(mut frame) = pool.alloc() {
        let room = frame.tailroom();
        if frame.append(room) {
            frame.head_mut().fill(0);
        }
        all.push(frame);
    }
    Ok(pool)
}

/// Whose MAC is asked for.
fn next_hop_address(wiring: &Wiring, templates: &[Template]) -> Result<IpAddr> {
    if let Some(gateway) = wiring.gateway {
        return Ok(gateway);
    }
    let Some(first) = templates.first() else {
        bail!("a recording says no next hop: --to-mac MAC, or --gateway ADDRESS with --address");
    };
    let destination = |t: &Template| (t.axes[2].clone(), t.is_ipv6);
    let same = templates
        .iter()
        .all(|t| destination(t) == destination(first));
    ensure!(
        same && first.axes[2].total() == 1,
        "there are several destinations, so who gets the frames must be said: --gateway ADDRESS (its MAC is asked for), or --to-mac MAC"
    );
    Ok(to_ip(first.axes[2].at(0), first.is_ipv6))
}

/// Who asks: the first of our own addresses, or a template's first source.
fn asking_address(wiring: &Wiring, templates: &[Template], is_ipv6: bool) -> Result<IpAddr> {
    let own = wiring
        .address
        .iter()
        .find(|a: &&Addresses| a.is_ipv6 == is_ipv6);
    let source = templates.iter().find(|t| t.is_ipv6 == is_ipv6);
    let number = own
        .map(|a| a.axis.at(0))
        .or(source.map(|t| t.axes[0].at(0)));
    let number = number.with_context(|| {
        format!(
            "to ask for the gateway's MAC an {} address of our own is needed: --address ADDRESS",
            if is_ipv6 { "IPv6" } else { "IPv4" }
        )
    })?;
    Ok(to_ip(number, is_ipv6))
}
