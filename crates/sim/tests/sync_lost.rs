//! Messages of synchronisation that do not come: what was in them is told again, so that also a connection that stays idle is there
//! when the other director takes over. One seed is one world.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use connsync::{Connection, Heard, Message, Note, Pace, Report, Rules, Teller, Whole};
use engine::{Synchronizer, Taken, model::Desired};
use sim::{
    Packet, World,
    packet::read,
    world::{MACS, network, service},
};
use std::net::SocketAddr;
use types::{ForwardingMethod::Masq, Protocol::Tcp, Scheduler::Rr};

const ACK: u8 = 0x10;
const SYN: u8 = 2;
const VIP: &str = "10.0.0.100:80";
/// As the daemon paces them.
const PACE: Pace = Pace {
    look_ms: 1,
    wait_ms: 5,
};
const REPORT_MS: u64 = 1000;
const MASTER: u64 = 1;
const BACKUP: u64 = 2;

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn desired() -> Desired {
    let mut desired = network();
    let servers = ["10.1.0.11:80", "10.1.0.12:80", "10.1.0.13:80"];
    desired.services = vec![service(Tcp, VIP, Rr, Masq, &servers)];
    desired.settings.sync = Some(Rules::default());
    desired
}

struct Director {
    world: World,
    synchronizer: Synchronizer,
}

impl Director {
    fn new() -> Self {
        let mut world = World::new(&desired(), 1);
        let synchronizer = world.director.synchronizer().unwrap();
        Self {
            world,
            synchronizer,
        }
    }

    fn send(&mut self, port: u16, packet: &Packet) -> Option<Packet> {
        let frame = packet.frame(MACS[usize::from(port)]);
        read(&self.world.give(0, port, &frame).first()?.bytes)
    }

    fn establish(&mut self, client: SocketAddr) {
        let vip = VIP.parse().unwrap();
        let to_server = self.send(0, &Packet::tcp(client, vip, SYN)).unwrap();
        let answer = Packet::tcp(to_server.destination, client, SYN | ACK);
        self.send(1, &answer).unwrap();
        self.send(0, &Packet::tcp(client, vip, ACK)).unwrap();
    }

    fn all(&mut self, tell: &mut dyn FnMut(&Connection)) -> u64 {
        let now = self.world.now;
        let (mut position, mut count) = (Some(0), 0);
        while let Some(at) = position {
            position = self.synchronizer.all(now, at, 100, &mut |connection| {
                count += 1;
                tell(connection);
            });
        }
        count
    }
}

fn client(number: u16) -> SocketAddr {
    ([10, 9, 0, 1], 20_000 + number).into()
}

/// Opens connections, one now and then, that stay idle; messages are lost for a while, in both directions. Which of them the backup does
/// not have ten seconds after they are lost no more. `mends`: it asks for everything again when messages were lost.
fn play(seed: u64, mends: bool) -> Vec<u16> {
    let mut random = Random(seed);
    let (mut one, mut two) = (Director::new(), Director::new());
    let mut teller = Teller::new(MASTER, 0, 300, PACE, 0);
    teller.numbered = true;
    let (mut whole, mut heard) = (Whole::new(0), Heard::default());
    let (loss, heals) = (random.below(60), 3000 + random.below(3000));
    let mut next_report = [0, random.below(REPORT_MS)];
    let mut opened = 0;
    for now in 0..heals + 10_000 {
        let tick = types::Tick(now);
        (one.world.now, two.world.now) = (tick, tick);
        if now < heals && random.below(30) == 0 {
            one.establish(client(opened));
            opened += 1;
        }
        let mut messages = Vec::new();
        let mut told = Vec::new();
        one.synchronizer
            .noted(tick, usize::MAX, &mut |c| told.push(c.clone()));
        for connection in &told {
            messages.extend(teller.tell(now, connection));
        }
        messages.extend(teller.poll(now));
        if now >= next_report[0] {
            next_report[0] = now + REPORT_MS;
            messages.push(about_itself(&teller));
        }
        // The backup asks, and may not be heard.
        let lost = |random: &mut Random| now < heals && random.below(100) < loss;
        whole.look(now, heard.lost, true);
        if now >= next_report[1] {
            let asks = whole.asks(now);
            next_report[1] = now + if asks { 200 } else { REPORT_MS };
            if asks {
                whole.ask(heard.lost);
            }
            if asks && !lost(&mut random) {
                messages.push(about_itself(&teller));
                let connections = one.all(&mut |c| messages.extend(teller.tell(now, c)));
                messages.extend(teller.message());
                let all = Note::AllTold {
                    sender: MASTER,
                    asked: BACKUP,
                    connections,
                };
                messages.push(only(all));
            }
        }
        for message in messages {
            if lost(&mut random) {
                continue;
            }
            let message = Message::parse(&message).unwrap();
            match message.note {
                Some(Note::Numbered { number, .. }) => heard.hear(number),
                Some(Note::Report(report)) if mends => heard.hear_of(report.heard),
                Some(Note::AllTold { .. }) => whole.hear_all(now, heard.lost),
                _ => {}
            }
            if !mends {
                heard.lost = 0;
            }
            for connection in &message.connections {
                let taken = two.synchronizer.take(tick, connection);
                assert!(matches!(taken, Taken::New | Taken::Known), "{taken:?}");
            }
        }
    }
    assert!(whole.is_complete(), "seed {seed}");
    let mut there = Vec::new();
    two.all(&mut |connection| there.push(connection.client_port));
    (0..opened)
        .filter(|n| !there.contains(&client(*n).port()))
        .collect()
}

fn about_itself(teller: &Teller) -> Vec<u8> {
    only(Note::Report(Report {
        sender: MASTER,
        tells: true,
        about: MASTER,
        heard: teller.told().0,
        ..Report::default()
    }))
}

fn only(note: Note) -> Vec<u8> {
    Message {
        version: connsync::Version::V1,
        sync_id: 0,
        connections: Vec::new(),
        note: Some(note),
    }
    .write()
}

#[test]
fn idle_connections_are_there_although_the_messages_about_them_were_lost() {
    for seed in 0..60 {
        let missing = play(seed, true);
        assert!(missing.is_empty(), "seed {seed}: {missing:?}");
    }
}

/// What the test above is for: without that, some stay unknown for ever.
#[test]
fn without_being_asked_again_nobody_tells_them_twice() {
    let without = (0..10).filter(|seed| !play(*seed, false).is_empty());
    assert!(without.count() > 5);
}
