//! Forwards every frame from each of two ports to the other, and says each second what went through: shows whether a
//! machine, a driver and a device work together before a director is configured on them.
//!
//! ```text
//! cargo run --release -p dpdk --example forward -- [--queues N] [--mtu N] [--hugepages auto|required|never]
//!     [--name NAME] [--memory MB] [--seconds N] DEVICE DEVICE
//! ```

use arrayvec::ArrayVec;
use dpdk::{
    Device, Eal, EalConfig, Hugepages, Mbuf, Mempool, MempoolConfig, Offloads, PortConfig,
    ProbedPort, RxQueue, TxQueue,
};
use std::{
    env,
    error::Error,
    process,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

static STOP: AtomicBool = AtomicBool::new(false);
static FORWARDED: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

fn main() {
    if let Err(error) = run() {
        eprintln!("error: {error}");
        process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut queues, mut mtu, mut seconds) = (1, 1500, u64::MAX);
    let mut eal = EalConfig {
        name: format!("forward-{}", process::id()),
        memory_mb: 256,
        ..EalConfig::default()
    };
    let mut devices = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--queues" => queues = value()?.parse()?,
            "--mtu" => mtu = value()?.parse()?,
            "--seconds" => seconds = value()?.parse()?,
            "--memory" => eal.memory_mb = value()?.parse()?,
            "--name" => eal.name = value()?,
            "--hugepages" => {
                eal.hugepages = match value()?.as_str() {
                    "auto" => Hugepages::Auto,
                    "required" => Hugepages::Required,
                    "never" => Hugepages::Never,
                    other => {
                        return Err(
                            format!("--hugepages {other}: one of auto, required, never").into()
                        );
                    }
                };
            }
            device => devices.push(device.parse::<Device>()?),
        }
    }
    if devices.len() != 2 {
        return Err(format!("two devices are needed, {} given", devices.len()).into());
    }
    eal.devices.clone_from(&devices);
    let eal = Eal::init(eal)?;
    println!("{}, memory: {:?}", Eal::version(), eal.memory_mode());

    let mut ports = Vec::new();
    for device in devices {
        let probed = ProbedPort::probe(
            &eal,
            PortConfig {
                queues,
                mtu,
                // Frames go on as they are: with checksums left unfinished by a peer that is told it may, they would not.
                offloads: Offloads {
                    rx_checksum: false,
                    tx_checksum: false,
                    ..Offloads::default()
                },
                ..PortConfig::new(device)
            },
        )?;
        let pool = Mempool::new(
            &eal,
            MempoolConfig {
                count: 16383,
                data_size: probed.buffer_size(),
                numa: probed.capabilities().numa,
                ..MempoolConfig::default()
            },
        )?;
        let port = probed.start(&pool)?;
        println!(
            "{}: {:?}, link {:?}, {:?}",
            port.device(),
            port.capabilities(),
            port.link(),
            port.offloads()
        );
        for limitation in port.limitations() {
            println!("{}: {limitation}", port.device());
        }
        ports.push((port, pool));
    }
    let workers = ports
        .iter()
        .map(|(port, _)| port.rx_queues().min(port.tx_queues()))
        .min()
        .unwrap_or(0);
    let mut threads = Vec::new();
    for queue in 0..workers {
        let mut ways = Vec::new();
        for (from, to) in [(0, 1), (1, 0)] {
            let rx = ports[from].0.take_rx_queue(queue).ok_or("queue taken")?;
            let tx = ports[to].0.take_tx_queue(queue).ok_or("queue taken")?;
            ways.push((rx, tx));
        }
        let eal = eal.clone();
        threads.push(thread::spawn(move || forward(&eal, &mut ways)));
    }
    let mut before = 0;
    for _ in 0..seconds {
        thread::sleep(Duration::from_secs(1));
        let now = FORWARDED.load(Ordering::Relaxed);
        println!(
            "{} frames/s, {now} forwarded, {} dropped",
            now - before,
            DROPPED.load(Ordering::Relaxed)
        );
        before = now;
    }
    STOP.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked")?;
    }
    for (port, pool) in ports {
        println!("{}: {:?}, {:?}", port.device(), port.stats()?, port.link());
        drop(port);
        println!("{} of {} buffers still in use", pool.in_use(), pool.size());
    }
    Ok(())
}

fn forward(eal: &Eal, ways: &mut [(RxQueue, TxQueue)]) {
    let _registered = eal
        .register_thread()
        .inspect_err(|error| eprintln!("warning: {error}"))
        .ok();
    let mut burst: ArrayVec<Mbuf, 32> = ArrayVec::new();
    while !STOP.load(Ordering::Relaxed) {
        for (rx, tx) in &mut *ways {
            if rx.burst(&mut burst) == 0 {
                continue;
            }
            let sent = tx.burst(&mut burst);
            FORWARDED.fetch_add(sent as u64, Ordering::Relaxed);
            DROPPED.fetch_add(burst.len() as u64, Ordering::Relaxed);
            Mbuf::free_burst(&mut burst);
        }
    }
}
