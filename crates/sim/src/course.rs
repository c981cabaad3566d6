//! A course of events read from bytes: any byte string drives a populated director through frames, answers, ICMP errors,
//! changes of the desired state and time. What coverage-guided fuzzing (`fuzz/`) plays, and what tests play again.
//!
//! After every event each frame must be accounted for, and no count of connections may have passed below zero.

mod event;

pub use event::{Event, Frame, Verdict};

use crate::{
    Packet, Sent, VecFrame, World, packet,
    world::{MACS, PEER, network, persistent, service},
};
use arrayvec::ArrayVec;
use engine::{
    BURST, Capacity, Droppable, Load, ModelError,
    model::{Desired, Interface, Limits, Settings},
};
use event::Reader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use types::{
    ForwardingMethod::{Masq, Route, Tunnel},
    PortId, Protocol, Scheduler, SynCookies, VlanId, Weight,
};
use wire::{Ethernet, FromBytes, Ipv4, Ipv6, RxChecksum, Tcp, checksum, ethernet, protocol};

/// Small, so that tables fill up, and looking at all of them is quick.
const CAPACITY: Capacity = Capacity {
    workers: 2,
    ports: 2,
    connections4: 64,
    connections6: 64,
    neighbours: 48,
    services: 16,
    servers: 48,
};

/// Its VLAN, on port 1.
const VLAN: u16 = 7;

/// Events of one course at most: the rest of the bytes is not read.
const EVENTS: usize = 400;

/// Services: protocol, VIP, method, scheduler and two servers. The last tunnels IPv6 in IPv4.
const SERVICES: [(
    Protocol,
    &str,
    types::ForwardingMethod,
    Scheduler,
    [&str; 2],
); 11] = {
    use Protocol::{Tcp, Udp};
    use Scheduler::{Lc, Rr, Wlc, Wrr};
    let v4 = ["10.1.0.11:8080", "10.1.0.12:8080"];
    let v6 = ["[fd01::11]:8080", "[fd01::12]:8080"];
    [
        (Tcp, "10.0.0.100:80", Masq, Rr, v4),
        (Tcp, "10.0.0.100:81", Route, Wrr, v4),
        (Tcp, "10.0.0.100:82", Tunnel, Lc, v4),
        (Udp, "10.0.0.100:53", Masq, Wlc, v4),
        (Udp, "10.0.0.100:54", Tunnel, Rr, v4),
        (Tcp, "10.0.0.101:0", Masq, Rr, v4),
        (Tcp, "[fd00::100]:80", Masq, Rr, v6),
        (Tcp, "[fd00::100]:81", Route, Wlc, v6),
        (Udp, "[fd00::100]:53", Masq, Rr, v6),
        (Udp, "[fd00::100]:54", Tunnel, Lc, v6),
        (Tcp, "[fd00::100]:82", Tunnel, Rr, v4),
    ]
};

/// Rounds of housekeeping into which time that passes is cut.
const ROUNDS: u64 = 16;

/// What became of a course.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Events that happened.
    pub events: usize,
    /// Frames that came in.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Of those, the director's own.
    pub generated: u64,
    /// Frames for the host.
    pub punted: u64,
    /// Connections scheduled on services that are still there.
    pub connections: u64,
}

/// Plays the course these bytes tell.
///
/// # Panics
/// When the director loses or invents a frame, miscounts or refuses what is right; when it panics itself.
pub fn play(bytes: &[u8]) -> Played {
    let mut course = Course::new();
    let mut played = Played::default();
    for event in read(bytes) {
        course.happen(event);
        played.events += 1;
    }
    course.flush();
    course.check();
    for worker in &course.world.workers {
        let counters = worker.counters();
        played.received += counters.rx.get();
        played.sent += counters.tx.get();
        played.generated += counters.generated.get();
        played.punted += counters.punted.get();
    }
    let services = course.world.director.services();
    played.connections = services.iter().map(|s| s.traffic.connections).sum();
    played
}

/// The events these bytes tell, so many as are played.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<Event> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(|| reader.event()).take(EVENTS).collect()
}

struct Course {
    world: World,
    /// Frames that wait for the rest of their burst.
    burst: ArrayVec<VecFrame, BURST>,
    /// Where the burst goes: worker and port.
    to: (usize, PortId),
    /// What was sent last.
    last: Option<Sent>,
}

impl Course {
    fn new() -> Self {
        let mut world = World::with(&desired(0), CAPACITY);
        world.neighbour(2, "10.2.0.9");
        Self {
            world,
            burst: ArrayVec::new(),
            to: (0, PortId(0)),
            last: None,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Raw(frame, bytes) => self.receive(frame, &bytes),
            Event::Packet {
                frame,
                service,
                client,
                from_server,
                flags,
                payload,
                bends,
            } => {
                let mut bytes = conversation(service, client, from_server, flags, payload);
                for (at, value) in bends {
                    bytes
                        .iter_mut()
                        .skip(at.into())
                        .take(1)
                        .for_each(|b| *b = value);
                }
                self.receive(frame, &bytes);
            }
            Event::Answer { frame, flags } => {
                if let Some((port, bytes)) = self.last.as_ref().and_then(|s| answer(s, flags)) {
                    self.receive(Frame { port, ..frame }, &bytes);
                }
            }
            Event::Error { frame, kind, code } => {
                if let Some((port, bytes)) = self.last.as_ref().and_then(|s| error(s, kind, code)) {
                    self.receive(Frame { port, ..frame }, &bytes);
                }
            }
            Event::Pass { centiseconds } => {
                self.flush();
                self.judge(centiseconds);
                for _ in 0..ROUNDS {
                    self.world.now = self.world.now + u64::from(centiseconds) * 10 / ROUNDS;
                    self.keep_house();
                }
                self.check();
            }
            Event::Apply(variant) => {
                self.flush();
                self.apply(&desired(variant));
            }
            Event::FromHost {
                port,
                worker,
                bytes,
            } => {
                self.flush();
                self.burst.push(VecFrame::new(&bytes));
                let World {
                    now, workers, out, ..
                } = &mut self.world;
                workers[worker].from_host(*now, PortId(port), &mut self.burst, out);
                self.check();
            }
            Event::Buffers(left) => {
                self.world.out.buffers = match left {
                    u8::MAX => usize::MAX,
                    few => few.into(),
                }
            }
        }
    }

    /// A frame comes in; it waits for others if it is so marked.
    fn receive(&mut self, how: Frame, bytes: &[u8]) {
        let to = (how.worker, PortId(how.port));
        if self.to != to || self.burst.is_full() {
            self.flush();
            self.to = to;
        }
        let mut frame = if how.chained {
            VecFrame::chained(bytes, &[bytes.len() / 2, 40])
        } else {
            VecFrame::new(bytes)
        };
        let found = match how.verdict {
            Verdict::Unknown => RxChecksum::Unknown,
            Verdict::Good => RxChecksum::Good,
            Verdict::Bad => RxChecksum::Bad,
            Verdict::Partial => RxChecksum::Partial,
        };
        frame.l4_checksum = found;
        frame.ip_checksum = match found {
            RxChecksum::Partial => RxChecksum::Good,
            other => other,
        };
        frame.vlan = how.tagged.then_some(VLAN);
        self.burst.push(frame);
        if !how.more {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.burst.is_empty() {
            return;
        }
        let (worker, port) = self.to;
        let World {
            now, workers, out, ..
        } = &mut self.world;
        workers[worker].step(*now, port, &mut self.burst, out);
        assert!(self.burst.is_empty(), "the engine left frames behind");
        self.check();
    }

    /// By some times that pass, the workers were past their capacity.
    fn judge(&mut self, centiseconds: u16) {
        let past_capacity = centiseconds % 8 == 7;
        let load = Load {
            past_capacity,
            mostly_new: centiseconds % 16 == 7,
        };
        let loads = [load; CAPACITY.workers as usize];
        let overload = self.world.director.overload_mut();
        overload.judge(self.world.now, Droppable::Established, &loads);
    }

    fn keep_house(&mut self) {
        let World {
            now, workers, out, ..
        } = &mut self.world;
        workers.iter_mut().for_each(|w| w.housekeeping(*now, out));
        self.world.director.reclaim();
    }

    /// What was removed keeps its slot while connections refer to it: there may be no room.
    fn apply(&mut self, desired: &Desired) {
        // Workers that never come by would be said to hang.
        self.keep_house();
        let room = |error: &ModelError| {
            use engine::ServiceError::{TooManyServers, TooManyServices};
            matches!(
                error,
                ModelError::Service(TooManyServers { .. } | TooManyServices { .. })
            )
        };
        if let Err(errors) = self.world.director.apply(self.world.now, desired) {
            assert!(errors.iter().all(room), "{errors:#?}");
        }
    }

    fn check(&mut self) {
        for worker in &self.world.workers {
            let identity = worker.counters().conservation();
            assert!(
                identity.holds(),
                "a frame was lost or invented: {identity:?}"
            );
        }
        let listed = self.world.connections().len();
        let [v4, v6] = self.world.director.tables();
        let alive = v4.connections + v4.templates + v6.connections + v6.templates;
        assert!(
            listed as u64 <= alive,
            "{listed} connections listed, {alive} alive"
        );
        for server in self
            .world
            .director
            .services()
            .iter()
            .flat_map(|s| &s.servers)
        {
            let counts = server.counts;
            for count in [counts.active, counts.inactive, counts.persistent] {
                assert!(
                    u64::from(count) <= alive,
                    "{} counts {counts:?} of {alive} alive",
                    server.address
                );
            }
        }
        let out = &mut self.world.out;
        out.punted.clear();
        let last = out.sent.pop();
        out.sent.clear();
        self.last = last.or(self.last.take());
    }
}

/// The desired state; each bit of `variant` changes something a reload may change.
fn desired(variant: u8) -> Desired {
    let has = |bit: u8| variant & (1 << bit) != 0;
    let mut desired = network();
    desired.interfaces[0].host = true;
    desired.interfaces[1].offloads.tx_ipv4 = true;
    desired.interfaces[1].offloads.tx_l4 = true;
    desired.interfaces.push(Interface {
        name: "lan.7".to_owned(),
        vlan: VlanId::try_from(VLAN).ok(),
        addresses: ["10.2.0.1/24", "fd02::1/64"]
            .map(|a| a.parse().expect("a prefix"))
            .to_vec(),
        ..desired.interfaces[1].clone()
    });
    if has(0) {
        desired.settings = Settings::ipvs();
    }
    desired.settings.sloppy_tcp = !has(1);
    desired.settings.endpoint_connections = 4;
    desired.settings.icmp_rate = has(2).then_some(1);
    desired.interfaces[0].mtu = if has(3) { 1280 } else { 1500 };
    let chosen = SERVICES
        .iter()
        .enumerate()
        .filter(|(index, _)| !has(4) || index % 2 == 0);
    for (_, (protocol, address, method, scheduler, servers)) in chosen {
        let mut service = service(*protocol, address, *scheduler, *method, servers);
        if *scheduler == Scheduler::Wlc || address.ends_with(":0") {
            service.persistence = persistent(30);
        }
        if has(5) {
            service.servers[0].weight = Weight(0);
        }
        if has(6) {
            service.servers.remove(1);
        }
        let mut limits = Limits {
            syn_cookies: match (has(2), has(6)) {
                (false, _) => SynCookies::Off,
                (true, true) => SynCookies::On,
                (true, false) => SynCookies::Above(2),
            },
            client_prefix: 29,
            ..Limits::default()
        };
        if has(7) {
            service.servers[0].upper_threshold = 2;
            limits = Limits {
                deny: vec!["172.16.0.192/27".parse().expect("a prefix")],
                connections: Some(9),
                rate: Some(3),
                client_rate: Some(2),
                ..limits
            };
        }
        desired.limits.push((service.key, limits));
        desired.services.push(service);
    }
    desired
}

/// A client's packet to a service, or a server's to the client.
fn conversation(service: u8, client: u8, from_server: bool, flags: u8, payload: u8) -> Vec<u8> {
    let (protocol, vip, method, _, servers) = SERVICES[usize::from(service) % SERVICES.len()];
    let vip: SocketAddr = vip.parse().expect("a service's address");
    let client_ip: IpAddr = match vip {
        SocketAddr::V4(_) => Ipv4Addr::new(172, 16, 0, client).into(),
        SocketAddr::V6(_) => Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, client.into()).into(),
    };
    let port = 1024 + u16::from(client % 8);
    let client = SocketAddr::new(client_ip, port);
    let server: SocketAddr = servers[usize::from(flags >> 7)].parse().expect("a server");
    let (source, destination, mac) = match (from_server, method) {
        (false, _) => (client, vip, MACS[0]),
        // A server of the other family answers the client itself, from the VIP.
        (true, Masq) => (server, client, MACS[1]),
        (true, _) => (vip, client, MACS[1]),
    };
    let packet = Packet {
        source,
        destination,
        flags: (protocol == Protocol::Tcp).then_some(flags & 0x7f),
        ttl: if payload == u8::MAX { 1 } else { 64 },
        payload: vec![b'x'; usize::from(payload) * 6],
    };
    packet.frame(mac)
}

/// What the receiver of `sent` would say: ends swapped, other TCP flags. `None` for what is not IP.
fn answer(sent: &Sent, flags: u8) -> Option<(u16, Vec<u8>)> {
    let mut bytes = sent.bytes.clone();
    let (link, rest) = Ethernet::mut_from_prefix(&mut bytes).ok()?;
    link.source = PEER.0;
    link.destination = MACS[usize::from(sent.port.0)].0;
    let (number, l4) = match link.ethertype.get() {
        ethernet::IPV4 => {
            let (ip, behind) = Ipv4::mut_from_prefix(rest).ok()?;
            (ip.source, ip.destination) = (ip.destination, ip.source);
            let options = ip.header_len().checked_sub(wire::ipv4::LEN)?;
            (ip.protocol, behind.get_mut(options..)?)
        }
        ethernet::IPV6 => {
            let (ip, behind) = Ipv6::mut_from_prefix(rest).ok()?;
            (ip.source, ip.destination) = (ip.destination, ip.source);
            (ip.next_header, behind)
        }
        _ => return None,
    };
    match number {
        protocol::TCP => {
            let (tcp, _) = Tcp::mut_from_prefix(l4).ok()?;
            (tcp.source, tcp.destination) = (tcp.destination, tcp.source);
            let (from, to) = (tcp.flags.into(), flags.into());
            let mut sum = checksum::update16(tcp.checksum.get(), from, to);
            tcp.flags = flags;
            // It acknowledges what it answers, if that was a SYN or a byte.
            let (sequence, acknowledgement) = (tcp.sequence.get(), tcp.acknowledgement.get());
            let acknowledged = sequence.wrapping_add(1);
            sum = checksum::update32(sum, sequence, acknowledgement);
            sum = checksum::update32(sum, acknowledgement, acknowledged);
            tcp.sequence.set(acknowledgement);
            tcp.acknowledgement.set(acknowledged);
            tcp.checksum.set(sum);
        }
        protocol::UDP => {
            let (udp, _) = wire::Udp::mut_from_prefix(l4).ok()?;
            (udp.source, udp.destination) = (udp.destination, udp.source);
        }
        _ => {}
    }
    Some((sent.port.0, bytes))
}

/// An ICMP error about `sent`, from a router on its way. `None` for what is not IP.
fn error(sent: &Sent, kind: u8, code: u8) -> Option<(u16, Vec<u8>)> {
    let (link, about) = Ethernet::ref_from_prefix(&sent.bytes).ok()?;
    let mac = MACS[usize::from(sent.port.0)];
    let (router, to): (IpAddr, IpAddr) = match link.ethertype.get() {
        ethernet::IPV4 => {
            let (ip, _) = Ipv4::ref_from_prefix(about).ok()?;
            let to = Ipv4Addr::from_bits(ip.source.get());
            (Ipv4Addr::new(192, 0, 2, 77).into(), to.into())
        }
        ethernet::IPV6 => {
            let (ip, _) = Ipv6::ref_from_prefix(about).ok()?;
            let router = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77);
            (router.into(), Ipv6Addr::from(ip.source).into())
        }
        _ => return None,
    };
    let about = about.get(..about.len().min(548))?;
    let bytes = packet::icmp_error(mac, router, to, kind, code, about);
    Some((sent.port.0, bytes))
}
