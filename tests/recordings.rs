//! The recordings of Linux's IPVS through real DPDK ports: each frame is put into a pipe that a `net_pcap` port reads, and what the
//! director sends is read back from the file another queue of that port writes. Buffers, chains and checksums are a driver's,
//! then; time is the recording's, as without ports.
//!
//! `recordings [--workers N] FILE|DIR...`; without arguments all of `tests/golden/` by one worker, and dealt at random to two and
//! to four.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use anyhow::{Context, Result, ensure};
use arrayvec::ArrayVec;
use dpdk::{
    Eal, EalConfig, Hugepages, Mbuf, Mempool, MempoolConfig, Port, PortConfig, RxQueue, TxQueue,
};
use engine::Output;
use sim::{
    Carrier, Sent,
    golden::{Exceptions, Recording, Verdict, replay_by},
    mutation::Dice,
};
use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{self, ExitCode},
};
use types::PortId;
use wire::Frame;

/// Buffers for all ports: a recording may leave sixty fragments waiting.
const BUFFERS: u32 = 4095;
/// Seed of the deal; any will do.
const SEED: u64 = 20_261_122;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut exceptions =
        Exceptions::read(&golden.join("exceptions.json")).map_err(anyhow::Error::msg)?;
    let mut workers = vec![1, 2, 4];
    let mut paths = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--workers" {
            let number = words.next().and_then(|n| n.parse().ok());
            let number = number.filter(|n| (1..=64).contains(n));
            workers = vec![number.context("--workers needs a number, 1 to 64")?];
        } else {
            // What cargo test gives every test program.
            let path = Path::new(&word);
            ensure!(
                !word.starts_with('-') || path.exists(),
                "unknown option {word}"
            );
            paths.push(path.to_owned());
        }
    }
    if paths.is_empty() {
        paths.push(golden);
    }
    let mut files = Vec::new();
    for path in &paths {
        files.extend(Recording::named_by(path).map_err(anyhow::Error::msg)?);
    }
    let wires = Wires::new()?;
    let mut right = true;
    for workers in workers {
        let mut identical = 0;
        for file in &files {
            let verdict = judge(&wires, file, workers, &mut exceptions)?;
            println!("{}: {verdict}", file.display());
            for line in verdict.failures.iter().take(1).flat_map(|f| f.lines()) {
                println!("    {line}");
            }
            identical += usize::from(verdict.identical());
        }
        println!(
            "through net_pcap ports, {workers} workers: {identical} of {} files identical",
            files.len()
        );
        right &= identical == files.len();
    }
    Ok(right)
}

fn judge(wires: &Wires, file: &Path, workers: u16, exceptions: &mut Exceptions) -> Result<Verdict> {
    let recording = Recording::read(file).map_err(anyhow::Error::msg)?;
    let ports = wires.ports()?;
    let mut dice = Dice::new(SEED);
    let outcome = replay_by(&recording, workers, ports, &mut || dice.below(64));
    ensure!(
        wires.pool.in_use() == 0,
        "{}: {} packet buffers were not given back",
        file.display(),
        wires.pool.in_use()
    );
    Ok(exceptions.judge(&recording.name, &outcome))
}

/// What ports are made of.
struct Wires {
    eal: Eal,
    pool: Mempool,
    files: PathBuf,
}

impl Wires {
    fn new() -> Result<Self> {
        let eal = Eal::init(EalConfig {
            name: format!("tarpon-recordings-{}", process::id()),
            memory_mb: 64,
            hugepages: Hugepages::Never,
            ..EalConfig::default()
        })?;
        let pool = Mempool::new(
            &eal,
            MempoolConfig {
                count: BUFFERS,
                cache: 0,
                ..MempoolConfig::default()
            },
        )?;
        let files = std::env::temp_dir().join(format!("tarpon-recordings-{}", process::id()));
        fs::create_dir_all(&files)?;
        Ok(Self { eal, pool, files })
    }

    /// The director's two ports, with nothing on them.
    fn ports(&self) -> Result<Ports> {
        Ok(Ports {
            sides: [self.side(0)?, self.side(1)?],
            out: Sending {
                pool: self.pool.clone(),
                waiting: [const { ArrayVec::new_const() }; 2],
            },
        })
    }

    fn side(&self, number: usize) -> Result<Side> {
        let (input, output) = (
            self.files.join(format!("in{number}")),
            self.files.join(format!("out{number}")),
        );
        for file in [&input, &output] {
            let _ = fs::remove_file(file);
        }
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &input,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )?;
        // Open for both, so that neither opening waits for the other side.
        let mut pipe = File::options().read(true).write(true).open(&input)?;
        let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1];
        for word in header {
            pipe.write_all(&word.to_le_bytes())?;
        }
        let device = format!(
            "net_pcap{number},rx_pcap={},tx_pcap={}",
            input.display(),
            output.display()
        );
        let device = device.parse().context("a device")?;
        let mut port = Port::open(&self.eal, PortConfig::new(device), &self.pool)?;
        let rx = port.take_rx_queue(0).context("a receive queue")?;
        let tx = port.take_tx_queue(0).context("a transmit queue")?;
        let mut written = File::open(&output)?;
        let mut header = Vec::new();
        (&mut written).take(24).read_to_end(&mut header)?;
        Ok(Side {
            pipe,
            rx,
            tx,
            written,
            header_left: 24 - header.len(),
        })
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _ = fs::remove_dir_all(&self.files);
    }
}

/// A port, and the far ends of its wires.
struct Side {
    pipe: File,
    rx: RxQueue,
    tx: TxQueue,
    written: File,
    /// Bytes of the written file's header that are still to come.
    header_left: usize,
}

impl Side {
    /// The frame, received.
    fn receive(&mut self, bytes: &[u8]) -> Result<Mbuf> {
        let length = u32::try_from(bytes.len())?;
        for word in [0, 0, length, length] {
            self.pipe.write_all(&word.to_le_bytes())?;
        }
        self.pipe.write_all(bytes)?;
        // Of a pipe net_pcap would wait for a second one.
        let mut burst: ArrayVec<Mbuf, 1> = ArrayVec::new();
        self.rx.burst(&mut burst);
        burst.pop().context("the port has received nothing")
    }

    /// The frames that have been written since.
    fn sent(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.written.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let header = self.header_left.min(rest.len());
        rest = rest.get(header..).unwrap_or_default();
        self.header_left -= header;
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let (record, behind) = rest.split_at_checked(16).context("a record's header")?;
            let length = record.get(8..12).and_then(|l| l.try_into().ok());
            let length = u32::from_le_bytes(length.context("a length")?);
            let (frame, behind) = behind
                .split_at_checked(length as usize)
                .context("a frame cut short")?;
            frames.push(frame.to_vec());
            rest = behind;
        }
        Ok(frames)
    }
}

/// Both ports.
struct Ports {
    sides: [Side; 2],
    out: Sending,
}

/// What the director sends, on its way to the ports' queues.
struct Sending {
    pool: Mempool,
    waiting: [ArrayVec<Mbuf, 128>; 2],
}

impl Output<Mbuf> for Sending {
    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    fn transmit(&mut self, port: PortId, frame: Mbuf) {
        self.waiting[port.index()].push(frame);
    }

    fn punt(&mut self, _: PortId, _: Mbuf) {}
}

impl Carrier for Ports {
    type Frame = Mbuf;
    type Out = Sending;

    fn arrive(&mut self, port: PortId, bytes: &[u8]) -> Mbuf {
        let received = self.sides[port.index()].receive(bytes);
        let frame = received.expect("net_pcap receives what it is given");
        assert_eq!(whole(&frame), bytes, "a port changed a frame");
        frame
    }

    fn out(&mut self) -> &mut Sending {
        &mut self.out
    }

    fn sent(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        let sides = self.sides.iter_mut().zip(&mut self.out.waiting);
        for (number, (side, waiting)) in (0..).zip(sides) {
            if waiting.is_empty() {
                continue;
            }
            let before = waiting.len();
            side.tx.burst(waiting);
            assert!(waiting.is_empty(), "net_pcap takes every frame");
            let frames = side.sent().expect("net_pcap writes what it was given");
            assert_eq!(frames.len(), before, "as many frames leave as are sent");
            all.extend(frames.into_iter().map(|bytes| Sent {
                port: PortId(number),
                bytes,
                requested: None,
            }));
        }
        all
    }
}

fn whole(frame: &Mbuf) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.segments(&mut |segment| bytes.extend_from_slice(segment));
    bytes
}
