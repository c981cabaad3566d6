//! The edge over virtual devices of DPDK's own, with ordinary memory: needs no root, no hugepages, no network.
//!
//! The EAL starts once per process, so all tests here share one; they run in one process, as `cargo test` does it.

use arrayvec::ArrayVec;
use dpdk::{
    ActiveOffloads, Device, Eal, EalConfig, EalError, Hugepages, Limitation, Mbuf, MemoryMode,
    Mempool, MempoolConfig, Port, PortConfig, PortError,
};
use std::{
    fs,
    path::PathBuf,
    process,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};
use wire::{Frame, RxChecksum, TxChecksum, TxL4};

static EAL: LazyLock<Eal> = LazyLock::new(|| {
    let config = EalConfig {
        name: format!("tarpon-test-{}", process::id()),
        memory_mb: 192,
        hugepages: Hugepages::Never,
        ..EalConfig::default()
    };
    let eal = Eal::init(config).expect("the EAL starts with ordinary memory");
    // A static is never dropped: what the EAL's own end would remove is removed when the process ends.
    // SAFETY: a function that lives as long as the process.
    unsafe { libc::atexit(remove_runtime_dir) };
    eal
});

extern "C" fn remove_runtime_dir() {
    let _ = fs::remove_dir_all(EAL.runtime_dir());
}

/// Tests that count buffers or look at drivers' state run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool(count: u32) -> Mempool {
    Mempool::new(
        &EAL,
        MempoolConfig {
            count,
            cache: 32,
            ..MempoolConfig::default()
        },
    )
    .expect("there is memory")
}

fn config(device: &str) -> PortConfig {
    PortConfig::new(device.parse().expect("a device"))
}

fn frame(pool: &Mempool, bytes: &[u8]) -> Mbuf {
    let mut frame = pool.alloc().expect("the pool has buffers");
    assert!(frame.extend_from_slice(bytes));
    frame
}

fn bytes(frame: &Mbuf) -> Vec<u8> {
    let mut all = Vec::new();
    frame.segments(&mut |segment| all.extend_from_slice(segment));
    assert_eq!(all.len(), frame.total_len());
    all
}

/// Numbers counting up, `n` of them from `from`.
fn counting(from: u8, n: usize) -> Vec<u8> {
    std::iter::successors(Some(from), |at| Some(at.wrapping_add(1)))
        .take(n)
        .collect()
}

#[test]
fn the_eal_says_which_memory_it_got_and_starts_once() {
    let MemoryMode::Ordinary {
        memory_mb: 192,
        why,
    } = EAL.memory_mode()
    else {
        panic!("{:?}", EAL.memory_mode())
    };
    assert!(why.contains("turned off"), "{why}");
    assert!(Eal::version().starts_with("DPDK "));
    assert_eq!(
        Eal::init(EalConfig {
            hugepages: Hugepages::Never,
            ..EalConfig::default()
        })
        .err(),
        Some(EalError::AlreadyStarted)
    );
}

#[test]
fn the_calling_thread_keeps_its_affinity() {
    let cpus = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed:"))
            .unwrap()
            .to_owned()
    };
    LazyLock::force(&EAL);
    assert_eq!(cpus("thread-self"), cpus("self"));
}

#[test]
fn threads_register_and_unregister() {
    // More in turn than there are places at once: a guard gives its place back.
    for _ in 0..300 {
        std::thread::spawn(|| EAL.register_thread().map(drop))
            .join()
            .unwrap()
            .unwrap();
    }
}

#[test]
fn heads_grow_and_shrink_within_the_buffer() {
    let pool = pool(63);
    let mut frame = frame(&pool, &counting(0, 100));
    let headroom = frame.headroom();
    assert_eq!(headroom, 128);
    assert!(frame.prepend(28));
    frame.head_mut()[..28].copy_from_slice(&counting(228, 28));
    assert_eq!(bytes(&frame), counting(228, 128));
    assert!(!frame.prepend(101), "only 100 bytes of headroom are left");
    assert_eq!(frame.total_len(), 128);
    assert!(frame.strip(28) && !frame.strip(101));
    assert_eq!(bytes(&frame), counting(0, 100));
    let room = frame.tailroom();
    assert_eq!(room, 2048 - 100);
    assert!(!frame.append(room + 1) && frame.append(room) && !frame.append(1));
    assert_eq!(frame.total_len(), 2048);
    assert!(!frame.append(usize::MAX) && !frame.prepend(usize::MAX) && !frame.strip(usize::MAX));
    frame.truncate(100);
    assert_eq!(bytes(&frame), counting(0, 100));
    frame.truncate(4000);
    assert_eq!(frame.total_len(), 100);
    frame.truncate(0);
    assert_eq!(frame.total_len(), 0);
}

#[test]
fn chains_are_cut_anywhere_and_nothing_leaks() {
    let _alone = alone();
    let pool = pool(63);
    for total in 0..=300 {
        let mut chained = frame(&pool, &counting(0, 100));
        chained.chain(frame(&pool, &counting(100, 100))).unwrap();
        chained.chain(frame(&pool, &counting(200, 100))).unwrap();
        assert_eq!(
            (chained.segment_count(), chained.total_len(), pool.in_use()),
            (3, 300, 3)
        );
        assert!(
            !chained.append(1),
            "only a single segment grows at the back"
        );
        assert!(chained.strip(10) && chained.prepend(10));
        chained.truncate(total);
        assert_eq!(bytes(&chained), counting(0, total), "cut to {total}");
        let segments = total.div_ceil(100).max(1);
        assert_eq!(
            (usize::from(chained.segment_count()), pool.in_use() as usize),
            (segments, segments)
        );
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn chains_are_copied_together_if_they_fit() {
    let _alone = alone();
    let pool = pool(63);
    let mut chained = frame(&pool, &counting(0, 1000));
    chained.chain(frame(&pool, &counting(232, 1000))).unwrap();
    assert!(chained.linearize());
    assert_eq!(
        (chained.segment_count(), bytes(&chained), pool.in_use()),
        (1, counting(0, 2000), 1)
    );
    chained.chain(frame(&pool, &[1; 100])).unwrap();
    assert!(!chained.linearize(), "2100 bytes do not fit 2048");
    assert_eq!((chained.segment_count(), chained.total_len()), (2, 2100));
}

#[test]
fn a_fresh_frame_claims_nothing() {
    let pool = pool(63);
    let mut frame = frame(&pool, &[0x45; 60]);
    assert_eq!(frame.rx_ip_checksum(), RxChecksum::Unknown);
    assert_eq!(frame.rx_l4_checksum(), RxChecksum::Unknown);
    assert_eq!(frame.stripped_vlan(), None);
    frame.request_tx_checksum(TxChecksum {
        l2_len: 14,
        l3_len: 20,
        ipv4_header: true,
        l4: TxL4::Tcp,
    });
    assert_eq!(
        &frame.head()[23..27],
        [0x45, 0, 0, 0x45],
        "the old header checksum must not be added in"
    );
}

#[test]
fn a_pool_gives_what_it_has_and_takes_all_back() {
    let _alone = alone();
    let pool = Mempool::new(
        &EAL,
        MempoolConfig {
            count: 63,
            cache: 0,
            ..MempoolConfig::default()
        },
    )
    .unwrap();
    assert_eq!((pool.size(), pool.free(), pool.in_use()), (63, 63, 0));
    let mut burst: ArrayVec<Mbuf, 32> = ArrayVec::new();
    assert!(pool.alloc_burst(&mut burst));
    assert_eq!((burst.len(), pool.in_use()), (32, 32));
    let mut second: ArrayVec<Mbuf, 32> = ArrayVec::new();
    assert!(
        !pool.alloc_burst(&mut second),
        "31 are left, 32 are wanted: none"
    );
    assert_eq!((second.len(), pool.in_use()), (0, 32));
    let singles: Vec<Mbuf> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((singles.len(), pool.free()), (31, 0));
    Mbuf::free_burst(&mut burst);
    assert_eq!((burst.len(), pool.in_use()), (0, 31));
    std::thread::spawn(|| drop(singles)).join().unwrap();
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_frame_may_outlive_the_handle_of_its_pool() {
    let pool = pool(63);
    let mut frame = frame(&pool, &[7; 64]);
    drop(pool);
    frame.head_mut()[0] = 9;
    assert_eq!((frame.head()[0], frame.head()[63]), (9, 7));
}

#[test]
fn impossible_pools_are_refused_with_the_reason() {
    let make = |count, data_size| {
        Mempool::new(
            &EAL,
            MempoolConfig {
                count,
                data_size,
                ..MempoolConfig::default()
            },
        )
        .err()
        .unwrap()
        .to_string()
    };
    assert!(make(0, 2048).contains("0 buffers"));
    assert!(make(63, 65536).contains("64 to 65407"));
    assert!(make(63, 63).contains("64 to 65407"));
    let text = make(4_000_000, 2048);
    assert!(
        text.contains("no room for 4000000 packet buffers of 2048 bytes (9095 MB)"),
        "{text}"
    );
}

#[test]
fn a_ring_port_brings_back_what_was_sent() {
    let _alone = alone();
    let pool = pool(255);
    let mut port = Port::open(&EAL, config("net_ring"), &pool).unwrap();
    assert_eq!(port.capabilities().driver, "net_ring");
    assert_eq!((port.rx_queues(), port.tx_queues()), (1, 1));
    let (mut rx, mut tx) = (
        port.take_rx_queue(0).unwrap(),
        port.take_tx_queue(0).unwrap(),
    );
    assert!(
        port.take_rx_queue(0).is_none() && port.take_tx_queue(1).is_none(),
        "each queue has one owner"
    );
    drop(port);

    let mut burst: ArrayVec<Mbuf, 32> = (0..5).map(|i| frame(&pool, &counting(i, 60))).collect();
    assert_eq!(tx.burst(&mut burst), 5);
    assert!(burst.is_empty());
    let mut got: ArrayVec<Mbuf, 32> = ArrayVec::new();
    got.push(frame(&pool, &[0xff; 60]));
    assert_eq!(rx.burst(&mut got), 5);
    let first_bytes: Vec<u8> = got.iter().map(|frame| frame.head()[0]).collect();
    assert_eq!(first_bytes, [0xff, 0, 1, 2, 3, 4]);
    drop(got);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn frames_the_driver_does_not_take_stay_with_the_caller_in_order() {
    let _alone = alone();
    let pool = pool(4095);
    let mut port = Port::open(&EAL, config("net_ring"), &pool).unwrap();
    let (mut rx, mut tx) = (
        port.take_rx_queue(0).unwrap(),
        port.take_tx_queue(0).unwrap(),
    );
    // The ring holds 1023 frames.
    let mut sent = 0;
    let left: Vec<u8> = loop {
        let mut burst: ArrayVec<Mbuf, 32> = (0..32).map(|i| frame(&pool, &[i; 60])).collect();
        let taken = tx.burst(&mut burst);
        sent += taken;
        assert_eq!(taken + burst.len(), 32);
        if taken < 32 {
            break burst.iter().map(|frame| frame.head()[0]).collect();
        }
    };
    let first = u8::try_from(32 - left.len()).unwrap();
    assert!(!left.is_empty());
    assert_eq!(left, (first..32).collect::<Vec<u8>>());
    assert_eq!(
        pool.in_use() as usize,
        sent,
        "those left over have been freed with their burst"
    );
    let mut received = 0;
    loop {
        let mut burst: ArrayVec<Mbuf, 32> = ArrayVec::new();
        if rx.burst(&mut burst) == 0 {
            break;
        }
        received += burst.len();
        Mbuf::free_burst(&mut burst);
    }
    assert_eq!((received, pool.in_use()), (sent, 0));
}

#[test]
fn what_a_port_lacks_is_said_and_counted_frames_add_up() {
    let _alone = alone();
    let pool = pool(1023);
    let mut port = Port::open(&EAL, config("net_null"), &pool).unwrap();
    let lacks: Vec<String> = port.limitations().iter().map(ToString::to_string).collect();
    assert!(
        lacks.iter().any(|text| text.contains("done in software")),
        "{lacks:?}"
    );
    assert!(port.offloads() == ActiveOffloads::default());
    let (mut rx, mut tx) = (
        port.take_rx_queue(0).unwrap(),
        port.take_tx_queue(0).unwrap(),
    );
    let mut burst: ArrayVec<Mbuf, 32> = ArrayVec::new();
    for _ in 0..100 {
        assert_eq!(rx.burst(&mut burst), 32);
        assert_eq!(tx.burst(&mut burst), 32);
    }
    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (3200, 3200));
    assert!(!port.extended_stats().is_empty());
    assert!(port.link().up);
    drop((rx, tx, port));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_port_is_told_to_and_says_what_it_did() {
    let pool = pool(63);
    let mut port = Port::open(&EAL, config("net_null"), &pool).unwrap();
    let mac = "02:00:00:00:00:77".parse().unwrap();
    port.set_mac(mac).unwrap();
    assert_eq!(port.mac(), mac);
    assert_eq!(port.mtu(), 1500);
    port.set_mtu(1400).unwrap();
    assert_eq!(port.mtu(), 1400);
    let error = port.set_mtu(20).unwrap_err().to_string();
    assert!(
        error.contains("net_null: changing the MTU failed: Invalid argument"),
        "{error}"
    );
    assert_eq!(port.mtu(), 1400);
    // It receives everything, and cannot do otherwise.
    let error = port.set_promiscuous(false).unwrap_err().to_string();
    assert_eq!(
        error,
        "net_null: changing promiscuous mode failed: Operation not supported"
    );
}

#[test]
fn fewer_queues_than_asked_for_is_a_limitation() {
    let directory = Directory::new("queues");
    let input = directory.capture(&[counting(0, 60)]);
    let pool = pool(255);
    let device = config(&format!("net_pcap,rx_pcap={}", input.display()));
    let port = Port::open(
        &EAL,
        PortConfig {
            queues: 3,
            ..device
        },
        &pool,
    )
    .unwrap();
    assert_eq!(port.rx_queues(), 1);
    let lacks = port.limitations();
    assert!(
        lacks.contains(&Limitation::RxQueues { wanted: 3, got: 1 }),
        "{lacks:?}"
    );
}

#[test]
fn a_capture_is_received_and_written() {
    let _alone = alone();
    let directory = Directory::new("capture");
    let mut frames: Vec<Vec<u8>> = [60, 1514, 64, 999]
        .iter()
        .map(|&n| counting(3, n))
        .collect();
    let (input, output) = (directory.capture(&frames), directory.0.join("out.pcap"));
    let pool = pool(255);
    let device = format!(
        "net_pcap,rx_pcap={},tx_pcap={}",
        input.display(),
        output.display()
    );
    let mut port = Port::open(&EAL, config(&device), &pool).unwrap();
    let (mut rx, mut tx) = (
        port.take_rx_queue(0).unwrap(),
        port.take_tx_queue(0).unwrap(),
    );
    let mut burst: ArrayVec<Mbuf, 32> = ArrayVec::new();
    while rx.burst(&mut burst) > 0 {}
    assert_eq!(burst.iter().map(bytes).collect::<Vec<_>>(), frames);
    // A chain is written whole, too.
    let mut chained = frame(&pool, &counting(0, 2000));
    chained.chain(frame(&pool, &counting(7, 1000))).unwrap();
    frames.push(bytes(&chained));
    burst.push(chained);
    assert_eq!(tx.burst(&mut burst), 5);
    drop((rx, tx, port));
    assert_eq!(pool.in_use(), 0);
    let written = fs::read(&output).unwrap();
    // Seconds and fractions differ; the rest is what went in.
    let mut at = 24;
    for frame in &frames {
        assert_eq!(&written[at + 16..at + 16 + frame.len()], frame);
        at += 16 + frame.len();
    }
    assert_eq!(at, written.len());
}

/// A directory of one test's, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("edge-{name}-{}", process::id()));
        fs::create_dir_all(&path).expect("cargo's directory for tests is writable");
        Self(path)
    }

    /// Writes `frames` into a capture file.
    fn capture(&self, frames: &[Vec<u8>]) -> PathBuf {
        let path = self.0.join("in.pcap");
        fs::write(&path, pcap(frames)).expect("the directory is writable");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A capture file of `frames`, little-endian, Ethernet.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for frame in frames {
        let length = u32::try_from(frame.len()).expect("frames are short");
        for word in [0, 0, length, length] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}

#[test]
fn ports_that_cannot_open_say_why() {
    let _alone = alone();
    let pool = pool(63);
    let open = |device: &str| {
        Port::open(&EAL, config(device), &pool)
            .err()
            .expect("must not open")
    };
    let said = |device: &str| open(device).to_string();

    let text = said("af_packet:no-such-if0");
    assert!(
        text.contains("no network interface `no-such-if0`"),
        "{text}"
    );
    let text = said("net_pcap,rx_pcap=/nonexistent/in.pcap");
    assert!(text.contains("/nonexistent/in.pcap"), "{text}");
    let text = said("net_nosuchdriver0");
    assert!(text.contains("could not be attached"), "{text}");
    assert!(
        matches!(open("7fff:00:00.0"), PortError::NoPciDevice { .. }),
        "{}",
        said("7fff:00:00.0")
    );
    let text = said("net_null,nonsense=1");
    assert!(
        text.contains("net_null,nonsense=1 could not be attached"),
        "{text}"
    );

    let numbered = Port::open(&EAL, config("net_null77"), &pool).unwrap();
    assert_eq!(said("net_null77"), "net_null77 is open already");
    drop(numbered);
    drop(Port::open(&EAL, config("net_null77"), &pool).expect("closed, so it can be opened again"));

    assert!(matches!(
        Port::open(
            &EAL,
            PortConfig {
                queues: 0,
                ..config("net_null")
            },
            &pool
        ),
        Err(PortError::NoQueues(_))
    ));
    let huge = Port::open(
        &EAL,
        PortConfig {
            mtu: 9000,
            ..config("net_null")
        },
        &pool,
    );
    assert!(
        matches!(
            huge,
            Err(PortError::BufferTooSmall {
                frame: 9022,
                buffer: 2048,
                ..
            })
        ),
        "{:?}",
        huge.err()
    );
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn devices_print_as_they_are_read() {
    for text in [
        "0000:03:00.0",
        "net_null3,copy=1",
        "net_af_packet,iface=eth0",
    ] {
        assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
    }
}
