//! Once a worker runs, it never allocates: not for packets of connections that stand, not for new ones, not when they
//! end, not for ARP, ICMP, fragments or frames that wait. Counted by the allocator itself.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

#[allow(dead_code, reason = "the rest is another test's")]
mod segments;

use arrayvec::ArrayVec;
use engine::{
    BURST, Capacity, Director, DropReason, Output, Worker,
    model::{Desired, Limits},
};
use segments::{ACK, PSH, SYN, Segment};
use sim::{
    Packet, VecFrame, packet,
    world::{MACS, PEER, network, persistent, service},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::{IpAddr, SocketAddr},
};
use types::{
    ForwardingMethod, InterfaceId, PersistenceEngine, PortId, Protocol, Scheduler, SynCookies,
    Tick, WorkerId,
};

thread_local! {
    /// `None` while allocations are not watched.
    static COUNTED: Cell<Option<usize>> = const { Cell::new(None) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and nothing to count.
        let _ = COUNTED.try_with(|counted| counted.set(counted.get().map(|n| n + 1)));
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's pointer and layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations `f` makes on this thread.
fn allocations(f: impl FnOnce()) -> usize {
    COUNTED.set(Some(0));
    f();
    COUNTED.replace(None).unwrap()
}

/// An output with all room taken beforehand.
struct Pool {
    free: Vec<VecFrame>,
    sent: Vec<(PortId, VecFrame)>,
}

impl Output<VecFrame> for Pool {
    fn alloc(&mut self) -> Option<VecFrame> {
        self.free.pop()
    }
    fn transmit(&mut self, port: PortId, frame: VecFrame) {
        assert!(self.sent.len() < self.sent.capacity());
        self.sent.push((port, frame));
    }
    fn punt(&mut self, port: PortId, frame: VecFrame) {
        self.transmit(port, frame);
    }
}

struct Bench {
    now: Tick,
    director: Director,
    worker: Worker<VecFrame>,
    pool: Pool,
    watched: usize,
}

impl Bench {
    fn new(desired: &Desired) -> Self {
        let capacity = Capacity {
            workers: 1,
            ports: 2,
            connections4: 4096,
            connections6: 4096,
            neighbours: 64,
            services: 16,
            servers: 64,
        };
        let mut director = Director::new(capacity, [1, 2]).unwrap();
        director.apply(Tick(0), desired).unwrap();
        let known = ["10.0.0.254", "fd00::fe"].map(|a| (0, a));
        let servers = ["10.1.0.11", "10.1.0.12", "fd01::11"].map(|a| (1, a));
        for (interface, address) in known.into_iter().chain(servers) {
            let ip: IpAddr = address.parse().unwrap();
            assert!(director.set_neighbour(Tick(0), InterfaceId(interface), ip, PEER));
        }
        let worker = director.worker(WorkerId(0)).unwrap();
        Self {
            now: Tick(1000),
            director,
            worker,
            pool: Pool {
                free: Vec::new(),
                sent: Vec::with_capacity(1 << 16),
            },
            watched: 0,
        }
    }

    /// Gives frames in bursts; what was sent.
    fn give(&mut self, port: u16, frames: Vec<Vec<u8>>) -> Vec<(PortId, VecFrame)> {
        self.pool.free = (0..4 * frames.len()).map(|_| VecFrame::new(&[])).collect();
        for chunk in frames.chunks(BURST) {
            let mut burst: ArrayVec<VecFrame, BURST> =
                chunk.iter().map(|bytes| VecFrame::new(bytes)).collect();
            let (worker, pool, now) = (&mut self.worker, &mut self.pool, self.now);
            self.watched += chunk.len();
            let count = allocations(|| worker.step(now, PortId(port), &mut burst, pool));
            assert_eq!(count, 0, "allocations in a burst of {}", chunk.len());
        }
        assert!(self.worker.counters().conservation().holds());
        self.pool.sent.drain(..).collect()
    }

    fn pass(&mut self, ms: u64) {
        self.pool.free = (0..1000).map(|_| VecFrame::new(&[])).collect();
        let until = self.now + ms;
        while self.now < until {
            self.now = self.now + 5;
            let (worker, pool, now) = (&mut self.worker, &mut self.pool, self.now);
            let count = allocations(|| worker.housekeeping(now, pool));
            assert_eq!(count, 0, "allocations in housekeeping");
            self.pool.sent.clear();
        }
    }

    fn connections(&self) -> u64 {
        let [v4, v6] = self.director.tables();
        v4.connections + v6.connections + v4.templates + v6.templates
    }
}

fn desired() -> Desired {
    use ForwardingMethod::{Masq, Route, Tunnel};
    use Protocol::{Tcp, Udp};
    let mut desired = network();
    let two = ["10.1.0.11:8080", "10.1.0.12:8080"];
    desired.services = vec![
        service(Tcp, "10.0.0.100:80", Scheduler::Wrr, Masq, &two),
        service(Tcp, "10.0.0.100:81", Scheduler::Rr, Route, &two),
        service(Tcp, "10.0.0.100:82", Scheduler::Lc, Tunnel, &two),
        service(Udp, "10.0.0.100:53", Scheduler::Wlc, Masq, &two),
        service(
            Tcp,
            "[fd00::100]:80",
            Scheduler::Rr,
            Masq,
            &["[fd01::11]:80"],
        ),
        service(
            Tcp,
            "10.0.0.100:85",
            Scheduler::Sh,
            Masq,
            &["10.1.0.11:9085", "10.1.0.12:9085"],
        ),
        service(
            Tcp,
            "10.0.0.100:86",
            Scheduler::Mh,
            Masq,
            &["10.1.0.11:9086", "10.1.0.12:9086"],
        ),
        service(
            Tcp,
            "10.0.0.100:87",
            Scheduler::Sed,
            Masq,
            &["10.1.0.11:9087", "10.1.0.12:9087"],
        ),
        service(
            Tcp,
            "10.0.0.100:88",
            Scheduler::Twos,
            Masq,
            &["10.1.0.11:9088", "10.1.0.12:9088"],
        ),
        service(
            Udp,
            "10.0.0.100:5060",
            Scheduler::Rr,
            Masq,
            &["10.1.0.11:5060", "10.1.0.12:5060"],
        ),
        service(Tcp, "10.0.0.100:83", Scheduler::Rr, Masq, &[]),
        service(Tcp, "10.0.0.100:84", Scheduler::Rr, Masq, &["10.1.0.99:84"]),
    ];
    desired.services[1].persistence = persistent(5);
    desired.services[9].persistence = persistent(5);
    desired.services[9].persistence_engine = Some(PersistenceEngine::Sip);
    desired.settings.icmp_rate = None;
    desired
}

const VIPS: [&str; 10] = [
    "10.0.0.100:80",
    "10.0.0.100:81",
    "10.0.0.100:82",
    "10.0.0.100:53",
    "[fd00::100]:80",
    "10.0.0.100:85",
    "10.0.0.100:86",
    "10.0.0.100:87",
    "10.0.0.100:88",
    "10.0.0.100:5060",
];

fn client(vip: SocketAddr, n: u16) -> SocketAddr {
    let ip: IpAddr = if vip.is_ipv4() {
        "172.16.3.4".parse().unwrap()
    } else {
        "2001:db8::4".parse().unwrap()
    };
    SocketAddr::new(ip, 1024 + n)
}

fn packet_to(vip: &str, n: u16, flags: u8) -> Packet {
    let vip: SocketAddr = vip.parse().unwrap();
    if vip.port() == 5060 {
        let message = format!("INVITE sip:lab SIP/2.0\r\nCall-ID: {}@lab\r\n", n % 10);
        Packet::udp(client(vip, n), vip, message.as_bytes())
    } else if vip.port() == 53 {
        Packet::udp(client(vip, n), vip, b"query")
    } else {
        Packet::tcp(client(vip, n), vip, flags)
    }
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1, 2, 3]))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn connections_begin_live_and_end_without_an_allocation() {
    let mut bench = Bench::new(&desired());
    let each = 200;
    for vip in VIPS {
        let frames = |flags| {
            let all = 0..each;
            all.map(|n| packet_to(vip, n, flags).frame(MACS[0]))
                .collect()
        };
        let opened = bench.give(0, frames(0x02));
        assert_eq!(opened.len(), usize::from(each), "{vip}: SYNs sent on");
        let again = bench.give(0, frames(0x10));
        assert_eq!(again.len(), usize::from(each), "{vip}: ACKs sent on");
        if !vip.contains(":81") && !vip.contains(":82") {
            let replies = opened.iter().map(|(_, frame)| {
                let seen = packet::read(&frame.bytes()).unwrap();
                Packet {
                    source: seen.destination,
                    destination: seen.source,
                    ..seen
                }
                .frame(MACS[1])
            });
            let replies = bench.give(1, replies.collect());
            assert_eq!(replies.len(), usize::from(each), "{vip}: replies sent back");
        }
        bench.give(0, frames(0x11));
    }
    // One template beside the connections, and one for each Call-ID.
    assert_eq!(bench.connections(), 10 * u64::from(each) + 11);
    bench.pass(400_000);
    assert_eq!(bench.connections(), 0);
    assert!(bench.watched > 3000);
}

#[test]
fn answers_errors_and_waiting_frames_without_an_allocation() {
    let mut bench = Bench::new(&desired());
    let (gateway, vip): (IpAddr, IpAddr) =
        ("172.16.3.4".parse().unwrap(), "10.0.0.100".parse().unwrap());
    // Who has the VIP?
    let mut arp = vec![0xff; 6];
    arp.extend([
        2, 9, 9, 9, 9, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 9, 9, 9, 9, 9, 10, 0, 0, 254,
    ]);
    arp.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 100]);
    assert_eq!(bench.give(0, vec![arp]).len(), 1, "an ARP reply");
    let echo = packet::icmp_error(MACS[0], gateway, vip, 8, 0, b"ping");
    assert_eq!(bench.give(0, vec![echo]).len(), 1, "an echo reply");
    let refused = packet_to("10.0.0.100:83", 1, 2).frame(MACS[0]);
    assert_eq!(bench.give(0, vec![refused]).len(), 1, "port unreachable");
    let stray = packet_to("10.0.0.100:80", 1, 0x10).frame(MACS[0]);
    assert_eq!(bench.give(0, vec![stray]).len(), 1, "a reset");
    // Nobody has this server's address: questions, then errors.
    let waiting = (0..5).map(|n| packet_to("10.0.0.100:84", n, 2).frame(MACS[0]));
    bench.give(0, waiting.collect());
    assert_eq!(bench.worker.counters().held.get(), 5);
    bench.pass(5000);
    assert_eq!(bench.worker.counters().held.get(), 0);
    let gone = bench
        .worker
        .counters()
        .dropped(DropReason::NeighbourUnreachable);
    assert_eq!(gone, 5);
    // An error about a connection.
    let open = packet_to("10.0.0.100:80", 7, 2).frame(MACS[0]);
    let sent = bench.give(0, vec![open]);
    let about = sent[0].1.bytes()[14..].to_vec();
    let seen = packet::read(&sent[0].1.bytes()).unwrap();
    let error = packet::icmp_error(MACS[1], seen.destination.ip(), gateway, 3, 3, &about);
    assert_eq!(bench.give(1, vec![error]).len(), 1, "translated");
}

#[test]
fn handshakes_by_cookie_without_an_allocation() {
    let mut desired = network();
    let vip = "10.0.0.100:80";
    let servers = &["10.1.0.11:80"];
    let made = service(
        Protocol::Tcp,
        vip,
        Scheduler::Rr,
        ForwardingMethod::Masq,
        servers,
    );
    let limits = Limits {
        syn_cookies: SynCookies::On,
        client_prefix: 32,
        ..Limits::default()
    };
    desired.limits = vec![(made.key, limits)];
    desired.services = vec![made];
    let mut bench = Bench::new(&desired);
    let vip: SocketAddr = vip.parse().unwrap();
    let turned = |sent: &[(PortId, VecFrame)], flags| -> Vec<Vec<u8>> {
        let sent = sent.iter().map(|(port, frame)| {
            let said = Segment::read(&frame.bytes());
            let next = said.seq.wrapping_add(1);
            let answer = Segment::new(said.destination, said.source, said.ack, next, flags);
            answer.frame(MACS[port.index()])
        });
        sent.collect()
    };
    let clients = 0..300;
    let syns = clients.map(|n| Segment::new(client(vip, n), vip, 7, 0, SYN).frame(MACS[0]));
    let answers = bench.give(0, syns.collect());
    let asked = bench.give(0, turned(&answers, ACK));
    assert_eq!((asked.len(), bench.connections()), (300, 300));
    // Half of the servers' answers come, the other half never do.
    let opened = bench.give(1, turned(&asked[..150], SYN | ACK));
    assert_eq!(opened.len(), 300);
    let windows: Vec<_> = opened.into_iter().filter(|(port, _)| port.0 == 0).collect();
    let heard = bench.give(0, turned(&windows, PSH | ACK));
    assert_eq!(heard.len(), 150);
    bench.pass(20_000);
    assert_eq!(bench.connections(), 150);
}
