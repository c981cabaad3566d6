//! Courses of events from bytes: the seeds of the fuzz target `engine` and random bytes keep the books, and the seeds do
//! what they are named after. `BLESS=1` writes the seeds anew.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use sim::{
    course::{Event, Frame, Played, Verdict, play},
    golden::{Op, Recording},
    mutation::Dice,
};
use std::{fs, path::PathBuf};

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FIN: u8 = 0x11;

const GOOD: Frame = Frame {
    port: 0,
    worker: 0,
    more: false,
    verdict: Verdict::Good,
    chained: false,
    tagged: false,
};

fn packet(service: u8, client: u8, flags: u8) -> Event {
    Event::Packet {
        frame: GOOD,
        service,
        client,
        from_server: false,
        flags,
        payload: 3,
        bends: Vec::new(),
    }
}

const fn answer(flags: u8) -> Event {
    Event::Answer { frame: GOOD, flags }
}

/// A connection from SYN to FIN, with an error about it, in which every packet is answered where it went.
fn conversation(service: u8) -> Vec<Event> {
    vec![
        packet(service, 9, SYN),
        answer(SYN_ACK),
        packet(service, 9, ACK),
        Event::Error {
            frame: GOOD,
            kind: if service < 6 { 3 } else { 1 },
            code: 3,
        },
        answer(FIN),
        Event::Pass { centiseconds: 100 },
        packet(service, 9, FIN),
        Event::Apply(0b0010_0000),
        packet(service, 9, SYN),
        packet(service, 10, SYN),
        Event::Pass {
            centiseconds: 50_000,
        },
        packet(service, 10, SYN),
    ]
}

/// A burst of one client's packets over both workers, with mutations, buffers that run out and a frame of the host.
fn burst() -> Vec<Event> {
    let mut events = Vec::new();
    for n in 0..12 {
        events.push(Event::Packet {
            frame: Frame {
                more: n % 6 != 5,
                worker: usize::from(n / 6),
                chained: n == 4,
                verdict: Verdict::Unknown,
                ..GOOD
            },
            service: n,
            client: n % 2,
            from_server: n % 5 == 4,
            flags: SYN,
            payload: if n == 3 { 255 } else { n },
            bends: vec![(20, 0x20 * (n % 3))],
        });
    }
    events.push(Event::Buffers(1));
    events.push(packet(3, 200, 0));
    events.push(Event::FromHost {
        port: 1,
        worker: 1,
        bytes: vec![2; 60],
    });
    events
}

/// Connections that begin with a cookie, and one by hash: services with `syn_cookies = "on"`, one server each.
fn cookies() -> Vec<Event> {
    let begin = |service| {
        [
            packet(service, 9, SYN),
            answer(ACK),
            answer(SYN_ACK),
            answer(ACK),
            packet(service, 9, ACK),
        ]
    };
    let mut events = vec![Event::Apply(0b0100_0110)];
    events.extend(begin(0));
    events.push(answer(FIN));
    events.push(Event::Error {
        frame: GOOD,
        kind: 3,
        code: 4,
    });
    events.extend(begin(1));
    // A server that says nothing, and a client too late.
    events.extend([packet(0, 20, SYN), answer(ACK)]);
    events.push(Event::Pass {
        centiseconds: 1_600,
    });
    events.push(packet(0, 21, SYN));
    events.push(Event::Pass {
        centiseconds: 14_000,
    });
    events.push(answer(ACK));
    events
}

/// The frames of a recording of Linux's IPVS, in their order.
fn recording(name: &str) -> Vec<Event> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden")
        .join(name)
        .with_extension("json.gz");
    let mut events = Vec::new();
    for step in Recording::read(&file).unwrap().steps {
        if let Op::Tx { frame, .. } = step.op {
            let bytes = (0..frame.len() / 2)
                .map(|i| u8::from_str_radix(&frame[2 * i..2 * i + 2], 16).unwrap())
                .take(400)
                .collect();
            events.push(Event::Raw(GOOD, bytes));
        }
    }
    events.dedup();
    events.truncate(16);
    events
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut courses: Vec<(String, Vec<Event>)> = (0..11)
        .map(|service| (format!("conversation-{service:02}"), conversation(service)))
        .collect();
    courses.push(("burst".to_owned(), burst()));
    courses.push(("cookies".to_owned(), cookies()));
    for name in [
        "icmp_errors",
        "rewrite_ipv6",
        "rewrite_tun",
        "persist_tcp",
        "udp_ops",
    ] {
        courses.push((name.replace('_', "-"), recording(name)));
    }
    let write = |(name, events): (String, Vec<Event>)| {
        let mut bytes = Vec::new();
        events.iter().for_each(|event| event.write(&mut bytes));
        (name, bytes)
    };
    courses.into_iter().map(write).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/engine")
}

#[test]
fn the_seeds_in_the_tree_are_these() {
    for (name, bytes) in seeds() {
        let file = folder().join(&name);
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&file, &bytes).unwrap();
        }
        let kept = fs::read(&file).unwrap_or_default();
        assert!(kept == bytes, "{name} differs; BLESS=1 writes it anew");
    }
}

/// Also those that fuzzing left behind: each once broke something.
#[test]
fn every_seed_keeps_the_books() {
    for entry in fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().path();
        let played = play(&fs::read(&file).unwrap());
        assert!(played.events > 0, "{}", file.display());
    }
}

#[test]
fn a_conversation_reaches_its_servers_and_comes_back() {
    for (name, bytes) in seeds() {
        if !name.starts_with("conversation") {
            continue;
        }
        let Played {
            events,
            sent,
            connections,
            ..
        } = play(&bytes);
        assert_eq!(events, 12, "{name}");
        assert!(connections >= 2, "{name}: {connections} connections");
        assert!(sent >= 5, "{name}: {sent} frames sent");
    }
}

#[test]
fn cookies_are_sent_and_acknowledged() {
    let seeds = seeds();
    let (_, bytes) = seeds.iter().find(|(name, _)| name == "cookies").unwrap();
    let played = play(bytes);
    // Two by cookie, one by hash; their answers, SYNs, acknowledgements, tries and resets.
    assert_eq!(played.connections, 3, "{played:?}");
    assert!(played.generated >= 10, "{played:?}");
}

#[test]
fn random_bytes_keep_the_books() {
    let mut dice = Dice::new(11);
    let mut all = Played::default();
    let seeds = seeds();
    for _ in 0..3000 {
        let (_, seed) = &seeds[dice.below(seeds.len())];
        let mut bytes = seed.clone();
        for _ in 0..dice.below(40) {
            let at = dice.below(bytes.len());
            bytes[at] = dice.byte();
        }
        let played = play(&bytes);
        all.events += played.events;
        all.received += played.received;
        all.sent += played.sent;
        all.generated += played.generated;
        all.punted += played.punted;
        all.connections += played.connections;
    }
    println!("{all:?}");
    assert!(all.generated > 100 && all.punted > 100 && all.connections > 1000);
}

#[test]
fn events_are_read_as_written() {
    let mut dice = Dice::new(5);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..60).map(|_| dice.byte()).collect();
        let events = sim::course::read(&bytes);
        let mut written = Vec::new();
        events.iter().for_each(|event| event.write(&mut written));
        assert_eq!(sim::course::read(&written), events);
    }
}
