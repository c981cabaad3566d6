//! The bed: two null ports and a loop between them on the calling thread.

use crate::{flows::Stamper, measure::cpu_time, subject::Subject};
use anyhow::{Result, ensure};
use arrayvec::ArrayVec;
use dpdk::{Eal, Mbuf, Mempool, MempoolConfig, Port, PortConfig, RxQueue, TxQueue};
use std::time::{Duration, Instant};

/// Frames in a burst.
pub const BURST: usize = 32;

/// Bursts between two looks at the clock.
const ROUNDS: u32 = 256;

/// Two `net_null` ports of 64-byte frames, forwarding to each other.
pub struct Bed {
    pool: Mempool,
    ways: [(RxQueue, TxQueue); 2],
}

impl Bed {
    pub fn new(eal: &Eal) -> Result<Self> {
        let pool = Mempool::new(
            eal,
            MempoolConfig {
                count: 16383,
                ..MempoolConfig::default()
            },
        )?;
        let open = || -> Result<(RxQueue, TxQueue)> {
            let mut port = Port::open(
                eal,
                PortConfig::new("net_null,size=64,copy=0".parse()?),
                &pool,
            )?;
            let queues = port.take_rx_queue(0).zip(port.take_tx_queue(0));
            queues.ok_or_else(|| anyhow::anyhow!("a null port without queues"))
        };
        let ((rx0, tx0), (rx1, tx1)) = (open()?, open()?);
        Ok(Self {
            pool,
            ways: [(rx0, tx1), (rx1, tx0)],
        })
    }

    /// Forwards for `window` and says how many clocks of this thread's a packet took, generator and all.
    pub fn run(
        &mut self,
        window: Duration,
        hz: u64,
        stamp: &mut impl Stamper,
        subject: &mut (impl Subject + ?Sized),
    ) -> Result<f64> {
        let mut packets = 0;
        let (start, cpu) = (Instant::now(), cpu_time());
        while start.elapsed() < window {
            subject.tick();
            packets += self.rounds(ROUNDS, stamp, subject)?;
        }
        let spent = cpu_time() - cpu;
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        Ok(spent.as_secs_f64() * hz as f64 / packets as f64)
    }

    /// Forwards a burst each way `rounds` times; says how many packets that were.
    #[inline]
    pub fn rounds(
        &mut self,
        rounds: u32,
        stamp: &mut impl Stamper,
        subject: &mut (impl Subject + ?Sized),
    ) -> Result<usize> {
        let mut packets = 0;
        let mut burst: ArrayVec<Mbuf, BURST> = ArrayVec::new();
        for _ in 0..rounds {
            for (rx, tx) in &mut self.ways {
                packets += rx.burst(&mut burst);
                stamp.stamp(&mut burst);
                subject.step(&mut burst, tx);
                ensure!(burst.is_empty(), "frames were left behind");
            }
        }
        Ok(packets)
    }

    /// Has `subject` forward a burst the caller has made.
    #[inline]
    pub fn send(
        &mut self,
        burst: &mut ArrayVec<Mbuf, BURST>,
        subject: &mut (impl Subject + ?Sized),
    ) {
        let [(_, tx), _] = &mut self.ways;
        subject.step(burst, tx);
    }

    pub fn pool(&self) -> Mempool {
        self.pool.clone()
    }

    pub fn in_use(&self) -> u32 {
        self.pool.in_use()
    }
}
