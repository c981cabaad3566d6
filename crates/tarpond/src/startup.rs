//! From a configuration to a running director, and back to nothing.
//!
//! Everything that was begun is an owned value: a failure half way, like a clean stop, drops them in order.

use crate::{
    capture::Switch,
    clock::Clock,
    control::{self, Claims, Control, Listener},
    cores::{self, Placement},
    desired::{PortFacts, desired},
    detour::Detours,
    exception::{Detouring, HostThread, Rings},
    health::{Health, Standing, standing::Seen},
    logging,
    ports::{self, OpenPort, Pools},
    queues::{self, Queues, WayOut},
    silence::Silence,
    source::Source,
    sync::{self, Sync},
    takeover::{self, Mail, Takeover, Tools, Urgent, plans},
    taps::Taps,
    twin,
    worker::{Duties, Exit, Gauge, Handoff, WorkerOutput, Workers},
};
use anyhow::{Context as _, Result, anyhow, bail};
use config::Config;
use dpdk::{Device, Eal, EalConfig, MemoryMode};
use engine::{Capacity, Director};
use host::{Lock, ServiceManager};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};
use types::{MacAddr, PortId, WorkerId};

/// Starts a director as `config` wants it, runs it until it is told to stop, and takes everything away again.
///
/// # Errors
/// Whatever could not be had, with what to do about it. What was done before is undone.
pub fn run(config: Config, source: Source) -> Result<()> {
    let manager = ServiceManager::from_environment();
    // From the start on, so that a stop during start-up is a clean one too.
    let signals = control::Signals::catch().context("cannot catch signals")?;
    let devices = ports::devices(&config)?;
    let placement = cores::place(&config.director.cores)?;
    let socket = SocketPlace::take(&config.director.socket)?;
    confine(&placement);

    let eal = start_eal(&config, &devices, &placement)?;
    let silence = Silence::impose(&config, &devices, beside(&config.director.socket, "before"));
    let (ports, pools) = ports::open(&eal, &config, devices)?;
    let clock = Clock::start();
    let mut director = new_director(&config)?;
    let facts: Vec<PortFacts> = ports.iter().map(PortFacts::from).collect();
    let health = Health::start(secret()?[0])?;
    let mut detours = Detours::default();
    detours.follow(&config);
    health.follow(&config, &detours);
    let mut wanted = desired(&config, &facts);
    wanted.stations.extend(detours.stations());
    // Servers that are down until they have answered never were in the table.
    let seen = Seen {
        health: &health,
        watch: &::health::Watch::default(),
    };
    Standing::default().impose(&config, &seen, &mut wanted);
    director.apply(clock.now(), &wanted).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!(
            "the configuration makes no working director:\n{}",
            lines.join("\n")
        )
    })?;
    let macs: Vec<MacAddr> = ports.iter().map(|p| p.mac).collect();
    let (taps, devices) = Taps::create(&config, &macs)?;

    let gauges: Vec<Arc<Gauge>> = placement.workers.iter().map(|_| Arc::default()).collect();
    let switch = Arc::new(Switch::default());
    let mut ports = ports;
    let wiring = Wiring {
        config: &config,
        placement: &placement,
        gauges: &gauges,
        switch: &switch,
        clock,
    };
    let rings = wiring.rings(&taps)?;
    let queue = |frames| Mail::new(frames).context("cannot make a queue towards a thread");
    let (mail, sync_mail) = (queue(takeover::INCOMING)?, queue(sync::QUEUE)?);
    let ways = |frames, bell: &Arc<Mail>| -> Vec<Arc<Urgent>> {
        let way = |gauge: &Arc<Gauge>| Urgent::new(Arc::clone(gauge), frames, Arc::clone(bell));
        gauges.iter().map(way).collect()
    };
    let urgent = ways(takeover::OUTGOING, &mail);
    let sync_out = ways(sync::QUEUE, &sync_mail);
    let channels = Channels {
        rings: &rings,
        mail: &mail,
        urgent: &urgent,
        sync: (&sync_mail, &sync_out),
    };
    let duties = wiring.duties(&mut director, &mut ports, &pools, &channels)?;
    let pool = pools.any().context("there is no packet memory")?.clone();
    let detour = Detouring {
        table: detours.table(),
        neighbourhood: director.neighbourhood(),
        clock,
    };
    let host = HostThread::start(
        eal.clone(),
        Arc::clone(&rings),
        devices,
        pool.clone(),
        &detour,
    )?;
    let workers = Workers::start(&eal, duties)?;
    let ready = Arc::new(AtomicBool::new(config.sync.is_none()));
    let sync_tools = sync::Tools {
        engine: director.synchronizer().context("taken once")?,
        roles: director.roles(),
        neighbours: director.neighbourhood(),
        mail: sync_mail,
        outgoing: sync_out,
        pool: pool.clone(),
        clock,
        sender: secret()?[0] | 1,
        ready: Arc::clone(&ready),
    };
    let sync = Sync::start(&eal, sync::plan(&config, &facts), sync_tools)?;
    let claims = Claims::new(urgent.clone(), pool.clone());
    let tools = Tools {
        ready,
        cold: health.cold(),
        roles: director.roles(),
        watch: director.address_watch(),
        neighbours: director.neighbourhood(),
        mail,
        urgent,
        gauges: gauges.clone(),
        pool,
        clock,
    };
    let mut takeover = Takeover::start(&eal, plans(&config, &facts), tools)?;
    takeover.watch(takeover::watched(&config));
    takeover.watch_carriers(takeover::cables(&ports, &config));
    let listener = Listener::bind(&config.director.socket)?;

    let name = config.director.name.clone();
    let twin = match &config.twin {
        Some(settings) => {
            let desk = twin::start(settings, &name)?;
            Some(control::Twin::new(settings, desk, &config))
        }
        None => None,
    };
    let mut control = Control::new(
        config,
        source,
        director,
        ports,
        taps,
        gauges,
        placement.workers,
        eal.memory_mode().clone(),
        pools.clone(),
        switch,
        clock,
        health,
        detours,
        (takeover, sync, twin),
        claims,
    );
    tracing::info!("director `{name}` is ready");
    manager.ready("forwarding");
    let cause = control::run(&mut control, &listener, &signals, &manager);
    manager.stopping();

    drop(listener);
    // Releases what it has while the workers still send.
    control.end_takeover();
    control.tell_of_the_end(cause);
    drop(workers);
    drop(host);
    drop(rings);
    drop(control);
    let left = pools.in_use();
    tracing::debug!("packet buffers still in use: {left}");
    drop(pools);
    drop(eal);
    drop(silence);
    drop(socket);
    tracing::info!("director `{name}` has stopped");
    Ok(())
}

/// The control socket's directory and lock; what was made is removed again.
struct SocketPlace {
    // In this order: the directory is empty once the lock is gone.
    _lock: Lock,
    _made: Option<MadeDirectory>,
}

impl SocketPlace {
    fn take(socket: &Path) -> Result<Self> {
        let directory = socket.parent().unwrap_or(Path::new("/"));
        let made = if directory.exists() {
            None
        } else {
            std::fs::create_dir_all(directory).with_context(|| {
                format!(
                    "cannot create {} for the control socket",
                    directory.display()
                )
            })?;
            Some(MadeDirectory(directory.to_owned()))
        };
        Ok(Self {
            _lock: Lock::take(&beside(socket, "lock"))?,
            _made: made,
        })
    }
}

/// A file beside the socket, so that whoever has the one has the other.
fn beside(socket: &Path, ending: &str) -> PathBuf {
    let mut name = socket.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    socket.with_file_name(name)
}

/// A directory that goes again, unless somebody put something into it.
struct MadeDirectory(PathBuf);

impl Drop for MadeDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Keeps this thread, and those it starts, off the workers' CPUs where there are others.
fn confine(placement: &Placement) {
    let mut set = rustix::thread::CpuSet::new();
    for &cpu in &placement.control {
        set.set(cpu);
    }
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(
            "cannot keep the control thread on CPUs {:?}: {error}",
            placement.control
        );
    }
}

fn start_eal(config: &Config, devices: &[Device], placement: &Placement) -> Result<Eal> {
    let director = &config.director;
    let eal = Eal::init(EalConfig {
        name: director.file_prefix.clone(),
        memory_mb: director.memory_mb,
        hugepages: match director.hugepages {
            config::Hugepages::Auto => dpdk::Hugepages::Auto,
            config::Hugepages::Require => dpdk::Hugepages::Required,
            config::Hugepages::Never => dpdk::Hugepages::Never,
        },
        devices: devices.to_vec(),
        control_cpus: placement.control.clone(),
        log: Some(logging::dpdk_sink()),
        ..EalConfig::default()
    })
    .context("DPDK does not start")?;
    tracing::info!("{}", Eal::version());
    if let MemoryMode::Ordinary { why, .. } = eal.memory_mode() {
        tracing::warn!("{why}");
    }
    Ok(eal)
}

fn new_director(config: &Config) -> Result<Director> {
    let entries = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let capacity = Capacity {
        workers: u16::try_from(config.director.cores.workers()).context("too many workers")?,
        ports: u16::try_from(config.ports.len()).context("too many ports")?,
        connections4: entries(config.director.connections),
        connections6: entries(config.director.connections6),
        ..Capacity::default()
    };
    Director::new(capacity, secret()?).context("there is no memory for the connection tables")
}

/// A key nobody can guess, so that nobody can aim at one place of the tables.
fn secret() -> Result<[u64; 2]> {
    let mut bytes = [0; 16];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if got != bytes.len() {
        bail!("the kernel gave no random bytes");
    }
    let key = u128::from_ne_bytes(bytes);
    let low = u64::try_from(key & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(key >> 64).unwrap_or_default();
    Ok([low, high])
}

/// Queues between workers and other threads.
struct Channels<'a> {
    rings: &'a Arc<Rings>,
    mail: &'a Arc<Mail>,
    urgent: &'a [Arc<Urgent>],
    sync: (&'a Arc<Mail>, &'a [Arc<Urgent>]),
}

/// What connects workers, ports and host.
struct Wiring<'a> {
    config: &'a Config,
    placement: &'a Placement,
    gauges: &'a [Arc<Gauge>],
    switch: &'a Arc<Switch>,
    clock: Clock,
}

impl Wiring<'_> {
    /// The worker that takes the host's frames of a port: ports are dealt out in turn.
    fn host_worker(&self, port: usize) -> usize {
        port % self.gauges.len().max(1)
    }

    fn rings(&self, taps: &Taps) -> Result<Arc<Rings>> {
        let gauges = (0..self.config.ports.len())
            .map(|port| {
                taps.name(port)?;
                self.gauges.get(self.host_worker(port)).cloned()
            })
            .collect();
        Rings::new(gauges).context("cannot make the rings towards the host")
    }

    fn duties(
        &self,
        director: &mut Director,
        ports: &mut [OpenPort],
        pools: &Pools,
        channels: &Channels<'_>,
    ) -> Result<Vec<Duties>> {
        let rings = channels.rings;
        let queues: Vec<Queues> = ports
            .iter()
            .map(|p| Queues {
                rx: p.port.rx_queues(),
                tx: p.port.tx_queues(),
            })
            .collect();
        let plan = queues::plan(self.gauges.len(), &queues);
        let mut handoffs: HashMap<(usize, usize), Arc<Handoff>> = HashMap::new();
        for share in &plan {
            for (port, way) in share.tx.iter().enumerate() {
                if let WayOut::Handoff(owner) = *way {
                    let gauge = self.gauges.get(owner).context("a queue without owner")?;
                    handoffs
                        .entry((port, owner))
                        .or_insert_with(|| Handoff::new(Arc::clone(gauge)));
                }
            }
        }
        let mut duties = Vec::new();
        for (worker, (share, gauge)) in plan.iter().zip(self.gauges).enumerate() {
            let mut rx = Vec::new();
            for &(port, queue) in &share.rx {
                let open = ports.get_mut(port).context("a queue of no port")?;
                let taken = open
                    .port
                    .take_rx_queue(queue)
                    .context("a queue given out twice")?;
                rx.push((open.id, taken));
            }
            let mut exits = Vec::new();
            for (port, way) in share.tx.iter().enumerate() {
                exits.push(match *way {
                    WayOut::Queue(queue) => {
                        let open = ports.get_mut(port).context("a queue of no port")?;
                        Exit::Queue(
                            open.port
                                .take_tx_queue(queue)
                                .context("a queue given out twice")?,
                        )
                    }
                    WayOut::Handoff(owner) => {
                        let ring = handoffs
                            .get(&(port, owner))
                            .context("a ring that is missing")?;
                        Exit::Handoff(Arc::clone(ring))
                    }
                });
            }
            let pool = pools.any().context("there is no packet memory")?.clone();
            let id = WorkerId(u16::try_from(worker)?);
            duties.push(Duties {
                id,
                cpu: self
                    .placement
                    .workers
                    .get(worker)
                    .copied()
                    .context("a worker without CPU")?,
                engine: director
                    .worker(id)
                    .context("the engine has no such worker")?,
                rx,
                out: WorkerOutput::new(
                    pool,
                    exits,
                    Arc::clone(rings),
                    (Arc::clone(channels.mail), Arc::clone(channels.sync.0)),
                    self.switch.tap(),
                ),
                urgent: channels
                    .urgent
                    .get(worker)
                    .map(Arc::clone)
                    .context("a worker without ring")?,
                sync: channels
                    .sync
                    .1
                    .get(worker)
                    .map(Arc::clone)
                    .context("a worker without ring")?,
                from_host: self.host_ports(worker, rings),
                handoffs: handoffs
                    .iter()
                    .filter(|((_, owner), _)| *owner == worker)
                    .map(|((port, _), ring)| Ok((port_id(*port)?, Arc::clone(ring))))
                    .collect::<Result<_>>()?,
                gauge: Arc::clone(gauge),
                clock: self.clock,
                idle: self.config.director.idle,
            });
        }
        Ok(duties)
    }

    fn host_ports(
        &self,
        worker: usize,
        rings: &Rings,
    ) -> Vec<(PortId, Arc<crate::exception::PortRings>)> {
        (0..self.config.ports.len())
            .filter(|&port| self.host_worker(port) == worker)
            .filter_map(|port| {
                let id = port_id(port).ok()?;
                Some((id, Arc::clone(rings.port(id)?)))
            })
            .collect()
    }
}

fn port_id(port: usize) -> Result<PortId> {
    Ok(PortId(u16::try_from(port)?))
}
