//! A takeover with very many connections: those that were told go on at the other director, and what is lost is what is younger than the wait
//! for more of a message. `TARPON_CONNECTIONS=1000000 cargo test --release -p sim --test sync_many -- --nocapture` is the whole of it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![expect(clippy::print_stderr, reason = "what was measured")]

use connsync::{Connection, Message, Pace, Rules, Teller};
use engine::{Capacity, Synchronizer, Taken, model::Desired};
use sim::{
    Packet, World,
    packet::read,
    world::{MACS, network, service},
};
use std::net::{Ipv4Addr, SocketAddr};
use types::{ForwardingMethod::Masq, PortId, Protocol::Tcp, Scheduler::Rr};

const ACK: u8 = 0x10;
const SYN: u8 = 2;
/// As between two Tarpons.
const PACE: Pace = Pace {
    look_ms: 1,
    wait_ms: 5,
};
/// Connections that begin in a millisecond: a hundred thousand a second.
const PER_MS: u32 = 100;

fn desired() -> Desired {
    let mut desired = network();
    let servers = ["10.1.0.11:8080", "10.1.0.12:8080", "10.1.0.13:8080"];
    desired.services = vec![service(Tcp, "10.0.0.100:80", Rr, Masq, &servers)];
    desired.settings.sync = Some(Rules::default());
    desired
}

fn vip() -> SocketAddr {
    "10.0.0.100:80".parse().unwrap()
}

fn client(number: u32) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0x0a09_0000 + number / 50_000);
    let port = 1024 + u16::try_from(number % 50_000).unwrap();
    SocketAddr::new(ip.into(), port)
}

struct Director {
    world: World,
    synchronizer: Synchronizer,
}

impl Director {
    fn new(connections: u32) -> Self {
        let capacity = Capacity {
            workers: 1,
            ports: 2,
            connections4: usize::try_from(connections).unwrap() * 5 / 4 + 8192,
            connections6: 2048,
            neighbours: 256,
            services: 64,
            servers: 256,
        };
        let mut world = World::with(&desired(), capacity);
        let synchronizer = world.director.synchronizer().unwrap();
        Self {
            world,
            synchronizer,
        }
    }

    /// A packet; what it has become on the other side.
    fn send(&mut self, from: SocketAddr, to: SocketAddr, flags: u8) -> Option<Packet> {
        let port = u16::from(to != vip());
        let frame = Packet::tcp(from, to, flags).frame(MACS[usize::from(port)]);
        let sent = self.world.give(0, port, &frame);
        let sent = sent.first().filter(|sent| sent.port != PortId(port))?;
        read(&sent.bytes)
    }

    fn establish(&mut self, number: u32) -> SocketAddr {
        let client = client(number);
        let server = self.send(client, vip(), SYN).unwrap().destination;
        self.send(server, client, SYN | ACK).unwrap();
        self.send(client, vip(), ACK).unwrap();
        server
    }

    fn take(&mut self, message: &[u8]) -> usize {
        let now = self.world.now;
        let told = Message::parse(message).unwrap().connections;
        let taken = told.iter().map(|c| self.synchronizer.take(now, c));
        taken.filter(|taken| *taken == Taken::New).count()
    }
}

#[test]
fn connections_that_were_told_go_on_and_only_the_youngest_are_lost() {
    let wanted = std::env::var("TARPON_CONNECTIONS").ok();
    let all: u32 = wanted.and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let mut master = Director::new(all);
    let mut backup = Director::new(all);
    // So that the backup's own choices would be others.
    backup.establish(all + 1);
    let mut teller = Teller::new(1, 0, 1472, PACE, 0);
    let mut servers = Vec::new();
    let mut told: Vec<Connection> = Vec::new();
    let (mut messages, mut taken) = (0, 0);
    for number in 0..all {
        if number.is_multiple_of(PER_MS) {
            master.world.pass(1);
            backup.world.pass(1);
        }
        servers.push(master.establish(number));
        let now = master.world.now;
        let each = &mut |c: &Connection| told.push(c.clone());
        master.synchronizer.noted(now, usize::MAX, each);
        if number + 1 == all / 2 {
            // The other director comes only now: what there is it is told in one go.
            told.clear();
            let mut position = Some(0);
            while let Some(at) = position {
                let each = &mut |c: &Connection| told.push(c.clone());
                position = master.synchronizer.all(now, at, 1000, each);
            }
            assert_eq!(told.len(), usize::try_from(number + 1).unwrap());
        } else if number < all / 2 {
            told.clear();
            continue;
        }
        let full: Vec<Vec<u8>> = told
            .drain(..)
            .filter_map(|c| teller.tell(now.0, &c))
            .collect();
        for message in full.into_iter().chain(teller.poll(now.0)) {
            messages += 1;
            taken += backup.take(&message);
        }
    }
    // The master is gone.
    let mut lost = 0;
    for (number, server) in (0..all).zip(&servers) {
        let on = backup.send(client(number), vip(), ACK);
        let back = backup.send(*server, client(number), ACK);
        let goes_on =
            on.is_some_and(|p| p.destination == *server) && back.is_some_and(|p| p.source == vip());
        if !goes_on {
            let age_ms = (all - number).div_ceil(PER_MS);
            let wait = u32::try_from(PACE.wait_ms + PACE.look_ms).unwrap();
            assert!(age_ms <= wait, "one of {age_ms} ms was not told");
            lost += 1;
        }
    }
    eprintln!(
        "{all} connections, {messages} messages, {taken} taken over; {lost} lost, none older than {} ms",
        PACE.wait_ms + PACE.look_ms
    );
    assert_eq!(taken + lost, usize::try_from(all).unwrap());
}
